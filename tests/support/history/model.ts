import {
  type Cell,
  conversion,
  describeCell,
  describeRow,
  type HistoryColumn,
  type Row,
  type Statement,
} from './statement.ts'

export interface ModelTable {
  readonly columns: readonly HistoryColumn[]
  /** Names of the key's columns. */
  readonly key: readonly string[]
  /** By key. */
  readonly rows: ReadonlyMap<string, Row>
}

/** What is in a database: per table the names of its columns and its rows. */
export type State = Readonly<Record<string, TableState>>

export interface TableState {
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

/** A database as plain maps. It is what source and sinks have to be equal to. */
export class Model {
  #tables: ReadonlyMap<string, ModelTable>

  constructor(tables: ReadonlyMap<string, ModelTable> = new Map()) {
    this.#tables = tables
  }

  get tables(): ReadonlyMap<string, ModelTable> {
    return this.#tables
  }

  table(name: string): ModelTable | undefined {
    return this.#tables.get(name)
  }

  /** Independent of this one. */
  copy(): Model {
    return new Model(this.#tables)
  }

  /** Takes over what the other one holds: the commit of what was done to a copy. */
  become(other: Model): void {
    this.#tables = other.#tables
  }

  /** Key of a row in the map of its table. */
  static keyOf({ key }: Pick<ModelTable, 'key'>, row: Row): string {
    return JSON.stringify(key.map((name) => row[name]))
  }

  get state(): State {
    return Object.fromEntries(
      [...this.#tables].map(([name, { columns, rows }]) => [
        name,
        { columns: columns.map((column) => column.name), rows: [...rows.values()] },
      ]),
    )
  }

  apply(statement: Statement): void {
    const name = statement.table
    const tables = new Map(this.#tables)
    const table = tables.get(name)
    if ((table === undefined) !== (statement.does === 'create table'))
      throw new Error(`cannot ${statement.does} ${name} in the model`)
    if (statement.does === 'create table') {
      const { columns, key } = statement
      tables.set(name, { columns, key, rows: new Map() })
    } else if (statement.does === 'drop table') tables.delete(name)
    else tables.set(name, changed(table!, statement))
    this.#tables = tables
  }
}

function changed(
  table: ModelTable,
  statement: Exclude<Statement, { does: 'create table' | 'drop table' }>,
): ModelTable {
  const { columns } = table
  const stored = [...table.rows.values()]
  switch (statement.does) {
    case 'add column': {
      const { column, value } = statement
      return rebuilt(table, stored, (row) => ({ ...row, [column.name]: value }), [...columns, column])
    }
    case 'drop column': {
      const left = columns.filter(({ name }) => name !== statement.column)
      return rebuilt(table, stored, (row) => without(row, statement.column), left)
    }
    case 'rename column': {
      const { from, to } = statement
      const rename = (name: string): string => (name === from ? to : name)
      const renamed = columns.map((column) => ({ ...column, name: rename(column.name) }))
      const key = table.key.map(rename)
      return rebuilt(
        { ...table, key },
        stored,
        ({ [from]: cell, ...row }) => ({ ...row, [to]: cell! }),
        renamed,
      )
    }
    case 'retype column': {
      const { column, from, to } = statement
      const convert = conversion(from, to)!
      const one = (cell: Cell): Cell => (cell === null ? null : convert(cell))
      const retyped = columns.map((it) => (it.name === column ? { ...it, kind: to } : it))
      return rebuilt(table, stored, (row) => ({ ...row, [column]: one(row[column]!) }), retyped)
    }
    case 'allow null':
      return {
        ...table,
        columns: columns.map((it) => (it.name === statement.column ? { ...it, required: false } : it)),
      }
    case 'change key':
      return rebuilt({ ...table, key: statement.key }, stored)
    case 'truncate':
      return rebuilt(table, [])
    case 'insert':
      return rebuilt(table, [...stored, statement.row])
    case 'update': {
      const key = Model.keyOf(table, statement.key)
      if (!table.rows.has(key)) throw new Error(`the model has no row ${describeRow(statement.key)}`)
      return rebuilt(table, stored, (row) =>
        Model.keyOf(table, row) === key ? { ...row, ...statement.set } : row,
      )
    }
    case 'update all':
      return rebuilt(table, stored, (row) => ({ ...row, ...statement.set }))
    case 'delete': {
      const key = Model.keyOf(table, statement.key)
      return rebuilt(
        table,
        stored.filter((row) => Model.keyOf(table, row) !== key),
      )
    }
  }
}

/** The table with other rows and columns; two rows of one key are a mistake in the history. */
function rebuilt(
  table: ModelTable,
  rows: readonly Row[],
  change: (row: Row) => Row = (row) => row,
  columns: readonly HistoryColumn[] = table.columns,
): ModelTable {
  const byKey = new Map(rows.map(change).map((row) => [Model.keyOf(table, row), row]))
  if (byKey.size !== rows.length) throw new Error('two rows of the model have the same key')
  return { ...table, columns, rows: byKey }
}

/**
 * What is wrong with a state, one line per table, row or cell. Tables that only `actual` has are left to the caller:
 * a target keeps the tables that the source drops.
 */
export function differences(model: Model, actual: State): readonly string[] {
  return [...model.tables].flatMap(([name, table]) => {
    const found = actual[name]
    if (found === undefined) return [`table ${name} is missing`]
    const columns = table.columns.map((column) => column.name).sort()
    const there = [...found.columns].sort()
    if (columns.join() !== there.join())
      return [`table ${name} has the columns ${there.join(', ')} and not ${columns.join(', ')}`]
    const rows = new Map(found.rows.map((row) => [Model.keyOf(table, row), row]))
    const lines = found.rows.length === rows.size ? [] : [`table ${name} has a key twice`]
    for (const [key, row] of table.rows) {
      const other = rows.get(key)
      rows.delete(key)
      if (other === undefined) lines.push(`${name}: ${describeRow(row)} is missing`)
      else
        for (const column of columns)
          if (row[column] !== other[column])
            lines.push(
              `${name} ${key}: ${column} is ${describeCell(other[column])} and not ${describeCell(row[column])}`,
            )
    }
    return [...lines, ...[...rows.values()].map((row) => `${name}: ${describeRow(row)} is too much`)]
  })
}

/** The object without one of its entries. */
export function without<Value>(
  from: Readonly<Record<string, Value>>,
  name: string,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(from).filter(([one]) => one !== name))
}
