import { describe, expect, it } from 'vitest'
import {
  type PlanOptions,
  planTable,
  textColumns,
  type WantedTable,
} from '../../../src/connectors/sinks/zero/plan.ts'
import type { ZqlType } from '../../../src/connectors/sinks/zero/types.ts'
import { type ColumnType, parseType } from '../../../src/core/column-type.ts'
import type { TableSchema } from '../../../src/core/table.ts'

const OPTIONS: PlanOptions = {
  bigints: 'number',
  decimals: 'exact',
  defaultNamespace: 'shop',
  textColumns: textColumns([]),
}

function table(columns: Readonly<Record<string, string>>, key: readonly string[] = ['id']): TableSchema {
  const names = Object.keys(columns)
  return {
    namespace: 'shop',
    name: 'orders',
    columns: names.map((name, index) => ({
      id: String(index),
      name,
      type: parseType(columns[name]!.replace('?', '')) as ColumnType,
      nullable: columns[name]!.endsWith('?'),
      native: '',
    })),
    key: key.map((name) => names.indexOf(name)),
    version: 0,
  }
}

const wanted = (columns: Readonly<Record<string, `${ZqlType}${'?' | ''}`>>): WantedTable => ({
  columns: new Map(
    Object.entries(columns).map(([name, type]) => [
      name,
      { type: type.replace('?', '') as ZqlType, optional: type.endsWith('?') },
    ]),
  ),
})

const ORDERS = table({ note: 'text?', id: 'int64', total: 'decimal(12,2)', region: 'text' }, ['region', 'id'])

describe('the first version of a table', () => {
  it('has the key in its order, and slots in the order of the columns', () => {
    expect(planTable(ORDERS, OPTIONS, null)).toEqual({
      problems: [],
      version: {
        source: 'shop.orders',
        schema: 'public',
        name: 'orders',
        key: [
          { id: '3', name: 'region', dataType: 'text', notNull: true, encoding: 'string' },
          { id: '1', name: 'id', dataType: 'int8', notNull: true, encoding: 'integer' },
        ],
        slots: [
          { id: '0', name: 'note', dataType: 'text', notNull: false, encoding: 'string', missing: null },
          { id: '2', name: 'total', dataType: 'numeric', notNull: true, encoding: 'decimal', missing: null },
        ],
      },
    })
  })

  it('survives JSON, in which the log keeps it', () => {
    const { version } = planTable(table({ id: 'int32', tags: 'array of text' }), OPTIONS, null)
    expect(JSON.parse(JSON.stringify(version))).toEqual(version)
    expect(version!.slots[0]).toMatchObject({ dataType: 'text[]', elemPgTypeClass: 'b' })
  })

  it('calls no key column nullable: its index would not count', () => {
    const { version } = planTable(table({ id: 'int32?' }), OPTIONS, null)
    expect(version!.key[0]!.notNull).toBe(true)
  })

  it('has as text what options name', () => {
    const options = { ...OPTIONS, textColumns: textColumns(['shop.ord*.to*', '!*.tomb', '*.*.id']) }
    const { version } = planTable(
      table({ id: 'int64', total: 'decimal(5,1)', tomb: 'bool', other: 'bool' }),
      options,
      null,
    )
    expect(version!.key.map(({ encoding }) => encoding)).toEqual(['string'])
    expect(version!.slots.map((slot) => slot!.encoding)).toEqual(['string', 'boolean', 'boolean'])
  })
})

describe('a client schema', () => {
  it('selects columns and their types; the key always belongs', () => {
    const { version, problems } = planTable(ORDERS, OPTIONS, wanted({ id: 'string', total: 'string' }))
    expect(problems).toEqual([])
    expect(version!.key.map(({ name, encoding }) => [name, encoding])).toEqual([
      ['region', 'string'],
      ['id', 'string'],
    ])
    expect(version!.slots.map((slot) => [slot!.name, slot!.encoding])).toEqual([['total', 'string']])
  })

  it('that the source does not meet is told completely', () => {
    const source = table({
      id: 'int64',
      note: 'text?',
      flag: 'bool',
      total: 'decimal(12,2)',
      'bad name': 'text',
    })
    const options = { ...OPTIONS, textColumns: textColumns(['*.total']) }
    const { version, problems } = planTable(
      source,
      options,
      wanted({
        id: 'json',
        note: 'string',
        flag: 'number',
        total: 'number',
        gone: 'string',
        Flag: 'boolean',
      }),
    )
    expect(problems.map(({ severity, message }) => `${severity} ${message}`)).toEqual([
      'error a client\'s schema has a column "gone" of table shop.orders, and the source does not',
      'error a client\'s schema has a column "Flag" of table shop.orders, and the source does not',
      'error column "id" of table shop.orders is int64 in the source, and a client\'s schema wants it as json',
      'warning column "note" of table shop.orders may be NULL, and a client\'s schema does not call it optional',
      'error column "flag" of table shop.orders is bool in the source, and a client\'s schema wants it as number',
      'error column "total" of table shop.orders is named in `textColumns`, and a client\'s schema wants it as number',
    ])
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(['zero/schema-mismatch']))
    // Rows could still be served: for a pipeline that runs already.
    expect(version).not.toBe(null)
  })
})

describe('a table that Zero cannot have', () => {
  it('is refused with everything that is wrong', () => {
    const { version, problems } = planTable(
      table({ 'a b': 'int32', doc: 'json', tags: 'array of text', ID: 'int32', id: 'int32' }, [
        'doc',
        'tags',
      ]),
      OPTIONS,
      null,
    )
    expect(version).toBe(null)
    expect(problems.map(({ code, message }) => `${code} ${message}`)).toEqual([
      'zero/name column "a b" of table shop.orders has a name that Zero does not take',
      'zero/name columns of table shop.orders "ID" and "id" have the same name in Zero, whose replica does not tell case apart',
      'zero/key-type column "doc" of table shop.orders belongs to the key and is JSON, which no key of Zero is',
      'zero/key-type column "tags" of table shop.orders belongs to the key and is an array, which no key of Zero is',
    ])
  })

  it('has no key', () => {
    const { version, problems } = planTable(table({ a: 'int32' }, []), OPTIONS, null)
    expect(version).toBe(null)
    expect(problems).toMatchObject([{ code: 'zero/no-key', severity: 'error' }])
  })

  it('can be had when a key column is text by option, and bad names are not selected', () => {
    const source = table({ doc: 'json', 'a b': 'int32' }, ['doc'])
    const options = { ...OPTIONS, textColumns: textColumns(['shop.orders.doc']) }
    expect(planTable(source, options, wanted({})).version!.key[0]!.encoding).toBe('string')
  })
})
