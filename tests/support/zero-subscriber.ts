import { once } from 'node:events'
import { v0 } from '@rocicorp/zero/change-protocol/v0'
import { WebSocket } from 'ws'
import { waitFor } from './wait-for.ts'

/** A transaction as it came over the wire. */
export interface ZeroTransaction {
  readonly watermark: string
  /** What stood between begin and commit. */
  readonly changes: readonly Readonly<Record<string, unknown>>[]
}

export interface SubscriberOptions {
  /** Of the change source, with its own query parameters. */
  readonly url: string
  /** Resumes after this watermark; without it, a snapshot comes first. */
  readonly after?: { readonly lastWatermark: string; readonly replicaVersion: string }
  readonly publications?: readonly string[]
  /** 0 by default. */
  readonly shardNum?: number
  /** Confirms each commit, as zero-cache does; true by default. */
  readonly acks?: boolean
}

/**
 * Speaks the change source protocol as zero-cache does, and checks each message by its schema, and the frame: begin and
 * commit belong together, the watermark of each transaction is above that of the one before. What it throws is in
 * `failure`.
 */
export class ZeroSubscriber implements AsyncDisposable {
  readonly transactions: ZeroTransaction[] = []
  /** Messages other than transactions, in order. */
  readonly others: (readonly unknown[])[] = []
  readonly socket: WebSocket
  readonly #acks: boolean
  #open: { readonly watermark: string; readonly changes: Record<string, unknown>[] } | null = null
  failure: Error | null = null
  /** How the source closed it. */
  closed: { readonly code: number; readonly reason: string } | null = null

  private constructor(socket: WebSocket, acks: boolean) {
    this.socket = socket
    this.#acks = acks
    socket.on('message', (data: Buffer) => {
      try {
        const message = JSON.parse(data.toString()) as unknown
        // The contract of zero-cache, which takes fields that it does not know; we send none.
        v0.changeStreamMessageSchema.parse(message, { mode: 'strict' })
        this.#read(message as [string, Record<string, unknown>, Record<string, string>?])
      } catch (error) {
        this.failure ??= error as Error
      }
    })
    socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }))
    socket.on('error', (error) => (this.failure ??= error))
  }

  static async connect({
    url,
    after,
    publications,
    shardNum,
    acks,
  }: SubscriberOptions): Promise<ZeroSubscriber> {
    const target = new URL(url)
    target.searchParams.set('appID', 'zero')
    target.searchParams.set('shardNum', String(shardNum ?? 0))
    for (const name of publications ?? []) target.searchParams.append('publications', name)
    if (after !== undefined) {
      target.searchParams.set('lastWatermark', after.lastWatermark)
      target.searchParams.set('replicaVersion', after.replicaVersion)
    }
    const subscriber = new ZeroSubscriber(new WebSocket(target), acks ?? true)
    await once(subscriber.socket, 'open')
    return subscriber
  }

  /** Of the last transaction. */
  get watermark(): string | null {
    return this.transactions.at(-1)?.watermark ?? null
  }

  /** Stops reading its socket, as zero-cache does when it is behind. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** Waits for a condition; fails at once when the protocol is broken. */
  async until(what: string, holds: () => boolean, deadlineMs?: number): Promise<void> {
    await waitFor(
      what,
      () => {
        if (this.failure !== null) throw this.failure
        return holds()
      },
      deadlineMs,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return
    this.socket.terminate()
    await once(this.socket, 'close')
  }

  #read([kind, payload, place]: readonly [string, Record<string, unknown>, Record<string, string>?]): void {
    switch (kind) {
      case 'begin': {
        if (this.#open !== null) throw new Error('begin inside of a transaction')
        const watermark = place!['commitWatermark']!
        const last = this.watermark
        if (last !== null && watermark <= last) throw new Error(`watermark ${watermark} after ${last}`)
        this.#open = { watermark, changes: [] }
        break
      }
      case 'data':
        if (this.#open === null) throw new Error(`${String(payload['tag'])} outside of a transaction`)
        this.#open.changes.push(payload)
        break
      case 'commit': {
        const { watermark } = place!
        if (this.#open === null || this.#open.watermark !== watermark)
          throw new Error(`commit ${watermark} of ${this.#open?.watermark ?? 'nothing'}`)
        this.transactions.push(this.#open)
        this.#open = null
        if (this.#acks) this.socket.send(JSON.stringify(['status', { tag: 'commit' }, { watermark }]))
        break
      }
      case 'rollback':
        this.#open = null
        break
      default:
        this.others.push([kind, payload, place])
    }
  }
}
