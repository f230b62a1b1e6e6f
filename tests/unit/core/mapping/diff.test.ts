import { describe, expect, it } from 'vitest'
import {
  diffMapping,
  diffTable,
  type SchemaStep,
  type StoredTable,
} from '../../../../src/core/mapping/diff.ts'
import type { DocumentMapping, TableMapping } from '../../../../src/core/mapping/mapping.ts'
import type { Json } from '../../../../src/core/position.ts'
import type { TableSchema } from '../../../../src/core/table.ts'
import { type Random, seeded } from '../../../support/random.ts'
import { compiled } from './rows-of.ts'

interface Column {
  readonly path: string
  readonly type: string
}

const text = (path: string): Column => ({ path, type: 'text?' })

function mapped(fields: Readonly<Record<string, Column | Json>>, more: object = {}): DocumentMapping {
  const id = { path: '_id', type: 'text' }
  return compiled(null, { orders: { fields: { id, ...fields }, key: ['id'], ...more } })
}

/** As it is after a position was written and read. */
function stored({ tables }: DocumentMapping): readonly StoredTable[] {
  const kept = tables.map(({ table, fingerprint, columnFingerprints }) => {
    return { schema: table, fingerprint, columnFingerprints }
  })
  return JSON.parse(JSON.stringify(kept)) as readonly StoredTable[]
}

function steps(before: DocumentMapping, after: DocumentMapping) {
  const { tables, ...rest } = diffMapping(stored(before), after)
  const changes = tables.flatMap((table) => table.steps.map(({ change }) => shown(change)))
  return { changes, copied: tables.some(({ copyAgain }) => copyAgain), breaking: rest.breaking }
}

function shown(change: SchemaStep['change']): string {
  switch (change.kind) {
    case 'add-column':
    case 'drop-column':
      return `${change.kind} ${change.column.name}`
    case 'rename-column':
      return `rename-column ${change.from.name} ${change.to.name}`
    case 'alter-column':
      return `alter-column ${change.to.name}`
    default:
      return change.kind
  }
}

describe('a changed mapping', () => {
  const before = mapped({ a: text('x'), b: text('y.z') })

  it('that says the same in another order changes nothing', () => {
    const same = mapped({ b: text('y.z'), a: text('x') })
    expect(steps(before, same)).toEqual({ changes: [], copied: false, breaking: [] })
    expect(diffMapping(stored(before), same).tables[0]!.next.schema.columns.map(({ name }) => name)).toEqual([
      'id',
      'b',
      'a',
    ])
  })

  it('renames a column whose rule has another name', () => {
    expect(steps(before, mapped({ c: text('x'), b: text('y.z') }))).toEqual({
      changes: ['rename-column a c'],
      copied: false,
      breaking: [],
    })
  })

  it('lets columns change places', () => {
    expect(steps(before, mapped({ b: text('x'), a: text('y.z') }))).toEqual({
      changes: ['rename-column a sluice_renaming', 'rename-column b a', 'rename-column sluice_renaming b'],
      copied: false,
      breaking: [],
    })
  })

  it('drops a column that it does not have any more, which breaks what reads it', () => {
    expect(steps(before, mapped({ a: text('x') }))).toEqual({
      changes: ['drop-column b'],
      copied: false,
      breaking: ['column "b" of table db.orders is dropped'],
    })
  })

  it('copies the table for a column that it did not have', () => {
    expect(steps(before, mapped({ a: text('x'), b: text('y.z'), c: text('w') }))).toEqual({
      changes: ['truncate', 'add-column c'],
      copied: true,
      breaking: [],
    })
  })

  it('copies the table for other rules and conditions, and the columns stay', () => {
    const nothing = { changes: [], copied: true, breaking: [] }
    expect(steps(before, mapped({ a: text('x'), b: text('y.w') }))).toEqual(nothing)
    expect(steps(before, mapped({ a: text('x'), b: text('y.z') }, { filter: { x: 1 } }))).toEqual(nothing)
    const computed = (add: number) => mapped({ a: { expression: { $add: ['$x', add] }, type: 'float64?' } })
    expect(steps(computed(1), computed(2))).toEqual(nothing)
    expect(steps(computed(1), computed(1))).toEqual({ ...nothing, copied: false })
  })

  it('changes types, which breaks what reads them, and copies the table', () => {
    expect(steps(before, mapped({ a: { path: 'x', type: 'int64?' }, b: text('y.z') }))).toEqual({
      changes: ['truncate', 'alter-column a'],
      copied: true,
      breaking: ['column "a" of table db.orders changes its type from text to int64'],
    })
  })

  it('allows NULL without a copy, and forbids it with one', () => {
    const strict = mapped({ a: { path: 'x', type: 'text' }, b: text('y.z') })
    expect(steps(strict, before)).toEqual({ changes: ['alter-column a'], copied: false, breaking: [] })
    expect(steps(before, strict)).toEqual({
      changes: ['truncate', 'alter-column a'],
      copied: true,
      breaking: [],
    })
  })

  it('changes the key, which breaks what relies on it', () => {
    const fields = { a: { path: 'x', type: 'text' }, b: text('y.z') }
    expect(steps(mapped(fields), mapped(fields, { key: ['a', 'id'] }))).toEqual({
      changes: ['truncate', 'change-key'],
      copied: true,
      breaking: ['the key of table db.orders changes to (a, id)'],
    })
  })

  it('drops and makes tables', () => {
    const both = compiled(null, {
      orders: { fields: { id: { path: '_id', type: 'text' } }, key: ['id'] },
      lines: { fields: { id: { path: '_id', type: 'text' } }, key: ['id'] },
    })
    const diff = diffMapping(stored(before), { ...both, tables: [both.tables[1]!] })
    expect(diff.added.map(({ table }) => table.name)).toEqual(['lines'])
    expect(diff.dropped.map(({ schema }) => schema.name)).toEqual(['orders'])
    expect(diff.breaking).toEqual(['table db.orders is dropped'])
  })
})

