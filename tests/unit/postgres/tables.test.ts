import { describe, expect, it } from 'vitest'

import type { CatalogTable } from '../../../src/connectors/sources/postgres/catalog.ts'
import type { StoredTable } from '../../../src/connectors/sources/postgres/position.ts'
import { goneTables, needsCopy, stillPublished } from '../../../src/connectors/sources/postgres/tables.ts'

function published(name: string, oid: number, membership = '1/1'): CatalogTable {
  return { namespace: 'public', name, oid, membership } as CatalogTable
}

function known(oid: number, copiedAt: string | null = '0/1'): StoredTable {
  return { oid, membership: '1/1', copiedAt } as StoredTable
}

describe('the tables of a position', () => {
  const tables = { 'public.a': known(1), 'public.b': known(2), 'public.c': known(3, null) }

  it.each([
    { what: 'as they were', now: [published('a', 1), published('b', 2)], kept: ['a', 'b'], gone: [3] },
    { what: 'one made again', now: [published('a', 7), published('c', 3)], kept: ['c'], gone: [1, 2] },
    { what: 'names changed', now: [published('a', 2), published('b', 1)], kept: [], gone: [1, 2, 3] },
    { what: 'one was out for a while', now: [published('a', 1, '1/9')], kept: [], gone: [2, 3] },
    { what: 'nothing', now: [], kept: [], gone: [1, 2, 3] },
  ])('against those that are published: $what', ({ now, kept, gone }) => {
    expect(Object.keys(stillPublished(tables, now))).toEqual(kept.map((name) => `public.${name}`))
    expect(goneTables(tables, now).map(({ oid }) => oid)).toEqual(gone)
  })

  it('need a copy when one is new, or was not copied', () => {
    expect(needsCopy(tables, [published('a', 1), published('b', 2)])).toBe(false)
    expect(needsCopy(tables, [published('c', 3)])).toBe(true)
    expect(needsCopy(tables, [published('d', 4)])).toBe(true)
  })
})
