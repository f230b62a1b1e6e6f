import { type ColumnType, parseType, TYPE_NAMES } from '../../column-type.ts'

/** Of earlier schemas and of Zero. A date is a moment there, to the millisecond. */
const SHORT_TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'float64',
  boolean: 'bool',
  json: 'json',
  date: 'timestamp(3) with time zone',
  null: 'text',
}

/**
 * Of exported table specs. `numeric` without digits and `timestamp` stand for a number and a date there, so they mean
 * the same here.
 */
const POSTGRES_TYPES: Readonly<Record<string, string>> = {
  text: 'text',
  varchar: 'text',
  'character varying': 'text',
  character: 'text',
  char: 'text',
  bpchar: 'text',
  boolean: 'bool',
  bool: 'bool',
  smallint: 'int16',
  int2: 'int16',
  integer: 'int32',
  int: 'int32',
  int4: 'int32',
  bigint: 'int64',
  int8: 'int64',
  real: 'float32',
  float4: 'float32',
  'double precision': 'float64',
  float8: 'float64',
  numeric: 'float64',
  decimal: 'float64',
  json: 'json',
  jsonb: 'json',
  uuid: 'uuid',
  bytea: 'bytes',
  date: 'date',
  timestamp: 'timestamp(3) with time zone',
  'timestamp without time zone': 'timestamp(3) with time zone',
  timestamptz: 'timestamp(3) with time zone',
  'timestamp with time zone': 'timestamp(3) with time zone',
}

export const KNOWN_TYPE_NAMES: readonly string[] = [...new Set([...TYPE_NAMES, ...Object.keys(SHORT_TYPES)])]
export const POSTGRES_TYPE_NAMES: readonly string[] = Object.keys(POSTGRES_TYPES)

/** A type as `describeType` writes it, or a name of earlier schemas where that is none. A `date` has no time of day. */
export function typeOfName(name: string): ColumnType | null {
  return parseType(name) ?? typeOfEarlierName(name)
}

/** `string`, `number`, `date`, ... of earlier schemas, or a type as `describeType` writes it. */
export function typeOfEarlierName(name: string): ColumnType | null {
  return parseType(named(SHORT_TYPES, name) ?? name)
}

/** `varchar`, `float8`, `numeric(12,2)`, ... */
export function typeOfPostgresName(name: string): ColumnType | null {
  const [, base = '', digits] = /^([a-z0-9 ]+?) ?(?:\(([\d, ]+)\))?$/.exec(name.toLowerCase()) ?? []
  if (digits !== undefined && (base === 'numeric' || base === 'decimal')) {
    const [precision, scale = '0'] = digits.split(',').map((part) => part.trim())
    return parseType(`decimal(${precision},${scale})`)
  }
  const type = named(POSTGRES_TYPES, base)
  return type === undefined ? null : parseType(type)
}

function named(types: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(types, name) ? types[name] : undefined
}
