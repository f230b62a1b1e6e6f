/**
 * What a random history wants to do, before anybody knows whether the database allows it. A wish names tables, columns
 * and rows from small fixed sets instead of counting through what is there: taking one wish out of a history leaves the
 * meaning of the others alone, which is what makes histories shrink well.
 */
import * as fc from 'fast-check'
import { Model, type ModelTable } from './model.ts'
import {
  conversion,
  fits,
  type HistoryColumn,
  type Kind,
  type Part,
  type Row,
  sample,
  type Statement,
} from './statement.ts'

const TABLES = ['t', 'u', 'v']
const COLUMNS = ['a', 'b', 'c', 'd', 'e']
const KINDS: readonly Kind[] = ['int', 'text', 'large', 'bigint', 'decimal', 'bool', 'timestamp', 'bytes']
const KEYS: readonly (readonly Part[])[] = [['id'], ['id', 'code'], ['code']]

/** The name of a row: which parts count depends on the key that the table has. */
interface RowName {
  readonly id: number
  readonly code: number
}

/** Numbers stand for values, see `sample`; columns that the table does not have are left out. */
type Cells = readonly (readonly [column: string, value: number])[]

type Column = { readonly kind: Kind; readonly required: boolean }

export type Wish =
  | {
      readonly wish: 'create table'
      readonly table: string
      readonly columns: readonly Column[]
      readonly key: readonly Part[]
    }
  | { readonly wish: 'drop table' | 'truncate'; readonly table: string }
  | {
      readonly wish: 'add column'
      readonly table: string
      readonly column: string
      readonly value: number
      readonly kind: Kind
      readonly required: boolean
    }
  | { readonly wish: 'drop column' | 'allow null'; readonly table: string; readonly column: string }
  | { readonly wish: 'rename column'; readonly table: string; readonly from: string; readonly to: string }
  /** To one of the types that the column can have then. */
  | {
      readonly wish: 'retype column'
      readonly table: string
      readonly column: string
      readonly choice: number
    }
  | { readonly wish: 'change key'; readonly table: string; readonly key: readonly Part[] }
  /** An insert, or an update when the row is there. */
  | { readonly wish: 'put'; readonly table: string; readonly row: RowName; readonly cells: Cells }
  | { readonly wish: 'put all'; readonly table: string; readonly cells: Cells }
  | { readonly wish: 'move'; readonly table: string; readonly row: RowName; readonly to: RowName }
  | { readonly wish: 'delete'; readonly table: string; readonly row: RowName }

/** The statement that does it, or null when the database is not such that it could be done. */
export function fulfil(wish: Wish, model: Model): Statement | null {
  const name = wish.table
  const table = model.table(name)
  if (wish.wish === 'create table') return table === undefined ? createTable(wish) : null
  if (table === undefined) return null
  const columnOf = (column: string): HistoryColumn | undefined =>
    table.columns.find((it) => it.name === column)
  switch (wish.wish) {
    case 'drop table':
    case 'truncate':
      return { does: wish.wish, table: name }
    case 'add column': {
      if (columnOf(wish.column) !== undefined) return null
      const { kind, required } = wish
      const column: HistoryColumn = { name: wish.column, kind, required, part: null }
      return { does: wish.wish, table: name, column, value: sample(column, wish.value) }
    }
    case 'drop column': {
      const column = columnOf(wish.column)
      if (column === undefined || table.key.includes(column.name)) return null
      return { does: wish.wish, table: name, column: column.name }
    }
    case 'allow null': {
      const column = columnOf(wish.column)
      if (column?.required !== true || column.part !== null) return null
      return { does: wish.wish, table: name, column: column.name }
    }
    case 'rename column': {
      if (columnOf(wish.from) === undefined || columnOf(wish.to) !== undefined) return null
      return { does: wish.wish, table: name, from: wish.from, to: wish.to }
    }
    case 'retype column':
      return retype(wish, table)
    case 'change key': {
      const parts = wish.key.map((part) => nameOf(table, part))
      if (parts.some((part) => part === null)) return null
      const key = parts.filter((part) => part !== null)
      const keys = new Set([...table.rows.values()].map((row) => Model.keyOf({ key }, row)))
      if (keys.size !== table.rows.size || key.join() === table.key.join()) return null
      return { does: wish.wish, table: name, key }
    }
    case 'put':
      return put(wish, table)
    case 'put all': {
      const set = cellsOf(wish.cells, table)
      return Object.keys(set).length === 0 ? null : { does: 'update all', table: name, set }
    }
    case 'move': {
      const key = keyOf(wish.row, table)
      const set = keyOf(wish.to, table)
      const there = (row: Row): boolean => table.rows.has(Model.keyOf(table, row))
      return there(key) && !there(set) ? { does: 'update', table: name, key, set } : null
    }
    case 'delete': {
      const key = keyOf(wish.row, table)
      return table.rows.has(Model.keyOf(table, key)) ? { does: 'delete', table: name, key } : null
    }
  }
}

