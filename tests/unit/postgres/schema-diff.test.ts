import { describe, expect, it } from 'vitest'

import {
  type CatalogColumn,
  type CatalogTable,
  storedTable,
} from '../../../src/connectors/sources/postgres/catalog.ts'
import type { StoredTable } from '../../../src/connectors/sources/postgres/position.ts'
import type { RelationMessage } from '../../../src/connectors/sources/postgres/relation.ts'
import {
  catalogShape,
  diffSchema,
  relationOf,
  sameShape,
  type SchemaDiff,
  storedShape,
  wasReplaced,
  wasRewritten,
} from '../../../src/connectors/sources/postgres/schema-diff.ts'
import type { PgTypes } from '../../../src/connectors/sources/postgres/types.ts'

const INT4 = 23
const INT8 = 20
const TEXT = 25
const VARCHAR = 1043
const MONEY = 790
const TYPES: PgTypes = new Map()

type Spec = Partial<CatalogColumn> & { readonly number: number; readonly name: string }

function catalog(columns: readonly Spec[], more: Partial<CatalogTable> = {}): CatalogTable {
  return {
    oid: 1000,
    namespace: 'public',
    name: 't',
    identity: 'd',
    partitioned: false,
    file: 5,
    lastNumber: Math.max(...columns.map(({ number }) => number)),
    membership: '1/1',
    rows: 0,
    pages: 0,
    key: [1],
    columns: columns.map((column) => ({
      type: INT4,
      modifier: -1,
      dimensions: 0,
      notNull: false,
      changedBy: '1',
      missing: null,
      rewritten: false,
      ...column,
    })),
    rowFilter: null,
    selectable: true,
    rowSecurity: false,
    owned: true,
    ...more,
  }
}

function known(columns: readonly Spec[], more: Partial<CatalogTable> = {}): StoredTable {
  return storedTable(catalog(columns, more), TYPES, '0/100')
}

const ID: Spec = { number: 1, name: 'id', notNull: true }
const A: Spec = { number: 2, name: 'a' }
const B: Spec = { number: 3, name: 'b' }

/** The diff when the catalog is exactly that of the relation. */
function diff(stored: StoredTable, now: CatalogTable): SchemaDiff {
  return diffSchema(stored, relationOf(now), now, TYPES)
}

function kinds(of: SchemaDiff): readonly string[] {
  return of.steps.map(({ change }) => {
    switch (change.kind) {
      case 'add-column':
      case 'drop-column':
        return `${change.kind} ${change.column.name}`
      case 'rename-column':
        return `${change.kind} ${change.from.name} ${change.to.name}`
      case 'alter-column':
        return `${change.kind} ${change.from.name}`
      case 'create-table':
      case 'drop-table':
      case 'truncate':
      case 'change-key':
        return change.kind
    }
    return ''
  })
}

/** Every step begins where the one before ended, and names are never taken twice. */
function expectChain(stored: StoredTable, of: SchemaDiff): void {
  let at = stored.schema
  for (const step of of.steps) {
    expect(step.before).toEqual(at)
    expect(step.after.version).toBe(at.version + 1)
    const names = step.after.columns.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    at = step.after
  }
  expect(of.next.schema).toEqual(at)
  for (const index of of.next.schema.key) expect(of.next.schema.columns[index]).toBeDefined()
}

interface Case {
  readonly name: string
  readonly before: readonly Spec[]
  readonly after: readonly Spec[]
  readonly steps: readonly string[]
  readonly again: boolean
  readonly more?: Partial<CatalogTable>
}

