/** Sinks with the mistakes that histories have to find. */
import { RecordBatch } from '../../../src/core/batch.ts'
import { CellState, PackedRows } from '../../../src/core/packed-rows.ts'
import type { Sink, WriteContext, WriteResult } from '../../../src/core/sink.ts'
import { FaultySink } from '../faulty-sink.ts'

/** Takes cells that the log left out for NULL. */
export function nullsForUnchanged(inner: Sink): Sink {
  return new ChangingSink(inner, (batch) => {
    if (batch.rows === null) return batch
    const rows = Object.assign(new PackedRows(batch.rows.arena, 0, 0), batch.rows)
    rows.cells = rows.cells.slice()
    for (let cell = 0; cell < rows.cellCount; cell++)
      if (rows.cells[cell * 2 + 1] === CellState.unchanged) rows.cells[cell * 2 + 1] = CellState.null
    return RecordBatch.ofRows(batch.origin, batch.tables, rows, batch.spans, batch.position)
  })
}

/** Forgets the first rows of the log that it gets after each start, but says that it has them. */
export function forgetsFirstBatch(inner: Sink): Sink {
  let isFirst = true
  return new ChangingSink(inner, (batch) => {
    if (!isFirst || batch.rowCount === 0 || batch.origin === 'snapshot') return batch
    isFirst = false
    return null
  })
}

/** Gives the sink other batches than it gets; null for none. */
class ChangingSink extends FaultySink {
  readonly #change: (batch: RecordBatch) => RecordBatch | null

  constructor(inner: Sink, change: (batch: RecordBatch) => RecordBatch | null) {
    super(inner, {})
    this.#change = change
  }

  override async writeBatch(batch: RecordBatch, context: WriteContext): Promise<WriteResult> {
    const changed = this.#change(batch)
    return changed === null ? { durable: null } : super.writeBatch(changed, context)
  }
}
