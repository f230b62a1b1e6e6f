import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { normalizeMapping } from '../../../../src/core/mapping/normalize.ts'
import type { Json } from '../../../../src/core/position.ts'
import { allRows, compiled, readPaths, rowsOf } from './rows-of.ts'

const chat = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/mappings/chat.json'), 'utf8')) as {
  readonly schema: unknown
  readonly mappings: unknown
}

const text = (...names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, name === '_id' || name === 'id' ? 'text' : 'json?']))

const schemaOf = (name: string, ...columns: readonly string[]): unknown => ({
  tables: { [name]: { columns: text(...columns), key: [columns[0]] } },
})

describe('the mappings of the earlier server', () => {
  const mapping = compiled(chat.schema, chat.mappings)

  it('put the documents of one collection into the table that their kind belongs to', () => {
    const direct = { _id: 'r1', t: 'd', createdAt: 'x', memberIds: ['a', 'b'], messageCount: 2, secret: 1 }
    const channel = { _id: 'r2', t: 'c', name: 'general', archived: false, secret: 1 }
    expect(allRows(mapping, direct)).toMatchObject({
      chats: [{ _id: 'r1', t: 'd', createdAt: 'x', memberIds: ['a', 'b'], messageCount: 2 }],
    })
    expect(allRows(mapping, channel)).toMatchObject({ channels: [{ _id: 'r2', t: 'c', name: 'general' }] })
    expect(rowsOf(mapping.tables[1]!, { ...channel, archived: true })).toEqual([])
  })

  it('read no other field than they name', () => {
    expect(readPaths(mapping.tables[0]!).map((path) => path.join('.'))).toEqual([
      '_id',
      'createdAt',
      't',
      'memberIds',
      'messageCount',
      'lastMessage',
      't',
    ])
  })

  it('keep of a nested field what they name', () => {
    const message = { _id: 'm', t: 'USER', roomId: 'r', sender: { id: 1, name: 'ann', token: 'x' } }
    expect(rowsOf(mapping.tables[2]!, message)).toEqual([
      { _id: 'm', roomId: 'r', sender: { id: 1, name: 'ann' } },
    ])
  })

  it('leave tables alone that have the fields of the collection of their name', () => {
    expect(mapping.tables[3]).toMatchObject({
      collection: { namespace: null, name: 'users' },
      filter: null,
      columns: [
        { kind: 'path', path: ['_id'] },
        { kind: 'path', path: ['username'] },
      ],
    })
  })

  it('may stand in the schema itself', () => {
    const schema = structuredClone(chat.schema) as { tables: Record<string, Record<string, unknown>> }
    schema.tables['users']!['serverName'] = JSON.stringify({ source: 'people', filter: { active: true } })
    const { tables } = compiled(schema, null)
    expect(tables[3]).toMatchObject({ table: { name: 'users' }, collection: { name: 'people' } })
    expect(rowsOf(tables[3]!, { _id: 'u', username: 'ann', active: false })).toEqual([])
  })

  it('may come with the schema', () => {
    const combined = { schema: chat.schema, tableMappings: chat.mappings }
    expect(compiled(combined, null).tables.map((table) => table.fingerprint)).toEqual(
      mapping.tables.map((table) => table.fingerprint),
    )
  })
})

