/** Values that are JSON numbers already: digits are checked and copied, never read into a number and written again. */
import type { Arena } from '../../../core/packed-rows.ts'
import { AS_TEXT, CellRefused, malformed } from './cells.ts'
import type { RecordWriter } from './record-writer.ts'
import { VALUE } from './record-reader.ts'
import { EXACT_DIGITS } from './types.ts'

const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const PLUS = 0x2b
const E = 0x65
/** 2^53 - 1. */
const LAST_SAFE = Buffer.from(String(Number.MAX_SAFE_INTEGER))

/** Integers up to 2^53 - 1 on either side of zero; beyond that every query of a client that meets the row fails. */
export function writeInteger(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = offset + length
  const start = arena[offset] === MINUS ? offset + 1 : offset
  const digits = end - start
  if (digits >= LAST_SAFE.length || digits === 0) checkLong(arena, start, end)
  const { bytes } = out
  let to = out.at
  bytes[to++] = length + VALUE
  for (let at = offset; at < start; at++) bytes[to++] = MINUS
  if (arena[start] === ZERO && digits > 1) throw malformed('an integer')
  for (let at = start; at < end; at++) {
    const char = arena[at]!
    if ((char - ZERO) >>> 0 > 9) throw malformed('an integer')
    bytes[to++] = char
  }
  out.at = to
}

function checkLong(arena: Arena, start: number, end: number): void {
  if (!/^\d+$/.test(arena.latin1Slice(start, end))) throw malformed('an integer')
  if (end - start > LAST_SAFE.length || arena.compare(LAST_SAFE, 0, LAST_SAFE.length, start, end) > 0)
    throw new CellRefused(
      'value-unsafe',
      'is beyond 2^53, where Zero has no exact numbers',
      "Set the sink's option `bigints: text`, or name the column in `textColumns`, and copy the table again.",
    )
}

/** Decimals whose digits a double keeps. */
export function writeDecimal(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = offset + length
  const start = arena[offset] === MINUS ? offset + 1 : offset
  // With the point a digit more.
  if (end - start > EXACT_DIGITS) checkDigits(arena, start, end)
  out.reserve(length)
  if (length + VALUE < 128) out.bytes[out.at++] = length + VALUE
  else out.varint(length + VALUE)
  const { bytes } = out
  let to = out.at
  if (start > offset) bytes[to++] = MINUS
  let point = -1
  for (let at = start; at < end; at++) {
    const char = arena[at]!
    if ((char - ZERO) >>> 0 > 9) {
      if (char !== POINT || point >= 0) throw notNumber(arena, start, end, 'a decimal')
      point = at
    }
    bytes[to++] = char
  }
  const whole = point < 0 ? end - start : point - start
  if (whole === 0 || point === end - 1 || (whole > 1 && arena[start] === ZERO)) throw malformed('a decimal')
  out.at = to
}

function checkDigits(arena: Arena, start: number, end: number): void {
  const text = arena.latin1Slice(start, end)
  if (!/^\d+(?:\.\d+)?$/.test(text)) throw notNumber(arena, start, end, 'a decimal')
  const value = Number(text)
  const significant = text.replace('.', '').replace(/^0+/, '').replace(/0+$/, '').length
  const isExact = significant <= EXACT_DIGITS || /^\d+(?:\.0*)?$/.test(text)
  // A whole number that is larger would be kept as an integer, which a client cannot read; one that is tiny becomes 0.
  if (isExact && value <= Number.MAX_SAFE_INTEGER && (value !== 0 || significant === 0)) return
  throw new CellRefused(
    'value-unsafe',
    'has more digits than a number of Zero keeps',
    `${AS_TEXT} \`decimals: text\` does the same for all decimals.`,
  )
}

/**
 * Floats of a column. Those from 2^63 to 1e21 travel as a JSON string, which the replica's column makes the number again:
 * zero-cache writes them without an exponent, reads them back as integers, and its database takes none of that size.
 */
export function writeFloat(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const { at } = out
  writeNumber(arena, offset, length, out)
  // Shorter texts without an exponent are smaller.
  const mayBeHuge = length > 18 || arena[offset + length - 3] === PLUS || arena[offset + length - 3] === E
  if (!mayBeHuge) return
  const value = Math.abs(Number(arena.latin1Slice(offset, offset + length)))
  if (value < 2 ** 63 || value >= 1e21) return
  out.at = at
  out.cell(`"${arena.latin1Slice(offset, offset + length)}"`)
}

/** Floats: `-1.5e-7` is the same in JSON. */
export function writeNumber(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = offset + length
  let at = arena[offset] === MINUS ? offset + 1 : offset
  const start = at
  at = skipDigits(arena, at, end)
  const whole = at - start
  if (whole === 0 || (whole > 1 && arena[start] === ZERO)) throw notNumber(arena, start, end, 'a float')
  if (at < end && arena[at] === POINT) {
    const from = at + 1
    at = skipDigits(arena, from, end)
    if (at === from) throw malformed('a float')
  }
  if (at < end && (arena[at]! | 0x20) === 0x65) {
    at++
    if (arena[at] === MINUS || arena[at] === 0x2b) at++
    const from = at
    at = skipDigits(arena, from, end)
    if (at === from) throw malformed('a float')
  }
  if (at !== end) throw malformed('a float')
  out.reserve(length)
  if (length + VALUE < 128) out.bytes[out.at++] = length + VALUE
  else out.varint(length + VALUE)
  const { bytes } = out
  let to = out.at
  for (let from = offset; from < end; from++) bytes[to++] = arena[from]!
  out.at = to
}

function skipDigits(arena: Arena, start: number, end: number): number {
  let at = start
  while (at < end && (arena[at]! - ZERO) >>> 0 <= 9) at++
  return at
}

function notNumber(arena: Arena, start: number, end: number, what: string): CellRefused {
  const text = arena.latin1Slice(start, end)
  if (text !== 'NaN' && text !== 'Infinity') return malformed(what)
  return new CellRefused('not-finite', 'is NaN or an infinity, which no number of Zero is', AS_TEXT)
}
