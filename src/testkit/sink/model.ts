import assert from 'node:assert/strict'
import { UNCHANGED } from '../../core/canonical.ts'
import type { SchemaChange } from '../../core/record.ts'
import { type Column, tableName, type TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import type { TextRow } from '../change.ts'
import { keyOf, plainText, textOf } from './cells.ts'
import type { RowChange, Step, Story } from './story.ts'

/** Cells by column id, so that a rename changes nothing. */
type Cells = ReadonlyMap<string, string | null>

interface Version {
  readonly step: number
  /** Null when the row is gone. */
  readonly row: TextRow | null
}

interface ModelTable {
  schema: TableSchema
  rows: Map<string, Cells>
  /** Every row that ever was, by key, as the schema of its time shows it. */
  readonly past: Map<string, Version[]>
}

/** What a target must hold after the steps of a story: plain maps by key. */
export class Model {
  readonly #tables = new Map<string, ModelTable>()
  #step = 0

  constructor(tables: readonly TableSchema[]) {
    for (const schema of tables) this.#add(schema)
  }

  static after(story: Story, steps = story.length): Model {
    const model = new Model(story.tables)
    for (const step of story.steps.slice(0, steps)) model.apply(step)
    return model
  }

  get tables(): readonly TableSchema[] {
    return [...this.#tables.values()].map(({ schema }) => schema)
  }

  rows(schema: Pick<TableSchema, 'namespace' | 'name'>): readonly TextRow[] {
    const found = this.#table(schema)
    return [...found.rows.values()].map((cells) => shownRow(found.schema, cells))
  }

  apply(step: Step): void {
    this.#step++
    if (step.kind === 'schema') this.#alter(step.change)
    else for (const change of step.changes) this.#applyRow(change)
  }

  /**
   * Every state that a row may have when the target has all steps up to `durable` and anything of what was sent since:
   * by key, null for a row that is not there.
   */
  possible(schema: TableSchema, durable: number): ReadonlyMap<string, readonly (TextRow | null)[]> {
    const found = new Map<string, readonly (TextRow | null)[]>()
    for (const [key, versions] of this.#table(schema).past) {
      const settled = versions.findLast(({ step }) => step <= durable)?.row ?? null
      found.set(key, [settled, ...versions.filter(({ step }) => step > durable).map(({ row }) => row)])
    }
    return found
  }

  #applyRow(change: RowChange): void {
    const found = this.#table(change.table)
    if (change.op === 'insert') {
      this.#set(found, cellsOf(change.table, change.row, null))
      return
    }
    const old = keyOf(
      change.table,
      keyCells(change.table, change.before ?? (change as { row: ValueRow }).row),
    )
    const stored = found.rows.get(old) ?? null
    if (change.op === 'update') {
      const cells = cellsOf(change.table, change.row, stored)
      if (keyOf(found.schema, shownRow(found.schema, cells)) !== old) this.#remove(found, old)
      this.#set(found, cells)
    } else this.#remove(found, old)
  }

  #set(found: ModelTable, cells: Cells): void {
    const row = shownRow(found.schema, cells)
    const key = keyOf(found.schema, row)
    found.rows.set(key, cells)
    this.#note(found, key, row)
  }

  #remove(found: ModelTable, key: string): void {
    found.rows.delete(key)
    this.#note(found, key, null)
  }

  #note(found: ModelTable, key: string, row: TextRow | null): void {
    const versions = found.past.get(key) ?? []
    found.past.set(key, versions)
    versions.push({ step: this.#step, row })
  }

  #alter({ table: schema, change }: SchemaChange): void {
    if (change.kind === 'create-table') {
      this.#add(schema)
      return
    }
    if (change.kind === 'drop-table') {
      this.#tables.delete(tableName(schema))
      return
    }
    const found = this.#table(schema)
    if (change.kind === 'add-column') {
      for (const cells of found.rows.values()) addDefault(cells as Map<string, string | null>, change.column)
    }
    // The source copies the table again, see core/table.ts.
    if (change.kind === 'truncate' || change.kind === 'change-key') {
      for (const key of found.rows.keys().toArray()) this.#remove(found, key)
    }
    found.schema = schema
  }

  #add(schema: TableSchema): void {
    if (!this.#tables.has(tableName(schema)))
      this.#tables.set(tableName(schema), { schema, rows: new Map(), past: new Map() })
  }

  #table(schema: Pick<TableSchema, 'namespace' | 'name'>): ModelTable {
    const found = this.#tables.get(tableName(schema))
    assert(found !== undefined, `the story has no table ${tableName(schema)}`)
    return found
  }
}

