/**
 * Expressions against mingo, an independent implementation of the aggregation language, on random documents. Where it
 * contradicts MongoDB's manual the manual holds: the table below has every such case that was met, and the random
 * expressions keep clear of them. mingo has one type of number, so that numbers are compared by their value.
 */
import { Aggregator } from 'mingo'
import { describe, expect, it } from 'vitest'
import { PoisonRecordError } from '../../../../src/core/error.ts'
import type { Json } from '../../../../src/core/position.ts'
import { evaluated } from '../../../support/documents.ts'
import { plain, plainValue } from '../../../support/mingo.ts'
import { type Random, seeded } from '../../../support/random.ts'

type Fields = { readonly [name: string]: Json }
type Kind = 'number' | 'text' | 'bool' | 'date' | 'numbers' | 'texts' | 'object'

const FAILS = Symbol('fails')
// oxlint-disable-next-line unicorn/no-thenable -- The language has this name.
const THEN = 'then'

function oursOf(expression: Json, document: Json): unknown {
  try {
    return plainValue(evaluated(expression, document))
  } catch (error) {
    if (error instanceof PoisonRecordError) return FAILS
    throw error
  }
}

function theirsOf(expression: Json, document: Json): unknown {
  try {
    const aggregator = new Aggregator([{ $set: { result: plain(expression) } }])
    const [row] = aggregator.run<{ readonly result?: unknown }>([plain(document) as Record<string, unknown>])
    return row!.result
  } catch {
    return FAILS
  }
}

/** Source: the page of the manual; where it says nothing, the server is known to do so. */
const SILENT = 'the manual names no error, and the server gives null'
const CONTRADICTIONS: readonly (readonly [
  expression: Json,
  ours: unknown,
  reason: string,
  source: string,
])[] = [
  [{ $gt: [1, '$m'] }, true, 'a missing field is below all numbers', '$gt; Comparison/Sort Order'],
  [{ $lte: [null, 1] }, true, 'null is below all numbers', '$lte; Comparison/Sort Order'],
  [
    { $eq: [null, '$m'] },
    false,
    'null and what is missing are two types',
    SILENT.replace('gives null', 'says false'),
  ],
  [
    { $lt: [{ $literal: { a: 0, b: 1 } }, { $literal: { a: 1 } }] },
    true,
    'objects compare field by field',
    'Comparison/Sort Order, Objects',
  ],
  [{ $toLower: null }, '', 'null becomes the empty text', '$toLower'],
  [{ $toUpper: 'é' }, 'é', 'only letters of ASCII change', '$toUpper, Behavior'],
  [{ $not: [''] }, false, 'every text is true', '$not'],
  [{ $round: [-1.75, 1] }, -1.8, 'a tie goes to the even digit', '$round, Rounding to Even Values'],
  [{ $round: 2.5 }, 2, 'the place may be left out', '$round'],
  [{ $indexOfCP: ['abc', 'b'] }, 1, 'start and end may be left out', '$indexOfCP'],
  [['$m'], [null], 'an element that is missing is null', '$project, New Array Fields'],
  [
    { $arrayToObject: [[{ k: 'a', v: 1 }]] },
    { a: 1 },
    'a list of one argument is that argument',
    'Expression Operators',
  ],
  [{ $type: [true] }, 'bool', 'a list of one argument is that argument', 'Expression Operators'],
  [
    {
      $filter: {
        input: [7],
        cond: { $gt: ['$$this', { $reduce: { input: [1], initialValue: 0, in: '$$this' } }] },
      },
    },
    [7],
    'behind an inner loop, $$this is the element of the outer one again',
    '$filter, as; Variables in Aggregation Expressions',
  ],
  [
    { $dateToString: { date: { $date: '2019-12-31T23:59:59.999Z' }, format: '%G-%V' } },
    '2020-01',
    'the last day of 2019 is in the first week of 2020',
    '$dateToString, Format Specifiers; ISO 8601',
  ],
  [{ $mod: ['$m', 3] }, null, 'null in, null out', SILENT],
  [{ $slice: ['$m', 1] }, null, 'null in, null out', SILENT],
  [{ $year: '$m' }, null, 'null in, null out', SILENT],
  [{ $getField: { field: 'a', input: null } }, null, 'null in, null out', SILENT],
]

function document(random: Random): Fields {
  const fields: Fields = {
    i: random.below(7) - 3,
    j: random.below(100),
    x: (random.below(41) - 20) / 4,
    t: random.pick(['', 'a', 'Ab', ' b ', 'a-b-a', '12']),
    u: random.pick(['b', '-', '😀']),
    b: random.chance(0.5),
    d: {
      $date: `20${10 + random.below(20)}-0${1 + random.below(9)}-1${random.below(10)}T0${random.below(10)}:11:12.123Z`,
    },
    n: Array.from({ length: random.below(4) }, () => random.below(9) - 4),
    s: Array.from({ length: random.below(4) }, () => random.pick(['a', 'b', 'ab'])),
    o: { a: random.below(5), t: random.pick(['q', 'r']) },
    l: Array.from({ length: random.below(3) }, () => ({ a: random.below(5) })),
    z: null,
  }
  return Object.fromEntries(Object.entries(fields).filter(([name]) => name === 'z' || random.chance(0.9)))
}

