import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { DocumentPacker, type PackerOptions } from '../../../src/connectors/sources/mongodb/packer/packer.ts'
import { PackTarget } from '../../../src/connectors/sources/mongodb/packer/packer-target.ts'
import { type CoreError, PoisonRecordError } from '../../../src/core/error.ts'
import { compileExpression } from '../../../src/core/mapping/expression/expression.ts'
import type { Expression, Predicate, TableMapping } from '../../../src/core/mapping/mapping.ts'
import { compileQuery } from '../../../src/core/mapping/query/query.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import type { Json } from '../../../src/core/position.ts'
import type { Random } from '../../support/random.ts'
import { seeded } from '../../support/random.ts'
import { type ColumnLine, mappingOf, type MappingLines, pathRule, unwind } from './mappings.ts'
import { bytesOf, type Fields, rawDocument } from './random-documents.ts'
import { Misfit, slowRows, textCell, type TextRow, textRows } from './slow-rows.ts'

const STOP: PackerOptions = { json: 'plain', misfits: 'stop' }
const NULLS: PackerOptions = { json: 'plain', misfits: 'null' }

function query(json: Json): Predicate {
  const { predicate, mistakes } = compileQuery(json)
  expect(mistakes).toBeNull()
  return predicate!
}

function expression(json: Json): Expression {
  const compiled = compileExpression(json)
  expect(compiled.mistakes).toBeNull()
  return compiled.expression!
}

function pack(packer: DocumentPacker, bytes: Arena, target = new PackTarget(0, 0, 0)): readonly TextRow[] {
  const first = target.rows.cellCount
  const count = packer.pack(bytes, 0, target)
  expect(target.rows.cellCount - first).toBe(count * packer.width)
  return textRows(target.rows, first, count, packer.width)
}

function rowsOf(lines: MappingLines, fields: Fields, options = STOP): readonly TextRow[] {
  return pack(new DocumentPacker(mappingOf(lines), options), bytesOf(fields))
}

const id = (hex: string) => new BSON.ObjectId(hex.repeat(24))

