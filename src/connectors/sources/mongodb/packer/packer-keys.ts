/**
 * Which kinds of values a key column has had. In the source 1 and "1" are two keys, in a text column they are one: rows
 * would be merged. So all values of a key column must be of kinds that stay apart there.
 */
import type { ColumnType } from '../../../../core/column-type.ts'
import { BsonType, binarySubtype, float64, isUuid } from '../bson/bson.ts'
import { Decimal } from '../bson/cell-decimal.ts'

/** Bits of a mask. Subtypes of binary values besides 0, 3 and UUIDs count as one class. */
const KeyClass = {
  number: 1,
  /** The decimal 0.1 and the double 0.1 are not equal, but look so. */
  'double with a fraction': 2,
  'decimal with a fraction': 4,
  string: 8,
  objectId: 16,
  uuid: 32,
  binary: 64,
  'binary of the old UUID subtype': 128,
  'binary of another subtype': 256,
  date: 512,
  bool: 1024,
  symbol: 2048,
  code: 4096,
  other: 8192,
} as const

const decimal = new Decimal()

/** The class of a value that is neither null nor missing. */
export function keyClass(bytes: Uint8Array, type: number, at: number, end: number): number {
  switch (type) {
    case BsonType.objectId:
      return KeyClass.objectId
    case BsonType.string:
      return KeyClass.string
    case BsonType.int32:
    case BsonType.int64:
      return KeyClass.number
    case BsonType.double: {
      const value = float64(bytes, at)
      return Number.isInteger(value) || !Number.isFinite(value)
        ? KeyClass.number
        : KeyClass['double with a fraction']
    }
    case BsonType.decimal128:
      decimal.read(bytes, at)
      return decimal.special !== null || decimal.normalize().behind === 0
        ? KeyClass.number
        : KeyClass['decimal with a fraction']
    case BsonType.date:
      return KeyClass.date
    case BsonType.bool:
      return KeyClass.bool
    case BsonType.binary:
      if (isUuid(bytes, at, end)) return KeyClass.uuid
      if (binarySubtype(bytes, at) === 0) return KeyClass.binary
      return binarySubtype(bytes, at) === 3
        ? KeyClass['binary of the old UUID subtype']
        : KeyClass['binary of another subtype']
    case BsonType.symbol:
      return KeyClass.symbol
    case BsonType.code:
      return KeyClass.code
    default:
      return KeyClass.other
  }
}

const NUMBERS = KeyClass.number | KeyClass['double with a fraction'] | KeyClass['decimal with a fraction']
const FRACTIONS = KeyClass['double with a fraction'] | KeyClass['decimal with a fraction']

/** Names of the classes that a column of this type cannot tell apart; null when all is well. */
export function mixedClasses(type: ColumnType, mask: number): readonly string[] | null {
  if ((mask & FRACTIONS) === FRACTIONS) return classNames(FRACTIONS)
  // JSON in keys says of every value what it is.
  if (type.kind === 'json') return null
  const kinds = (mask & ~NUMBERS) | ((mask & NUMBERS) === 0 ? 0 : KeyClass.number)
  return (kinds & (kinds - 1)) === 0 ? null : classNames(kinds)
}

function classNames(mask: number): readonly string[] {
  return Object.entries(KeyClass)
    .filter(([, bit]) => (mask & bit) !== 0)
    .map(([name]) => name)
}
