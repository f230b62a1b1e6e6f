import type { Session } from './session.ts'

/** A table or view as the server has it. */
export interface CatalogTable {
  readonly name: string
  readonly engine: string
  readonly comment: string
  readonly columns: readonly CatalogColumn[]
  /** Names of the columns of the sorting key, in key order. */
  readonly sortingKey: readonly string[]
}

export interface CatalogColumn {
  readonly name: string
  readonly type: string
  readonly comment: string
  /** Empty, `DEFAULT`, `MATERIALIZED`, `ALIAS` or `EPHEMERAL`. */
  readonly defaultKind: string
}

/** Null when there is no such table. */
export async function readTable(session: Session, name: string): Promise<CatalogTable | null> {
  const params = { database: session.database, name }
  const tables = await session.rows<[string, string, string]>(
    'SELECT engine, comment, sorting_key FROM system.tables WHERE database = {database:String} AND name = {name:String}',
    params,
  )
  const table = tables[0]
  if (table === undefined) return null
  const rows = await session.rows<[string, string, string, string, number]>(
    `SELECT name, type, comment, default_kind, is_in_sorting_key FROM system.columns
      WHERE database = {database:String} AND table = {name:String} ORDER BY position`,
    params,
  )
  const columns = rows.map(([column, type, comment, defaultKind]) => ({
    name: column,
    type,
    comment,
    defaultKind,
  }))
  const keyColumns = new Set(rows.filter((row) => row[4] === 1).map((row) => row[0]))
  return { name, engine: table[0], comment: table[1], columns, sortingKey: inKeyOrder(table[2], keyColumns) }
}

/** The order of the key columns in the text of the sorting key, where odd names stand in backticks. */
function inKeyOrder(text: string, columns: ReadonlySet<string>): readonly string[] {
  const names = text.match(/`(?:[^`\\]|\\.)*`|[^,\s()]+/gs) ?? []
  const plain = names.map((name) =>
    name.startsWith('`') ? name.slice(1, -1).replace(/\\(.)/gs, '$1') : name,
  )
  return plain.filter((name) => columns.has(name))
}
