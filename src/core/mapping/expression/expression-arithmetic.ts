import type { Json } from '../../position.ts'
import { isNumber, type NumberValue } from '../values/compare.ts'
import { decimalOfDouble, decimalText, parseDecimal, type Rounding, toScale } from '../values/decimal.ts'
import { type Evaluate, NULL, type Operator, type Place, type Value } from './expression-place.ts'
import { isJsonList } from '../values/json.ts'
import {
  add,
  decimal,
  divide,
  type Fail,
  integer,
  multiply,
  remainder,
  subtract,
  wholeNumber,
} from '../values/numbers.ts'
import { typeName } from '../values/type-names.ts'

/** Operators of numbers. Null or a missing value gives null. */
export const ARITHMETIC: Readonly<Record<string, Operator>> = {
  $add(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    const [left, right] = parts
    const fail: Fail = (reason) => place.fail(reason)
    if (parts.length === 2) {
      return (scope) => {
        const a = left!(scope)
        const b = right!(scope)
        return isNumber(a) && isNumber(b) ? add(a, b, fail) : total([a, b], place)
      }
    }
    return (scope) =>
      total(
        parts.map((part) => part(scope)),
        place,
      )
  },
  $subtract: (operand, place) => binary(operand, place, difference),
  $multiply(operand, place) {
    if (isJsonList(operand) && operand.length === 2) return numeric(operand, place, multiply)
    const parts = place.list(operand, 0, Infinity)
    const fail: Fail = (reason) => place.fail(reason)
    return (scope) => {
      const values = parts.map((part) => part(scope))
      if (values.some(isNothing)) return NULL
      return values.map((value) => number(value, place)).reduce((a, b) => multiply(a, b, fail), ONE)
    }
  },
  $divide: (operand, place) => numeric(operand, place, divide),
  $mod: (operand, place) => numeric(operand, place, remainder),
  $abs: (operand, place) => unary(operand, place, absolute),
  $ceil: (operand, place) => unary(operand, place, (value) => wholeOf(value, 'ceil')),
  $floor: (operand, place) => unary(operand, place, (value) => wholeOf(value, 'floor')),
  $round: (operand, place) => rounded(operand, place, 'half-even'),
  $trunc: (operand, place) => rounded(operand, place, 'truncate'),
}

const ONE: NumberValue = { kind: 'int', value: 1 }
const ZERO: NumberValue = { kind: 'int', value: 0 }
const PLACES_MIN = -20
const PLACES_MAX = 100

export function isNothing(value: Value): value is undefined | { kind: 'null' } {
  return value === undefined || value.kind === 'null'
}

function number(value: Value, place: Place): NumberValue {
  return isNumber(value) ? value : place.fail(`needs numbers, not ${typeName(value)}`)
}

function unary(
  operand: Json,
  place: Place,
  compute: (value: NumberValue, fail: Fail) => NumberValue,
): Evaluate {
  const part = place.one(operand)
  const fail: Fail = (reason) => place.fail(reason)
  return (scope) => {
    const value = part(scope)
    return isNothing(value) ? NULL : compute(number(value, place), fail)
  }
}

function binary(operand: Json, place: Place, compute: (a: Value, b: Value, place: Place) => Value): Evaluate {
  const [left, right] = place.list(operand, 2, 2)
  return (scope) => {
    const a = left!(scope)
    const b = right!(scope)
    return isNothing(a) || isNothing(b) ? NULL : compute(a, b, place)
  }
}

function numeric(
  operand: Json,
  place: Place,
  compute: (a: NumberValue, b: NumberValue, fail: Fail) => NumberValue,
): Evaluate {
  const fail: Fail = (reason) => place.fail(reason)
  return binary(operand, place, (a, b) => compute(number(a, place), number(b, place), fail))
}

/** A sum of numbers, or of a date and milliseconds. */
function total(values: readonly Value[], place: Place): Value {
  if (values.some(isNothing)) return NULL
  const fail: Fail = (reason) => place.fail(reason)
  const dates = values.filter((value) => value?.kind === 'date')
  if (dates.length > 1) return place.fail('has more than one date')
  const numbers = values.filter((value) => value?.kind !== 'date').map((value) => number(value, place))
  const sum = dates.length === 0 ? sumOf(numbers, fail) : numbers.reduce((a, b) => add(a, b, fail), ZERO)
  return dates.length === 0 ? sum : moved(dates[0]!.value as bigint, sum, 1n, place)
}

