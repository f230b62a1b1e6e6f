import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { FrameBuffer } from './frame-buffer.ts'

/** Bytes that may wait in a socket before its subscriber gets no more. */
const WAITING_BYTES = 1024 * 1024

/** Sends to one socket no faster than it takes. */
export class Sender {
  readonly #socket: WebSocket
  readonly #stream: Duplex

  /** `stream` carries the socket. */
  constructor(socket: WebSocket, stream: Duplex) {
    this.#socket = socket
    this.#stream = stream
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  /** Hands all messages over; resolves when there is room for more, or the socket is gone. */
  async send(frames: FrameBuffer): Promise<void> {
    if (frames.count === 0 || !this.isOpen) return
    if (this.#socket.extensions === '') return this.#sendFramed(frames.takeFramed())
    const all = frames.take()
    const last = all.at(-1)!
    for (const message of all) if (message !== last) this.#socket.send(message, TEXT)
    if (this.#socket.bufferedAmount < WAITING_BYTES) this.#socket.send(last, TEXT)
    // Called when the bytes are with the operating system, or with an error when the socket is gone.
    else await new Promise<void>((resolve) => this.#socket.send(last, TEXT, () => resolve()))
  }

  /**
   * Without compression a message is its bytes: they go to the stream in one piece, where `ws` would make some objects for
   * each. Its own frames (pings, pongs, the end) go between such pieces.
   */
  async #sendFramed(framed: Buffer): Promise<void> {
    if (this.#stream.writableLength + framed.length < WAITING_BYTES) this.#stream.write(framed)
    else await new Promise<void>((resolve) => this.#stream.write(framed, () => resolve()))
  }
}

const TEXT = { binary: false }
