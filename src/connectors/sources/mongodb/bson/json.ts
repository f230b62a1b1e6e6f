/**
 * BSON to JSON, bytes to bytes.
 *
 * | form | numbers | what JSON has no type for |
 * |---|---|---|
 * | `plain` | digits, shortest; not a number and infinities as text; Decimal128 as text of its digits | dates as ISO 8601 text, ObjectId as hex, UUID and base64 as text, symbols as text, the rest as Extended JSON |
 * | `extended` | canonical Extended JSON v2 | the same: nothing is lost |
 * | `key` | digits without exponent: equal numbers of any type are equal | canonical Extended JSON v2 |
 *
 * Of fields with the same name in one document the first counts, as it does for the server. Strings are escaped as
 * `JSON.stringify` does it. Rule: MongoDB Extended JSON (v2) specification.
 */
import type { Arena } from '../../../../core/packed-rows.ts'
import {
  binaryStart,
  BsonType,
  DEPTH_MAX,
  documentLast,
  float64,
  int32,
  isUuid,
  malformed,
  nameEnd,
  valueEnd,
} from './bson.ts'
import { type CellArena, putAscii } from './cell-arena.ts'
import { Decimal } from './cell-decimal.ts'
import { INTEGER_BYTES, putInt32, putInt64, putUint32 } from './cell-digits.ts'
import { DOUBLE_BYTES, putDouble, putPlainDouble } from './cell-numbers.ts'
import { putBase64, putHex, putUuid, sequenceEnd } from './cell-text.ts'
import { putIso } from './cell-times.ts'
import { nameText, namesBefore, stoodBefore } from './json-names.ts'

export type JsonForm = 'plain' | 'extended' | 'key'

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d

/** 0: as it is. 1: a character of several bytes. Otherwise what stands behind the backslash, `u` for `\u00XX`. */
const ESCAPES = new Uint8Array(256)
ESCAPES.fill(1, 0x80)
ESCAPES.fill(0x75, 0, 0x20)
for (const [code, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [QUOTE, '"'],
  [BACKSLASH, '\\'],
] as const) {
  ESCAPES[code] = letter.charCodeAt(0)
}

const decimal = new Decimal()
/** Beyond so many fields the bits of names say little. */
const FEW = 24

/** Writes the value at `at`; false when a text in it is not UTF-8. Reserves its room. */
export function putJson(
  out: CellArena,
  bytes: Arena,
  type: number,
  at: number,
  end: number,
  form: JsonForm,
  depth = 0,
): boolean {
  switch (type) {
    case BsonType.string:
      return putText(out, bytes, at + 4, end - 1)
    case BsonType.int32:
      return putInteger32(out, bytes, at, form)
    case BsonType.int64:
      if (form === 'extended') open(out, '{"$numberLong":"')
      out.reserve(INTEGER_BYTES)
      putInt64(out, bytes, at)
      return form === 'extended' ? close(out, '"}') : true
    case BsonType.double:
      return putNumber(out, float64(bytes, at), form)
    case BsonType.bool:
      return close(out, bytes[at] === 0 ? 'false' : 'true')
    case BsonType.null:
      return close(out, 'null')
    case BsonType.object:
      return putObject(out, bytes, at, end, form, depth)
    case BsonType.array:
      return putArray(out, bytes, at, end, form, depth)
    case BsonType.date:
      if (form !== 'plain') return putLong(out, '{"$date":{"$numberLong":"', bytes, at, '"}}')
      open(out, '"')
      putIso(out, bytes, at)
      return close(out, '"')
    case BsonType.objectId:
      open(out, form === 'plain' ? '"' : '{"$oid":"')
      putHex(out, bytes, at, at + 12)
      return close(out, form === 'plain' ? '"' : '"}')
    default:
      return putRare(out, bytes, type, at, end, form, depth)
  }
}

function putInteger32(out: CellArena, bytes: Arena, at: number, form: JsonForm): boolean {
  if (form === 'extended') open(out, '{"$numberInt":"')
  out.reserve(INTEGER_BYTES)
  putInt32(out, int32(bytes, at))
  return form === 'extended' ? close(out, '"}') : true
}

