import type { ZeroTransaction } from './zero-subscriber.ts'

type Row = Record<string, unknown>
interface Spec {
  readonly pos: number
  readonly dataType: string
  readonly notNull?: boolean | null
  readonly dflt?: string | null
}

interface Table {
  readonly name: string
  readonly key: readonly string[]
  columns: Map<string, Spec>
  readonly rows: Map<string, Row>
}

interface Named {
  readonly schema: string
  readonly name: string
}
interface Relation extends Named {
  readonly rowKey: { readonly columns: readonly string[] }
}
interface Column {
  readonly name: string
  readonly spec: Spec
}

/** A message of a transaction, as far as the model reads it. */
export type ModelChange =
  | { tag: 'create-table'; spec: Named & { columns: Record<string, Spec>; primaryKey: string[] } }
  | {
      tag: 'create-index'
      spec: { schema: string; tableName: string; name: string; columns: Record<string, string> }
    }
  | { tag: 'drop-index' | 'drop-table'; id: Named }
  | { tag: 'add-column'; table: Named; column: Column }
  | { tag: 'update-column'; table: Named; old: Column; new: Column }
  | { tag: 'drop-column'; table: Named; column: string }
  | { tag: 'truncate'; relations: readonly Relation[] }
  | { tag: 'insert'; relation: Relation; new: Row }
  | { tag: 'update'; relation: Relation; key: Row | null; new: Row }
  | { tag: 'delete'; relation: Relation; key: Row }

/**
 * A replica in memory that does what zero-cache does with each message, and refuses what would poison it: names that are
 * not there, or there already. Also refuses what the sink has no reason to send: updates and deletes of rows that are not
 * there.
 */
export class ZeroModel {
  readonly #tables = new Map<string, Table>()
  readonly #indexes = new Map<string, { readonly table: string; readonly columns: readonly string[] }>()
  /** Of the last transaction. */
  watermark = ''

  /** Applies those that came since the last call. */
  follow(transactions: readonly ZeroTransaction[]): void {
    for (const transaction of transactions)
      if (transaction.watermark > this.watermark) this.apply(transaction)
  }

