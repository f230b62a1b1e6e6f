import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { Reading } from '../../../../src/core/mapping/formats/reading.ts'
import { schemaCode } from '../../../../src/core/mapping/formats/schema-code.ts'
import { readSchema } from '../../../../src/core/mapping/formats/schema-read.ts'
import { declareTable, defineMappings, defineSchema, packRows, type RowOf } from '../../../../src/index.ts'
import type { Json } from '../../../../src/core/position.ts'
import { RowView } from '../../../../src/core/row-view.ts'
import { startCli } from '../../../support/cli.ts'

const schema = defineSchema({
  tables: {
    orders: {
      columns: {
        id: 'int64',
        total: 'decimal(12,2)',
        note: 'text?',
        at: 'timestamp(3) with time zone',
        tags: 'array of text?',
        raw: 'bytes',
        open: { type: 'bool', nullable: true },
      },
      key: ['id'],
    },
    'shop.lines': { columns: { order: 'int64', count: 'int32' }, key: ['order'] },
  },
})

interface Order {
  readonly id: bigint
  readonly total: string
  readonly note: string | null
  readonly at: string
  readonly tags: readonly (string | null)[] | null
  readonly raw: Uint8Array
  readonly open: boolean | null
}

// What fails to compile here is found by `tsc -p .`; a mistake that compiles is found by its @ts-expect-error.
describe('the types of rows', () => {
  it('follow from a schema', () => {
    expectTypeOf<RowOf<typeof schema, 'orders'>>().toEqualTypeOf<Order>()
    expectTypeOf<RowOf<typeof schema, 'shop.lines'>>().toEqualTypeOf<{
      readonly order: bigint
      readonly count: number
    }>()
    // @ts-expect-error There is no such table.
    expectTypeOf<RowOf<typeof schema, 'order'>>().toBeObject()
    expect(schema.tables.orders.columns.id).toBe('int64')
  })

  it('follow from the formats of earlier schemas and of Zero', () => {
    const earlier = defineSchema({
      message: {
        tableName: 'message',
        columns: { id: { type: 'string' }, createdAt: { type: 'number', optional: true } },
        primaryKey: ['id'],
      },
    })
    expectTypeOf<RowOf<typeof earlier, 'message'>>().toEqualTypeOf<{
      readonly id: string
      readonly createdAt: number | null
    }>()
    const byName = defineSchema({
      tables: {
        users: {
          columns: { _id: { type: 'string' }, age: { type: 'number' }, at: { type: 'date', notNull: true } },
        },
      },
    })
    expectTypeOf<RowOf<typeof byName, 'users'>>().toEqualTypeOf<{
      readonly _id: string
      readonly age: number | null
      readonly at: string
    }>()
    const zero = defineSchema({
      tables: {
        issue: {
          name: 'issue',
          columns: {
            id: { type: 'string' },
            modified: { type: 'number', optional: true, serverName: 'modified_at' },
          },
          primaryKey: ['id'],
        },
      },
    })
    expectTypeOf<RowOf<typeof zero, 'issue'>>().toEqualTypeOf<{
      readonly id: string
      readonly modified_at: number | null
    }>()
  })

  it('are those of the values that rows have', () => {
    const table = declareTable('db.orders', {
      key: ['id'],
      columns: { id: 'int64', count: 'int32', tags: 'array of text?' },
    })
    const small = defineSchema({
      tables: { orders: { columns: { id: 'int64', count: 'int32', tags: 'array of text?' }, key: ['id'] } },
    })
    const rows = packRows(table, [{ id: 1n, count: 2, tags: ['a', null] }])
    const row = new RowView(table, rows, 0).toObject() as RowOf<typeof small, 'orders'>
    expectTypeOf(row.id).toEqualTypeOf<bigint>()
    expect(row).toEqual({ id: 1n, count: 2, tags: ['a', null] })
  })

  it('know mistakes in a schema while it is written, and refuse them when it runs', () => {
    expect(() =>
      defineSchema({
        tables: {
          orders: {
            columns: {
              // @ts-expect-error There is no such type.
              id: 'int65',
            },
            key: ['id'],
          },
        },
      }),
    ).toThrow('schema.tables.orders.columns.id: is the unknown type "int65"')
    expect(() =>
      defineSchema({
        tables: {
          orders: {
            columns: { id: 'int64' },
            // @ts-expect-error There is no such column.
            key: ['ID'],
          },
        },
      }),
    ).toThrow('schema.tables.orders.key.0: must be a column of the table; did you mean "id"?')
  })
})

