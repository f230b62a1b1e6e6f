import { RecordBatch, type TransactionSpan } from '../core/batch.ts'
import { PackedRows } from '../core/packed-rows.ts'
import type { SourcePosition } from '../core/position.ts'

/** What reaches the sink of a batch. */
export interface Unseen {
  /** In this order. */
  readonly batches: readonly RecordBatch[]
  /**
   * Not null when the sink gets again what it may have. It has to be known to have nothing beyond this position before
   * it gets the batches: a crash in the middle would leave older rows than it claims.
   */
  readonly repeatsFrom: SourcePosition | null
}

/**
 * Leaves out what a sink has already, when the source starts earlier than that sink needs (another one is behind).
 * Only what is certain to be covered is left out, and the first batch that is not ends the skipping for good: rows
 * after a gap would overwrite newer ones. What passes then is new to the sink, or an ordinary replay.
 *
 * Not certain: a part of a transaction whose commit is not in the batch; a schema change without a position; anything
 * of a copy, since chunks may come in another order than last time, and a truncate throws away what was skipped.
 * Announcements of tables, and of their ends, end nothing; they wait, since the tables of a sink that is ahead may have
 * changed since.
 */
export class ReplayFilter {
  readonly #covered: string
  #skipping: boolean
  #reached: SourcePosition | null
  #announced: RecordBatch[] = []

  /** `held` is what the sink has, `start` is where the source begins; null begins with a new copy. */
  constructor(held: SourcePosition | null, start: SourcePosition | null) {
    this.#covered = held?.order ?? ''
    this.#skipping = held !== null && start !== null && start.order < held.order
    this.#reached = start
  }

  get skipping(): boolean {
    return this.#skipping
  }

  /** Everything up to here was skipped: the sink has it. */
  get reached(): SourcePosition | null {
    return this.#reached
  }

  /** What the sink does not have of the batch. */
  apply(batch: RecordBatch): Unseen {
    if (!this.#skipping) return { batches: [batch], repeatsFrom: null }
    const change = batch.schemaChange?.change.kind
    if (change === 'create-table' || change === 'drop-table') {
      this.#announced.push(batch)
      return nothing
    }
    const first = this.#firstUncovered(batch)
    if (first === null) {
      this.#reached = batch.position ?? this.#reached
      return nothing
    }
    this.#skipping = false
    if (first > 0) this.#reached = batch.spans[first - 1]!.position
    const batches = [...this.#announced, first === 0 ? batch : fromSpan(batch, first)]
    this.#announced = []
    return { batches, repeatsFrom: isPlaced(batch, first) ? null : this.#reached }
  }

  /** Index of the first span that is not certainly covered; 0 for such a batch without rows; null when all is. */
  #firstUncovered(batch: RecordBatch): number | null {
    if (batch.origin === 'snapshot') return 0
    const covered = (position: SourcePosition | null): boolean =>
      position !== null && position.order <= this.#covered
    if (batch.rows === null) return covered(batch.position) ? null : 0
    const first = batch.spans.findIndex((span) => !covered(span.position))
    return first < 0 ? null : first
  }
}

const nothing: Unseen = { batches: [], repeatsFrom: null }

/** True when the log says where the span belongs: as it is not covered, it is then certainly later. */
function isPlaced(batch: RecordBatch, span: number): boolean {
  if (batch.origin === 'snapshot') return false
  return (batch.rows === null ? batch.position : batch.spans[span]!.position) !== null
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