describe('`collection` and `fields`', () => {
  const schema = {
    message: {
      tableName: 'message',
      columns: {
        id: { type: 'string' },
        userId: { type: 'string', optional: true },
        createdAt: { type: 'number' },
      },
      primaryKey: ['id'],
    },
  }
  const mapping = compiled(schema, {
    message: { collection: 'messages', fields: { id: '_id', userId: 'author.id', createdAt: 'timestamp' } },
  })

  it('give exactly those columns, from nested fields too', () => {
    const document = { _id: 'm', author: { id: 'a', name: 'ann' }, timestamp: 5, body: 'secret' }
    expect(allRows(mapping, document)).toEqual({ message: [{ id: 'm', userId: 'a', createdAt: 5 }] })
    expect(rowsOf(mapping.tables[0]!, { _id: 'm' })).toEqual([{ id: 'm' }])
  })

  it('call columns by their path, so that another name is a rename', () => {
    expect(mapping.tables[0]!.table.columns.map(({ id }) => id)).toEqual(['_id', 'author.id', 'timestamp'])
  })

  it('need no schema when they have types and a key', () => {
    const { tables } = compiled(null, {
      'shop.orders': {
        collection: { namespace: 'sales', name: 'orders.2024' },
        fields: {
          id: { path: '_id', type: 'text' },
          total: { path: 'amount.value', type: 'decimal(12,2)?' },
          kind: { value: 'web', type: 'text' },
          lines: { expression: { $size: '$items' }, type: 'int32', nullable: true },
        },
        key: ['id'],
      },
    })
    expect(tables[0]).toMatchObject({
      table: { namespace: 'shop', name: 'orders', key: [0] },
      collection: { namespace: 'sales', name: 'orders.2024' },
    })
    expect(tables[0]!.table.columns.map(({ name, nullable }) => [name, nullable])).toEqual([
      ['id', false],
      ['total', true],
      ['kind', false],
      ['lines', true],
    ])
    expect(rowsOf(tables[0]!, { _id: 'o', amount: { value: 3 }, items: [1, 2] })).toEqual([
      { id: 'o', total: 3, kind: 'web', lines: 2 },
    ])
  })

  it('leave the rest to the schema where `exclude` stands beside them', () => {
    const { tables } = compiled(schemaOf('t', 'id', 'a', 'b', 'c'), {
      t: { fields: { id: '_id', a: 'x.y' }, exclude: ['c'] },
    })
    expect(tables[0]!.table.columns.map(({ name, id }) => [name, id])).toEqual([
      ['id', '_id'],
      ['a', 'x.y'],
      ['b', 'b'],
    ])
  })

  it('take an expression or a constant for a column', () => {
    const { tables } = compiled(schemaOf('t', 'id', 'full', 'one', 'dollar'), {
      t: {
        fields: {
          id: '$_id',
          full: { $concat: ['$first', ' ', '$last'] },
          one: { value: 1 },
          dollar: { value: '$first' },
        },
      },
    })
    expect(rowsOf(tables[0]!, { _id: 'x', first: 'Ann', last: 'Lee' })).toEqual([
      { id: 'x', full: 'Ann Lee', one: 1, dollar: '$first' },
    ])
    expect(readPaths(tables[0]!)).toEqual([['_id'], ['first'], ['last']])
  })
})

describe('unwinding', () => {
  const schema = {
    tables: {
      lines: { columns: { order: 'text', nr: 'int32', sku: 'text?', tag: 'text?' }, key: ['order', 'nr'] },
    },
  }
  const document = { _id: 'o', state: 'open', items: [{ sku: 'a' }, { sku: 'b' }, { sku: 'a' }] }

  it('makes a row of each element, with its number', () => {
    const { tables } = compiled(schema, {
      lines: {
        collection: 'orders',
        filter: { state: 'open' },
        unwind: { path: 'items', index: 'place' },
        elementFilter: { 'items.sku': 'a' },
        fields: { order: '_id', nr: 'place', sku: 'items.sku', tag: 'items.tag' },
      },
    })
    expect(rowsOf(tables[0]!, document)).toEqual([
      { order: 'o', nr: 0, sku: 'a' },
      { order: 'o', nr: 2, sku: 'a' },
    ])
    expect(rowsOf(tables[0]!, { ...document, state: 'done' })).toEqual([])
    expect(tables[0]).toMatchObject({ unwind: [{ path: ['items'], indexField: 'place', keepsEmpty: false }] })
  })

  it('goes into arrays in arrays, from the outside to the inside', () => {
    const { tables } = compiled(
      { tables: { tags: { columns: { id: 'text', sku: 'text', tag: 'text' }, key: ['id', 'sku', 'tag'] } } },
      {
        tags: {
          unwind: ['items', 'items.tags'],
          fields: { id: '_id', sku: 'items.sku', tag: 'items.tags' },
        },
      },
    )
    const nested = {
      _id: 'o',
      items: [
        { sku: 'a', tags: ['x', 'y'] },
        { sku: 'b', tags: [] },
        { sku: 'c', tags: ['z'] },
      ],
    }
    expect(rowsOf(tables[0]!, nested)).toEqual([
      { id: 'o', sku: 'a', tag: 'x' },
      { id: 'o', sku: 'a', tag: 'y' },
      { id: 'o', sku: 'c', tag: 'z' },
    ])
  })

  it('keeps documents without elements where the key can be computed', () => {
    const { tables } = compiled(schema, {
      lines: {
        unwind: { path: 'items', index: 'place', keepEmpty: true },
        fields: { order: '_id', nr: { $ifNull: ['$place', -1] }, sku: 'items.sku', tag: 'items.tag' },
      },
    })
    expect(rowsOf(tables[0]!, { _id: 'o', items: [] })).toEqual([{ order: 'o', nr: -1 }])
  })

  it('knows before it begins what needs no element', () => {
    const { tables } = compiled(schema, {
      lines: {
        source: 'orders',
        pipeline: [
          { $unwind: { path: '$items', includeArrayIndex: 'nr' } },
          { $match: { state: 'open' } },
          { $match: { 'items.sku': 'a' } },
          { $addFields: { order: '$_id', sku: '$items.sku', tag: '$items.tag' } },
        ],
      },
    })
    expect(tables[0]!.filter?.paths).toEqual([['state']])
    expect(tables[0]!.elementFilter?.paths).toEqual([['items', 'sku']])
    expect(rowsOf(tables[0]!, document)).toEqual([
      { order: 'o', nr: 0, sku: 'a' },
      { order: 'o', nr: 2, sku: 'a' },
    ])
  })
})

