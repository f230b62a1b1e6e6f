import type { WebSocket } from 'ws'
import type { FrameBuffer } from './frame-buffer.ts'

/** Bytes that may wait in a socket before its subscriber gets no more. */
const WAITING_BYTES = 1024 * 1024

/** Sends to one socket no faster than it takes. */
export class Sender {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  /** Hands all messages over; resolves when there is room for more, or the socket is gone. */
  async send(frames: FrameBuffer): Promise<void> {
    const all = frames.take()
    const last = all.at(-1)
    if (last === undefined || !this.isOpen) return
    for (const message of all) if (message !== last) this.#socket.send(message, TEXT)
    const room = this.#socket.bufferedAmount < WAITING_BYTES
    if (room) {
      this.#socket.send(last, TEXT)
      return
    }
    // Called when the bytes are with the operating system, or with an error when the socket is gone.
    await new Promise<void>((resolve) => this.#socket.send(last, TEXT, () => resolve()))
  }
}

const TEXT = { binary: false }
