/**
 * Cells of SQL tables as the values that filters and expressions see, and back.
 *
 * | column | value |
 * |---|---|
 * | bool | bool |
 * | int up to 32 bits | int; otherwise long, and decimal beyond 63 bits |
 * | float | double |
 * | decimal | decimal |
 * | text, enum, other, uuid, time, interval | string, the canonical text |
 * | date, timestamp | date, cut to the millisecond as the language has no more; without a zone: UTC |
 * | json | what it holds; whole numbers are int or long, others double, or decimal where a double is not exact |
 * | bytes | binary |
 * | array | array |
 */
import { parseArray } from '../../array-text.ts'
import type { ColumnType } from '../../column-type.ts'
import { PoisonRecordError } from '../../error.ts'
import { EVER, FOREVER, parseMoment } from './row-moments.ts'
import { type Cast, castOf, momentText, plainDigits } from './rows-cast.ts'
import type { DocumentValue } from '../value.ts'

const TEXT: ColumnType = { kind: 'text' }
const BOOL: ColumnType = { kind: 'bool' }
const INT64: ColumnType = { kind: 'int', bits: 64, unsigned: false }
const FLOAT64: ColumnType = { kind: 'float', bits: 64 }
const DECIMAL: ColumnType = { kind: 'decimal', precision: null, scale: null }
const MOMENT: ColumnType = { kind: 'timestamp', digits: 3, zoned: true }
const UUID: ColumnType = { kind: 'uuid' }
const BYTES: ColumnType = { kind: 'bytes' }
const JSON_TYPE: ColumnType = { kind: 'json' }

/** Of canonical text; bytes as `\x` and hex digits. */
export function cellValue(type: ColumnType, text: string): DocumentValue {
  switch (type.kind) {
    case 'bool':
      return { kind: 'bool', value: text === 't' }
    case 'int':
      return wholeNumber(text)
    case 'float':
      return { kind: 'double', value: Number(text) }
    case 'decimal':
      return { kind: 'decimal', value: text }
    case 'text':
    case 'enum':
    case 'other':
    case 'uuid':
    case 'time':
    case 'interval':
      return { kind: 'string', value: text }
    case 'date':
    case 'timestamp':
      return { kind: 'date', value: momentOf(text) }
    case 'json':
      return jsonValue(text)
    case 'bytes':
      return { kind: 'binary', value: new Uint8Array(Buffer.from(text.slice(2), 'hex')), subtype: 0 }
    case 'array': {
      const items = parseArray<DocumentValue>(text, (item) => cellValue(type.of, item))
      return toArray(items)
    }
  }
}

type Nested = DocumentValue | null | readonly Nested[]

function toArray(items: readonly Nested[]): DocumentValue {
  const value = items.map((item): DocumentValue => {
    if (item === null) return { kind: 'null' }
    return Array.isArray(item) ? toArray(item as readonly Nested[]) : (item as DocumentValue)
  })
  return { kind: 'array', value }
}

function momentOf(text: string): bigint {
  if (text === 'infinity') return FOREVER
  return text === '-infinity' ? EVER : (parseMoment(text)?.milliseconds ?? EVER)
}

function wholeNumber(text: string): DocumentValue {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value === (value | 0)) return { kind: 'int', value }
  const long = BigInt(text)
  return long === BigInt.asIntN(64, long) ? { kind: 'long', value: long } : { kind: 'decimal', value: text }
}

/** From the inside to the outside, so that every number is seen as it is written. */
function jsonValue(text: string): DocumentValue {
  try {
    return JSON.parse(text, toValue as (key: string, value: unknown) => unknown) as DocumentValue
  } catch {
    throw new PoisonRecordError('core/not-json', 'what should be JSON is not', {
      fix: 'Look at it where it was written: messages leave out what they are about.',
    })
  }
}

function toValue(_key: string, json: unknown, context: { readonly source?: string }): DocumentValue {
  if (json === null) return { kind: 'null' }
  switch (typeof json) {
    case 'boolean':
      return { kind: 'bool', value: json }
    case 'number':
      return jsonNumber(json, context.source!)
    case 'string':
      return { kind: 'string', value: json }
    default:
      break
  }
  if (Array.isArray(json)) return { kind: 'array', value: json as readonly DocumentValue[] }
  return { kind: 'object', value: new Map(Object.entries(json as Record<string, DocumentValue>)) }
}

