import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json } from '../../../src/core/position.ts'
import { compileFilter, type FilterColumn } from '../../../src/core/row-filter.ts'

const columns: readonly FilterColumn[] = [
  { name: 'status', kind: 'string' },
  { name: 'total', kind: 'number' },
  { name: 'paid', kind: 'boolean' },
  { name: 'extra', kind: 'json' },
]

type Row = Readonly<Record<string, Json>>

function matches(filter: Json, row: Row): boolean {
  const { filter: compiled, mistakes } = compileFilter(filter, columns)
  if (mistakes !== null) throw new Error(JSON.stringify(mistakes))
  return compiled.matches((column) => row[columns[column]!.name] ?? null)
}

function mistakes(filter: Json): readonly string[] {
  const compiled = compileFilter(filter, columns)
  return (compiled.mistakes ?? []).map(({ path, reason }) => `${path.join('.')}: ${reason}`)
}

describe('a row filter', () => {
  it.each<[Json, readonly Json[], readonly Json[]]>([
    [{ total: 1 }, [1, 1.0], [2, null]],
    [{ total: null }, [null], [0]],
    [{ total: { $eq: 0 } }, [0, -0], [null, 1]],
    [{ total: { $ne: 1 } }, [2, null], [1]],
    [{ total: { $ne: null } }, [0], [null]],
    [{ total: { $in: [1, null] } }, [1, null], [2]],
    [{ total: { $in: [] } }, [], [1, null]],
    [{ total: { $nin: [1, 2] } }, [3, null], [1, 2]],
    [{ total: { $nin: [] } }, [3, null], []],
    [{ total: { $gt: 1 } }, [1.5, 1e308], [1, null]],
    [{ total: { $gte: 1 } }, [1, 2], [0.5, null]],
    [{ total: { $lt: 1 } }, [0, -1e308], [1, null]],
    [{ total: { $lte: 1 } }, [1, 0], [2, null]],
    [{ total: { $gte: 1, $lt: 5 } }, [1, 4.9], [0, 5, 10, null]],
    [{ total: { $not: { $gte: 1, $lt: 5 } } }, [0, 5, null], [1, 4]],
    [{ total: { $not: { $not: { $gt: 1 } } } }, [2], [1, null]],
    [{ total: { $exists: true } }, [0], [null]],
    [{ total: { $exists: false } }, [null], [0]],
    [{ $or: [{ total: 1 }, { total: { $gt: 5 } }] }, [1, 6], [2, null]],
    [{ $and: [{ total: { $gt: 1 } }, { total: { $lt: 5 } }] }, [2], [1, 5]],
    [{ $nor: [{ total: 1 }, { total: 2 }] }, [3, null], [1, 2]],
    [{ total: { $gt: 1 }, $or: [{ total: 2 }, { total: 0 }] }, [2], [0, 3]],
    [{}, [1, null], []],
  ])('%j', (filter, accepted, refused) => {
    for (const total of accepted) expect([total, matches(filter, { total })]).toEqual([total, true])
    for (const total of refused) expect([total, matches(filter, { total })]).toEqual([total, false])
  })

  it('asks for all columns that it names', () => {
    const row = { status: 'open', total: 3, paid: false }
    expect(matches({ status: 'open', total: { $lt: 5 }, paid: false }, row)).toBe(true)
    expect(matches({ status: 'open', total: { $lt: 5 }, paid: true }, row)).toBe(false)
    expect(matches({ status: 'shut', total: { $lt: 5 }, paid: false }, row)).toBe(false)
  })

  it('says which columns it needs', () => {
    const { filter } = compileFilter({ paid: true, $or: [{ status: 'a' }, { paid: null }] }, columns)
    expect(filter!.columns).toEqual([0, 2])
  })

  it('orders text by code points, as the bytes of UTF-8 and as Zero do', () => {
    expect(matches({ status: { $gt: '\uffff' } }, { status: '\u{10000}' })).toBe(true)
    expect(matches({ status: { $lt: '\u{1f600}' } }, { status: '\ue000' })).toBe(true)
    expect(matches({ status: { $gt: 'a' } }, { status: 'aa' })).toBe(true)
    expect(matches({ status: { $gt: 'B' } }, { status: 'a' })).toBe(true)
    expect(matches({ status: { $gte: 'é' } }, { status: 'é' })).toBe(true)
  })

  it('takes no value for one of another type', () => {
    for (const value of ['1', true, null]) {
      expect(matches({ total: 1 }, { total: value })).toBe(false)
      expect(matches({ total: { $gt: 0 } }, { total: value })).toBe(false)
    }
    expect(matches({ status: { $gt: '' } }, { status: 5 })).toBe(false)
  })

  it('asks a json column for NULL only', () => {
    expect(matches({ extra: { $exists: true } }, { extra: { a: 1 } })).toBe(true)
    expect(matches({ extra: null }, { extra: null })).toBe(true)
    expect(mistakes({ extra: 'a', $or: [{ extra: { $in: [null, 1] } }] })).toEqual([
      'extra: must be null: of a json column only NULL can be asked',
      '$or.0.extra.$in.1: must be null: of a json column only NULL can be asked',
    ])
  })

  it.each<[Json, readonly string[]]>([
    [null, [': must be conditions by column, such as {"status": "open"}']],
    [[], [': must be conditions by column, such as {"status": "open"}']],
    [{ statsu: 'a' }, ['statsu: unknown column, did you mean "status"?']],
    [{ zzzzzzzz: 'a' }, ['zzzzzzzz: unknown column; known: status, total, paid, extra']],
    [{ toString: 1 }, ['toString: unknown column; known: status, total, paid, extra']],
    [{ total: { $gtt: 1 } }, ['total.$gtt: unknown operator, did you mean "$gt"?']],
    [
      { total: { constructor: 1 } },
      [
        'total.constructor: unknown operator; known: $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $exists, $not',
      ],
    ],
    [{ $nand: [{}] }, ['$nand: unknown operator, did you mean "$and"?']],
    [{ $gt: 1 }, ['$gt: stands under a column']],
    [{ $not: { total: 1 } }, ['$not: stands under a column; for conditions use $nor']],
    [{ $or: [] }, ['$or: must be a list of conditions, at least one']],
    [{ $or: { total: 1 } }, ['$or: must be a list of conditions, at least one']],
    [
      { $and: [{ total: 'a' }, 5] },
      [
        '$and.0.total: must be a number or null',
        '$and.1: must be conditions by column, such as {"status": "open"}',
      ],
    ],
    [{ total: {} }, ['total: has no operator']],
    [{ total: { $not: {} } }, ['total.$not: has no operator']],
    [{ total: { $not: 1 } }, ['total.$not: must be operators, such as {"$gt": 1}; use $ne for a value']],
    [{ total: [1] }, ['total: must be a value or operators; use $in for one of several values']],
    [{ total: { $in: 1 } }, ['total.$in: must be a list of values']],
    [
      { total: { $in: [1, '2', [3]] } },
      ['total.$in.1: must be a number or null', 'total.$in.2: must be a number or null'],
    ],
    [{ total: { $exists: 1 } }, ['total.$exists: must be true or false']],
    [{ total: { $gt: null } }, ['total.$gt: must be a number']],
    [{ total: { $lte: '5' } }, ['total.$lte: must be a number']],
    [{ total: Number.NaN }, ['total: must be a number or null']],
    [{ total: { $gt: Number.POSITIVE_INFINITY } }, ['total.$gt: must be a number']],
    [{ paid: { $gt: false } }, ['paid.$gt: has no meaning for a boolean column']],
    [
      { paid: 'true', status: false },
      ['paid: must be true or false or null', 'status: must be text or null'],
    ],
  ])('refuses %j with the complete list', (filter, expected) => {
    expect(mistakes(filter)).toEqual(expected)
  })

  it('refuses what is nested without end, instead of running out of stack', () => {
    let conditions: Json = { total: 1 }
    let operators: Json = { $gt: 1 }
    for (let depth = 0; depth < 10_000; depth++) {
      conditions = { $or: [conditions] }
      operators = { $not: operators }
    }
    expect(mistakes(conditions).join()).toMatch(/: is nested too deeply$/)
    expect(mistakes({ total: operators }).join()).toMatch(/: is nested too deeply$/)
  })

  it('decides as a naive evaluator does', () => {
    fc.assert(
      fc.property(filters, fc.array(rows, { minLength: 1, maxLength: 8 }), (filter, some) => {
        for (const row of some) expect(matches(filter, row)).toBe(naive(filter, row))
      }),
      { numRuns: 3000 },
    )
  })
})

