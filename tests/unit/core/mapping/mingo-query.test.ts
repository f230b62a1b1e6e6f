/**
 * Filters against mingo, an independent implementation of the query language, on random documents. Where it contradicts
 * MongoDB's manual the manual holds: the table below has every such case that was met, and the random queries keep
 * clear of them.
 */
import { Query } from 'mingo'
import { describe, expect, it } from 'vitest'
import type { Json } from '../../../../src/core/position.ts'
import { matches } from '../../../support/documents.ts'
import { plain } from '../../../support/mingo.ts'
import { type Random, seeded } from '../../../support/random.ts'

type Fields = { readonly [name: string]: Json }

/** Source: the page of the manual. */
const CONTRADICTIONS: readonly {
  readonly query: Fields
  readonly document: Fields
  readonly ours: boolean
  readonly reason: string
  readonly source: string
}[] = [
  {
    query: { a: { b: 1, c: 2 } },
    document: { a: { c: 2, b: 1 } },
    ours: false,
    reason: 'an object is equal only with its fields in the same order',
    source: 'Query on Embedded/Nested Documents',
  },
  {
    query: { a: { $gte: null } },
    document: {},
    ours: true,
    reason: 'null compares as equal to a missing field, as {a: null} does',
    source: 'Query for Null or Missing Fields',
  },
  {
    query: { a: { $lt: { b: true, c: 1 } } },
    document: { a: { b: 'x', d: 1 } },
    ours: true,
    reason: 'objects compare field by field, first by the types of the values; text is below bool',
    source: 'Comparison/Sort Order, Objects',
  },
  {
    query: { a: { $gt: [] } },
    document: { a: [1] },
    ours: true,
    reason: 'an array compares with an array as a whole, in the order of BSON',
    source: 'Comparison/Sort Order',
  },
  {
    query: { a: { $mod: [4, 0] } },
    document: { a: 4.5 },
    ours: true,
    reason: 'fractions are cut off before dividing',
    source: '$mod, Floating Point Arguments',
  },
  {
    query: { 'a.b': null },
    document: { a: { b: [[null], {}] } },
    ours: false,
    reason: 'elements of elements are not looked at',
    source: 'Query an Array, Query an Array for an Element',
  },
  {
    query: { 'a.b': null },
    document: { a: [{ b: 1 }, {}] },
    ours: true,
    reason: 'the second element has no b, and {b: null} matches what is missing',
    source: 'Query for Null or Missing Fields; Query an Array of Embedded Documents',
  },
  {
    query: { 'a.b': { $size: 1 } },
    document: { a: [{ b: 'x' }] },
    ours: false,
    reason: 'b is no array; the path through one does not make it one',
    source: '$size; Query an Array of Embedded Documents',
  },
  {
    query: { 'a.b': { $type: 'array' } },
    document: { a: [] },
    ours: false,
    reason: 'there is no b at all',
    source: '$type, Arrays',
  },
  {
    query: { 'a.b': [] },
    document: { a: [] },
    ours: false,
    reason: 'there is no b at all',
    source: 'Query an Array, Match an Array',
  },
  {
    query: { a: { $elemMatch: { b: { $ne: 1 } } } },
    document: { a: [{ $date: '2020-01-01T00:00:00Z' }] },
    ours: false,
    reason: 'conditions by field are for elements that have fields',
    source: '$elemMatch, Array of Embedded Documents',
  },
  {
    query: { a: { $elemMatch: { b: { $in: [1] } } } },
    document: { a: [1] },
    ours: false,
    reason: 'the element has no field b',
    source: '$elemMatch, Array of Embedded Documents',
  },
  {
    query: { a: { $type: 'string' } },
    document: { a: ['x'] },
    ours: true,
    reason: 'an element of that type is enough',
    source: '$type, Arrays',
  },
  {
    query: { a: { $in: [[], 'x'] } },
    document: { a: [] },
    ours: true,
    reason: 'the field is equal to one of the values',
    source: '$in; Query an Array, Match an Array',
  },
  {
    query: { a: { $all: ['x'] } },
    document: { a: 'x' },
    ours: true,
    reason: '$all is an $and of equalities, so that a value that is no array may do',
    source: '$all, Use $all to Match Values',
  },
  {
    query: { 'a.0': 1 },
    document: { a: [[1]] },
    ours: false,
    reason: 'the element of the place is compared as it is',
    source: 'Query an Array, Query for an Element by the Array Index Position',
  },
]

function scalar(random: Random): Json {
  switch (random.below(7)) {
    case 0:
      return random.chance(0.5)
    case 1:
      return { $date: `2020-01-0${random.below(3) + 1}T00:00:00Z` }
    case 2:
      return random.pick([0.5, 1.5])
    case 3:
    case 4:
      return random.pick(['', 'a', 'ab', 'b', '1', 'é'])
    default:
      return random.below(4) - 1
  }
}

