/**
 * Values in a file of JSON or YAML: MongoDB Extended JSON v2, relaxed and canonical. Whole numbers are int or long by
 * their size, other numbers double.
 */
import { ConfigError } from '../../error.ts'
import type { Json } from '../../position.ts'
import { decimalText, fitsDecimal128, parseDecimal } from './decimal.ts'
import { isJsonList, isJsonObject, type JsonObject, own, unknownName } from './json.ts'
import type { MappingMistake } from '../mistake.ts'
import { parseMoment } from './moment.ts'
import type { DocumentValue } from '../value.ts'

/** The value that Extended JSON v2 (relaxed or canonical) stands for. Throws `ConfigError` for what is none. */
export function fromExtendedJson(json: Json): DocumentValue {
  const mistakes: MappingMistake[] = []
  const value = readValue(json, [], mistakes)
  const mistake = mistakes[0]
  if (mistake === undefined) return value
  const place = mistake.path.length === 0 ? 'a value' : `a value at ${mistake.path.join('.')}`
  throw new ConfigError('mapping/not-a-value', `${place} ${mistake.reason}`, {
    fix: 'Write it in MongoDB Extended JSON v2.',
  })
}

/** The same, with mistakes at their paths; what is returned beside a mistake means nothing. */
export function readValue(
  json: Json,
  path: MappingMistake['path'],
  mistakes: MappingMistake[],
): DocumentValue {
  if (json === null) return NULL
  if (typeof json === 'boolean') return { kind: 'bool', value: json }
  if (typeof json === 'string') return { kind: 'string', value: json }
  if (typeof json === 'number') return readNumber(json, path, mistakes)
  if (path.length > DEPTH_MAX) return refused('is nested too deeply', path, mistakes)
  if (isJsonList(json)) {
    return {
      kind: 'array',
      value: json.map((item, index) => readValue(item, [...path, index], mistakes)),
    }
  }
  return isJsonObject(json) ? readObject(json, path, mistakes) : NULL
}

/** Whether an object is a value by itself, such as `{$oid: ...}` or a reference; false for fields and operators. */
export function isTyped(json: JsonObject): boolean {
  const first = Object.keys(json)[0]
  return first === '$ref' || (first !== undefined && Object.hasOwn(TYPES, first))
}

const DEPTH_MAX = 100
const NULL: DocumentValue = { kind: 'null' }
const INT_MIN = -(2 ** 31)
const INT_MAX = 2 ** 31 - 1

interface TypedForm {
  /** What must stand there. */
  readonly form: string
  /** Null for what has another form. */
  read(operand: Json): DocumentValue | null
}

const TYPES: Readonly<Record<string, TypedForm>> = {
  $oid: typed('must be 24 hex digits', (operand) => {
    if (typeof operand !== 'string' || !/^[\da-f]{24}$/i.test(operand)) return null
    return { kind: 'objectId', value: operand.toLowerCase() }
  }),
  $date: typed('must be a moment in ISO 8601, or {"$numberLong": milliseconds since 1970}', readDate),
  $numberInt: typed('must be a 32-bit integer as text', (operand) => {
    const value = typeof operand === 'string' && /^-?\d+$/.test(operand) ? Number(operand) : Number.NaN
    return value >= INT_MIN && value <= INT_MAX ? { kind: 'int', value } : null
  }),
  $numberLong: typed('must be a 64-bit integer as text', (operand) => {
    const value = readLong(operand)
    return value === null ? null : { kind: 'long', value }
  }),
  $numberDouble: typed('must be a number, NaN, Infinity or -Infinity as text', (operand) => {
    if (typeof operand !== 'string' || operand.trim() === '') return null
    const value = Number(operand)
    return Number.isNaN(value) && operand !== 'NaN' ? null : { kind: 'double', value }
  }),
  $numberDecimal: typed('must be a number, NaN, Infinity or -Infinity as text', readDecimal),
  $uuid: typed('must be a UUID', (operand) => {
    if (typeof operand !== 'string' || !/^[\da-f]{8}(-?[\da-f]{4}){3}-?[\da-f]{12}$/i.test(operand))
      return null
    return { kind: 'binary', value: bytes(operand.replaceAll('-', ''), 'hex'), subtype: 4 }
  }),
  $binary: typed('must be {"base64": text, "subType": one or two hex digits}', (operand) => {
    if (!isJsonObject(operand)) return null
    const { base64, subType, ...rest } = operand
    if (typeof base64 !== 'string' || typeof subType !== 'string' || Object.keys(rest).length > 0) return null
    if (!/^[\w+/-]*={0,2}$/.test(base64) || !/^[\da-f]{1,2}$/i.test(subType)) return null
    return { kind: 'binary', value: bytes(base64, 'base64'), subtype: Number.parseInt(subType, 16) }
  }),
  $timestamp: typed('must be {"t": seconds, "i": counter}', (operand) => {
    if (!isJsonObject(operand)) return null
    const { t, i, ...rest } = operand
    if (!isUint32(t) || !isUint32(i) || Object.keys(rest).length > 0) return null
    return { kind: 'timestamp', value: (BigInt(t) << 32n) | BigInt(i) }
  }),
  $regularExpression: typed('must be {"pattern": text, "options": text}', (operand) => {
    if (!isJsonObject(operand)) return null
    const { pattern, options = '', ...rest } = operand
    if (typeof pattern !== 'string' || typeof options !== 'string' || Object.keys(rest).length > 0)
      return null
    return { kind: 'regex', value: pattern, options: Array.from(options).toSorted().join('') }
  }),
  $code: typed('must be text', (operand) => {
    return typeof operand === 'string' ? { kind: 'code', value: operand } : null
  }),
  $symbol: typed('must be text', (operand) => {
    return typeof operand === 'string' ? { kind: 'symbol', value: operand } : null
  }),
  $minKey: typed('must be 1', (operand) => (operand === 1 ? { kind: 'minKey' } : null)),
  $maxKey: typed('must be 1', (operand) => (operand === 1 ? { kind: 'maxKey' } : null)),
  $undefined: typed('must be true', (operand) => (operand === true ? NULL : null)),
}