function createTable(wish: Extract<Wish, { wish: 'create table' }>): Statement {
  const parts: readonly HistoryColumn[] = [
    { name: 'id', kind: 'int', required: true, part: 'id' },
    { name: 'code', kind: 'text', required: true, part: 'code' },
  ]
  const columns = wish.columns.map((column, index) => ({ ...column, name: COLUMNS[index]!, part: null }))
  return { does: 'create table', table: wish.table, columns: [...parts, ...columns], key: wish.key }
}

function retype(wish: Extract<Wish, { wish: 'retype column' }>, table: ModelTable): Statement | null {
  const column = table.columns.find(({ name, part }) => name === wish.column && part === null)
  if (column === undefined) return null
  const from = column.kind
  const choices = KINDS.filter((kind) => conversion(from, kind) !== null)
  const to = choices[wish.choice % choices.length]
  if (to === undefined) return null
  const values = [...table.rows.values()].map((row) => row[column.name]!).filter((cell) => cell !== null)
  if (!values.map(conversion(from, to)!).every((value) => fits(to, value))) return null
  return { does: 'retype column', table: wish.table, column: column.name, from, to }
}

function put(wish: Extract<Wish, { wish: 'put' }>, table: ModelTable): Statement | null {
  const name = partsOf(wish.row, table)
  const key = keyOf(wish.row, table)
  const stored = table.rows.get(Model.keyOf(table, key))
  const cells = cellsOf(wish.cells, table)
  if (stored === undefined) {
    const missing = table.columns.map((column) => [column.name, sample(column, 0)])
    return { does: 'insert', table: wish.table, row: { ...Object.fromEntries(missing), ...cells, ...name } }
  }
  // The part of the name that is no key is a column like others.
  const set = { ...cells, ...name }
  for (const part of table.key) delete set[part]
  return Object.keys(set).length === 0 ? null : { does: 'update', table: wish.table, key, set }
}

function cellsOf(cells: Cells, table: ModelTable): Record<string, string | null> {
  const found = cells.flatMap(([name, number]) => {
    const column = table.columns.find((it) => it.name === name && it.part === null)
    return column === undefined ? [] : [[name, sample(column, number)] as const]
  })
  return Object.fromEntries(found)
}

/** Cells of the columns that hold the name of a row, as far as the table still has them. */
function partsOf(row: RowName, table: ModelTable): Record<string, string> {
  const parts = { id: String(row.id), code: 'xy'[row.code]! }
  return Object.fromEntries(
    table.columns.flatMap(({ name, part }) => (part === null ? [] : [[name, parts[part]] as const])),
  )
}

function keyOf(row: RowName, table: ModelTable): Record<string, string> {
  const parts = partsOf(row, table)
  return Object.fromEntries(table.key.map((name) => [name, parts[name]!]))
}

function nameOf(table: ModelTable, part: Part): string | null {
  return table.columns.find((column) => column.part === part)?.name ?? null
}

const table = fc.constantFrom(...TABLES)
const column = fc.constantFrom(...COLUMNS)
const kind = fc.constantFrom(...KINDS)
const required = fc.boolean()
const key = fc.constantFrom(...KEYS)
const value = fc.nat(9)
const row = fc.record({ id: fc.nat(3), code: fc.nat(1) })
const cells = fc.array(fc.tuple(column, value), { maxLength: 4 })

/** A new table, simple ones first when a counterexample is made smaller. */
export const tableWish: fc.Arbitrary<Wish> = fc.record({
  wish: fc.constant('create table' as const),
  table,
  columns: fc.array(fc.record({ kind, required }), { maxLength: 4 }),
  key,
})

/** Mostly rows; the weights are those of a busy table that is changed now and then. */
export const anyWish: fc.Arbitrary<Wish> = fc.oneof(
  { weight: 40, arbitrary: fc.record({ wish: fc.constant('put' as const), table, row, cells }) },
  { weight: 12, arbitrary: fc.record({ wish: fc.constant('delete' as const), table, row }) },
  { weight: 10, arbitrary: fc.record({ wish: fc.constant('move' as const), table, row, to: row }) },
  { weight: 6, arbitrary: fc.record({ wish: fc.constant('put all' as const), table, cells }) },
  { weight: 3, arbitrary: fc.record({ wish: fc.constant('truncate' as const), table }) },
  {
    weight: 6,
    arbitrary: fc.record({ wish: fc.constant('add column' as const), table, column, value, kind, required }),
  },
  { weight: 4, arbitrary: fc.record({ wish: fc.constant('drop column' as const), table, column }) },
  {
    weight: 5,
    arbitrary: fc.record({
      wish: fc.constant('rename column' as const),
      table,
      from: fc.constantFrom(...COLUMNS, 'id', 'code'),
      to: column,
    }),
  },
  {
    weight: 7,
    arbitrary: fc.record({
      wish: fc.constant('retype column' as const),
      table,
      column,
      choice: fc.nat(2),
    }),
  },
  { weight: 4, arbitrary: fc.record({ wish: fc.constant('allow null' as const), table, column }) },
  { weight: 3, arbitrary: fc.record({ wish: fc.constant('change key' as const), table, key }) },
  { weight: 2, arbitrary: fc.record({ wish: fc.constant('drop table' as const), table }) },
  { weight: 3, arbitrary: tableWish },
)
