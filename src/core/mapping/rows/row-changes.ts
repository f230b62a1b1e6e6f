/** What differs between two mappings of a source's tables, and how sinks get from the one to the other. */
import { describeType, sameType } from '../../column-type.ts'
import { type SchemaOperation, tableName, type TableSchema } from '../../table.ts'
import { fingerprintOf } from '../fingerprint.ts'
import { diffMapping, diffTable, type MappingDiff, type SchemaStep, type StoredTable } from '../diff.ts'
import type { TableMapping } from '../mapping.ts'
import type { RowPlan } from './rows-plan.ts'

/** A mapped table as sinks know it; part of every position, so that a changed mapping is seen at a restart. */
export interface MappedTable extends StoredTable {
  /** The table of the source as it was then. */
  readonly source: TableSchema
}

export interface MappingChanges {
  /** Clauses, such as `column "b" of table public.t is dropped`. */
  readonly list: readonly string[]
  /** Those that take something from whoever reads the sinks. */
  readonly breaking: readonly string[]
  /** Tables of the source, by `namespace.name`, of which rows or values are missing in sinks: to be copied again. */
  readonly copies: readonly string[]
  /** Those that are made no longer. */
  readonly dropped: readonly MappedTable[]
}

export function mappedTable(plan: RowPlan): MappedTable {
  const { mapping, source, target, cells } = plan
  const columns = target.columns.map((column, index): readonly [string, string] => {
    const cell = cells[index]!
    // A copied cell depends on nothing but its column, which the id stands for, and the cast.
    const rule = cell.kind === 'column' ? source.columns[cell.from]!.id : column.id
    const type = cell.kind === 'column' && cell.cast === null ? null : describeType(column.type)
    return [column.id, fingerprintOf([cell.kind, rule, type])]
  })
  return {
    source,
    schema: target,
    fingerprint: fingerprintOf(mapping.rowsText),
    columnFingerprints: Object.fromEntries(columns),
  }
}

/** Compares tables by their names in sinks. */
export function changesOf(before: readonly MappedTable[], after: readonly MappedTable[]): MappingChanges {
  const diff = diffMapping(before, { tables: after.map(toMapping), allowsBreaking: false })
  const changed = new Set([
    ...diff.added.map(({ table }) => tableName(table)),
    ...diff.tables.flatMap(({ next, copyAgain }) => (copyAgain ? [tableName(next.schema)] : [])),
  ])
  const copied = after.filter(({ schema }) => changed.has(tableName(schema)))
  return {
    list: describeDiff(diff),
    breaking: diff.breaking,
    copies: [...new Set(copied.map(({ source }) => tableName(source)))],
    dropped: diff.dropped as readonly MappedTable[],
  }
}

/** Everything that changes, a clause each. */
export function describeDiff({ tables, added, dropped }: MappingDiff): readonly string[] {
  return [
    ...added.map(({ table }) => `table ${tableName(table)} is added`),
    ...dropped.map(({ schema }) => `table ${tableName(schema)} is dropped`),
    ...tables.flatMap(({ steps, copyAgain, next }) => [
      ...steps.flatMap(({ change }) => describeStep(change, tableName(next.schema))),
      ...(copyAgain ? [`table ${tableName(next.schema)} is copied again`] : []),
    ]),
  ]
}

/**
 * One schema change after the other from what sinks have to another schema of the table. Those that follow the source
 * keep the rows: what else they need, the source does itself.
 */
export function stepsTo(known: StoredTable, next: MappedTable, isCopied: boolean): readonly SchemaStep[] {
  const { steps } = diffTable(known, toMapping(next))
  return isCopied ? steps : steps.filter(({ change }) => change.kind !== 'truncate')
}

function describeStep(change: SchemaOperation, table: string): readonly string[] {
  switch (change.kind) {
    case 'add-column':
      return [`column "${change.column.name}" of table ${table} is added`]
    case 'drop-column':
      return [`column "${change.column.name}" of table ${table} is dropped`]
    case 'rename-column':
      return [`column "${change.from.name}" of table ${table} is renamed to "${change.to.name}"`]
    case 'alter-column': {
      const { from, to } = change
      const what = sameType(from.type, to.type)
        ? `may ${to.nullable ? '' : 'not '}be NULL`
        : `changes its type from ${describeType(from.type)} to ${describeType(to.type)}`
      return [`column "${to.name}" of table ${table} ${what}`]
    }
    case 'change-key':
      return [`the key of table ${table} changes`]
    case 'create-table':
    case 'drop-table':
    case 'truncate':
      return []
  }
}

function toMapping({ source, schema, fingerprint, columnFingerprints }: MappedTable): TableMapping {
  const { namespace, name } = source
  const rules = { columns: [], filter: null, unwind: [], elementFilter: null }
  return { table: schema, collection: { namespace, name }, ...rules, fingerprint, columnFingerprints }
}
