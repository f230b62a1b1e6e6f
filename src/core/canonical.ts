/**
 * The canonical form of a cell, one meaning per `ColumnType`. Sources convert into it, sinks out of it, and both
 * directions to JS values live here.
 *
 * | type | canonical bytes | JS value |
 * |---|---|---|
 * | bool | `t` or `f` | boolean |
 * | int | decimal digits with `-` | number up to 32 bits, bigint at 64 |
 * | float | shortest decimal that reads back equal, `NaN`, `Infinity`, `-Infinity` | number |
 * | decimal | digits with `-` and `.`, no exponent, `NaN`, `Infinity`, `-Infinity` | string |
 * | text, enum, other | UTF-8 text as it is | string |
 * | uuid | 36 characters, lower case | string |
 * | json | the JSON text | string |
 * | bytes | the raw bytes | Uint8Array |
 * | date | `YYYY-MM-DD`, years may have more digits, ` BC` after, `infinity`, `-infinity` | string |
 * | time | `HH:MM:SS[.f]`, `24:00:00` allowed; zoned: `+HH[:MM[:SS]]` after | string |
 * | timestamp | date, space, time; zoned: always UTC, `+00` after; ` BC` last; `infinity`, `-infinity` | string |
 * | interval | ISO 8601 duration, for example `P1Y2M-3DT4H5M6.7S` | string |
 * | array | brace list: `{1,NULL,"a \"b\""}`, nested per dimension (`array-text.ts`) | array of values |
 *
 * NULL, absent and unchanged are not values: they are `CellKind`s.
 */
import { formatArray, parseArray } from './array-text.ts'
import type { ColumnType } from './column-type.ts'
import { InternalError } from './error.ts'

/** The value that the log did not carry because it did not change. Never NULL and never a default (law L7). */
export const UNCHANGED: unique symbol = Symbol.for('sluice.unchanged')

/** A cell as a JS value; `undefined` is absent (the image does not include the column at all). */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | typeof UNCHANGED
  | undefined

const encoder = new TextEncoder()

/** Canonical text of a JS value that is neither null, absent nor unchanged. Bytes become `\x` and hex digits. */
export function valueToText(type: ColumnType, value: Value): string {
  if (Array.isArray(value)) {
    if (type.kind !== 'array') return JSON.stringify(value)
    return formatArray(value, (element) => valueToText(type.of, element))
  }
  switch (typeof value) {
    case 'string':
      return value
    case 'bigint':
      return value.toString()
    case 'boolean':
      return value ? 't' : 'f'
    case 'number':
      return numberToText(type, value)
    case 'object':
      if (value instanceof Uint8Array)
        return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
      break
    default:
      break
  }
  throw new InternalError('core/not-a-value', `a ${typeof value} is not a value of type ${type.kind}`)
}

/** Canonical bytes of a JS value: UTF-8 of `valueToText`, or the raw bytes of a `bytes` column. */
export function valueToBytes(type: ColumnType, value: Value): Uint8Array {
  if (type.kind === 'bytes' && value instanceof Uint8Array) return value
  return encoder.encode(valueToText(type, value))
}

/** The JS value of canonical text. `bytes` expects `\x` and hex digits, the form bytes have inside an array. */
export function textToValue(type: ColumnType, text: string): Value {
  switch (type.kind) {
    case 'bool':
      return text === 't'
    case 'int':
      return type.bits === 64 ? BigInt(text) : Number(text)
    case 'float':
      return Number(text)
    case 'bytes':
      return new Uint8Array(Buffer.from(text.slice(2), 'hex'))
    case 'array':
      return parseArray(text, (element) => textToValue(type.of, element))
    case 'decimal':
    case 'text':
    case 'enum':
    case 'uuid':
    case 'json':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'interval':
    case 'other':
      return text
  }
}

function numberToText(type: ColumnType, value: number): string {
  if (Object.is(value, -0)) return '-0'
  if (type.kind !== 'decimal' || !Number.isFinite(value)) return String(value)
  const text = String(value)
  if (!text.includes('e')) return text
  throw new InternalError(
    'core/not-a-value',
    'a decimal beyond the exact range of a number must be given as a string',
  )
}
