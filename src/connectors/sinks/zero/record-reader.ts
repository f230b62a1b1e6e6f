/**
 * Reads what `encoder.ts` writes: records, and the cells of a row. `table-version.ts` says what the bytes mean. Pure and
 * without an object per record: a cursor is made once and moved.
 */
import { InternalError } from '../../../core/error.ts'
import { PARTIAL, type RecordOp, RecordOp as Ops } from './table-version.ts'

/**
 * A cursor over records that lie one behind the other. Use:
 *
 *     const record = new RecordReader()
 *     record.reset(bytes)
 *     while (record.next()) { record.op; record.table; bytes.subarray(record.keyStart, record.keyEnd) }
 *
 * All ranges are [start, end) in `bytes`; a part that the record does not have is the empty range [0, 0).
 */
export class RecordReader {
  bytes: Uint8Array = EMPTY
  op: RecordOp = Ops.insert
  /** True when at least one of the cells is unchanged; only of an update or a move. */
  partial = false
  /** Number of the table version, as the writer was given it. */
  table = 0
  /** The whole record, op byte included. */
  start = 0
  end = 0
  /** Key before the change; only of a move. */
  oldKeyStart = 0
  oldKeyEnd = 0
  /** Key after the change, or of the row that is deleted. */
  keyStart = 0
  keyEnd = 0
  /** All other cells; not of a delete. */
  cellsStart = 0
  cellsEnd = 0
  #at = 0
  #limit = 0
  #partStart = 0

  /** Begins at `start`; the records end at `end` exactly. */
  reset(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.bytes = bytes
    this.#at = start
    this.#limit = end
  }

  /** Moves to the next record; false when there is none. Throws `InternalError` when the bytes are no records. */
  next(): boolean {
    if (this.#at >= this.#limit) return false
    this.start = this.#at
    const first = this.bytes[this.#at++]!
    const op = first & ~PARTIAL
    if (op < Ops.insert || op > Ops.delete) throw damaged()
    this.op = op as RecordOp
    this.partial = first !== op
    this.table = this.#varint()
    this.oldKeyStart = this.oldKeyEnd = this.cellsStart = this.cellsEnd = 0
    if (op === Ops.move) {
      this.oldKeyEnd = this.#part()
      this.oldKeyStart = this.#partStart
    }
    this.keyEnd = this.#part()
    this.keyStart = this.#partStart
    if (op !== Ops.delete) {
      this.cellsEnd = this.#part()
      this.cellsStart = this.#partStart
    }
    this.end = this.#at
    return true
  }

  #part(): number {
    const length = this.#varint()
    this.#partStart = this.#at
    this.#at += length
    if (this.#at > this.#limit) throw damaged()
    return this.#at
  }

  #varint(): number {
    const { bytes } = this
    let at = this.#at
    let byte = bytes[at++]!
    let value = byte & 127
    for (let factor = 128; byte > 127; factor *= 128) {
      if (at >= this.#limit) throw damaged()
      byte = bytes[at++]!
      value += (byte & 127) * factor
    }
    this.#at = at
    return value
  }
}

/**
 * A cursor over the cells of a key or of a row's other columns. Use:
 *
 *     const cell = new CellReader()
 *     cell.reset(bytes, record.cellsStart, record.cellsEnd)
 *     for (let slot = 0; cell.next(); slot++) if (cell.state === VALUE) bytes.subarray(cell.start, cell.end)
 *
 * A row may have fewer cells than the table has slots by now: see `Slot.missing`.
 */
export class CellReader {
  bytes: Uint8Array = EMPTY
  /** `NULL`, `UNCHANGED` or `VALUE`. */
  state: CellState = 0
  /** The JSON text, in UTF-8; of a value only, otherwise an empty range. */
  start = 0
  end = 0
  /** Where the cell begins, its length included; it ends at `end`. */
  cellStart = 0
  #limit = 0

  reset(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.bytes = bytes
    this.start = this.end = start
    this.#limit = end
  }

  /** Moves to the next cell; false when there is none. */
  next(): boolean {
    const { bytes } = this
    let at = this.end
    if (at >= this.#limit) return false
    this.cellStart = at
    let byte = bytes[at++]!
    let n = byte & 127
    for (let factor = 128; byte > 127; factor *= 128) {
      if (at >= this.#limit) throw damaged()
      byte = bytes[at++]!
      n += (byte & 127) * factor
    }
    this.start = at
    if (n < VALUE) {
      this.state = n as CellState
      this.end = at
      return true
    }
    this.state = VALUE
    this.end = at + n - VALUE
    if (this.end > this.#limit) throw damaged()
    return true
  }
}

export const NULL = 0
export const UNCHANGED = 1
export const VALUE = 2
export type CellState = typeof NULL | typeof UNCHANGED | typeof VALUE

/** The cells of a key or of a row as JSON texts: null for NULL, undefined for unchanged. For tests and rare paths. */
export function readCells(bytes: Uint8Array, start = 0, end = bytes.length): (string | null | undefined)[] {
  const cell = new CellReader()
  const out: (string | null | undefined)[] = []
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  cell.reset(bytes, start, end)
  while (cell.next()) {
    if (cell.state === VALUE) out.push(text.toString('utf8', cell.start, cell.end))
    else out.push(cell.state === NULL ? null : undefined)
  }
  return out
}

const EMPTY = new Uint8Array(0)

function damaged(): InternalError {
  return new InternalError('zero/log-damaged', 'the change log holds bytes that are no records', {
    fix: 'Check the disk. Remove the files of the change log and copy again: every zero-cache is then told to reset.',
  })
}
