import type { Value } from './canonical.ts'
import type { ColumnType } from './column-type.ts'

/**
 * Whether a JS value is exactly one of the column's type, in the form that `canonical.ts` lists: nothing would be
 * rounded, cut or read differently on its way. Null, `UNCHANGED` and undefined are not values and never fit. For
 * sources that take values from somewhere where nobody has checked them.
 *
 * Integers and decimals may also be given as text of digits, and floats as text of a number: JSON has no other form for
 * many of them.
 */
export function fits(type: ColumnType, value: Value): boolean {
  switch (type.kind) {
    case 'bool':
      return typeof value === 'boolean'
    case 'int':
      return isInteger(value, type.bits, type.unsigned)
    case 'float':
      return isFloat(value, type.bits)
    case 'decimal':
      return isDecimal(value, type.precision, type.scale)
    case 'bytes':
      return value instanceof Uint8Array
    case 'array':
      return isArray(value, type.of, type.dimensions)
    case 'text':
    case 'enum':
    case 'other':
      return isText(value)
    case 'uuid':
      return isText(value) && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)
    case 'json':
      return isText(value) && isJson(value)
    case 'date':
      return isText(value) && isDate(value)
    case 'time':
      return isText(value) && isTime(value, type.digits, type.zoned)
    case 'timestamp':
      return isText(value) && isTimestamp(value, type.digits, type.zoned)
    case 'interval':
      return isText(value) && INTERVAL.test(value)
  }
}

/** What a value of the type looks like, for messages: `a whole number from 0 to 255`. */
export function expected(type: ColumnType): string {
  switch (type.kind) {
    case 'bool':
      return 'true or false'
    case 'int':
      return `a whole number of ${type.bits} bits${type.unsigned ? ' without a sign' : ''}, as text of digits beyond 2^53`
    case 'float':
      return type.bits === 32 ? 'a number that 32 bits hold exactly' : 'a number'
    case 'decimal':
      return type.precision === null
        ? 'a number, as text of digits where a double is not exact'
        : `a number with at most ${type.precision - (type.scale ?? 0)} digits before the point and ${type.scale ?? 0} after it, as text`
    case 'text':
    case 'enum':
    case 'other':
      return 'text of whole characters'
    case 'uuid':
      return 'a UUID in lower case'
    case 'json':
      return 'JSON as text'
    case 'bytes':
      return 'a Uint8Array'
    case 'date':
      return 'text such as 2024-02-29'
    case 'time':
      return `text such as 23:59:59${fraction(type.digits)}${type.zoned ? '+02' : ''}`
    case 'timestamp':
      return `text such as 2024-02-29 23:59:59${fraction(type.digits)}${type.zoned ? '+00 (always UTC)' : ''}`
    case 'interval':
      return 'an ISO 8601 duration such as P1Y2M-3DT4H5M6.7S'
    case 'array':
      return `${'an array of '.repeat(type.dimensions)}${expected(type.of)}`
  }
}

const INTERVAL = /^P(?=.)(-?\d+Y)?(-?\d+M)?(-?\d+W)?(-?\d+D)?(T(?=.)(-?\d+H)?(-?\d+M)?(-?\d+(\.\d+)?S)?)?$/
const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i
const NOT_FINITE = /^(NaN|-?Infinity)$/

/** Half a surrogate pair has no UTF-8: it would become another character. */
function isText(value: Value): value is string {
  return typeof value === 'string' && value.isWellFormed()
}

function isInteger(value: Value, bits: number, unsigned: boolean): boolean {
  let number: bigint
  if (typeof value === 'bigint') number = value
  else if (typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0))
    number = BigInt(value)
  else if (typeof value === 'string' && /^(0|-?[1-9]\d{0,19})$/.test(value)) number = BigInt(value)
  else return false
  return number === (unsigned ? BigInt.asUintN(bits, number) : BigInt.asIntN(bits, number))
}

function isFloat(value: Value, bits: 32 | 64): boolean {
  if (typeof value === 'string') {
    if (NOT_FINITE.test(value)) return true
    return NUMBER.test(value) && Number.isFinite(Number(value)) && isFloat(Number(value), bits)
  }
  if (typeof value !== 'number') return false
  return bits === 64 || Number.isNaN(value) || isSingle(value)
}

/** True for a float of 32 bits, and for the short decimal that stands for one: 0.1 as well as 0.10000000149011612. */
function isSingle(value: number): boolean {
  const single = Math.fround(value)
  return single === value || [6, 7, 8, 9].some((digits) => Number(single.toPrecision(digits)) === value)
}

function isDecimal(value: Value, precision: number | null, scale: number | null): boolean {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') return false
  const text = Object.is(value, -0) ? '-0' : String(value)
  if (NOT_FINITE.test(text)) return text === 'NaN' || precision === null
  const [, minus, whole, part = ''] = /^(-)?(0|[1-9]\d*)(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined || (minus !== undefined && /^0*$/.test(whole + part))) return false
  if (precision === null) return true
  const before = whole === '0' ? 0 : whole.length
  return before <= precision - (scale ?? 0) && part.length <= Math.max(0, scale ?? 0)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function isDate(text: string): boolean {
  if (isInfinity(text)) return true
  const [, day, before] = /^(\S+)( BC)?$/.exec(text) ?? []
  return day !== undefined && isDay(day, before !== undefined)
}

function isInfinity(text: string): boolean {
  return text === 'infinity' || text === '-infinity'
}

/** `YYYY-MM-DD` of a day that exists. There is no year 0: the year before 1 is 1 BC. */
function isDay(text: string, beforeChrist: boolean): boolean {
  const [, digits, month, day] = /^(\d{4}|[1-9]\d{4,6})-(\d\d)-(\d\d)$/.exec(text) ?? []
  if (digits === undefined || Number(digits) === 0) return false
  const year = beforeChrist ? 1 - Number(digits) : Number(digits)
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][Number(month) - 1]
  return days !== undefined && Number(day) >= 1 && Number(day) <= days
}

function isTime(text: string, digits: number, zoned: boolean): boolean {
  const [, clock, offset] = /^([\d:.]+)([+-]\d\d(?::\d\d(?::\d\d)?)?)?$/.exec(text) ?? []
  if (clock === undefined || (offset !== undefined) !== zoned) return false
  return isClock(clock, digits) || /^24:00:00(\.0+)?$/.test(clock)
}

function isClock(text: string, digits: number): boolean {
  const match = /^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d+))?$/.exec(text)
  return match !== null && (match[1] ?? '').length <= digits
}

function isTimestamp(text: string, digits: number, zoned: boolean): boolean {
  if (isInfinity(text)) return true
  const [, day, clock, offset, before] = /^(\S+) ([\d:.]+)(\+00)?( BC)?$/.exec(text) ?? []
  if (day === undefined || (offset !== undefined) !== zoned) return false
  return isDay(day, before !== undefined) && isClock(clock!, digits)
}

function isArray(value: Value, of: ColumnType, dimensions: number): boolean {
  if (!Array.isArray(value)) return false
  return (value as readonly Value[]).every((item) => {
    if (dimensions > 1) return isArray(item, of, dimensions - 1)
    return item === null || fits(of, item)
  })
}

function fraction(digits: number): string {
  return digits === 0 ? '' : `.${'123456789'.slice(0, digits)}`
}
