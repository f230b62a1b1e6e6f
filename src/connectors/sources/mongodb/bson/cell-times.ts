/** Dates of BSON, milliseconds since 1970 UTC of 64 bits, in the Gregorian calendar without limits (ISO 8601). */
import { int32, int64 } from './bson.ts'
import type { CellArena } from './cell-arena.ts'
import { ONES, putPadded, putUint32, TENS } from './cell-digits.ts'

const DAY_MS = 86_400_000
const MINUS = 0x2d
const PLUS = 0x2b
const COLON = 0x3a
const SPACE = 0x20
const POINT = 0x2e
const ZERO = 0x30

/** Most bytes of any form: years have up to nine digits. */
const MOMENT_BYTES = 40

/** The day that was asked for last, and what it is; documents that are written together share it. */
let cachedDay = Number.NaN
let year = 0
let month = 0
let dayOfMonth = 0
/** `YYYY-MM-DD` of a year with four digits. */
const dayText = Buffer.alloc(10)
let hasText = false

/** Reads a date, makes its day the cached one, and returns the milliseconds of the day. */
function read(bytes: Uint8Array, at: number): number {
  const high = int32(bytes, at + 4)
  if (high < -0x20_0000 || high >= 0x20_0000) return readFar(bytes, at)
  const ms = high * 4294967296 + (int32(bytes, at) >>> 0)
  // Below 2^53 the quotient is never rounded up to a whole day.
  const day = Math.floor(ms / DAY_MS)
  if (day !== cachedDay) split(day)
  return (ms - day * DAY_MS) | 0
}

/** Beyond 2^53. */
function readFar(bytes: Uint8Array, at: number): number {
  const ms = int64(bytes, at)
  const rest = ((ms % 86_400_000n) + 86_400_000n) % 86_400_000n
  split(Number((ms - rest) / 86_400_000n))
  return Number(rest)
}

/** Counts years from March, so that the leap day is the last of its year, in cycles of 400 years. */
function split(of: number): void {
  cachedDay = of
  const days = of + 719_468
  const cycle = Math.floor(days / 146_097)
  const ofCycle = days - cycle * 146_097
  const years =
    ((ofCycle - ((ofCycle / 1460) | 0) + ((ofCycle / 36_524) | 0) - ((ofCycle / 146_096) | 0)) / 365) | 0
  const ofYear = ofCycle - (365 * years + (years >> 2) - ((years / 100) | 0))
  const fromMarch = ((5 * ofYear + 2) / 153) | 0
  dayOfMonth = ofYear - (((153 * fromMarch + 2) / 5) | 0) + 1
  month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  year = years + cycle * 400 + (month <= 2 ? 1 : 0)
  hasText = year > 0 && year <= 9999
  if (!hasText) return
  const pad = (value: number, digits: number): string => String(value).padStart(digits, '0')
  dayText.write(`${pad(year, 4)}-${pad(month, 2)}-${pad(dayOfMonth, 2)}`, 'latin1')
}

/** `YYYY-MM-DD[ BC]`; false when it is not midnight. Reserves its room. */
export function putDate(out: CellArena, bytes: Uint8Array, at: number): boolean {
  if (read(bytes, at) !== 0) return false
  out.reserve(MOMENT_BYTES)
  putDay(out)
  if (year <= 0) putBeforeChrist(out)
  return true
}

/** `YYYY-MM-DD HH:MM:SS[.f][+00][ BC]`; false when `digits` are too few for it. Reserves its room. */
export function putTimestamp(
  out: CellArena,
  bytes: Uint8Array,
  at: number,
  digits: number,
  zoned: boolean,
): boolean {
  const msOfDay = read(bytes, at)
  const seconds = (msOfDay / 1000) | 0
  const ms = msOfDay - seconds * 1000
  if (digits < 3 && ms % 10 ** (3 - digits) !== 0) return false
  out.reserve(MOMENT_BYTES)
  putDay(out)
  out.arena[out.used++] = SPACE
  putClock(out, seconds)
  if (ms !== 0) {
    out.arena[out.used++] = POINT
    putPadded(out, ms, 3)
    while (out.arena[out.used - 1] === ZERO) out.used--
  }
  if (zoned) {
    out.arena[out.used++] = PLUS
    out.arena[out.used++] = ZERO
    out.arena[out.used++] = ZERO
  }
  if (year <= 0) putBeforeChrist(out)
  return true
}

/** `YYYY-MM-DDTHH:MM:SS.mmmZ`, as `Date.toISOString`; years beyond 0 to 9999 have a sign. Reserves its room. */
export function putIso(out: CellArena, bytes: Uint8Array, at: number): void {
  const msOfDay = read(bytes, at)
  const seconds = (msOfDay / 1000) | 0
  out.reserve(MOMENT_BYTES)
  if (hasText) putDayText(out)
  else if (year === 0) {
    putPadded(out, 0, 4)
    putMonthAndDay(out)
  } else {
    const size = Math.abs(year)
    out.arena[out.used++] = year < 0 ? MINUS : PLUS
    if (size < 1_000_000) putPadded(out, size, 6)
    else putUint32(out, size)
    putMonthAndDay(out)
  }
  out.arena[out.used++] = 0x54
  putClock(out, seconds)
  out.arena[out.used++] = POINT
  putPadded(out, msOfDay - seconds * 1000, 3)
  out.arena[out.used++] = 0x5a
}

/** There is no year 0 here: it is 1 BC. */
function putDay(out: CellArena): void {
  if (hasText) return putDayText(out)
  const shown = year > 0 ? year : 1 - year
  if (shown > 9999) putUint32(out, shown)
  else putPadded(out, shown, 4)
  putMonthAndDay(out)
}

function putDayText(out: CellArena): void {
  const { arena, used } = out
  for (let index = 0; index < 10; index++) arena[used + index] = dayText[index]!
  out.used = used + 10
}

function putMonthAndDay(out: CellArena): void {
  out.arena[out.used++] = MINUS
  putPadded(out, month, 2)
  out.arena[out.used++] = MINUS
  putPadded(out, dayOfMonth, 2)
}

/** `HH:MM:SS` */
function putClock(out: CellArena, seconds: number): void {
  const minutes = (seconds / 60) | 0
  const hour = (minutes / 60) | 0
  const minute = minutes - hour * 60
  const second = seconds - minutes * 60
  const { arena, used } = out
  arena[used] = TENS[hour]!
  arena[used + 1] = ONES[hour]!
  arena[used + 2] = COLON
  arena[used + 3] = TENS[minute]!
  arena[used + 4] = ONES[minute]!
  arena[used + 5] = COLON
  arena[used + 6] = TENS[second]!
  arena[used + 7] = ONES[second]!
  out.used = used + 8
}

function putBeforeChrist(out: CellArena): void {
  out.arena[out.used++] = SPACE
  out.arena[out.used++] = 0x42
  out.arena[out.used++] = 0x43
}
