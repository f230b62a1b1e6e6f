import { EventEmitter } from 'node:events'
import type pg from 'pg'

/** A socket that is not one: what it is given arrives as chunks, and it counts how often it was held. */
export class FakeSocket extends EventEmitter {
  /** Undefined as with a Unix socket: reading is not held back to gather more. */
  readonly remoteAddress: string | undefined = undefined
  paused = false
  pauses = 0
  /** What went to the listener of `pg`. */
  readonly forwarded: Buffer[] = []
  #waiting: Buffer[] = []

  constructor() {
    super()
    this.on('data', (chunk: Buffer) => void this.forwarded.push(chunk))
  }

  get client(): pg.Client {
    return { connection: { stream: this } } as unknown as pg.Client
  }

  pause(): this {
    this.paused = true
    this.pauses++
    return this
  }

  resume(): this {
    this.paused = false
    this.#flow()
    return this
  }

  /** Bytes come in; what does not fit while the socket is held stays in the kernel. */
  receive(...chunks: readonly Buffer[]): void {
    this.#waiting.push(...chunks)
    this.#flow()
  }

  /** A chunk that was on its way when the socket was held. */
  receiveAnyway(chunk: Buffer): void {
    this.emit('data', chunk)
  }

  get waiting(): number {
    return this.#waiting.length
  }

  #flow(): void {
    while (!this.paused && this.#waiting.length > 0) this.emit('data', this.#waiting.shift()!)
  }
}
