import type { Arena } from '../../../core/packed-rows.ts'

const FIRST_SIZE = 64 * 1024
/** Below this a byte loop beats the call into native code. */
const LOOP_COPY_MAX = 24

/**
 * A growing byte buffer that rows are written into. The fields are public because the cell writers are hot loops: they
 * write at `bytes[at]` and move `at`. `slack` bytes are always free behind a `reserve`, enough for all cells of a row
 * whose size is fixed, so that only text and arrays have to reserve.
 */
export class RowWriter {
  bytes: Arena
  at = 0
  readonly slack: number

  constructor(slack: number, bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_SIZE)) {
    this.bytes = bytes as Arena
    this.slack = slack
  }

  /** Makes room for `count` bytes and the slack. `bytes` may be another buffer afterwards. */
  reserve(count: number): void {
    const needed = this.at + count + this.slack
    if (needed <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(grown, 0, 0, this.at)
    this.bytes = grown as Arena
  }

  /** Unsigned LEB128, as RowBinary counts lengths; up to 5 bytes. */
  varint(value: number): void {
    let rest = value
    while (rest > 127) {
      this.bytes[this.at++] = (rest & 127) | 128
      rest >>>= 7
    }
    this.bytes[this.at++] = rest
  }

  /** Bytes as they are. */
  copy(from: Buffer, start: number, end: number): void {
    const length = end - start
    this.reserve(length)
    const { bytes } = this
    const at = this.at
    if (length <= LOOP_COPY_MAX) for (let i = 0; i < length; i++) bytes[at + i] = from[start + i]!
    else from.copy(bytes, at, start, end)
    this.at = at + length
  }

  /** A 32-bit number, little endian; only the low 32 bits count. */
  int32(value: number): void {
    const { bytes } = this
    const at = this.at
    bytes[at] = value & 255
    bytes[at + 1] = (value >>> 8) & 255
    bytes[at + 2] = (value >>> 16) & 255
    bytes[at + 3] = value >>> 24
    this.at = at + 4
  }

  /** A 64-bit number from its halves, little endian. */
  int64(high: number, low: number): void {
    const { bytes } = this
    const at = this.at
    bytes[at] = low & 255
    bytes[at + 1] = (low >>> 8) & 255
    bytes[at + 2] = (low >>> 16) & 255
    bytes[at + 3] = low >>> 24
    bytes[at + 4] = high & 255
    bytes[at + 5] = (high >>> 8) & 255
    bytes[at + 6] = (high >>> 16) & 255
    bytes[at + 7] = high >>> 24
    this.at = at + 8
  }
}
