import type { ColumnType } from '../../../core/column-type.ts'
import type { Column } from '../../../core/table.ts'

/** What the user chose about types. */
export interface TypeOptions {
  /** How arrays are kept, see the README. */
  readonly arrays: 'exact' | 'native' | 'text'
  /** Whether dates and timestamps are ClickHouse types or text. */
  readonly dates: 'native' | 'text'
}

/** A type of a ClickHouse column, as far as this sink can write it. */
export type PhysicalType =
  | { readonly kind: 'array'; readonly of: PhysicalType }
  | {
      readonly kind: 'scalar'
      readonly scalar: Scalar
      readonly nullable: boolean
      /** `LowCardinality(...)`; the same bytes as without. */
      readonly lowCardinality: boolean
    }

export type Scalar =
  | { readonly kind: 'int'; readonly bits: 8 | 16 | 32 | 64; readonly unsigned: boolean }
  | { readonly kind: 'float'; readonly bits: 32 | 64 }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'bool' }
  | { readonly kind: 'string' }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'date32' }
  | { readonly kind: 'datetime64'; readonly digits: number }

/** The ClickHouse type for a source column, written as `system.columns` writes it. Every value of the column fits. */
export function targetType(
  column: Pick<Column, 'type' | 'nullable'>,
  isKey: boolean,
  options: TypeOptions,
): string {
  const { type } = column
  const nullable = column.nullable && !isKey
  if (type.kind === 'array' && hasArrayTarget(type, nullable, options)) {
    return (
      'Array('.repeat(type.dimensions) +
      `Nullable(${scalarName(type.of, options)})` +
      ')'.repeat(type.dimensions)
    )
  }
  const name = scalarName(type, options)
  // An enum gets no Enum8: a new label would need a schema change before its first row.
  if (type.kind === 'enum') return `LowCardinality(${nullable ? `Nullable(${name})` : name})`
  return nullable ? `Nullable(${name})` : name
}

/** ClickHouse has no Nullable(Array), so that NULL and the empty array would be the same. */
function hasArrayTarget(
  type: ColumnType & { kind: 'array' },
  nullable: boolean,
  options: TypeOptions,
): boolean {
  if (options.arrays === 'text' || type.of.kind === 'array' || type.dimensions < 1) return false
  return options.arrays === 'native' || !nullable
}

function scalarName(type: ColumnType, options: TypeOptions): string {
  switch (type.kind) {
    case 'bool':
      return 'Bool'
    case 'int':
      return `${type.unsigned ? 'U' : ''}Int${type.bits}`
    case 'float':
      return `Float${type.bits}`
    case 'decimal':
      return fitsDecimal(type) ? `Decimal(${type.precision}, ${type.scale ?? 0})` : 'String'
    case 'uuid':
      return 'UUID'
    case 'date':
      return options.dates === 'text' ? 'String' : 'Date32'
    case 'timestamp':
      // A timestamp without zone keeps its wall clock, read as UTC.
      return options.dates === 'text' ? 'String' : `DateTime64(${type.digits}, 'UTC')`
    case 'text':
    case 'enum':
    case 'json':
    case 'bytes':
    case 'time':
    case 'interval':
    case 'array':
    case 'other':
      return 'String'
  }
}

function fitsDecimal(type: ColumnType & { kind: 'decimal' }): boolean {
  const scale = type.scale ?? 0
  return (
    type.precision !== null &&
    type.precision >= 1 &&
    type.precision <= 76 &&
    scale >= 0 &&
    scale <= type.precision
  )
}

const PLAIN: Readonly<Record<string, Scalar>> = {
  Bool: { kind: 'bool' },
  String: { kind: 'string' },
  UUID: { kind: 'uuid' },
  Date32: { kind: 'date32' },
  Float32: { kind: 'float', bits: 32 },
  Float64: { kind: 'float', bits: 64 },
}

/** Reads the type text of `system.columns`; null for types that this sink never makes. */
export function parseType(text: string): PhysicalType | null {
  const wrapped = /^(Array|Nullable|LowCardinality)\((.*)\)$/.exec(text)
  if (wrapped === null) {
    const scalar = parseScalar(text)
    return scalar === null ? null : { kind: 'scalar', scalar, nullable: false, lowCardinality: false }
  }
  const inner = parseType(wrapped[2]!)
  if (inner === null) return null
  if (wrapped[1] === 'Array') return { kind: 'array', of: inner }
  if (inner.kind === 'array') return null
  return wrapped[1] === 'Nullable' ? { ...inner, nullable: true } : { ...inner, lowCardinality: true }
}

