/**
 * What changed between the schema that we know and a Relation message. pgoutput sends no DDL, only the shape of the
 * rows that follow, so attribute numbers (which survive a rename) come from the catalog as it is now. The catalog may
 * be ahead of the stream; whenever it no longer explains a difference the table is copied again. Pure.
 */
import { sameType } from '../../../core/column-type.ts'
import type { Column, SchemaOperation, TableSchema } from '../../../core/table.ts'
import { type CatalogColumn, type CatalogTable, changesOf, describeColumn } from './catalog.ts'
import type { RelationMessage } from './relation.ts'
import type { StoredTable } from './position.ts'
import { baseOid, Conversion, conversionOf, type PgTypes } from './types.ts'

export interface SchemaStep {
  readonly before: TableSchema
  readonly after: TableSchema
  readonly change: SchemaOperation
}

export interface SchemaDiff {
  readonly steps: readonly SchemaStep[]
  readonly next: StoredTable
  /** Stored rows may differ from the source's in a way that the stream does not tell. */
  readonly copyAgain: boolean
}

/** True when rows of this relation have the shape that we know. Cheap; needs no catalog. */
export function sameShape(stored: StoredTable, relation: RelationMessage): boolean {
  const { columns, key } = stored.schema
  if (stored.oid !== relation.oid || columns.length !== relation.columns.length) return false
  const full = relation.columns.every((column) => column.identity)
  return relation.columns.every((column, index) => {
    const [type, modifier] = stored.types[index]!
    if (column.name !== columns[index]!.name || column.type !== type || column.modifier !== modifier)
      return false
    return full || column.identity === key.includes(index)
  })
}

/** Everything about a table that a change of schema changes, as text to compare. */
export function catalogShape(catalog: CatalogTable): string {
  return JSON.stringify([
    catalog.oid,
    catalog.columns.map((column) => [String(column.number), column.name, column.type, column.modifier]),
    catalog.key.map(String),
  ])
}

/** The same for what is known. */
export function storedShape(stored: StoredTable): string {
  const { columns, key } = stored.schema
  return JSON.stringify([
    stored.oid,
    columns.map((column, index) => [column.id, column.name, ...stored.types[index]!]),
    key.map((index) => columns[index]!.id),
  ])
}

/** The Relation message that the next row of the table would bring. */
export function relationOf(catalog: CatalogTable): RelationMessage {
  return {
    oid: catalog.oid,
    namespace: catalog.namespace,
    name: catalog.name,
    columns: catalog.columns.map((column) => ({
      name: column.name,
      type: column.type,
      modifier: column.modifier,
      identity: catalog.identity === 'f' || catalog.key.includes(column.number),
    })),
  }
}

/**
 * True when the catalog has another table of this name, or another column where one of ours was: it was dropped and
 * made again; or when the table was taken out of the publication and is back. The shape need not differ.
 */
export function wasReplaced(stored: StoredTable, catalog: CatalogTable | null): boolean {
  if (catalog === null) return false
  if (catalog.oid !== stored.oid || catalog.membership !== stored.membership) return true
  const numbers = new Map(catalog.columns.map((column) => [column.name, String(column.number)]))
  return stored.schema.columns.some((column) => (numbers.get(column.name) ?? column.id) !== column.id)
}

/**
 * True when the table was rewritten and one of its columns was changed, as by ALTER TYPE ... USING, even if the type is
 * the same as before: the values may be others. A TRUNCATE or VACUUM FULL rewrites too, but changes no column.
 */
export function wasRewritten(stored: StoredTable, catalog: CatalogTable | null): boolean {
  if (catalog === null || catalog.file === stored.file) return false
  return catalog.columns.some(
    ({ number, changedBy }) => (stored.changedBy[number] ?? changedBy) !== changedBy,
  )
}