const LEAVES: Readonly<Record<Kind, readonly Json[]>> = {
  number: ['$i', '$j', '$x', '$o.a', 0, 2, 2.5, '$z', '$m'],
  text: ['$t', '$u', '$o.t', 'a', '-', '$z', '$m'],
  bool: ['$b', true, false, '$z', '$m'],
  date: ['$d', { $date: '2020-02-29T23:59:59.999Z' }, '$z'],
  numbers: ['$n', '$l.a', { $literal: [1, 2, 3] }, '$z', '$m'],
  texts: ['$s', { $literal: ['x', 'y'] }, '$z', '$m'],
  object: ['$o', { $literal: { a: 1 } }, '$z', '$m'],
}

type Make = (random: Random, part: (kind: Kind) => Json) => Json

const pair = (kind: Kind, ...names: readonly string[]): Make => {
  return (random, part) => ({ [random.pick(names)]: [part(kind), part(kind)] })
}

/** Of a kind, and never null or missing. */
const known = (kind: Kind, part: (kind: Kind) => Json): Json => ({ $ifNull: [part(kind), KNOWN[kind]] })

const KNOWN: Readonly<Record<Kind, Json>> = {
  number: 1,
  text: 'k',
  bool: true,
  date: { $date: '2020-01-01T00:00:00Z' },
  numbers: { $literal: [7, 8] },
  texts: { $literal: ['k'] },
  object: { $literal: { a: 3 } },
}

const compared = (kind: Kind): Make => {
  return (random, part) => ({
    [random.pick(['$eq', '$ne', '$gt', '$gte', '$lt', '$lte'])]: [known(kind, part), known(kind, part)],
  })
}

const any = (random: Random, part: (kind: Kind) => Json): Json => {
  return part(random.pick<Kind>(['number', 'text', 'bool', 'date', 'numbers', 'object']))
}

