/** The tables of a position against those of the mapping, which may have changed since. */
import { RecordBatch } from '../../../core/batch.ts'
import { ConfigError } from '../../../core/error.ts'
import { diffMapping } from '../../../core/mapping/diff.ts'
import type { DocumentMapping, TableMapping } from '../../../core/mapping/mapping.ts'
import { tableName } from '../../../core/table.ts'
import type { MappedCollection } from './collections.ts'
import type { FedCollection, FedCollections } from './fed-table.ts'
import type { StoredTable, Surroundings } from './position.ts'

export interface FollowedMapping {
  /** Announces the tables as they were left, and changes them to what the mapping says now. */
  readonly batches: readonly RecordBatch[]
  /**
   * To be told before: the tables as they were left, of which those that are about to lose rows or cells have to be copied. Who
   * goes back to the mapping before, in the middle of the change, must not find them like that. Null where none is.
   */
  readonly warning: Surroundings | null
  /** Tables that are new or have to be copied again are without `copiedAt`. */
  readonly surroundings: Surroundings
}

/** Throws `ConfigError` `mapping/breaking` for what the mapping does not allow. */
export function followMapping(
  mapping: DocumentMapping,
  collections: readonly MappedCollection[],
  surroundings: Surroundings,
): FollowedMapping {
  const collectionOf = new Map(
    collections.flatMap(({ fullName, tables }) => tables.map((table) => [table, fullName] as const)),
  )
  const stored = Object.values(surroundings.tables)
  const diff = diffMapping(stored, { ...mapping, tables: [...collectionOf.keys()] })
  if (diff.breaking.length > 0 && !mapping.allowsBreaking) {
    throw new ConfigError(
      'mapping/breaking',
      `the mapping takes away what an earlier one gave: ${diff.breaking.join('; ')}`,
      { fix: 'Change the mapping back, or allow it once with mapping.breaking: apply.' },
    )
  }
  const batches = diff.dropped.map(({ schema }) => RecordBatch.ofTable('drop-table', schema, 'stream'))
  const tables: Record<string, StoredTable> = {}
  const changed = new Set<string>()
  const emptied = new Set<string>()
  for (const { mapping: table, steps, next, copyAgain } of diff.tables) {
    const name = tableName(table.table)
    const before = surroundings.tables[name]!
    const collection = collectionOf.get(table)!
    batches.push(RecordBatch.ofTable('create-table', before.schema, 'stream'))
    for (const step of steps) {
      const { before: from, after, change } = step
      batches.push(
        RecordBatch.ofSchemaChange({
          _tag: 'SchemaChange',
          before: from,
          table: after,
          change,
          origin: 'stream',
        }),
      )
    }
    const again = copyAgain || collection !== before.collection
    tables[name] = {
      ...next,
      collection,
      copiedAt: again ? null : before.copiedAt,
      keyClasses: again ? [] : before.keyClasses,
    }
    if (again || steps.length > 0) changed.add(name)
    if (again || steps.some(({ change }) => change.kind === 'drop-column')) emptied.add(name)
  }
  for (const { schema } of diff.dropped) {
    changed.add(tableName(schema))
    emptied.add(tableName(schema))
  }
  for (const table of diff.added) {
    const name = tableName(table.table)
    tables[name] = newTable(table, collectionOf.get(table)!)
    changed.add(name)
  }
  // A copy under way goes on when its tables are as they were.
  const copies = Object.fromEntries(
    Object.entries(surroundings.copies).filter(([, copy]) => !copy.tables.some((name) => changed.has(name))),
  )
  const isWhole = Object.values(tables).every(({ copiedAt }) => copiedAt !== null)
  const wholeFrom = isWhole ? surroundings.wholeFrom : null
  const left = Object.entries(surroundings.tables).map(([name, table]) => [
    name,
    emptied.has(name) ? { ...table, copiedAt: null, keyClasses: [] } : table,
  ])
  const warning = { ...surroundings, tables: Object.fromEntries(left), copies, wholeFrom: null }
  return {
    batches,
    warning: emptied.size > 0 ? warning : null,
    surroundings: { ...surroundings, tables, copies, wholeFrom },
  }
}

/** Collections with the tables of each that have to be copied. */
export function uncopiedOf(
  { all }: FedCollections,
  stored: Readonly<Record<string, StoredTable>>,
): readonly FedCollection[] {
  return all
    .map(({ mapped, tables }) => ({
      mapped,
      tables: tables.filter(({ name }) => stored[name]!.copiedAt === null),
    }))
    .filter(({ tables }) => tables.length > 0)
}

function newTable(mapping: TableMapping, collection: string): StoredTable {
  const { table, fingerprint, columnFingerprints } = mapping
  return { schema: table, collection, fingerprint, columnFingerprints, copiedAt: null, keyClasses: [] }
}
