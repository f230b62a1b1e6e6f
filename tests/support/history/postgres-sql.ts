/** Histories in the SQL of PostgreSQL, and the state of its tables in plain text. */
import pg from 'pg'
import type { ScriptedTransaction } from './history.ts'
import type { Model, State } from './model.ts'
import type { Cell, HistoryColumn, Kind, Row, Statement } from './statement.ts'

const DEADLOCK = '40P01'

/** Does the transaction; again, when it got into a deadlock with somebody who reads the tables. */
export async function commit(
  client: pg.Client,
  { statements, rollback }: ScriptedTransaction,
  sql = new PostgresSql(),
): Promise<void> {
  const texts = statements.flatMap((item) => {
    if (!('undone' in item)) return [sql.text(item)]
    return ['SAVEPOINT before', ...item.undone.map((it) => sql.text(it)), 'ROLLBACK TO before']
  })
  for (;;) {
    try {
      for (const text of ['BEGIN', ...texts, rollback ? 'ROLLBACK' : 'COMMIT']) await client.query(text)
      return
    } catch (error) {
      await client.query('ROLLBACK')
      if ((error as { code?: string }).code !== DEADLOCK) throw error
    }
  }
}

/** Statements as text. `schema` is where the tables are. */
export class PostgresSql {
  readonly #schema: string

  constructor(schema = 'public') {
    this.#schema = schema
  }

  text(statement: Statement): string {
    const table = this.#table(statement.table)
    switch (statement.does) {
      case 'create table': {
        const { columns, key } = statement
        const external = columns
          .filter(({ kind }) => kind === 'large')
          .map(({ name }) => `ALTER TABLE ${table} ALTER ${quoted(name)} SET STORAGE EXTERNAL`)
        const lines = [...columns.map(definition), `CONSTRAINT ${statement.table}_key ${primaryKey(key)}`]
        return [`CREATE TABLE ${table} (${lines.join(', ')})`, ...external].join('; ')
      }
      case 'drop table':
        return `DROP TABLE ${table}`
      case 'truncate':
        return `TRUNCATE ${table}`
      case 'add column': {
        const { column, value } = statement
        const fallback = value === null ? '' : ` DEFAULT ${literal(value)}`
        const add = `ALTER TABLE ${table} ADD ${definition(column)}${fallback}`
        if (column.kind !== 'large') return add
        return `${add}; ALTER TABLE ${table} ALTER ${quoted(column.name)} SET STORAGE EXTERNAL`
      }
      case 'drop column':
        return `ALTER TABLE ${table} DROP ${quoted(statement.column)}`
      case 'rename column':
        return `ALTER TABLE ${table} RENAME ${quoted(statement.from)} TO ${quoted(statement.to)}`
      case 'retype column': {
        const { column, from, to } = statement
        const name = quoted(column)
        // Not every default can be converted.
        return `ALTER TABLE ${table} ALTER ${name} DROP DEFAULT, ALTER ${name} TYPE ${TYPES[to]} USING ${converted(name, from, to)}`
      }
      case 'allow null':
        return `ALTER TABLE ${table} ALTER ${quoted(statement.column)} DROP NOT NULL`
      case 'change key': {
        const constraint = `${statement.table}_key`
        return `ALTER TABLE ${table} DROP CONSTRAINT ${constraint}, ADD CONSTRAINT ${constraint} ${primaryKey(statement.key)}`
      }
      case 'insert': {
        const names = Object.keys(statement.row).map(quoted)
        return `INSERT INTO ${table} (${names.join(', ')}) VALUES (${Object.values(statement.row).map(literal).join(', ')})`
      }
      case 'update':
        return `UPDATE ${table} SET ${assignments(statement.set).join(', ')} WHERE ${assignments(statement.key).join(' AND ')}`
      case 'update all':
        return `UPDATE ${table} SET ${assignments(statement.set).join(', ')}`
      case 'delete':
        return `DELETE FROM ${table} WHERE ${assignments(statement.key).join(' AND ')}`
    }
  }

  /** The tables of the schema, each column as the kind that the model says. Columns that it does not know stay out. */
  async state(client: pg.Client, model: Model): Promise<State> {
    const { rows: there } = await client.query<{ name: string; columns: string[] }>(
      `SELECT relname AS name, array_agg(attname::text ORDER BY attnum) AS columns
       FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
       WHERE relkind = 'r' AND relnamespace = $1::regnamespace GROUP BY relname`,
      [this.#schema],
    )
    const state: Record<string, State[string]> = {}
    for (const { name, columns } of there) {
      const known = model.table(name)?.columns.filter((column) => columns.includes(column.name)) ?? []
      const cells = known.map((column) => `${plain(column)} AS ${quoted(column.name)}`)
      const { rows } = await client.query<Row>(`SELECT ${cells.join(', ')} FROM ${this.#table(name)}`)
      state[name] = { columns, rows }
    }
    return state
  }

  #table(name: string): string {
    return `${quoted(this.#schema)}.${quoted(name)}`
  }
}

const TYPES: Readonly<Record<Kind, string>> = {
  int: 'int4',
  bigint: 'int8',
  decimal: 'numeric(12,3)',
  text: 'text',
  large: 'text',
  bool: 'bool',
  timestamp: 'timestamptz',
  bytes: 'bytea',
}

const quoted = (name: string): string => pg.escapeIdentifier(name)

function definition({ name, kind, required }: HistoryColumn): string {
  return `${quoted(name)} ${TYPES[kind]}${required ? ' NOT NULL' : ''}`
}

function primaryKey(key: readonly string[]): string {
  return `PRIMARY KEY (${key.map(quoted).join(', ')})`
}

/** The server knows the type of the place. */
function literal(cell: Cell): string {
  return cell === null ? 'NULL' : pg.escapeLiteral(cell)
}

function assignments(row: Row): readonly string[] {
  return Object.entries(row).map(([name, cell]) => `${quoted(name)} = ${literal(cell)}`)
}

function converted(name: string, from: Kind, to: Kind): string {
  if (from === 'text' && to === 'int') return `length(${name})`
  if (from === 'text' && to === 'text') return `'was ' || ${name}`
  if (from === 'int' && to === 'int') return `-1 - ${name}`
  return `${name}::${TYPES[to]}`
}

function plain({ name, kind }: HistoryColumn): string {
  const column = quoted(name)
  if (kind === 'bytes') return `'\\x' || encode(${column}, 'hex')`
  if (kind === 'timestamp') return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')`
  return `${column}::text`
}
