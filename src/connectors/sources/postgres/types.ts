/**
 * PostgreSQL types to logical ones. Snapshot and stream both carry the text of the type's output function under the
 * settings that `session.ts` pins, and most of that text is the canonical form as it stands; `Conversion` names the
 * few exceptions. One table for both paths, so a value cannot depend on the way it came (law L8).
 */
import type { ColumnType } from '../../../core/column-type.ts'

/** What has to be done to a cell's text, in place (every conversion shrinks). */
export const Conversion = { none: 0, hexBytes: 1, money: 2 } as const
export type Conversion = (typeof Conversion)[keyof typeof Conversion]

/** A row of pg_type, as far as it matters. */
export interface PgType {
  readonly oid: number
  readonly name: string
  /** pg_type.typtype: b base, c composite, d domain, e enum, p pseudo, r range, m multirange. */
  readonly kind: string
  /** Element type of a true array, else 0. */
  readonly element: number
  /** Base type of a domain, else 0. */
  readonly base: number
  readonly baseModifier: number
  /** Dimensions that a domain over an array declares. */
  readonly dimensions: number
}

export type PgTypes = ReadonlyMap<number, PgType>

const OID = {
  bool: 16,
  bytea: 17,
  name: 19,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  money: 790,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const

/**
 * The logical type of a column. `modifier` is pg_attribute.atttypmod (-1: none), `dimensions` pg_attribute.attndims.
 * Types without a logical counterpart are carried as their text.
 */
export function columnType(types: PgTypes, oid: number, modifier: number, dimensions: number): ColumnType {
  const simple = simpleType(oid, modifier)
  if (simple !== null) return simple
  const type = types.get(oid)
  if (type === undefined) return { kind: 'other', name: `type ${oid}` }
  if (type.kind === 'd') {
    const baseModifier = type.baseModifier >= 0 ? type.baseModifier : modifier
    return columnType(types, type.base, baseModifier, type.dimensions)
  }
  if (type.kind === 'e') return { kind: 'enum' }
  if (type.element !== 0) {
    const of = columnType(types, type.element, modifier, 0)
    // Elements are not converted in place, so the ones that would need it stay text.
    if (conversionOf(of, baseOid(types, type.element)) === Conversion.money || of.kind === 'other')
      return { kind: 'other', name: nativeName(types, oid, modifier) }
    return { kind: 'array', of, dimensions: Math.max(1, dimensions) }
  }
  if (type.name === 'citext' || type.name === 'xml') return { kind: 'text' }
  return { kind: 'other', name: type.name }
}

/** How the text of a column becomes canonical. */
export function conversionOf(type: ColumnType, oid: number): Conversion {
  if (type.kind === 'bytes') return Conversion.hexBytes
  return oid === OID.money ? Conversion.money : Conversion.none
}

/** The base type's OID of a domain, for `conversionOf`. */
export function baseOid(types: PgTypes, oid: number): number {
  const type = types.get(oid)
  return type?.kind === 'd' ? baseOid(types, type.base) : oid
}

/** The type as SQL writes it, for messages. */
export function nativeName(types: PgTypes, oid: number, modifier: number): string {
  const type = types.get(oid)
  if (type === undefined) return `type ${oid}`
  if (type.element !== 0) return `${nativeName(types, type.element, modifier)}[]`
  if (oid === OID.numeric && modifier >= 0) {
    const { precision, scale } = numericModifier(modifier)
    return `numeric(${precision},${scale})`
  }
  if ((oid === OID.varchar || oid === OID.bpchar) && modifier >= 4) return `${type.name}(${modifier - 4})`
  return type.name
}

function simpleType(oid: number, modifier: number): ColumnType | null {
  switch (oid) {
    case OID.bool:
      return { kind: 'bool' }
    case OID.int2:
      return { kind: 'int', bits: 16, unsigned: false }
    case OID.int4:
      return { kind: 'int', bits: 32, unsigned: false }
    case OID.int8:
      return { kind: 'int', bits: 64, unsigned: false }
    case OID.oid:
      return { kind: 'int', bits: 32, unsigned: true }
    case OID.float4:
      return { kind: 'float', bits: 32 }
    case OID.float8:
      return { kind: 'float', bits: 64 }
    case OID.numeric:
      return modifier < 0
        ? { kind: 'decimal', precision: null, scale: null }
        : { kind: 'decimal', ...numericModifier(modifier) }
    case OID.money:
      return { kind: 'decimal', precision: 19, scale: 2 }
    case OID.text:
    case OID.varchar:
    case OID.bpchar:
    case OID.name:
      return { kind: 'text' }
    case OID.bytea:
      return { kind: 'bytes' }
    case OID.uuid:
      return { kind: 'uuid' }
    case OID.json:
    case OID.jsonb:
      return { kind: 'json' }
    case OID.date:
      return { kind: 'date' }
    case OID.time:
    case OID.timetz:
      return { kind: 'time', digits: secondDigits(modifier), zoned: oid === OID.timetz }
    case OID.timestamp:
    case OID.timestamptz:
      return { kind: 'timestamp', digits: secondDigits(modifier), zoned: oid === OID.timestamptz }
    case OID.interval:
      return { kind: 'interval' }
    default:
      return null
  }
}

/** numeric's modifier is ((precision << 16) | (scale & 0x7ff)) + 4, scale in 11 bits, signed (numeric.c). */
function numericModifier(modifier: number): { precision: number; scale: number } {
  const packed = modifier - 4
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 }
}

/** Fractional second digits of time types: the modifier, or 6. */
function secondDigits(modifier: number): number {
  return modifier >= 0 && modifier <= 6 ? modifier : 6
}
