import type { Json } from '../../position.ts'
import { equal, isNumber } from '../values/compare.ts'
import { isNothing } from './expression-arithmetic.ts'
import { type Evaluate, NULL, type Operator, type Place, type Value } from './expression-place.ts'
import { bool } from './expression-logic.ts'
import { wholeNumber } from '../values/numbers.ts'
import { isTrue } from '../values/truth.ts'
import { typeName } from '../values/type-names.ts'
import type { DocumentValue } from '../value.ts'

type Items = readonly DocumentValue[]

/** Operators of arrays. Null or a missing value in the place of an array gives null, unless the manual says otherwise. */
export const ARRAYS: Readonly<Record<string, Operator>> = {
  $size(operand, place) {
    const part = place.one(operand)
    return (scope) => ({ kind: 'int', value: items(part(scope), place).length })
  },
  $isArray(operand, place) {
    const part = place.one(operand)
    return (scope) => bool(part(scope)?.kind === 'array')
  },
  $arrayElemAt(operand, place) {
    const [array, index] = place.list(operand, 2, 2)
    return (scope) => {
      const value = array!(scope)
      const at = index!(scope)
      if (isNothing(value) || isNothing(at)) return NULL
      return items(value, place).at(int32(at, place))
    }
  },
  $first: (operand, place) => elementAt(operand, place, 0),
  $last: (operand, place) => elementAt(operand, place, -1),
  $in(operand, place) {
    const [sought, array] = place.list(operand, 2, 2)
    return (scope) => {
      const value = sought!(scope)
      return bool(items(array!(scope), place).some((item) => equal(item, value)))
    }
  },
  $concatArrays(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    return (scope) => {
      const values = parts.map((part) => part(scope))
      if (values.some(isNothing)) return NULL
      return list(values.flatMap((value) => items(value, place)))
    }
  },
  $slice: sliced,
  $map(operand, place) {
    const { input = null, as = 'this', in: body = null } = place.given(operand, ['input', 'in'], ['as'])
    const loop = looped(input, as, body, 'in', place)
    return (scope) => {
      const array = loop.array(scope)
      if (array === null) return NULL
      return list(
        array.map((item) => {
          scope.variables[loop.slot] = item
          return loop.body(scope) ?? NULL
        }),
      )
    }
  },
  $filter(operand, place) {
    const given = place.given(operand, ['input', 'cond'], ['as', 'limit'])
    const { input = null, as = 'this', cond = null, limit } = given
    const loop = looped(input, as, cond, 'cond', place)
    const most = limit === undefined ? null : place.compile(limit, 'limit')
    return (scope) => {
      const array = loop.array(scope)
      const atMost = most === null ? undefined : most(scope)
      if (array === null) return NULL
      const left = isNothing(atMost) ? Infinity : int32(atMost, place)
      if (left < 1) return place.fail('has a limit below 1')
      const found: DocumentValue[] = []
      for (const item of array) {
        if (found.length >= left) break
        scope.variables[loop.slot] = item
        if (isTrue(loop.body(scope))) found.push(item)
      }
      return list(found)
    }
  },
  $reduce(operand, place) {
    const given = place.given(operand, ['input', 'initialValue', 'in'], [])
    const { input = null, initialValue = null, in: body = null } = given
    const array = place.compile(input, 'input')
    const initial = place.compile(initialValue, 'initialValue')
    const { place: inner, slot } = place.with(['this', 'value'])
    const step = inner.compile(body, 'in')
    return (scope) => {
      const value = array(scope)
      if (isNothing(value)) return NULL
      let result = initial(scope)
      for (const item of items(value, place)) {
        scope.variables[slot] = item
        scope.variables[slot + 1] = result
        result = step(scope)
      }
      return result
    }
  },
}

export function list(value: Items): DocumentValue {
  return { kind: 'array', value }
}

export function items(value: Value, place: Place): Items {
  return value?.kind === 'array' ? value.value : place.fail(`needs an array, not ${typeName(value)}`)
}

function int32(value: Value, place: Place): number {
  const whole = isNumber(value) ? wholeNumber(value) : null
  if (whole === null || BigInt.asIntN(32, whole) !== whole)
    return place.fail('needs a whole number of 32 bits')
  return Number(whole)
}

function elementAt(operand: Json, place: Place, index: number): Evaluate {
  const part = place.one(operand)
  return (scope) => {
    const value = part(scope)
    return isNothing(value) ? NULL : items(value, place).at(index)
  }
}

/** `[array, n]`: the first n, or for a negative n the last; `[array, position, n]`: n from there on. */
function sliced(operand: Json, place: Place): Evaluate {
  const [array, second, third] = place.list(operand, 2, 3)
  return (scope) => {
    const value = array!(scope)
    const a = second!(scope)
    const b = third === undefined ? undefined : third(scope)
    if (isNothing(value) || isNothing(a) || (third !== undefined && isNothing(b))) return NULL
    const all = items(value, place)
    const first = int32(a, place)
    if (third === undefined) return list(first < 0 ? all.slice(first) : all.slice(0, first))
    const length = int32(b, place)
    if (length < 1) return place.fail('has a number of elements below 1')
    const start = first < 0 ? Math.max(0, all.length + first) : first
    return list(all.slice(start, start + length))
  }
}

interface Loop {
  /** Null for nothing to go through. */
  readonly array: (scope: Parameters<Evaluate>[0]) => Items | null
  readonly slot: number
  readonly body: Evaluate
}

function looped(input: Json, as: Json, body: Json, bodyName: string, place: Place): Loop {
  const array = place.compile(input, 'input')
  if (typeof as !== 'string') place.mistake('must be the name of a variable', 'as')
  const { place: inner, slot } = place.with([typeof as === 'string' ? as : 'this'])
  return {
    array(scope) {
      const value = array(scope)
      return isNothing(value) ? null : items(value, place)
    },
    slot,
    body: inner.compile(body, bodyName),
  }
}
