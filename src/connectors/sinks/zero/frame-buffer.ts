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

  /**
   * The messages as WebSocket frames of text, one behind the other, as a server sends them uncompressed (RFC 6455, section
   * 5.2). The result is the caller's own; this one starts anew with its memory.
   */
  takeFramed(): Buffer {
    let size = this.#at
    let start = 0
    for (const end of this.#ends) {
      size += headerSize(end - start)
      start = end
    }
    const framed = Buffer.allocUnsafeSlow(size)
    let to = 0
    start = 0
    for (const end of this.#ends) {
      to = writeHeader(framed, to, end - start)
      to += this.#bytes.copy(framed, to, start, end)
      start = end
    }
    this.#at = 0
    this.#ends = []
    return framed
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

/** FIN, opcode text. */
const TEXT_FRAME = 0x81

function headerSize(length: number): number {
  if (length < 126) return 2
  return length < 65536 ? 4 : 10
}

/** Returns where the payload begins. */
function writeHeader(to: Buffer, at: number, length: number): number {
  to[at] = TEXT_FRAME
  if (length < 126) {
    to[at + 1] = length
    return at + 2
  }
  if (length < 65536) {
    to[at + 1] = 126
    return to.writeUInt16BE(length, at + 2)
  }
  to[at + 1] = 127
  return to.writeBigUInt64BE(BigInt(length), at + 2)
}
