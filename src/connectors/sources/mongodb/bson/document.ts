/** Documents of which only what is asked for is decoded, for filters and expressions. */
import type { DocumentValue, LazyDocument, ObjectValue } from '../../../../core/mapping/value.ts'
import type { Arena } from '../../../../core/packed-rows.ts'
import {
  binaryStart,
  binarySubtype,
  BsonType,
  DEPTH_MAX,
  documentLast,
  float64,
  int32,
  int64,
  malformed,
  nameEnd,
  valueEnd,
} from './bson.ts'
import { readText } from './bson-writer.ts'
import { Decimal } from './cell-decimal.ts'

const EMPTY = Buffer.alloc(0) as Arena

/** One after the other: `open` takes the next document and forgets the one before. */
export class RawDocument implements LazyDocument {
  #bytes = EMPTY
  #first = 0
  #last = 0
  #fields = new Map<string, DocumentValue | undefined>()
  #whole: ObjectValue | null = null

  /** The document at `at`, which must end before `limit`. */
  open(bytes: Arena, at: number, limit: number): this {
    this.#last = documentLast(bytes, at, limit)
    this.#bytes = bytes
    this.#first = at + 4
    if (this.#fields.size > 0) this.#fields = new Map()
    this.#whole = null
    return this
  }

  field(name: string): DocumentValue | undefined {
    const known = this.#fields.get(name)
    if (known !== undefined || this.#fields.has(name)) return known
    const value = this.#find(name)
    this.#fields.set(name, value)
    return value
  }

  whole(): ObjectValue {
    this.#whole ??= decodeObject(this.#bytes, this.#first - 4, this.#last + 1, 0)
    return this.#whole
  }

  #find(name: string): DocumentValue | undefined {
    const bytes = this.#bytes
    const last = this.#last
    const wanted = nameBytes(name)
    let at = this.#first
    while (at < last) {
      const type = bytes[at++]!
      let index = 0
      while (index < wanted.length && bytes[at + index] === wanted[index]) index++
      if (index === wanted.length) {
        at += index
        return decodeValue(bytes, type, at, valueEnd(bytes, type, at, last))
      }
      const value = nameEnd(bytes, at + index, last) + 1
      at = valueEnd(bytes, type, value, last)
    }
    return undefined
  }
}

const names = new Map<string, Uint8Array>()

/** With the zero byte behind. Names come from the mapping, so there are few. */
function nameBytes(name: string): Uint8Array {
  let bytes = names.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(`${name}\0`)
    names.set(name, bytes)
  }
  return bytes
}

const decimal = new Decimal()

/** The value of `type` at `at`, which has been measured (`valueEnd`). Of fields with the same name the first counts. */
function decodeValue(bytes: Arena, type: number, at: number, end: number, depth = 0): DocumentValue {
  switch (type) {
    case BsonType.double:
      return { kind: 'double', value: float64(bytes, at) }
    case BsonType.string:
      return { kind: 'string', value: readText(bytes, at + 4, end - 1) }
    case BsonType.object:
      return decodeObject(bytes, at, end, depth)
    case BsonType.array:
      return decodeArray(bytes, at, end, depth)
    case BsonType.binary:
      return {
        kind: 'binary',
        value: Uint8Array.from(bytes.subarray(binaryStart(bytes, at, end), end)),
        subtype: binarySubtype(bytes, at),
      }
    case BsonType.objectId:
      return { kind: 'objectId', value: bytes.toString('hex', at, end) }
    case BsonType.bool:
      return { kind: 'bool', value: bytes[at] !== 0 }
    case BsonType.date:
      return { kind: 'date', value: int64(bytes, at) }
    case BsonType.null:
    case BsonType.undefined:
      return { kind: 'null' }
    case BsonType.int32:
      return { kind: 'int', value: int32(bytes, at) }
    case BsonType.int64:
      return { kind: 'long', value: int64(bytes, at) }
    case BsonType.timestamp:
      return { kind: 'timestamp', value: BigInt.asUintN(64, int64(bytes, at)) }
    case BsonType.decimal128:
      return { kind: 'decimal', value: decimal.read(bytes, at).toString() }
    default:
      return decodeRare(bytes, type, at, end, depth)
  }
}

/** What has no kind of its own is the object that Extended JSON makes of it, so that JSON shows the same. */
function decodeRare(bytes: Arena, type: number, at: number, end: number, depth: number): DocumentValue {
  switch (type) {
    case BsonType.regex: {
      const options = nameEnd(bytes, at, end) + 1
      return {
        kind: 'regex',
        value: readText(bytes, at, options - 1),
        options: readText(bytes, options, end - 1),
      }
    }
    case BsonType.code:
      return { kind: 'code', value: readText(bytes, at + 4, end - 1) }
    case BsonType.symbol:
      return { kind: 'symbol', value: readText(bytes, at + 4, end - 1) }
    case BsonType.codeWithScope: {
      const scope = at + 8 + int32(bytes, at + 4)
      const code: DocumentValue = { kind: 'string', value: readText(bytes, at + 8, scope - 1) }
      return objectOf({ $code: code, $scope: decodeObject(bytes, scope, end, depth) })
    }
    case BsonType.dbPointer: {
      const collection: DocumentValue = { kind: 'string', value: readText(bytes, at + 4, end - 13) }
      const id: DocumentValue = { kind: 'objectId', value: bytes.toString('hex', end - 12, end) }
      return objectOf({ $dbPointer: objectOf({ $ref: collection, $id: id }) })
    }
    case BsonType.minKey:
      return { kind: 'minKey' }
    case BsonType.maxKey:
      return { kind: 'maxKey' }
    default:
      throw malformed('a value has an unknown type')
  }
}

function objectOf(fields: Readonly<Record<string, DocumentValue>>): DocumentValue {
  return { kind: 'object', value: new Map(Object.entries(fields)) }
}

function decodeObject(bytes: Arena, at: number, limit: number, depth: number): ObjectValue {
  if (depth > DEPTH_MAX) throw malformed('it is nested too deeply')
  const last = documentLast(bytes, at, limit)
  const fields = new Map<string, DocumentValue>()
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const value = nameEnd(bytes, at + 1, last) + 1
    const end = valueEnd(bytes, type, value, last)
    const name = readText(bytes, at + 1, value - 1)
    if (!fields.has(name)) fields.set(name, decodeValue(bytes, type, value, end, depth + 1))
    at = end
  }
  return { kind: 'object', value: fields }
}

function decodeArray(bytes: Arena, at: number, limit: number, depth: number): DocumentValue {
  if (depth > DEPTH_MAX) throw malformed('it is nested too deeply')
  const last = documentLast(bytes, at, limit)
  const items: DocumentValue[] = []
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const value = nameEnd(bytes, at + 1, last) + 1
    const end = valueEnd(bytes, type, value, last)
    items.push(decodeValue(bytes, type, value, end, depth + 1))
    at = end
  }
  return { kind: 'array', value: items }
}
