import { RecordBatch, type TransactionSpan } from '../../batch.ts'
import { PackedRows } from '../../packed-rows.ts'
import type { SourcePosition } from '../../position.ts'
import type { TableSchema } from '../../table.ts'
import { type RowMapping, RowsOut } from './rows.ts'

/** What `BatchMapping` asks. */
export interface RowMappings {
  /** What the rows of a table become: a table each; none when nobody maps it. */
  of(table: TableSchema): readonly RowMapping[]
  /** A position as sinks and the checkpoint store get it. */
  position(position: SourcePosition): SourcePosition
}

/** What becomes of a batch. */
export interface MappedBatch {
  /** Null when nothing is left. */
  readonly batch: RecordBatch | null
  /** The source's position behind all of it, of which the batch does not tell; null when there is none. */
  readonly position: SourcePosition | null
}

/** What is left of a span: rows of the mapped batch. */
interface Left {
  readonly span: TransactionSpan
  readonly firstRow: number
  readonly endRow: number
}

/**
 * Maps batches of rows in their order. Rows of a transaction are numbered by what is left of it, from its beginning,
 * however it is cut into batches: they have the same versions at every replay. A transaction of which nothing is left is
 * left out.
 */
export class BatchMapping {
  readonly #mappings: RowMappings
  /** Rows of the open transaction so far. */
  #ordinal = 0
  /** Sinks know of the open transaction. */
  #begun = false
  /** The open transaction, while sinks do not know of it. */
  #untold: TransactionSpan | null = null

  constructor(mappings: RowMappings) {
    this.#mappings = mappings
  }

  map(batch: RecordBatch): MappedBatch {
    const rows = batch.rows!
    const mappings = batch.tables.map((table) => this.#mappings.of(table))
    if (mappings.every((each) => each.length === 1 && each[0]!.isSame)) {
      const tables = mappings.map(([only]) => only!.plan.target)
      return this.#finish(
        batch,
        tables,
        rows,
        batch.spans.map((span) => ({ ...span, span })),
      )
    }
    const tables: TableSchema[] = []
    const numbered = mappings.map((each) =>
      each.map((mapping) => ({ mapping, table: tables.push(mapping.plan.target) - 1 })),
    )
    const out = new RowsOut(rows, Math.ceil(rows.cellCount * growth(batch.tables, mappings)))
    const left = batch.spans.map((span): Left => {
      const firstRow = out.rows.rowCount
      for (let row = span.firstRow; row < span.endRow; row++)
        for (const { mapping, table } of numbered[rows.tableOf[row]!]!) mapping.map(rows, row, out, table)
      return { span, firstRow, endRow: out.rows.rowCount }
    })
    return this.#finish(batch, tables, out.take(), left)
  }

  /** Tells of the open transaction before a schema change in it; null when sinks know, or none is open. */
  announce(): RecordBatch | null {
    const untold = this.#untold
    if (untold === null) return null
    const span = this.#told({ span: { ...untold, begins: true }, firstRow: 0, endRow: 0 })
    return RecordBatch.ofRows('stream', [], new PackedRows(Buffer.alloc(0), 0, 0), [span], null)
  }

  #finish(
    batch: RecordBatch,
    tables: readonly TableSchema[],
    rows: PackedRows,
    left: readonly Left[],
  ): MappedBatch {
    if (batch.origin === 'snapshot') {
      const spans = left.map(({ span, firstRow, endRow }) => ({ ...span, firstRow, endRow }))
      const mapped = rows.rowCount === 0 ? null : RecordBatch.ofRows('snapshot', tables, rows, spans, null)
      return { batch: mapped, position: batch.position }
    }
    let position: SourcePosition | null = null
    let behind: SourcePosition | null = null
    const spans: TransactionSpan[] = []
    for (const { span, firstRow, endRow } of left) {
      // Whether a transaction is told depends on what is left of it alone, not on what it shares a batch with.
      const ends = !span.begins && this.#begun && span.position !== null
      if (endRow === firstRow && !ends) {
        behind = span.position ?? behind
        this.#skip(span)
        continue
      }
      const told = this.#told({ span, firstRow, endRow })
      position = told.position ?? position
      behind = null
      spans.push(told)
    }
    const mapped = spans.length === 0 ? null : RecordBatch.ofRows('stream', tables, rows, spans, position)
    return { batch: mapped, position: behind }
  }

  #told({ span, firstRow, endRow }: Left): TransactionSpan {
    if (span.begins) {
      this.#ordinal = 0
      this.#begun = false
    }
    const told: TransactionSpan = {
      ...span,
      firstRow,
      endRow,
      begins: !this.#begun,
      position: span.position === null ? null : this.#mappings.position(span.position),
      firstOrdinal: this.#ordinal,
    }
    this.#begun = span.position === null
    this.#untold = null
    this.#ordinal = this.#begun ? this.#ordinal + endRow - firstRow : 0
    return told
  }

  #skip(span: TransactionSpan): void {
    if (span.begins || span.position !== null) {
      this.#ordinal = 0
      this.#begun = false
    }
    this.#untold = span.position === null && !this.#begun ? span : null
  }
}

/** How many times as many cells a row of the source has in the tables that it goes into, at most. */
function growth(tables: readonly TableSchema[], mappings: readonly (readonly RowMapping[])[]): number {
  const ratios = tables.map(({ columns }, index) => {
    const cells = mappings[index]!.reduce((sum, { plan }) => sum + plan.cells.length, 0)
    return cells / Math.max(1, columns.length)
  })
  return Math.max(0, ...ratios)
}
