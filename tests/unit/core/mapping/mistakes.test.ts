import { describe, expect, it } from 'vitest'
import { mistakesOf } from './rows-of.ts'

const schema = {
  tables: {
    orders: { columns: { id: 'text', total: 'float64?', note: 'text?' }, key: ['id'] },
    lines: { columns: { order: 'text', sku: 'text' }, key: ['order', 'sku'] },
  },
}
const fields = { id: '_id', total: 'total', note: 'note' }
const lines = { unwind: 'items', fields: { order: '_id', sku: 'items.sku' } }

describe('mappings', () => {
  it.each<[string, unknown, readonly string[]]>([
    [
      'a table that the schema does not have',
      { oders: {} },
      ['mappings/oders: is no table of the schema; did you mean "orders"?'],
    ],
    ['no object', { orders: 'orders' }, ['mappings/orders: must be an object']],
    [
      'an unknown key',
      { orders: { colection: 'x', fields } },
      ['mappings/orders/colection: is unknown here; did you mean "collection"?'],
    ],
    [
      'a column that the schema does not have',
      { orders: { fields: { ...fields, totals: 'x' } } },
      ['mappings/orders/fields/totals: is no column of table "orders" in the schema; did you mean "total"?'],
    ],
    [
      'a column of the schema that is not given',
      { orders: { fields: { id: '_id', total: 'total' } } },
      ['mappings/orders/fields: does not give the column "note" of the schema'],
    ],
    [
      'the same by a projection',
      { orders: { projection: { id: '$_id', total: 1, noet: 1 } } },
      [
        'mappings/orders: does not give the column "note" of the schema',
        'mappings/orders/projection/noet: is no column of table "orders" in the schema; did you mean "note"?',
      ],
    ],
    [
      'the same by a pipeline',
      { orders: { pipeline: [{ $addFields: { id: '$_id' } }, { $unset: 'note' }] } },
      ['mappings/orders: does not give the column "note" of the schema'],
    ],
    [
      'fields taken in and out at once',
      { orders: { projection: { id: '$_id', total: 1, note: 0 } } },
      ['mappings/orders/projection: takes some fields in and others out', 'mappings/orders: does not give'],
    ],
    [
      'a projection of something else',
      { orders: { projection: { id: '_id', total: 2, note: 1 } } },
      [
        'mappings/orders/projection/id: must be 1, 0, a field such as "$name", or an expression',
        'mappings/orders/projection/total: must be 1, 0',
      ],
    ],
    [
      'unknown operators, where they stand',
      {
        orders: {
          filter: { a: { $gtt: 1 }, $or: [{ b: { $x: 1 } }] },
          fields: { ...fields, note: { $cat: ['$a'] } },
        },
      },
      [
        'mappings/orders/filter/a/$gtt: ',
        'mappings/orders/filter/$or/0/b/$x: ',
        'mappings/orders/fields/note/$cat: ',
      ],
    ],
    [
      'unknown stages and options of them',
      {
        lines: {
          pipeline: [
            { $lookup: {} },
            { $unwind: { path: '$items', includeIndex: 'n' } },
            { $match: {}, $unwind: '$a' },
            { $addFields: { order: '$_id', sku: '$items.sku' } },
          ],
        },
      },
      [
        'mappings/lines/pipeline/0/$lookup: is unknown here; there are $match, $unwind',
        'mappings/lines/pipeline/1/$unwind/includeIndex: is unknown here',
        'mappings/lines/pipeline/2: must be an object with one stage',
      ],
    ],
    [
      'what stands beside a pipeline',
      { orders: { pipeline: [{ $addFields: { id: '$_id' } }], filter: {} } },
      ['mappings/orders/filter: cannot stand beside `pipeline`'],
    ],
    [
      'collection and source',
      { orders: { collection: 'a', source: 'a', fields } },
      ['mappings/orders/collection: stands beside `source`'],
    ],
    [
      'a column without a way to it, or with two',
      { orders: { fields: { id: { type: 'text' }, total: { path: 'a', value: 1 }, note: 7 } } },
      [
        'mappings/orders/fields/id: must have one of `path`, `value` and `expression`',
        'mappings/orders/fields/total: must have one of',
        'mappings/orders/fields/note: must be a field such as',
      ],
    ],
    [
      'another type or key than the schema has',
      { orders: { fields: { ...fields, total: { path: 'total', type: 'int64' } }, key: ['note'] } },
      [
        'mappings/orders/fields/total/type: is another type than the schema has',
        'mappings/orders/key: is another key than the schema has: id',
      ],
    ],
    [
      'columns that are left out and given, in the key, or unknown',
      { orders: { fields, exclude: ['note', 'id', 'nonote'] } },
      [
        'mappings/orders/exclude/0: is in `fields` too',
        'mappings/orders/exclude/1: is in `fields` too',
        'mappings/orders/exclude/1: is in the key',
        'mappings/orders/exclude/2: is no column of table "orders" in the schema',
      ],
    ],
    [
      'an array that is unwound after something read it',
      {
        lines: {
          pipeline: [
            { $addFields: { count: { $size: '$items' } } },
            { $unwind: '$items' },
            { $addFields: { order: '$_id', sku: '$items.sku' } },
          ],
        },
      },
      ['mappings/lines/pipeline/1/$unwind: unwinds what "count" reads before it'],
    ],
    [
      'a computed array that is unwound',
      {
        lines: {
          pipeline: [{ $addFields: { items: { $ifNull: ['$a', []] } } }, { $unwind: '$items' }],
          projection: { order: '$_id', sku: '$items.sku' },
        },
      },
      ['mappings/lines/pipeline/1/$unwind: must be a field of the document as it is stored'],
    ],
    [
      'a key that is the same for all elements',
      { lines: { unwind: 'items', fields: { order: '_id', sku: 'sku' } } },
      ['mappings/lines: has the same key for all elements of "items"'],
    ],
    [
      'a key that is NULL where there are no elements',
      { lines: { ...lines, unwind: { path: 'items', keepEmpty: true } } },
      ['mappings/lines: keeps documents without elements of "items", whose key would be NULL'],
    ],
    [
      'a condition on elements without elements',
      { orders: { fields, elementFilter: { a: 1 } } },
      ['mappings/orders/elementFilter: needs `unwind`'],
    ],
    [
      'unwinding of nothing',
      { lines: { ...lines, unwind: { index: 'i' } } },
      ['mappings/lines/unwind/path: is missing', 'mappings/lines: has the same key'].slice(0, 1),
    ],
  ])('are refused with %s', (_, mappings, expected) => {
    const mistakes = mistakesOf(schema, mappings)
    const starts = expected.map((start, index) => mistakes[index]?.slice(0, start.length))
    expect(starts, mistakes.join('\n')).toEqual(expected)
    expect(mistakes.length, mistakes.join('\n')).toBe(expected.length)
  })

  it('without a schema need types, a key and fields', () => {
    expect(
      mistakesOf(null, {
        a: { fields: { id: '_id', n: { path: 'n', type: 'int65' } } },
        b: { collection: 'b' },
        c: { fields: { id: { path: '_id', type: 'text?' } }, key: ['id'] },
        d: { fields: { id: { path: '_id', type: 'text' } }, key: ['ID'] },
      }).map((mistake) => mistake.split('; there are')[0]),
    ).toEqual([
      'mappings/a/fields/n/type: is the unknown type "int65"; did you mean "int64"?',
      'mappings/d/key/0: is no column of the table; did you mean "id"?',
    ])
    expect(
      mistakesOf(null, {
        a: { fields: { id: '_id', n: { path: 'n', type: 'int64' } } },
        b: { collection: 'b' },
        c: { fields: { id: { path: '_id', type: 'text?' } }, key: ['id'] },
      }),
    ).toEqual([
      'mappings/a/fields/id: needs a type, as {path: ..., type: ...}: documents have none, and there is no schema',
      'mappings/a: needs a `key`: columns that identify a row',
      'mappings/b: needs `fields` with types, or a schema: documents do not say which columns there are',
      'mappings/b: needs a `key`: columns that identify a row',
      'mappings/c/key/0: is in the key and may be NULL',
    ])
  })

  it('that came with the schema have their place there', () => {
    expect(
      mistakesOf({ schema, tableMappings: { version: 1, mappings: { orders: { filtr: {} } } } }, null)[0],
    ).toContain('schema/tableMappings/mappings/orders/filtr: is unknown here; did you mean "filter"?')
    const within = {
      tables: {
        a: {
          name: 'a',
          columns: { _id: { type: 'string' } },
          primaryKey: ['_id'],
          from: JSON.stringify({ source: 'c', filter: { x: { $y: 1 } } }),
        },
      },
    }
    expect(mistakesOf(within, null)[0]).toContain(
      'schema/tables/a/from: is a mapping that, at filter.x.$y in it,',
    )
  })

  it('come at once, those of both documents', () => {
    const broken = { tables: { orders: { columns: { id: 'txt' }, key: ['id'] } } }
    expect(mistakesOf(broken, { oders: {} }).map((mistake) => mistake.split('/')[0])).toEqual([
      'schema',
      'schema',
      'mappings',
    ])
  })

  it('are needed, or a schema', () => {
    expect(mistakesOf(null, null)).toEqual(['mappings: is missing, and there is no schema'])
    expect(mistakesOf(null, {})).toEqual(['mappings: has no table'])
    expect(mistakesOf(schema, 7)).toEqual(['mappings: must be an object'])
  })
})
