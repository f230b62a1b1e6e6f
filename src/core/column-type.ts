/**
 * The logical types that every source converts into and every sink converts out of. `canonical.ts` says what a cell
 * of each type looks like.
 */
export type ColumnType =
  | { readonly kind: 'bool' }
  | { readonly kind: 'int'; readonly bits: 8 | 16 | 32 | 64; readonly unsigned: boolean }
  | { readonly kind: 'float'; readonly bits: 32 | 64 }
  /** `precision` and `scale` are null when the source declares none (any number of digits). */
  | { readonly kind: 'decimal'; readonly precision: number | null; readonly scale: number | null }
  | { readonly kind: 'text' }
  | { readonly kind: 'enum' }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'json' }
  | { readonly kind: 'bytes' }
  | { readonly kind: 'date' }
  /** `digits` is the number of fractional second digits, 0 to 9. `zoned` times carry an offset. */
  | { readonly kind: 'time'; readonly digits: number; readonly zoned: boolean }
  | { readonly kind: 'timestamp'; readonly digits: number; readonly zoned: boolean }
  | { readonly kind: 'interval' }
  | { readonly kind: 'array'; readonly of: ColumnType; readonly dimensions: number }
  /** Anything else, carried as the source's own text; `name` is the source's name of the type. */
  | { readonly kind: 'other'; readonly name: string }

/** A short name for messages and docs: `int64`, `decimal(12,2)`, `array of text`. */
export function describeType(type: ColumnType): string {
  switch (type.kind) {
    case 'int':
      return `${type.unsigned ? 'u' : ''}int${type.bits}`
    case 'float':
      return `float${type.bits}`
    case 'decimal':
      return type.precision === null ? 'decimal' : `decimal(${type.precision},${type.scale ?? 0})`
    case 'time':
    case 'timestamp':
      return `${type.kind}(${type.digits})${type.zoned ? ' with time zone' : ''}`
    case 'array':
      return `${'array of '.repeat(type.dimensions)}${describeType(type.of)}`
    case 'other':
      return type.name
    case 'bool':
    case 'text':
    case 'enum':
    case 'uuid':
    case 'json':
    case 'bytes':
    case 'date':
    case 'interval':
      return type.kind
  }
}

/**
 * The type that `describeType` calls so: `int64`, `decimal(12,2)`, `timestamp(6) with time zone`, `array of text`. Null
 * for any other text, names of `other` types included. For sources whose user declares the columns.
 */
export function parseType(name: string): ColumnType | null {
  if (name.startsWith('array of ')) {
    const of = parseType(name.slice('array of '.length))
    if (of?.kind === 'array') return { ...of, dimensions: of.dimensions + 1 }
    return of === null ? null : { kind: 'array', of, dimensions: 1 }
  }
  const [, precision, scale] = /^decimal\((\d+),(-?\d+)\)$/.exec(name) ?? []
  if (precision !== undefined) return { kind: 'decimal', precision: Number(precision), scale: Number(scale) }
  const [, kind, digits, zone] = /^(time|timestamp)\((\d)\)( with time zone)?$/.exec(name) ?? []
  if (kind === 'time' || kind === 'timestamp')
    return { kind, digits: Number(digits), zoned: zone !== undefined }
  return WITHOUT_ARGUMENTS.find((type) => describeType(type) === name) ?? null
}

const WITHOUT_ARGUMENTS: readonly ColumnType[] = [
  ...([8, 16, 32, 64] as const).flatMap((bits) =>
    [false, true].map((unsigned) => ({ kind: 'int', bits, unsigned }) as const),
  ),
  { kind: 'float', bits: 32 },
  { kind: 'float', bits: 64 },
  { kind: 'decimal', precision: null, scale: null },
  ...(['bool', 'text', 'enum', 'uuid', 'json', 'bytes', 'date', 'interval'] as const).map((kind) => ({
    kind,
  })),
]

/** What `parseType` reads; of types with arguments an example each. */
export const TYPE_NAMES: readonly string[] = [
  ...WITHOUT_ARGUMENTS.map(describeType),
  'decimal(12,2)',
  'time(6)',
  'timestamp(6)',
  'timestamp(6) with time zone',
  'array of text',
]

/** True when both describe the same values. */
export function sameType(a: ColumnType, b: ColumnType): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