describe('pipelines', () => {
  it('compute fields from fields, and take what the columns are called', () => {
    const { tables } = compiled(schemaOf('members', '_id', 'accountId', 'userId', 'role'), {
      members: {
        source: 'accounts',
        pipeline: [
          { $match: { bundle: 'ENTERPRISE' } },
          { $unwind: '$members' },
          { $addFields: { accountId: '$_id', userId: '$members.id' } },
          {
            $project: {
              _id: { $concat: ['$accountId', '_', '$userId'] },
              accountId: 1,
              userId: 1,
              role: '$members.role',
            },
          },
        ],
      },
    })
    const account = { _id: 'acc', bundle: 'ENTERPRISE', members: [{ id: 'u', role: 'admin' }, { id: 'v' }] }
    expect(rowsOf(tables[0]!, account)).toEqual([
      { _id: 'acc_u', accountId: 'acc', userId: 'u', role: 'admin' },
      { _id: 'acc_v', accountId: 'acc', userId: 'v' },
    ])
    expect(tables[0]!.columns[1]).toEqual({ kind: 'path', path: ['_id'] })
    expect(readPaths(tables[0]!)).toContainEqual(['members', 'id'])
    expect(readPaths(tables[0]!)).not.toContainEqual(['accountId'])
  })

  it('read a field as it was left, where its path would say something else', () => {
    const pipeline = [
      { $addFields: { between: '$a.b' } },
      { $addFields: { inside: '$between.c', _id: '$_id' } },
    ]
    const { tables } = compiled(schemaOf('t', '_id', 'inside'), { t: { pipeline } })
    // An array in an array has no fields.
    expect(rowsOf(tables[0]!, { _id: 'x', a: [{ b: [{ c: 1 }] }] })).toEqual([{ _id: 'x', inside: [] }])
    expect(rowsOf(tables[0]!, { _id: 'x', a: [{ b: { c: 1 } }] })).toEqual([{ _id: 'x', inside: [1] }])
  })

  it('may have their projection beside them', () => {
    const { tables } = compiled(schemaOf('m', '_id', 'name'), {
      m: {
        source: 'accounts',
        pipeline: [{ $unwind: '$members' }],
        projection: { _id: { $concat: ['$_id', '_', '$members.id'] }, name: '$members.name' },
      },
    })
    expect(rowsOf(tables[0]!, { _id: 'a', members: [{ id: 'u', name: 'Ann' }] })).toEqual([
      { _id: 'a_u', name: 'Ann' },
    ])
  })

  it('do not change the document for what comes after, nor for other rows', () => {
    const { tables } = compiled(schemaOf('m', '_id', 'item', 'data'), {
      m: {
        pipeline: [
          { $unwind: '$data.items' },
          { $addFields: { item: '$data.items', _id: { $concat: ['$_id', '$data.items'] } } },
        ],
      },
    })
    expect(rowsOf(tables[0]!, { _id: 'x', data: { items: ['a', 'b'] } })).toEqual([
      { _id: 'xa', item: 'a', data: { items: 'a' } },
      { _id: 'xb', item: 'b', data: { items: 'b' } },
    ])
  })

  it('rename, where the earlier server gave the whole document instead', () => {
    const { tables } = compiled(schemaOf('t', 'id', 'n'), {
      t: { source: 'c', projection: { id: '$_id', n: '$name' } },
    })
    expect(rowsOf(tables[0]!, { _id: 'a', name: 'Ann', secret: 1 })).toEqual([{ id: 'a', n: 'Ann' }])
  })
})