function list(random: Random, item: () => Json): readonly Json[] {
  return Array.from({ length: random.below(4) }, item)
}

/** Objects have one field, so that its order is none. */
function value(random: Random): Json {
  switch (random.below(6)) {
    case 0:
      return null
    case 1:
      return list(random, () => (random.chance(0.2) ? null : scalar(random)))
    case 2:
      return list(random, () => ({ [random.pick(['a', 'b'])]: scalar(random) }))
    case 3:
      return { [random.pick(['a', 'b'])]: random.chance(0.2) ? null : scalar(random) }
    default:
      return scalar(random)
  }
}

const NAMES = ['a', 'b', 'c'] as const
const TYPES = ['string', 'bool', 'null', 'number', 'date']

function fields(random: Random, of: (random: Random) => Json): Fields {
  return Object.fromEntries(NAMES.filter(() => random.chance(0.7)).map((name) => [name, of(random)]))
}

/** `o` holds objects, `l` arrays of objects with the field `a`, `n` arrays of scalars, `s` no array. */
function document(random: Random): Fields {
  return {
    ...fields(random, value),
    o: random.chance(0.8) ? fields(random, value) : scalar(random),
    l: list(random, () => ({ a: scalar(random) })),
    n: list(random, () => scalar(random)),
    ...(random.chance(0.8) ? { s: random.chance(0.2) ? null : scalar(random) } : {}),
  }
}

/** Operators whose operand is a scalar. */
function simple(random: Random): Fields {
  const range = random.pick(['$gt', '$gte', '$lt', '$lte'])
  switch (random.below(7)) {
    case 0:
      return { $eq: scalar(random) }
    case 1:
      return { $ne: scalar(random) }
    case 2:
      return { $in: list(random, () => scalar(random)) }
    case 3:
      return { $nin: list(random, () => scalar(random)) }
    case 4:
      return { $regex: random.pick(['a', '^b', 'b$', '^$', 'É']), $options: random.pick(['', 'i']) }
    default:
      return { [range]: scalar(random), ...(random.chance(0.3) ? { $lt: scalar(random) } : {}) }
  }
}

function operator(random: Random, depth: number): Fields {
  switch (random.below(depth > 2 ? 7 : 9)) {
    case 0:
      return { [random.pick(['$eq', '$ne'])]: value(random) }
    case 1:
      return {
        [random.pick(['$in', '$nin'])]: [random.chance(0.2) ? null : scalar(random), { a: scalar(random) }],
      }
    case 2:
      return { $exists: random.chance(0.5) }
    case 3:
      return { $type: 'array' }
    case 4:
      return { $size: random.below(4) }
    case 5:
      return { $elemMatch: simple(random) }
    case 6:
      return simple(random)
    default:
      return { $not: operator(random, depth + 1) }
  }
}

function query(random: Random, depth = 0): Fields {
  if (depth < 3 && random.chance(0.3)) {
    return { [random.pick(['$and', '$or', '$nor'])]: [query(random, depth + 1), query(random, depth + 1)] }
  }
  switch (random.below(9)) {
    case 0:
      return { [random.pick(NAMES)]: value(random) }
    case 5:
      return { s: { $type: random.pick([...TYPES, ['null', 'string'], 'object']) } }
    case 3:
      return { n: { $all: list(random, () => scalar(random)) } }
    case 4:
      return { l: { $elemMatch: { a: simple(random) } } }
    case 1:
      return { [random.pick(['l.a', 'n.0', 'n.1', 'l.0.a', 'l.1.a'])]: simple(random) }
    case 2:
      return { [`o.${random.pick(NAMES)}`]: operator(random, 0) }
    default:
      return {
        [random.pick(NAMES)]: operator(random, 0),
        ...(random.chance(0.2) ? query(random, depth + 1) : {}),
      }
  }
}

function theirsOf(condition: Json, json: Json): boolean {
  return new Query(plain(condition) as Record<string, unknown>).test(plain(json) as Record<string, unknown>)
}

describe('filters against mingo', () => {
  it('agree on random documents and queries', () => {
    const random = seeded('filters')
    let matched = 0
    const total = 20_000
    for (let count = 0; count < total; count++) {
      const condition = query(random)
      const json = document(random)
      const ours = matches(condition, json)
      const theirs = theirsOf(condition, json)
      expect(ours, `${JSON.stringify(condition)} of ${JSON.stringify(json)}`).toBe(theirs)
      matched += Number(ours)
    }
    // Neither verdict is rare.
    expect(matched / total).toBeGreaterThan(0.2)
    expect(matched / total).toBeLessThan(0.8)
  })

  it.each(CONTRADICTIONS)(
    '$query of $document: $reason ($source)',
    ({ query: condition, document: json, ours }) => {
      expect(matches(condition, json)).toBe(ours)
      expect(theirsOf(condition, json)).toBe(!ours)
    },
  )
})
