import type { Json } from '../../position.ts'
import { isNumber } from '../values/compare.ts'
import { CONVERSION_TARGETS } from '../values/convert.ts'
import { isNothing } from './expression-arithmetic.ts'
import { type Evaluate, NULL, type Operator, type Place, type Value } from './expression-place.ts'
import { wholeNumber } from '../values/numbers.ts'
import { typeName } from '../values/type-names.ts'
import type { DocumentValue } from '../value.ts'

/** Operators of text. Positions and lengths count code points. */
export const TEXTS: Readonly<Record<string, Operator>> = {
  $concat(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    return (scope) => {
      let result = ''
      for (const part of parts) {
        const value = part(scope)
        if (isNothing(value)) return NULL
        result += text(value, place)
      }
      return string(result)
    }
  },
  $toLower: (operand, place) => {
    return cased(operand, place, (value) => value.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase()))
  },
  $toUpper: (operand, place) => {
    return cased(operand, place, (value) => value.replaceAll(/[a-z]+/g, (part) => part.toUpperCase()))
  },
  $trim: (operand, place) => trimmed(operand, place, true, true),
  $ltrim: (operand, place) => trimmed(operand, place, true, false),
  $rtrim: (operand, place) => trimmed(operand, place, false, true),
  $split(operand, place) {
    const [input, delimiter] = place.list(operand, 2, 2)
    return (scope) => {
      const value = input!(scope)
      const by = delimiter!(scope)
      if (isNothing(value) || isNothing(by)) return NULL
      const separator = text(by, place)
      if (separator === '') return place.fail('has an empty delimiter')
      return { kind: 'array', value: text(value, place).split(separator).map(string) }
    }
  },
  $strLenCP(operand, place) {
    const part = place.one(operand)
    return (scope) => int(points(part(scope), place).length)
  },
  $substrCP(operand, place) {
    const [input, start, length] = place.list(operand, 3, 3)
    return (scope) => {
      const all = Array.from(coerced(input!(scope), place))
      const from = count(start!(scope), place)
      return string(all.slice(from, from + count(length!(scope), place)).join(''))
    }
  },
  $indexOfCP(operand, place) {
    const [input, sought, start, end] = place.list(operand, 2, 4)
    return (scope) => {
      const value = input!(scope)
      if (isNothing(value)) return NULL
      const all = points(value, place)
      const part = points(sought!(scope), place)
      const from = start === undefined ? 0 : count(start(scope), place)
      const to = end === undefined ? all.length : Math.min(count(end(scope), place), all.length)
      for (let at = from; at + part.length <= to; at++) {
        if (part.every((point, index) => all[at + index] === point)) return int(at)
      }
      return int(-1)
    }
  },
  $replaceAll(operand, place) {
    const { input, find, replacement } = place.named(operand, ['input', 'find', 'replacement'], [])
    return (scope) => {
      const values = [input(scope), find(scope), replacement(scope)]
      const checked = values.map((value) => (isNothing(value) ? null : text(value, place)))
      const [subject, sought, put] = checked
      if (subject === null || sought === null || put === null) return NULL
      if (sought === '') return place.fail('looks for an empty text')
      return string(subject!.split(sought!).join(put))
    }
  },
}

/** What is trimmed when nothing is said, from MongoDB's manual ("Whitespace Characters" of `$trim`). */
const WHITESPACE = new Set(
  '\0 \t\n\v\f\r\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}',
)

function string(value: string): DocumentValue {
  return { kind: 'string', value }
}

function int(value: number): DocumentValue {
  return { kind: 'int', value }
}

function text(value: Value, place: Place): string {
  return value?.kind === 'string' || value?.kind === 'symbol'
    ? value.value
    : place.fail(`needs text, not ${typeName(value)}`)
}

function points(value: Value, place: Place): readonly string[] {
  return Array.from(text(value, place))
}

/** A whole number from 0. */
function count(value: Value, place: Place): number {
  const whole = isNumber(value) ? wholeNumber(value) : null
  if (whole === null || whole < 0n || whole > 2n ** 31n - 1n) return place.fail('needs whole numbers from 0')
  return Number(whole)
}

/** Numbers and dates as text; nothing is the empty text. */
function coerced(value: Value, place: Place): string {
  if (isNothing(value)) return ''
  const converted = isNumber(value) || value.kind === 'date' ? CONVERSION_TARGETS.string(value) : value
  return text(converted ?? value, place)
}

/** Of the letters of ASCII only, as the manual promises. */
function cased(operand: Json, place: Place, change: (value: string) => string): Evaluate {
  const part = place.one(operand)
  return (scope) => string(change(coerced(part(scope), place)))
}

function trimmed(operand: Json, place: Place, left: boolean, right: boolean): Evaluate {
  const { input, chars } = place.named(operand, ['input'], ['chars'])
  return (scope) => {
    const value = input(scope)
    if (isNothing(value)) return NULL
    const which = chars === undefined ? undefined : chars(scope)
    if (chars !== undefined && isNothing(which)) return NULL
    const cut = which === undefined ? WHITESPACE : new Set(text(which, place))
    const all = points(value, place)
    let start = 0
    let end = all.length
    while (left && start < end && cut.has(all[start]!)) start++
    while (right && end > start && cut.has(all[end - 1]!)) end--
    return string(all.slice(start, end).join(''))
  }
}
