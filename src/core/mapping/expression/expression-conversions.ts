import type { Json } from '../../position.ts'
import { CONVERSION_TARGETS, type Target } from '../values/convert.ts'
import { isNothing } from './expression-arithmetic.ts'
import { type Evaluate, NULL, type Operator, type Place, type Scope, type Value } from './expression-place.ts'
import { unknownName } from '../values/json.ts'
import { kindsNamed, typeName } from '../values/type-names.ts'

/** Operators that change or name the type of a value. Null or a missing value gives null. */
export const CONVERSIONS: Readonly<Record<string, Operator>> = {
  $toBool: (operand, place) => converted(operand, place, 'bool'),
  $toDate: (operand, place) => converted(operand, place, 'date'),
  $toDecimal: (operand, place) => converted(operand, place, 'decimal'),
  $toDouble: (operand, place) => converted(operand, place, 'double'),
  $toInt: (operand, place) => converted(operand, place, 'int'),
  $toLong: (operand, place) => converted(operand, place, 'long'),
  $toObjectId: (operand, place) => converted(operand, place, 'objectId'),
  $toString: (operand, place) => converted(operand, place, 'string'),
  $convert(operand, place) {
    const { input = null, to, onError, onNull } = place.given(operand, ['input', 'to'], ['onError', 'onNull'])
    const target = targetNamed(to)
    if (to === undefined) return () => undefined
    if (target === null) {
      return place.mistake(
        typeof to === 'string'
          ? unknownName('type', to, Object.keys(CONVERSION_TARGETS))
          : 'must be the name or the number of a BSON type',
        'to',
      )
    }
    return conversion(
      place.compile(input, 'input'),
      target,
      place,
      place.optional(onError, 'onError'),
      place.optional(onNull, 'onNull'),
    )
  },
  $type(operand, place) {
    const part = place.one(operand)
    return (scope) => ({ kind: 'string', value: typeName(part(scope)) })
  },
  $hexToBase64Url(operand, place) {
    const part = place.one(operand)
    return (scope) => {
      const value = part(scope)
      if (isNothing(value)) return NULL
      const isText = value.kind === 'string' || value.kind === 'objectId'
      if (!isText || !/^[\da-f]{24}$/i.test(value.value)) {
        return place.fail(`needs an objectId or its 24 hex digits, not ${typeName(value)}`)
      }
      return { kind: 'string', value: Buffer.from(value.value, 'hex').toString('base64url') }
    }
  },
}

function converted(operand: Json, place: Place, target: Target): Evaluate {
  return conversion(place.one(operand), target, place)
}

function conversion(
  input: Evaluate,
  target: Target,
  place: Place,
  onError?: Evaluate,
  onNull?: Evaluate,
): Evaluate {
  const convert = CONVERSION_TARGETS[target]
  const refused = (value: Value, scope: Scope): Value => {
    if (onError !== undefined) return onError(scope)
    return place.fail(`cannot make ${target} of this ${typeName(value)}`)
  }
  return (scope) => {
    const value = input(scope)
    if (isNothing(value)) return onNull === undefined ? NULL : onNull(scope)
    return convert(value) ?? refused(value, scope)
  }
}

function targetNamed(to: Json | undefined): Target | null {
  const kinds = typeof to === 'string' || typeof to === 'number' ? kindsNamed(to) : undefined
  const [kind, other] = kinds ?? []
  return kind !== undefined && other === undefined && Object.hasOwn(CONVERSION_TARGETS, kind)
    ? (kind as Target)
    : null
}
