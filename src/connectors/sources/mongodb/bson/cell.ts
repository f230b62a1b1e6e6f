/**
 * BSON values to canonical cells (`core/canonical.ts`), one converter per column, compiled once. A converter writes the
 * cell behind `out.used` and returns true, or returns false: the value does not fit, and what was written is void. The
 * table of every type against every column is `expectations.md`.
 *
 * Null and undefined never get here outside of arrays: they are NULL in every column.
 */
import type { ColumnType } from '../../../../core/column-type.ts'
import type { Arena } from '../../../../core/packed-rows.ts'
import { binaryStart, BsonType, float64, int32, int64, isUuid } from './bson.ts'
import { arrayConverter } from './cell-array.ts'
import { type CellArena, putAscii, putBytes } from './cell-arena.ts'
import { Decimal } from './cell-decimal.ts'
import { INTEGER_BYTES, putInt32, putInt64 } from './cell-digits.ts'
import { DOUBLE_BYTES, putDouble, putPlainDouble, putSingle } from './cell-numbers.ts'
import { putBase64, putHex, putUtf8, putUuid } from './cell-text.ts'
import { putDate, putIso, putTimestamp } from './cell-times.ts'
import { type JsonForm, putJson } from './json.ts'

export type CellConverter = (out: CellArena, bytes: Arena, type: number, at: number, end: number) => boolean

/** Compiles the conversion into a column. In a key equal numbers have equal text, and JSON tells types apart. */
export function cellConverter(type: ColumnType, json: 'plain' | 'extended', isKey: boolean): CellConverter {
  switch (type.kind) {
    case 'bool':
      return toBool
    case 'int':
      return intConverter(type.bits, type.unsigned)
    case 'float':
      return type.bits === 64 ? doubleConverter(isKey) : singleConverter(isKey)
    case 'decimal':
      return decimalConverter(type.precision, type.scale ?? 0, isKey)
    case 'text':
      return textConverter(isKey)
    case 'enum':
    case 'other':
      return toName
    case 'uuid':
      return toUuid
    case 'json':
      return jsonConverter(isKey ? 'key' : json)
    case 'bytes':
      return toBytes
    case 'date':
      return (out, bytes, from, at) => from === BsonType.date && putDate(out, bytes, at)
    case 'timestamp': {
      const { digits, zoned } = type
      return (out, bytes, from, at) => from === BsonType.date && putTimestamp(out, bytes, at, digits, zoned)
    }
    case 'time':
    case 'interval':
      // BSON has neither.
      return () => false
    case 'array': {
      const { of, dimensions } = type
      const element = dimensions > 1 ? { ...type, dimensions: dimensions - 1 } : of
      const convert = element.kind === 'bytes' ? toHexBytes : cellConverter(element, json, isKey)
      return arrayConverter(convert, element.kind === 'array')
    }
  }
}

const decimal = new Decimal()

const toBool: CellConverter = (out, bytes, type, at) => {
  if (type !== BsonType.bool) return false
  out.reserve(1)
  out.arena[out.used++] = bytes[at] === 0 ? 0x66 : 0x74
  return true
}

function intConverter(bits: 8 | 16 | 32 | 64, unsigned: boolean): CellConverter {
  const min = unsigned ? 0n : -(2n ** BigInt(bits - 1))
  const max = unsigned ? 2n ** BigInt(bits) - 1n : 2n ** BigInt(bits - 1) - 1n
  const min32 = Math.max(Number(min), -(2 ** 31))
  const max32 = Math.min(Number(max), 2 ** 31 - 1)
  /** Halves of 64 bits are enough to say that a value of 32 bits or less does not fit. */
  const fits64 = (bytes: Uint8Array, at: number): boolean => {
    const high = int32(bytes, at + 4)
    if (bits === 64) return !unsigned || high >= 0
    const low = int32(bytes, at)
    if (high === low >> 31) return low >= min32 && low <= max32
    return high === 0 && unsigned && bits === 32
  }
  const exact = (out: CellArena, value: bigint): boolean => {
    if (value < min || value > max) return false
    putAscii(out, value.toString())
    return true
  }
  return (out, bytes, type, at) => {
    out.reserve(INTEGER_BYTES)
    switch (type) {
      case BsonType.int32: {
        const value = int32(bytes, at)
        if (value < min32 || value > max32) return false
        putInt32(out, value)
        return true
      }
      case BsonType.int64:
      case BsonType.date:
        if (!fits64(bytes, at)) return false
        putInt64(out, bytes, at)
        return true
      case BsonType.double: {
        const value = float64(bytes, at)
        if (!Number.isInteger(value)) return false
        const small = value | 0
        if (small !== value) return exact(out, BigInt(value))
        if (small < min32 || small > max32) return false
        putInt32(out, small)
        return true
      }
      case BsonType.decimal128:
        decimal.read(bytes, at)
        if (decimal.special !== null) return false
        decimal.normalize()
        return (
          decimal.behind === 0 && decimal.before <= INTEGER_BYTES && exact(out, BigInt(decimal.toString()))
        )
      default:
        return false
    }
  }
}