/** Follows the table of the docstring word by word, with Postgres' meaning of order: bytes. */
function naive(filter: Json, row: Row): boolean {
  return Object.entries(filter as Row).every(([key, value]) => {
    const parts = () => (value as Json[]).map((part) => naive(part, row))
    if (key === '$and') return !parts().includes(false)
    if (key === '$or') return parts().includes(true)
    if (key === '$nor') return !parts().includes(true)
    return naiveCell(value, row[key] ?? null)
  })
}

function naiveCell(condition: Json, cell: Json): boolean {
  if (typeof condition !== 'object' || condition === null) return sign(cell, condition) === 0
  return Object.entries(condition).every(([operator, operand]: [string, Json]) => {
    switch (operator) {
      case '$eq':
        return sign(cell, operand) === 0
      case '$ne':
        return sign(cell, operand) !== 0
      case '$in':
        return (operand as Json[]).some((item) => sign(cell, item) === 0)
      case '$nin':
        return (operand as Json[]).every((item) => sign(cell, item) !== 0)
      case '$gt':
        return sign(cell, operand) === 1
      case '$gte':
        return sign(cell, operand) === 1 || sign(cell, operand) === 0
      case '$lt':
        return sign(cell, operand) === -1
      case '$lte':
        return sign(cell, operand) === -1 || sign(cell, operand) === 0
      case '$exists':
        return (cell === null) !== operand
      case '$not':
        return !naiveCell(operand, cell)
      default:
        throw new Error(operator)
    }
  })
}

