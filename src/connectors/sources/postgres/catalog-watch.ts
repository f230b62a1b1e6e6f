/**
 * Finds schema changes of tables that nobody writes to: the stream tells of a change only with the next row. Reads the
 * catalog now and then; a difference that the stream has not explained by the time it is past the moment of reading is
 * applied as it is.
 */
import type pg from 'pg'
import { ConnectionError } from '../../../core/error.ts'
import type { TableSelection } from '../../../core/selection.ts'
import { type CatalogTable, readTables } from './catalog.ts'
import { parseLsn, type StoredTable } from './position.ts'
import { catalogShape, storedShape, wasRewritten } from './schema-diff.ts'
import { requirePublication } from './slot.ts'

export interface WatchRequest {
  readonly sql: pg.Client
  readonly publication: string
  readonly selection: TableSelection
  readonly serverVersion: number
}

interface Difference {
  readonly catalog: CatalogTable
  /** What was known when the catalog was read; null for a table that appeared. */
  readonly stored: StoredTable | null
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
    const tables = await readTables(sql, { publication, selection, serverVersion })
    const stored = known()
    const published = new Map(tables.map((table) => [`${table.namespace}.${table.name}`, table]))
    const gone = Object.keys(stored).filter(
      (name) => stored[name]!.membership !== published.get(name)?.membership,
    )
    if (gone.length > 0) await this.#tablesGone(gone)
    const differences = tables.flatMap((catalog): readonly Difference[] => {
      const before = stored[`${catalog.namespace}.${catalog.name}`] ?? null
      const known = before !== null && catalogShape(catalog) === storedShape(before)
      return known && !wasRewritten(before, catalog) ? [] : [{ catalog, stored: before }]
    })
    if (differences.length === 0) return
    // Whatever was visible to the queries above was in the WAL before this.
    const { rows } = await sql.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
    this.#pending = { until: parseLsn(rows[0]!.lsn), differences }
  }

  /**
   * Changes of a table that left the publication, if only for a moment, are missing: the next start forgets what is
   * known of it, and copies it when it is back.
   */
  async #tablesGone(names: readonly string[]): Promise<never> {
    const { sql, publication } = this.#request
    await requirePublication(sql, publication)
    throw new ConnectionError(
      'postgres/table-unpublished',
      `the publication "${publication}" has lost or replaced ${names.slice(0, 5).join(', ')}`,
      {
        fix: 'Nothing to do if that was intended: the pipeline goes on without, and leaves the target as it is.',
      },
    )
  }

  /** The differences that are still unexplained although the stream is at `lsn`; empty while it is not far enough. */
  due(lsn: bigint, known: Readonly<Record<string, StoredTable>>): readonly CatalogTable[] {
    if (this.#pending === null || lsn < this.#pending.until) return []
    const { differences } = this.#pending
    this.#pending = null
    return differences
      .filter(({ catalog, stored }) => (known[`${catalog.namespace}.${catalog.name}`] ?? null) === stored)
      .map(({ catalog }) => catalog)
  }
}
