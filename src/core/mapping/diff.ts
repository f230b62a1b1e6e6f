/** What has to happen in sinks when a mapping changes between two starts, or while a pipeline runs. */
import { describeType, sameType } from '../column-type.ts'
import { type Column, type SchemaOperation, tableName, type TableSchema } from '../table.ts'
import type { DocumentMapping, TableMapping } from './mapping.ts'

/** What a source keeps of a table that it has announced. Data, so it can be part of a position. */
export interface StoredTable {
  readonly schema: TableSchema
  readonly fingerprint: string
  readonly columnFingerprints: Readonly<Record<string, string>>
}

export interface SchemaStep {
  readonly before: TableSchema
  readonly after: TableSchema
  readonly change: SchemaOperation
}

export interface TableDiff {
  readonly mapping: TableMapping
  /**
   * In the order in which they are possible. The first is a truncate where the table is copied again: what a column is
   * changed to need not hold for rows that were there.
   */
  readonly steps: readonly SchemaStep[]
  /** What to keep from now on. */
  readonly next: StoredTable
  /** The log does not tell what other rules make of documents that do not change. */
  readonly copyAgain: boolean
}

export interface MappingDiff {
  /** Tables that are there in both, also those without a change. */
  readonly tables: readonly TableDiff[]
  readonly added: readonly TableMapping[]
  readonly dropped: readonly StoredTable[]
  /** What readers of the tables may rely on and is no more, each a clause: tables, columns, types, keys. */
  readonly breaking: readonly string[]
}

export function diffMapping(stored: readonly StoredTable[], { tables }: DocumentMapping): MappingDiff {
  const known = new Map(stored.map((table) => [tableName(table.schema), table]))
  const names = new Set(tables.map(({ table }) => tableName(table)))
  const diffs = tables.flatMap((mapping) => {
    const before = known.get(tableName(mapping.table))
    return before === undefined ? [] : [diffTable(before, mapping)]
  })
  const dropped = stored.filter((table) => !names.has(tableName(table.schema)))
  return {
    tables: diffs,
    added: tables.filter(({ table }) => !known.has(tableName(table))),
    dropped,
    breaking: [
      ...dropped.map(({ schema }) => `table ${tableName(schema)} is dropped`),
      ...diffs.flatMap(({ steps }) => steps.flatMap(breakingOf)),
    ],
  }
}

export function diffTable(stored: StoredTable, mapping: TableMapping): TableDiff {
  const target = mapping.table
  const matches = matchColumns(stored, mapping)
  const steps: SchemaStep[] = []
  let schema = stored.schema
  let copyAgain = stored.fingerprint !== mapping.fingerprint

  const step = (change: SchemaOperation, columns: readonly Column[], key = schema.key): void => {
    const after: TableSchema = { ...schema, columns, key, version: schema.version + 1 }
    steps.push({ before: schema, after, change })
    schema = after
  }
  const replace = (from: Column, to: Column): readonly Column[] =>
    schema.columns.map((column) => (column.id === from.id ? to : column))

  const kept = new Set([...matches.values()].map(({ id }) => id))
  // A new column may have the id that one had which is known by another id from here on.
  const idOf = ({ id }: Column): string => matches.get(id)?.id ?? (kept.has(id) ? `${id}#` : id)
  for (const column of stored.schema.columns.filter(({ id }) => !kept.has(id))) {
    const columns = schema.columns.filter(({ id }) => id !== column.id)
    step({ kind: 'drop-column', column }, columns, keyIn(schema, columns))
  }

  const renames = target.columns.flatMap((column) => {
    const known = matches.get(column.id)
    return known === undefined || known.name === column.name ? [] : [{ id: known.id, name: column.name }]
  })
  while (renames.length > 0) {
    const free = renames.findIndex(({ name }) => !schema.columns.some((column) => column.name === name))
    // All names are taken, as columns changed places: one steps aside, and is renamed once more.
    const { id, name } = free < 0 ? aside(renames[0]!, schema) : renames.splice(free, 1)[0]!
    const from = schema.columns.find((column) => column.id === id)!
    const to = { ...from, name }
    step({ kind: 'rename-column', from, to }, replace(from, to))
  }

  for (const column of target.columns) {
    const known = matches.get(column.id)
    if (known === undefined) {
      const added = { ...column, id: idOf(column) }
      step({ kind: 'add-column', column: added }, [...schema.columns, added])
      copyAgain = true
      continue
    }
    copyAgain ||= stored.columnFingerprints[known.id] !== mapping.columnFingerprints[column.id]
    const from = schema.columns.find(({ id }) => id === known.id)!
    const isSame = sameType(from.type, column.type)
    copyAgain ||= !isSame || (from.nullable && !column.nullable)
    if (!isSame || from.nullable !== column.nullable) {
      const to = { ...from, type: column.type, nullable: column.nullable, native: column.native }
      step({ kind: 'alter-column', from, to }, replace(from, to))
    }
  }

  const key = target.key.map((index) => {
    const known = idOf(target.columns[index]!)
    return schema.columns.findIndex(({ id }) => id === known)
  })
  if (key.length !== schema.key.length || key.some((column, place) => column !== schema.key[place])) {
    step({ kind: 'change-key' }, schema.columns, key)
  }
  // A key that lost a column does not tell rows apart as it did, whether or not the rest of it stays.
  copyAgain ||= keyNames(stored.schema) !== keyNames(renamedBack(target, matches))

  // Order, ids and declarations are those of the mapping from here on.
  const last = steps.pop()
  if (last !== undefined) {
    schema = { ...target, version: last.after.version }
    steps.push({ ...last, after: schema })
  } else schema = { ...target, version: stored.schema.version }
  const { fingerprint, columnFingerprints } = mapping
  return {
    mapping,
    steps: copyAgain && steps.length > 0 ? emptied(stored.schema, steps) : steps,
    next: { schema, fingerprint, columnFingerprints },
    copyAgain,
  }
}

