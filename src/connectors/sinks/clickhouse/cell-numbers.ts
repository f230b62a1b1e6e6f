import type { Arena } from '../../../core/packed-rows.ts'
import { type CellWriter, malformed, outOfRange } from './cells.ts'
import type { RowWriter } from './row-writer.ts'

const TWO_32 = 4294967296
const MINUS = 45
const POINT = 46
const RANGE_FIX = 'Copy the table again; if it comes back, the source announced a type that is too narrow.'

/** Integers are range checked here because ClickHouse wraps them without an error. */
export function intWriter(bits: 8 | 16 | 32 | 64, unsigned: boolean): CellWriter {
  if (bits === 64) return unsigned ? writeUInt64 : writeInt64
  const min = unsigned ? 0 : -(2 ** (bits - 1))
  const max = unsigned ? 2 ** bits - 1 : 2 ** (bits - 1) - 1
  const read = (arena: Arena, offset: number, length: number): number => {
    const negative = arena[offset] === MINUS
    const start = negative ? offset + 1 : offset
    const end = offset + length
    if (end - start > 10) throw tooLarge()
    const digits = readDigits(arena, start, end)
    const value = negative ? -digits : digits
    if (value < min || value > max) throw tooLarge()
    return value
  }
  if (bits === 8) {
    return (arena, offset, length, out) => {
      out.bytes[out.at++] = read(arena, offset, length) & 255
    }
  }
  if (bits === 16) {
    return (arena, offset, length, out) => {
      const value = read(arena, offset, length)
      out.bytes[out.at++] = value & 255
      out.bytes[out.at++] = (value >>> 8) & 255
    }
  }
  return (arena, offset, length, out) => out.int32(read(arena, offset, length))
}

function writeInt64(arena: Arena, offset: number, length: number, out: RowWriter): void {
  const negative = arena[offset] === MINUS
  writeDigits64(arena, negative ? offset + 1 : offset, offset + length, negative, out)
}

function writeUInt64(arena: Arena, offset: number, length: number, out: RowWriter): void {
  const end = offset + length
  if (arena[offset] === MINUS) throw tooLarge()
  if (length <= 15) return writeSmall64(readDigits(arena, offset, end), false, out)
  if (length > 20) throw tooLarge()
  const low = multiply(readDigits(arena, offset, end - 9), 1e9, readDigits(arena, end - 9, end))
  if (product.high >= TWO_32) throw tooLarge()
  out.int64(product.high, low)
}

/** Digits of a signed 64-bit number. Up to 15 digits a double is exact; more are cut into two parts. */
function writeDigits64(arena: Arena, start: number, end: number, negative: boolean, out: RowWriter): void {
  if (end - start <= 15) return writeSmall64(readDigits(arena, start, end), negative, out)
  if (end - start > 19) throw tooLarge()
  writeParts64(readDigits(arena, start, end - 9), readDigits(arena, end - 9, end), negative, out)
}

/** `upper * 10^9 + lower`, signed. */
function writeParts64(upper: number, lower: number, negative: boolean, out: RowWriter): void {
  const low = multiply(upper, 1e9, lower)
  const { high } = product
  const limit = 2147483648
  if (high > limit || (high === limit && !(negative && low === 0))) throw tooLarge()
  if (negative) writeNegated(high, low, out)
  else out.int64(high, low)
}

function writeSmall64(value: number, negative: boolean, out: RowWriter): void {
  const high = Math.floor(value / TWO_32)
  const low = value - high * TWO_32
  if (negative) writeNegated(high, low, out)
  else out.int64(high, low)
}

function writeNegated(high: number, low: number, out: RowWriter): void {
  const negatedLow = -low >>> 0
  out.int64(negatedLow === 0 ? -high : ~high, negatedLow)
}

/** The upper half of what `multiply` gave last: a second result without an object per call. */
export const product = { high: 0 }

/**
 * `value * factor + rest` as two 32-bit halves, without losing a bit: returns the lower one, in [0, 2^32), and leaves
 * the upper one in `product`. Whole numbers; `value` from -2^38 to 2^38, `factor` and `rest` at most 10^9.
 */
export function multiply(value: number, factor: number, rest: number): number {
  const upper = Math.floor(value / 65536)
  const scaled = upper * factor
  const high = Math.floor(scaled / 65536)
  const low = (scaled - high * 65536) * 65536 + (value - upper * 65536) * factor + rest
  const carry = Math.floor(low / TWO_32)
  product.high = high + carry
  return low - carry * TWO_32
}

/** Up to 15 decimal digits; at least one. */
function readDigits(arena: Arena, start: number, end: number): number {
  if (start >= end) throw malformed('a number')
  let value = 0
  for (let at = start; at < end; at++) {
    const digit = arena[at]! - 48
    if (digit >>> 0 > 9) throw malformed('a number')
    value = value * 10 + digit
  }
  return value
}

function tooLarge(): Error {
  return outOfRange('is outside the range of the ClickHouse column', RANGE_FIX)
}

const scratch = new DataView(new ArrayBuffer(8))
const POWERS_OF_TEN = Array.from({ length: 23 }, (_, power) => Number(`1e${power}`))

