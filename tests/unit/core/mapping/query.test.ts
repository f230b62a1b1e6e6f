import { describe, expect, it } from 'vitest'
import { compileQuery } from '../../../../src/core/mapping/query/query.ts'
import type { Json } from '../../../../src/core/position.ts'
import { matches } from '../../../support/documents.ts'

const HEX = '507f1f77bcf86cd799439011'
const date = (text: string): Json => ({ $date: text })

interface Example {
  readonly query: Json
  readonly yes: readonly Json[]
  readonly no: readonly Json[]
}

/** By operator: documents that match and documents that do not. */
const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  equality: [
    { query: {}, yes: [{}, { a: 1 }], no: [] },
    {
      query: { a: 1 },
      yes: [
        { a: 1 },
        { a: { $numberLong: '1' } },
        { a: { $numberDouble: '1.0' } },
        { a: { $numberDecimal: '1.00' } },
      ],
      no: [{}, { a: '1' }, { a: true }, { a: 1.5 }, { a: null }, { a: { b: 1 } }],
    },
    {
      query: { a: 'x' },
      yes: [{ a: 'x' }, { a: ['y', 'x'] }, { a: { $symbol: 'x' } }],
      no: [{ a: 'X' }, { a: [['x']] }],
    },
    { query: { a: true }, yes: [{ a: true }], no: [{ a: 1 }, { a: false }, {}] },
    // "Query for Null or Missing Fields".
    { query: { a: null }, yes: [{}, { a: null }, { a: [1, null] }], no: [{ a: 0 }, { a: '' }, { a: [] }] },
    // "Match an Embedded/Nested Document": the whole, in its order.
    {
      query: { size: { h: 14, w: 21 } },
      yes: [{ size: { h: 14, w: 21 } }, { size: [{ h: 14, w: 21 }] }],
      no: [{ size: { w: 21, h: 14 } }, { size: { h: 14 } }, { size: { h: 14, w: 21, u: 'cm' } }],
    },
    // "Match an Array": the whole, in its order, or as an element.
    {
      query: { tags: ['red', 'blank'] },
      yes: [{ tags: ['red', 'blank'] }, { tags: [['red', 'blank']] }],
      no: [{ tags: ['blank', 'red'] }, { tags: ['red'] }, { tags: ['red', 'blank', 'plain'] }],
    },
    {
      query: { a: { $ref: 'c', $id: 1 } },
      yes: [{ a: { $ref: 'c', $id: 1 } }],
      no: [{ a: { $ref: 'c', $id: 2 } }],
    },
    { query: { 'a.$id': 1 }, yes: [{ a: { $ref: 'c', $id: 1 } }], no: [{ a: { $ref: 'c', $id: 2 } }] },
    { query: { a: { $oid: HEX } }, yes: [{ a: { $oid: HEX } }], no: [{ a: HEX }] },
    {
      query: { a: date('2020-01-01') },
      yes: [{ a: date('2020-01-01T01:00+01:00') }],
      no: [{ a: 1577836800000 }],
    },
    {
      query: { a: { $uuid: '00112233-4455-6677-8899-aabbccddeeff' } },
      yes: [{ a: { $binary: { base64: 'ABEiM0RVZneImaq7zN3u/w==', subType: '04' } } }],
      no: [{ a: { $binary: { base64: 'ABEiM0RVZneImaq7zN3u/w==', subType: '00' } } }],
    },
    // "NumberDecimal: Equality": the double 9.99 is not the decimal 9.99.
    {
      query: { a: { $numberDecimal: '9.99' } },
      yes: [{ a: { $numberDecimal: '9.990' } }],
      no: [{ a: 9.99 }],
    },
    { query: { a: 9.99 }, yes: [{ a: 9.99 }], no: [{ a: { $numberDecimal: '9.99' } }] },
    { query: { a: { $numberDouble: 'NaN' } }, yes: [{ a: { $numberDecimal: 'NaN' } }], no: [{ a: 0 }, {}] },
  ],
  paths: [
    {
      query: { 'a.b': 1 },
      yes: [{ a: { b: 1 } }, { a: [{ b: 2 }, { b: [1] }] }],
      no: [{ a: 1 }, { 'a.b': 1 }, { a: [[{ b: 1 }]] }],
    },
    {
      query: { 'a.0': 1 },
      yes: [{ a: [1, 2] }, { a: { 0: 1 } }, { a: [5, { 0: 1 }] }],
      no: [{ a: [2, 1] }, { a: [[1]] }],
    },
    { query: { 'a.0': [1] }, yes: [{ a: [[1]] }], no: [{ a: [1] }] },
    { query: { 'a.1.b': 1 }, yes: [{ a: [0, { b: 1 }] }], no: [{ a: [{ b: 1 }, 0] }] },
    { query: { 'a.0.0.b': 1 }, yes: [{ a: [[{ b: 1 }]] }], no: [{ a: [{ b: 1 }] }] },
    {
      query: { 'a.b': null },
      yes: [{}, { a: 1 }, { a: null }, { a: {} }, { a: [{ b: 1 }, {}] }],
      no: [{ a: { b: 1 } }, { a: [] }, { a: [1] }, { a: [{ b: 1 }] }],
    },
    // A name that another object gives to all objects.
    { query: { constructor: null }, yes: [{}], no: [{ constructor: 1 }] },
  ],
  $eq: [
    { query: { a: { $eq: 'x' } }, yes: [{ a: 'x' }, { a: ['x'] }], no: [{ a: 'y' }] },
    // "Match using a regular expression": $eq asks for the expression itself.
    {
      query: { a: { $eq: { $regularExpression: { pattern: 'x', options: 'i' } } } },
      yes: [{ a: { $regularExpression: { pattern: 'x', options: 'i' } } }],
      no: [{ a: 'x' }],
    },
  ],
  $ne: [
    { query: { a: { $ne: 1 } }, yes: [{}, { a: null }, { a: 2 }, { a: '1' }], no: [{ a: 1 }, { a: [1, 2] }] },
  ],
  '$gt $gte $lt $lte': [
    {
      query: { a: { $gt: 1 } },
      yes: [{ a: 2 }, { a: [0, 2] }, { a: { $numberDecimal: '1.1' } }],
      no: [{ a: 1 }, { a: '2' }, {}, { a: null }],
    },
    {
      query: { a: { $gte: 1, $lt: 5 } },
      yes: [{ a: 1 }, { a: [0, 9] }],
      no: [{ a: 5 }, { a: 10 }, { a: 0 }],
    },
    { query: { a: { $lte: 'b' } }, yes: [{ a: 'a' }, { a: 'b' }, { a: '' }], no: [{ a: 'c' }, { a: 1 }] },
    // By bytes of UTF-8.
    { query: { a: { $gt: '\u{ffff}' } }, yes: [{ a: '\u{10000}' }], no: [{ a: 'z' }] },
    {
      query: { a: { $lt: date('2020-01-01') } },
      yes: [{ a: date('2019-12-31') }],
      no: [{ a: 0 }, { a: date('2020-01-01') }],
    },
    { query: { a: { $gte: null } }, yes: [{}, { a: null }], no: [{ a: 1 }] },
    { query: { a: { $gt: null } }, yes: [], no: [{}, { a: null }, { a: 1 }] },
    {
      query: { a: { $lte: { $numberDouble: 'NaN' } } },
      yes: [{ a: { $numberDouble: 'NaN' } }],
      no: [{ a: 1 }, {}],
    },
    {
      query: { a: { $gte: { $numberDouble: 'Infinity' } } },
      yes: [{ a: { $numberDouble: 'Infinity' } }, { a: { $numberDecimal: 'Infinity' } }],
      no: [{ a: 1 }, { a: { $numberDouble: 'NaN' } }, { a: { $numberDecimal: 'NaN' } }],
    },
    { query: { a: { $lt: 1 } }, yes: [{ a: 0 }], no: [{ a: { $numberDouble: 'NaN' } }] },
    { query: { a: { $gt: [1, 2] } }, yes: [{ a: [1, 3] }, { a: [[1, 3]] }], no: [{ a: [1, 2] }, { a: 5 }] },
    { query: { a: { $gt: { b: 1 } } }, yes: [{ a: { b: 2 } }], no: [{ a: { b: 1 } }, { a: 2 }] },
    { query: { a: { $gt: { $minKey: 1 } } }, yes: [{ a: 1 }, { a: 'x' }], no: [{ a: { $minKey: 1 } }] },
    {
      query: { a: { $gt: { $numberLong: '9007199254740992' } } },
      yes: [{ a: { $numberLong: '9007199254740993' } }],
      no: [{ a: { $numberDouble: '9007199254740992' } }],
    },
  ],
  '$in $nin': [
    {
      query: { a: { $in: ['x', 1, null] } },
      yes: [{ a: 'x' }, { a: 1 }, {}, { a: ['y', 'x'] }],
      no: [{ a: 'y' }],
    },
    {
      query: { a: { $in: [{ $regularExpression: { pattern: '^be', options: '' } }] } },
      yes: [{ a: 'best' }],
      no: [{ a: 'abe' }],
    },
    { query: { a: { $in: [{ $oid: HEX }, [1]] } }, yes: [{ a: { $oid: HEX } }, { a: [1] }], no: [{ a: 1 }] },
    { query: { a: { $in: [] } }, yes: [], no: [{}, { a: null }] },
    {
      query: { a: { $nin: ['x', null] } },
      yes: [{ a: 1 }, { a: [] }],
      no: [{ a: 'x' }, {}, { a: ['x', 1] }],
    },
  ],
  $exists: [
    { query: { a: { $exists: true } }, yes: [{ a: null }, { a: [] }], no: [{}] },
    {
      query: { 'a.b': { $exists: false } },
      yes: [{}, { a: [] }, { a: [{}] }],
      no: [{ a: [{}, { b: null }] }],
    },
  ],
  $type: [
    {
      query: { a: { $type: 'number' } },
      yes: [{ a: 1 }, { a: 1.5 }, { a: ['x', 1] }, { a: { $numberDecimal: '1' } }],
      no: [{ a: '1' }, {}],
    },
    { query: { a: { $type: 'array' } }, yes: [{ a: [] }, { a: [1] }], no: [{ a: 1 }] },
    { query: { a: { $type: ['string', 10] } }, yes: [{ a: 'x' }, { a: null }], no: [{}, { a: 1 }] },
  ],
  $regex: [
    {
      query: { a: { $regex: '^ab' } },
      yes: [{ a: 'abc' }, { a: ['x', 'abd'] }],
      no: [{ a: 'cab' }, { a: 1 }, {}],
    },
    { query: { a: { $regex: 'AB', $options: 'i' } }, yes: [{ a: 'cabd' }], no: [{ a: 'a' }] },
    {
      query: { a: { $regularExpression: { pattern: 'b$', options: '' } } },
      yes: [{ a: 'ab' }],
      no: [{ a: 'ba' }],
    },
    { query: { a: { $regex: '^S', $options: 'm' } }, yes: [{ a: 'First\nSecond' }], no: [{ a: 'First' }] },
  ],
  $not: [
    { query: { a: { $not: { $gt: 1.99 } } }, yes: [{ a: 1 }, {}, { a: 'x' }], no: [{ a: 2 }, { a: [1, 3] }] },
    {
      query: { a: { $not: { $regularExpression: { pattern: '^p', options: '' } } } },
      yes: [{ a: 'q' }, {}],
      no: [{ a: 'pq' }],
    },
    { query: { a: { $not: { $gte: 1, $lt: 5 } } }, yes: [{ a: 5 }, { a: 0 }], no: [{ a: 1 }] },
  ],
  $all: [
    { query: { a: { $all: ['x', 'y'] } }, yes: [{ a: ['y', 'z', 'x'] }], no: [{ a: ['x'] }, { a: 'x' }] },
    { query: { a: { $all: ['x'] } }, yes: [{ a: 'x' }, { a: ['x'] }], no: [{}] },
    {
      query: { a: { $all: [['x', 'y']] } },
      yes: [{ a: ['x', 'y'] }, { a: [['x', 'y']] }],
      no: [{ a: ['y', 'x'] }],
    },
    { query: { a: { $all: [] } }, yes: [], no: [{ a: [] }, {}] },
    {
      query: { a: { $all: [{ $elemMatch: { b: 1, c: 2 } }, { $elemMatch: { b: 2 } }] } },
      yes: [{ a: [{ b: 2 }, { b: 1, c: 2 }] }],
      no: [{ a: [{ b: 1, c: 2 }] }, { a: [{ b: 1 }, { c: 2 }, { b: 2 }] }],
    },
  ],
  $size: [
    { query: { a: { $size: 2 } }, yes: [{ a: [1, 2] }], no: [{ a: [1] }, { a: 2 }, {}, { a: [[1, 2]] }] },
  ],
  $elemMatch: [
    {
      query: { a: { $elemMatch: { $gte: 80, $lt: 85 } } },
      yes: [{ a: [82, 90] }],
      no: [{ a: [75, 88] }, { a: 82 }, {}],
    },
    {
      query: { a: { $elemMatch: { b: 'x', c: { $gte: 8 } } } },
      yes: [{ a: [{ b: 'y' }, { b: 'x', c: 8 }] }],
      no: [
        {
          a: [
            { b: 'x', c: 7 },
            { b: 'y', c: 8 },
          ],
        },
        { a: { b: 'x', c: 8 } },
      ],
    },
    {
      query: { a: { $elemMatch: { $or: [{ b: 1 }, { c: 1 }] } } },
      yes: [{ a: [{ c: 1 }] }],
      no: [{ a: [{ d: 1 }] }],
    },
    { query: { a: { $elemMatch: { $elemMatch: { $gt: 1 } } } }, yes: [{ a: [[1], [2]] }], no: [{ a: [2] }] },
    { query: { a: { $elemMatch: { $not: { $gt: 1 } } } }, yes: [{ a: [2, 1] }], no: [{ a: [2] }, { a: [] }] },
    {
      query: { 'a.b': { $elemMatch: { $ne: 1 } } },
      yes: [{ a: [{ b: [1, 2] }] }],
      no: [{ a: [{ b: [1] }] }],
    },
  ],
  $mod: [
    {
      query: { a: { $mod: [4, 0] } },
      yes: [{ a: 8 }, { a: 4.5 }, { a: { $numberDecimal: '12.9' } }, { a: { $numberLong: '12' } }],
      no: [{ a: 3 }, { a: '4' }, {}],
    },
    { query: { a: { $mod: [3, -2] } }, yes: [{ a: -5 }], no: [{ a: 5 }, { a: { $numberDouble: 'NaN' } }] },
  ],
  '$and $or $nor': [
    { query: { $and: [{ a: 1 }, { b: 2 }] }, yes: [{ a: 1, b: 2 }], no: [{ a: 1 }, { b: 2 }] },
    { query: { $or: [{ a: 1 }, { b: 2 }] }, yes: [{ a: 1 }, { b: 2 }], no: [{}, { a: 2 }] },
    { query: { $nor: [{ a: 1 }, { b: 2 }] }, yes: [{}, { a: 2 }], no: [{ a: 1 }, { b: 2 }] },
    {
      query: { c: 3, $or: [{ a: 1 }, { a: 2 }], $comment: 'why' },
      yes: [{ a: 2, c: 3 }],
      no: [{ a: 2 }, { c: 3 }],
    },
  ],
  $expr: [
    {
      query: { $expr: { $gt: ['$spent', '$budget'] } },
      yes: [{ spent: 450, budget: 400 }],
      no: [{ spent: 1, budget: 2 }],
    },
    // Types compare by their order, and a missing field is below all numbers.
    { query: { $expr: { $gt: ['$a', 1] } }, yes: [{ a: 'x' }], no: [{}, { a: null }, { a: 1 }] },
    {
      query: { $expr: '$a' },
      yes: [{ a: 'x' }, { a: [] }, { a: -1 }],
      no: [{}, { a: null }, { a: false }, { a: 0 }],
    },
  ],
}

