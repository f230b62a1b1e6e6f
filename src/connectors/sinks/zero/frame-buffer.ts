import type { Arena } from '../../../core/packed-rows.ts'

/** Messages one behind the other in one buffer: a socket gets views of it, nothing is copied again. */
export class FrameBuffer {
  #bytes: Arena
  #at = 0
  #ends: number[] = []

  constructor(size = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(size) as Arena
  }

  get byteSize(): number {
    return this.#at
  }

  get count(): number {
    return this.#ends.length
  }

  /** Ends the message. */
  end(): void {
    this.#ends.push(this.#at)
  }

  /** A whole message. */
  message(text: string): void {
    this.text(text)
    this.end()
  }

  text(text: string): void {
    const length = Buffer.byteLength(text)
    this.#reserve(length)
    this.#at += this.#bytes.write(text, this.#at)
  }

  bytes(from: Uint8Array, start = 0, end = from.length): void {
    const length = end - start
    this.#reserve(length)
    if (length < 32) for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = from[start + i]!
    else this.#bytes.set(from.subarray(start, end), this.#at)
    this.#at += length
  }

  /** The messages, in order; the buffer is theirs now, and this one starts anew. */
  take(): readonly Buffer[] {
    let start = 0
    const messages = this.#ends.map((end) => {
      const message = this.#bytes.subarray(start, end)
      start = end
      return message
    })
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(4096, Math.min(this.#at, 1 << 20))) as Arena
    this.#at = 0
    this.#ends = []
    return messages
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2)) as Arena
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}