describe('mappings in TypeScript', () => {
  const exclude = ['at', 'tags', 'raw', 'open'] as const

  it('are what they were written as', () => {
    const mappings = defineMappings(schema, {
      orders: {
        collection: 'sales',
        filter: { kind: 'web' },
        fields: { id: '_id', total: 'sum.value', note: { $toUpper: '$note' } },
        exclude,
      },
      'shop.lines': { unwind: 'lines', fields: { order: 'lines.order', count: { value: 1 } } },
    })
    expect(mappings.orders.fields.total).toBe('sum.value')
  })

  it('with an unknown column neither compile nor run', () => {
    expect(() =>
      defineMappings(schema, {
        orders: {
          // @ts-expect-error There is no such column.
          fields: { id: '_id', total: 'x', noet: 'y' },
          exclude,
        },
      }),
    ).toThrow(
      'mappings.orders.fields.noet: is no column of table "orders" in the schema; did you mean "note"?',
    )
    expect(() =>
      defineMappings(schema, {
        orders: {
          fields: { id: '_id', total: 'x', note: 'y' },
          // @ts-expect-error There is no such column.
          exclude: [...exclude, 'nothing'],
        },
      }),
    ).toThrow('mappings.orders.exclude.4: is no column')
  })

  it('with an unknown option neither compile nor run', () => {
    expect(() =>
      defineMappings(schema, {
        'shop.lines': {
          // @ts-expect-error There is no such option.
          colection: 'lines',
        },
      }),
    ).toThrow('mappings.shop.lines.colection: is unknown here; did you mean "collection"?')
    expect(() =>
      defineMappings(schema, {
        'shop.lines': {
          projection: {
            order: 1,
            count: 1,
            // @ts-expect-error There is no such column.
            nothing: 1,
          },
        },
      }),
    ).toThrow('mappings.shop.lines.projection.nothing: is no column of table "lines"')
  })

  it('of an unknown table neither compile nor run', () => {
    expect(() =>
      defineMappings(schema, {
        // @ts-expect-error There is no such table.
        oders: { collection: 'orders' },
      }),
    ).toThrow('mappings.oders: is no table of the schema; did you mean "orders"?')
  })
})

describe('the code for a schema file', () => {
  const json: Json = {
    tables: {
      orders: { columns: { id: 'int64', note: 'text?', 'a-b': 'array of array of int32' }, key: ['id'] },
      'shop.order_lines': { columns: { id: 'uuid', data: 'bytes?' }, key: ['id'] },
    },
  }
  const code = `export interface Orders {
  /** int64 */
  readonly id: bigint
  /** text? */
  readonly note: string | null
  /** array of array of int32 */
  readonly "a-b": readonly (readonly (number | null)[])[]
}

export interface ShopOrderLines {
  /** uuid */
  readonly id: string
  /** bytes? */
  readonly data: Uint8Array | null
}

export interface Tables {
  readonly orders: Orders
  readonly "shop.order_lines": ShopOrderLines
}
`

  it('has an interface for each table', () => {
    expect(schemaCode(readSchema(json, new Reading('schema')))).toBe(code)
  })

  it('is printed by `sluice types`, and every mistake in the file instead', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-types-'))
    try {
      const file = join(folder, 'schema.json')
      writeFileSync(file, JSON.stringify(json))
      const printed = startCli(['types', file])
      expect((await printed.done).code).toBe(0)
      expect(printed.stdout()).toBe(code)
      writeFileSync(file, '{"tables": {"orders": {"columns": {"id": "int65"}, "key": ["ID"]}}}')
      const failed = startCli(['types', file])
      expect((await failed.done).code).toBe(2)
      expect(failed.stderr()).toContain(
        `${file}:1:42 tables.orders.columns.id: is the unknown type "int65"; did you mean "int64"?`,
      )
      expect(failed.stderr()).toContain('tables.orders.key[0]: must be a column of the table')
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
