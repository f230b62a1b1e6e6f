/** Whole numbers as decimal digits, without a JS number of more than 53 bits and without strings. */
import { int32 } from './bson.ts'
import type { CellArena } from './cell-arena.ts'

/** Most bytes of a 64-bit integer: a sign and 19 digits, or 20 digits. */
export const INTEGER_BYTES = 20

/** Two digits each. */
export const TENS = new Uint8Array(100)
export const ONES = new Uint8Array(100)
for (let value = 0; value < 100; value++) {
  TENS[value] = 0x30 + Math.floor(value / 10)
  ONES[value] = 0x30 + (value % 10)
}

const MINUS = 0x2d

/** A signed 32-bit integer. The room is there. */
export function putInt32(out: CellArena, value: number): void {
  if (value < 0) {
    out.arena[out.used++] = MINUS
    putUint32(out, -value)
  } else putUint32(out, value)
}

/** An unsigned 32-bit integer. */
export function putUint32(out: CellArena, value: number): void {
  // Divisions of small integers are much faster than of doubles.
  if (value < 1_000_000_000) return putSmall(out, value | 0)
  const high = Math.floor(value / 1_000_000_000)
  putSmall(out, high)
  putPadded(out, value - high * 1_000_000_000, 9)
}

/** 0 to 999999999. */
function putSmall(out: CellArena, value: number): void {
  putPadded(out, value, countDigits(value))
}

function countDigits(value: number): number {
  if (value < 10000) return value < 100 ? (value < 10 ? 1 : 2) : value < 1000 ? 3 : 4
  if (value < 1_000_000) return value < 100_000 ? 5 : 6
  return value < 10_000_000 ? 7 : value < 100_000_000 ? 8 : 9
}

/** `value` with exactly so many digits, at most nine. */
export function putPadded(out: CellArena, value: number, digits: number): void {
  const { arena } = out
  const start = out.used
  let at = start + digits
  out.used = at
  while (at - start >= 2) {
    const rest = (value / 100) | 0
    const pair = value - rest * 100
    value = rest
    arena[--at] = ONES[pair]!
    arena[--at] = TENS[pair]!
  }
  if (at > start) arena[start] = 0x30 + value
}

/** A signed 64-bit integer, eight bytes at `at`. The room is there. */
export function putInt64(out: CellArena, bytes: Uint8Array, at: number): void {
  let low = int32(bytes, at) >>> 0
  let high = int32(bytes, at + 4)
  if (high < 0) {
    out.arena[out.used++] = MINUS
    low = -low >>> 0
    high = low === 0 ? -high : ~high
  }
  putUnsigned(out, high >>> 0, low)
}

/** Of a whole number below 2^53, of either sign. */
export function putSafe(out: CellArena, value: number): void {
  if (value < 0) {
    out.arena[out.used++] = MINUS
    value = -value
  }
  const high = Math.floor(value / 4294967296)
  putUnsigned(out, high, value - high * 4294967296)
}

/** An unsigned 64-bit integer in two halves. */
function putUnsigned(out: CellArena, high: number, low: number): void {
  if (high === 0) return putUint32(out, low)
  if (high < 0x20_0000) {
    const value = high * 4294967296 + low
    const top = Math.floor(value / 1_000_000_000)
    putUint32(out, top)
    return putPadded(out, value - top * 1_000_000_000, 9)
  }
  // Long division by 10^7, 16 bits at a time: a remainder and 16 bits stay below 2^53.
  const a = Math.floor(high / SEVEN)
  let part = (high - a * SEVEN) * 65536 + (low >>> 16)
  const b = Math.floor(part / SEVEN)
  part = (part - b * SEVEN) * 65536 + (low & 0xffff)
  const c = Math.floor(part / SEVEN)
  const rest = part - c * SEVEN
  // 2^64 / 10^7 is below 2^41.
  const top = (a * 65536 + b) * 65536 + c
  const upper = Math.floor(top / SEVEN)
  putUint32(out, upper)
  putPadded(out, top - upper * SEVEN, 7)
  putPadded(out, rest, 7)
}

const SEVEN = 10_000_000