const CASES: readonly Case[] = [
  { name: 'nothing', before: [ID, A], after: [ID, A], steps: [], again: false },
  { name: 'a new column', before: [ID, A], after: [ID, A, B], steps: ['add-column b'], again: false },
  {
    name: 'two new columns',
    before: [ID],
    after: [ID, A, B],
    steps: ['add-column a', 'add-column b'],
    again: false,
  },
  {
    name: 'a new column that was rewritten with values',
    before: [ID, A],
    after: [ID, A, { ...B, rewritten: true }],
    steps: ['add-column b'],
    again: true,
  },
  {
    name: 'a new column in a table that was rewritten',
    before: [ID, A],
    after: [ID, A, B],
    steps: ['add-column b'],
    again: true,
    more: { file: 6 },
  },
  {
    name: 'a new column where another was in between',
    before: [ID, A],
    after: [ID, A, { ...B, number: 4 }],
    steps: ['add-column b'],
    again: true,
  },
  { name: 'a dropped column', before: [ID, A, B], after: [ID, B], steps: ['drop-column a'], again: false },
  {
    name: 'a dropped column in a table that was rewritten',
    before: [ID, A, B],
    after: [ID, B],
    steps: ['drop-column a'],
    again: false,
    more: { file: 6 },
  },
  {
    name: 'a renamed column',
    before: [ID, A, B],
    after: [ID, { ...A, name: 'c' }, B],
    steps: ['rename-column a c'],
    again: false,
  },
  {
    name: 'a renamed key column',
    before: [ID, A],
    after: [{ ...ID, name: 'key' }, A],
    steps: ['rename-column id key'],
    again: false,
  },
  {
    name: 'a column that was dropped and added again',
    before: [ID, A],
    after: [ID, { ...A, number: 3 }],
    steps: ['drop-column a', 'add-column a'],
    again: true,
  },
  {
    name: 'a dropped and another new column',
    before: [ID, A],
    after: [ID, B],
    steps: ['drop-column a', 'add-column b'],
    again: true,
  },
  {
    name: 'names that move on',
    before: [ID, A, B],
    after: [ID, { ...A, name: 'b' }, { ...B, name: 'c' }],
    steps: ['rename-column b c', 'rename-column a b'],
    again: true,
  },
  {
    name: 'names that change places',
    before: [ID, A, B],
    after: [ID, { ...A, name: 'b' }, { ...B, name: 'a' }],
    steps: ['rename-column a sluice_renaming_2', 'rename-column b a', 'rename-column sluice_renaming_2 b'],
    again: true,
  },
  {
    name: 'a renamed column and a new one of its name',
    before: [ID, A],
    after: [ID, { ...A, name: 'old' }, { ...B, name: 'a' }],
    steps: ['rename-column a old', 'add-column a'],
    again: true,
  },
  {
    name: 'another type',
    before: [ID, A],
    after: [ID, { ...A, type: INT8 }],
    steps: ['alter-column a'],
    again: true,
  },
  {
    name: 'another type and name',
    before: [ID, A],
    after: [ID, { ...A, name: 'c', type: TEXT }],
    steps: ['rename-column a c', 'alter-column c'],
    again: true,
  },
  {
    name: 'another limit of text',
    before: [ID, { ...A, type: VARCHAR, modifier: 14 }],
    after: [ID, { ...A, type: VARCHAR, modifier: 24 }],
    steps: [],
    again: false,
  },
  {
    name: 'another limit of text, rewritten',
    before: [ID, { ...A, type: VARCHAR, modifier: 14 }],
    after: [ID, { ...A, type: TEXT }],
    steps: [],
    again: true,
    more: { file: 6 },
  },
  {
    name: 'another key',
    before: [ID, A],
    after: [ID, A],
    steps: ['change-key'],
    again: true,
    more: { key: [2] },
  },
  {
    name: 'a larger key',
    before: [ID, A],
    after: [ID, A],
    steps: ['change-key'],
    again: true,
    more: { key: [1, 2] },
  },
  {
    name: 'a key column that is dropped',
    before: [ID, A],
    after: [A],
    steps: ['drop-column id', 'change-key'],
    again: true,
    more: { key: [2] },
  },
]