describe('a packed document', () => {
  it('has a cell per column, from nested fields too; what is missing is NULL as null is', () => {
    const columns = [
      { name: '_id', type: 'text' },
      { name: 'n', type: 'int32' },
      { name: 'author.name', type: 'text' },
      { name: 'author.age', type: 'int64' },
      { name: 'author', type: 'json' },
      { name: 'gone', type: 'text' },
      { name: 'none', type: 'json' },
    ]
    const fields = {
      _id: id('a'),
      x: 'unwanted',
      author: { age: BSON.Long.fromNumber(7), name: 'Ann' },
      none: null,
      n: 5,
    }
    expect(rowsOf({ columns }, fields)).toEqual([
      ['a'.repeat(24), '5', 'Ann', '7', '{"age":7,"name":"Ann"}', null, null],
    ])
  })

  it('has through an array the array of what its objects have', () => {
    const columns = [
      { name: '_id', type: 'int32' },
      { name: 'items.sku', type: 'array of text' },
      { name: 'items.parts.n', type: 'json' },
    ]
    const items = [
      { sku: 'a', parts: [{ n: 1 }, {}, { n: null }] },
      5,
      {},
      [{ sku: 'z' }],
      { sku: null },
      { sku: 'NULL', parts: { n: 2 } },
    ]
    expect(rowsOf({ columns }, { _id: 1, items })).toEqual([['1', '{a,NULL,"NULL"}', '[[1,null],2]']])
  })

  it('reads a number in a path as the name of a field, not as a place in an array', () => {
    const columns = [
      { name: '_id', type: 'int32' },
      { name: 'items.0', type: 'json' },
      { name: 'byYear.2024', type: 'int32' },
    ]
    const fields = { _id: 1, items: [[5], { 0: 'x' }], byYear: { 2024: 7 } }
    expect(rowsOf({ columns }, fields)).toEqual([['1', '["x"]', '7']])
  })

  it('takes the first of fields with the same name', () => {
    const element = (value: number) => Buffer.from(`\x10a\0${String.fromCharCode(value)}\0\0\0`, 'latin1')
    const bytes = Buffer.concat([Buffer.alloc(4), element(1), element(2), Buffer.alloc(1)]) as Arena
    bytes.writeInt32LE(bytes.length)
    const packer = new DocumentPacker(mappingOf({ columns: [{ name: 'a', type: 'int32' }] }), STOP)
    for (let time = 0; time < 3; time++) expect(pack(packer, bytes)).toEqual([['1']])
  })

  it('knows fields again in any order, among names that are never the same', () => {
    const columns = [
      { name: '_id', type: 'int32' },
      { name: 'b', type: 'int32' },
      { name: 'm.x', type: 'text' },
    ]
    const packer = new DocumentPacker(mappingOf({ columns }), STOP)
    for (let round = 0; round < 1000; round++) {
      const entries: [string, unknown][] = [
        ['_id', round],
        ['b', -round],
        [`own${round}`, 'x'.repeat(round % 9)],
        ['m', { [`k${round}`]: 1, x: `v${round}` }],
      ]
      const turned = entries.map((_, index) => entries[(index + round) % entries.length]!)
      expect(pack(packer, bytesOf(Object.fromEntries(turned)))).toEqual([
        [`${round}`, `${-round}`.replace('-0', '0'), `v${round}`],
      ])
    }
  })

  it('takes the whole document for the empty path', () => {
    const columns = [
      { name: '_id', type: 'int32' },
      { name: 'all', type: 'json', rule: pathRule([]) },
    ]
    expect(rowsOf({ columns }, { _id: 1, a: [true] })).toEqual([['1', '{"_id":1,"a":[true]}']])
  })

  it('has no row when the filter says no', () => {
    const lines = { columns: [{ name: '_id', type: 'int32' }], filter: query({ t: 'd' }) }
    expect(rowsOf(lines, { _id: 1, t: 'd' })).toEqual([['1']])
    expect(rowsOf(lines, { _id: 1, t: 'e' })).toEqual([])
  })

  it('has computed columns', () => {
    const columns = [
      { name: '_id', type: 'int32' },
      {
        name: 'full',
        type: 'text',
        rule: { kind: 'expression' as const, expression: expression({ $concat: ['$a', ' ', '$b'] }) },
      },
    ]
    expect(rowsOf({ columns }, { _id: 1, a: 'x', b: 'y' })).toEqual([['1', 'x y']])
    expect(rowsOf({ columns }, { _id: 1, a: 'x' })).toEqual([['1', null]])
  })

  it('is read wherever it lies in a reply', () => {
    const packer = new DocumentPacker(mappingOf({ columns: [{ name: '_id', type: 'int32' }] }), STOP)
    const document = bytesOf({ _id: 1 })
    const reply = Buffer.concat([Buffer.alloc(5, 0xff), document, document, Buffer.alloc(5, 0xff)]) as Arena
    const target = new PackTarget(0, 0, 0)
    packer.pack(reply, 5, target)
    packer.pack(reply, 5 + document.length, target)
    expect(textRows(target.rows, 0, 2, 1)).toEqual([['1'], ['1']])
  })
})

