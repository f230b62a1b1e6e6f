/** Which tables a position knows, against the ones that are published by now. Pure. */
import type { CatalogTable } from './catalog.ts'
import type { StoredTable } from './position.ts'

/** By `namespace.name`. */
export type Tables = Readonly<Record<string, StoredTable>>

/**
 * Without the tables that are not selected or not published any more, or were for a while, or were made again: changes
 * of them are missing from the log, so they have to be copied should they ever come back.
 */
export function stillPublished(tables: Tables, published: readonly CatalogTable[]): Tables {
  return Object.fromEntries(
    published.flatMap((table) => {
      const name = `${table.namespace}.${table.name}`
      const stored = tables[name]
      return isSame(stored, table) ? [[name, stored]] : []
    }),
  )
}

/** The tables that were dropped or renamed, made again under their name, or are not selected or published any more. */
export function goneTables(tables: Tables, published: readonly CatalogTable[]): readonly StoredTable[] {
  const oids = new Map(published.map((table) => [`${table.namespace}.${table.name}`, table.oid]))
  return Object.entries(tables).flatMap(([name, stored]) => (oids.get(name) === stored.oid ? [] : [stored]))
}

/** The same table, published without a break. */
function isSame(stored: StoredTable | undefined, table: CatalogTable): stored is StoredTable {
  return stored?.oid === table.oid && stored.membership === table.membership
}

/** True when a published table is not known or not copied. */
export function needsCopy(tables: Tables, published: readonly CatalogTable[]): boolean {
  return published.some((table) => (tables[`${table.namespace}.${table.name}`]?.copiedAt ?? null) === null)
}