describe('the steps between two mappings', () => {
  const NAMES = ['a', 'b', 'c', 'd']
  const PATHS = ['u', 'v', 'w.x', '$u', '$v']

  function random(of: Random): TableMapping {
    const names = NAMES.filter(() => of.chance(0.6))
    const fields = names.map((name) => [name, text(of.pick(PATHS))] as const)
    const strict = names.filter(() => of.chance(0.2))
    const typed = fields.map(([name, column]) => {
      const type = strict.includes(name) ? of.pick(['text', 'int64']) : of.pick(['text?', 'int64?'])
      return [name, { ...column, type }]
    })
    const key = strict.length > 0 && of.chance(0.5) ? strict : ['id']
    return mapped(Object.fromEntries(typed) as Record<string, Column>, { key }).tables[0]!
  }

  /** A table as a sink keeps it: whatever a step does not speak of stays. */
  function applied(rows: Map<string, string> | null, { change }: SchemaStep): Map<string, string> | null {
    if (change.kind === 'truncate') return null
    if (rows === null) return null
    const cells = new Map(rows)
    if (change.kind === 'drop-column') cells.delete(change.column.name)
    if (change.kind === 'rename-column') {
      cells.set(change.to.name, cells.get(change.from.name)!)
      cells.delete(change.from.name)
    }
    return cells
  }

  function cellsOf({ table, columnFingerprints }: TableMapping): Map<string, string> {
    return new Map(table.columns.map(({ id, name }) => [name, columnFingerprints[id]!]))
  }

  it('are possible one after another, end at the new table, and leave no cell of another rule', () => {
    const of = seeded('mapping diffs')
    for (let round = 0; round < 2000; round++) {
      const [one, other] = [random(of), random(of)]
      const [known] = stored({ tables: [one], allowsBreaking: false })
      const diff = diffTable(known!, other)
      let schema: TableSchema = known!.schema
      let rows: Map<string, string> | null = cellsOf(one)
      for (const step of diff.steps) {
        expect(step.before).toEqual(schema)
        const names = step.after.columns.map(({ name }) => name)
        expect(new Set(names).size).toBe(names.length)
        expect(step.after.key.every((index) => step.after.columns[index] !== undefined)).toBe(true)
        rows = applied(rows, step)
        schema = step.after
      }
      expect({ ...diff.next.schema, version: 0 }).toEqual(other.table)
      // Without a step only the order of columns, and how their types are written, may be another.
      expect(diff.steps.length === 0 ? diff.next.schema : schema).toEqual(diff.next.schema)
      expect(diff.copyAgain ? cellsOf(other) : rows).toEqual(cellsOf(other))
      expect(diffTable(JSON.parse(JSON.stringify(diff.next)) as StoredTable, other)).toMatchObject({
        steps: [],
        copyAgain: false,
      })
    }
  })
})
