/** The operators of a field. */
import type { Json } from '../../position.ts'
import { compilePattern } from './pattern.ts'
import { type Condition, never, type Test, testOf } from './condition.ts'
import { documentOf, documentOfArray } from '../document.ts'
import { equalTo, equalToOneOf, inRange, type Range } from '../values/equality.ts'
import { isTyped, readValue } from '../values/extended-json.ts'
import { isJsonList, isJsonObject, type JsonObject, unknownName } from '../values/json.ts'
import type { MappingMistake } from '../mistake.ts'
import type { QueryCompiler } from './query-compiler.ts'
import { kindsNamed, TYPE_NAMES } from '../values/type-names.ts'
import type { DocumentValue, DocumentValueKind } from '../value.ts'

type MistakePath = MappingMistake['path']

/** Where an operator stands. */
export interface Place {
  readonly compiler: QueryCompiler
  readonly path: MistakePath
  /** All operators of the field. */
  readonly siblings: JsonObject
}

export type FieldOperator = (operand: Json, place: Place) => Condition

export const FIELD_OPERATORS: Readonly<Record<string, FieldOperator>> = {
  $eq: (operand, place) => someElement(equalTo(value(operand, place))),
  $ne: (operand, place) => not(someElement(equalTo(noPattern(value(operand, place), place)))),
  $gt: (operand, place) => ranged('$gt', operand, place),
  $gte: (operand, place) => ranged('$gte', operand, place),
  $lt: (operand, place) => ranged('$lt', operand, place),
  $lte: (operand, place) => ranged('$lte', operand, place),
  $in: (operand, place) => someElement(oneOf(operand, place)),
  $nin: (operand, place) => not(someElement(oneOf(operand, place))),
  $exists(operand, place) {
    if (typeof operand !== 'boolean' && operand !== 0 && operand !== 1) {
      place.compiler.mistake(place.path, 'must be true or false')
    }
    const exists = someValue((found) => found !== undefined)
    return operand === true || operand === 1 ? exists : not(exists)
  },
  $type: (operand, place) => someElement(typed(operand, place)),
  $regex(operand, place) {
    const options = place.siblings['$options'] ?? ''
    if (typeof options !== 'string') return place.compiler.refuse(place.path, 'needs $options that are text')
    if (typeof operand === 'string') return pattern(operand, options, place)
    const regex = isJsonObject(operand) && isTyped(operand) ? value(operand, place) : null
    if (regex?.kind === 'regex') return pattern(regex.value, options === '' ? regex.options : options, place)
    return place.compiler.refuse(place.path, 'must be a regular expression as text')
  },
  $options(_operand, place) {
    if (Object.hasOwn(place.siblings, '$regex')) return { kind: 'all', conditions: [] }
    return place.compiler.refuse(place.path, 'stands beside $regex only')
  },
  $all(operand, place) {
    const { compiler, path } = place
    if (!isJsonList(operand)) return compiler.refuse(path, 'must be a list of values')
    if (operand.length === 0) return someValue(never)
    const conditions = operand.map((item, index) => {
      const inner = [...path, index]
      const isSearch = isJsonObject(item) && Object.keys(item)[0] === '$elemMatch'
      return isSearch ? compiler.condition(item, inner) : equality(item, { ...place, path: inner })
    })
    return { kind: 'all', conditions }
  },
  $size(operand, { compiler, path }) {
    if (typeof operand !== 'number' || !Number.isInteger(operand) || operand < 0) {
      return compiler.refuse(path, 'must be a whole number from 0')
    }
    return someValue((found) => found?.kind === 'array' && found.value.length === operand)
  },
  $elemMatch(operand, { compiler, path }) {
    if (!isJsonObject(operand)) return compiler.refuse(path, 'must be operators or conditions')
    const test = elementTest(operand, compiler, path)
    return someValue((found) => found?.kind === 'array' && found.value.some(test))
  },
  $not(operand, place) {
    const { compiler, path } = place
    if (isJsonObject(operand) && !isTyped(operand)) {
      const names = Object.keys(operand)
      if (names.length > 0 && names.every((name) => name.startsWith('$'))) {
        return not(compiler.condition(operand, path))
      }
    }
    const regex = isJsonObject(operand) && isTyped(operand) ? value(operand, place) : null
    if (regex?.kind === 'regex') return not(pattern(regex.value, regex.options, place))
    return compiler.refuse(path, 'must be operators, such as {"$gt": 1}; use $ne for a value')
  },
  $mod(operand, { compiler, path }) {
    const [divisor, remainder, ...rest] = isJsonList(operand) ? operand : []
    if (!isWhole(divisor) || !isWhole(remainder) || rest.length > 0) {
      return compiler.refuse(path, 'must be [divisor, remainder], two whole numbers')
    }
    if (divisor === 0) return compiler.refuse(path, 'must have a divisor that is not 0')
    return someElement(hasRemainder(BigInt(divisor), BigInt(remainder)))
  },
}