describe('an unwound array', () => {
  const columns = [
    { name: '_id', type: 'int32' },
    { name: 'items.sku', type: 'text' },
    { name: 'place', type: 'int64' },
    { name: 'note', type: 'text' },
  ]

  it('has one row per element, with its number and with what stands outside', () => {
    const lines = { columns, unwind: [unwind('items', { index: 'place' })] }
    expect(rowsOf(lines, { _id: 1, items: [{ sku: 'a' }, { sku: 'b' }, {}], note: 'n' })).toEqual([
      ['1', 'a', '0', 'n'],
      ['1', 'b', '1', 'n'],
      ['1', null, '2', 'n'],
    ])
  })

  it('has no row without elements, or one when that is asked for', () => {
    for (const items of [[], null, undefined]) {
      const fields = { _id: 1, ...(items === undefined ? {} : { items }) }
      expect(rowsOf({ columns, unwind: [unwind('items', { index: 'place' })] }, fields)).toEqual([])
      const keeps = { columns, unwind: [unwind('items', { index: 'place', keepsEmpty: true })] }
      expect(rowsOf(keeps, fields)).toEqual([['1', null, null, null]])
    }
  })

  it('reads a value that is no array as its only element', () => {
    const lines = { columns, unwind: [unwind('items', { index: 'place' })] }
    expect(rowsOf(lines, { _id: 1, items: { sku: 'a' } })).toEqual([['1', 'a', null, null]])
  })

  it('leaves out the elements that the filter behind it leaves out, misfits included', () => {
    const lines = {
      columns,
      unwind: [unwind('items')],
      elementFilter: query({ 'items.sku': { $type: 'string' } }),
    }
    expect(rowsOf(lines, { _id: 1, items: [{ sku: 'a' }, { sku: [5] }, { sku: 'b' }] })).toEqual([
      ['1', 'a', null, null],
      ['1', 'b', null, null],
    ])
  })

  it('may lie in the elements of another', () => {
    const lines = {
      columns: [
        { name: '_id', type: 'int32' },
        { name: 'a.n', type: 'int32' },
        { name: 'a.b', type: 'text' },
        { name: 'i', type: 'int32' },
        { name: 'j', type: 'int32' },
      ],
      unwind: [unwind('a', { index: 'i' }), unwind('a.b', { index: 'j' })],
    }
    expect(rowsOf(lines, { _id: 1, a: [{ n: 5, b: ['x', 'y'] }, { n: 6 }, { n: 7, b: ['z'] }] })).toEqual([
      ['1', '5', 'x', '0', '0'],
      ['1', '5', 'y', '0', '1'],
      ['1', '7', 'z', '2', '0'],
    ])
  })

  it('is seen with one element by a column that holds it', () => {
    const lines = {
      columns: [
        { name: '_id', type: 'int32' },
        { name: 'o', type: 'json' },
      ],
      unwind: [unwind('o.items')],
    }
    expect(rowsOf(lines, { _id: 1, o: { k: 1, items: ['a', 'b'] } })).toEqual([
      ['1', '{"k":1,"items":"a"}'],
      ['1', '{"k":1,"items":"b"}'],
    ])
  })
})

describe('packed rows of random documents', () => {
  const random = seeded('packer')

  it('are those that decoding everything gives', () => {
    let rows = 0
    let refused = 0
    for (let round = 0; round < 500; round++) {
      const mapping = randomMapping(random)
      const options = random.chance(0.5) ? STOP : NULLS
      const packer = new DocumentPacker(mapping, options)
      const target = new PackTarget(0, 0, 0)
      for (let count = 0; count < 12; count++) {
        const bytes = bytesOf(randomShape(random))
        const expected = outcome(() => slowRows(mapping, bytes, options.misfits))
        const got = outcome(() => pack(packer, bytes, target))
        expect(got).toEqual(expected)
        if (Array.isArray(got)) rows += got.length
        else refused++
      }
    }
    expect(rows).toBeGreaterThan(700)
    expect(refused).toBeGreaterThan(70)
  })
})