/** Undefined when there is no order between the two. */
function sign(a: Json, b: Json): number | undefined {
  if (a === null || b === null) return a === b ? 0 : undefined
  if (typeof a !== typeof b) return undefined
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  return Math.sign(Number(a) - Number(b))
}

const values: Readonly<Record<string, fc.Arbitrary<Json>>> = {
  string: fc.constantFrom('', 'a', 'aa', 'b', 'é', '\uffff', '\u{10000}'),
  number: fc.constantFrom(-1.5, -0, 0, 1, 2, 1e308),
  boolean: fc.boolean(),
}

const rows: fc.Arbitrary<Row> = fc.record({
  status: fc.option(values['string']!),
  total: fc.option(values['number']!),
  paid: fc.option(values['boolean']!),
  extra: fc.constantFrom<Json>(null, 0, {}, [null]),
})

function conditionOf({ kind }: FilterColumn): fc.Arbitrary<Json> {
  const scalar = fc.option(values[kind] ?? fc.constant<Json>(null))
  const ordered = kind === 'string' || kind === 'number'
  const { operators } = fc.letrec<{ operators: Json; entry: [string, Json] }>((tie) => ({
    operators: fc
      .uniqueArray(tie('entry'), { minLength: 1, maxLength: 3, selector: ([name]) => name })
      .map((entries) => Object.fromEntries(entries)),
    entry: fc.oneof(
      { maxDepth: 3 },
      fc.tuple(fc.constantFrom('$eq', '$ne'), scalar),
      fc.tuple(fc.constantFrom('$in', '$nin'), fc.array(scalar, { maxLength: 3 })),
      fc.tuple(fc.constant('$exists'), fc.boolean()),
      ...(ordered ? [fc.tuple(fc.constantFrom('$gt', '$gte', '$lt', '$lte'), values[kind]!)] : []),
      fc.tuple(fc.constant('$not'), tie('operators')),
    ),
  }))
  return fc.oneof(scalar, operators)
}

const { conditions: filters } = fc.letrec<{ conditions: Json; part: [string, Json] }>((tie) => ({
  conditions: fc
    .uniqueArray(tie('part'), { maxLength: 3, selector: ([name]) => name })
    .map((parts) => Object.fromEntries(parts)),
  part: fc.oneof(
    { maxDepth: 3 },
    ...columns.map((column) => fc.tuple(fc.constant(column.name), conditionOf(column))),
    fc.tuple(
      fc.constantFrom('$and', '$or', '$nor'),
      fc.array(tie('conditions'), { minLength: 1, maxLength: 3 }),
    ),
  ),
}))
