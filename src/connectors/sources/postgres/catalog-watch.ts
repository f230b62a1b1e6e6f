/**
 * Finds schema changes of tables that nobody writes to, and tables that are gone: the stream tells of a change only with
 * the next row. Reads the catalog now and then; a difference that the stream has not explained by the time it is past the
 * moment of reading is applied as it is.
 */
import type pg from 'pg'
import type { TableSelection } from '../../../core/selection.ts'
import { type CatalogTable, currentTables } from './catalog.ts'
import { parseLsn, type StoredTable } from './position.ts'
import { catalogShape, storedShape, wasReplaced, wasRewritten } from './schema-diff.ts'
import { requirePublication } from './slot.ts'

export interface WatchRequest {
  readonly sql: pg.Client
  readonly publication: string
  readonly selection: TableSelection
  readonly serverVersion: number
}

interface Difference {
  readonly name: string
  /** Null for a table that is gone. */
  readonly catalog: CatalogTable | null
  /** What was known when the catalog was read; null for a table that appeared. */
  readonly stored: StoredTable | null
}

/** What the stream does not tell. */
export interface Unexplained {
  readonly gone: readonly StoredTable[]
  /** Changed, made again under its name, or new. */
  readonly changed: readonly CatalogTable[]
}

export class CatalogWatch {
  readonly #request: WatchRequest
  #pending: { readonly until: bigint; readonly differences: readonly Difference[] } | null = null

  constructor(request: WatchRequest) {
    this.#request = request
  }

  /** Compares the catalog with what is known. */
  async poll(known: () => Readonly<Record<string, StoredTable>>): Promise<void> {
    if (this.#pending !== null) return
    const { sql, publication, selection, serverVersion } = this.#request
    const tables = await currentTables(sql, { publication, selection, serverVersion })
    const stored = known()
    const published = new Map(tables.map((table) => [`${table.namespace}.${table.name}`, table]))
    const gone = Object.keys(stored).filter((name) => !published.has(name))
    // Without the publication everything seems gone.
    if (gone.length > 0) await requirePublication(sql, publication)
    const differences = [...published].flatMap(([name, catalog]): readonly Difference[] => {
      const before = stored[name] ?? null
      const known = before !== null && catalogShape(catalog) === storedShape(before)
      const same = known && !wasReplaced(before, catalog) && !wasRewritten(before, catalog)
      return same ? [] : [{ name, catalog, stored: before }]
    })
    for (const name of gone) differences.push({ name, catalog: null, stored: stored[name]! })
    if (differences.length === 0) return
    // Whatever was visible to the queries above was in the WAL before this.
    const { rows } = await sql.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
    this.#pending = { until: parseLsn(rows[0]!.lsn), differences }
  }

  /** The differences that are still unexplained although the stream is at `lsn`; null without any, or when it is not. */
  due(lsn: bigint, known: Readonly<Record<string, StoredTable>>): Unexplained | null {
    if (this.#pending === null || lsn < this.#pending.until) return null
    const left = this.#pending.differences.filter(({ name, stored }) => (known[name] ?? null) === stored)
    this.#pending = null
    if (left.length === 0) return null
    return {
      gone: left.flatMap(({ catalog, stored }) => (catalog === null && stored !== null ? [stored] : [])),
      changed: left.flatMap(({ catalog }) => (catalog === null ? [] : [catalog])),
    }
  }
}