/** `catalog` is null when the table is gone by now. */
export function diffSchema(
  stored: StoredTable,
  relation: RelationMessage,
  catalog: CatalogTable | null,
  types: PgTypes,
): SchemaDiff {
  const current = new Map(catalog?.columns.map((column) => [column.name, column]))
  const steps: SchemaStep[] = []
  let copyAgain = false
  let schema = stored.schema

  const step = (
    change: SchemaOperation,
    columns: readonly Column[],
    key: readonly number[] = schema.key,
  ): void => {
    const after: TableSchema = { ...schema, columns, key, version: schema.version + 1 }
    steps.push({ before: schema, after, change })
    schema = after
  }

  // Which known column each column of the relation is; null for a new one. Attribute numbers tell when the catalog is
  // that of the relation. When it is ahead, names have to do, and any doubt is settled by a copy.
  const exact = catalog !== null && isShapeOf(catalog, relation)
  const matches = relation.columns.map((column) => {
    const now = current.get(column.name)
    const sameName = stored.schema.columns.find((known) => known.name === column.name) ?? null
    const sameNumber = stored.schema.columns.find((known) => known.id === String(now?.number)) ?? null
    // Rows around here may hold values of the column that had the name before.
    if (sameName !== null) copyAgain ||= now !== undefined && sameNumber !== sameName
    else if (!exact) copyAgain ||= now === undefined || sameNumber !== null
    return exact ? sameNumber : sameName
  })
  // A new column has the next number; with others in between, or with a drop, there may have been one of its name.
  const added = relation.columns.filter((_, index) => matches[index] === null)
  const dropped = stored.schema.columns.filter((known) => !matches.includes(known))
  copyAgain ||= added.some(
    (column, index) => current.get(column.name)?.number !== stored.lastNumber + 1 + index,
  )
  copyAgain ||= added.length > 0 && dropped.length > 0
  // Also when the catalog is ahead: from now on its file is the known one, and nobody would look at this again.
  copyAgain ||= wasRewritten(stored, catalog)
  // Changes from while it was not published are missing.
  copyAgain ||= catalog !== null && catalog.membership !== stored.membership
  // What is left of the key does not tell rows apart as the key did: sinks make the table again.
  copyAgain ||= dropped.some((column) => stored.schema.key.includes(stored.schema.columns.indexOf(column)))

  for (const known of dropped) {
    const key = remap(
      schema,
      schema.columns.filter((column) => column.id !== known.id),
    )
    step(
      { kind: 'drop-column', column: known },
      schema.columns.filter((column) => column.id !== known.id),
      key,
    )
  }

  const renames = matches.flatMap((known, index) => {
    const name = relation.columns[index]!.name
    return known === null || known.name === name ? [] : [{ id: known.id, name }]
  })
  while (renames.length > 0) {
    const free = renames.findIndex(({ name }) => !schema.columns.some((column) => column.name === name))
    // All names are taken, as columns changed places: one steps aside, and is renamed once more.
    const { id, name } =
      free < 0
        ? { id: renames[0]!.id, name: `sluice_renaming_${renames[0]!.id}` }
        : renames.splice(free, 1)[0]!
    const from = schema.columns.find((column) => column.id === id)!
    const to = { ...from, name }
    step({ kind: 'rename-column', from, to }, replace(schema, to))
  }

  const mayBeRewritten = catalog !== null && catalog.file !== stored.file
  for (const [index, column] of relation.columns.entries()) {
    const known = matches[index]!
    const now = current.get(column.name)
    const shape = describe(column, now, types)
    if (known === null) {
      copyAgain ||= now === undefined || now.rewritten || mayBeRewritten
      const constant = now === undefined ? null : canonicalDefault(now.missing, shape, column.type, types)
      // Rows that exist show NULL in the target unless there is a constant, whatever the source declares by now.
      const added: Column = {
        ...shape,
        nullable: shape.nullable || constant === null,
        addedDefault: constant,
      }
      step({ kind: 'add-column', column: added }, [...schema.columns, added])
      continue
    }
    const [type, modifier] = stored.types[stored.schema.columns.indexOf(known)]!
    // Also when both types are text to us: USING may have changed the values.
    copyAgain ||= mayBeRewritten && (type !== column.type || modifier !== column.modifier)
    const before = schema.columns.find((candidate) => candidate.id === known.id)!
    if (!sameType(before.type, shape.type)) {
      const altered = { ...before, type: shape.type, native: shape.native }
      step({ kind: 'alter-column', from: before, to: altered }, replace(schema, altered))
      // The rewrite of the table is not in the log.
      copyAgain = true
    }
  }

  const key = keyOf(relation, catalog, schema)
  if (!sameKey(schema, key)) {
    step({ kind: 'change-key' }, schema.columns, key)
    copyAgain = true
  }

  // The order of columns is the relation's: rows come that way.
  const ordered = relation.columns.map((column) =>
    schema.columns.find((candidate) => candidate.name === column.name)!,
  )
  const final: TableSchema = { ...schema, columns: ordered, key: remap(schema, ordered) }
  const last = steps.pop()
  if (last !== undefined) steps.push({ ...last, after: final })
  return {
    steps,
    copyAgain,
    next: {
      oid: relation.oid,
      copiedAt: copyAgain ? null : stored.copiedAt,
      schema: final,
      types: relation.columns.map((column) => [column.type, column.modifier] as const),
      file: catalog?.file ?? stored.file,
      lastNumber: exact ? catalog.lastNumber : Math.max(stored.lastNumber, ...ordered.map(numberOf)),
      membership: catalog?.membership ?? stored.membership,
      changedBy: catalog === null ? stored.changedBy : changesOf(catalog),
    },
  }
}

