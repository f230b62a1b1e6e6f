/**
 * Reading rows back, for `sluice verify` and `sluice repair`: connections of their own beside the pipeline, which is not
 * disturbed. Both sides give cells in their canonical form and in the source's column types, so that what a sink keeps
 * in another form without losing anything is equal.
 */
import { Op, PackedRows } from './packed-rows.ts'
import type { SourcePosition } from './position.ts'
import type { TableSchema } from './table.ts'

/**
 * Takes rows; those of the source's columns begin at `newImage` of each row. They are valid until the call has returned
 * and its promise is done; nothing more is read before. When it throws, reading ends with that error.
 */
export type RowConsumer = (rows: PackedRows) => void | Promise<void>

/**
 * A part of a table: rows whose first key column is `from` or more and less than `to`, canonical text; null is open.
 * Cut only where the order is the same everywhere: numbers, moments, and text by its bytes.
 */
export interface KeyRange {
  readonly from: string | null
  readonly to: string | null
}

export const WHOLE_TABLE: KeyRange = { from: null, to: null }

/** Keys of one table: the images hold the key columns only, in key order. */
export type PackedKeys = PackedRows

export interface RowReader extends AsyncDisposable {
  /** All rows of a range, in any order, in bounded memory. May be called several times at once. */
  scan(table: TableSchema, range: KeyRange, out: RowConsumer): Promise<void>
  /** The rows that have one of these keys, in any order; perhaps also others. A key that cannot exist here is absent. */
  find(table: TableSchema, keys: PackedKeys, out: RowConsumer): Promise<void>
}

/** All tables as of one moment. */
export interface SourceSnapshot extends RowReader {
  /** Everything that the snapshot shows is at or before this place in the log. */
  readonly position: SourcePosition
  /**
   * Row version for what the snapshot shows: above all that is in it, below all that is not. Null unless the snapshot
   * is exact, that is, when it also shows everything before its position.
   */
  readonly version: bigint | null
  /** The selected tables. */
  readonly tables: readonly TableSchema[]
  /** An estimate; 0 when nothing is known. */
  rowCount(table: TableSchema): number
  /** Ranges that together are the table; the whole of it where it cannot be cut. */
  ranges(table: TableSchema): Promise<readonly KeyRange[]>
}

export interface SourceReader extends AsyncDisposable {
  /** `exact` may have to wait for transactions that are open on the server. */
  snapshot(exact: boolean): Promise<SourceSnapshot>
}

/** A table as the sink has it. */
export interface SinkTable {
  /** Why its rows cannot be compared, for people: the table is not there, or columns of it. Empty when they can. */
  readonly problems: readonly string[]
  /** Key ranges mean the same here as in the source. Otherwise the whole table is read. */
  readonly hasRanges: boolean
  /** Per column the canonical text that NULL was turned into by the user's choice; null where NULL stays NULL. */
  readonly nullAs: readonly (string | null)[]
}

/** The rows that the sink would show now. */
export interface SinkReader extends RowReader {
  describe(table: TableSchema): Promise<SinkTable>
  /**
   * A text per key that is another one after anything was written under that key, a deletion too. A sink that cannot
   * say so leaves this out; then equal values count as unchanged.
   */
  stamps?(table: TableSchema, keys: PackedKeys): Promise<readonly string[]>
}

export function noKeys(): PackedKeys {
  return new PackedRows(Buffer.allocUnsafe(1024), 16, 64)
}

/** Appends the key of a row of the table, copied. */
export function addKey(keys: PackedKeys, table: TableSchema, rows: PackedRows, row: number): void {
  const first = rows.newImage[row]!
  const start = keys.cellCount
  for (const index of table.key) addCell(keys, rows, first + index)
  keys.addRow(Op.insert, 0, start, -1)
}

/** Appends a key of other keys of the same table. */
export function copyKey(keys: PackedKeys, table: TableSchema, from: PackedKeys, row: number): void {
  const first = from.newImage[row]!
  const start = keys.cellCount
  for (let at = 0; at < table.key.length; at++) addCell(keys, from, first + at)
  keys.addRow(Op.insert, 0, start, -1)
}

function addCell(to: PackedRows, from: PackedRows, cell: number): void {
  to.reserveCells(1)
  const length = from.cells[cell * 2 + 1]!
  const used = usedBytes(to)
  const at = to.cellCount++ * 2
  to.cells[at] = used
  to.cells[at + 1] = length
  if (length <= 0) return
  reserveBytes(to, used, length)
  const offset = from.cells[cell * 2]!
  from.arena.copy(to.arena, used, offset, offset + length)
}

/** Cells are appended one behind the other, so the last one tells. */
function usedBytes(rows: PackedRows): number {
  if (rows.cellCount === 0) return 0
  const last = (rows.cellCount - 1) * 2
  return rows.cells[last]! + Math.max(0, rows.cells[last + 1]!)
}

function reserveBytes(rows: PackedRows, used: number, bytes: number): void {
  if (used + bytes <= rows.arena.length) return
  const grown = Buffer.allocUnsafeSlow(Math.max(used + bytes, rows.arena.length * 2))
  rows.arena.copy(grown, 0, 0, used)
  rows.arena = grown as PackedRows['arena']
}
