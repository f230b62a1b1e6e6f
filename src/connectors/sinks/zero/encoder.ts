import { InternalError, PoisonRecordError } from '../../../core/error.ts'
import { type Arena, CellState, Op, type PackedRows } from '../../../core/packed-rows.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { CellRefused, type CellWriter } from './cells.ts'
import { cellWriter } from './cell-writers.ts'
import { NULL, UNCHANGED } from './record-reader.ts'
import type { RecordWriter } from './record-writer.ts'
import { PARTIAL, RecordOp, type TableVersion, type VersionColumn } from './table-version.ts'

/** Index of a slot whose column was dropped. */
const HOLE = -1

/** One cell that is written: where its source cell is in an image, and how it is written. */
interface Part {
  /** Source column; `HOLE` for a slot without a column. */
  readonly index: number
  readonly write: CellWriter
}

/**
 * Turns packed rows of one table into records of the change log, without making JS values. Compiled for one source
 * schema and one version of the table in Zero. Pure.
 *
 * A record is the op (`RecordOp`, plus `PARTIAL` when a cell is unchanged) as one byte, the number of the table version
 * as an unsigned LEB128, then the parts that the op says (`table-version.ts`), each as its length in bytes (unsigned
 * LEB128) and the cells. The same row always gives the same bytes.
 */
export class TableEncoder {
  readonly schema: TableSchema
  readonly version: TableVersion
  readonly #number: number
  readonly #key: readonly Part[]
  readonly #slots: readonly Part[]
  /** Bytes that the length of the cells took last time: a good guess, as rows of a table are much alike. */
  #gap = 1

  /** `number` is what the records name the version by. */
  constructor(schema: TableSchema, version: TableVersion, number: number) {
    this.schema = schema
    this.version = version
    this.#number = number
    const part = (column: VersionColumn | null): Part => {
      if (column === null) return { index: HOLE, write: writeNothing }
      const index = schema.columns.findIndex(({ id }) => id === column.id)
      if (index < 0)
        throw new InternalError(
          'zero/version-mismatch',
          `table ${tableName(schema)} has no column "${column.name}" any more, and its version in the change log does`,
        )
      return { index, write: cellWriter(column.encoding) }
    }
    this.#key = version.key.map(part)
    this.#slots = version.slots.map(part)
  }

  /** Appends the record of one row. Throws `PoisonRecordError`, with nothing appended. */
  write(rows: PackedRows, row: number, out: RecordWriter): void {
    const start = out.at
    const image = rows.newImage[row]!
    const old = rows.oldImage[row]!
    out.reserve(0)
    try {
      const at = out.at++
      out.varint(this.#number)
      if (rows.op[row] === Op.delete) {
        out.bytes[at] = RecordOp.delete
        this.#writeKey(rows, old, NO_IMAGE, out)
        return
      }
      let op: RecordOp = RecordOp.insert
      if (rows.op[row] === Op.update) {
        op = RecordOp.update
        if (old >= 0 && this.#keyChanged(rows, old, image)) {
          op = RecordOp.move
          this.#writeKey(rows, old, image, out)
        }
      }
      this.#writeKey(rows, image, NO_IMAGE, out)
      const partial = this.#writeCells(rows, image, op !== RecordOp.insert, out)
      // The buffer may be another one by now.
      out.bytes[at] = partial ? op | PARTIAL : op
    } catch (error) {
      out.at = start
      throw error
    }
  }

  /** Writes the key of an image; what it does not have is in `other`, if that is an image. */
  #writeKey(rows: PackedRows, image: number, other: number, out: RecordWriter): void {
    const { cells, arena } = rows
    const start = out.at++
    for (const part of this.#key) {
      let cell = (image + part.index) * 2
      if (other >= 0 && cells[cell + 1]! < CellState.null) cell = (other + part.index) * 2
      const length = image < 0 ? CellState.absent : cells[cell + 1]!
      if (length < 0) throw this.#poison(noKey(length), part)
      out.reserve(0)
      this.#value(part, arena, cells[cell]!, length, out)
    }
    out.closeGap(start, 1, 0)
  }

  /** Writes all other cells of an image. True when one of them is unchanged. */
  #writeCells(rows: PackedRows, image: number, maySkip: boolean, out: RecordWriter): boolean {
    const { cells, arena } = rows
    const slots = this.#slots
    let partial = false
    out.reserve(0)
    const start = out.at
    out.at += this.#gap
    for (let slot = 0; slot < slots.length; slot++) {
      const part = slots[slot]!
      out.reserve(0)
      if (part.index < 0) {
        out.bytes[out.at++] = NULL
        continue
      }
      const cell = (image + part.index) * 2
      const length = cells[cell + 1]!
      if (length >= 0) this.#value(part, arena, cells[cell]!, length, out)
      else if (length === CellState.null) out.bytes[out.at++] = NULL
      else if (length === CellState.unchanged && maySkip) {
        out.bytes[out.at++] = UNCHANGED
        partial = true
      } else throw this.#poison(noValue(length), part)
    }
    this.#gap = out.closeGap(start, this.#gap, 0)
    return partial
  }

  #value(part: Part, arena: Arena, offset: number, length: number, out: RecordWriter): void {
    try {
      part.write(arena, offset, length, out)
    } catch (error) {
      throw this.#poison(error, part)
    }
  }

  #keyChanged(rows: PackedRows, old: number, image: number): boolean {
    const { cells, arena } = rows
    for (const { index } of this.#key) {
      const before = (old + index) * 2
      const after = (image + index) * 2
      const length = cells[after + 1]!
      const oldLength = cells[before + 1]!
      // What is absent or unchanged on either side is not said to differ.
      if (oldLength < CellState.null || length < CellState.null) continue
      if (length !== oldLength) return true
      const a = cells[before]!
      const b = cells[after]!
      for (let i = 0; i < length; i++) if (arena[a + i] !== arena[b + i]) return true
    }
    return false
  }

  /** Adds table and column to what a writer refused. */
  #poison(error: unknown, part: Part): unknown {
    if (!(error instanceof CellRefused)) return error
    const column = this.schema.columns[part.index]!.name
    const message = `a value of column "${column}" of ${tableName(this.schema)} ${error.message}`
    return new PoisonRecordError(`zero/${error.reason}`, message, { fix: error.fix })
  }
}

const NO_IMAGE = -1

function writeNothing(): void {}

function noKey(state: number): CellRefused {
  if (state === CellState.null)
    return new CellRefused(
      'null-key',
      'is NULL and belongs to the key, which tells rows apart',
      'Let the source use a key without NULLs, or leave the table out.',
    )
  return noValue(state)
}

function noValue(state: number): CellRefused {
  if (state === CellState.unchanged)
    return new CellRefused(
      'unchanged-cell',
      'is left out as unchanged where a complete row or key is needed',
      'This is a bug of the source connector; please report it with the kind of the change.',
    )
  return new CellRefused(
    'absent-cell',
    'is missing',
    'Let the source log complete rows, and the key of deleted ones.',
  )
}