function putNumber(out: CellArena, value: number, form: JsonForm): boolean {
  const finite = Number.isFinite(value)
  if (form === 'key') {
    if (finite) {
      putPlainDouble(out, value, true)
      return true
    }
    return close(out, `{"$numberDouble":"${value}"}`)
  }
  if (form === 'extended') {
    open(out, '{"$numberDouble":"')
    // The driver, whose form this is, writes whole numbers with all their digits.
    if (Number.isInteger(value) && Math.abs(value) < 1e21) {
      putPlainDouble(out, value, false)
      return close(out, '.0"}')
    }
  } else if (!finite) open(out, '"')
  out.reserve(DOUBLE_BYTES)
  putDouble(out, value)
  return form === 'extended' ? close(out, '"}') : finite || close(out, '"')
}

function putRare(
  out: CellArena,
  bytes: Arena,
  type: number,
  at: number,
  end: number,
  form: JsonForm,
  depth: number,
): boolean {
  switch (type) {
    case BsonType.decimal128:
      return putDecimal(out, bytes, at, form)
    case BsonType.binary:
      return putBinary(out, bytes, at, end, form)
    case BsonType.symbol:
      if (form === 'plain') return putText(out, bytes, at + 4, end - 1)
      open(out, '{"$symbol":')
      return putText(out, bytes, at + 4, end - 1) && close(out, '}')
    case BsonType.code:
      open(out, '{"$code":')
      return putText(out, bytes, at + 4, end - 1) && close(out, '}')
    case BsonType.codeWithScope: {
      const scope = at + 8 + int32(bytes, at + 4)
      open(out, '{"$code":')
      if (!putText(out, bytes, at + 8, scope - 1)) return false
      open(out, ',"$scope":')
      return putObject(out, bytes, scope, end, form, depth) && close(out, '}')
    }
    case BsonType.regex: {
      const options = nameEnd(bytes, at, end) + 1
      open(out, '{"$regularExpression":{"pattern":')
      if (!putText(out, bytes, at, options - 1)) return false
      open(out, ',"options":')
      return putText(out, bytes, options, end - 1) && close(out, '}}')
    }
    case BsonType.dbPointer:
      open(out, '{"$dbPointer":{"$ref":')
      if (!putText(out, bytes, at + 4, end - 13)) return false
      open(out, ',"$id":{"$oid":"')
      putHex(out, bytes, end - 12, end)
      return close(out, '"}}}')
    case BsonType.timestamp:
      open(out, '{"$timestamp":{"t":')
      putUint32(out, int32(bytes, at + 4) >>> 0)
      open(out, ',"i":')
      putUint32(out, int32(bytes, at) >>> 0)
      return close(out, '}}')
    case BsonType.minKey:
      return close(out, '{"$minKey":1}')
    case BsonType.maxKey:
      return close(out, '{"$maxKey":1}')
    case BsonType.undefined:
      return close(out, form === 'plain' ? 'null' : '{"$undefined":true}')
    default:
      throw malformed('a value has an unknown type')
  }
}

function putDecimal(out: CellArena, bytes: Arena, at: number, form: JsonForm): boolean {
  decimal.read(bytes, at)
  if (form === 'key') {
    if (decimal.special !== null) return close(out, `{"$numberDouble":"${decimal.special}"}`)
    decimal.normalize().put(out)
    return true
  }
  open(out, form === 'plain' ? '"' : '{"$numberDecimal":"')
  if (form === 'plain') decimal.put(out)
  else decimal.putScientific(out)
  return close(out, form === 'plain' ? '"' : '"}')
}

function putBinary(out: CellArena, bytes: Arena, at: number, end: number, form: JsonForm): boolean {
  if (form === 'plain') {
    open(out, '"')
    if (isUuid(bytes, at, end)) putUuid(out, bytes, at + 5)
    else putBase64(out, bytes, binaryStart(bytes, at, end), end)
    return close(out, '"')
  }
  open(out, '{"$binary":{"base64":"')
  putBase64(out, bytes, binaryStart(bytes, at, end), end)
  open(out, '","subType":"')
  putHex(out, bytes, at + 4, at + 5)
  return close(out, '"}}')
}

