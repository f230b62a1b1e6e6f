import { createRequire } from 'node:module'

/** A value of the replica; integers are exact. */
export type ReplicaValue = string | number | bigint | Uint8Array | null
export type ReplicaRow = Readonly<Record<string, ReplicaValue>>

export interface ReplicaColumn {
  readonly name: string
  readonly type: string
  readonly notNull: boolean
}

interface Statement {
  safeIntegers(): Statement
  all(...values: readonly unknown[]): unknown[]
}
interface Database {
  prepare(text: string): Statement
  close(): void
}

// zero-cache's own SQLite: others cannot read its journal.
const Sqlite = createRequire(import.meta.resolve('@rocicorp/zero'))('@rocicorp/zero-sqlite3') as new (
  path: string,
  options: { readonly readonly: boolean; readonly fileMustExist: boolean },
) => Database

/** Reads the replica of a zero-cache. Tables are named as there: `users`, `zero.permissions`. */
export class ZeroReplica implements Disposable {
  readonly #database: Database

  /** Throws when there is no such file yet. */
  constructor(file: string) {
    this.#database = new Sqlite(file, { readonly: true, fileMustExist: true })
  }

  /** What a query gives. */
  query<Row = ReplicaRow>(text: string, ...values: readonly unknown[]): readonly Row[] {
    return this.#database
      .prepare(text)
      .safeIntegers()
      .all(...values) as Row[]
  }

  /** Names of the tables that a change source made, sorted. */
  tables(): readonly string[] {
    return this.query<{ name: string }>(`SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`)
      .map(({ name }) => name)
      .filter((name) => !/^(_zero\.|_litestream_|sqlite_)/.test(name))
  }

  /** Columns in order, with their types as a change source calls them, without Zero's own. */
  columns(table: string): readonly ReplicaColumn[] {
    return this.query<{ name: string; type: string }>('SELECT name, type FROM pragma_table_info(?)', table)
      .filter(({ name }) => name !== '_0_version')
      .map(({ name, type }) => {
        const [base, ...attributes] = type.split('|')
        // SQLite writes the names that it knows in capitals.
        return { name, type: base!.toLowerCase(), notNull: attributes.includes('NOT_NULL') }
      })
  }

  /** All rows of a table, without Zero's own column, in no order. */
  rows(table: string): readonly ReplicaRow[] {
    return this.query(`SELECT * FROM ${quoted(table)}`).map((row) => {
      const { _0_version: _, ...rest } = row
      return rest
    })
  }

  /** Names of the indexes and what they hold, sorted. */
  indexes(): readonly { readonly name: string; readonly table: string; readonly unique: boolean }[] {
    return this.query<{ name: string; tbl_name: string; sql: string }>(
      `SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`,
    ).map(({ name, tbl_name, sql }) => ({ name, table: tbl_name, unique: /^CREATE UNIQUE/i.test(sql) }))
  }

  /** The watermark up to which changes are applied. */
  watermark(): string {
    return this.query<{ stateVersion: string }>('SELECT stateVersion FROM "_zero.replicationState"')[0]!
      .stateVersion
  }

  /** The watermark of the snapshot that it was built from. */
  version(): string {
    return this.query<{ replicaVersion: string }>('SELECT replicaVersion FROM "_zero.replicationConfig"')[0]!
      .replicaVersion
  }

  close(): void {
    this.#database.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
