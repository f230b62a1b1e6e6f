import { v0 } from '@rocicorp/zero/change-protocol/v0'
import { describe, expect, it } from 'vitest'
import * as messages from '../../../src/connectors/sinks/zero/messages.ts'
import type { Slot, VersionColumn } from '../../../src/connectors/sinks/zero/table-version.ts'

const column = (
  name: string,
  dataType = 'text',
  encoding: VersionColumn['encoding'] = 'string',
): VersionColumn => ({
  id: name,
  name,
  dataType,
  notNull: false,
  encoding,
})
const slot = (name: string): Slot => ({ ...column(name), missing: null })
const id = { ...column('id', 'int4', 'integer'), notNull: true }
const tags: VersionColumn = { ...column('tags', 'text[]', 'string[]'), elemPgTypeClass: 'b' }
const orders = { schema: 'public', name: 'orders' }

/** The message, valid for zero-cache, which must know each of its fields. */
function valid(text: string): unknown {
  const message = JSON.parse(text) as unknown
  v0.changeStreamMessageSchema.parse(message, { mode: 'strict' })
  return message
}

describe('every message is one that zero-cache knows', () => {
  it('begin, in the mode whose JSON columns are texts, and commit with the same watermark', () => {
    expect(valid(messages.begin('0a'))).toEqual([
      'begin',
      { tag: 'begin', json: 's' },
      { commitWatermark: '0a' },
    ])
    expect(valid(messages.commit('0a', null))).toEqual(['commit', { tag: 'commit' }, { watermark: '0a' }])
    expect(valid(messages.commit('0a', 123))).toEqual([
      'commit',
      { tag: 'commit', commitTimeMs: 123 },
      { watermark: '0a' },
    ])
  })

  it('rollback and reset-required', () => {
    expect(valid(messages.ROLLBACK)).toEqual(['rollback', { tag: 'rollback' }])
    expect(valid(messages.resetRequired('why'))).toMatchObject([
      'control',
      { tag: 'reset-required', message: 'why' },
    ])
  })

  it('create-table, with a unique index over its key', () => {
    const columns = [id, column('name'), tags].map((one, index) => ({ ...one, pos: index + 1 }))
    const [table, index] = messages.createTable(orders, [id], columns).map(valid)
    expect(table).toEqual([
      'data',
      {
        tag: 'create-table',
        spec: {
          ...orders,
          primaryKey: ['id'],
          columns: {
            id: { pos: 1, dataType: 'int4', notNull: true },
            name: { pos: 2, dataType: 'text', notNull: false },
            tags: { pos: 3, dataType: 'text[]', notNull: false, elemPgTypeClass: 'b' },
          },
        },
        metadata: { rowKey: { columns: ['id'] } },
      },
    ])
    expect(index).toMatchObject([
      'data',
      { tag: 'create-index', spec: { tableName: 'orders', unique: true, columns: { id: 'ASC' } } },
    ])
  })

  it('drop-table, its index first', () => {
    expect(messages.dropTable(orders).map(valid)).toMatchObject([
      ['data', { tag: 'drop-index' }],
      ['data', { tag: 'drop-table', id: orders }],
    ])
  })

  it('truncate, and the changes of columns', () => {
    expect(valid(messages.truncate(orders, [id]))).toEqual([
      'data',
      { tag: 'truncate', relations: [{ ...orders, rowKey: { columns: ['id'] } }] },
    ])
    expect(valid(messages.addColumn(orders, column('a'), 4, '7'))).toMatchObject([
      'data',
      { tag: 'add-column', column: { name: 'a', spec: { pos: 4, dflt: '7' } } },
    ])
    expect(valid(messages.addColumn(orders, tags, 4, null))).toMatchObject([
      'data',
      { column: { spec: { dflt: null, elemPgTypeClass: 'b' } } },
    ])
    expect(
      valid(messages.changeColumn(orders, column('a'), column('b', 'int8', 'integer'), 4)),
    ).toMatchObject([
      'data',
      {
        tag: 'update-column',
        old: { name: 'a', spec: { dataType: 'text' } },
        new: { name: 'b', spec: { dataType: 'int8', pos: 4 } },
      },
    ])
    expect(valid(messages.dropColumn(orders, 'a'))).toEqual([
      'data',
      { tag: 'drop-column', table: orders, column: 'a' },
    ])
  })

  it('whatever the names hold', () => {
    const name = 'a"b\\c\n{}'
    const named = { schema: 'public', name }
    for (const text of [
      ...messages.createTable(named, [{ ...id, name }], [{ ...id, name, pos: 1 }]),
      messages.dropColumn(named, name),
    ])
      expect(JSON.stringify(valid(text))).toContain(JSON.stringify(name).slice(1, -1))
  })
})

describe('a default', () => {
  it.each([
    ['integer', 'int4', '42', '42'],
    ['decimal', 'numeric', '-1.50', '-1.50'],
    ['boolean', 'boolean', 'true', 'true'],
    ['float', 'float8', '1e+21', '1e+21'],
    ['string', 'text', '"not yet (0/1)"', `'not yet (0/1)'::text`],
    ['string', 'varchar', '""', `''::varchar`],
  ] as const)(
    'of encoding %s (%s) is a literal that zero-cache reads',
    (encoding, dataType, json, literal) => {
      expect(messages.literalDefault(column('a', dataType, encoding), json)).toBe(literal)
    },
  )

  it.each(['json', 'base64', 'date', 'time', 'timestamp', 'integer[]', 'json[]'] as const)(
    'of encoding %s is none: the rows have to be sent',
    (encoding) => expect(messages.literalDefault(column('a', 'text', encoding), '"x"')).toBeNull(),
  )
})

describe('a default that somebody might read otherwise', () => {
  it.each([`it's`, 'a "b"', 'a\\b', 'line\n', 'e\u0301', `'; DROP TABLE x; --`, '$$', 'a::b\u0000'])(
    '%j is none',
    (text) => expect(messages.literalDefault(column('a'), JSON.stringify(text))).toBeNull(),
  )
})

describe('the position of a column', () => {
  it('stays as others come and go: the key first, then the slots with their holes', () => {
    const [a, b] = [slot('a'), slot('b')]
    const positions = messages.positionsOf({
      source: 'public.orders',
      ...orders,
      key: [id],
      slots: [a, null, b],
    })
    expect([id, a, b].map((one) => positions.get(one))).toEqual([1, 2, 4])
  })
})
