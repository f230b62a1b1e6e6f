/** What a sink would have: a strict one, for which nothing that does not fit is harmless. */
import { UNCHANGED } from '../../core/canonical.ts'
import type { SchemaChange } from '../../core/record.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import type { TextRow } from '../change.ts'
import { type Cells, type Entry, isRow, type RowEntry } from './journal.ts'

/** Something that no sink could make sense of. */
export class MirrorError extends Error {}

interface MirrorTable {
  schema: TableSchema
  /** Announced since the last start. */
  announced: boolean
  /** Emptied for a copy that is under way, in a run or in several. */
  emptied: boolean
  /** A position has said since that no copy is under way. */
  copied: boolean
  /** Dropped; a sink may have kept the rows. */
  dropped: boolean
  /** Another table had this name, whose rows a sink may still have. */
  stale: boolean
  rows: Map<string, TextRow>
}

/**
 * The state of all tables after some entries. Throws `MirrorError` when a row comes before its announcement or its copy's truncate,
 * has another shape than announced, comes to a table that took the name of another before that is emptied, leaves a cell out that nothing is known of, or is NULL where that cannot be.
 */
export class Mirror {
  readonly #tables = new Map<string, MirrorTable>()

  constructor(entries: Iterable<Entry>) {
    for (const entry of entries) this.#apply(entry)
  }

  rows(table: string): readonly TextRow[] {
    return [...(this.#tables.get(table)?.rows.values() ?? [])]
  }

  /** The schema as of now; undefined when the table was never announced, or is dropped. */
  schema(table: string): TableSchema | undefined {
    const found = this.#tables.get(table)
    return found?.dropped === true ? undefined : found?.schema
  }

  #apply(entry: Entry): void {
    if (entry.kind === 'start') {
      for (const table of this.#tables.values()) {
        table.announced = false
        table.emptied &&= !table.copied
      }
    } else if (entry.kind === 'schema') this.#change(entry.record)
    else if (isRow(entry)) this.#row(entry)
    if ('position' in entry && entry.position !== null && entry.position.partial !== true)
      for (const table of this.#tables.values()) table.copied = true
  }

  #change({ table, change, before, origin }: SchemaChange): void {
    const name = tableName(table)
    const names = table.columns.map((column) => column.name)
    if (new Set(names).size < names.length)
      throw new MirrorError(`two columns of ${name} have the same name: ${names.join(', ')}`)
    const known = this.#tables.get(name)
    if (change.kind === 'drop-table') {
      // It may have come and gone while nothing ran.
      if (known !== undefined) Object.assign(known, { dropped: true, announced: false })
      return
    }
    if (change.kind === 'create-table') {
      if (known === undefined || known.dropped) this.#tables.set(name, announcedTable(table, known))
      else {
        reshape(known, table)
        known.announced = true
      }
      return
    }
    if (known === undefined || !known.announced)
      throw new MirrorError(`${change.kind} of ${name}, which was not announced since the start`)
    if (before === null || shapeOf(before) !== shapeOf(known.schema))
      throw new MirrorError(`${change.kind} of ${name} starts from another schema than the one before it`)
    reshape(known, table)
    if (change.kind !== 'truncate') return
    known.rows.clear()
    known.stale = false
    if (origin === 'snapshot') Object.assign(known, { emptied: true, copied: false })
  }

  #row(entry: RowEntry): void {
    const name = tableName(entry.table)
    const table = this.#tables.get(name)
    if (table === undefined || !table.announced)
      throw new MirrorError(`a row of ${name} comes before the table is announced`)
    if (shapeOf(table.schema) !== shapeOf(entry.table))
      throw new MirrorError(
        `a row of ${name} has another shape than announced: ${shapeOf(entry.table)} instead of ${shapeOf(table.schema)}`,
      )
    if (table.stale)
      throw new MirrorError(
        `a row of ${name} comes before the table is emptied, which has the name of another that was dropped`,
      )
    if (entry.origin === 'snapshot') {
      if (!table.emptied) throw new MirrorError(`the copy of ${name} does not begin with a truncate`)
      if (entry.kind !== 'insert') throw new MirrorError(`the copy of ${name} has an ${entry.kind}`)
    }
    const { after, before } = entry
    if (after === null) {
      if (before === null) throw new MirrorError(`a delete of ${name} does not say which row`)
      table.rows.delete(keyOf(table.schema, before))
      return
    }
    const key = keyOf(table.schema, after)
    const oldKey = before === null ? key : keyOf(table.schema, before)
    const stored = table.rows.get(oldKey)
    table.rows.delete(oldKey)
    table.rows.set(key, completed(table.schema, after, entry.kind === 'update' ? stored : undefined))
  }
}

function announcedTable(schema: TableSchema, before: MirrorTable | undefined): MirrorTable {
  const stale = before !== undefined && (before.stale || before.rows.size > 0)
  return { schema, announced: true, emptied: false, copied: false, dropped: false, stale, rows: new Map() }
}

/** The row with the stored values of the cells that did not change. */
function completed(schema: TableSchema, cells: Cells, stored: TextRow | undefined): TextRow {
  const row: Record<string, string | null> = {}
  for (const { name, nullable } of schema.columns) {
    const cell = cells[name]
    const where = `the column ${name} of ${tableName(schema)}`
    if (cell === undefined) throw new MirrorError(`${where} is absent: neither a value nor unchanged`)
    if (cell === null && !nullable) throw new MirrorError(`${where} is NULL, which its schema does not allow`)
    if (cell === UNCHANGED && stored === undefined)
      throw new MirrorError(`${where} is unchanged, but nothing is stored for the row`)
    row[name] = cell === UNCHANGED ? stored![name]! : cell
  }
  return row
}

/** Cells stay with the id of their column; a new one shows its default in older rows. */
function reshape(table: MirrorTable, schema: TableSchema): void {
  const from = table.schema.columns
  const rows = [...table.rows.values()].map((row): TextRow => {
    const cells = schema.columns.map((column) => {
      const old = from.find(({ id }) => id === column.id)
      return [column.name, old === undefined ? (column.addedDefault ?? null) : row[old.name]!] as const
    })
    return Object.fromEntries(cells)
  })
  table.schema = schema
  table.rows = new Map(rows.map((row) => [keyOf(schema, row), row]))
}

function keyOf(schema: TableSchema, cells: Cells): string {
  const key = schema.key.map((index) => {
    const { name } = schema.columns[index]!
    const cell = cells[name]
    if (typeof cell !== 'string')
      throw new MirrorError(`the key ${name} of a row of ${tableName(schema)} has no value`)
    return cell
  })
  return JSON.stringify(key)
}

/** Names, types and key: what a row must fit. */
function shapeOf({ columns, key }: TableSchema): string {
  const names = columns.map(({ name, type }) => `${name} ${JSON.stringify(type)}`)
  return `${names.join(', ')}; key ${key.map((index) => columns[index]!.name).join(', ')}`
}
