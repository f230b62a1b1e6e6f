/**
 * Casts of cells of SQL tables from one column type to another. A value that would not be exactly the same is a misfit:
 * the cast gives null and whoever called says so, never a value that is rounded or cut.
 *
 * | from | to | what becomes of it |
 * |---|---|---|
 * | int | int of other size, bool (0 and 1) | the same number, in the range of the type |
 * | int, decimal | float | when the shortest text of the double has the same digits |
 * | int, float, decimal | decimal | the same digits, when precision and scale have room for them |
 * | float, decimal | int | without a fraction other than zero |
 * | float64 | float32 | when 32 bits hold it |
 * | bool | int, float, decimal | `1` and `0` |
 * | any | text | the canonical text; numbers without an exponent, `true` and `false`, bytes as `\x` and hex digits |
 * | text, enum, other | any but json and arrays | when it is the canonical text of the type, or a number with an exponent |
 * | date | timestamp | its midnight |
 * | timestamp | date | a midnight |
 * | timestamp | timestamp | other digits when those that go are zero; with and without zone: in UTC |
 * | date, timestamp | int, float64, decimal | milliseconds since 1970 UTC, when there is no part of one |
 * | uuid | bytes | its 16 bytes; and back |
 * | any but arrays | json | numbers and booleans as such, `NaN` and infinities, bytes (base64) and all else as text |
 * | array | json | an array of its elements |
 *
 * NULL stays NULL.
 */
import { parseArray } from '../../array-text.ts'
import type { ColumnType } from '../../column-type.ts'
import { sameType } from '../../column-type.ts'
import { fits } from '../../fits.ts'
import { formatMoment, parseMoment } from './row-moments.ts'

/** Canonical text to canonical text (bytes as `\x` and hex digits); null for a value that the type cannot hold. */
export type Cast = (text: string) => string | null

/** The cast; `same` when cells stay as they are, null when no value of the one is one of the other. */
export function castOf(from: ColumnType, to: ColumnType): Cast | 'same' | null {
  if (sameType(from, to) || isTextual(to, from)) return 'same'
  if (to.kind === 'text') return toText(from)
  if (to.kind === 'json') return jsonOf(from)
  switch (from.kind) {
    case 'text':
    case 'other':
    case 'enum':
      return fromText(to)
    case 'bool':
      return isNumeric(to) ? checked(to, (text) => (text === 't' ? '1' : '0')) : null
    case 'int':
    case 'decimal':
    case 'float':
      return fromNumber(from, to)
    case 'date':
    case 'timestamp':
      return fromMoment(from, to)
    case 'time':
      return to.kind === 'time' && to.zoned === from.zoned ? trimmed(to) : null
    case 'uuid':
      return to.kind === 'bytes' ? (text) => `\\x${text.replaceAll('-', '')}` : null
    case 'bytes':
      return to.kind === 'uuid' ? bytesToUuid : null
    case 'json':
    case 'interval':
    case 'array':
      return null
  }
}

/** All texts of the one are texts of the other. */
function isTextual(to: ColumnType, from: ColumnType): boolean {
  if (to.kind === 'enum') return from.kind === 'text'
  if (to.kind !== 'text') return false
  return [
    'text',
    'enum',
    'other',
    'uuid',
    'json',
    'date',
    'time',
    'timestamp',
    'interval',
    'int',
    'decimal',
    'array',
  ].includes(from.kind)
}

function isNumeric(type: ColumnType): boolean {
  return type.kind === 'int' || type.kind === 'float' || type.kind === 'decimal'
}

function toText(from: ColumnType): Cast | null {
  if (from.kind === 'bool') return (text) => (text === 't' ? 'true' : 'false')
  if (from.kind === 'float') return plainDigits
  return from.kind === 'bytes' ? (text) => text : null
}

function fromText(to: ColumnType): Cast | null {
  switch (to.kind) {
    case 'bool':
      return (text) => (text === 't' || text === 'true' ? 't' : text === 'f' || text === 'false' ? 'f' : null)
    case 'int':
    case 'decimal':
      return checked(to, plainDigits)
    case 'float':
      return (text) => toFloat(text, to.bits)
    case 'bytes':
      return (text) => (/^\\x([0-9a-f]{2})*$/.test(text) ? text : null)
    case 'array':
    case 'other':
      return null
    default:
      return checked(to, (text) => text)
  }
}

function fromNumber(from: ColumnType, to: ColumnType): Cast | null {
  switch (to.kind) {
    case 'int':
      return checked(to, (text) => plainDigits(text).replace(/\.0*$/, '').replace(/^-0$/, '0'))
    case 'decimal':
      return checked(to, (text) => {
        const digits = plainDigits(text)
        // Zeros at the end say nothing, and a shorter scale has no room for them. There is no negative zero.
        return (digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits).replace(/^-0$/, '0')
      })
    case 'float':
      return (text) => toFloat(text, to.bits)
    case 'bool':
      return (text) => (text === '1' ? 't' : text === '0' ? 'f' : null)
    default:
      return null
  }
}

