import { RecordBatch, type TransactionSpan } from './batch.ts'
import { UNCHANGED, type Value, valueToBytes } from './canonical.ts'
import { CellState, Op, PackedRows } from './packed-rows.ts'
import type { SourcePosition } from './position.ts'
import type { Origin } from './record.ts'
import { type TableSchema, tableName } from './table.ts'

/** A row as JS values by column name. A missing name is absent, `UNCHANGED` was not carried, null is NULL. */
export type ValueRow = Readonly<Record<string, Value>>

export interface TransactionInfo {
  readonly id: string
  readonly commitTimeMs: number | null
  /** See `TransactionSpan.version`; must rise with the log and be the same at every replay. */
  readonly version: bigint
}

/** Rows as cells, for readers whose rows are JS values. */
export function packRows(table: TableSchema, rows: Iterable<ValueRow>): PackedRows {
  const builder = new ValueBatchBuilder('snapshot')
  builder.begin({ id: '', commitTimeMs: null, version: 0n })
  for (const row of rows) builder.insert(table, row)
  return builder.take()?.rows ?? new PackedRows(Buffer.alloc(0), 0, 0)
}

/**
 * Builds `RecordBatch`es from JS values, for sources whose driver gives values anyway. Use: `begin`, rows, `commit`,
 * and `take` whenever `byteSize` is large enough or nothing more is at hand.
 */
export class ValueBatchBuilder {
  readonly #origin: Origin
  #arena = Buffer.allocUnsafe(16 * 1024)
  #used = 0
  #rows = new PackedRows(this.#arena, 64, 512)
  #tables: TableSchema[] = []
  #spans: TransactionSpan[] = []
  #open: { info: TransactionInfo; firstRow: number; begins: boolean; ordinal: number } | null = null
  #position: SourcePosition | null = null

  constructor(origin: Origin) {
    this.#origin = origin
  }

  get rowCount(): number {
    return this.#rows.rowCount
  }

  /** Bytes of the cells so far. */
  get byteSize(): number {
    return this.#used
  }

  begin(info: TransactionInfo): void {
    this.#open = { info, firstRow: this.#rows.rowCount, begins: true, ordinal: 0 }
  }

  insert(table: TableSchema, after: ValueRow): void {
    this.#rows.addRow(Op.insert, this.#table(table), this.#image(table, after), -1)
  }

  /** `before` is the complete old row, or the old key when it changed, or null. */
  update(table: TableSchema, after: ValueRow, before: ValueRow | null = null): void {
    const image = this.#image(table, after)
    this.#rows.addRow(Op.update, this.#table(table), image, before === null ? -1 : this.#image(table, before))
  }

  delete(table: TableSchema, before: ValueRow): void {
    this.#rows.addRow(Op.delete, this.#table(table), -1, this.#image(table, before))
  }

  /** Ends the transaction; `position` is where one may resume after it. */
  commit(position: SourcePosition): void {
    this.#close(position)
    this.#position = position
    this.#open = null
  }

  /** Everything so far as a batch; an open transaction continues in the next one. Null when there is nothing. */
  take(): RecordBatch | null {
    const open = this.#open
    if (open !== null) this.#close(null)
    if (this.#spans.length === 0) return null
    const rows = this.#rows
    rows.arena = this.#arena.subarray(0, this.#used) as PackedRows['arena']
    const batch = RecordBatch.ofRows(this.#origin, this.#tables, rows, this.#spans, this.#position)
    this.#position = null
    this.#arena = Buffer.allocUnsafe(16 * 1024)
    this.#used = 0
    this.#rows = new PackedRows(this.#arena, 64, 512)
    this.#tables = []
    this.#spans = []
    if (open !== null)
      this.#open = {
        ...open,
        firstRow: 0,
        begins: false,
        ordinal: open.ordinal + rows.rowCount - open.firstRow,
      }
    return batch
  }

  #close(position: SourcePosition | null): void {
    const open = this.#open!
    const endRow = this.#rows.rowCount
    if (endRow === open.firstRow && position === null && !open.begins) return
    this.#spans.push({
      id: open.info.id,
      firstRow: open.firstRow,
      endRow,
      begins: open.begins,
      position,
      commitTimeMs: open.info.commitTimeMs,
      version: open.info.version,
      ordinalLimit: 0xffff,
      firstOrdinal: open.ordinal,
    })
  }

  #table(table: TableSchema): number {
    const known = this.#tables.indexOf(table)
    return known >= 0 ? known : this.#tables.push(table) - 1
  }

  #image(table: TableSchema, row: ValueRow): number {
    for (const name of Object.keys(row)) {
      if (!table.columns.some((column) => column.name === name)) {
        throw new TypeError(`table ${tableName(table)} has no column "${name}"`)
      }
    }
    const rows = this.#rows
    const first = rows.cellCount
    rows.reserveCells(table.columns.length)
    for (const column of table.columns) {
      // Not what every object inherits: a column may be called `constructor`.
      const value = Object.hasOwn(row, column.name) ? row[column.name] : undefined
      const cell = rows.cellCount++ * 2
      if (value === undefined || value === null || value === UNCHANGED) {
        rows.cells[cell + 1] =
          value === undefined ? CellState.absent : value === null ? CellState.null : CellState.unchanged
        continue
      }
      const bytes = valueToBytes(column.type, value)
      this.#reserve(bytes.length)
      this.#arena.set(bytes, this.#used)
      rows.cells[cell] = this.#used
      rows.cells[cell + 1] = bytes.length
      this.#used += bytes.length
    }
    return first
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#arena.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#used + bytes, this.#arena.length * 2))
    this.#arena.copy(grown, 0, 0, this.#used)
    this.#arena = grown
  }
}
