import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { type JsonForm, putJson } from '../../../src/connectors/sources/mongodb/bson/json.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { seeded } from '../../support/random.ts'
import { bytesOf, randomDocument, rawDocument, valueBytes } from './random-documents.ts'

function json(
  form: JsonForm,
  bytes: Arena,
  type: number = BsonType.object,
  at = 0,
  end = bytes.length,
): string {
  const out = new CellArena(0)
  expect(putJson(out, bytes, type, at, end, form)).toBe(true)
  return out.arena.utf8Slice(0, out.used)
}

function jsonOf(form: JsonForm, value: unknown): string {
  const { bytes, type, at, end } = valueBytes(value)
  return json(form, bytes, type, at, end)
}

const { Binary, Code, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID } = BSON

describe('extended JSON', () => {
  const random = seeded('extended JSON')

  it('is what the driver says, byte for byte', () => {
    for (let round = 0; round < 2000; round++) {
      const fields = randomDocument(random)
      const known = BSON.deserialize(bytesOf(fields), { promoteValues: false, bsonRegExp: true })
      expect(json('extended', bytesOf(fields))).toBe(BSON.EJSON.stringify(known, { relaxed: false }))
    }
  })

  it('keeps what the driver drops or replaces', () => {
    const scope = '{"$code":"y","$scope":{"v":{"$undefined":true}}}'
    expect(json('extended', rawDocument(BsonType.undefined, new Uint8Array()))).toBe(
      '{"v":{"$undefined":true}}',
    )
    expect(json('extended', rawDocument(BsonType.symbol, Buffer.from('\x02\0\0\0s\0')))).toBe(
      '{"v":{"$symbol":"s"}}',
    )
    const pointer = Buffer.concat([Buffer.from('\x02\0\0\0c\0'), Buffer.alloc(12, 0xab)])
    expect(json('extended', rawDocument(BsonType.dbPointer, pointer))).toBe(
      `{"v":{"$dbPointer":{"$ref":"c","$id":{"$oid":"${'ab'.repeat(12)}"}}}}`,
    )
    const inner = rawDocument(BsonType.undefined, new Uint8Array())
    const code = Buffer.concat([Buffer.alloc(4), Buffer.from('\x02\0\0\0y\0'), inner])
    code.writeInt32LE(code.length)
    expect(json('extended', rawDocument(BsonType.codeWithScope, code))).toBe(`{"v":${scope}}`)
  })

  it('has dates beyond those of JavaScript', () => {
    const date = Buffer.alloc(8)
    date.writeBigInt64LE(2n ** 63n - 1n)
    expect(json('extended', rawDocument(BsonType.date, date))).toBe(
      '{"v":{"$date":{"$numberLong":"9223372036854775807"}}}',
    )
    expect(json('plain', rawDocument(BsonType.date, date))).toBe('{"v":"+292278994-08-17T07:12:55.807Z"}')
  })
})

