/**
 * Reads CopyData messages straight from a `pg` connection's socket into a byte arena, where they are decoded in
 * place: `pg`'s own listener only sees the other messages (errors, notices, CopyDone, ReadyForQuery). Protocol:
 * PostgreSQL documentation, section "Message Formats".
 *
 * Back-pressure: while a batch waits for room the socket is paused, so the server's sends block.
 */
import type { Socket } from 'node:net'
import type pg from 'pg'
import { failpoint } from '../../../core/failpoint.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { BatchWriter } from '../../../core/source.ts'
import { BurstMeter } from './burst.ts'
import { type FrameConsumer, Stop } from './frames.ts'

/** Bytes of an arena: so large that the work per batch does not matter, so small that it stays in the CPU's cache. */
const ARENA_BYTES = 512 * 1024
const COPY_DATA = 0x64

export class WireReader {
  readonly #consumer: FrameConsumer
  readonly #out: Pick<BatchWriter, 'write'>
  readonly #stream: Socket
  readonly #pgListener: (chunk: Buffer) => void
  readonly #burst: BurstMeter | null
  #arena = allocate(ARENA_BYTES)
  /** End of the received bytes in the arena, and of the decoded ones. */
  #used = 0
  #parsed = 0
  /** Chunks that arrived while reading was held. */
  readonly #backlog: Buffer[] = []
  #held = false
  /** What reading is held for. */
  #work: Promise<void> = Promise.resolve()
  #stopped = false
  #turn: NodeJS.Immediate | null = null
  #fail: (error: unknown) => void = () => {}
  /** Rejects with the first error of the consumer or the channel; never resolves. */
  readonly failure: Promise<never>

