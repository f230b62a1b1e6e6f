import { type Arena, CellState, Op, PackedRows } from '../../../core/packed-rows.ts'
import type { RowConsumer } from '../../../core/row-reader.ts'
import { type CellReader, cellReader, SLACK } from './cell-readers.ts'
import { RowWriter } from './row-writer.ts'
import { hasNullFlag, type TargetColumn } from './target-column.ts'

/** Text of cells that is collected before rows are handed over. */
const BATCH_BYTES = 256 * 1024
const LARGE_ROW = 1024 * 1024

/** Turns RowBinary, in chunks cut anywhere, into packed rows of the columns. The opposite of `encoder.ts`. */
export class RowDecoder {
  readonly #readers: readonly CellReader[]
  readonly #flags: readonly boolean[]
  readonly #out: RowConsumer
  readonly #arena = new RowWriter(SLACK)
  /** What is not decoded yet: the beginning of a row, and chunks behind it. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** Not before that many bytes is it tried again: the end of a large row takes many chunks to come. */
  #enough = 0
  #rows: PackedRows

  constructor(columns: readonly TargetColumn[], out: RowConsumer) {
    this.#readers = columns.map(({ source, physical }) => cellReader(source.type, physical))
    this.#flags = columns.map(hasNullFlag)
    this.#out = out
    this.#rows = new PackedRows(this.#arena.bytes, 1024, 1024 * columns.length)
  }

  /** Takes a chunk; hands over rows now and then. */
  async take(chunk: Buffer): Promise<void> {
    this.#waiting.push(chunk)
    this.#waitingBytes += chunk.length
    if (this.#waitingBytes >= this.#enough) await this.#decode()
  }

  /** Hands over the rest; false when bytes are left that are no complete row. */
  async end(): Promise<boolean> {
    await this.#decode()
    if (this.#waitingBytes > 0) return false
    await this.#handOver()
    return true
  }

  async #decode(): Promise<void> {
    const [first, ...more] = this.#waiting
    if (first === undefined) return
    const input = (more.length === 0 ? first : Buffer.concat(this.#waiting)) as Arena
    let at = 0
    while (at < input.length) {
      const next = this.#row(input, at)
      if (next < 0) break
      at = next
      if (this.#arena.at >= BATCH_BYTES) await this.#handOver()
    }
    const left = input.length - at
    // A copy: the client may use its buffer again.
    this.#waiting = left === 0 ? [] : [Buffer.from(input.subarray(at))]
    this.#waitingBytes = left
    this.#enough = left > LARGE_ROW ? left * 1.5 : 0
  }

  async #handOver(): Promise<void> {
    const rows = this.#rows
    if (rows.rowCount === 0) return
    rows.arena = this.#arena.bytes
    await this.#out(rows)
    rows.rowCount = 0
    rows.cellCount = 0
    this.#arena.at = 0
  }

  /** Decodes the row at `at` and returns its end; -1 when the input ends before it. */
  #row(input: Arena, at: number): number {
    const readers = this.#readers
    const rows = this.#rows
    const arena = this.#arena
    const before = arena.at
    rows.reserveCells(readers.length)
    const { cells } = rows
    const first = rows.cellCount
    const end = input.length
    let from = at
    for (let index = 0, cell = first * 2; index < readers.length; index++, cell += 2) {
      const start = arena.at
      cells[cell] = start
      if (this.#flags[index]) {
        if (from >= end) {
          from = -1
          break
        }
        if (input[from++] === 1) {
          cells[cell + 1] = CellState.null
          continue
        }
      }
      arena.reserve(0)
      const next = readers[index]!(input, from, end, arena)
      if (next < 0) {
        from = -1
        break
      }
      from = next
      cells[cell + 1] = arena.at - start
    }
    if (from < 0) {
      arena.at = before
      return -1
    }
    rows.cellCount = first + readers.length
    rows.addRow(Op.insert, 0, first, -1)
    return from
  }
}
