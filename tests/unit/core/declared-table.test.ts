import { describe, expect, it } from 'vitest'
import { parseType, TYPE_NAMES } from '../../../src/core/column-type.ts'
import { declareTable, type TableDeclaration } from '../../../src/core/declared-table.ts'
import { SchemaError } from '../../../src/core/error.ts'

describe('a declared table', () => {
  it('is the schema that it says', () => {
    expect(
      declareTable('shop.orders', {
        key: ['id', 'tenant'],
        columns: { tenant: 'text', id: 'int64', note: 'array of text?' },
      }),
    ).toEqual({
      namespace: 'shop',
      name: 'orders',
      columns: [
        { id: 'tenant', name: 'tenant', type: { kind: 'text' }, nullable: false, native: 'text' },
        {
          id: 'id',
          name: 'id',
          type: { kind: 'int', bits: 64, unsigned: false },
          nullable: false,
          native: 'int64',
        },
        {
          id: 'note',
          name: 'note',
          type: { kind: 'array', of: { kind: 'text' }, dimensions: 1 },
          nullable: true,
          native: 'array of text?',
        },
      ],
      key: [1, 0],
      version: 0,
    })
  })

  it('may have points in its name, not in its namespace', () => {
    const { namespace, name } = declareTable('a.b.c', { key: ['id'], columns: { id: 'int32' } })
    expect({ namespace, name }).toEqual({ namespace: 'a', name: 'b.c' })
  })

  it.each([
    ['declaration/name', 'orders', { key: ['id'], columns: { id: 'int32' } }, 'declared as "orders"'],
    ['declaration/name', undefined, { key: ['id'], columns: { id: 'int32' } }, 'declared as "undefined"'],
    [
      'declaration/type',
      's.t',
      { key: ['id'], columns: { id: 'int' } },
      'column "id" of table s.t has the unknown type "int", did you mean',
    ],
    ['declaration/type', 's.t', { key: ['id'], columns: { id: 5 } }, 'unknown type "5"'],
    ['declaration/type', 's.t', { key: ['id'], columns: 'id' }, 'column "0" of table s.t'],
    ['declaration/key', 's.t', { key: ['id'] }, 'the key of table s.t is not'],
    ['declaration/key', 's.t', { key: [], columns: { id: 'int32' } }, 'the key of table s.t is not'],
    ['declaration/key', 's.t', { key: 'id', columns: { id: 'int32' } }, 'the key of table s.t is not'],
    ['declaration/key', 's.t', { key: ['no'], columns: { id: 'int32' } }, 'the key of table s.t is not'],
    ['declaration/key', 's.t', { columns: { id: 'int32' } }, 'the key of table s.t is not'],
    [
      'declaration/key',
      's.t',
      { key: ['id'], columns: { id: 'int32?' } },
      'column "id" of table s.t is in the key and may be NULL',
    ],
  ])('is refused with %s: %s %j', (code, name, declaration, message) => {
    const declare = () => declareTable(name as string, declaration as unknown as TableDeclaration)
    expect(declare).toThrow(SchemaError)
    expect(declare).toThrow(message)
    expect(declare).toThrow(expect.objectContaining({ code }))
  })

  it('says in its messages only names that it knows', () => {
    expect(TYPE_NAMES.filter((name) => parseType(name) === null)).toEqual([])
  })
})
