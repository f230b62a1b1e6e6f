import type { Json } from '../../position.ts'
import { compare, isNumber } from '../values/compare.ts'
import type { Evaluate, Operator, Place } from './expression-place.ts'
import { isNothing } from './expression-arithmetic.ts'
import { isJsonList, isJsonObject } from '../values/json.ts'
import { isTrue } from '../values/truth.ts'
import type { DocumentValue } from '../value.ts'

/** Comparisons, conditions, and values as they are. */
export const LOGIC: Readonly<Record<string, Operator>> = {
  $literal(operand, place) {
    const value = place.literal(operand)
    return () => value
  },
  $eq: (operand, place) => compared(operand, place, (order) => order === 0),
  $ne: (operand, place) => compared(operand, place, (order) => order !== 0),
  $gt: (operand, place) => compared(operand, place, (order) => order > 0),
  $gte: (operand, place) => compared(operand, place, (order) => order >= 0),
  $lt: (operand, place) => compared(operand, place, (order) => order < 0),
  $lte: (operand, place) => compared(operand, place, (order) => order <= 0),
  $cmp(operand, place) {
    const [left, right] = place.list(operand, 2, 2)
    return (scope) => ({ kind: 'int', value: Math.sign(compare(left!(scope), right!(scope))) })
  },
  $and(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    return (scope) => bool(parts.every((part) => isTrue(part(scope))))
  },
  $or(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    return (scope) => bool(parts.some((part) => isTrue(part(scope))))
  },
  $not(operand, place) {
    const part = place.one(operand)
    return (scope) => bool(!isTrue(part(scope)))
  },
  $cond(operand, place) {
    const { condition, yes, no } = branches(operand, place)
    return (scope) => (isTrue(condition(scope)) ? yes(scope) : no(scope))
  },
  $ifNull(operand, place) {
    const parts = place.list(operand, 2, Infinity)
    const last = parts.at(-1)!
    return (scope) => {
      for (const part of parts) {
        const value = part === last ? undefined : part(scope)
        if (!isNothing(value)) return value
      }
      return last(scope)
    }
  },
  $switch: switched,
  $isNumber(operand, place) {
    const part = place.one(operand)
    return (scope) => bool(isNumber(part(scope)))
  },
  $let(operand, place) {
    const { vars, in: result = null } = place.given(operand, ['vars', 'in'], [])
    if (!isJsonObject(vars)) return place.mistake('must be an object of variables', 'vars')
    const values = Object.entries(vars).map(([name, json]) => place.compile(json, 'vars', name))
    const { place: inner, slot } = place.with(Object.keys(vars))
    const body = inner.compile(result, 'in')
    return (scope) => {
      values.forEach((value, index) => {
        scope.variables[slot + index] = value(scope)
      })
      return body(scope)
    }
  },
}

const TRUE: DocumentValue = { kind: 'bool', value: true }
const FALSE: DocumentValue = { kind: 'bool', value: false }

export function bool(value: boolean): DocumentValue {
  return value ? TRUE : FALSE
}

/** By the order of all values; a missing one is below null, and types are not converted. */
function compared(operand: Json, place: Place, accepts: (order: number) => boolean): Evaluate {
  const [left, right] = place.list(operand, 2, 2)
  return (scope) => bool(accepts(compare(left!(scope), right!(scope))))
}

/** `[if, then, else]`, or the same by name. */
function branches(operand: Json, place: Place): { condition: Evaluate; yes: Evaluate; no: Evaluate } {
  if (isJsonObject(operand)) {
    const { if: condition, then: yes, else: no } = place.named(operand, ['if', 'then', 'else'], [])
    return { condition, yes, no }
  }
  const [condition, yes, no] = place.list(operand, 3, 3)
  return { condition: condition!, yes: yes!, no: no! }
}

function switched(operand: Json, place: Place): Evaluate {
  const { branches: cases = [], default: other } = place.given(operand, ['branches'], ['default'])
  if (!isJsonList(cases) || cases.length === 0) {
    return place.mistake('must be a list of {"case": ..., "then": ...}, at least one', 'branches')
  }
  const compiled = cases.map((branch, index) => {
    const keys = isJsonObject(branch) ? Object.keys(branch) : []
    if (!isJsonObject(branch) || keys.toSorted().join() !== 'case,then') {
      place.mistake('must be {"case": ..., "then": ...}', 'branches', index)
      return null
    }
    return {
      when: place.compile(branch['case']!, 'branches', index, 'case'),
      result: place.compile(branch['then']!, 'branches', index, 'then'),
    }
  })
  const fallback = other === undefined ? null : place.compile(other, 'default')
  return (scope) => {
    for (const branch of compiled) if (isTrue(branch!.when(scope))) return branch!.result(scope)
    return fallback === null ? place.fail('has no branch for it and no default') : fallback(scope)
  }
}