describe('plain JSON', () => {
  it('is what JSON.stringify says of plain values', () => {
    const random = seeded('plain JSON')
    const value = (depth: number): unknown => {
      switch (random.below(depth > 3 ? 5 : 7)) {
        case 0:
          return null
        case 1:
          return random.chance(0.5)
        case 2:
          return random.below(2 ** 31) - 2 ** 30
        case 3:
          return (random.next() - 0.5) * 10 ** (random.below(40) - 20)
        case 4:
          return Array.from({ length: random.below(80) }, () =>
            String.fromCodePoint(
              random.pick([random.below(128), random.below(0xd800), 0x10000 + random.below(0xfffff)]),
            ),
          ).join('')
        case 5:
          return Array.from({ length: random.below(4) }, () => value(depth + 1))
        default:
          return Object.fromEntries(
            Array.from({ length: random.below(40) }, (_, index) => [
              `${'ab"ü\\'[index % 5]}${index}`,
              value(depth + 1),
            ]),
          )
      }
    }
    for (let round = 0; round < 400; round++) {
      const fields = { v: value(0), w: value(1) }
      expect(json('plain', bytesOf(fields))).toBe(JSON.stringify(fields))
    }
  })

  it('has text where JSON has no type, and digits where JSON has digits', () => {
    const plain: readonly (readonly [unknown, string])[] = [
      [new Date(1_700_000_000_123), '"2023-11-14T22:13:20.123Z"'],
      [new ObjectId('0123456789abcdef01234567'), '"0123456789abcdef01234567"'],
      [new UUID('00112233-4455-6677-8899-aabbccddeeff'), '"00112233-4455-6677-8899-aabbccddeeff"'],
      [new Binary(Buffer.from('hello')), '"aGVsbG8="'],
      [Decimal128.fromString('1.50E+3'), '"1500"'],
      [Decimal128.fromString('12.30'), '"12.30"'],
      [Decimal128.fromString('NaN'), '"NaN"'],
      [new Double(NaN), '"NaN"'],
      [new Double(-Infinity), '"-Infinity"'],
      [new Double(-0), '-0'],
      [new Double(1e21), '1e+21'],
      [new Double(3), '3'],
      [Long.fromString('9223372036854775807'), '9223372036854775807'],
      [new MinKey(), '{"$minKey":1}'],
      [new MaxKey(), '{"$maxKey":1}'],
      [new Timestamp({ t: 4294967295, i: 1 }), '{"$timestamp":{"t":4294967295,"i":1}}'],
      [new BSON.BSONRegExp('a/b', 'i'), '{"$regularExpression":{"pattern":"a/b","options":"i"}}'],
      [new Code('f()'), '{"$code":"f()"}'],
      [new BSON.BSONSymbol('s'), '"s"'],
      [{ a: [{ b: null }] }, '{"a":[{"b":null}]}'],
    ]
    for (const [value, text] of plain) expect(jsonOf('plain', value)).toBe(text)
  })

  it('takes the first of fields with the same name, however many there are', () => {
    for (const count of [2, 10, 30, 300]) {
      const names = Array.from({ length: count }, (_, index) => `n${index}`)
      const elements = [...names, ...names.toReversed(), ''].map((name, index) =>
        Buffer.concat([Uint8Array.of(BsonType.int32), Buffer.from(`${name}\0`), int32(index)]),
      )
      const again = Buffer.concat([Uint8Array.of(BsonType.bool, 0, 1)])
      const bytes = Buffer.concat([Buffer.alloc(4), ...elements, again, Buffer.alloc(1)]) as Arena
      bytes.writeInt32LE(bytes.length)
      const first = Object.fromEntries(names.map((name, index) => [name, index]))
      expect(json('plain', bytes)).toBe(JSON.stringify({ ...first, '': count * 2 }))
    }
  })

  it('shows all bytes of an old binary value whose inner length is not its length', () => {
    const broken = rawDocument(BsonType.binary, Buffer.from('0600000002030000006869', 'hex'))
    expect(json('plain', broken)).toBe(`{"v":"${Buffer.from('030000006869', 'hex').toString('base64')}"}`)
    const short = rawDocument(BsonType.binary, Buffer.from('02000000026869', 'hex'))
    expect(json('plain', short)).toBe('{"v":"aGk="}')
  })

  it('refuses text and names that are not UTF-8, wherever they are', () => {
    const text = Buffer.from('\x03\0\0\0a\xff\0', 'latin1')
    const inside = rawDocument(BsonType.string, text)
    for (const bytes of [inside, rawDocument(BsonType.object, inside), rawDocument(BsonType.array, inside)]) {
      expect(putJson(new CellArena(0), bytes, BsonType.object, 0, bytes.length, 'plain')).toBe(false)
    }
    const name = bytesOf({ a: 1 })
    name[5] = 0xff
    expect(putJson(new CellArena(0), name, BsonType.object, 0, name.length, 'plain')).toBe(false)
  })
})

describe('JSON in keys', () => {
  it('is equal for equal numbers of all types, and different for all that is different', () => {
    const equal = [
      [new Int32(1), Long.fromNumber(1), new Double(1), Decimal128.fromString('1.00')],
      [new Int32(0), new Double(-0), Decimal128.fromString('-0E+3')],
      [new Double(1e23), Decimal128.fromString('99999999999999991611392')],
      [new Double(2 ** 60), Long.fromBigInt(2n ** 60n)],
      [new Double(NaN), Decimal128.fromString('NaN')],
      ['1'],
      [new ObjectId('0123456789abcdef01234567')],
      ['0123456789abcdef01234567'],
      [new Date(1)],
      ['1970-01-01T00:00:00.001Z'],
      [new Binary(Buffer.from('a'))],
      [new Binary(Buffer.from('a'), 5)],
      ['YQ=='],
      [true],
      ['true'],
      [{ a: new Int32(1) }, { a: new Double(1) }],
      [{ a: '1' }],
    ]
    const texts = equal.map((values) => new Set(values.map((value) => jsonOf('key', value))))
    for (const set of texts) expect(set.size).toBe(1)
    expect(new Set(texts.flatMap((set) => [...set])).size).toBe(equal.length)
  })
})

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}
