/**
 * BSON as bytes (bsonspec.org, version 1.1): type codes, sizes, and the bounds of documents, names and values. Every
 * function that moves on checks that it stays inside of the document, so that a broken one is an error, and never an
 * endless loop or a read of what lies behind it.
 *
 * `last` is the index of the zero byte that ends a document: elements lie before it.
 */
import { InternalError } from '../../../../core/error.ts'

export const BsonType = {
  double: 0x01,
  string: 0x02,
  object: 0x03,
  array: 0x04,
  binary: 0x05,
  undefined: 0x06,
  objectId: 0x07,
  bool: 0x08,
  date: 0x09,
  null: 0x0a,
  regex: 0x0b,
  dbPointer: 0x0c,
  code: 0x0d,
  symbol: 0x0e,
  codeWithScope: 0x0f,
  int32: 0x10,
  timestamp: 0x11,
  int64: 0x12,
  decimal128: 0x13,
  maxKey: 0x7f,
  minKey: 0xff,
} as const

/** Documents nest 180 levels deep at most in MongoDB; a broken one must not use up the stack. */
export const DEPTH_MAX = 250

const VARIABLE = -1
const UNKNOWN = -2

/** Bytes of a value by type. */
const SIZES = new Int8Array(256).fill(UNKNOWN)
for (const [type, size] of [
  [BsonType.double, 8],
  [BsonType.string, VARIABLE],
  [BsonType.object, VARIABLE],
  [BsonType.array, VARIABLE],
  [BsonType.binary, VARIABLE],
  [BsonType.undefined, 0],
  [BsonType.objectId, 12],
  [BsonType.bool, 1],
  [BsonType.date, 8],
  [BsonType.null, 0],
  [BsonType.regex, VARIABLE],
  [BsonType.dbPointer, VARIABLE],
  [BsonType.code, VARIABLE],
  [BsonType.symbol, VARIABLE],
  [BsonType.codeWithScope, VARIABLE],
  [BsonType.int32, 4],
  [BsonType.timestamp, 8],
  [BsonType.int64, 8],
  [BsonType.decimal128, 16],
  [BsonType.maxKey, 0],
  [BsonType.minKey, 0],
] as const) {
  SIZES[type] = size
}

const NAMES = new Map<number, string>(Object.entries(BsonType).map(([name, type]) => [type, name]))

/** For messages: `int32`, `string`. */
export function typeName(type: number): string {
  return NAMES.get(type) ?? `unknown type 0x${type.toString(16)}`
}

/** Four bytes, least significant first, signed. */
export function int32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** The `last` of the document at `at`, which must end before `limit`. */
export function documentLast(bytes: Uint8Array, at: number, limit: number): number {
  if (at + 5 > limit) throw malformed('a document is cut off')
  const size = int32(bytes, at)
  const last = at + size - 1
  if (size < 5 || last >= limit) throw malformed('a document is longer than what holds it')
  if (bytes[last] !== 0) throw malformed('a document has no end')
  return last
}

/** Index of the zero byte behind the name at `at`. */
export function nameEnd(bytes: Uint8Array, at: number, last: number): number {
  while (bytes[at] !== 0) at++
  if (at >= last) throw malformed('a name has no end')
  return at
}

/** Index behind the value at `at`. */
export function valueEnd(bytes: Uint8Array, type: number, at: number, last: number): number {
  const size = SIZES[type]!
  let end = at + size
  if (type === BsonType.string && at + 4 <= last) {
    // Most values are text: without a call.
    const length = int32(bytes, at)
    end = at + 4 + length
    if (length < 1 || end > last || bytes[end - 1] !== 0) throw malformed('a text has no end')
    return end
  }
  if (size < 0) end = variableEnd(bytes, type, at, last)
  if (end > last) throw malformed('a value is longer than its document')
  return end
}

function variableEnd(bytes: Uint8Array, type: number, at: number, last: number): number {
  if (SIZES[type] === UNKNOWN) throw malformed(`a value has the ${typeName(type)}`)
  if (type === BsonType.regex) return nameEnd(bytes, nameEnd(bytes, at, last) + 1, last) + 1
  if (at + 4 > last) throw malformed('a value is cut off')
  const size = int32(bytes, at)
  switch (type) {
    case BsonType.string:
    case BsonType.code:
    case BsonType.symbol:
      return textEnd(bytes, at, size, last)
    case BsonType.object:
    case BsonType.array:
      return documentLast(bytes, at, last) + 1
    case BsonType.binary:
      if (size < 0) throw malformed('a binary value has a negative size')
      return at + 5 + size
    case BsonType.dbPointer:
      return textEnd(bytes, at, size, last) + 12
    default: {
      // Code with scope: its size, the code, the scope.
      const end = at + size
      if (size < 14 || end > last) throw malformed('code with a scope has an impossible size')
      const scope = textEnd(bytes, at + 4, int32(bytes, at + 4), end)
      if (documentLast(bytes, scope, end) + 1 !== end) throw malformed('code and scope have another size')
      return end
    }
  }
}

function textEnd(bytes: Uint8Array, at: number, size: number, last: number): number {
  const end = at + 4 + size
  if (size < 1 || end > last) throw malformed('a text is longer than its document')
  if (bytes[end - 1] !== 0) throw malformed('a text has no end')
  return end
}

/** Of a binary value at `at`. */
export function binarySubtype(bytes: Uint8Array, at: number): number {
  return bytes[at + 4]!
}

/**
 * Where the bytes of a binary value at `at` begin; they end with the value. Those of the old subtype 2 have their length
 * in front once more; where it is not their length, it counts as bytes.
 */
export function binaryStart(bytes: Uint8Array, at: number, end: number): number {
  const isOld = bytes[at + 4] === 2 && end - at >= 9 && int32(bytes, at + 5) === end - at - 9
  return isOld ? at + 9 : at + 5
}

/** True for a binary value of subtype 4 and 16 bytes. */
export function isUuid(bytes: Uint8Array, at: number, end: number): boolean {
  return bytes[at + 4] === 4 && end - at === 21
}

const scratch = new Float64Array(1)
const scratchBytes = new Uint8Array(scratch.buffer)

/** Eight bytes as a double; every machine that Node runs on has the least significant first. */
export function float64(bytes: Uint8Array, at: number): number {
  for (let index = 0; index < 8; index++) scratchBytes[index] = bytes[at + index]!
  return scratch[0]!
}

/** Eight bytes as a signed number. */
export function int64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(int32(bytes, at + 4)) << 32n) | BigInt(int32(bytes, at) >>> 0)
}

/** Calls back for every element of a document, in order. */
export function eachElement(
  bytes: Uint8Array,
  at: number,
  limit: number,
  element: (type: number, nameAt: number, nameEnd: number, valueAt: number, valueEnd: number) => void,
): void {
  const last = documentLast(bytes, at, limit)
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const name = nameEnd(bytes, at + 1, last)
    const end = valueEnd(bytes, type, name + 1, last)
    element(type, at + 1, name, name + 1, end)
    at = end
  }
}

export function malformed(reason: string): InternalError {
  return new InternalError('mongodb/malformed-bson', `cannot read a document: ${reason}`, {
    fix: 'Nothing was skipped. Please report it with the versions of server and driver.',
  })
}
