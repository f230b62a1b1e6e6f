import { textToValue, UNCHANGED } from '../../../core/canonical.ts'
import { CoreError, PoisonRecordError } from '../../../core/error.ts'
import type { CdcRecord, SchemaChange } from '../../../core/record.ts'
import type { RowView } from '../../../core/row-view.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import type { ValueRow } from '../../../core/value-batch.ts'

interface Table {
  schema: TableSchema
  rows: Map<string, ValueRow>
}

const targets = new Map<string, MemoryTarget>()

/** What a memory sink has made durable: tables of rows by key. */
export class MemoryTarget {
  readonly #tables = new Map<string, Table>()
  #refuses: (table: string, row: ValueRow) => boolean = () => false

  /** The target of that name in this process. */
  static named(name: string): MemoryTarget {
    const target = targets.get(name) ?? new MemoryTarget()
    targets.set(name, target)
    return target
  }

  get tables(): readonly TableSchema[] {
    return [...this.#tables.values()].map(({ schema }) => schema)
  }

  rows(table: string): readonly ValueRow[] {
    return [...(this.#tables.get(table)?.rows.values() ?? [])]
  }

  /** Rows that it refuses from now on, as a constraint of a server does. */
  refuse(refuses: (table: string, row: ValueRow) => boolean): void {
    this.#refuses = refuses
  }

  createTable(schema: TableSchema): void {
    const name = tableName(schema)
    const table = this.#tables.get(name)
    if (table === undefined) this.#tables.set(name, { schema, rows: new Map() })
    else this.#reshape(table, schema)
  }

  alterTable(change: SchemaChange): void {
    if (change.change.kind === 'drop-table') {
      this.#tables.delete(tableName(change.table))
      return
    }
    const table = this.#table(change.table)
    this.#reshape(table, change.table)
    if (change.change.kind === 'truncate') table.rows.clear()
  }

  /** One record of a batch. */
  apply(record: CdcRecord): void {
    if (record._tag !== 'Insert' && record._tag !== 'Update' && record._tag !== 'Delete') return
    const { rows } = this.#table(record.table)
    const before = record._tag === 'Insert' ? null : record.before
    const old = before === null ? null : keyOf(before)
    if (record._tag === 'Delete') {
      rows.delete(old!)
      return
    }
    const key = keyOf(record.after)
    const row = merged(record.after, before, rows.get(old ?? key) ?? rows.get(key))
    if (this.#refuses(tableName(record.table), row))
      throw new PoisonRecordError('memory/refused', `the target refuses a row of ${tableName(record.table)}`)
    if (old !== null) rows.delete(old)
    rows.set(key, row)
  }

  /** Cells stay with their column's id; a column that is new shows its `addedDefault`. */
  #reshape(table: Table, schema: TableSchema): void {
    const cells = schema.columns.map(({ id, name, type, addedDefault }) => {
      const old = table.schema.columns.find((column) => column.id === id)
      const added = typeof addedDefault === 'string' ? textToValue(type, addedDefault) : null
      return (row: ValueRow) => [name, old === undefined ? added : row[old.name]] as const
    })
    for (const [key, row] of table.rows)
      table.rows.set(key, Object.fromEntries(cells.map((cell) => cell(row))))
    table.schema = schema
  }

  #table(schema: TableSchema): Table {
    const table = this.#tables.get(tableName(schema))
    if (table === undefined)
      throw new CoreError('memory/no-table', `table ${tableName(schema)} was not announced`)
    return table
  }
}

function keyOf(row: RowView): string {
  const { key } = row.table
  if (key.length === 0)
    throw new PoisonRecordError('memory/no-key', `table ${tableName(row.table)} has no key`)
  return JSON.stringify(key.map((index) => Buffer.from(row.bytes(index)).toString('latin1')))
}

/**
 * Unchanged cells have the value of the old row, in the log or as it is stored (law L7). In a replay the row may be gone already; its end is then further on in
 * the log, and until then the cell stays unknown.
 */
function merged(row: RowView, before: RowView | null, stored: ValueRow | undefined): ValueRow {
  const cells = row.table.columns.map(({ name }, index) => {
    const value = row.value(index)
    if (value !== UNCHANGED) return [name, value] as const
    const logged = before?.value(index)
    if (logged !== undefined && logged !== UNCHANGED) return [name, logged] as const
    return [name, stored === undefined ? value : stored[name]] as const
  })
  return Object.fromEntries(cells)
}