describe('the difference of two schemas', () => {
  it.each(CASES)('$name', ({ before, after, steps, again, more }) => {
    const stored = known(before)
    const now = catalog(after, more)
    const found = diff(stored, now)
    expect(kinds(found)).toEqual(steps)
    expect(found.copyAgain).toBe(again)
    expectChain(stored, found)
    // Applied, the next Relation message is no news, and neither is the catalog.
    expect(sameShape(found.next, relationOf(now))).toBe(true)
    expect(storedShape(found.next)).toBe(catalogShape(now))
    expect(found.next.copiedAt).toBe(again ? null : '0/100')
    expect(found.next).toMatchObject({ file: now.file, lastNumber: now.lastNumber })
    expect(diff(found.next, now).steps).toEqual([])
  })

  it('copies again when a rewrite changed a column and left its type, and not after a TRUNCATE', () => {
    const stored = known([ID, A])
    expect(wasRewritten(stored, catalog([ID, { ...A, changedBy: '2' }], { file: 6 }))).toBe(true)
    expect(diff(stored, catalog([ID, { ...A, changedBy: '2' }], { file: 6 })).copyAgain).toBe(true)
    expect(wasRewritten(stored, catalog([ID, A], { file: 6 }))).toBe(false)
    expect(wasRewritten(stored, catalog([ID, { ...A, changedBy: '2' }]))).toBe(false)
  })

  it('copies again when one column of a key of two is dropped and the other stays the key', () => {
    const stored = known([ID, A, B], { key: [1, 2] })
    const of = diff(stored, catalog([ID, B], { key: [1] }))
    expectChain(stored, of)
    expect(of.copyAgain).toBe(true)
  })

  it('gives a column that was added with a constant its value, and lets it be null without one', () => {
    const [text, none] = diff(
      known([ID]),
      catalog([ID, { ...A, type: TEXT, missing: 'x', notNull: true }, { ...B, notNull: true }]),
    ).steps
    expect(text!.change).toMatchObject({ column: { name: 'a', addedDefault: 'x', nullable: false } })
    expect(none!.change).toMatchObject({ column: { name: 'b', addedDefault: null, nullable: true } })
  })

  it('gives the constant in canonical form', () => {
    const [step] = diff(known([ID]), catalog([ID, { ...A, type: MONEY, missing: '-$1,234.50' }])).steps
    expect(step!.change).toMatchObject({ column: { addedDefault: '-1234.50' } })
  })

  it('takes a key of the catalog when the log flags every column (REPLICA IDENTITY FULL)', () => {
    const full = { identity: 'f' }
    expect(diff(known([ID, A]), catalog([ID, A], full))).toMatchObject({ steps: [], copyAgain: false })
    expect(kinds(diff(known([ID, A]), catalog([ID, A], { ...full, key: [2] })))).toEqual(['change-key'])
  })
})

