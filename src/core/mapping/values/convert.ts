/** Conversions between types, as MongoDB's manual lists them under `$convert`; null for those that it refuses. */
import {
  compareDecimals,
  type Decimal,
  decimalOfDouble,
  decimalText,
  fitsDecimal128,
  parseDecimal,
  toPrecision,
  toScale,
} from './decimal.ts'
import { isoText, parseMoment } from './moment.ts'
import { isTrue } from './truth.ts'
import type { DocumentValue } from '../value.ts'

/** Types that values are converted to. */
export type Target = 'double' | 'string' | 'objectId' | 'bool' | 'date' | 'int' | 'long' | 'decimal'

type Convert = (value: DocumentValue) => DocumentValue | null

export const CONVERSION_TARGETS: Readonly<Record<Target, Convert>> = {
  double: toDouble,
  string: toText,
  objectId: toObjectId,
  bool: toBool,
  date: toDate,
  int: (value) => toInteger(value, 'int', 32),
  long: (value) =>
    value.kind === 'date' ? { kind: 'long', value: value.value } : toInteger(value, 'long', 64),
  decimal: toDecimal,
}

/** Of significant digits, which is what a double surely has. */
const DOUBLE_DIGITS = 15
const DOUBLE_MAX = decimalOfDouble(Number.MAX_VALUE)

function toBool(value: DocumentValue): DocumentValue | null {
  return value.kind === 'null' ? null : { kind: 'bool', value: isTrue(value) }
}

/** Fractions are cut off numbers; text has to be a whole number. */
function toInteger(value: DocumentValue, kind: 'int' | 'long', bits: 32 | 64): DocumentValue | null {
  const whole = wholeOf(value)
  if (whole === null || BigInt.asIntN(bits, whole) !== whole) return null
  return kind === 'int' ? { kind, value: Number(whole) } : { kind, value: whole }
}

function wholeOf(value: DocumentValue): bigint | null {
  switch (value.kind) {
    case 'int':
    case 'long':
    case 'bool':
      return BigInt(value.value)
    case 'double':
      return Number.isFinite(value.value) ? BigInt(Math.trunc(value.value)) : null
    case 'decimal': {
      const exact = parseDecimal(value.value)
      return exact === null ? null : toScale(exact, 0, 'truncate').digits
    }
    case 'string':
      return /^[+-]?\d+$/.test(value.value) ? BigInt(value.value.replace('+', '')) : null
    default:
      return null
  }
}

function toDouble(value: DocumentValue): DocumentValue | null {
  switch (value.kind) {
    case 'double':
      return value
    case 'int':
    case 'long':
    case 'bool':
    case 'date':
      return { kind: 'double', value: Number(value.value) }
    case 'decimal':
    case 'string':
      return doubleOf(value.value)
    default:
      return null
  }
}

function doubleOf(text: string): DocumentValue | null {
  const exact = parseDecimal(text)
  if (exact === null) return /^(NaN|-?Infinity)$/.test(text) ? { kind: 'double', value: Number(text) } : null
  const inRange = compareDecimals({ ...exact, digits: magnitude(exact) }, DOUBLE_MAX) <= 0
  return inRange ? { kind: 'double', value: Number(text) } : null
}

function toDecimal(value: DocumentValue): DocumentValue | null {
  switch (value.kind) {
    case 'decimal':
      return value
    case 'int':
    case 'long':
    case 'bool':
    case 'date':
      return { kind: 'decimal', value: String(BigInt(value.value)) }
    case 'double':
      return Number.isFinite(value.value)
        ? { kind: 'decimal', value: decimalText(fifteenDigits(value.value)) }
        : { kind: 'decimal', value: String(value.value) }
    case 'string': {
      if (/^(NaN|-?Infinity)$/.test(value.value)) return { kind: 'decimal', value: value.value }
      const exact = parseDecimal(value.value)
      if (exact === null) return null
      const rounded = toPrecision(exact, 34)
      return fitsDecimal128(rounded) ? { kind: 'decimal', value: decimalText(rounded) } : null
    }
    default:
      return null
  }
}

/** -5.5 is -5.50000000000000, as the manual shows; whole numbers of up to 15 digits stay as they are. */
function fifteenDigits(value: number): Decimal {
  const exact = decimalOfDouble(value)
  const rounded = toPrecision(exact, DOUBLE_DIGITS)
  if (Number.isInteger(value)) return rounded
  const missing = DOUBLE_DIGITS - String(magnitude(rounded)).length
  return toScale(rounded, rounded.scale + missing, 'half-even')
}

function toDate(value: DocumentValue): DocumentValue | null {
  switch (value.kind) {
    case 'date':
      return value
    case 'long':
      return { kind: 'date', value: value.value }
    case 'double':
    case 'decimal': {
      const whole = wholeOf(value)
      return whole === null || BigInt.asIntN(64, whole) !== whole ? null : { kind: 'date', value: whole }
    }
    case 'string': {
      const moment = parseMoment(value.value)
      return moment === null ? null : { kind: 'date', value: moment }
    }
    case 'objectId':
      return { kind: 'date', value: BigInt(`0x${value.value.slice(0, 8)}`) * 1000n }
    case 'timestamp':
      return { kind: 'date', value: (value.value >> 32n) * 1000n }
    default:
      return null
  }
}

function toObjectId(value: DocumentValue): DocumentValue | null {
  if (value.kind === 'objectId') return value
  const isHex = value.kind === 'string' && /^[\da-f]{24}$/i.test(value.value)
  return isHex ? { kind: 'objectId', value: value.value.toLowerCase() } : null
}

function toText(value: DocumentValue): DocumentValue | null {
  switch (value.kind) {
    case 'string':
      return value
    case 'symbol':
    case 'objectId':
    case 'decimal':
      return { kind: 'string', value: value.value }
    case 'int':
    case 'long':
    case 'bool':
      return { kind: 'string', value: String(value.value) }
    case 'double':
      return { kind: 'string', value: Object.is(value.value, -0) ? '-0' : String(value.value) }
    case 'date': {
      const text = isoText(value.value)
      return text === null ? null : { kind: 'string', value: text }
    }
    default:
      return null
  }
}

function magnitude({ digits }: Decimal): bigint {
  return digits < 0n ? -digits : digits
}
