/** Which column of Zero a source column becomes, and in which form its values travel. Pure. */
import { type ColumnType, describeType } from '../../../core/column-type.ts'

/**
 * How a canonical value (`core/canonical.ts`) becomes JSON text. The names are stored in the change log: they keep
 * their meaning for ever.
 *
 * | encoding | JSON text |
 * |---|---|
 * | boolean | `true`, `false` |
 * | integer | the digits; refused beyond 2^53 - 1 |
 * | decimal | the digits; refused when a double would lose one |
 * | float | the digits; NaN and infinities are refused |
 * | string | the canonical text as a JSON string |
 * | base64 | raw bytes as base64 in a JSON string |
 * | json | the JSON text as a JSON string, for transactions of mode `json: "s"` |
 * | date | milliseconds since 1970 at midnight UTC |
 * | time | milliseconds since midnight, microseconds as a fraction |
 * | timetz | the same, of the time in UTC |
 * | timestamp | milliseconds since 1970 UTC, microseconds as a fraction |
 * | x[] | a JSON array of x, nested per dimension; `json[]` is a JSON string that holds the text of the array |
 */
export type ScalarEncoding =
  | 'boolean'
  | 'integer'
  | 'decimal'
  | 'float'
  | 'string'
  | 'base64'
  | 'json'
  | 'date'
  | 'time'
  | 'timetz'
  | 'timestamp'
export type ColumnEncoding = ScalarEncoding | `${ScalarEncoding}[]`

/** The types of ZQL, as a client's schema declares them. */
export type ZqlType = 'string' | 'number' | 'boolean' | 'json'

export interface TypeOptions {
  /** 64-bit integers as numbers, which only reach to 2^53 - 1, or as text. */
  readonly bigints: 'number' | 'text'
  /** Decimals of up to 15 digits as numbers and longer ones as text, or all as text. */
  readonly decimals: 'exact' | 'text'
}

export interface ZeroType {
  /** Postgres name of the type, one that Zero knows. */
  readonly dataType: string
  readonly elemPgTypeClass?: 'b'
  readonly encoding: ColumnEncoding
}

/** Why a column cannot have the wanted type. `reason` goes on after the name of the column. */
export interface Unsuited {
  readonly reason: string
  readonly fix: string
}

/** Significant digits that every double keeps. */
export const EXACT_DIGITS = 15
const MICROSECOND_DIGITS = 6

/** Type and encoding of a column; of the ZQL type that a client's schema wants, if any. */
export function zeroType(type: ColumnType, options: TypeOptions, wanted?: ZqlType): ZeroType | Unsuited {
  if (wanted === undefined) return usualType(type, options)
  const found = wanted === 'string' ? textType(type) : numberOr(type, wanted, options)
  if (found !== null) return found
  return {
    reason: `is ${describeType(type)} in the source, and a client's schema wants it as ${wanted}`,
    fix: `Declare it as ${suitable(type).join(' or ')} in the Zero schema.`,
  }
}

/** The column as canonical text (bytes as base64), for every type. */
export function textType(type: ColumnType): ZeroType {
  return { dataType: 'text', encoding: type.kind === 'bytes' ? 'base64' : 'string' }
}

/** What ZQL sees of a column. */
export function zqlType(column: Pick<ZeroType, 'dataType' | 'encoding'>): ZqlType {
  const { encoding } = column
  if (encoding === 'boolean') return 'boolean'
  if (encoding === 'string' || encoding === 'base64') return 'string'
  return encoding === 'json' || encoding.endsWith('[]') ? 'json' : 'number'
}

function usualType(type: ColumnType, options: TypeOptions): ZeroType {
  switch (type.kind) {
    case 'int':
      if (type.bits === 64 && options.bigints === 'text') return textType(type)
      return { dataType: isInt4(type) ? 'int4' : 'int8', encoding: 'integer' }
    case 'decimal':
      if (options.decimals === 'text' || !isExact(type)) return textType(type)
      return { dataType: 'numeric', encoding: 'decimal' }
    case 'time':
      if (type.zoned || type.digits > MICROSECOND_DIGITS) return textType(type)
      return { dataType: 'time', encoding: 'time' }
    case 'timestamp':
      return type.digits > MICROSECOND_DIGITS ? textType(type) : momentType(type)
    case 'array':
      return arrayType(usualType(type.of, options))
    case 'bool':
    case 'float':
    case 'date':
    case 'json':
      return scalarType(type) ?? textType(type)
    case 'text':
    case 'enum':
    case 'uuid':
    case 'bytes':
    case 'interval':
    case 'other':
      return textType(type)
  }
}

/** The column as another ZQL type than string; null when it has none of that kind. */
function numberOr(type: ColumnType, wanted: ZqlType, options: TypeOptions): ZeroType | null {
  const found = type.kind === 'array' ? usualType(type, options) : scalarType(type)
  return found !== null && zqlType(found) === wanted ? found : null
}

/** The column in its own form, even where not every value has one: such a value is refused when it comes. */
function scalarType(type: ColumnType): ZeroType | null {
  switch (type.kind) {
    case 'bool':
      return { dataType: 'boolean', encoding: 'boolean' }
    case 'int':
      return { dataType: isInt4(type) ? 'int4' : 'int8', encoding: 'integer' }
    case 'float':
      return { dataType: 'float8', encoding: 'float' }
    case 'decimal':
      return { dataType: 'numeric', encoding: 'decimal' }
    case 'json':
      return { dataType: 'jsonb', encoding: 'json' }
    case 'date':
      return { dataType: 'date', encoding: 'date' }
    case 'time':
      return type.zoned ? { dataType: 'timetz', encoding: 'timetz' } : { dataType: 'time', encoding: 'time' }
    case 'timestamp':
      return momentType(type)
    case 'text':
    case 'enum':
    case 'uuid':
    case 'bytes':
    case 'interval':
    case 'array':
    case 'other':
      return null
  }
}

function momentType(type: ColumnType & { kind: 'timestamp' }): ZeroType {
  return { dataType: type.zoned ? 'timestamptz' : 'timestamp', encoding: 'timestamp' }
}

function arrayType(element: ZeroType): ZeroType {
  // As text, so that zero-cache does not read and write the elements again, which could change their numbers.
  if (element.encoding === 'json') return { dataType: 'jsonb', encoding: 'json[]' }
  return {
    dataType: `${element.dataType}[]`,
    elemPgTypeClass: 'b',
    encoding: `${element.encoding as ScalarEncoding}[]`,
  }
}

function isInt4(type: ColumnType & { kind: 'int' }): boolean {
  return type.bits < 32 || (type.bits === 32 && !type.unsigned)
}

/** True when every value of the type is a double, digit by digit. */
function isExact({ precision, scale }: ColumnType & { kind: 'decimal' }): boolean {
  return precision !== null && precision <= EXACT_DIGITS && (scale ?? 0) >= 0 && (scale ?? 0) <= 300
}

function suitable(type: ColumnType): ZqlType[] {
  const own = type.kind === 'array' ? 'json' : scalarType(type)
  if (own === null) return ['string']
  return [own === 'json' ? own : zqlType(own), 'string']
}
