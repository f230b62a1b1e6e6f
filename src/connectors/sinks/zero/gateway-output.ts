/** How messages reach a consumer: over a WebSocket, or as server-sent events. */
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { closeReason } from './close-reason.ts'
import type { Watermark } from './log-messages.ts'
import { watermarkText } from './messages.ts'

/** Messages that belong together; made once for all consumers that are at the same place. */
export class Part {
  readonly messages: readonly Buffer[]
  /** By index of the message after which a consumer may go on from there. */
  readonly marks: ReadonlyMap<number, Watermark>
  readonly byteSize: number
  #events: Buffer | null = null

  constructor(messages: readonly Buffer[], marks: ReadonlyMap<number, Watermark>) {
    this.messages = messages
    this.marks = marks
    this.byteSize = messages.reduce((sum, { length }) => sum + length, 0)
  }

  /** As events. The browser sends the last id when it connects again. */
  get events(): Buffer {
    this.#events ??= Buffer.concat(
      this.messages.flatMap((message, index) => {
        const mark = this.marks.get(index)
        const head = mark === undefined ? 'data: ' : `id: ${watermarkText(mark)}\ndata: `
        return [Buffer.from(head), message, END]
      }),
    )
    return this.#events
  }
}

const END = Buffer.from('\n\n')
const TEXT = { binary: false }

/** Why a consumer gets no more. */
export interface Farewell {
  /** Close code of a WebSocket. */
  readonly code: number
  /** Status of a request that has had no answer yet. */
  readonly status: number
  /** The last message, before the connection ends; null for none. */
  readonly message: object | null
  readonly reason: string
}

export interface Output {
  readonly isOpen: boolean
  /** Since when (milliseconds on the clock of `performance`) what was sent has not left; null when there is room. */
  readonly fullSince: number | null
  /** What was asked for is understood, and nothing is to be said yet. */
  accept(): void
  send(part: Part): void
  /** Shows that the connection is open, where there is nothing to say. */
  keepAlive(): void
  end(farewell: Farewell): void
}

/** Bytes that may wait for one consumer. */
const WAITING_BYTES = 256 * 1024

export class SocketOutput implements Output {
  readonly #socket: WebSocket
  readonly #stream: Duplex
  readonly #onRoom: () => void
  fullSince: number | null = null

  /** `stream` carries the socket. `onRoom` is called when there is room again. */
  constructor(socket: WebSocket, stream: Duplex, onRoom: () => void) {
    this.#socket = socket
    this.#stream = stream
    this.#onRoom = onRoom
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  send({ messages }: Part): void {
    const last = messages.length - 1
    let left = false
    const onLeft = () => {
      left = true
      if (this.fullSince === null) return
      this.fullSince = null
      this.#onRoom()
    }
    // In one go: a call to the operating system per message would be most of the work.
    this.#stream.cork()
    for (const [index, message] of messages.entries())
      this.#socket.send(message, TEXT, index === last ? onLeft : undefined)
    this.#stream.uncork()
    if (!left && this.#socket.bufferedAmount > WAITING_BYTES) this.fullSince = performance.now()
  }

  accept(): void {}

  /** The listener sends pings. */
  keepAlive(): void {}

  end({ code, message, reason }: Farewell): void {
    if (message !== null) this.#socket.send(JSON.stringify(message))
    this.#socket.close(code, closeReason(reason))
  }
}

export class EventOutput implements Output {
  readonly #response: ServerResponse
  readonly #onRoom: () => void
  fullSince: number | null = null

  constructor(response: ServerResponse, onRoom: () => void) {
    this.#response = response
    this.#onRoom = onRoom
  }

  get isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded
  }

  send(part: Part): void {
    this.#begin()
    let left = false
    this.#response.write(part.events, () => {
      left = true
      if (this.fullSince === null) return
      this.fullSince = null
      this.#onRoom()
    })
    if (!left && this.#response.writableLength > WAITING_BYTES) this.fullSince = performance.now()
  }

  accept(): void {
    this.#begin()
  }

  keepAlive(): void {
    this.#begin()
    this.#response.write(':\n\n')
  }

  end({ status, message }: Farewell): void {
    // Who reads too slowly would not get the last message either.
    if (message === null) return void this.#response.destroy()
    const text = JSON.stringify(message)
    if (this.#response.headersSent) this.#response.end(`data: ${text}\n\n`)
    else this.#response.writeHead(status, { 'Content-Type': 'application/json' }).end(text)
  }

  #begin(): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      // For proxies that would collect the answer (nginx).
      'X-Accel-Buffering': 'no',
    })
    this.#response.flushHeaders()
  }
}