function typed(form: string, read: TypedForm['read']): TypedForm {
  return { form, read }
}

function readNumber(json: number, path: MappingMistake['path'], mistakes: MappingMistake[]): DocumentValue {
  if (!Number.isFinite(json)) {
    return refused('must be written as {"$numberDouble": text}: JSON has no such number', path, mistakes)
  }
  if (!Number.isInteger(json) || Object.is(json, -0)) return { kind: 'double', value: json }
  if (json >= INT_MIN && json <= INT_MAX) return { kind: 'int', value: json }
  if (Number.isSafeInteger(json)) return { kind: 'long', value: BigInt(json) }
  return refused(
    'must be written as {"$numberLong": text} or {"$numberDouble": text}: JSON changes whole numbers beyond 2^53',
    path,
    mistakes,
  )
}

function readObject(
  json: JsonObject,
  path: MappingMistake['path'],
  mistakes: MappingMistake[],
): DocumentValue {
  const keys = Object.keys(json)
  const command = keys.find((key) => key.startsWith('$') && !/^\$(ref|id|db)$/.test(key))
  if (command === undefined) {
    const fields = keys.map((key) => [key, readValue(json[key]!, [...path, key], mistakes)] as const)
    return { kind: 'object', value: new Map(fields) }
  }
  const type = own(TYPES, command)
  if (type === undefined) {
    return refused(unknownName('type of value', command, Object.keys(TYPES)), [...path, command], mistakes)
  }
  if (keys.length > 1) return refused(`must have no other key beside ${command}`, path, mistakes)
  return type.read(json[command]!) ?? refused(type.form, [...path, command], mistakes)
}

function readDate(operand: Json): DocumentValue | null {
  if (typeof operand === 'string') {
    const value = parseMoment(operand)
    return value === null ? null : { kind: 'date', value }
  }
  const long =
    isJsonObject(operand) && Object.keys(operand).length === 1 ? readLong(operand['$numberLong']) : null
  return long === null ? null : { kind: 'date', value: long }
}

function readLong(operand: Json | undefined): bigint | null {
  if (typeof operand !== 'string' || !/^-?\d{1,19}$/.test(operand)) return null
  const value = BigInt(operand)
  return BigInt.asIntN(64, value) === value ? value : null
}

function readDecimal(operand: Json): DocumentValue | null {
  if (typeof operand !== 'string') return null
  if (/^(NaN|-?Infinity)$/.test(operand)) return { kind: 'decimal', value: operand }
  const value = parseDecimal(operand)
  return value === null || !fitsDecimal128(value) ? null : { kind: 'decimal', value: decimalText(value) }
}

function isUint32(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32
}

function bytes(text: string, encoding: 'hex' | 'base64'): Uint8Array {
  return new Uint8Array(Buffer.from(text, encoding))
}

function refused(reason: string, path: MappingMistake['path'], mistakes: MappingMistake[]): DocumentValue {
  mistakes.push({ path, reason })
  return NULL
}