describe('a value that does not fit', () => {
  const columns = [
    { name: '_id', type: 'text' },
    { name: 'a.n', type: 'int8' },
  ]

  it('stops, and says where, of what type, and nothing of the value', () => {
    const attempt = () => rowsOf({ columns }, { _id: id('a'), a: { n: 4711 } })
    expect(attempt).toThrow(PoisonRecordError)
    expect(attempt).toThrow(
      `"a.n" in a document of collection "things" (_id ObjectId ${'a'.repeat(24)}) is of BSON type int32, and column "a.n" of shop.t, which is int8, cannot hold it exactly`,
    )
    expect(attempt).not.toThrow('4711')
    expect(() => rowsOf({ columns }, { _id: 'secret', a: { n: 4711 } })).not.toThrow('secret')
  })

  it('becomes NULL when that is chosen, and is counted', () => {
    const packer = new DocumentPacker(mappingOf({ columns }), NULLS)
    expect(pack(packer, bytesOf({ _id: 'x', a: { n: 4711 } }))).toEqual([['x', null]])
    expect(pack(packer, bytesOf({ _id: 'x', a: { n: 47 } }))).toEqual([['x', '47']])
    expect(packer.misfits).toBe(1)
  })

  it('stops where NULL is not possible, whatever is chosen', () => {
    const required = [
      { name: '_id', type: 'text' },
      { name: 'n', type: 'int8', nullable: false },
    ]
    for (const fields of [
      { _id: 'x', n: 4711 },
      { _id: 'x', n: null },
      { _id: 'x' },
      { n: 1 },
      { _id: null, n: 1 },
      { _id: { a: 1 }, n: 1 },
    ]) {
      expect(() => rowsOf({ columns: required }, fields, NULLS)).toThrow(
        expect.objectContaining({ code: 'mongodb/misfit' }),
      )
    }
  })

  it('leaves nothing behind in the arena', () => {
    const packer = new DocumentPacker(
      mappingOf({ columns: [...columns, { name: 'j', type: 'json' }] }),
      NULLS,
    )
    const broken = { a: 'x'.repeat(50), bad: new BSON.Binary(Buffer.from('')) }
    const bytes = bytesOf({ _id: 'x', j: [broken] })
    // The last text of the array loses its encoding.
    bytes[bytes.indexOf('xxxxx') + 3] = 0xff
    const target = new PackTarget(0, 0, 0)
    expect(pack(packer, bytes, target)).toEqual([['x', null, null]])
    expect(target.used).toBe(1)
  })

  it('is also a computed one', () => {
    const computed = [
      { name: '_id', type: 'text' },
      {
        name: 'n',
        type: 'int8',
        rule: { kind: 'expression' as const, expression: expression({ $add: ['$n', 1] }) },
      },
    ]
    expect(() => rowsOf({ columns: computed }, { _id: id('b'), n: 127 })).toThrow('(_id ObjectId bbbb')
    expect(() => rowsOf({ columns: computed }, { _id: 1, n: 'text' })).toThrow(
      expect.objectContaining({ code: 'mongodb/misfit' }),
    )
    expect(rowsOf({ columns: computed }, { _id: 1, n: 'text' }, NULLS)).toEqual([['1', null]])
  })
})

