/**
 * Collects records while the thread that writes is busy, and hands over what has come together: the more there is to
 * do, the more is made durable at once. One chunk is under way at a time; it is kept until it is answered, and handed
 * over again when that failed.
 */
import { failpoint } from '../../../core/failpoint.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { ChangeLog } from './change-log.ts'
import { packItems } from './chunk-items.ts'
import type { Chunk, ChunkItem } from './log-messages.ts'
import { RecordWriter } from './record-writer.ts'

/** Bytes of records that may wait while others are being written. */
const QUEUE_BYTES = 1024 * 1024
/** Transactions that may wait: the shorter, the sooner one of them is seen. */
const QUEUE_ITEMS = 2000

interface UnderWay {
  readonly chunk: Chunk
  readonly position: SourcePosition | null
}

export class WriteQueue {
  readonly #log: Pick<ChangeLog, 'request' | 'positions'>
  readonly #records = new RecordWriter()
  #items: ChunkItem[] = []
  /** Items up to the last commit, and its position. */
  #committed: { readonly items: number; readonly position: SourcePosition } | null = null
  #underWay: UnderWay | null = null
  #running: Promise<void> | null = null
  #failure: { readonly error: unknown } | null = null
  #durable: SourcePosition | null

  constructor(log: Pick<ChangeLog, 'request' | 'positions'>, durable: SourcePosition | null) {
    this.#log = log
    this.#durable = durable
  }

  /** What is on the disk; null when nothing is. */
  get durable(): SourcePosition | null {
    return this.#durable
  }

  /**
   * Encodes into the queue. What `write` appends when it throws is taken back. Waits while too much is waiting. Throws
   * what an earlier chunk failed with, before anything is taken: call again.
   */
  async add(write: (records: RecordWriter, items: ChunkItem[]) => SourcePosition | null): Promise<void> {
    await this.#again()
    const { at } = this.#records
    const count = this.#items.length
    try {
      const position = write(this.#records, this.#items)
      // The batch may go on with the first rows of the next transaction.
      const last = this.#items.findLastIndex(({ commit }) => commit !== null)
      if (position !== null && last >= 0) this.#committed = { items: last + 1, position }
    } catch (error) {
      this.#records.at = at
      this.#items.length = count
      throw error
    }
    this.#start()
    // A failure is for the next call: this one's records are taken.
    while (this.#isFull && this.#failure === null) await this.#running
  }

  /** Waits until everything is with the writer, and durable if it ends with a commit. */
  async drain(): Promise<void> {
    do {
      await this.#again()
      await this.#running
    } while (this.#failure !== null || this.#underWay !== null || this.#items.length > 0)
  }

  /** Nothing is durable any more: a copy begins. */
  forget(): void {
    this.#durable = null
  }

  /** The writer was told of this position itself. */
  settle(position: SourcePosition): void {
    this.#durable = position
  }

  get #isFull(): boolean {
    return this.#records.at > QUEUE_BYTES || this.#items.length > QUEUE_ITEMS
  }

  /** Tries what failed again, and throws when it fails again. */
  async #again(): Promise<void> {
    if (this.#failure === null) return
    const { error } = this.#failure
    this.#failure = null
    if (this.#underWay === null) throw error
    this.#running = this.#run()
    await this.#running
    const failed = this.#failure as { readonly error: unknown } | null
    if (failed !== null) throw failed.error
  }

  #start(): void {
    if (this.#running === null && this.#failure === null && this.#items.length > 0)
      this.#running = this.#run()
  }

  /** Never rejects: failures are kept for the next call. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        this.#underWay ??= this.#take()
        if (this.#underWay === null) return
        const { chunk, position } = this.#underWay
        const sending = failpoint('sink-write')
        if (sending !== undefined) await sending
        await this.#log.request({ kind: 'apply', chunk })
        this.#underWay = null
        if (position !== null) this.#durable = position
        const stored = failpoint('sink-stored')
        if (stored !== undefined) await stored
      }
    } catch (error) {
      this.#failure = { error }
    } finally {
      this.#running = null
    }
  }

  /** What ends with a commit, if there is one; rows after it would have to be durable without their position. */
  #take(): UnderWay | null {
    if (this.#items.length === 0) return null
    const committed = this.#committed
    const items = committed === null ? this.#items : this.#items.slice(0, committed.items)
    const rest = committed === null ? [] : this.#items.slice(committed.items)
    const end = items.at(-1)!.end
    const { bytes, at } = this.#records
    const buffer = new Uint8Array(bytes.subarray(0, end))
    bytes.copyWithin(0, end, at)
    this.#records.at = at - end
    this.#items = rest.map((item) => ({ ...item, end: item.end - end }))
    this.#committed = null
    const position = committed?.position ?? null
    const chunk: Chunk = {
      buffer,
      items: packItems(items),
      position: position === null ? null : this.#log.positions.write(position),
    }
    return { chunk, position }
  }
}
