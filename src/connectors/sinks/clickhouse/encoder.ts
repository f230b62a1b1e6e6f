import { PoisonRecordError } from '../../../core/error.ts'
import { CellState, Op, type PackedRows } from '../../../core/packed-rows.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { cellWriter } from './cell-arrays.ts'
import { decimalBytes } from './cell-numbers.ts'
import type { TimestampRange } from './cell-times.ts'
import { CellRefused, type CellWriter } from './cells.ts'
import { compileRow, type RowEncoder } from './row-encoder.ts'
import { RowWriter } from './row-writer.ts'
import { byteWithoutValue, hasNullFlag, type TargetColumn } from './target-column.ts'
import type { PhysicalType } from './types.ts'

export interface MetaColumns {
  readonly version: string
  readonly deleted: string
}

/** Known cells of a row as RowBinary; `start[i] < 0`: not known. */
export interface StoredCells {
  readonly bytes: Buffer
  readonly start: Int32Array
  readonly end: Int32Array
}

/** NULL flag, the widest fixed type (Decimal256), or the lengths of text and lists, which reserve the rest. */
const FIXED_CELL_MAX = 40

/**
 * Turns packed rows of one table into RowBinary rows, without making JS values. Compiled for one source schema and
 * the columns that the target has; pure.
 */
export class TableEncoder {
  readonly schema: TableSchema
  readonly columns: readonly TargetColumn[]
  /** Indexes of the key columns, in key order. */
  readonly key: readonly number[]
  /** Goes before the first row: the server checks names and types against the table. */
  readonly header: Buffer
  readonly slack: number
  /** Where the row begins that `encodeFilled` wrote last, behind the tombstone of its old key. */
  lastRow = 0
  readonly #writers: readonly CellWriter[]
  readonly #row: RowEncoder
  /** What a deleted row holds outside its key. */
  readonly #defaults: readonly Buffer[]
  readonly #isKey: readonly boolean[]

  constructor(
    schema: TableSchema,
    columns: readonly TargetColumn[],
    meta: MetaColumns,
    range: TimestampRange,
  ) {
    this.schema = schema
    this.columns = columns
    this.key = schema.key
    this.slack = columns.length * FIXED_CELL_MAX + 64
    this.header = header([
      ...columns.map(({ name, type }) => [name, type] as const),
      [meta.version, 'UInt64'],
      [meta.deleted, 'UInt8'],
    ])
    this.#writers = columns.map(({ source, physical }) => cellWriter(source.type, physical, range))
    this.#row = compileRow(columns, this.#writers)
    this.#defaults = columns.map(({ physical }) => defaultBytes(physical))
    this.#isKey = columns.map((_, index) => schema.key.includes(index))
  }

  /**
   * Writes one change: a row, a tombstone, or both when the key changed. Throws `PoisonRecordError`.
   *
   * @returns how many rows were written; 0 when the new image leaves unchanged cells out, see `encodeFilled`.
   */
  encode(rows: PackedRows, row: number, high: number, low: number, out: RowWriter): number {
    const start = out.at
    try {
      let written = 1
      const old = rows.oldImage[row]!
      if (rows.op[row] === Op.delete) {
        this.#tombstone(rows, old, high, low, out)
        return 1
      }
      const image = rows.newImage[row]!
      if (old >= 0 && this.keyChanged(rows, old, image)) {
        this.#tombstone(rows, old, high, low, out)
        written = 2
      }
      out.reserve(0)
      if (!this.#row(rows.cells, rows.arena, image * 2, out)) {
        out.at = start
        return 0
      }
      out.int64(high, low)
      out.bytes[out.at++] = 0
      return written
    } catch (error) {
      out.at = start
      throw this.#poison(error, rows, row)
    }
  }

  /** As `encode`, with the cells that the new image leaves out from the old image, else from `stored`. */
  encodeFilled(
    rows: PackedRows,
    row: number,
    high: number,
    low: number,
    out: RowWriter,
    stored: StoredCells | null,
  ): number {
    const start = out.at
    const image = rows.newImage[row]!
    const old = rows.oldImage[row]!
    try {
      const changed = old >= 0 && this.keyChanged(rows, old, image)
      if (changed) this.#tombstone(rows, old, high, low, out)
      this.lastRow = out.at
      for (let index = 0; index < this.columns.length; index++) {
        out.reserve(0)
        const from = this.#filledFrom(rows, image, old, index)
        if (from >= 0) this.#writeCell(index, rows, from, out)
        else out.copy(stored!.bytes, stored!.start[index]!, stored!.end[index]!)
      }
      out.reserve(0)
      out.int64(high, low)
      out.bytes[out.at++] = 0
      return changed ? 2 : 1
    } catch (error) {
      out.at = start
      throw this.#poison(error, rows, row)
    }
  }

