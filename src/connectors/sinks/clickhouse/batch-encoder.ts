import type { RecordBatch } from '../../../core/batch.ts'
import { InternalError } from '../../../core/error.ts'
import type { TableSchema } from '../../../core/table.ts'
import type { PartialRows } from './partial-rows.ts'
import type { Target } from './target.ts'
import type { TableBuffer, Writer } from './writer.ts'

const TWO_32 = 4294967296
const scratch = new BigUint64Array(1)
const halves = new Uint32Array(scratch.buffer)

/** Why encoding stopped before the end of the batch. */
type Stop = 'end' | 'full' | 'other-columns' | 'partial'

/**
 * Encodes batches into the buffers of the writer. Remembers how far it came, so that a call that failed in the middle
 * goes on there when it is repeated: no row is taken twice, none is left out.
 */
export class BatchEncoder {
  readonly #writer: Writer
  readonly #partialRows: PartialRows
  readonly #targetOf: (table: TableSchema) => Target
  #batch: RecordBatch | null = null
  /** The next row of `#batch`. */
  #row = 0
  /** Version of that row, in halves; for rows that are completed outside the fast loop. */
  #high = 0
  #low = 0

  constructor(writer: Writer, partialRows: PartialRows, targetOf: (table: TableSchema) => Target) {
    this.#writer = writer
    this.#partialRows = partialRows
    this.#targetOf = targetOf
  }

  async take(batch: RecordBatch, signal: AbortSignal): Promise<void> {
    if (this.#batch !== batch) {
      this.#batch = batch
      this.#row = 0
    }
    for (;;) {
      const stop = batch.rows === null ? 'end' : this.#encode(batch)
      if (stop === 'end') return
      if (stop === 'partial') this.#takePartial(batch)
      else await this.#writer.seal(stop === 'other-columns', signal)
    }
  }

  /** The fast loop: per row no promise, no object and no bigint. */
  #encode(batch: RecordBatch): Stop {
    const writer = this.#writer
    if (writer.full) return 'full'
    const rows = batch.rows!
    const buffers = this.#buffers(batch)
    if (buffers === null) return 'other-columns'
    let row = this.#row
    for (const span of batch.spans) {
      if (span.endRow <= row) continue
      scratch[0] = span.version
      const baseLow = halves[0]!
      const baseHigh = halves[1]!
      const shift = span.firstOrdinal - span.firstRow
      for (; row < span.endRow; row++) {
        const ordinal = row + shift
        let high = baseHigh
        let low = baseLow + (ordinal < span.ordinalLimit ? ordinal : span.ordinalLimit)
        if (low >= TWO_32) {
          low -= TWO_32
          high++
        }
        const buffer = buffers[rows.tableOf[row]!]!
        const { out, target } = buffer
        const before = out.at
        this.#row = row
        const written = buffer.encoder.encode(rows, row, high, low, out)
        if (written === 0) {
          this.#high = high
          this.#low = low
          return 'partial'
        }
        target.saw(high, low)
        writer.added(buffer, out.at - before, written)
        if (writer.full) {
          this.#row = row + 1
          return 'full'
        }
      }
    }
    this.#row = row
    return 'end'
  }

  /** The row that the fast loop stopped at. */
  #takePartial(batch: RecordBatch): void {
    const rows = batch.rows!
    const row = this.#row
    const buffer = this.#buffers(batch)![rows.tableOf[row]!]!
    const partial = { rows, row, high: this.#high, low: this.#low }
    const taken = this.#partialRows.take(partial, buffer)
    buffer.target.saw(partial.high, partial.low)
    this.#writer.added(buffer, taken.bytes, taken.rows)
    this.#row = row + 1
  }

  /** By index of the batch's tables. Null when rows with other columns have to be inserted first. */
  #buffers(batch: RecordBatch): readonly TableBuffer[] | null {
    const encoders = batch.tables.map((table) => {
      const target = this.#targetOf(table)
      return { table, target, encoder: target.encoder(table) }
    })
    const buffers: TableBuffer[] = []
    for (const { table, target, encoder } of encoders) {
      // Compared after all were asked for, as each target has one encoder at a time.
      if (target.encoder(table) !== encoder) throw twoSchemas(target)
      const buffer = this.#writer.buffer(target, encoder)
      if (buffer === null) return null
      buffers.push(buffer)
    }
    return buffers
  }
}

function twoSchemas(target: Target): InternalError {
  return new InternalError('clickhouse/two-schemas', `a batch has rows of two schemas for ${target.label}`, {
    fix: 'This is a bug of the source connector; please report it.',
  })
}
