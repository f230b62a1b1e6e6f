/**
 * One zero-cache on one socket: a snapshot and then it leaves, or everything after its watermark and then what comes.
 * (Custom change source protocol of zero-cache, version 0.)
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Logger } from '../../../core/context.ts'
import type { ChangeLog } from './change-log.ts'
import { placeholderOf } from './earlier-server.ts'
import { FrameBuffer } from './frame-buffer.ts'
import { EntryKind, type Watermark } from './log-messages.ts'
import type { Entry, LogSnapshot, Reading } from './log-reader.ts'
import * as messages from './messages.ts'
import type { Publications } from './publications.ts'
import { Sender } from './sender.ts'
import { sendSnapshot } from './snapshot.ts'
import { readWatermark, type StreamRequest } from './stream-request.ts'
import type { Subscribers } from './subscribers.ts'
import type { ZeroView } from './zero-view.ts'

/** Bytes of the log that become one transaction or one part of a large one. */
const READ_BYTES = 512 * 1024
/**
 * Transactions that may be on their way. Storing one costs zero-cache a millisecond or two: when more come, those that
 * wait become one.
 */
const IN_FLIGHT = 3
const PRUNED = 'entries that the subscriber needs were removed from the change log'
/** An answer that does not come holds nothing up for longer, in milliseconds. */
const ACK_PATIENCE_MS = 2000

export interface SubscriptionOptions {
  readonly request: StreamRequest
  /** Who it is, for what it has to be kept. */
  readonly id: string
  readonly shardNum: number
  readonly view: ZeroView
  readonly publications: Publications
  readonly log: ChangeLog
  readonly subscribers: Subscribers
  readonly logger: Logger
}

export class Subscription {
  readonly #options: SubscriptionOptions
  readonly #socket: WebSocket
  readonly #sender: Sender
  /** Watermarks that were sent and not acknowledged. */
  readonly #sent: Watermark[] = []
  #wake: (() => void) | null = null
  #followsEarlier = false