/** `{field: value}`: equal, or for a regular expression matching. */
export function equality(operand: Json, place: Place): Condition {
  const found = value(operand, place)
  return found.kind === 'regex' ? pattern(found.value, found.options, place) : someElement(equalTo(found))
}

function someElement(test: Test): Condition {
  return { kind: 'some', elements: true, test }
}

function someValue(test: Test): Condition {
  return { kind: 'some', elements: false, test }
}

function not(condition: Condition): Condition {
  return { kind: 'not', condition }
}

function value(operand: Json, { compiler, path }: Place): DocumentValue {
  return readValue(operand, path, compiler.mistakes)
}

function noPattern(operand: DocumentValue, { compiler, path }: Place): DocumentValue {
  if (operand.kind === 'regex') compiler.mistake(path, 'must not be a regular expression')
  return operand
}

function ranged(range: Range, operand: Json, place: Place): Condition {
  return someElement(inRange(range, noPattern(value(operand, place), place)))
}

function oneOf(operand: Json, place: Place): Test {
  const { compiler, path } = place
  if (!isJsonList(operand)) {
    compiler.mistake(path, 'must be a list of values')
    return never
  }
  const values = operand.map((item, index) => value(item, { ...place, path: [...path, index] }))
  const patterns = values.flatMap((item, index) => {
    return item.kind === 'regex'
      ? [testOf(pattern(item.value, item.options, { ...place, path: [...path, index] }))]
      : []
  })
  const plain = equalToOneOf(values.filter((item) => item.kind !== 'regex'))
  return patterns.length === 0 ? plain : (found) => plain(found) || patterns.some((test) => test(found))
}

function pattern(source: string, options: string, { compiler, path }: Place): Condition {
  const { test, reason } = compilePattern(source, options)
  if (test === null) return compiler.refuse(path, reason)
  return someElement((found) => {
    if (found?.kind === 'string' || found?.kind === 'symbol') return test(found.value)
    return found?.kind === 'regex' && found.value === source && found.options === options
  })
}

function typed(operand: Json, { compiler, path }: Place): Test {
  const names = isJsonList(operand) ? operand : [operand]
  const kinds = new Set<DocumentValueKind>()
  names.forEach((name, index) => {
    const place = isJsonList(operand) ? [...path, index] : path
    const named = typeof name === 'string' || typeof name === 'number' ? kindsNamed(name) : undefined
    if (named !== undefined) named.forEach((kind) => kinds.add(kind))
    else if (typeof name === 'string') compiler.mistake(place, unknownName('type', name, TYPE_NAMES))
    else compiler.mistake(place, 'must be the name or the number of a BSON type')
  })
  if (names.length === 0) compiler.mistake(path, 'must name a type')
  return (found) => found !== undefined && kinds.has(found.kind)
}

/** `{$gt: 1}` for the element itself, `{field: 1}` for an element with fields. */
function elementTest(operand: JsonObject, compiler: QueryCompiler, path: MistakePath): Test {
  const first = Object.keys(operand)[0]
  if (first !== undefined && Object.hasOwn(FIELD_OPERATORS, first)) {
    return testOf(compiler.condition(operand, path))
  }
  const match = compiler.elementConditions(operand, path)
  return (element) => {
    if (element?.kind === 'object') return match(documentOf(element))
    return element?.kind === 'array' && match(documentOfArray(element.value))
  }
}

function isWhole(operand: Json | undefined): operand is number {
  return typeof operand === 'number' && Number.isSafeInteger(operand)
}

/** Of the whole part, with the sign of the value. */
function hasRemainder(divisor: bigint, remainder: bigint): Test {
  return (found) => {
    const whole = found === undefined ? null : wholePart(found)
    return whole !== null && whole % divisor === remainder
  }
}

/** Null for all that is no number of 64 bits. */
function wholePart(found: DocumentValue): bigint | null {
  switch (found.kind) {
    case 'int':
      return BigInt(found.value)
    case 'long':
      return found.value
    case 'double':
      return inLong(Number.isFinite(found.value) ? BigInt(Math.trunc(found.value)) : null)
    case 'decimal':
      return inLong(/^-?\d/.test(found.value) ? BigInt(found.value.split('.')[0]!) : null)
    default:
      return null
  }
}

function inLong(whole: bigint | null): bigint | null {
  return whole !== null && BigInt.asIntN(64, whole) === whole ? whole : null
}
