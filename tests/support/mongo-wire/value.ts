import { BSON } from 'mongodb'

/** The type bytes of BSON. */
export const TYPE = {
  double: 1,
  string: 2,
  document: 3,
  array: 4,
  binary: 5,
  undefined: 6,
  objectId: 7,
  bool: 8,
  date: 9,
  null: 10,
  regex: 11,
  dbPointer: 12,
  code: 13,
  symbol: 14,
  codeWithScope: 15,
  int32: 16,
  timestamp: 17,
  int64: 18,
  decimal: 19,
  maxKey: 127,
  minKey: 255,
} as const

/** A BSON value that keeps its exact type and bytes, unlike what the driver's `BSON` makes of it. */
export type Value = Scalar | Doc | List

/** Any value but a document or an array: its type and the bytes that follow the name in a document. */
export class Scalar {
  readonly type: number
  readonly bytes: Buffer

  constructor(type: number, bytes: Buffer) {
    this.type = type
    this.bytes = bytes
  }
}

/** An ordered document that is never changed; `with` and `without` give another one. */
export class Doc {
  readonly type = TYPE.document
  #bytes: Buffer | null
  #fields: ReadonlyMap<string, Value> | null

  private constructor(bytes: Buffer | null, fields: ReadonlyMap<string, Value> | null) {
    this.#bytes = bytes
    this.#fields = fields
  }

  static readonly empty = Doc.of([])

  static parse(bytes: Buffer): Doc {
    return new Doc(bytes, null)
  }

  static of(fields: Iterable<readonly [string, Value]>): Doc {
    return new Doc(null, new Map(fields))
  }

  get fields(): ReadonlyMap<string, Value> {
    this.#fields ??= new Map(elements(this.#bytes!))
    return this.#fields
  }

  get bytes(): Buffer {
    this.#bytes ??= encode(this.#fields!)
    return this.#bytes
  }

  get(name: string): Value | undefined {
    return this.fields.get(name)
  }

  with(name: string, value: Value): Doc {
    return new Doc(null, new Map(this.fields).set(name, value))
  }

  without(name: string): Doc {
    const fields = new Map(this.fields)
    fields.delete(name)
    return new Doc(null, fields)
  }
}

export class List {
  readonly type = TYPE.array
  #bytes: Buffer | null
  #items: readonly Value[] | null

  private constructor(bytes: Buffer | null, items: readonly Value[] | null) {
    this.#bytes = bytes
    this.#items = items
  }

  static parse(bytes: Buffer): List {
    return new List(bytes, null)
  }

  static of(items: readonly Value[]): List {
    return new List(null, items)
  }

  get items(): readonly Value[] {
    this.#items ??= Array.from(elements(this.#bytes!), ([, value]) => value)
    return this.#items
  }

  get bytes(): Buffer {
    this.#bytes ??= encode(this.#items!.map((item, index) => [String(index), item] as const))
    return this.#bytes
  }
}

/** What `bson` takes for a document: names to values of JavaScript, of the driver or of this file; `undefined` is left out. */
export type Fields = { readonly [name: string]: unknown }

/** A document out of JavaScript: whole numbers become int32, bigints int64, buffers are taken as encoded documents. */
export function doc(fields: Fields): Doc {
  const entries: [string, Value][] = []
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) entries.push([name, valueOf(value)])
  return Doc.of(entries)
}

export function valueOf(value: unknown): Value {
  if (value instanceof Scalar || value instanceof Doc || value instanceof List) return value
  if (value === null) return NULL
  if (typeof value === 'string') return string(value)
  if (typeof value === 'boolean') return bool(value)
  if (typeof value === 'number')
    return Number.isInteger(value) && !Object.is(value, -0) ? whole(value) : double(value)
  if (typeof value === 'bigint') return int64(value)
  if (Array.isArray(value)) return List.of(value.map(valueOf))
  if (Buffer.isBuffer(value)) return Doc.parse(value)
  if (value instanceof Date) return date(BigInt(value.getTime()))
  if (typeof value === 'object' && '_bsontype' in value) {
    const bytes = Buffer.from(BSON.serialize({ v: value }))
    return elements(bytes).next().value![1]
  }
  return doc(value as Fields)
}

/** A document as the driver's `BSON` reads it. */
export function toJs(document: Doc): BSON.Document {
  return BSON.deserialize(document.bytes, { promoteValues: true, promoteLongs: true })
}

export function valueToJs(value: Value): unknown {
  return toJs(Doc.of([['v', value]]))['v']
}

export const NULL = new Scalar(TYPE.null, Buffer.alloc(0))
const TRUE = new Scalar(TYPE.bool, Buffer.of(1))
const FALSE = new Scalar(TYPE.bool, Buffer.of(0))

export function bool(value: boolean): Scalar {
  return value ? TRUE : FALSE
}

export function string(value: string): Scalar {
  const size = Buffer.byteLength(value)
  const bytes = Buffer.allocUnsafe(size + 5)
  bytes.writeInt32LE(size + 1, 0)
  bytes.write(value, 4)
  bytes[size + 4] = 0
  return new Scalar(TYPE.string, bytes)
}

export function int32(value: number): Scalar {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32LE(value)
  return new Scalar(TYPE.int32, bytes)
}

export function int64(value: bigint): Scalar {
  return new Scalar(TYPE.int64, signed(value))
}

export function double(value: number): Scalar {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleLE(value)
  return new Scalar(TYPE.double, bytes)
}