  /** Adds the columns that neither image of the row has to `into`. */
  missing(rows: PackedRows, row: number, into: Set<number>): void {
    const image = rows.newImage[row]!
    const old = rows.oldImage[row]!
    for (let index = 0; index < this.columns.length; index++) {
      if (this.#filledFrom(rows, image, old, index) < 0) into.add(index)
    }
  }

  /** True when an unchanged cell of the row has no value in the old image either. */
  isMissing(rows: PackedRows, row: number): boolean {
    const image = rows.newImage[row]!
    if (image < 0) return false
    const old = rows.oldImage[row]!
    return this.columns.some((_, index) => this.#filledFrom(rows, image, old, index) < 0)
  }

  /** The image that names the stored row before this change: the old one when it has another key. */
  baseImage(rows: PackedRows, row: number): number {
    const image = rows.newImage[row]!
    const old = rows.oldImage[row]!
    return old >= 0 && this.keyChanged(rows, old, image) ? old : image
  }

  /** The key of an image as RowBinary; throws `PoisonRecordError`. */
  writeKey(rows: PackedRows, row: number, image: number, out: RowWriter): void {
    try {
      for (const index of this.key) {
        out.reserve(0)
        this.#writeCellAt(index, rows, this.keyCell(rows, image, index, rows.oldImage[row]!), out)
      }
    } catch (error) {
      throw this.#poison(error, rows, row)
    }
  }

  /** Where the cell of a key column is: an unchanged one is in the old image. */
  keyCell(rows: PackedRows, image: number, index: number, old: number): number {
    const state = rows.cells[(image + index) * 2 + 1]!
    return ((state === CellState.unchanged && old >= 0 ? old : image) + index) * 2
  }

  keyChanged(rows: PackedRows, old: number, image: number): boolean {
    const { cells, arena } = rows
    for (const index of this.key) {
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

  /** The image that holds a cell, or -1 when it is unchanged and not in the old image. */
  #filledFrom(rows: PackedRows, image: number, old: number, index: number): number {
    if (rows.cells[(image + index) * 2 + 1] !== CellState.unchanged) return image
    return old >= 0 && rows.cells[(old + index) * 2 + 1]! >= CellState.null ? old : -1
  }

  #tombstone(rows: PackedRows, old: number, high: number, low: number, out: RowWriter): void {
    if (old < 0) throw missingKey()
    for (let index = 0; index < this.columns.length; index++) {
      out.reserve(0)
      if (this.#isKey[index]) this.#writeCell(index, rows, old, out)
      else {
        const bytes = this.#defaults[index]!
        for (let i = 0; i < bytes.length; i++) out.bytes[out.at++] = bytes[i]!
      }
    }
    out.reserve(0)
    out.int64(high, low)
    out.bytes[out.at++] = 1
  }

  /** One cell with its NULL flag; the slow path of what `row-encoder.ts` compiles. */
  #writeCell(index: number, rows: PackedRows, image: number, out: RowWriter): void {
    this.#writeCellAt(index, rows, (image + index) * 2, out)
  }

  #writeCellAt(index: number, rows: PackedRows, cell: number, out: RowWriter): void {
    const length = rows.cells[cell + 1]!
    const column = this.columns[index]!
    if (length < 0) {
      out.bytes[out.at++] = byteWithoutValue(column, length)
      return
    }
    if (hasNullFlag(column)) out.bytes[out.at++] = 0
    this.#writers[index]!(rows.arena, rows.cells[cell]!, length, out)
  }

  /** Adds table and column to what a writer refused, by trying the columns one by one. */
  #poison(error: unknown, rows: PackedRows, row: number): unknown {
    if (!(error instanceof CellRefused)) return error
    const table = tableName(this.schema)
    const column = this.#refusedColumn(rows, row)
    const where = column === null ? `a row of ${table}` : `a value of column "${column}" of ${table}`
    return new PoisonRecordError(`clickhouse/${error.reason}`, `${where} ${error.message}`, {
      fix: error.fix,
    })
  }

  #refusedColumn(rows: PackedRows, row: number): string | null {
    const out = new RowWriter(this.slack)
    const images = [rows.oldImage[row]!, rows.newImage[row]!]
    for (const [which, image] of images.entries()) {
      if (image < 0) continue
      for (const [index, column] of this.columns.entries()) {
        // Of the old image only the key is written, except for cells that fill the new one.
        if (which === 0 && !this.#isKey[index]) continue
        const from = which === 1 ? this.#filledFrom(rows, image, rows.oldImage[row]!, index) : image
        try {
          if (from >= 0) this.#writeCell(index, rows, from, out)
        } catch (error) {
          if (error instanceof CellRefused) return column.source.name
        }
      }
    }
    return null
  }
}

/** RowBinaryWithNamesAndTypes: the number of columns, their names, their types. */
function header(columns: readonly (readonly [string, string])[]): Buffer {
  const out = new RowWriter(16)
  out.reserve(8)
  out.varint(columns.length)
  for (const part of [0, 1] as const) {
    for (const column of columns) {
      const bytes = Buffer.from(column[part])
      out.reserve(8)
      out.varint(bytes.length)
      out.copy(bytes, 0, bytes.length)
    }
  }
  return Buffer.from(out.bytes.subarray(0, out.at))
}

function defaultBytes(type: PhysicalType): Buffer {
  if (type.kind === 'array') return Buffer.alloc(1)
  if (type.nullable) return Buffer.from([1])
  return Buffer.alloc(fixedSize(type) ?? 1)
}

/** Bytes of a value whose type has a fixed size, without the NULL flag; null for text. */
export function fixedSize(type: PhysicalType & { kind: 'scalar' }): number | null {
  const { scalar } = type
  switch (scalar.kind) {
    case 'int':
    case 'float':
      return scalar.bits / 8
    case 'decimal':
      return decimalBytes(scalar.precision)
    case 'bool':
      return 1
    case 'uuid':
      return 16
    case 'date32':
      return 4
    case 'datetime64':
      return 8
    case 'string':
      return null
  }
}

function missingKey(): CellRefused {
  return new CellRefused(
    'absent-cell',
    'was deleted without an old image that holds its key',
    'Let the source log the key of updated and deleted rows.',
  )
}