/** The text of a double, when it reads back to the very digits. */
function toFloat(text: string, bits: 32 | 64): string | null {
  // A double has room for any 15 digits.
  if (bits === 64 && text.length <= 16 && SHORT.test(text)) return shownNumber(Number(text))
  if (/^(NaN|-?Infinity)$/.test(text)) return text
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) return null
  const value = Number(text)
  const shown = shownNumber(value)
  if (significant(shown) !== significant(text)) return null
  return bits === 64 || fits({ kind: 'float', bits: 32 }, value) ? shown : null
}

const SHORT = /^-?\d{1,15}$|^-?(?=.{1,16}$)\d+\.\d+$/

function shownNumber(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/** The digits without what does not count: zeros around, and a sign of zero. */
function significant(text: string): string {
  const [, sign, whole, fraction = ''] =
    /^(-?)0*(\d*)(?:\.(\d*?))?0*$/.exec(withFraction(plainDigits(text))) ?? []
  return whole === '' && fraction === '' ? '0' : `${sign}${whole}.${fraction}`
}

function withFraction(text: string): string {
  return text.includes('.') ? text : `${text}.`
}

/** `1.5e+21` as `1500000000000000000000`; what is no number stays. */
export function plainDigits(text: string): string {
  const [, sign, whole, fraction = '', exponent] = /^(-?)(\d+)(?:\.(\d+))?e([+-]?\d{1,4})$/i.exec(text) ?? []
  if (whole === undefined) return text
  const digits = whole + fraction
  const point = whole.length + Number(exponent)
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  if (point >= digits.length) return `${sign}${digits.padEnd(point, '0')}`.replace(/^(-?)0+(?=\d)/, '$1')
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
}

function fromMoment(from: ColumnType & { kind: 'date' | 'timestamp' }, to: ColumnType): Cast | null {
  if (to.kind === 'int' || to.kind === 'decimal' || (to.kind === 'float' && to.bits === 64)) {
    const toNumber = to.kind === 'float' ? (text: string) => toFloat(text, 64) : checked(to, (text) => text)
    return (text) => {
      const moment = parseMoment(text)
      return moment === null || moment.nanoseconds !== 0 ? null : toNumber(String(moment.milliseconds))
    }
  }
  if (to.kind === 'date') {
    return (text) => {
      if (isEndless(text)) return text
      const [, day, , before = ''] = /^(\S+) (00:00:00(?:\.0+)?)(?:\+00)?( BC)?$/.exec(text) ?? []
      return day === undefined ? null : day + before
    }
  }
  if (to.kind !== 'timestamp') return null
  const zone = to.zoned ? '+00' : ''
  if (from.kind === 'date') {
    return (text) => {
      const [day, before] = text.endsWith(' BC') ? [text.slice(0, -3), ' BC'] : [text, '']
      return isEndless(text) ? text : `${day} 00:00:00${zone}${before}`
    }
  }
  return (text) => {
    if (isEndless(text)) return text
    const [, base, fraction = '', before = ''] = /^(\S+ [\d:]+)(?:\.(\d+))?(?:\+00)?( BC)?$/.exec(text) ?? []
    const kept = fraction.replace(/0+$/, '')
    if (base === undefined || kept.length > to.digits) return null
    return `${base}${kept === '' ? '' : `.${kept}`}${zone}${before}`
  }
}

function isEndless(text: string): boolean {
  return text === 'infinity' || text === '-infinity'
}

/** A time of day with fewer digits, when those that go are zero. */
function trimmed({ digits }: ColumnType & { kind: 'time' }): Cast {
  return (text) => {
    const [, clock, fraction = '', offset = ''] = /^([\d:]+)(?:\.(\d+))?([+-].*)?$/.exec(text) ?? []
    const kept = fraction.replace(/0+$/, '')
    return clock === undefined || kept.length > digits
      ? null
      : `${clock}${kept === '' ? '' : `.${kept}`}${offset}`
  }
}

function bytesToUuid(text: string): string | null {
  const [, a, b, c, d, e] =
    /^\\x([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(text) ?? []
  return a === undefined ? null : `${a}-${b}-${c}-${d}-${e}`
}

function jsonOf(from: ColumnType): Cast {
  switch (from.kind) {
    case 'bool':
      return (text) => (text === 't' ? 'true' : 'false')
    case 'int':
      return (text) => text
    case 'decimal':
    case 'float':
      return (text) => (/^(NaN|-?Infinity)$/.test(text) ? JSON.stringify(text) : text)
    case 'json':
      return (text) => text
    case 'bytes':
      return (text) => JSON.stringify(Buffer.from(text.slice(2), 'hex').toString('base64'))
    case 'array': {
      const element = jsonOf(from.of)
      const write = (items: readonly unknown[]): string =>
        `[${items.map((item) => (Array.isArray(item) ? write(item) : item === null ? 'null' : (item as string))).join(',')}]`
      return (text) => write(parseArray(text, (item) => element(item)!))
    }
    default:
      return (text) => JSON.stringify(text)
  }
}

/** Only what is a value of the type. */
function checked(to: ColumnType, convert: (text: string) => string): Cast {
  return (text) => {
    const converted = convert(text)
    return fits(to, converted) ? converted : null
  }
}

/** A moment of the language as canonical text of `timestamp(3) with time zone`. */
export function momentText(milliseconds: bigint): string {
  const { day, clock, isBeforeChrist } = formatMoment(milliseconds)
  return `${day} ${clock}+00${isBeforeChrist ? ' BC' : ''}`
}
