/** Doubles as text. */
import { type CellArena, putAscii } from './cell-arena.ts'
import { Decimal } from './cell-decimal.ts'
import { putInt32, putPadded, putSafe, putUint32 } from './cell-digits.ts'

/** Most bytes of a double as `putDouble` writes it. */
export const DOUBLE_BYTES = 32

const MINUS = 0x2d
const ZERO = 0x30
const POINT = 0x2e

/** The shortest decimal that reads back equal, as `String` gives it; `-0` has its sign. The room is there. */
export function putDouble(out: CellArena, value: number): void {
  if (!putShort(out, value)) putAscii(out, Object.is(value, -0) ? '-0' : String(value))
}

const decimal = new Decimal()

/**
 * The same number without an exponent, and from 2^53 on every digit of it. With `normal` zero has no sign, so that what
 * is equal has the same text. Reserves its room.
 */
export function putPlainDouble(out: CellArena, value: number, normal: boolean): void {
  out.reserve(DOUBLE_BYTES)
  if (putShort(out, value)) return
  decimal.readDouble(value)
  if (normal) decimal.normalize()
  decimal.put(out)
}

/**
 * Whole numbers below 2^53 and numbers with at most six decimals and 15 digits: such a decimal is the only one of up to
 * 15 digits that stands for its double, hence the shortest. False for all others, and for zero with a sign.
 */
function putShort(out: CellArena, value: number): boolean {
  const small = value | 0
  if (small === value) {
    if (small === 0 && Object.is(value, -0)) return false
    putInt32(out, small)
    return true
  }
  if (value >= -9007199254740991 && value <= 9007199254740991 && Math.floor(value) === value) {
    putSafe(out, value)
    return true
  }
  return putDecimals(out, value, 100, 2) || putDecimals(out, value, 1_000_000, 6)
}

function putDecimals(out: CellArena, value: number, unit: number, digits: number): boolean {
  const units = Math.round(value * unit)
  if (units / unit !== value || units > 999_999_999_999_999 || units < -999_999_999_999_999) return false
  if (value < 0) out.arena[out.used++] = MINUS
  const size = Math.abs(units)
  const whole = Math.floor(size / unit)
  if (whole > 0xffff_ffff) putSafe(out, whole)
  else putUint32(out, whole)
  out.arena[out.used++] = POINT
  putPadded(out, (size - whole * unit) | 0, digits)
  while (out.arena[out.used - 1] === ZERO) out.used--
  return true
}

/** The shortest decimal that reads back as this float of 32 bits. The room is there. */
export function putSingle(out: CellArena, value: number): void {
  if (putShortSingle(out, value)) return
  if (value === 0 || !Number.isFinite(value)) return putDouble(out, value)
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return putDouble(out, short)
  }
  putDouble(out, Number(value.toPrecision(9)))
}

/** Whole numbers of six digits have no shorter form. */
function putShortSingle(out: CellArena, value: number): boolean {
  const small = value | 0
  if (small !== value || small > 999_999 || small < -999_999 || Object.is(value, -0)) return false
  putInt32(out, small)
  return true
}
