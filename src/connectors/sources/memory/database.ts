import { EventEmitter, once } from 'node:events'
import { textToValue, valueToText } from '../../../core/canonical.ts'
import { SchemaError } from '../../../core/error.ts'
import { type SchemaOperation, type TableSchema, tableName } from '../../../core/table.ts'
import type { ValueRow } from '../../../core/value-batch.ts'

export type MemoryChange =
  | { readonly kind: 'insert'; readonly table: TableSchema; readonly after: ValueRow }
  | {
      readonly kind: 'update'
      readonly table: TableSchema
      readonly after: ValueRow
      readonly before: ValueRow
    }
  | { readonly kind: 'delete'; readonly table: TableSchema; readonly before: ValueRow }
  | {
      readonly kind: 'schema'
      readonly table: TableSchema
      readonly before: TableSchema | null
      readonly change: SchemaOperation
    }

export interface MemoryTransaction {
  readonly commitTimeMs: number
  readonly changes: readonly MemoryChange[]
}

interface Table {
  /** Every schema and the transaction that it came with, newest last; null from when the table was dropped. */
  readonly schemas: { readonly since: number; readonly schema: TableSchema | null }[]
  readonly rows: Map<string, ValueRow>
}

const databases = new Map<string, MemoryDatabase>()

/** Tables, and a log of their transactions, numbered from 1 in commit order. A row is never changed in place. */
export class MemoryDatabase {
  readonly #tables = new Map<string, Table>()
  readonly #log = new Map<number, MemoryTransaction>()
  #head = 0
  #forgotten = 0
  #open: MemoryChange[] | null = null
  readonly #commits = new EventEmitter()
  /** The server's clock, milliseconds since 1970 UTC. */
  now: () => number = Date.now

  /** The database of that name in this process. */
  static named(name: string): MemoryDatabase {
    const database = databases.get(name) ?? new MemoryDatabase()
    databases.set(name, database)
    return database
  }

  get head(): number {
    return this.#head
  }

  /** Number of the newest transaction that is not in the log any more. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** Readers that wait for a commit at this moment. */
  get waiting(): number {
    return this.#commits.listenerCount('commit')
  }

  /** The schemas that were valid after transaction `at`. */
  schemas(at = this.#head): readonly TableSchema[] {
    const found = [...this.#tables.values()].map(
      ({ schemas }) => schemas.findLast(({ since }) => since <= at)?.schema,
    )
    return found.filter((schema) => schema !== undefined && schema !== null)
  }

  rows(table: string): readonly ValueRow[] {
    return [...this.#table(table).rows.values()]
  }

  read(number: number): MemoryTransaction | undefined {
    return this.#log.get(number)
  }

  /** Resolves at the next commit, and when the signal is aborted. */
  async changed(signal: AbortSignal): Promise<void> {
    await once(this.#commits, 'commit', { signal }).catch(() => {})
  }

  /** Drops the log up to and including a transaction. */
  forget(number: number): void {
    for (; this.#forgotten < Math.min(number, this.#head); this.#forgotten++)
      this.#log.delete(this.#forgotten + 1)
  }

  /** Commits all changes that `work` makes together. A change outside is a transaction of its own. */
  transaction(work: () => void): void {
    const changes: MemoryChange[] = (this.#open = [])
    work()
    this.#open = null
    this.#log.set(++this.#head, { commitTimeMs: this.now(), changes })
    this.#commits.emit('commit')
  }

  createTable(table: TableSchema): void {
    if (table.key.length === 0)
      throw new SchemaError('memory/no-key', `table ${tableName(table)} needs a key`)
    const made: Table = this.#tables.get(tableName(table)) ?? { schemas: [], rows: new Map() }
    const { schemas } = made
    const isNew = schemas.length === 0
    schemas.push({ since: this.#head + 1, schema: table })
    this.#tables.set(tableName(table), made)
    this.#change({ kind: 'schema', table, before: null, change: { kind: 'create-table' } })
    // A target may still hold the rows of an earlier table of this name.
    if (!isNew) this.truncate(tableName(table))
  }

  dropTable(name: string): void {
    const { schemas, rows } = this.#table(name)
    const table = this.#schema(name)
    schemas.push({ since: this.#head + 1, schema: null })
    rows.clear()
    this.#change({ kind: 'schema', table, before: table, change: { kind: 'drop-table' } })
  }

  /** Changes the schema. Cells stay with their column's id; a new column gets its `addedDefault`. */
  alterTable(table: TableSchema, change: SchemaOperation): void {
    const { schemas, rows } = this.#table(tableName(table))
    const before = this.#schema(tableName(table))
    schemas.push({ since: this.#head + 1, schema: table })
    for (const [key, row] of rows) rows.set(key, shaped(table, row, before))
    this.#change({ kind: 'schema', table, before, change })
  }

  truncate(name: string): void {
    const table = this.#schema(name)
    this.#table(name).rows.clear()
    this.#change({ kind: 'schema', table, before: table, change: { kind: 'truncate' } })
  }

  insert(name: string, row: ValueRow): void {
    const table = this.#schema(name)
    const after = shaped(table, row, table)
    this.#table(name).rows.set(keyOf(table, after), after)
    this.#change({ kind: 'insert', table, after })
  }

  /** `key` needs the key columns only; nothing happens when there is no such row. */
  update(name: string, key: ValueRow, changes: ValueRow): void {
    const { rows } = this.#table(name)
    const table = this.#schema(name)
    const before = rows.get(keyOf(table, key))
    if (before === undefined) return
    const after = { ...before, ...changes }
    rows.delete(keyOf(table, before))
    rows.set(keyOf(table, after), after)
    this.#change({ kind: 'update', table, after, before })
  }

  delete(name: string, key: ValueRow): void {
    const { rows } = this.#table(name)
    const table = this.#schema(name)
    const before = rows.get(keyOf(table, key))
    if (before === undefined) return
    rows.delete(keyOf(table, before))
    this.#change({ kind: 'delete', table, before })
  }

  #change(change: MemoryChange): void {
    if (this.#open === null) this.transaction(() => this.#open!.push(change))
    else this.#open.push(change)
  }

  #schema(name: string): TableSchema {
    return this.#table(name).schemas.at(-1)!.schema!
  }

  #table(name: string): Table {
    const table = this.#tables.get(name)
    if (table === undefined || table.schemas.at(-1)!.schema === null)
      throw new SchemaError('memory/no-table', `there is no table ${name}`)
    return table
  }
}

function keyOf(table: TableSchema, row: ValueRow): string {
  const key = table.key.map((index) => table.columns[index]!)
  return JSON.stringify(key.map((column) => valueToText(column.type, row[column.name])))
}

/** The row with a cell for each column. */
function shaped(table: TableSchema, row: ValueRow, before: TableSchema): ValueRow {
  const cells = table.columns.map((column) => {
    const old = before.columns.find(({ id }) => id === column.id)
    if (old !== undefined) return [column.name, row[old.name] ?? null]
    return [
      column.name,
      typeof column.addedDefault === 'string' ? textToValue(column.type, column.addedDefault) : null,
    ]
  })
  return Object.fromEntries(cells)
}