describe('filters', () => {
  for (const [operator, examples] of Object.entries(EXAMPLES)) {
    describe(`by ${operator}`, () => {
      const cases = examples.flatMap(({ query, yes, no }) => [
        ...yes.map((document) => [query, document, true] as const),
        ...no.map((document) => [query, document, false] as const),
      ])
      it.each(cases)('%j of %j is %s', (query, document, expected) => {
        expect(matches(query, document)).toBe(expected)
      })
    })
  }

  it('finds every mistake, each with its path and the name that was meant, and no value', () => {
    const query: Json = {
      $where: 'secret',
      $not: { a: 1 },
      $gt: 1,
      $annd: [{ a: 1 }],
      $or: [{ b: { $gtt: 'secret' } }, 3],
      $and: [],
      'a..b': 1,
      $expr: { $subtrac: [1] },
      c: {
        $in: 'secret',
        $size: -1,
        $mod: [0, 1],
        $regex: '(?>secret)',
        $not: 'secret',
        $elemMatch: 1,
        $all: [{ $elemMatch: { $expr: true } }],
        $type: 'strin',
        $exists: 'secret',
        $and: [],
        $ne: { $regularExpression: { pattern: 'secret', options: '' } },
      },
      d: { $options: 'i' },
      e: { $oid: 'secret' },
      f: 2 ** 53,
      g: { h: { $dat: 'secret' } },
      i: { $gt: { $date: 'secret' } },
    }
    const { mistakes } = compileQuery(query)
    expect(mistakes!.map(({ path, reason }) => `${path.join('/')}: ${reason}`)).toEqual([
      '$where: is JavaScript, which is not run; use $expr',
      '$not: stands under a field; for conditions use $nor',
      '$gt: stands under a field',
      '$annd: unknown operator, did you mean "$and"?',
      '$or/0/b/$gtt: unknown operator, did you mean "$gt"?',
      '$or/1: must be conditions by field, such as {"status": "open"}',
      '$and: must be a list of conditions, at least one',
      'a..b: has an empty name between its points',
      '$expr/$subtrac: unknown operator, did you mean "$subtract"?',
      'c/$in: must be a list of values',
      'c/$size: must be a whole number from 0',
      'c/$mod: must have a divisor that is not 0',
      'c/$regex: has a group of a kind that is not supported',
      'c/$not: must be operators, such as {"$gt": 1}; use $ne for a value',
      'c/$elemMatch: must be operators or conditions',
      'c/$all/0/$elemMatch/$expr: sees the whole document, and cannot stand in $elemMatch',
      'c/$type: unknown type, did you mean "string"?',
      'c/$exists: must be true or false',
      'c/$and: stands beside fields',
      'c/$ne: must not be a regular expression',
      'd/$options: stands beside $regex only',
      'e/$oid: must be 24 hex digits',
      'f: must be written as {"$numberLong": text} or {"$numberDouble": text}: JSON changes whole numbers beyond 2^53',
      'g/h/$dat: unknown type of value, did you mean "$date"?',
      'i/$gt/$date: must be a moment in ISO 8601, or {"$numberLong": milliseconds since 1970}',
    ])
    expect(JSON.stringify(mistakes)).not.toContain('secret')
  })

  it('lists what has to be read, without paths inside others', () => {
    const { predicate } = compileQuery({
      'a.b': 1,
      'a.b.c': 2,
      $or: [{ d: { $elemMatch: { e: 1 } } }, { 'f.0.g': 1 }],
      $expr: { $gt: ['$h.i', { $size: '$h.j' }] },
    })
    expect(predicate!.paths).toEqual([['d'], ['f'], ['a', 'b'], ['h', 'i'], ['h', 'j']])
  })

  it('reads no field that is not asked for', () => {
    const { predicate } = compileQuery({ a: 1, b: 2 })
    const asked: string[] = []
    const document = {
      field(name: string) {
        asked.push(name)
        return undefined
      },
      whole(): never {
        throw new Error('all of it was read')
      },
    }
    expect(predicate!.test(document)).toBe(false)
    expect(asked).toEqual(['a'])
  })
})