/**
 * The stored column for each id of the mapping: the very same, then one with the same rule and another name (renamed),
 * then one with the same name and another rule.
 */
function matchColumns(stored: StoredTable, mapping: TableMapping): ReadonlyMap<string, Column> {
  const matches = new Map<string, Column>()
  const left = new Set(stored.schema.columns)
  const match = (isSame: (known: Column, column: Column) => boolean): void => {
    for (const column of mapping.table.columns) {
      const known = matches.has(column.id) ? undefined : [...left].find((one) => isSame(one, column))
      if (known === undefined) continue
      matches.set(column.id, known)
      left.delete(known)
    }
  }
  const rule = (known: Column, column: Column): boolean =>
    stored.columnFingerprints[known.id] === mapping.columnFingerprints[column.id]
  match((known, column) => known.id === column.id && known.name === column.name)
  match((known, column) => known.name === column.name && rule(known, column))
  match((known, column) => known.id === column.id)
  match((known, column) => known.name === column.name)
  return matches
}

function aside(
  { id }: { readonly id: string },
  schema: TableSchema,
): { readonly id: string; readonly name: string } {
  const taken = new Set(schema.columns.map(({ name }) => name))
  let name = 'sluice_renaming'
  for (let count = 1; taken.has(name); count++) name = `sluice_renaming_${count}`
  return { id, name }
}

function emptied(schema: TableSchema, steps: readonly SchemaStep[]): readonly SchemaStep[] {
  return [{ before: schema, after: schema, change: { kind: 'truncate' } }, ...steps]
}

/** The key's indexes after columns moved; a dropped key column leaves the key. */
function keyIn(schema: TableSchema, columns: readonly Column[]): readonly number[] {
  return schema.key
    .map((index) => columns.findIndex(({ id }) => id === schema.columns[index]!.id))
    .filter((index) => index >= 0)
}

/** The table with the columns as they were known before. */
function renamedBack(table: TableSchema, matches: ReadonlyMap<string, Column>): TableSchema {
  return { ...table, columns: table.columns.map((column) => matches.get(column.id) ?? column) }
}

function keyNames({ columns, key }: TableSchema): string {
  return JSON.stringify(key.map((index) => columns[index]!.id))
}

function breakingOf({ before, after, change }: SchemaStep): readonly string[] {
  const table = tableName(before)
  switch (change.kind) {
    case 'drop-column':
      return [`column "${change.column.name}" of table ${table} is dropped`]
    case 'alter-column': {
      const { from, to } = change
      if (sameType(from.type, to.type)) return []
      const types = `from ${describeType(from.type)} to ${describeType(to.type)}`
      return [`column "${to.name}" of table ${table} changes its type ${types}`]
    }
    case 'change-key':
      return [
        `the key of table ${table} changes to (${after.key.map((index) => after.columns[index]!.name).join(', ')})`,
      ]
    case 'create-table':
    case 'drop-table':
    case 'truncate':
    case 'add-column':
    case 'rename-column':
      return []
  }
}
