import type { RecordBatch } from '../core/batch.ts'
import type { Channel } from '../core/channel.ts'
import { ChannelClosedError } from '../core/error.ts'
import { failpoint } from '../core/failpoint.ts'
import type { BatchWriter } from '../core/source.ts'

/**
 * Hands every batch of the source to every lane. The slowest lane decides when the source has to wait. The batch is
 * shared: it is never changed after this.
 */
export class Pump implements BatchWriter {
  readonly signal: AbortSignal
  readonly #channels: readonly Channel<RecordBatch>[]
  readonly #onBatch: (batch: RecordBatch) => void

  constructor(
    signal: AbortSignal,
    channels: readonly Channel<RecordBatch>[],
    onBatch: (batch: RecordBatch) => void,
  ) {
    this.signal = signal
    this.#channels = channels
    this.#onBatch = onBatch
  }

  write(batch: RecordBatch): void | Promise<void> {
    const held = failpoint('batch-cut')
    return held === undefined ? this.#handOver(batch) : held.then(() => this.#handOver(batch))
  }

  #handOver(batch: RecordBatch): void | Promise<void> {
    this.#onBatch(batch)
    let full: Promise<void> | null = null
    let others: Promise<void>[] | null = null
    for (const channel of this.#channels) {
      const room = channel.write(batch)
      if (room === undefined) continue
      if (full === null) full = room
      else (others ??= []).push(room)
    }
    if (full === null) return
    const room = others === null ? full : Promise.all([full, ...others]).then(() => undefined)
    // A source that was broken off may not listen any more: that must not end the process.
    room.catch(() => {})
    return room
  }

  /** Nothing more comes: lanes work off what they have. */
  end(): void {
    for (const channel of this.#channels) channel.end()
  }

  /** The attempt is over: whoever waits for room or for a batch stops waiting. */
  fail(): void {
    const error = new ChannelClosedError(
      'pipeline/attempt-over',
      'the attempt that this batch belongs to is over',
    )
    for (const channel of this.#channels) channel.fail(error)
  }
}