const MAKERS: Readonly<Record<Kind, readonly Make[]>> = {
  number: [
    pair('number', '$add', '$subtract', '$multiply'),
    (_, part) => ({ $add: [part('number'), part('number'), part('number')] }),
    (random, part) => ({ $divide: [part('number'), random.pick([2, 3, -4, 0.5, 0])] }),
    (random, part) => ({ $mod: [known('number', part), random.pick([2, 3, -4, 0.5])] }),
    (random, part) => ({ [random.pick(['$abs', '$ceil', '$floor'])]: part('number') }),
    (random, part) => ({ $trunc: [part('number'), random.pick([0, 1])] }),
    (_, part) => ({ $round: [part('number'), 0] }),
    (_, part) => ({ $size: { $ifNull: [part('numbers'), []] } }),
    (random, part) => ({ $arrayElemAt: [part('numbers'), random.pick([0, 1, -1])] }),
    (random, part) => ({ [random.pick(['$first', '$last'])]: { $concatArrays: [part('numbers'), [5]] } }),
    (_, part) => ({ $strLenCP: { $ifNull: [part('text'), ''] } }),
    (random, part) => ({ [random.pick(['$year', '$month', '$dayOfMonth'])]: known('date', part) }),
    (_, part) => ({ $cmp: [known('number', part), known('number', part)] }),
    (_, part) => ({
      $reduce: { input: part('numbers'), initialValue: 0, in: { $add: ['$$value', '$$this'] } },
    }),
    (_, part) => ({ $toInt: part('number') }),
    (_, part) => ({ $getField: { field: 'a', input: known('object', part) } }),
    (_, part) => ({
      $subtract: [
        { $ifNull: [part('date'), { $date: '2020-01-01T00:00:00Z' }] },
        { $date: '2020-01-01T00:00:00Z' },
      ],
    }),
  ],
  text: [
    (_, part) => ({ $concat: [part('text'), part('text'), part('text')] }),
    (random, part) => ({ [random.pick(['$toLower', '$toUpper'])]: known('text', part) }),
    (random, part) => ({ [random.pick(['$trim', '$ltrim', '$rtrim'])]: { input: part('text') } }),
    (random, part) => ({ $trim: { input: part('text'), chars: random.pick(['a', ' b']) } }),
    (random, part) => ({ $substrCP: [part('text'), random.below(2), random.below(4)] }),
    (_, part) => ({ $replaceAll: { input: part('text'), find: 'a', replacement: part('text') } }),
    (random, part) => ({ $toString: part(random.pick<Kind>(['bool', 'text', 'date'])) }),
    (_, part) => ({ $dateToString: { date: part('date'), format: '%Y-%m-%dT%H:%M:%S.%L %j %u' } }),
    (random, part) => ({
      $dateToString: { date: part('date'), format: '%H:%M %z', timezone: random.pick(['+05:30', '-0800']) },
    }),
    (_, part) => ({
      $reduce: { input: part('texts'), initialValue: '', in: { $concat: ['$$value', '$$this'] } },
    }),
    (random, part) => ({
      $switch: {
        branches: [{ case: part('bool'), [THEN]: part('text') }],
        default: random.pick(['x', '$t']),
      },
    }),
    (random, part) => ({ $type: part(random.pick<Kind>(['text', 'bool', 'date', 'object'])) }),
  ],
  bool: [
    (random, part) => ({ [random.pick(['$and', '$or'])]: [part('bool'), part('number'), part('text')] }),
    (random, part) => ({ $not: [part(random.pick<Kind>(['bool', 'number', 'date', 'numbers']))] }),
    compared('number'),
    compared('text'),
    compared('date'),
    (_, part) => ({ $in: [known('number', part), { $ifNull: [part('numbers'), []] }] }),
    (random, part) => ({ $isArray: [any(random, part)] }),
    (random, part) => ({ $isNumber: part(random.pick<Kind>(['number', 'text', 'bool', 'date'])) }),
    (_, part) => ({ $toBool: part('number') }),
  ],
  date: [
    (random, part) => ({ $add: [part('date'), random.pick([0, 86_400_000, -1])] }),
    (_, part) => ({ $toDate: { $dateToString: { date: part('date'), format: '%Y-%m-%dT%H:%M:%S.%LZ' } } }),
    (_, part) => ({ $ifNull: [part('date'), '$d', { $date: '2020-01-01T00:00:00Z' }] }),
  ],
  numbers: [
    (_, part) => [known('number', part), known('number', part)],
    (_, part) => ({ $map: { input: part('numbers'), as: 'e', in: { $multiply: ['$$e', part('number')] } } }),
    (_, part) => ({
      $filter: { input: part('numbers'), as: 'f', cond: { $gt: ['$$f', known('number', part)] } },
    }),
    (_, part) => ({ $concatArrays: [part('numbers'), part('numbers')] }),
    (random, part) => ({ $slice: [known('numbers', part), random.pick([0, 1, 2, -2])] }),
    (random, part) => ({ $slice: [known('numbers', part), random.pick([0, 1, -2, 5]), random.pick([1, 2])] }),
  ],
  texts: [
    (_, part) => [known('text', part)],
    (random, part) => ({ $split: [part('text'), random.pick(['-', 'a'])] }),
    (_, part) => ({ $map: { input: part('texts'), in: { $toUpper: '$$this' } } }),
  ],
  object: [
    (_, part) => ({ v: known('number', part), w: { x: known('text', part) } }),
    (_, part) => ({ $mergeObjects: [part('object'), part('object')] }),
    (_, part) => ({ $arrayToObject: { $objectToArray: part('object') } }),
    (_, part) => ({
      $arrayToObject: { $map: { input: part('texts'), as: 'e', in: { k: '$$e', v: known('number', part) } } },
    }),
  ],
}

function expression(random: Random, kind: Kind, depth: number): Json {
  if (depth === 0) return random.pick(LEAVES[kind])
  const part = (of: Kind): Json => expression(random, of, random.below(depth))
  if (random.chance(0.1)) return { $cond: [part('bool'), part(kind), part(kind)] }
  if (random.chance(0.1)) return { $ifNull: [part(kind), part(kind)] }
  return random.pick(MAKERS[kind])(random, part)
}

/** Without -0, which numbers of integers have not. */
function normal(value: unknown): unknown {
  if (value === 0) return 0
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, normal(inner)]))
}

describe('expressions against mingo', () => {
  it('agree on random documents and expressions', () => {
    const random = seeded('expressions')
    const kinds = Object.keys(MAKERS) as Kind[]
    let failed = 0
    const total = 10_000
    for (let count = 0; count < total; count++) {
      const json = document(random)
      const computed = expression(random, random.pick(kinds), 1 + random.below(4))
      const ours = oursOf(computed, json)
      const theirs = theirsOf(computed, json)
      if (ours === FAILS) failed++
      expect(normal(ours), `${JSON.stringify(computed)} of ${JSON.stringify(json)}`).toEqual(normal(theirs))
    }
    expect(failed / total).toBeLessThan(0.2)
  })

  it.each(CONTRADICTIONS)('%j is %j: %s (%s)', (computed, ours) => {
    expect(oursOf(computed, {})).toEqual(ours)
    expect(theirsOf(computed, {})).not.toStrictEqual(ours)
  })
})