  apply({ watermark, changes }: ZeroTransaction): void {
    if (watermark <= this.watermark) throw new Error(`watermark ${watermark} after ${this.watermark}`)
    for (const change of changes) this.#change(change as unknown as ModelChange)
    for (const table of this.#tables.values())
      if (![...this.#indexes.values()].some((index) => index.table === table.name))
        throw new Error(`table ${table.name} has no index`)
    this.watermark = watermark
  }

  /** Rows in the order of their keys. */
  rows(table: string): readonly Row[] {
    const found = this.#table(table)
    return [...found.rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  }

  get tables(): readonly string[] {
    return [...this.#tables.keys()].toSorted()
  }

  /** Names and types in the order of their positions. */
  columns(table: string): readonly string[] {
    const columns = [...this.#table(table).columns].toSorted(([, a], [, b]) => a.pos - b.pos)
    return columns.map(([name, { dataType }]) => `${name} ${dataType}`)
  }

  #change(change: ModelChange): void {
    switch (change.tag) {
      case 'create-table': {
        const name = nameOf(change.spec)
        if (this.#tables.has(name)) throw new Error(`table ${name} is there already`)
        const { columns, primaryKey: key } = change.spec
        this.#tables.set(name, { name, key, columns: new Map(Object.entries(columns)), rows: new Map() })
        break
      }
      case 'create-index': {
        const { schema, tableName, name, columns } = change.spec
        const full = nameOf({ schema, name })
        if (this.#indexes.has(full) || this.#tables.has(full))
          throw new Error(`index ${full} is there already`)
        const table = this.#table(nameOf({ schema, name: tableName }))
        for (const column of Object.keys(columns)) present(table, column)
        this.#indexes.set(full, { table: table.name, columns: Object.keys(columns) })
        break
      }
      case 'drop-index':
        if (!this.#indexes.delete(nameOf(change.id)))
          throw new Error(`there is no index ${nameOf(change.id)}`)
        break
      case 'drop-table': {
        const { name } = this.#table(nameOf(change.id))
        this.#tables.delete(name)
        break
      }
      case 'add-column': {
        const table = this.#table(nameOf(change.table))
        const { name, spec } = change.column
        if (table.columns.has(name)) throw new Error(`column ${name} of ${table.name} is there already`)
        table.columns.set(name, spec)
        for (const row of table.rows.values()) row[name] = literal(spec.dflt ?? null)
        break
      }
      case 'update-column': {
        const table = this.#table(nameOf(change.table))
        const { old, new: now } = change
        present(table, old.name)
        if (old.name !== now.name && table.columns.has(now.name))
          throw new Error(`column ${now.name} is there already`)
        table.columns.delete(old.name)
        table.columns.set(now.name, now.spec)
        if (old.name === now.name) break
        for (const row of table.rows.values()) {
          row[now.name] = row[old.name]
          delete row[old.name]
        }
        break
      }
      case 'drop-column': {
        const table = this.#table(nameOf(change.table))
        present(table, change.column)
        for (const index of this.#indexes.values())
          if (index.table === table.name && index.columns.includes(change.column))
            throw new Error('an index uses the column')
        table.columns.delete(change.column)
        for (const row of table.rows.values()) delete row[change.column]
        break
      }
      case 'truncate':
        for (const relation of change.relations) this.#of(relation).rows.clear()
        break
      case 'insert': {
        const table = this.#of(change.relation)
        for (const name of Object.keys(change.new)) present(table, name)
        const whole = Object.fromEntries(
          [...table.columns.keys()].map((name) => [name, change.new[name] ?? null]),
        )
        table.rows.set(keyOf(table, change.new), whole)
        break
      }
      case 'update': {
        const table = this.#of(change.relation)
        for (const name of Object.keys(change.new)) present(table, name)
        const from = keyOf(table, change.key ?? change.new)
        const row = table.rows.get(from)
        if (row === undefined) throw new Error(`${table.name} has no row ${from} to update`)
        table.rows.delete(from)
        table.rows.set(keyOf(table, change.new), { ...row, ...change.new })
        break
      }
      case 'delete': {
        const table = this.#of(change.relation)
        const key = keyOf(table, change.key)
        if (!table.rows.delete(key)) throw new Error(`${table.name} has no row ${key} to delete`)
        break
      }
      default:
        throw new Error(`nobody expects ${(change as { tag: string }).tag}`)
    }
  }

  #table(name: string): Table {
    const table = this.#tables.get(name)
    if (table === undefined) throw new Error(`there is no table ${name}`)
    return table
  }

  #of(relation: Relation): Table {
    const table = this.#table(nameOf(relation))
    if (relation.rowKey.columns.join() !== table.key.join())
      throw new Error(`the key of ${table.name} is another`)
    return table
  }
}

function nameOf({ schema, name }: Named): string {
  return schema === 'public' ? name : `${schema}.${name}`
}

function present(table: Table, column: string): void {
  if (!table.columns.has(column)) throw new Error(`table ${table.name} has no column ${column}`)
}

/** Sorts as numbers do, for keys of numbers. */
function keyOf({ key }: Table, row: Row): string {
  const parts = key.map((name) => {
    const value = row[name]
    if (value === undefined || value === null) throw new Error(`a row has no ${name}`)
    return typeof value === 'number' ? String(value).padStart(12, '0') : JSON.stringify(value)
  })
  return parts.join()
}

/** Defaults that zero-cache reads. */
function literal(text: string | null): unknown {
  if (text === null) return null
  const [, quoted] = /^'((?:[^']|'')*)'::[a-z0-9]+$/.exec(text) ?? []
  if (quoted !== undefined) return quoted.replaceAll("''", "'")
  return JSON.parse(text) as unknown
}