function addDefault(cells: Map<string, string | null>, column: Column): void {
  cells.set(column.id, column.addedDefault ?? null)
}

function cellsOf(schema: TableSchema, row: ValueRow, stored: Cells | null): Cells {
  return new Map(
    schema.columns.map(({ id, name, type }) => {
      const value = row[name]
      return [id, value === UNCHANGED ? (stored?.get(id) ?? null) : textOf(type, value)]
    }),
  )
}

function shownRow(schema: TableSchema, cells: Cells): TextRow {
  return Object.fromEntries(schema.columns.map(({ id, name }) => [name, cells.get(id) ?? null]))
}

function keyCells(schema: TableSchema, row: ValueRow): TextRow {
  return Object.fromEntries(
    schema.key.map((index) => {
      const { name, type } = schema.columns[index]!
      return [name, textOf(type, row[name])]
    }),
  )
}

/** How many differences a message shows. */
const SHOWN = 5

/** Throws when the rows are not exactly the expected ones, in any order; `when` says in which situation. */
export function assertRows(
  schema: TableSchema,
  actual: readonly TextRow[],
  expected: readonly TextRow[],
  when: string,
): void {
  const wanted = new Map(expected.map((row) => [keyOf(schema, row), row]))
  const found: string[] = []
  const seen = new Set<string>()
  for (const row of actual) {
    const key = keyOf(schema, row)
    const other = wanted.get(key)
    if (seen.has(key)) found.push(`the row ${short(key)} is there twice`)
    else if (other === undefined) found.push(`the row ${short(key)} is there and should not be`)
    else found.push(...rowDifferences(schema, row, other).map((what) => `row ${short(key)}: ${what}`))
    seen.add(key)
  }
  for (const key of wanted.keys()) if (!seen.has(key)) found.push(`the row ${short(key)} is missing`)
  report(schema, found, when)
}

/** Throws when a row is in none of its possible states. */
export function assertPossible(
  schema: TableSchema,
  actual: readonly TextRow[],
  possible: ReadonlyMap<string, readonly (TextRow | null)[]>,
  when: string,
): void {
  const rows = new Map(actual.map((row) => [keyOf(schema, row), row]))
  const found: string[] = []
  for (const [key, states] of possible) {
    const row = rows.get(key) ?? null
    const isOne = states.some((state) =>
      state === null || row === null ? state === row : rowDifferences(schema, row, state).length === 0,
    )
    if (!isOne)
      found.push(`the row ${short(key)} ${row === null ? 'is missing' : 'is in a state it never had'}`)
  }
  for (const key of rows.keys()) if (!possible.has(key)) found.push(`the row ${short(key)} was never written`)
  report(schema, found, when)
}

function report(schema: TableSchema, found: readonly string[], when: string): void {
  if (found.length === 0) return
  const more = found.length > SHOWN ? `, and ${found.length - SHOWN} more` : ''
  assert.fail(`${when}, ${tableName(schema)} differs: ${found.slice(0, SHOWN).join('; ')}${more}`)
}

function rowDifferences(schema: TableSchema, actual: TextRow, expected: TextRow): readonly string[] {
  const found = schema.columns.flatMap(({ name, type }) => {
    const got = actual[name]
    const wanted = expected[name]
    if (got === wanted) return []
    const same =
      typeof got === 'string' &&
      typeof wanted === 'string' &&
      plainText(type, got) === plainText(type, wanted)
    return same ? [] : [`column ${name} is ${shown(got)} instead of ${shown(wanted)}`]
  })
  const known = new Set(schema.columns.map(({ name }) => name))
  const extra = Object.keys(actual).filter((name) => !known.has(name))
  return extra.length === 0 ? found : [...found, `there are columns too many: ${extra.join(', ')}`]
}

function shown(cell: string | null | undefined): string {
  if (cell === undefined) return 'absent'
  return cell === null ? 'NULL' : short(JSON.stringify(cell))
}

function short(words: string): string {
  return words.length <= 80 ? words : `${words.slice(0, 60)}... (${words.length} characters)`
}