describe('keys', () => {
  it('are packed from the key of a document alone, with all other cells absent', () => {
    const columns = [
      { name: 'n', type: 'int32' },
      { name: '_id.a', type: 'text' },
      { name: '_id.b', type: 'int64' },
    ]
    const packer = new DocumentPacker(mappingOf({ columns, key: ['_id.b', '_id.a'] }), STOP)
    expect(packer.keyFromDocumentKey).toBe(true)
    const target = new PackTarget(0, 0, 0)
    const first = packer.packKey(bytesOf({ _id: { a: 'x', b: new BSON.Double(5) } }), 0, target)
    expect([0, 1, 2].map((column) => textCell(target.rows, first + column))).toEqual(['state -3', 'x', '5'])
    expect(() => packer.packKey(bytesOf({ _id: { a: 'x' } }), 0, target)).toThrow(
      expect.objectContaining({ code: 'mongodb/misfit' }),
    )
  })

  it('are computed from it too', () => {
    const columns = [
      {
        name: 'k',
        type: 'text',
        rule: { kind: 'expression' as const, expression: expression({ $concat: ['k', '$_id'] }) },
      },
    ]
    const packer = new DocumentPacker(mappingOf({ columns }), STOP)
    const target = new PackTarget(0, 0, 0)
    expect(textCell(target.rows, packer.packKey(bytesOf({ _id: 'x' }), 0, target))).toBe('kx')
  })

  it('are not known from it when they are made of something else, or of elements', () => {
    const fromKey = (lines: MappingLines, options = STOP) =>
      new DocumentPacker(mappingOf(lines), options).keyFromDocumentKey
    const columns = [
      { name: '_id', type: 'text' },
      { name: 'n', type: 'int32' },
    ]
    expect(fromKey({ columns })).toBe(true)
    expect(fromKey({ columns, key: ['_id', 'n'] })).toBe(false)
    expect(fromKey({ columns, key: ['_id', 'n'] }, { ...STOP, documentKey: ['_id', 'n'] })).toBe(true)
    expect(fromKey({ columns, unwind: [unwind('n')] })).toBe(false)
  })

  it('that differ in the collection and are equal in the table are told', () => {
    const mixed = (type: string, ...ids: unknown[]) => {
      const packer = new DocumentPacker(mappingOf({ columns: [{ name: '_id', type }] }), STOP)
      const target = new PackTarget()
      for (const value of ids) packer.pack(bytesOf({ _id: value }), 0, target)
      return codeOf(() => packer.checkKeys()) === 'mongodb/mixed-keys'
    }
    const { Decimal128, Double, Int32, Long, ObjectId, UUID, Binary } = BSON
    const oid = new ObjectId()
    expect(mixed('text', new Int32(1), Long.fromNumber(2), new Double(3.5), Decimal128.fromString('7'))).toBe(
      false,
    )
    expect(mixed('text', 'a', 'b')).toBe(false)
    expect(mixed('text', new Int32(1), '1')).toBe(true)
    expect(mixed('text', oid, oid.toHexString())).toBe(true)
    expect(mixed('text', new Double(0.1), Decimal128.fromString('0.1'))).toBe(true)
    expect(mixed('decimal', new Double(0.1), Decimal128.fromString('0.1'))).toBe(true)
    expect(mixed('int64', new Date(5), Long.fromNumber(5))).toBe(true)
    expect(mixed('bytes', oid, new Binary(oid.id))).toBe(true)
    expect(mixed('bytes', new Binary(oid.id, 5), new Binary(oid.id))).toBe(true)
    expect(mixed('text', new UUID(), new UUID().toHexString())).toBe(true)
    expect(mixed('text', true, 'true')).toBe(true)
    expect(mixed('json', oid, oid.toHexString(), new Int32(1), '1', true, 'true', { a: 1 })).toBe(false)
  })

  it('are remembered over a restart', () => {
    const lines = mappingOf({ columns: [{ name: '_id', type: 'text' }] })
    const before = new DocumentPacker(lines, STOP)
    const none = before.keyClasses
    before.pack(bytesOf({ _id: 1 }), 0, new PackTarget())
    const seen = before.keyClasses
    expect(seen).not.toBe(none)
    before.pack(bytesOf({ _id: 2 }), 0, new PackTarget())
    expect(before.keyClasses).toBe(seen)
    const after = new DocumentPacker(lines, STOP)
    after.noteKeyClasses(JSON.parse(JSON.stringify(seen)) as readonly number[])
    after.pack(bytesOf({ _id: '2' }), 0, new PackTarget())
    expect(() => after.checkKeys()).toThrow('(number, string)')
  })

  it('of equal numbers are equal, whatever their type', () => {
    const { Decimal128, Double, Int32, Long } = BSON
    for (const type of ['text', 'json', 'decimal', 'float64', 'int64']) {
      const columns = [{ name: '_id', type }]
      const texts = (values: unknown[]) =>
        new Set(values.map((value) => rowsOf({ columns }, { _id: value })[0]![0]))
      expect(texts([new Int32(1), new Double(1), Long.fromNumber(1), Decimal128.fromString('1.00')])).toEqual(
        new Set(['1']),
      )
      expect(texts([new Int32(0), new Double(-0), Decimal128.fromString('-0.0')])).toEqual(new Set(['0']))
      expect(
        texts([new Double(2 ** 60), Long.fromBigInt(2n ** 60n), Decimal128.fromString(String(2n ** 60n))])
          .size,
      ).toBe(1)
    }
  })
})

