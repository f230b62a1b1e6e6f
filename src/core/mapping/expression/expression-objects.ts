import type { Json } from '../../position.ts'
import { isNothing } from './expression-arithmetic.ts'
import { items, list } from './expression-arrays.ts'
import { type Evaluate, NULL, type Operator, type Place, type Value } from './expression-place.ts'
import { isJsonObject } from '../values/json.ts'
import { typeName } from '../values/type-names.ts'
import type { DocumentValue } from '../value.ts'

/** Operators of objects. */
export const OBJECTS: Readonly<Record<string, Operator>> = {
  $objectToArray(operand, place) {
    const part = place.one(operand)
    return (scope) => {
      const value = part(scope)
      if (isNothing(value)) return NULL
      const fields = [...object(value, place)]
      return list(
        fields.map(([k, v]) => ({
          kind: 'object',
          value: new Map([
            ['k', { kind: 'string', value: k }],
            ['v', v],
          ]),
        })),
      )
    }
  },
  $arrayToObject(operand, place) {
    const part = place.one(operand)
    return (scope) => {
      const value = part(scope)
      if (isNothing(value)) return NULL
      return { kind: 'object', value: new Map(items(value, place).map((item) => field(item, place))) }
    }
  },
  $mergeObjects(operand, place) {
    const parts = place.list(operand, 0, Infinity)
    return (scope) => {
      const merged = new Map<string, DocumentValue>()
      for (const part of parts) {
        const value = part(scope)
        if (isNothing(value)) continue
        for (const [name, inner] of object(value, place)) merged.set(name, inner)
      }
      return { kind: 'object', value: merged }
    }
  },
  $getField(operand, place) {
    if (!isJsonObject(operand) || !Object.hasOwn(operand, 'field')) {
      return fieldOf('$$CURRENT', operand, place)
    }
    const { field: name = null, input = '$$CURRENT' } = place.given(operand, ['field'], ['input'])
    return fieldOf(input, name, place)
  },
}

function object(value: Value, place: Place): ReadonlyMap<string, DocumentValue> {
  return value?.kind === 'object' ? value.value : place.fail(`needs objects, not ${typeName(value)}`)
}

/** `[name, value]` or `{k: name, v: value}`. */
function field(item: DocumentValue, place: Place): readonly [string, DocumentValue] {
  const pair = item.kind === 'array' ? item.value : item.kind === 'object' ? keyAndValue(item.value) : []
  const [name, value] = pair
  if (name?.kind !== 'string' || value === undefined || pair.length !== 2) {
    return place.fail('needs elements of the form [text, value] or {k: text, v: value}')
  }
  return [name.value, value]
}

function keyAndValue(fields: ReadonlyMap<string, DocumentValue>): readonly (DocumentValue | undefined)[] {
  return fields.size === 2 ? [fields.get('k'), fields.get('v')] : []
}

/** A name may hold points, and with `$literal` begin with `$`. */
function fieldOf(input: Json, json: Json, place: Place): Evaluate {
  const literal = isJsonObject(json) && Object.keys(json).join() === '$literal' ? json['$literal']! : null
  const name = literal ?? json
  if (typeof name !== 'string' || (literal === null && name.startsWith('$'))) {
    return place.mistake('must be the name of a field; use $literal for one that begins with $')
  }
  const part = input === '$$CURRENT' ? place.field(name) : place.compile(input, 'input')
  if (input === '$$CURRENT') return part
  return (scope) => {
    const value = part(scope)
    if (value?.kind === 'null') return NULL
    return value?.kind === 'object' ? value.value.get(name) : undefined
  }
}
