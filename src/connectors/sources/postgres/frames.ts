/** What `wire.ts` asks of those who decode. */
import type { RecordBatch } from '../../../core/batch.ts'
import type { Arena } from '../../../core/packed-rows.ts'

/** Whether decoding goes on after a message. Otherwise `attend` runs first, and `before` decodes the message again. */
export const Stop = { no: 0, after: 1, before: 2 } as const
export type Stop = (typeof Stop)[keyof typeof Stop]

/** What decodes the content of CopyData messages. */
export interface FrameConsumer {
  /** True when rows were decoded since the last `take`. */
  readonly hasRows: boolean
  /** One message, `arena[start..end)`. */
  copyData(arena: Arena, start: number, end: number): Stop
  /** Everything decoded since the last call as a batch whose cells lie in `arena`. Called only when `hasRows`. */
  take(arena: Arena): RecordBatch
  /** Runs after `copyData` asked for a stop, with everything before handed over; may write batches of its own. */
  attend(): Promise<void>
}