function putLong(out: CellArena, before: string, bytes: Arena, at: number, after: string): boolean {
  open(out, before)
  putInt64(out, bytes, at)
  return close(out, after)
}

function putObject(
  out: CellArena,
  bytes: Arena,
  at: number,
  limit: number,
  form: JsonForm,
  depth: number,
): boolean {
  if (depth > DEPTH_MAX) throw malformed('it is nested too deeply')
  const last = documentLast(bytes, at, limit)
  // One bit per name says of nearly all that they are no repetition.
  const start = at + 4
  let bits = 0
  let count = 0
  let names: Set<string> | null = null
  out.reserve(2)
  out.arena[out.used++] = OPEN_OBJECT
  let first = true
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const name = nameEnd(bytes, at + 1, last)
    const end = valueEnd(bytes, type, name + 1, last)
    const bit = 1 << ((bytes[at + 1]! + bytes[(at + 1 + name) >> 1]! * 3 + (name - at) * 7) & 31)
    let repeated = false
    if ((bits & bit) !== 0) {
      if (count > FEW) names ??= namesBefore(bytes, start, at, last)
      repeated =
        names === null ? stoodBefore(bytes, start, at, name, last) : names.has(nameText(bytes, at, name))
    }
    if (!repeated) {
      bits |= bit
      count++
      names?.add(nameText(bytes, at, name))
      if (!first) out.arena[out.used++] = COMMA
      first = false
      if (!putText(out, bytes, at + 1, name)) return false
      out.reserve(1)
      out.arena[out.used++] = COLON
      if (type === BsonType.string) {
        if (!putText(out, bytes, name + 5, end - 1)) return false
      } else if (!putJson(out, bytes, type, name + 1, end, form, depth + 1)) return false
      out.reserve(2)
    }
    at = end
  }
  out.arena[out.used++] = CLOSE_OBJECT
  return true
}

function putArray(
  out: CellArena,
  bytes: Arena,
  at: number,
  limit: number,
  form: JsonForm,
  depth: number,
): boolean {
  if (depth > DEPTH_MAX) throw malformed('it is nested too deeply')
  const last = documentLast(bytes, at, limit)
  out.reserve(2)
  out.arena[out.used++] = OPEN_ARRAY
  let first = true
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const name = nameEnd(bytes, at + 1, last)
    const end = valueEnd(bytes, type, name + 1, last)
    if (!first) out.arena[out.used++] = COMMA
    first = false
    if (type === BsonType.string) {
      if (!putText(out, bytes, name + 5, end - 1)) return false
    } else if (!putJson(out, bytes, type, name + 1, end, form, depth + 1)) return false
    out.reserve(2)
    at = end
  }
  out.arena[out.used++] = CLOSE_ARRAY
  return true
}

/** Quoted and escaped; false when it is not UTF-8. Reserves its room. */
function putText(out: CellArena, bytes: Arena, at: number, end: number): boolean {
  out.reserve(end - at + 2)
  let { arena } = out
  let to = out.used
  arena[to++] = QUOTE
  while (at < end) {
    const byte = bytes[at]!
    const escape = ESCAPES[byte]!
    if (escape === 0) {
      arena[to++] = byte
      at++
    } else if (escape === 1) {
      const next = sequenceEnd(bytes, at, end)
      if (next === 0) return false
      while (at < next) arena[to++] = bytes[at++]!
    } else {
      out.used = to
      out.reserve(end - at + 8)
      arena = out.arena
      arena[to++] = BACKSLASH
      arena[to++] = escape
      if (escape === 0x75) {
        arena[to++] = 0x30
        arena[to++] = 0x30
        arena[to++] = 0x30 + (byte >> 4)
        arena[to++] = '0123456789abcdef'.charCodeAt(byte & 15)
      }
      at++
    }
  }
  arena[to++] = QUOTE
  out.used = to
  return true
}

/** Text of ours, and room for a number behind it. */
function open(out: CellArena, text: string): void {
  out.reserve(text.length + INTEGER_BYTES)
  putAscii(out, text)
}

function close(out: CellArena, text: string): boolean {
  out.reserve(text.length)
  putAscii(out, text)
  return true
}
