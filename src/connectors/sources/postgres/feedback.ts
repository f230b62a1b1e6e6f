/**
 * Standby status updates: what the server may forget, and that we are alive. Only `flush` moves the slot's
 * confirmed_flush_lsn, and it is the exact end LSN of the last durable commit: one byte more would lose the
 * transaction whose commit record begins there. (PostgreSQL documentation, "Streaming Replication Protocol", Standby
 * status update.)
 */
import type pg from 'pg'

const POSTGRES_EPOCH_MS = 946_684_800_000
const MICROS_PER_HIGH = 4_294_967_296

export class Feedback {
  readonly #connection: { sendCopyFromChunk(chunk: Buffer): void }
  readonly #now: () => number
  readonly #timer: NodeJS.Timeout
  readonly #message = Buffer.alloc(34)
  #received = 0n
  #flushed: bigint

  /** Sends at least every `intervalMs`, also while reading is held. `flushed`: what is durable at the start. */
  constructor(client: pg.Client, flushed: bigint, intervalMs: number, now: () => number) {
    this.#connection = (
      client as unknown as { connection: { sendCopyFromChunk(chunk: Buffer): void } }
    ).connection
    this.#now = now
    this.#flushed = flushed
    this.#received = flushed
    this.#timer = setInterval(() => this.send(), intervalMs)
  }

  /** End of the WAL that was received; tells the server nothing about durability. */
  received(lsn: bigint): void {
    if (lsn > this.#received) this.#received = lsn
  }

  /** Everything before `lsn` is durable and stored (law L1). */
  flushed(lsn: bigint): void {
    if (lsn <= this.#flushed) return
    this.#flushed = lsn
    this.send()
  }

  send(): void {
    const message = this.#message
    const received = this.#received > this.#flushed ? this.#received : this.#flushed
    message[0] = 0x72
    message.writeBigUInt64BE(received, 1)
    message.writeBigUInt64BE(this.#flushed, 9)
    message.writeBigUInt64BE(this.#flushed, 17)
    const micros = (this.#now() - POSTGRES_EPOCH_MS) * 1000
    message.writeUInt32BE(Math.floor(micros / MICROS_PER_HIGH), 25)
    message.writeUInt32BE(Math.floor(micros % MICROS_PER_HIGH), 29)
    message[33] = 0
    // The driver writes asynchronously: it needs bytes of its own.
    this.#connection.sendCopyFromChunk(Buffer.from(message))
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
