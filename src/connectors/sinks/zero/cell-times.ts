/** Dates and times as milliseconds, with microseconds as a fraction of exactly the digits that they need. */
import type { Arena } from '../../../core/packed-rows.ts'
import { AS_TEXT, CellRefused, malformed } from './cells.ts'
import type { RecordWriter } from './record-writer.ts'
import { VALUE } from './record-reader.ts'

const DAY_SECONDS = 86400
/**
 * Up to 2^43 milliseconds, in September 2248, doubles are less than a microsecond apart; beyond only whole milliseconds
 * are taken. As whole seconds and the rest.
 */
const EXACT_SECONDS = 8_796_093_022
const EXACT_REST = 208_000
const COLON = 0x3a
const DASH = 0x2d
const PLUS = 0x2b
const POINT = 0x2e
const SPACE = 0x20

/** What the readers below found besides what they return: a second result without an object per call. */
const found = { at: 0, micros: 0 }

/** Milliseconds since 1970 of midnight UTC. */
export function writeDate(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = endOfEra(arena, offset, offset + length)
  const day = readDay(arena, offset, end, end !== offset + length)
  if (found.at !== end) throw malformed('a date')
  writeMilliseconds(day * DAY_SECONDS, 0, out)
}

/** Milliseconds since 1970 UTC. */
export function writeTimestamp(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  let end = endOfEra(arena, offset, offset + length)
  const day = readDay(arena, offset, end, end !== offset + length)
  if (arena[end - 3] === PLUS && arena[end - 2] === 0x30 && arena[end - 1] === 0x30) end -= 3
  if (arena[found.at] !== SPACE) throw malformed('a timestamp')
  const second = readClock(arena, found.at + 1, end)
  if (found.at !== end || second >= DAY_SECONDS) throw malformed('a timestamp')
  writeMilliseconds(day * DAY_SECONDS + second, found.micros, out)
}

/** Milliseconds since midnight; 24:00:00 is the end of the day. */
export function writeTime(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const second = readClock(arena, offset, offset + length)
  if (found.at !== offset + length) throw malformed('a time')
  writeMilliseconds(second, found.micros, out)
}