describe('projections', () => {
  it('may take out what is not a column', () => {
    const { tables } = compiled(schemaOf('t', '_id', 'a', 'b'), {
      t: { projection: { secret: 0, 'b.secret': 0 } },
    })
    expect(rowsOf(tables[0]!, { _id: 'x', a: 1, b: { secret: 1, c: 2 }, secret: 3 })).toEqual([
      { _id: 'x', a: 1, b: { c: 2 } },
    ])
  })

  it('give _id unless they say that they do not', () => {
    const both = (projection: object) => compiled(schemaOf('t', '_id', 'a'), { t: { projection } }).tables[0]!
    expect(rowsOf(both({ a: 1 }), { _id: 'x', a: 1 })).toEqual([{ _id: 'x', a: 1 }])
    expect(() => both({ _id: 0, a: 1 })).toThrow('does not give the column')
    const { tables } = compiled(schemaOf('t', 'id', 'a'), { t: { projection: { _id: 0, id: '$_id', a: 1 } } })
    expect(rowsOf(tables[0]!, { _id: 'x', a: 1 })).toEqual([{ id: 'x', a: 1 }])
  })

  it('lead into fields, or to a column that has points in its name', () => {
    const { tables } = compiled(schemaOf('t', '_id', 'sender.id', 'at'), {
      t: { projection: { 'sender.id': 1, at: { by: '$sender.name', on: 1 } } },
    })
    expect(rowsOf(tables[0]!, { _id: 'x', sender: { id: 1, name: 'Ann' }, at: { on: 5, off: 6 } })).toEqual([
      { _id: 'x', 'sender.id': 1, at: { on: 5, by: 'Ann' } },
    ])
  })

  it('say which columns there are where there is no schema, and leave types to the source', () => {
    const columns = (mapping: object) => {
      const { mapping: read } = normalizeMapping({
        schema: null,
        mappings: { t: { source: 'a', ...mapping } } as Json,
      })
      const { columns: all, rest } = read!.tables[0]!
      return {
        columns: all.map(({ name, rule, type }) => [name, rule, type]),
        rest: rest?.exclude.map(({ name }) => name),
      }
    }
    const path = (...names: readonly string[]) => ({ kind: 'path', path: names })
    expect(columns({ projection: { id: 1, n: '$name' } })).toEqual({
      columns: [
        ['id', path('id'), null],
        ['n', path('name'), null],
      ],
      rest: undefined,
    })
    expect(columns({ projection: { secret: 0 } })).toEqual({ columns: [], rest: ['secret'] })
    expect(columns({ fields: { n: 'name' }, exclude: ['secret'] })).toEqual({
      columns: [['n', path('name'), null]],
      rest: ['secret'],
    })
    expect(columns({})).toEqual({ columns: [], rest: [] })
  })
})

describe('fingerprints', () => {
  const fields = { id: '_id', a: 'x', b: { $add: ['$x', 1] } }
  const schema = schemaOf('t', 'id', 'a', 'b')
  const of = (mapping: object) => compiled(schema, { t: mapping }).tables[0]!

  it('do not depend on the order of keys', () => {
    const one = of({ collection: 'c', filter: { x: 1, y: { $gt: 1, $lt: 5 } }, fields })
    const other = of({
      fields: { b: fields.b, id: '_id', a: 'x' },
      filter: { y: { $lt: 5, $gt: 1 }, x: 1 },
      collection: 'c',
    })
    expect([other.fingerprint, other.columnFingerprints]).toEqual([one.fingerprint, one.columnFingerprints])
  })

  it('change with what has rows, and column by column', () => {
    const one = of({ filter: { x: 1 }, fields })
    expect(of({ filter: { x: 2 }, fields }).fingerprint).not.toBe(one.fingerprint)
    expect(of({ collection: 'c', filter: { x: 1 }, fields }).fingerprint).not.toBe(one.fingerprint)
    const other = of({ filter: { x: 1 }, fields: { ...fields, b: { $add: ['$x', 2] } } })
    expect(other.fingerprint).toBe(one.fingerprint)
    expect(Object.keys(other.columnFingerprints).filter((id) => id in one.columnFingerprints)).toEqual([
      '_id',
      'x',
    ])
  })

  it('change with a condition on something that is computed otherwise', () => {
    const pipeline = (add: number) => ({
      pipeline: [{ $addFields: { a: { $add: ['$x', add] }, b: 1, id: '$_id' } }, { $match: { a: 5 } }],
    })
    expect(of(pipeline(1)).fingerprint).not.toBe(of(pipeline(2)).fingerprint)
    expect(of(pipeline(1)).fingerprint).toBe(of(pipeline(1)).fingerprint)
  })

  it('give two columns of one path two ids', () => {
    const { table } = of({ fields: { id: '_id', a: '_id', b: 'x' } })
    expect(table.columns.map(({ name, id }) => [name, id])).toEqual([
      ['id', '_id#id'],
      ['a', '_id'],
      ['b', 'x'],
    ])
  })
})