describe('a document that is none', () => {
  it('is an error of the connector', () => {
    const bytes = rawDocument(BsonType.string, Buffer.from('ffffff7f6100', 'hex'))
    expect(() => rowsOf({ columns: [{ name: 'v', type: 'text' }] }, {})).toThrow(PoisonRecordError)
    const packer = new DocumentPacker(mappingOf({ columns: [{ name: 'x', type: 'text' }] }), STOP)
    expect(() => packer.pack(bytes, 0, new PackTarget())).toThrow(
      expect.objectContaining({ code: 'mongodb/malformed-bson' }),
    )
  })
})

/** Of the error; null when there is none. */
function codeOf(check: () => void): string | null {
  try {
    check()
    return null
  } catch (error) {
    return (error as CoreError).code
  }
}

function outcome(rows: () => readonly TextRow[]): readonly TextRow[] | 'refused' {
  try {
    return rows()
  } catch (error) {
    if (error instanceof Misfit || error instanceof PoisonRecordError) return 'refused'
    throw error
  }
}

const NAMES = ['a', 'b', 'c'] as const

/** Documents of few names, so that paths meet objects, arrays of objects, and values in all places. */
function randomShape(random: Random): Fields {
  const fields: Fields = random.chance(0.9) ? { _id: random.below(100) } : {}
  for (const name of NAMES) if (random.chance(0.8)) fields[name] = randomInside(random, 0)
  return random.chance(0.5) ? fields : Object.fromEntries(Object.entries(fields).toReversed())
}

function randomInside(random: Random, depth: number): unknown {
  const kind = random.below(depth > 3 ? 4 : 9)
  if (kind === 0) return null
  if (kind === 1) return random.below(300)
  if (kind === 2) return `t${random.below(10)}`
  if (kind === 3) return new BSON.Double(random.below(1000) / 8)
  if (kind < 6) return Array.from({ length: random.below(4) }, () => randomInside(random, depth + 1))
  const fields: Fields = {}
  for (const name of NAMES) if (random.chance(0.6)) fields[name] = randomInside(random, depth + 1)
  return fields
}

const TYPES = ['text', 'json', 'json', 'int64', 'float64', 'array of text', 'array of json', 'array of int64']

function randomMapping(random: Random): TableMapping {
  const path = (): readonly string[] => Array.from({ length: 1 + random.below(3) }, () => random.pick(NAMES))
  const unwinds = Array.from({ length: random.chance(0.5) ? 1 + random.below(2) : 0 }, (_, index) => ({
    path: path(),
    indexField: random.chance(0.5) ? random.pick([`i${index}`, 'i', 'c']) : null,
    keepsEmpty: random.chance(0.5),
  }))
  const columns: ColumnLine[] = [{ name: '_id', type: 'int64' }]
  for (let index = 0; index < 1 + random.below(6); index++) {
    const kind = random.below(10)
    const rule =
      kind === 0
        ? ({ kind: 'expression', expression: expression(`$${path().join('.')}`) } as const)
        : pathRule(kind === 1 ? [random.pick(['i0', 'i1', 'i'])] : kind === 2 ? [] : path())
    columns.push({ name: `c${index}`, type: random.pick(TYPES), rule, nullable: random.chance(0.95) })
  }
  const condition = (): Predicate => query({ [path().join('.')]: { $exists: true } })
  return mappingOf({
    columns,
    unwind: unwinds,
    filter: random.chance(0.2) ? condition() : null,
    elementFilter: unwinds.length > 0 && random.chance(0.4) ? condition() : null,
  })
}