export function date(milliseconds: bigint): Scalar {
  return new Scalar(TYPE.date, signed(milliseconds))
}

/** A timestamp of the log: seconds in the upper half, the ordinal in the lower one. */
export function timestamp(value: bigint): Scalar {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64LE(value)
  return new Scalar(TYPE.timestamp, bytes)
}

export function binary(data: Uint8Array, subtype: number): Scalar {
  const bytes = Buffer.allocUnsafe(data.length + 5)
  bytes.writeInt32LE(data.length, 0)
  bytes[4] = subtype
  bytes.set(data, 5)
  return new Scalar(TYPE.binary, bytes)
}

function whole(value: number): Scalar {
  if (value >= -(2 ** 31) && value < 2 ** 31) return int32(value)
  return Number.isSafeInteger(value) ? int64(BigInt(value)) : double(value)
}

function signed(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigInt64LE(value)
  return bytes
}

/** The text of a string, symbol or code. */
export function textOf(value: Value | undefined): string | undefined {
  if (!(value instanceof Scalar)) return undefined
  if (value.type !== TYPE.string && value.type !== TYPE.symbol && value.type !== TYPE.code) return undefined
  return value.bytes.toString('utf8', 4, value.bytes.length - 1)
}

/** A number of any type but decimal, rounded to a double; decimals by their text. */
export function numberOf(value: Value | undefined): number | undefined {
  if (!(value instanceof Scalar)) return undefined
  switch (value.type) {
    case TYPE.int32:
      return value.bytes.readInt32LE()
    case TYPE.double:
      return value.bytes.readDoubleLE()
    case TYPE.int64:
      return Number(value.bytes.readBigInt64LE())
    case TYPE.decimal:
      return Number(new BSON.Decimal128(value.bytes).toString())
    default:
      return undefined
  }
}

/** The 8 bytes of an int64, date or timestamp. */
export function longOf(value: Value | undefined): bigint | undefined {
  if (!(value instanceof Scalar)) return undefined
  if (value.type === TYPE.int64 || value.type === TYPE.date) return value.bytes.readBigInt64LE()
  if (value.type === TYPE.timestamp) return value.bytes.readBigUInt64LE()
  if (value.type === TYPE.int32) return BigInt(value.bytes.readInt32LE())
  if (value.type === TYPE.double) return BigInt(Math.trunc(value.bytes.readDoubleLE()))
  return undefined
}

/** What the server takes for true in an option or an expression. */
export function isTrue(value: Value | undefined): boolean {
  if (value === undefined) return false
  if (!(value instanceof Scalar)) return true
  if (value.type === TYPE.bool) return value.bytes[0] === 1
  if (value.type === TYPE.null || value.type === TYPE.undefined) return false
  const number = numberOf(value)
  return number === undefined || number !== 0
}

export function isNumber(value: Value): boolean {
  return (
    value.type === TYPE.int32 ||
    value.type === TYPE.int64 ||
    value.type === TYPE.double ||
    value.type === TYPE.decimal
  )
}

function* elements(bytes: Buffer): Generator<readonly [string, Value]> {
  const end = bytes.readInt32LE(0) - 1
  let at = 4
  while (at < end) {
    const type = bytes[at]!
    const stop = bytes.indexOf(0, at + 1)
    const name = bytes.toString('utf8', at + 1, stop)
    at = stop + 1
    const size = sizeOf(type, bytes, at)
    const part = bytes.subarray(at, at + size)
    at += size
    if (type === TYPE.document) yield [name, Doc.parse(part)]
    else if (type === TYPE.array) yield [name, List.parse(part)]
    else yield [name, new Scalar(type, part)]
  }
}

function sizeOf(type: number, bytes: Buffer, at: number): number {
  switch (type) {
    case TYPE.double:
    case TYPE.date:
    case TYPE.timestamp:
    case TYPE.int64:
      return 8
    case TYPE.string:
    case TYPE.code:
    case TYPE.symbol:
      return 4 + bytes.readInt32LE(at)
    case TYPE.document:
    case TYPE.array:
    case TYPE.codeWithScope:
      return bytes.readInt32LE(at)
    case TYPE.binary:
      return 5 + bytes.readInt32LE(at)
    case TYPE.objectId:
      return 12
    case TYPE.bool:
      return 1
    case TYPE.int32:
      return 4
    case TYPE.decimal:
      return 16
    case TYPE.dbPointer:
      return 4 + bytes.readInt32LE(at) + 12
    case TYPE.regex: {
      const pattern = bytes.indexOf(0, at) + 1
      return bytes.indexOf(0, pattern) + 1 - at
    }
    default:
      // Null, undefined, and the smallest and the greatest key have no bytes.
      return 0
  }
}

function encode(fields: Iterable<readonly [string, Value]>): Buffer {
  const parts: Buffer[] = []
  let size = 5
  for (const [name, value] of fields) {
    const length = Buffer.byteLength(name)
    const head = Buffer.allocUnsafe(length + 2)
    head[0] = value.type
    head.write(name, 1)
    head[length + 1] = 0
    parts.push(head, value.bytes)
    size += head.length + value.bytes.length
  }
  const bytes = Buffer.allocUnsafe(size)
  bytes.writeInt32LE(size, 0)
  let at = 4
  for (const part of parts) at += part.copy(bytes, at)
  bytes[at] = 0
  return bytes
}
