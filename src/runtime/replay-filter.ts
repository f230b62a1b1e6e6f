import { RecordBatch, type TransactionSpan } from '../core/batch.ts'
import { PackedRows } from '../core/packed-rows.ts'
import type { SourcePosition } from '../core/position.ts'

/**
 * Leaves out what a sink has already, when the source starts earlier than that sink needs (another one is behind).
 * Only what is certain to be covered is left out, and the first batch that is not ends the skipping for good: rows
 * after a gap would overwrite newer ones. What passes then is an ordinary replay.
 *
 * Not certain: a part of a transaction whose commit is not in the batch; a schema change without a position; anything
 * of a copy, since chunks may come in another order than last time, and a truncate throws away what was skipped.
 * Announcements of tables pass and end nothing.
 */
export class ReplayFilter {
  readonly #covered: string
  #skipping: boolean

  /** `held` is what the sink has, `start` is where the source begins; null begins with a new copy. */
  constructor(held: SourcePosition | null, start: SourcePosition | null) {
    this.#covered = held?.order ?? ''
    this.#skipping = held !== null && start !== null && start.order < held.order
  }

  get skipping(): boolean {
    return this.#skipping
  }

  /** The batch, its uncovered end, or null when the sink has all of it. */
  apply(batch: RecordBatch): RecordBatch | null {
    if (!this.#skipping || batch.schemaChange?.change.kind === 'create-table') return batch
    const first = batch.origin === 'stream' ? this.#firstUncovered(batch) : 0
    if (first === null) return null
    this.#skipping = false
    return first === 0 ? batch : fromSpan(batch, first)
  }

  /** Index of the first span that is not certainly covered; 0 for such a batch without rows; null when all is. */
  #firstUncovered(batch: RecordBatch): number | null {
    const covered = (position: SourcePosition | null): boolean =>
      position !== null && position.order <= this.#covered
    if (batch.rows === null) return covered(batch.position) ? null : 0
    const first = batch.spans.findIndex((span) => !covered(span.position))
    return first < 0 ? null : first
  }
}

/** The batch without the spans before `first`; shares the arena and the cells. */
function fromSpan(batch: RecordBatch, first: number): RecordBatch {
  const all = batch.rows!
  const from = batch.spans[first]!.firstRow
  const rows = new PackedRows(all.arena, 0, 0)
  rows.cells = all.cells
  rows.cellCount = all.cellCount
  rows.rowCount = all.rowCount - from
  rows.op = all.op.subarray(from)
  rows.tableOf = all.tableOf.subarray(from)
  rows.newImage = all.newImage.subarray(from)
  rows.oldImage = all.oldImage.subarray(from)
  const spans = batch.spans
    .slice(first)
    .map((span): TransactionSpan => ({ ...span, firstRow: span.firstRow - from, endRow: span.endRow - from }))
  return RecordBatch.ofRows(batch.origin, batch.tables, rows, spans, batch.position)
}
