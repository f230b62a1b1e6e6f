import { PackedRows } from '../../../core/packed-rows.ts'

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
  /** Rows before this one are done. */
  next = 0

  constructor(columns: number) {
    this.#columns = columns
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
