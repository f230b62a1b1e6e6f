/** Writes BSON into a buffer that is used again and again: values that do not stand in a document as they are needed. */
import { isUtf8 } from 'node:buffer'
import type { DocumentValue } from '../../../../core/mapping/value.ts'
import { PoisonRecordError } from '../../../../core/error.ts'
import type { Arena } from '../../../../core/packed-rows.ts'
import { BsonType } from './bson.ts'
import { decimal128 } from './decimal128.ts'

const scratch = new Float64Array(1)
const scratchBytes = new Uint8Array(scratch.buffer)

export class BsonWriter {
  bytes = Buffer.allocUnsafeSlow(4096) as Arena
  used = 0

  reserve(count: number): void {
    if (this.used + count <= this.bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.used + count, this.bytes.length * 2)) as Arena
    this.bytes.copy(grown, 0, 0, this.used)
    this.bytes = grown
  }

  /** Starts a document or an array and returns where it does. */
  begin(): number {
    this.reserve(4)
    const start = this.used
    this.used += 4
    return start
  }

  end(start: number): void {
    this.reserve(1)
    this.bytes[this.used++] = 0
    this.#int32At(start, this.used - start)
  }

  /** An element with the bytes of another one. `name` may be empty inside an array, where nobody reads it. */
  copy(type: number, bytes: Buffer, at: number, end: number): void {
    this.reserve(end - at + 2)
    this.bytes[this.used++] = type
    this.bytes[this.used++] = 0
    bytes.copy(this.bytes, this.used, at, end)
    this.used += end - at
  }

  /** Starts an element and returns where its type has to be set once it is known. */
  element(name: string): number {
    this.reserve(1)
    const at = this.used++
    if (name.includes('\0')) throw unrepresentable('a field name with U+0000')
    this.#text(name)
    this.#byte(0)
    return at
  }

  /**
   * Writes the bytes of a value and returns its type. Throws `PoisonRecordError` `mongodb/unrepresentable` for what BSON
   * cannot hold.
   */
  value(value: DocumentValue): number {
    switch (value.kind) {
      case 'null':
        return BsonType.null
      case 'bool':
        this.#byte(value.value ? 1 : 0)
        return BsonType.bool
      case 'int':
        this.#int32(value.value)
        return BsonType.int32
      case 'long':
        this.#int64(value.value)
        return BsonType.int64
      case 'date':
        this.#int64(value.value)
        return BsonType.date
      case 'timestamp':
        this.#int64(value.value)
        return BsonType.timestamp
      case 'double':
        scratch[0] = value.value
        this.#raw(scratchBytes)
        return BsonType.double
      case 'decimal':
        this.#raw(decimal128(value.value))
        return BsonType.decimal128
      case 'string':
        this.#sizedText(value.value)
        return BsonType.string
      case 'code':
        this.#sizedText(value.value)
        return BsonType.code
      case 'symbol':
        this.#sizedText(value.value)
        return BsonType.symbol
      case 'object':
        this.#object(value.value)
        return BsonType.object
      case 'array':
        this.#array(value.value)
        return BsonType.array
      case 'binary':
        this.#binary(value.value, value.subtype)
        return BsonType.binary
      case 'objectId':
        this.#raw(Buffer.from(value.value, 'hex'))
        return BsonType.objectId
      case 'regex':
        this.#text(value.value)
        this.#byte(0)
        this.#text(value.options)
        this.#byte(0)
        return BsonType.regex
      case 'minKey':
        return BsonType.minKey
      case 'maxKey':
        return BsonType.maxKey
    }
  }

  #object(fields: ReadonlyMap<string, DocumentValue>): void {
    const start = this.begin()
    for (const [name, value] of fields) {
      const at = this.element(name)
      // Not in one statement: the value may need a larger buffer.
      const type = this.value(value)
      this.bytes[at] = type
    }
    this.end(start)
  }

  #array(items: readonly DocumentValue[]): void {
    const start = this.begin()
    for (const item of items) {
      const at = this.element('')
      const type = this.value(item)
      this.bytes[at] = type
    }
    this.end(start)
  }

  #binary(value: Uint8Array, subtype: number): void {
    const old = subtype === 2
    this.#int32(value.length + (old ? 4 : 0))
    this.#byte(subtype)
    if (old) this.#int32(value.length)
    this.#raw(value)
  }

  #sizedText(text: string): void {
    const start = this.used
    this.#int32(0)
    this.#text(text)
    this.#byte(0)
    this.#int32At(start, this.used - start - 4)
  }

  #text(text: string): void {
    if (!text.isWellFormed()) throw unrepresentable('a text with half a character')
    this.reserve(text.length * 3)
    this.used += this.bytes.write(text, this.used)
  }

  #raw(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.used)
    this.used += bytes.length
  }

  #byte(value: number): void {
    this.reserve(1)
    this.bytes[this.used++] = value
  }

  #int32(value: number): void {
    this.reserve(4)
    this.#int32At(this.used, value)
    this.used += 4
  }

  #int64(value: bigint): void {
    this.#int32(Number(BigInt.asIntN(32, value)))
    this.#int32(Number(BigInt.asIntN(32, value >> 32n)))
  }

  #int32At(at: number, value: number): void {
    this.bytes[at] = value
    this.bytes[at + 1] = value >> 8
    this.bytes[at + 2] = value >> 16
    this.bytes[at + 3] = value >> 24
  }
}

/** Text of a document; what is not UTF-8 must not become another text unseen. */
export function readText(bytes: Arena, at: number, end: number): string {
  const text = bytes.utf8Slice(at, end)
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(at, end)))
    throw unrepresentable('a text that is not UTF-8')
  return text
}

function unrepresentable(what: string): PoisonRecordError {
  return new PoisonRecordError('mongodb/unrepresentable', `a document holds ${what}`, {
    fix: 'Correct the document, or leave the field out of filters and expressions.',
  })
}