const toDouble = castOf(DECIMAL, FLOAT64) as Cast

function jsonNumber(value: number, source: string): DocumentValue {
  if (/^(0|-?[1-9]\d*)$/.test(source)) return wholeNumber(source)
  return toDouble(source) === null
    ? { kind: 'decimal', value: plainDigits(source) }
    : { kind: 'double', value }
}

/**
 * Gives the canonical text of values as cells of a type (bytes as `\x` and hex digits); null for one that does not fit.
 * A computed text is a text: what looks like a number is not one.
 */
export function cellWriter(type: ColumnType): (value: DocumentValue) => string | null {
  if (type.kind === 'json') return (value) => (naturalText(value) === null ? null : jsonText(value))
  const casts = new Map<ColumnType, Cast | 'same' | null>()
  return (value) => {
    const natural = naturalText(value)
    if (natural === null) return null
    let cast = casts.get(natural.type)
    if (cast === undefined) {
      cast = natural.type === TEXT && !isWordy(type) ? null : castOf(natural.type, type)
      casts.set(natural.type, cast)
    }
    if (cast === null) return null
    return cast === 'same' ? natural.text : cast(natural.text)
  }
}

function isWordy({ kind }: ColumnType): boolean {
  return ['text', 'enum', 'uuid', 'date', 'time', 'timestamp', 'interval'].includes(kind)
}

/** The type that holds every value of the kind, and the text of this one. */
function naturalText(value: DocumentValue): { readonly type: ColumnType; readonly text: string } | null {
  switch (value.kind) {
    case 'bool':
      return { type: BOOL, text: value.value ? 't' : 'f' }
    case 'int':
    case 'long':
      return { type: INT64, text: String(value.value) }
    case 'double':
      return {
        type: FLOAT64,
        text: Object.is(value.value, -0) ? '-0' : String(value.value),
      }
    case 'decimal':
      return { type: DECIMAL, text: value.value }
    case 'string':
    case 'symbol':
    case 'objectId':
      return { type: TEXT, text: value.value }
    case 'date':
      return {
        type: MOMENT,
        text: endless(value.value) ?? momentText(value.value),
      }
    case 'binary':
      return value.subtype === 4
        ? { type: UUID, text: uuidText(value.value) }
        : { type: BYTES, text: `\\x${hex(value.value)}` }
    case 'object':
    case 'array':
      return { type: JSON_TYPE, text: jsonText(value) }
    case 'null':
    case 'timestamp':
    case 'regex':
    case 'code':
    case 'minKey':
    case 'maxKey':
      return null
  }
}

function endless(milliseconds: bigint): string | null {
  if (milliseconds === FOREVER) return 'infinity'
  return milliseconds === EVER ? '-infinity' : null
}

/** Plain JSON: dates as ISO 8601, binary as base64, what JSON has no number for as text. */
function jsonText(value: DocumentValue): string {
  switch (value.kind) {
    case 'null':
      return 'null'
    case 'bool':
    case 'int':
    case 'long':
      return String(value.value)
    case 'double':
      return Number.isFinite(value.value) ? String(value.value) : JSON.stringify(String(value.value))
    case 'decimal':
      return /^-?\d/.test(value.value) ? value.value : JSON.stringify(value.value)
    case 'array':
      return `[${value.value.map(jsonText).join(',')}]`
    case 'object':
      return `{${[...value.value].map(([key, item]) => `${JSON.stringify(key)}:${jsonText(item)}`).join(',')}}`
    case 'date':
      return JSON.stringify(endless(value.value) ?? isoText(value.value))
    case 'binary':
      return JSON.stringify(
        value.subtype === 4 ? uuidText(value.value) : Buffer.from(value.value).toString('base64'),
      )
    default:
      return JSON.stringify('value' in value ? String(value.value) : value.kind)
  }
}

function isoText(milliseconds: bigint): string {
  const date = new Date(Number(milliseconds))
  return Number.isNaN(date.getTime()) ? momentText(milliseconds) : date.toISOString()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

function uuidText(bytes: Uint8Array): string {
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