/** Milliseconds since midnight UTC of a time with an offset. */
export function writeZonedTime(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = offset + length
  const second = readClock(arena, offset, end)
  const { micros } = found
  let at = found.at
  const sign = arena[at]
  if (sign !== PLUS && sign !== DASH) throw malformed('a time with time zone')
  let shift = 0
  for (let unit = 3600; at < end; unit /= 60, at += 3) {
    if (unit < 1 || (unit < 3600 && arena[at] !== COLON) || at + 3 > end)
      throw malformed('a time with time zone')
    shift += two(arena, at + 1) * unit
  }
  const utc = second + (sign === PLUS ? -shift : shift)
  writeMilliseconds(((utc % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS, micros, out)
}

/** Writes seconds since 1970 (or midnight) and microseconds after them. */
function writeMilliseconds(seconds: number, micros: number, out: RecordWriter): void {
  const negative = seconds < 0
  let whole = seconds
  let rest = micros
  if (negative) {
    whole = -seconds
    if (micros > 0) {
      whole--
      rest = 1_000_000 - micros
    }
  }
  const fraction = rest % 1000
  const milliseconds = whole * 1000 + (rest - fraction) / 1000
  const exact =
    fraction === 0
      ? milliseconds <= Number.MAX_SAFE_INTEGER
      : whole < EXACT_SECONDS || (whole === EXACT_SECONDS && rest <= EXACT_REST)
  if (!exact) throw tooFar()
  const start = out.at++
  const { bytes } = out
  let to = out.at
  if (negative) bytes[to++] = DASH
  to = writeWhole(milliseconds, out.bytes, to)
  if (fraction !== 0) {
    bytes[to] = POINT
    const hundreds = (fraction / 100) | 0
    const tens = ((fraction / 10) | 0) % 10
    const ones = fraction % 10
    bytes[to + 1] = 0x30 + hundreds
    bytes[to + 2] = 0x30 + tens
    bytes[to + 3] = 0x30 + ones
    to += ones !== 0 ? 4 : tens !== 0 ? 3 : 2
  }
  bytes[start] = to - start - 1 + VALUE
  out.at = to
}

/** Decimal digits of a whole number below 10^16; returns where they end. */
function writeWhole(value: number, bytes: Uint8Array, start: number): number {
  const upper = Math.floor(value / 1e8)
  const lower = value - upper * 1e8
  if (upper === 0) return writeSmall(lower, digitsOf(lower), bytes, start)
  return writeSmall(lower, 8, bytes, writeSmall(upper, digitsOf(upper), bytes, start))
}

function writeSmall(value: number, digits: number, bytes: Uint8Array, start: number): number {
  let rest = value | 0
  for (let at = start + digits - 1; at >= start; at--) {
    const next = (rest / 10) | 0
    bytes[at] = 0x30 + rest - next * 10
    rest = next
  }
  return start + digits
}

function digitsOf(value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits++
  return digits
}

/** Where the text ends without ` BC`. */
function endOfEra(arena: Arena, start: number, end: number): number {
  return end - start > 3 && arena[end - 1] === 0x43 && arena[end - 2] === 0x42 && arena[end - 3] === SPACE
    ? end - 3
    : end
}

/** Days since 1970 of `YYYY-MM-DD`, the year with four or more digits; `found.at` is where it ends. */
function readDay(arena: Arena, start: number, end: number, beforeChrist: boolean): number {
  let at = start
  let year = 0
  for (; at < end && arena[at] !== DASH; at++) {
    const digit = arena[at]! - 48
    if (digit >>> 0 > 9) throw notDate(arena, start, end)
    year = year * 10 + digit
  }
  if (at - start < 4 || at - start > 7 || end - at < 6 || arena[at + 3] !== DASH || year === 0)
    throw notDate(arena, start, end)
  // The year before 1 is 1 BC.
  if (beforeChrist) year = 1 - year
  const month = two(arena, at + 1)
  const day = two(arena, at + 4)
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) throw malformed('a date')
  found.at = at + 6
  return dayNumber(year, month, day)
}

/** Seconds of `HH:MM:SS[.f]`; `found.micros` are its microseconds, `found.at` is where it ends. */
function readClock(arena: Arena, start: number, end: number): number {
  if (end - start < 8 || arena[start + 2] !== COLON || arena[start + 5] !== COLON) throw malformed('a time')
  const hour = two(arena, start)
  const minute = two(arena, start + 3)
  const second = two(arena, start + 6)
  let at = start + 8
  let micros = 0
  if (at < end && arena[at] === POINT) {
    let unit = 100_000
    const first = ++at
    for (; at < end; at++) {
      const digit = arena[at]! - 48
      if (digit >>> 0 > 9) break
      if (unit >= 1) micros += digit * unit
      else if (digit !== 0) throw tooFine()
      unit = unit === 1 ? 0 : unit / 10
    }
    if (at === first) throw malformed('a time')
  }
  const isEnd = hour === 24 && minute === 0 && second === 0 && micros === 0
  if ((hour > 23 && !isEnd) || minute > 59 || second > 59) throw malformed('a time')
  found.at = at
  found.micros = micros
  return hour * 3600 + minute * 60 + second
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days since 1970 in the Gregorian calendar. Years are counted from March, so that a leap day is the last of its year. */
function dayNumber(year: number, month: number, day: number): number {
  const years = month <= 2 ? year - 1 : year
  const monthFromMarch = month > 2 ? month - 3 : month + 9
  const dayOfYear = (((153 * monthFromMarch + 2) / 5) | 0) + day - 1
  const leapDays = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400)
  return years * 365 + leapDays + dayOfYear - 719468
}

function two(arena: Arena, at: number): number {
  const tens = arena[at]! - 48
  const ones = arena[at + 1]! - 48
  if (tens >>> 0 > 9 || ones >>> 0 > 9) throw malformed('a date or time')
  return tens * 10 + ones
}

function notDate(arena: Arena, start: number, end: number): CellRefused {
  const text = arena.latin1Slice(start, end)
  if (text !== 'infinity' && text !== '-infinity') return malformed('a date')
  return new CellRefused('not-finite', 'is infinite, which no date of Zero is', AS_TEXT)
}

function tooFar(): CellRefused {
  const message = 'is so far from 1970 that a number of milliseconds does not keep it exactly'
  return new CellRefused('value-unsafe', message, AS_TEXT)
}

function tooFine(): CellRefused {
  return new CellRefused('value-unsafe', 'has more than six digits of a second', AS_TEXT)
}