function parseScalar(text: string): Scalar | null {
  const plain = PLAIN[text]
  if (plain !== undefined) return plain
  const int = /^(U?)Int(8|16|32|64)$/.exec(text)
  if (int !== null) return { kind: 'int', bits: Number(int[2]) as 8 | 16 | 32 | 64, unsigned: int[1] === 'U' }
  const decimal = /^Decimal\((\d+), (\d+)\)$/.exec(text)
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) }
  const time = /^DateTime64\((\d)(?:, '[^']*')?\)$/.exec(text)
  return time === null ? null : { kind: 'datetime64', digits: Number(time[1]) }
}

/** Whether the physical column keeps every value of the source type exactly (NULL aside). */
export function canHold(type: ColumnType, physical: PhysicalType): boolean {
  if (physical.kind === 'scalar') {
    if (physical.scalar.kind === 'string') return true
    return type.kind !== 'array' && holdsScalar(type, physical.scalar)
  }
  if (type.kind !== 'array') return false
  let element: PhysicalType = physical
  for (let depth = 0; depth < type.dimensions; depth++) {
    if (element.kind !== 'array') return false
    element = element.of
  }
  return element.kind === 'scalar' && element.nullable && canHold(type.of, element)
}

function holdsScalar(type: ColumnType, scalar: Scalar): boolean {
  switch (scalar.kind) {
    case 'int':
      return type.kind === 'int' && holdsInt(type, scalar)
    case 'float':
      return type.kind === 'float' && type.bits <= scalar.bits
    case 'decimal':
      return (
        type.kind === 'decimal' &&
        type.precision !== null &&
        (type.scale ?? 0) >= 0 &&
        (type.scale ?? 0) <= scalar.scale &&
        type.precision - (type.scale ?? 0) <= scalar.precision - scalar.scale
      )
    case 'datetime64':
      return type.kind === 'timestamp' && type.digits <= scalar.digits
    case 'date32':
      return type.kind === 'date'
    case 'bool':
    case 'uuid':
      return type.kind === scalar.kind
    case 'string':
      return true
  }
}

type IntShape = { readonly bits: number; readonly unsigned: boolean }

function holdsInt(inner: IntShape, outer: IntShape): boolean {
  if (inner.unsigned === outer.unsigned) return inner.bits <= outer.bits
  return inner.unsigned && inner.bits < outer.bits
}

/**
 * Whether `MODIFY COLUMN` turns every stored value into the one that the sink would write for it. Integers may also
 * become narrower: the source has proven that the live rows fit, and rows that are superseded are never shown.
 */
export function convertsExactly(from: PhysicalType, to: PhysicalType): boolean {
  if (from.kind === 'array' || to.kind === 'array') return JSON.stringify(from) === JSON.stringify(to)
  if (from.nullable && !to.nullable) return false
  const a = from.scalar
  const b = to.scalar
  if (b.kind === 'string')
    return a.kind === 'string' || a.kind === 'int' || a.kind === 'uuid' || a.kind === 'date32'
  if (a.kind === 'int') return b.kind === 'int'
  if (a.kind === 'float') return b.kind === 'float' && a.bits <= b.bits
  if (a.kind === 'decimal') {
    return b.kind === 'decimal' && a.scale <= b.scale && a.precision - a.scale <= b.precision - b.scale
  }
  if (a.kind === 'datetime64') return b.kind === 'datetime64' && a.digits <= b.digits
  return a.kind === b.kind
}

/** `Nullable(T)` for `T`; arrays cannot be. */
export function asNullable(text: string): string {
  if (text.startsWith('Nullable(') || text.startsWith('LowCardinality(Nullable(')) return text
  const low = /^LowCardinality\((.*)\)$/.exec(text)
  return low === null ? `Nullable(${text})` : `LowCardinality(Nullable(${low[1]!}))`
}

/** The same type, taking NULL where it can. */
export function asTaking(type: PhysicalType): PhysicalType {
  return type.kind === 'array' ? type : { ...type, nullable: true }
}

/** Whether two physical types differ in nothing but whether they take NULL (and how repeated text is kept). */
export function sameBase(a: PhysicalType, b: PhysicalType): boolean {
  if (a.kind === 'array' || b.kind === 'array') return JSON.stringify(a) === JSON.stringify(b)
  return JSON.stringify(a.scalar) === JSON.stringify(b.scalar)
}
