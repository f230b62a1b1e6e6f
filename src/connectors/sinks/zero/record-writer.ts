import type { Arena } from '../../../core/packed-rows.ts'
import { NULL, VALUE } from './record-reader.ts'

const FIRST_SIZE = 64 * 1024
/** Below this a byte loop beats the call into native code. */
const LOOP_COPY_MAX = 32
/** Always free behind a `reserve`: more than a cell takes whose size has a limit (a number of 128 bytes at most). */
const SLACK = 256

/**
 * A growing byte buffer that records are written into. The fields are public because the cell writers are hot loops:
 * they write at `bytes[at]` and move `at`. Only [0, at) counts.
 */
export class RecordWriter {
  bytes: Arena
  at = 0

  constructor(size = FIRST_SIZE) {
    this.bytes = Buffer.allocUnsafeSlow(size) as Arena
  }

  /** Forgets what was written and keeps the memory. */
  clear(): void {
    this.at = 0
  }

  /** What was written, as a copy that stays; a buffer of its own, so that it can be handed to another thread. */
  take(): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(this.at)
    copy.set(this.bytes.subarray(0, this.at))
    this.at = 0
    return copy
  }

  /** Makes room for `count` bytes and the slack. `bytes` may be another buffer afterwards. */
  reserve(count: number): void {
    const needed = this.at + count + SLACK
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.at)
    this.bytes = grown as Arena
  }

  /** Unsigned LEB128, in the fewest bytes. */
  varint(value: number): void {
    let rest = value
    while (rest > 127) {
      this.bytes[this.at++] = (rest & 127) | 128
      rest >>>= 7
    }
    this.bytes[this.at++] = rest
  }

  /** Bytes as they are. */
  copy(from: Uint8Array, start: number, end: number): void {
    const length = end - start
    this.reserve(length)
    const { bytes, at } = this
    if (length <= LOOP_COPY_MAX) for (let i = 0; i < length; i++) bytes[at + i] = from[start + i]!
    else bytes.set(from.subarray(start, end), at)
    this.at = at + length
  }

  /** A cell of JSON text, or NULL. */
  cell(json: string | null): void {
    this.reserve(5)
    if (json === null) {
      this.bytes[this.at++] = NULL
      return
    }
    const bytes = Buffer.from(json)
    this.varint(bytes.length + VALUE)
    this.copy(bytes, 0, bytes.length)
  }

  /**
   * Writes the length of what stands behind a gap of `gap` bytes at `start`, plus `extra`, into the gap; what stands
   * there moves when the length needs another number of bytes. Returns how many it took.
   */
  closeGap(start: number, gap: number, extra: number): number {
    const length = this.at - start - gap
    const size = varintSize(length + extra)
    if (size !== gap) {
      this.reserve(size)
      this.bytes.copyWithin(start + size, start + gap, this.at)
    }
    this.at = start
    this.varint(length + extra)
    this.at = start + size + length
    return size
  }
}

function varintSize(value: number): number {
  if (value < 128) return 1
  if (value < 16384) return 2
  if (value < 2097152) return 3
  return value < 268435456 ? 4 : 5
}
