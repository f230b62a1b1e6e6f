import type { Json } from '../../position.ts'
import { CONVERSION_TARGETS } from '../values/convert.ts'
import { isNothing } from './expression-arithmetic.ts'
import { type Evaluate, NULL, type Operator, type Place, type Scope, type Value } from './expression-place.ts'
import { isJsonObject } from '../values/json.ts'
import { isUtc, isZone, type Moment, momentIn } from '../values/moment.ts'
import { typeName } from '../values/type-names.ts'

/** Operators of dates; the moment in an objectId or a timestamp is a date too. Null or a missing value gives null. */
export const DATES: Readonly<Record<string, Operator>> = {
  $year: (operand, place) => part(operand, place, ({ year }) => year),
  $month: (operand, place) => part(operand, place, ({ month }) => month),
  $dayOfMonth: (operand, place) => part(operand, place, ({ day }) => day),
  $hour: (operand, place) => part(operand, place, ({ hour }) => hour),
  $minute: (operand, place) => part(operand, place, ({ minute }) => minute),
  $second: (operand, place) => part(operand, place, ({ second }) => second),
  $millisecond: (operand, place) => part(operand, place, ({ millisecond }) => millisecond),
  $dayOfYear: (operand, place) => part(operand, place, ({ dayOfYear }) => dayOfYear),
  /** From 1 for Sunday. */
  $dayOfWeek: (operand, place) => part(operand, place, ({ weekday }) => weekday + 1),
  $dateToString(operand, place) {
    const given = place.given(operand, ['date'], ['format', 'timezone', 'onNull'])
    const date = place.compile(given['date'] ?? null, 'date')
    const timezone = place.optional(given['timezone'], 'timezone')
    const onNull = place.optional(given['onNull'], 'onNull')
    const write = formatOf(given['format'], place)
    return (scope) => {
      const value = date(scope)
      if (isNothing(value)) return onNull === undefined ? NULL : onNull(scope)
      const zone = zoneIn(timezone, scope, place)
      if (zone === null) return NULL
      return { kind: 'string', value: write(momentOf(value, zone, place), isUtc(zone)) }
    }
  },
}

const UTC = 'UTC'
const DEFAULT_FORMAT = '%Y-%m-%dT%H:%M:%S.%L'
type Write = (moment: Moment, isUtc: boolean) => string
type Specifier = (moment: Moment) => string

/**
 * From MongoDB's manual ("Format Specifiers" of `$dateToString`). Left out: `%b` and `%B`, names of months, of which it
 * is not said with certainty how they are written.
 */
const SPECIFIERS: Readonly<Record<string, Specifier>> = {
  '%': () => '%',
  d: ({ day }) => padded(day, 2),
  G: (moment) => padded(isoWeek(moment).year, 4),
  H: ({ hour }) => padded(hour, 2),
  j: ({ dayOfYear }) => padded(dayOfYear, 3),
  L: ({ millisecond }) => padded(millisecond, 3),
  m: ({ month }) => padded(month, 2),
  M: ({ minute }) => padded(minute, 2),
  S: ({ second }) => padded(second, 2),
  u: ({ weekday }) => String(weekday === 0 ? 7 : weekday),
  U: ({ dayOfYear, weekday }) => padded(Math.floor((dayOfYear + 6 - weekday) / 7), 2),
  V: (moment) => padded(isoWeek(moment).week, 2),
  w: ({ weekday }) => String(weekday + 1),
  Y: ({ year }) => padded(year, 4),
  z({ offset }) {
    const minutes = Math.abs(offset)
    return `${offset < 0 ? '-' : '+'}${padded(Math.floor(minutes / 60), 2)}${padded(minutes % 60, 2)}`
  },
  Z: ({ offset }) => `${offset < 0 ? '-' : '+'}${padded(Math.abs(offset), 3)}`,
}

/** Compiled once, as the format is no expression. */
function formatOf(format: Json | undefined, place: Place): Write {
  if (format === undefined) {
    const write = compiledFormat(DEFAULT_FORMAT, place)
    return (moment, isUtc) => write(moment, isUtc) + (isUtc ? 'Z' : '')
  }
  if (typeof format === 'string') return compiledFormat(format, place)
  place.mistake('must be text', 'format')
  return () => ''
}

function compiledFormat(format: string, place: Place): Write {
  const parts = format.match(/%[^]?|[^%]+/gu) ?? []
  const writers = parts.map((text): Specifier => {
    if (!text.startsWith('%')) return () => text
    const name = text.slice(1)
    if (Object.hasOwn(SPECIFIERS, name)) return SPECIFIERS[name]!
    place.mistake(`has an unknown specifier; known: ${Object.keys(SPECIFIERS).join(' ')}`, 'format')
    return () => ''
  })
  return (moment) => writers.map((write) => write(moment)).join('')
}

/** By ISO 8601: the first week is the one with the first Thursday. */
function isoWeek({ year, dayOfYear, weekday }: Moment): { readonly year: number; readonly week: number } {
  const week = Math.floor((dayOfYear - (weekday === 0 ? 7 : weekday) + 10) / 7)
  if (week < 1) return { year: year - 1, week: weeksOf(year - 1) }
  return week > weeksOf(year) ? { year: year + 1, week: 1 } : { year, week }
}

function weeksOf(year: number): number {
  const newYear = new Date(0)
  newYear.setUTCFullYear(year, 0, 1)
  const isLeap = new Date(newYear).setUTCMonth(1, 29) < new Date(newYear).setUTCMonth(2, 1)
  const weekday = newYear.getUTCDay()
  return weekday === 4 || (isLeap && weekday === 3) ? 53 : 52
}

function padded(value: number, width: number): string {
  return String(value).padStart(width, '0')
}

/** A date alone, or `{date, timezone}`. */
function part(operand: Json, place: Place, of: (moment: Moment) => number): Evaluate {
  const isNamed = isJsonObject(operand) && Object.hasOwn(operand, 'date')
  const { date, timezone } = isNamed
    ? place.named(operand, ['date'], ['timezone'])
    : { date: place.one(operand), timezone: undefined }
  return (scope) => {
    const value = date(scope)
    const zone = isNothing(value) ? null : zoneIn(timezone, scope, place)
    return zone === null ? NULL : { kind: 'int', value: of(momentOf(value, zone, place)) }
  }
}

function zoneIn(timezone: Evaluate | undefined, scope: Scope, place: Place): string | null {
  if (timezone === undefined) return UTC
  const value = timezone(scope)
  if (isNothing(value)) return null
  if (value.kind !== 'string' || !isZone(value.value)) {
    return place.fail('needs a time zone as an offset such as +05:30 or a name such as Europe/Berlin')
  }
  return value.value
}

function momentOf(value: Value, zone: string, place: Place): Moment {
  const isDate = value?.kind === 'date' || value?.kind === 'objectId' || value?.kind === 'timestamp'
  const date = isDate ? CONVERSION_TARGETS.date(value) : null
  if (date?.kind !== 'date') return place.fail(`needs a date, not ${typeName(value)}`)
  return momentIn(date.value, zone) ?? place.fail('has a date outside the years 0 to 9999')
}