/** The double that is exactly the number at `at`; undefined when there is none, or it is no number. */
function exactDouble(bytes: Uint8Array, type: number, at: number): number | undefined {
  switch (type) {
    case BsonType.double:
      return float64(bytes, at)
    case BsonType.int32:
      return int32(bytes, at)
    case BsonType.int64:
    case BsonType.date: {
      const high = int32(bytes, at + 4)
      if (high >= -0x20_0000 && high < 0x20_0000) return high * 4294967296 + (int32(bytes, at) >>> 0)
      const whole = int64(bytes, at)
      return BigInt(Number(whole)) === whole ? Number(whole) : undefined
    }
    case BsonType.decimal128: {
      const { special } = decimal.read(bytes, at)
      if (special !== null) return Number(special)
      const negativeZero = decimal.isZero && decimal.negative
      const text = decimal.normalize().toString()
      const value = Number(text)
      if (!Number.isFinite(value) || decimal.readDouble(value).normalize().toString() !== text)
        return undefined
      return negativeZero ? -0 : value
    }
    default:
      return undefined
  }
}

function doubleConverter(isKey: boolean): CellConverter {
  return (out, bytes, type, at) => {
    const value = exactDouble(bytes, type, at)
    if (value === undefined) return false
    out.reserve(DOUBLE_BYTES)
    putDouble(out, isKey && value === 0 ? 0 : value)
    return true
  }
}

function singleConverter(isKey: boolean): CellConverter {
  return (out, bytes, type, at) => {
    const value = exactDouble(bytes, type, at)
    if (value === undefined || !Object.is(Math.fround(value), value)) return false
    out.reserve(DOUBLE_BYTES)
    putSingle(out, isKey && value === 0 ? 0 : value)
    return true
  }
}

function decimalConverter(precision: number | null, scale: number, isKey: boolean): CellConverter {
  const before = precision === null ? Infinity : precision - scale
  const put = (out: CellArena): boolean => {
    if (decimal.special !== null) {
      if (precision !== null && decimal.special !== 'NaN') return false
      decimal.put(out)
      return true
    }
    if (decimal.isZero) decimal.negative = false
    if (isKey) decimal.normalize()
    if (decimal.before > before) return false
    if (precision !== null && !decimal.cut(scale)) return false
    decimal.put(out)
    return true
  }
  return (out, bytes, type, at) => {
    out.reserve(DOUBLE_BYTES)
    switch (type) {
      case BsonType.int32: {
        if (before >= 10 && scale >= 0) {
          putInt32(out, int32(bytes, at))
          return true
        }
        decimal.readDouble(int32(bytes, at))
        return put(out)
      }
      case BsonType.int64:
      case BsonType.date:
        if (before >= 19 && scale >= 0) {
          putInt64(out, bytes, at)
          return true
        }
        decimal.readInteger(int64(bytes, at))
        return put(out)
      case BsonType.double:
        decimal.readDouble(float64(bytes, at))
        return put(out)
      case BsonType.decimal128:
        decimal.read(bytes, at)
        return put(out)
      default:
        return false
    }
  }
}

function textConverter(isKey: boolean): CellConverter {
  return (out, bytes, type, at, end) => {
    switch (type) {
      case BsonType.string:
      case BsonType.symbol:
      case BsonType.code:
        return putUtf8(out, bytes, at + 4, end - 1)
      case BsonType.objectId:
        putHex(out, bytes, at, end)
        return true
      case BsonType.int32:
        out.reserve(INTEGER_BYTES)
        putInt32(out, int32(bytes, at))
        return true
      case BsonType.int64:
        out.reserve(INTEGER_BYTES)
        putInt64(out, bytes, at)
        return true
      case BsonType.double:
        putPlainDouble(out, float64(bytes, at), isKey)
        return true
      case BsonType.date:
        putIso(out, bytes, at)
        return true
      case BsonType.bool:
        out.reserve(5)
        putAscii(out, bytes[at] === 0 ? 'false' : 'true')
        return true
      case BsonType.binary:
        if (isUuid(bytes, at, end)) putUuid(out, bytes, at + 5)
        else putBase64(out, bytes, binaryStart(bytes, at, end), end)
        return true
      case BsonType.decimal128:
        decimal.read(bytes, at)
        if (isKey && decimal.special === null) decimal.normalize()
        decimal.put(out)
        return true
      default:
        return false
    }
  }
}

const toName: CellConverter = (out, bytes, type, at, end) =>
  (type === BsonType.string || type === BsonType.symbol) && putUtf8(out, bytes, at + 4, end - 1)

const toUuid: CellConverter = (out, bytes, type, at, end) => {
  if (type !== BsonType.binary || !isUuid(bytes, at, end)) return false
  putUuid(out, bytes, at + 5)
  return true
}

function jsonConverter(form: JsonForm): CellConverter {
  return (out, bytes, type, at, end) => putJson(out, bytes, type, at, end, form)
}

const toBytes: CellConverter = (out, bytes, type, at, end) => {
  if (type === BsonType.binary) at = binaryStart(bytes, at, end)
  else if (type !== BsonType.objectId) return false
  out.reserve(end - at)
  putBytes(out, bytes, at, end)
  return true
}

/** The form of bytes inside an array. */
const toHexBytes: CellConverter = (out, bytes, type, at, end) => {
  if (type === BsonType.binary) at = binaryStart(bytes, at, end)
  else if (type !== BsonType.objectId) return false
  out.reserve(2)
  putAscii(out, '\\x')
  putHex(out, bytes, at, end)
  return true
}