/** Integers are added before it is decided which type holds the sum. */
function sumOf(numbers: readonly NumberValue[], fail: Fail): NumberValue {
  if (numbers.length > 2 && numbers.every((value) => value.kind === 'int' || value.kind === 'long')) {
    const sum = numbers.reduce((before, value) => before + BigInt(value.value), 0n)
    return integer(
      sum,
      numbers.some((value) => value.kind === 'long'),
    )
  }
  return numbers.length === 0 ? ZERO : numbers.reduce((a, b) => add(a, b, fail))
}

function difference(a: Value, b: Value, place: Place): Value {
  const fail: Fail = (reason) => place.fail(reason)
  if (a?.kind !== 'date') return subtract(number(a, place), number(b, place), fail)
  if (b?.kind === 'date') return integer(a.value - b.value, true)
  return moved(a.value, number(b, place), -1n, place)
}

function moved(date: bigint, by: NumberValue, sign: bigint, place: Place): Value {
  const milliseconds = wholeNumber(by)
  if (milliseconds === null) return place.fail('moves a date by a number that is not whole')
  const value = date + sign * milliseconds
  if (BigInt.asIntN(64, value) !== value) return place.fail('leaves the range of dates')
  return { kind: 'date', value }
}

function absolute(value: NumberValue, fail: Fail): NumberValue {
  switch (value.kind) {
    case 'int':
      return integer(BigInt(Math.abs(value.value)), false)
    case 'long':
      if (value.value === -(2n ** 63n)) return fail('has a long without a positive counterpart')
      return { kind: 'long', value: value.value < 0n ? -value.value : value.value }
    case 'double':
      return { kind: 'double', value: Math.abs(value.value) }
    case 'decimal':
      return { kind: 'decimal', value: value.value.replace(/^-/, '') }
  }
}

function wholeOf(value: NumberValue, rounding: 'floor' | 'ceil'): NumberValue {
  if (value.kind === 'double') return { kind: 'double', value: Math[rounding](value.value) }
  const exact = value.kind === 'decimal' ? parseDecimal(value.value) : null
  return exact === null ? value : { kind: 'decimal', value: decimalText(toScale(exact, 0, rounding)) }
}

/** To so many decimals; negative for tens, hundreds and so on. */
function rounded(operand: Json, place: Place, rounding: Rounding): Evaluate {
  const [part, places] = place.list(operand, 1, 2)
  const fail: Fail = (reason) => place.fail(reason)
  return (scope) => {
    const value = part!(scope)
    const scale = places === undefined ? ZERO : places(scope)
    if (isNothing(value) || isNothing(scale)) return NULL
    const digits = isNumber(scale) ? Number(scale.value) : Number.NaN
    if (!Number.isInteger(digits) || digits < PLACES_MIN || digits > PLACES_MAX) {
      return place.fail('needs whole numbers from -20 to 100 for the place')
    }
    return atScale(number(value, place), digits, rounding, fail)
  }
}

function atScale(value: NumberValue, scale: number, rounding: Rounding, fail: Fail): NumberValue {
  switch (value.kind) {
    case 'int':
    case 'long': {
      const exact = toScale({ digits: BigInt(value.value), scale: 0 }, Math.min(scale, 0), rounding)
      const digits = exact.digits * 10n ** BigInt(-exact.scale)
      if (BigInt.asIntN(64, digits) !== digits) return fail('leaves the range of longs')
      return integer(digits, value.kind === 'long')
    }
    case 'double': {
      if (!Number.isFinite(value.value)) return value
      const exact = toScale(decimalOfDouble(value.value), scale, rounding)
      const result = Number(decimalText(exact))
      return { kind: 'double', value: result === 0 && value.value < 0 ? -0 : result }
    }
    case 'decimal': {
      const exact = parseDecimal(value.value)
      // More places than there are stay as they are.
      return exact === null || scale >= exact.scale ? value : decimal(toScale(exact, scale, rounding), fail)
    }
  }
}