/** Floats. The nearest double of the text, rounded once more for 32 bits, which gives back a float's shortest text. */
export function floatWriter(bits: 32 | 64): CellWriter {
  return (arena, offset, length, out) => {
    const value = readDouble(arena, offset, length)
    if (bits === 64) {
      scratch.setFloat64(0, value, true)
      out.int64(scratch.getInt32(4, true), scratch.getInt32(0, true))
      return
    }
    const narrow = Math.fround(value)
    if (Number.isFinite(value) && !Number.isFinite(narrow)) throw tooLarge()
    scratch.setFloat32(0, narrow, true)
    out.int32(scratch.getInt32(0, true))
  }
}

function readDouble(arena: Arena, offset: number, length: number): number {
  // Up to 15 digits and a power of ten up to 22 are both exact, so one division rounds correctly.
  if (length <= 16) {
    const end = offset + length
    const negative = arena[offset] === MINUS
    let digits = 0
    let point = -1
    let at = negative ? offset + 1 : offset
    const start = at
    for (; at < end; at++) {
      const digit = arena[at]! - 48
      if (digit >>> 0 <= 9) digits = digits * 10 + digit
      else if (arena[at] === POINT && point < 0 && at > start) point = at
      else break
    }
    if (at === end && at > start && end - start <= 15) {
      const value = point < 0 ? digits : digits / POWERS_OF_TEN[end - point - 1]!
      return negative ? -value : value
    }
  }
  const text = arena.latin1Slice(offset, offset + length)
  const value = Number(text)
  if (length === 0 || (Number.isNaN(value) && text !== 'NaN') || text.trim() !== text)
    throw malformed('a float')
  return value
}

/** Decimal(precision, scale): the digits without the point, as an integer of 4, 8, 16 or 32 bytes. */
export function decimalWriter(precision: number, scale: number): CellWriter {
  const bytes = decimalBytes(precision)
  return (arena, offset, length, out) => {
    const end = offset + length
    const negative = arena[offset] === MINUS
    const start = negative ? offset + 1 : offset
    let point = start
    while (point < end && arena[point] !== POINT) point++
    if (point === start || (arena[start]! - 48) >>> 0 > 9) throw notDecimal(arena, start, end)
    const last = fractionEnd(arena, point, end, scale)
    const fraction = last > point ? last - point - 1 : 0
    if (bytes > 8)
      return writeWide(arena, start, point, last, scale - fraction, negative, precision, bytes, out)
    let upper = 0
    let lower = 0
    // Digits are counted from the right: the lowest 9 make up `lower`.
    let place = point - start + scale
    for (let at = start; at < last; at++) {
      if (at === point) continue
      const digit = arena[at]! - 48
      if (digit >>> 0 > 9) throw malformed('a decimal')
      place--
      if (place >= 9) upper = upper * 10 + digit
      else lower = lower * 10 + digit
    }
    for (; place > 0; place--) {
      if (place > 9) upper *= 10
      else lower *= 10
    }
    if (
      precision > 9 ? upper >= POWERS_OF_TEN[precision - 9]! : upper > 0 || lower >= POWERS_OF_TEN[precision]!
    ) {
      throw tooLarge()
    }
    if (bytes === 4) out.int32(negative ? -lower : lower)
    else writeParts64(upper, lower, negative, out)
  }
}

/** Bytes of a decimal with that many digits. */
export function decimalBytes(precision: number): 4 | 8 | 16 | 32 {
  return precision <= 9 ? 4 : precision <= 18 ? 8 : precision <= 38 ? 16 : 32
}

/** End of the fraction that fits the scale; digits behind it must be zeros, else the value would lose them. */
function fractionEnd(arena: Arena, point: number, end: number, scale: number): number {
  const last = Math.min(end, point + 1 + scale)
  for (let at = last; at < end; at++) {
    if (at === point) continue
    const digit = arena[at]! - 48
    if (digit >>> 0 > 9) throw malformed('a decimal')
    if (digit !== 0) throw outOfRange('has more fractional digits than the ClickHouse column', RANGE_FIX)
  }
  return last
}

function notDecimal(arena: Arena, start: number, end: number): Error {
  const text = arena.latin1Slice(start, end)
  if (text !== 'NaN' && text !== 'Infinity') return malformed('a decimal')
  return outOfRange(
    'is NaN or an infinity, which a ClickHouse Decimal cannot keep',
    'Remove the value at the source, or declare the source column without precision (it is then kept as text).',
  )
}

const WORD = 0xffffffffn

function writeWide(
  arena: Arena,
  start: number,
  point: number,
  last: number,
  zeros: number,
  negative: boolean,
  precision: number,
  bytes: number,
  out: RowWriter,
): void {
  const text = arena.latin1Slice(start, point) + arena.latin1Slice(point + 1, Math.max(last, point + 1))
  if (!/^\d+$/.test(text)) throw malformed('a decimal')
  const digits = text.replace(/^0+/, '')
  if (digits.length + zeros > precision && digits !== '') throw tooLarge()
  const magnitude = BigInt(digits + '0'.repeat(zeros))
  let rest = BigInt.asUintN(bytes * 8, negative ? -magnitude : magnitude)
  for (let written = 0; written < bytes; written += 4) {
    out.int32(Number(rest & WORD))
    rest >>= 32n
  }
}
