import type { Arena } from '../../../core/packed-rows.ts'
import { multiply, product } from './cell-numbers.ts'
import { type CellWriter, malformed, outOfRange } from './cells.ts'
import type { RowWriter } from './row-writer.ts'

/** What the server can keep in a DateTime64, in seconds since 1970 (both ends included). */
export interface TimestampRange {
  readonly min: number
  readonly max: number
}

/** Years 1 to 9999. */
export const WIDE_TIMESTAMPS: TimestampRange = { min: -62135596800, max: 253402300799 }
/** Years 1900 to 2299, what ClickHouse documents. */
export const DOCUMENTED_TIMESTAMPS: TimestampRange = { min: -2208988800, max: 10413791999 }

const FIX =
  "Set the sink's option `dates: text`, which keeps dates and timestamps as text, and copy the table again."
const MIN_DAY = -25567
const MAX_DAY = 120529

/** Date32: days since 1970, 1900-01-01 to 2299-12-31. */
export function writeDate32(arena: Arena, offset: number, length: number, out: RowWriter): void {
  if (length !== 10) throw notPlain()
  const day = readDay(arena, offset)
  if (day < MIN_DAY || day > MAX_DAY) throw outOfRange('is outside 1900 to 2299, the range of a Date32', FIX)
  out.int32(day)
}

/** DateTime64(digits): ticks of 10^-digits seconds since 1970, as a signed 64-bit number. */
export function timestampWriter(digits: number, range: TimestampRange): CellWriter {
  const factor = 10 ** digits
  const min = Math.max(range.min, Math.ceil(-(2 ** 63) / factor))
  // The last whole second whose fraction fits, too.
  const max = Math.min(range.max, Math.floor(2 ** 63 / factor) - 2)
  return (arena, offset, length, out) => {
    if (length < 19) throw notPlain()
    const day = readDay(arena, offset)
    if (arena[offset + 10] !== 0x20 || arena[offset + 13] !== 0x3a || arena[offset + 16] !== 0x3a) {
      throw notPlain()
    }
    const hour = two(arena, offset + 11)
    const minute = two(arena, offset + 14)
    const second = two(arena, offset + 17)
    if (hour > 23 || minute > 59 || second > 59) throw malformed('a timestamp')
    const seconds = day * 86400 + hour * 3600 + minute * 60 + second
    if (seconds < min || seconds > max) throw outOfRange('is outside the range of the ClickHouse column', FIX)
    let end = offset + length
    if (arena[end - 3] === 0x2b && arena[end - 2] === 0x30 && arena[end - 1] === 0x30) end -= 3
    const low = multiply(seconds, factor, readFraction(arena, offset + 19, end, digits))
    out.int64(product.high, low)
  }
}

/** `.f` in units of 10^-digits. */
function readFraction(arena: Arena, start: number, end: number, digits: number): number {
  if (start === end) return 0
  if (arena[start] !== 0x2e || start + 1 === end) throw notPlain()
  let value = 0
  let count = 0
  for (let at = start + 1; at < end; at++) {
    const digit = arena[at]! - 48
    if (digit >>> 0 > 9) throw notPlain()
    if (count < digits) {
      value = value * 10 + digit
      count++
    } else if (digit !== 0) throw outOfRange('has more fractional digits than the ClickHouse column', FIX)
  }
  for (; count < digits; count++) value *= 10
  return value
}

/** Days since 1970 of `YYYY-MM-DD`. */
function readDay(arena: Arena, offset: number): number {
  if (arena[offset + 4] !== 0x2d || arena[offset + 7] !== 0x2d) throw notPlain()
  const year = two(arena, offset) * 100 + two(arena, offset + 2)
  const month = two(arena, offset + 5)
  const day = two(arena, offset + 8)
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) throw malformed('a date')
  return dayNumber(year, month, day)
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days since 1970 in the Gregorian calendar. Years are counted from March, so that a leap day is the last of its year. */
function dayNumber(year: number, month: number, day: number): number {
  // From year 4000 before, a multiple of the calendar's cycle of 400 years, nothing is negative.
  const years = (month <= 2 ? year - 1 : year) + 4000
  const monthFromMarch = month > 2 ? month - 3 : month + 9
  const dayOfYear = (((153 * monthFromMarch + 2) / 5) | 0) + day - 1
  const leapDays = (years >> 2) - ((years / 100) | 0) + ((years / 400) | 0)
  return years * 365 + leapDays + dayOfYear - 2180438
}

function two(arena: Arena, at: number): number {
  const tens = arena[at]! - 48
  const ones = arena[at + 1]! - 48
  if (tens >>> 0 > 9 || ones >>> 0 > 9) throw notPlain()
  return tens * 10 + ones
}

/** Infinities, years BC and years beyond 9999 have another form than `YYYY-MM-DD`. */
function notPlain(): Error {
  return outOfRange('is infinite or outside the years 1 to 9999, which ClickHouse cannot keep', FIX)
}