  /** Takes the socket over; the connection must be idle, so that `pg` holds no partial message. */
  constructor(client: pg.Client, consumer: FrameConsumer, out: Pick<BatchWriter, 'write'>) {
    this.#consumer = consumer
    this.#out = out
    this.#stream = (client as unknown as { connection: { stream: Socket } }).connection.stream
    this.#pgListener = this.#stream.listeners('data')[0] as (chunk: Buffer) => void
    this.failure = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.failure.catch(() => {})
    this.#burst =
      this.#stream.remoteAddress === undefined
        ? null
        : new BurstMeter(this.#stream, () => this.#held || this.#stopped)
    this.#stream.removeListener('data', this.#pgListener)
    this.#stream.on('data', this.#onData)
  }

  /** Stops reading; the connection stays, and can still be written to. */
  stop(): void {
    this.#stopped = true
    this.#burst?.stop()
    if (this.#turn !== null) clearImmediate(this.#turn)
    this.#stream.pause()
  }

  /** Stops, and throws away what still comes: only a socket that is read notices the end of its connection. */
  discard(): void {
    this.stop()
    this.#stream.resume()
  }

  /** Hands over the rest and gives the idle socket back to `pg`. */
  async finish(): Promise<void> {
    while (this.#held) await Promise.race([this.#work, this.failure])
    await this.#cut()
    this.stop()
    this.#stream.removeListener('data', this.#onData)
    this.#stream.on('data', this.#pgListener)
    this.#stream.resume()
  }

  /** True when everything that was received is decoded and handed over. */
  get drained(): boolean {
    return !this.#held && !this.#consumer.hasRows && this.#backlog.length === 0
  }

  /** Runs `work` between two messages, with everything before handed over. Not while reading is held. */
  between(work: () => Promise<void>): void {
    if (this.#held || this.#stopped) return
    this.#hold(Promise.resolve(this.#cut()).then(work))
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#stopped) return
    this.#burst?.add(chunk.length)
    if (this.#held) {
      this.#backlog.push(chunk)
      return
    }
    const held = failpoint('source-read')
    if (held !== undefined) {
      this.#backlog.push(chunk)
      return this.#hold(held)
    }
    this.#guard(() => this.#take(chunk))
    this.#turn ??= setImmediate(this.#endOfTurn)
  }

  /** The kernel has nothing more at hand: pass on what there is, so that latency is one turn of the event loop. */
  readonly #endOfTurn = (): void => {
    this.#turn = null
    if (!this.#held) this.#guard(() => this.#handOver())
    this.#burst?.endOfTurn()
  }

  #take(chunk: Buffer): void {
    if (this.#used + chunk.length > this.#arena.length) {
      this.#handOver()
      this.#makeRoom(chunk.length)
    }
    chunk.copy(this.#arena, this.#used)
    this.#used += chunk.length
    if (!this.#held) this.#decode()
  }

  /** Decodes all complete messages; holds reading when one needs attention. */
  #decode(): void {
    const arena = this.#arena
    let at = this.#parsed
    while (this.#used - at >= 5) {
      const end =
        at + 1 + ((arena[at + 1]! << 24) | (arena[at + 2]! << 16) | (arena[at + 3]! << 8) | arena[at + 4]!)
      if (end > this.#used) break
      this.#parsed = end
      if (arena[at] !== COPY_DATA) {
        this.#pgListener(Buffer.from(arena.subarray(at, end)))
      } else {
        const stop = this.#consumer.copyData(arena, at + 5, end)
        if (stop === Stop.no) {
          at = end
          continue
        }
        if (stop === Stop.before) this.#parsed = at
        this.#hold(Promise.resolve(this.#cut()).then(() => this.#consumer.attend()))
        return
      }
      at = end
    }
  }

  #handOver(): void {
    const wait = this.#cut()
    if (wait !== undefined) this.#hold(wait)
  }

  /** Takes a batch and writes it. A small one is copied, so that it does not hold a whole arena. */
  #cut(): void | Promise<void> {
    if (!this.#consumer.hasRows) return
    const decoded = this.#arena.subarray(0, this.#parsed)
    if (this.#parsed * 2 < this.#arena.length) {
      const batch = this.#consumer.take(Buffer.from(decoded) as Arena)
      this.#compact()
      return this.#out.write(batch)
    }
    const rest = this.#arena.subarray(this.#parsed, this.#used)
    this.#arena = allocate(Math.max(ARENA_BYTES, rest.length * 2))
    rest.copy(this.#arena)
    this.#used = rest.length
    this.#parsed = 0
    return this.#out.write(this.#consumer.take(decoded as Arena))
  }

  /** Drops the decoded bytes; only when no row refers to them. */
  #compact(): void {
    this.#arena.copyWithin(0, this.#parsed, this.#used)
    this.#used -= this.#parsed
    this.#parsed = 0
  }

  /** Room for `bytes` more. Doubling, as a message may be much larger than an arena. */
  #makeRoom(bytes: number): void {
    if (!this.#consumer.hasRows) this.#compact()
    const needed = this.#used + bytes
    if (needed <= this.#arena.length && this.#arena.length <= ARENA_BYTES * 4) return
    const grown = allocate(
      needed <= ARENA_BYTES ? ARENA_BYTES : Math.max(needed, Math.min(this.#arena.length * 2, needed * 2)),
    )
    this.#arena.copy(grown, 0, 0, this.#used)
    this.#arena = grown
  }

  /** Reads nothing until `work` is done, then goes on with what is at hand. */
  #hold(work: Promise<void>): void {
    this.#held = true
    this.#stream.pause()
    this.#work = work.then(
      () => {
        this.#held = false
        if (this.#stopped) return
        this.#guard(() => this.#goOn())
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #goOn(): void {
    this.#decode()
    while (!this.#held && this.#backlog.length > 0) this.#take(this.#backlog.shift()!)
    if (this.#held) return
    this.#turn ??= setImmediate(this.#endOfTurn)
    if (this.#burst?.resting !== true) this.#stream.resume()
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.stop()
      this.#fail(error)
    }
  }
}

function allocate(bytes: number): Arena {
  return Buffer.allocUnsafeSlow(bytes) as Arena
}