function isShapeOf(catalog: CatalogTable, relation: RelationMessage): boolean {
  return (
    catalog.columns.length === relation.columns.length &&
    catalog.columns.every(({ name, type, modifier }, index) => {
      const column = relation.columns[index]!
      return column.name === name && column.type === type && column.modifier === modifier
    })
  )
}

/** 0 for a column that the catalog did not know any more. */
function numberOf(column: Column): number {
  return Number.parseInt(column.id, 10) || 0
}

/** What `Conversion` does to cells, for the text of a default. Bytes are hex digits as everywhere in text. */
function canonicalDefault(text: string | null, { type }: Column, oid: number, types: PgTypes): string | null {
  const isMoney = conversionOf(type, baseOid(types, oid)) === Conversion.money
  return text !== null && isMoney ? text.replaceAll(/[^-.0-9]/g, '') : text
}

function describe(
  column: RelationMessage['columns'][number],
  now: CatalogColumn | undefined,
  types: PgTypes,
): Column {
  const base: CatalogColumn = now ?? {
    number: 0,
    name: column.name,
    type: column.type,
    modifier: column.modifier,
    dimensions: 0,
    notNull: false,
    changedBy: '',
    missing: null,
    rewritten: true,
  }
  const described = describeColumn({ ...base, type: column.type, modifier: column.modifier }, types)
  // Without an attribute number the name has to do; the table is copied again in this case.
  return now === undefined ? { ...described, id: `name:${column.name}` } : described
}

/** Indexes into `schema.columns` of the key after the change. */
function keyOf(
  relation: RelationMessage,
  catalog: CatalogTable | null,
  schema: TableSchema,
): readonly number[] {
  const full = relation.columns.every((column) => column.identity)
  const none = !relation.columns.some((column) => column.identity)
  if (!full && !none) {
    const flagged = relation.columns.filter((column) => column.identity).map((column) => column.name)
    const same =
      flagged.length === schema.key.length &&
      schema.key.every((index) => flagged.includes(schema.columns[index]!.name))
    if (same) return schema.key
    return flagged.map((name) => schema.columns.findIndex((column) => column.name === name))
  }
  if (catalog === null) return schema.key
  return catalog.key
    .map((number) => schema.columns.findIndex((column) => column.id === String(number)))
    .filter((index) => index >= 0)
}

function sameKey(schema: TableSchema, key: readonly number[]): boolean {
  return key.length === schema.key.length && key.every((index, place) => index === schema.key[place])
}

function replace(schema: TableSchema, column: Column): readonly Column[] {
  return schema.columns.map((candidate) => (candidate.id === column.id ? column : candidate))
}

/** The key's indexes after columns moved; a dropped key column leaves the key. */
function remap(schema: TableSchema, columns: readonly Column[]): readonly number[] {
  return schema.key
    .map((index) => columns.findIndex((column) => column.id === schema.columns[index]!.id))
    .filter((index) => index >= 0)
}
