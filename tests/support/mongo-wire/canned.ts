import { Doc, double, int64, List, doc, timestamp } from './value.ts'
import type { Page, PageSource } from './cursors.ts'

/** A getMore reply that is ready to be sent but for the number of its cursor. */
export interface CannedReply {
  readonly bytes: Buffer
  /** Where the number of the cursor is. */
  readonly idAt: number
}

/** Encodes a batch of events once; the token is the last event's unless another one is given. */
export function cannedReply(
  namespace: string,
  events: readonly Buffer[],
  token: Doc,
  time: bigint,
): CannedReply {
  const mark = 0x1122_3344_5566_7788n
  const cursor = Doc.of([
    ['nextBatch', List.of(events.map((bytes) => Doc.parse(bytes)))],
    ['postBatchResumeToken', token],
    ['id', int64(mark)],
    ['ns', doc({ ns: namespace }).get('ns')!],
  ])
  const clusterTime = doc({
    clusterTime: timestamp(time),
    signature: { hash: Buffer.from('0500000000', 'hex'), keyId: 0n },
  })
  const { bytes } = Doc.of([
    ['cursor', cursor],
    ['ok', double(1)],
    ['$clusterTime', clusterTime],
    ['operationTime', timestamp(time)],
  ])
  return { bytes, idAt: bytes.lastIndexOf(int64(mark).bytes) }
}

/** A change stream whose replies were all prepared: after the last one it stays silent. */
export class CannedStream implements PageSource {
  readonly #replies: Iterator<CannedReply>
  readonly #empty: CannedReply
  readonly #token: Doc

  constructor(replies: Iterable<CannedReply>, namespace: string, token: Doc, time: bigint) {
    this.#replies = replies[Symbol.iterator]()
    this.#token = token
    this.#empty = cannedReply(namespace, [], token, time)
  }

  /** The first batch is empty. */
  page(): Page {
    return { documents: [], token: this.#token, done: false }
  }

  /** The bytes of the next reply; without one left, an empty one after the wait. */
  async next(id: bigint, waitMs: number): Promise<readonly Buffer[]> {
    const next = this.#replies.next()
    if (next.done) await new Promise((resolve) => setTimeout(resolve, waitMs))
    const { bytes, idAt } = next.done ? this.#empty : next.value
    bytes.writeBigInt64LE(id, idAt)
    return [bytes]
  }
}
