import { PackedRows } from '../../../core/packed-rows.ts'
import type { TableEncoder } from './encoder.ts'
import type { StoredRow } from './pending-rows.ts'
import { RowWriter } from './row-writer.ts'
import type { InsertRequest } from './session.ts'

const FIRST_BYTES = 4096

/** Versions of a row, in halves. */
interface Version {
  readonly high: number
  readonly low: number
}

/**
 * Partial rows whose stored row is looked up later, many at once, in the order in which they came. Copied, so that
 * they do not hold their batches.
 */
export class DeferredRows {
  readonly rows = new PackedRows(Buffer.allocUnsafeSlow(FIRST_BYTES), 16, 64)
  readonly #columns: number
  readonly #versions: Version[] = []
  /** The version of the newest row that was deferred, by the key that it leaves behind. */
  readonly #newest = new Map<string, bigint>()
  #used = 0
  readonly #encoder: TableEncoder
  /** Rows before this one are completed. */
  next = 0
  /** The completed rows, behind the header. Inserted before the complete rows of the buffer, which are newer. */
  out: RowWriter
  /** The newest completed row of each key; its cells are in `out`. Kept here, since completing may fail half-way. */
  readonly completed = new Map<string, StoredRow>()
  /** An insert of completed rows only, while it is not answered: repeated as it is. */
  part: InsertRequest | null = null

  constructor(encoder: TableEncoder) {
    this.#encoder = encoder
    this.#columns = encoder.columns.length
    this.out = this.#empty()
  }

  /** The completed rows are on the server now, where the next ones find them. */
  partStored(): void {
    this.part = null
    this.completed.clear()
    this.out = this.#empty()
  }

  #empty(): RowWriter {
    const { header, slack } = this.#encoder
    const out = new RowWriter(slack)
    out.copy(header, 0, header.length)
    return out
  }

  get count(): number {
    return this.rows.rowCount
  }

  version(row: number): Version {
    return this.#versions[row]!
  }

  newest(key: string): bigint | undefined {
    return this.#newest.get(key)
  }

  /** Returns the bytes that the copy takes. `keys` are those whose row it changes. */
  add(from: PackedRows, row: number, { high, low }: Version, keys: Iterable<string>): number {
    const before = this.#used
    const newImage = this.#copy(from, from.newImage[row]!)
    const oldImage = this.#copy(from, from.oldImage[row]!)
    this.rows.addRow(from.op[row] as 1 | 2 | 3, 0, newImage, oldImage)
    this.#versions.push({ high, low })
    const version = (BigInt(high) << 32n) | BigInt(low)
    for (const key of keys) this.#newest.set(key, version)
    return this.#used - before + this.#columns * 16
  }

  #copy(from: PackedRows, image: number): number {
    if (image < 0) return -1
    const { rows } = this
    rows.reserveCells(this.#columns)
    const first = rows.cellCount
    rows.cellCount += this.#columns
    for (let column = 0; column < this.#columns; column++) {
      const source = (image + column) * 2
      const target = (first + column) * 2
      const length = from.cells[source + 1]!
      rows.cells[target] = this.#used
      rows.cells[target + 1] = length
      if (length <= 0) continue
      this.#reserve(length)
      from.arena.copy(rows.arena, this.#used, from.cells[source]!, from.cells[source]! + length)
      this.#used += length
    }
    return first
  }

  #reserve(bytes: number): void {
    const { arena } = this.rows
    if (this.#used + bytes <= arena.length) return
    const grown = Buffer.allocUnsafeSlow(
      Math.max(this.#used + bytes, arena.length * 2),
    ) as PackedRows['arena']
    arena.copy(grown, 0, 0, this.#used)
    this.rows.arena = grown
  }
}
