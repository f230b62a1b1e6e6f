/** The current rows: one SQLite table per source table, of key bytes and cell bytes. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

/** Statements on one state table. */
export class StateTable {
  readonly name: string
  readonly #upsert: StatementSync
  readonly #remove: StatementSync
  readonly #cells: StatementSync

  constructor(db: DatabaseSync, state: number) {
    this.name = stateTable(state)
    this.#upsert = db.prepare(
      `INSERT INTO ${this.name} (key, cells) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET cells = excluded.cells`,
    )
    this.#remove = db.prepare(`DELETE FROM ${this.name} WHERE key = ?`)
    this.#cells = db.prepare(`SELECT cells FROM ${this.name} WHERE key = ?`)
  }

  put(key: Uint8Array, cells: Uint8Array): void {
    this.#upsert.run(key, cells)
  }

  remove(key: Uint8Array): void {
    this.#remove.run(key)
  }

  cells(key: Uint8Array): Uint8Array | null {
    const row = this.#cells.get(key) as { cells: Uint8Array } | undefined
    return row?.cells ?? null
  }
}

export function stateTable(state: number): string {
  return `state_${state}`
}

/** Makes an empty one and returns its number, which no other table ever had at the same time. */
export function createState(db: DatabaseSync): number {
  const { last } = db
    .prepare(
      "SELECT coalesce(max(CAST(substr(name, 7) AS INTEGER)), 0) AS last FROM sqlite_schema WHERE type = 'table' AND name GLOB 'state_[0-9]*'",
    )
    .get() as { last: number }
  db.exec(
    `CREATE TABLE ${stateTable(last + 1)} (key BLOB PRIMARY KEY, cells BLOB NOT NULL) STRICT, WITHOUT ROWID`,
  )
  return last + 1
}

export function dropState(db: DatabaseSync, state: number): void {
  db.exec(`DROP TABLE ${stateTable(state)}`)
}
