import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { BsonWriter } from '../../../src/connectors/sources/mongodb/bson/bson-writer.ts'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { RawDocument } from '../../../src/connectors/sources/mongodb/bson/document.ts'
import { putJson } from '../../../src/connectors/sources/mongodb/bson/json.ts'
import type { DocumentValue } from '../../../src/core/mapping/value.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { seeded } from '../../support/random.ts'
import { bytesOf, NAMES, randomDocument, rawDocument } from './random-documents.ts'

function open(bytes: Arena): RawDocument {
  return new RawDocument().open(bytes, 0, bytes.length)
}

function extended(bytes: Arena): string {
  const out = new CellArena(0)
  putJson(out, bytes, BsonType.object, 0, bytes.length, 'extended')
  return out.arena.utf8Slice(0, out.used)
}

describe('a document that decodes on demand', () => {
  const random = seeded('lazy documents')

  it('has the fields that the driver reads, and no others', () => {
    const document = new RawDocument()
    for (let round = 0; round < 1000; round++) {
      const fields = randomDocument(random)
      const bytes = bytesOf(fields)
      document.open(bytes, 0, bytes.length)
      const whole = document.whole()
      expect([...whole.value.keys()]).toEqual(Object.keys(fields))
      for (const name of NAMES) {
        const value = document.field(name)
        expect(value !== undefined).toBe(Object.hasOwn(fields, name))
        expect(value).toEqual(whole.value.get(name))
        // Asked twice, the same.
        expect(document.field(name)).toBe(value)
      }
    }
  })

  it('comes back as the same bytes, up to the exponents of decimals', () => {
    const writer = new BsonWriter()
    for (let round = 0; round < 1000; round++) {
      const bytes = bytesOf(randomDocument(random))
      writer.used = 0
      expect(writer.value(open(bytes).whole())).toBe(BsonType.object)
      const again = Buffer.from(writer.bytes.subarray(0, writer.used)) as Arena
      expect(withoutDecimals(extended(again))).toBe(withoutDecimals(extended(bytes)))
      expect(open(again).whole()).toEqual(open(bytes).whole())
    }
  })

  it('comes back however large it is', () => {
    const writer = new BsonWriter()
    const fields = Object.fromEntries(
      Array.from({ length: 3000 }, (_, index) => [`n${index}`, { a: [`value ${index}`, index] }]),
    )
    const bytes = bytesOf(fields)
    writer.value(open(bytes).whole())
    expect(extended(Buffer.from(writer.bytes.subarray(0, writer.used)) as Arena)).toBe(extended(bytes))
  })

  it('decodes every type into its kind', () => {
    const value = (of: unknown): DocumentValue | undefined => open(bytesOf({ v: of })).field('v')
    expect(value(null)).toEqual({ kind: 'null' })
    expect(value(true)).toEqual({ kind: 'bool', value: true })
    expect(value(new BSON.Int32(-5))).toEqual({ kind: 'int', value: -5 })
    expect(value(BSON.Long.fromString('-9223372036854775808'))).toEqual({ kind: 'long', value: -(2n ** 63n) })
    expect(value(new BSON.Double(-0))).toEqual({ kind: 'double', value: -0 })
    expect(value(BSON.Decimal128.fromString('1E+3'))).toEqual({ kind: 'decimal', value: '1000' })
    expect(value('a\0ü')).toEqual({ kind: 'string', value: 'a\0ü' })
    expect(value(new Date(-5))).toEqual({ kind: 'date', value: -5n })
    expect(value(new BSON.Timestamp({ t: 2 ** 32 - 1, i: 3 }))).toEqual({
      kind: 'timestamp',
      value: ((2n ** 32n - 1n) << 32n) | 3n,
    })
    expect(value(new BSON.ObjectId('0123456789abcdef01234567'))).toEqual({
      kind: 'objectId',
      value: '0123456789abcdef01234567',
    })
    expect(value(new BSON.Binary(Buffer.from('ab'), 2))).toEqual({
      kind: 'binary',
      value: Uint8Array.of(97, 98),
      subtype: 2,
    })
    expect(value(new BSON.BSONRegExp('a', 'i'))).toEqual({ kind: 'regex', value: 'a', options: 'i' })
    expect(value(new BSON.Code('c'))).toEqual({ kind: 'code', value: 'c' })
    expect(value(new BSON.BSONSymbol('s'))).toEqual({ kind: 'symbol', value: 's' })
    expect(value(new BSON.MinKey())).toEqual({ kind: 'minKey' })
    expect(value(new BSON.MaxKey())).toEqual({ kind: 'maxKey' })
    expect(value([1, { a: 2 }])).toEqual({
      kind: 'array',
      value: [
        { kind: 'int', value: 1 },
        { kind: 'object', value: new Map([['a', { kind: 'int', value: 2 }]]) },
      ],
    })
    expect(open(rawDocument(BsonType.undefined, new Uint8Array())).field('v')).toEqual({ kind: 'null' })
  })

  it('shows what has no kind as the object that Extended JSON makes of it', () => {
    const writer = new BsonWriter()
    const pointer = rawDocument(
      BsonType.dbPointer,
      Buffer.concat([Buffer.from('\x02\0\0\0c\0'), Buffer.alloc(12, 0xab)]),
    )
    const code = bytesOf({ v: new BSON.Code('y', { y: new BSON.Int32(1) }) })
    for (const bytes of [pointer, code]) {
      writer.used = 0
      writer.value(open(bytes).whole())
      expect(extended(Buffer.from(writer.bytes.subarray(0, writer.used)) as Arena)).toBe(extended(bytes))
    }
  })

  it('takes the first of fields with the same name', () => {
    const one = Buffer.from('\x10a\0\x01\0\0\0', 'latin1')
    const two = Buffer.from('\x10a\0\x02\0\0\0', 'latin1')
    const bytes = Buffer.concat([Buffer.alloc(4), one, two, Buffer.alloc(1)]) as Arena
    bytes.writeInt32LE(bytes.length)
    expect(open(bytes).field('a')).toEqual({ kind: 'int', value: 1 })
    expect(open(bytes).whole().value).toEqual(new Map([['a', { kind: 'int', value: 1 }]]))
  })

  it('refuses text that is not UTF-8, rather than showing another one', () => {
    const bytes = rawDocument(BsonType.string, Buffer.from('\x03\0\0\0a\xff\0', 'latin1'))
    expect(() => open(bytes).field('v')).toThrow(expect.objectContaining({ code: 'mongodb/unrepresentable' }))
    const replaced = bytesOf({ v: 'a\ufffd' })
    expect(open(replaced).field('v')).toEqual({ kind: 'string', value: 'a\ufffd' })
  })

  it('is not written with half a character or a name that BSON cannot hold', () => {
    const string = (value: string): DocumentValue => ({ kind: 'string', value })
    const refused = expect.objectContaining({ code: 'mongodb/unrepresentable' })
    expect(() => new BsonWriter().value(string('\ud800'))).toThrow(refused)
    expect(() => new BsonWriter().value({ kind: 'object', value: new Map([['a\0b', string('')]]) })).toThrow(
      refused,
    )
    const digits = '1'.repeat(35)
    expect(() => new BsonWriter().value({ kind: 'decimal', value: digits })).toThrow(
      'a computed decimal has no form of 128 bits',
    )
  })
})

/** Of a decimal only its value is kept. */
function withoutDecimals(json: string): string {
  return json.replace(/"\$numberDecimal":"[^"]*"/g, '')
}
