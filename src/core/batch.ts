import { Op, type PackedRows } from './packed-rows.ts'
import type { SourcePosition } from './position.ts'
import type { CdcRecord, Heartbeat, Origin, SchemaChange } from './record.ts'
import { RowView } from './row-view.ts'
import type { TableSchema } from './table.ts'

/** A run of rows of one transaction; a large transaction has several spans, in several batches. */
export interface TransactionSpan {
  readonly id: string
  readonly firstRow: number
  /** One past the last row. */
  readonly endRow: number
  /** False when an earlier batch holds the beginning. */
  readonly begins: boolean
  /** Set when the commit is in this batch: where one may resume after it. */
  readonly position: SourcePosition | null
  /** Milliseconds since 1970 UTC; null when the log does not say. */
  readonly commitTimeMs: number | null
  /**
   * Row version of the transaction, an unsigned 64-bit number that rises with the log and is the same at every
   * replay. Row i of the transaction has `version + min(i, ordinalLimit)`, which stays below the next transaction's.
   */
  readonly version: bigint
  readonly ordinalLimit: number
  /** Number of the span's first row within its transaction. */
  readonly firstOrdinal: number
  /** The log did not hold its rows whole, so they were read afterwards, and may be newer than the transaction. */
  readonly lookedUp?: true
}

/** What a span with its id and its position holds, about: of one-row transactions more than their rows do. */
const SPAN_BYTES = 400

/**
 * What travels from source to sink: rows packed as bytes, their transactions, and the position at which one may resume
 * once all of it is durable. Iterating gives `CdcRecord`s whose rows are decoded when asked for; a fast sink reads
 * `rows` itself. A schema change or a heartbeat is alone in its batch. Never changed after it is written to a channel.
 */
export class RecordBatch implements Iterable<CdcRecord> {
  readonly origin: Origin
  /** Rows refer to these by index. */
  readonly tables: readonly TableSchema[]
  readonly rows: PackedRows | null
  readonly spans: readonly TransactionSpan[]
  readonly schemaChange: SchemaChange | null
  readonly heartbeat: Heartbeat | null
  /**
   * Position of the last commit in the batch (null without one): may be stored once the whole batch is durable. The
   * batch may go on with the first rows of the next transaction, see `endsInTransaction`; they come again at a resume.
   */
  readonly position: SourcePosition | null
  /** Memory that the batch holds, in bytes: the unit of the channel's budget. */
  readonly byteSize: number

  private constructor(
    origin: Origin,
    tables: readonly TableSchema[],
    rows: PackedRows | null,
    spans: readonly TransactionSpan[],
    control: SchemaChange | Heartbeat | null,
    position: SourcePosition | null,
  ) {
    this.origin = origin
    this.tables = tables
    this.rows = rows
    this.spans = spans
    this.schemaChange = control?._tag === 'SchemaChange' ? control : null
    this.heartbeat = control?._tag === 'Heartbeat' ? control : null
    this.position = position
    this.byteSize = 256 + (rows?.byteSize ?? 0) + spans.length * SPAN_BYTES
  }

  /** Rows of one or more transactions, or of a table's first copy. */
  static ofRows(
    origin: Origin,
    tables: readonly TableSchema[],
    rows: PackedRows,
    spans: readonly TransactionSpan[],
    position: SourcePosition | null,
  ): RecordBatch {
    return new RecordBatch(origin, tables, rows, spans, null, position)
  }

  static ofSchemaChange(change: SchemaChange, position: SourcePosition | null = null): RecordBatch {
    return new RecordBatch(change.origin, [change.table], null, [], change, position)
  }

  /** Announces a table, or says that it is gone, or all of its rows that precede. */
  static ofTable(
    kind: 'create-table' | 'drop-table' | 'truncate',
    table: TableSchema,
    origin: Origin,
    position: SourcePosition | null = null,
  ): RecordBatch {
    const before = kind === 'create-table' ? null : table
    return RecordBatch.ofSchemaChange(
      { _tag: 'SchemaChange', before, table, change: { kind }, origin },
      position,
    )
  }

  static ofHeartbeat(heartbeat: Heartbeat): RecordBatch {
    return new RecordBatch('stream', [], null, [], heartbeat, heartbeat.position)
  }

  get rowCount(): number {
    return this.rows?.rowCount ?? 0
  }

  /** Commit time of the last transaction that ends in this batch. */
  get commitTimeMs(): number | null {
    for (let index = this.spans.length - 1; index >= 0; index--) {
      const span = this.spans[index]!
      if (span.position !== null) return span.commitTimeMs
    }
    return null
  }

  /** True when the last rows belong to a transaction whose commit comes in a later batch. */
  get endsInTransaction(): boolean {
    const last = this.spans.at(-1)
    return this.origin === 'stream' && last !== undefined && last.position === null
  }

  /** The table of a row. */
  tableOf(row: number): TableSchema {
    return this.tables[this.rows!.tableOf[row]!]!
  }

  *[Symbol.iterator](): Generator<CdcRecord, void, undefined> {
    if (this.schemaChange !== null) yield this.schemaChange
    if (this.heartbeat !== null) yield this.heartbeat
    for (const span of this.spans) {
      if (span.begins && this.origin === 'stream') yield { _tag: 'Begin', id: span.id }
      for (let row = span.firstRow; row < span.endRow; row++) yield this.record(row)
      if (span.position !== null && this.origin === 'stream') {
        const { id, position, commitTimeMs, lookedUp } = span
        yield { _tag: 'Commit', id, position, commitTimeMs, ...(lookedUp === true ? { lookedUp } : {}) }
      }
    }
  }

  /** The record of one row. */
  record(row: number): CdcRecord {
    const rows = this.rows!
    const table = this.tableOf(row)
    const op = rows.op[row]
    const old = rows.oldImage[row]!
    const before = old < 0 ? null : new RowView(table, rows, old)
    if (op === Op.delete) return { _tag: 'Delete', table, before: before! }
    const after = new RowView(table, rows, rows.newImage[row]!)
    if (op === Op.insert) return { _tag: 'Insert', table, origin: this.origin, after }
    return { _tag: 'Update', table, after, before }
  }
}