  constructor(socket: WebSocket, stream: Duplex, options: SubscriptionOptions) {
    this.#socket = socket
    this.#sender = new Sender(socket, stream)
    this.#options = options
    socket.on('message', (data) => this.#received(String(data as Buffer)))
    socket.on('close', () => this.#wake?.())
  }

  /** Ends with the socket. */
  async run(): Promise<void> {
    const { log, request, id, subscribers } = this.#options
    const leave = log.onPublished(() => this.#wake?.())
    try {
      if (request.after === null) await this.#snapshot()
      else await this.#resume(request.after)
      // The end of a snapshot is for zero-cache to see: it closes.
      while (this.#sender.isOpen) await this.#change()
    } finally {
      leave()
      subscribers.leave(id, this)
    }
  }

  async #snapshot(): Promise<void> {
    const { id, subscribers, logger, view, publications } = this.#options
    const snapshot = await this.#wholeState()
    if (snapshot === null) return
    try {
      const { watermark } = snapshot
      subscribers.advance(id, this, watermark)
      logger.info('snapshot begins', { subscriber: id, tables: snapshot.tables.length })
      const rows = await sendSnapshot(snapshot, view, publications, this.#sender)
      if (this.#sender.isOpen) logger.info('snapshot sent', { subscriber: id, rows })
    } finally {
      snapshot.close()
    }
  }

  /** The published state, as soon as there is one and under a watermark that nobody else got; null when nobody waits. */
  async #wholeState(): Promise<LogSnapshot | null> {
    const { log } = this.#options
    for (;;) {
      while (this.#sender.isOpen && !log.isWhole) await this.#change()
      if (!this.#sender.isOpen) return null
      // Whoever had a snapshot before must not get the same watermark for another one.
      const before = log.head
      await log.request({ kind: 'bump' })
      while (this.#sender.isOpen && (log.head === before || !log.isWhole)) await this.#change()
      if (!this.#sender.isOpen) return null
      const snapshot = log.reader.snapshot()
      if (!snapshot.waiting) return snapshot
      // The thread that writes is further than what is known here: a copy goes on by now.
      snapshot.close()
    }
  }

  async #resume(after: Watermark | 'unknown'): Promise<void> {
    const { log, id, subscribers, view, request, logger } = this.#options
    const isEarlier = await this.#isEarlier(after)
    if (!this.#sender.isOpen) return
    // The first entry of the log follows it.
    const seq = isEarlier ? 0 : after === 'unknown' ? null : log.reader.lastEntryOf(after)
    const reason =
      after === 'unknown' || seq === null || after > log.head
        ? 'the watermark is not, or no longer, in the change log'
        : request.replicaVersion === 'unknown' || (request.replicaVersion ?? 0) > after
          ? 'the replica version is not of this change log'
          : view.changedSince(after, (name) => log.reader.publicationSince(name))
    if (reason !== null) return this.#reset(reason)
    subscribers.advance(id, this, after as Watermark)
    logger.info('subscriber follows', { subscriber: id })
    await this.#follow(seq!, after as Watermark)
  }

  /** Whether it followed an earlier server, once there is something for it: that is so when the first copy is complete. */
  async #isEarlier(after: Watermark | 'unknown'): Promise<boolean> {
    const { log, shardNum } = this.#options
    const isEarlier = (): boolean => after !== 'unknown' && log.reader.isEarlier(shardNum, after)
    while (this.#sender.isOpen && log.head === 0 && isEarlier()) await this.#change()
    this.#followsEarlier = this.#sender.isOpen && isEarlier()
    return this.#followsEarlier
  }

  /** Sends whatever comes, merged while the subscriber is behind; large transactions in parts. */
  async #follow(from: number, after: Watermark): Promise<void> {
    const { log } = this.#options
    let seq = from
    let watermark = after
    while (this.#sender.isOpen) {
      const { head } = log
      if (watermark >= head) {
        await this.#change()
        continue
      }
      await this.#acknowledged()
      const reading = log.reader.read(seq, log.head, READ_BYTES)
      if (reading === null) return this.#reset(PRUNED)
      const { entries } = reading
      if (entries.length === 0) {
        // Published, and of no interest any more: cannot be, as every watermark has an entry.
        await this.#change(ACK_PATIENCE_MS)
        continue
      }
      const complete = wholeTransactions(reading)
      if (complete.length > 0) {
        await this.#send(complete)
        seq = complete.at(-1)!.seq
        watermark = complete.at(-1)!.watermark
      } else {
        watermark = entries[0]!.watermark
        const last = await this.#sendLarge(entries)
        if (last === null) return
        seq = last
      }
    }
  }

  async #send(entries: readonly Entry[]): Promise<void> {
    const { watermark, time } = entries.at(-1)!
    const text = messages.watermarkText(watermark)
    const out = new FrameBuffer()
    out.message(messages.begin(text))
    for (const entry of entries) this.#options.view.entry(entry, out)
    out.message(messages.commit(text, time))
    this.#sent.push(watermark)
    await this.#sender.send(out)
  }

  /** One transaction whose end was not read yet. Returns the number of its last entry, null when it cannot be sent. */
  async #sendLarge(first: readonly Entry[]): Promise<number | null> {
    const { log, view } = this.#options
    const { watermark } = first[0]!
    const text = messages.watermarkText(watermark)
    const out = new FrameBuffer()
    out.message(messages.begin(text))
    let seq = first[0]!.seq - 1
    let time: number | null = null
    for (let entries: readonly Entry[] = first; entries.length > 0;) {
      for (const entry of entries) {
        view.entry(entry, out)
        seq = entry.seq
        ;({ time } = entry)
        await this.#sender.send(out)
        if (!this.#sender.isOpen) return null
      }
      const more = log.reader.read(seq, watermark, READ_BYTES)
      if (more === null) {
        this.#socket.send(messages.ROLLBACK)
        this.#reset(PRUNED)
        return null
      }
      ;({ entries } = more)
    }
    out.message(messages.commit(text, time))
    this.#sent.push(watermark)
    await this.#sender.send(out)
    return seq
  }

  #reset(reason: string): void {
    const { id, logger } = this.#options
    logger.warn('a subscriber has to begin anew', { subscriber: id, reason })
    this.#socket.send(messages.resetRequired(reason))
  }

  /** `["status", payload, {"watermark": "..."}]`: everything up to there is stored. */
  #received(text: string): void {
    const watermark = readAck(text)
    if (watermark === null) {
      this.#socket.close(1008, 'only status messages are understood')
      return
    }
    const { subscribers, id, shardNum } = this.#options
    const { length } = this.#sent
    while (this.#sent.length > 0 && this.#sent[0]! <= watermark) this.#sent.shift()
    if (this.#sent.length === length) return
    subscribers.advance(id, this, watermark)
    if (this.#followsEarlier) subscribers.release(placeholderOf(String(shardNum)))
    this.#wake?.()
  }

  /** Waits until few enough transactions are on their way. */
  async #acknowledged(): Promise<void> {
    const deadline = performance.now() + ACK_PATIENCE_MS
    while (this.#sent.length >= IN_FLIGHT && this.#sender.isOpen) {
      const left = deadline - performance.now()
      if (left <= 0) return
      await this.#change(left)
    }
  }

  /** Waits until something was published or acknowledged, the socket closed, or for so long. */
  #change(patienceMs?: number): Promise<void> {
    if (!this.#sender.isOpen) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = patienceMs === undefined ? null : setTimeout(() => this.#wake?.(), patienceMs)
      this.#wake = () => {
        this.#wake = null
        if (timer !== null) clearTimeout(timer)
        resolve()
      }
    })
  }
}

/**
 * Entries of whole transactions at the beginning: several become one. What changes tables stays for itself, as the
 * replica builds them anew. Empty when the first transaction goes on behind what was read.
 */
function wholeTransactions({ entries, isEnd }: Reading): readonly Entry[] {
  const last = entries.at(-1)!.watermark
  const whole = isEnd ? entries : entries.filter(({ watermark }) => watermark !== last)
  const event = whole.find(({ kind }) => kind === EntryKind.event)
  if (event === undefined) return whole
  const before = whole.filter(({ watermark }) => watermark < event.watermark)
  return before.length > 0 ? before : whole.filter(({ watermark }) => watermark === event.watermark)
}

function readAck(text: string): Watermark | null {
  try {
    const message = JSON.parse(text) as [unknown, unknown, { watermark?: unknown }?]
    if (!Array.isArray(message) || message[0] !== 'status') return null
    const watermark = message[2]?.watermark
    return typeof watermark === 'string' ? readWatermark(watermark) : null
  } catch {
    return null
  }
}
