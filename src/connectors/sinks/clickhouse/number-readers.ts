import type { Arena } from '../../../core/packed-rows.ts'
import type { CellReader } from './cell-readers.ts'
import type { RowWriter } from './row-writer.ts'

const TWO_32 = 4294967296
const MINUS = 45
const POINT = 46
const ZERO = 48

/** Integers of 8 to 64 bits as digits. */
export function intReader(bits: 8 | 16 | 32 | 64, unsigned: boolean): CellReader {
  if (bits === 64) return unsigned ? readUInt64 : readInt64
  const size = bits / 8
  const sign = 2 ** (bits - 1)
  return (input, at, end, out) => {
    if (at + size > end) return -1
    let value = input[at]!
    if (size > 1) value += input[at + 1]! * 256
    if (size > 2) value += input[at + 2]! * 65536 + input[at + 3]! * 16777216
    if (!unsigned && value >= sign) {
      out.bytes[out.at++] = MINUS
      writeDigits(sign * 2 - value, out)
    } else writeDigits(value, out)
    return at + size
  }
}

function readInt64(input: Arena, at: number, end: number, out: RowWriter): number {
  if (at + 8 > end) return -1
  const low = uint32(input, at)
  const high = uint32(input, at + 4) | 0
  if (high >= -0x20_0000 && high < 0x20_0000) {
    const value = high * TWO_32 + low
    if (value < 0) out.bytes[out.at++] = MINUS
    writeDigits(value < 0 ? -value : value, out)
  } else writeText(input.readBigInt64LE(at).toString(), out)
  return at + 8
}

function readUInt64(input: Arena, at: number, end: number, out: RowWriter): number {
  if (at + 8 > end) return -1
  const high = uint32(input, at + 4)
  if (high < 0x20_0000) writeDigits(high * TWO_32 + uint32(input, at), out)
  else writeText(input.readBigUInt64LE(at).toString(), out)
  return at + 8
}

/** Floats as the shortest decimal that reads back equal. */
export function floatReader(bits: 32 | 64): CellReader {
  if (bits === 64) {
    return (input, at, end, out) => {
      if (at + 8 > end) return -1
      writeFloat(input.readDoubleLE(at), out)
      return at + 8
    }
  }
  return (input, at, end, out) => {
    if (at + 4 > end) return -1
    writeFloat(shortest(input.readFloatLE(at)), out)
    return at + 4
  }
}

/** The double with the fewest digits that rounds to the same 32-bit float. */
function shortest(value: number): number {
  if (!Number.isFinite(value) || Number.isInteger(value)) return value
  // Close to zero there are fewer digits than six.
  for (let digits = Math.abs(value) < 1.2e-38 ? 1 : 6; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits))
    if (Math.fround(candidate) === value) return candidate
  }
  return Number(value.toPrecision(9))
}

function writeFloat(value: number, out: RowWriter): void {
  writeText(Object.is(value, -0) ? '-0' : String(value), out)
}

/**
 * Decimals: an integer of so many bytes whose last `scale` digits are the fraction. Shown with `shown` digits of it, as
 * the source does, or with all when the others are not zero.
 */
export function decimalReader(bytes: 4 | 8 | 16 | 32, scale: number, shown: number): CellReader {
  return (input, at, end, out) => {
    if (at + bytes > end) return -1
    const high = bytes === 8 ? uint32(input, at + 4) | 0 : 0
    if (bytes === 4 || (bytes === 8 && high >= -0x20_0000 && high < 0x20_0000)) {
      const value = bytes === 4 ? uint32(input, at) | 0 : high * TWO_32 + uint32(input, at)
      if (value < 0) out.bytes[out.at++] = MINUS
      const start = out.at
      writeDigits(value < 0 ? -value : value, out)
      placePoint(start, scale, shown, out)
    } else {
      let value = 0n
      for (let word = bytes - 8; word >= 0; word -= 8)
        value = (value << 64n) | input.readBigUInt64LE(at + word)
      value = BigInt.asIntN(bytes * 8, value)
      if (value < 0n) out.bytes[out.at++] = MINUS
      const start = out.at
      writeText((value < 0n ? -value : value).toString(), out)
      placePoint(start, scale, shown, out)
    }
    return at + bytes
  }
}

/** Puts the point into the digits that were written from `start` on. */
function placePoint(start: number, scale: number, shown: number, out: RowWriter): void {
  if (scale === 0) return
  const { bytes } = out
  const missing = scale + 1 - (out.at - start)
  if (missing > 0) {
    bytes.copyWithin(start + missing, start, out.at)
    bytes.fill(ZERO, start, start + missing)
    out.at += missing
  }
  const point = out.at - scale
  let last = out.at
  while (last > point + shown && bytes[last - 1] === ZERO) last--
  if (last === point) {
    out.at = point
    return
  }
  bytes.copyWithin(point + 1, point, last)
  bytes[point] = POINT
  out.at = last + 1
}

/** A whole number from 0 to 2^53. */
export function writeDigits(value: number, out: RowWriter): void {
  let rest = value
  if (rest >= 1e9) {
    const upper = Math.floor(rest / 1e9)
    writeDigits(upper, out)
    writePadded(rest - upper * 1e9, 9, out)
    return
  }
  let length = 1
  for (let limit = 10; length < 9 && rest >= limit; limit *= 10) length++
  const { bytes } = out
  for (let at = out.at + length - 1; at >= out.at; at--) {
    const tens = (rest / 10) | 0
    bytes[at] = ZERO + rest - tens * 10
    rest = tens
  }
  out.at += length
}

/** A whole number below 10^9 with exactly that many digits. */
export function writePadded(value: number, digits: number, out: RowWriter): void {
  const { bytes } = out
  let rest = value
  for (let at = out.at + digits - 1; at >= out.at; at--) {
    const tens = (rest / 10) | 0
    bytes[at] = ZERO + rest - tens * 10
    rest = tens
  }
  out.at += digits
}

function writeText(text: string, out: RowWriter): void {
  out.at += out.bytes.write(text, out.at, 'latin1')
}

function uint32(input: Arena, at: number): number {
  return (input[at]! | (input[at + 1]! << 8) | (input[at + 2]! << 16) | (input[at + 3]! << 24)) >>> 0
}