describe('a catalog that is ahead of the log', () => {
  /** The relation as it was, and the catalog as it is by now. */
  function ahead(
    before: readonly Spec[],
    then: readonly Spec[],
    now: readonly Spec[] | null,
    more: Partial<CatalogTable> = {},
  ): SchemaDiff {
    const stored = known(before)
    const found = diffSchema(
      stored,
      relationOf(catalog(then)),
      now === null ? null : catalog(now, more),
      TYPES,
    )
    expectChain(stored, found)
    return found
  }

  it('explains one of two columns that were added', () => {
    const found = ahead([ID], [ID, A], [ID, A, B])
    expect(kinds(found)).toEqual(['add-column a'])
    expect(found.copyAgain).toBe(false)
    expect(found.next.lastNumber).toBe(2)
    expect(kinds(diff(found.next, catalog([ID, A, B])))).toEqual(['add-column b'])
  })

  it('copies again when a rewrite that left the types was followed by a drop and a rename', () => {
    const text: Spec = { ...A, type: TEXT }
    const now = [ID, { ...text, name: 'renamed', changedBy: '2' }]
    expect(ahead([ID, text, B], [ID, text], now, { file: 6 }).copyAgain).toBe(true)
  })

  it.each<[string, readonly Spec[], readonly Spec[], readonly Spec[] | null]>([
    ['the new column is gone again', [ID], [ID, A], [ID]],
    ['the new column is gone again, and another has its name', [ID], [ID, A], [ID, { ...A, number: 3 }]],
    ['the new column has another name by now', [ID], [ID, A], [ID, { ...A, name: 'z' }]],
    [
      'the renamed column has a third name by now',
      [ID, A],
      [ID, { ...A, name: 'c' }],
      [ID, { ...A, name: 'd' }],
    ],
    ['another column has the name by now', [ID, A, B], [ID, A, B], [ID, { ...B, name: 'a' }]],
    [
      'names have changed places since',
      [ID, A, B],
      [ID, A, B],
      [ID, { ...A, name: 'b' }, { ...B, name: 'a' }],
    ],
    [
      'a renamed column was dropped, and another took its name',
      [ID, A, B],
      [ID, { ...A, name: 'c' }, B],
      [ID, { ...B, name: 'c' }],
    ],
    [
      'a column was renamed, dropped and added again',
      [ID, A],
      [ID, { ...A, name: 'c' }],
      [ID, { ...B, name: 'c' }],
    ],
    ['the table is gone', [ID, A], [ID, A, B], null],
  ])('copies again when in doubt: %s', (_, before, then, now) => {
    expect(ahead(before, then, now).copyAgain).toBe(true)
  })

  it('leaves alone what a later message will tell', () => {
    expect(ahead([ID, A, B], [ID, A], [ID])).toMatchObject({
      copyAgain: false,
      steps: [{ change: { kind: 'drop-column' } }],
    })
  })
})

describe('recognition', () => {
  it('sees the same shape in a Relation message', () => {
    const stored = known([ID, A])
    const relation = relationOf(catalog([ID, A]))
    const changed = (more: Partial<RelationMessage>): boolean => sameShape(stored, { ...relation, ...more })
    expect(sameShape(stored, relation)).toBe(true)
    expect(changed({ oid: 1001 })).toBe(false)
    expect(changed({ columns: relation.columns.slice(0, 1) })).toBe(false)
    expect(changed({ columns: [relation.columns[1]!, relation.columns[0]!] })).toBe(false)
    expect(changed({ columns: relation.columns.map((column) => ({ ...column, modifier: 4 })) })).toBe(false)
    expect(changed({ columns: relation.columns.map((column) => ({ ...column, type: INT8 })) })).toBe(false)
    expect(
      changed({ columns: relation.columns.map((column) => ({ ...column, identity: !column.identity })) }),
    ).toBe(false)
    // FULL flags every column.
    expect(changed({ columns: relation.columns.map((column) => ({ ...column, identity: true })) })).toBe(true)
  })

  it('sees that a table or a column was made again though it looks the same', () => {
    const stored = known([ID, A])
    expect(wasReplaced(stored, catalog([ID, A]))).toBe(false)
    expect(wasReplaced(stored, catalog([ID, A, B]))).toBe(false)
    expect(wasReplaced(stored, catalog([ID]))).toBe(false)
    expect(wasReplaced(stored, null)).toBe(false)
    expect(wasReplaced(stored, catalog([ID, { ...A, number: 3 }]))).toBe(true)
    expect(wasReplaced(stored, catalog([ID, A], { oid: 1001 }))).toBe(true)
    expect(wasReplaced(stored, catalog([ID, A], { membership: '1/2' }))).toBe(true)
  })

  it('copies a table again that was out of the publication, with nothing else to tell', () => {
    const back = diff(known([ID, A]), catalog([ID, A], { membership: '1/2' }))
    expect(back).toMatchObject({ steps: [], copyAgain: true, next: { membership: '1/2', copiedAt: null } })
  })
})
