/** The collections of a mapping, and what of them has to travel. */
import { createHash } from 'node:crypto'
import type { Document } from 'mongodb'
import type { DocumentMapping, Path, TableMapping } from '../../../core/mapping/mapping.ts'
import type { TableSelection } from '../../../core/selection.ts'

export interface MappedCollection {
  readonly database: string
  readonly name: string
  /** `database.name`. */
  readonly fullName: string
  readonly tables: readonly TableMapping[]
  /** Which fields the tables need; null: whole documents. */
  readonly fields: readonly string[] | null
  /** Why a table needs what was before a change; null when none does. */
  readonly needsPreImage: PreImageNeed | null
}

export interface PreImageNeed {
  readonly table: string
  /** `filter`: it may also delete what does not match, whether it was there or not. */
  readonly reason: 'filter' | 'unwind' | 'key'
}

/** The collections that the selected tables are made of, in the order of the mapping. */
export function mappedCollections(
  mapping: DocumentMapping,
  selection: TableSelection,
  defaultDatabase: string,
): readonly MappedCollection[] {
  const byName = new Map<string, TableMapping[]>()
  for (const table of mapping.tables) {
    if (!selection.includes(table.table.namespace, table.table.name)) continue
    const name = `${table.collection.namespace ?? defaultDatabase}.${table.collection.name}`
    const tables = byName.get(name)
    if (tables === undefined) byName.set(name, [table])
    else tables.push(table)
  }
  return [...byName].map(([fullName, tables]) => {
    const point = fullName.indexOf('.')
    return {
      database: fullName.slice(0, point),
      name: fullName.slice(point + 1),
      fullName,
      tables,
      fields: fieldsOf(tables),
      needsPreImage: preImageNeed(tables),
    }
  })
}

/** True when the key of every row follows from the `_id` of its document. */
export function isKeyedById({ table, columns, unwind }: TableMapping): boolean {
  if (unwind.length > 0) return false
  return table.key.every((index) => {
    const rule = columns[index]!
    const paths = rule.kind === 'path' ? [rule.path] : rule.expression.paths
    return paths.length > 0 && paths.every((path) => path[0] === '_id')
  })
}

function preImageNeed(tables: readonly TableMapping[]): PreImageNeed | null {
  const named = (table: TableMapping, reason: PreImageNeed['reason']): PreImageNeed => {
    return { table: `${table.table.namespace}.${table.table.name}`, reason }
  }
  const unwound = tables.find((table) => table.unwind.length > 0)
  if (unwound !== undefined) return named(unwound, 'unwind')
  const keyed = tables.find((table) => !isKeyedById(table))
  if (keyed !== undefined) return named(keyed, 'key')
  const filtered = tables.find((table) => table.filter !== null)
  return filtered === undefined ? null : named(filtered, 'filter')
}

/** Paths for a projection, none of which lies inside another. */
function fieldsOf(tables: readonly TableMapping[]): readonly string[] | null {
  // Always the _id: it tells a document without mapped fields from none.
  const fields = new Set(['_id'])
  for (const path of tables.flatMap(pathsOf)) {
    const projectable = projected(path)
    if (projectable === null) return null
    fields.add(projectable)
  }
  return [...fields].filter((field) => ![...fields].some((other) => field.startsWith(`${other}.`))).toSorted()
}

function pathsOf({ columns, filter, unwind }: TableMapping): readonly Path[] {
  return [
    // What elements are asked for lies inside of what is unwound.
    ...unwind.map(({ path }) => path),
    ...(filter?.paths ?? []),
    ...columns.flatMap((rule) => (rule.kind === 'path' ? [rule.path] : rule.expression.paths)),
  ]
}

/** A projection takes numbers for names and knows no names with points or dollars: there the field around it travels. */
function projected(path: Path): string | null {
  const segments: string[] = []
  for (const segment of path) {
    if (/^\d+$/.test(segment) || /[.$\0]/.test(segment) || segment === '') break
    segments.push(segment)
  }
  return segments.length === 0 ? null : segments.join('.')
}

/** Projection of `find`. */
export function projectionOf({ fields }: MappedCollection): Document | null {
  if (fields === null) return null
  return Object.fromEntries([
    ['_id', 1],
    ...fields.filter((field) => !/^_id(\.|$)/.test(field)).map((field) => [field, 1]),
  ])
}

const FOLLOWED = ['insert', 'update', 'replace', 'delete', 'drop', 'rename', 'create', 'modify']

/**
 * What the server filters and cuts: events of the mapped collections, of them the mapped fields. The stream is that of
 * the database when there is only one.
 */
export interface StreamStages {
  /** Null: of the whole cluster. */
  readonly database: string | null
  readonly stages: readonly Document[]
  /** Changes when the stages do. */
  readonly fingerprint: string
}

export function streamStages(
  collections: readonly MappedCollection[],
  options: { readonly preImages: boolean; readonly splits: boolean },
): StreamStages {
  const databases = Map.groupBy(collections, ({ database }) => database)
  const of = (prefix: string): readonly Document[] =>
    [...databases].map(([database, members]) => ({
      [`${prefix}.db`]: database,
      [`${prefix}.coll`]: { $in: members.map(({ name }) => name) },
    }))
  const match = {
    $or: [
      { operationType: { $in: FOLLOWED }, $or: of('ns') },
      { operationType: 'rename', $or: of('to') },
      { operationType: 'dropDatabase', 'ns.db': { $in: [...databases.keys()] } },
      { operationType: 'invalidate' },
    ],
  }
  const stages: Document[] = [{ $match: match }]
  if (collections.every(({ fields }) => fields !== null)) {
    const fields = [...new Set(collections.flatMap((collection) => collection.fields!))]
    const images = ['fullDocument', ...(options.preImages ? ['fullDocumentBeforeChange'] : [])]
    const kept = [
      'operationType',
      'clusterTime',
      'ns',
      'to',
      'documentKey',
      'lsid',
      'txnNumber',
      ...images.flatMap((image) => withoutInner(fields).map((field) => `${image}.${field}`)),
    ]
    stages.push({ $project: Object.fromEntries(kept.map((field) => [field, 1])) })
  }
  if (options.splits) stages.push({ $changeStreamSplitLargeEvent: {} })
  const database = databases.size === 1 ? collections[0]!.database : null
  const text = JSON.stringify({ database, stages, preImages: options.preImages })
  const fingerprint = createHash('sha256').update(text).digest('hex').slice(0, 16)
  return { database, stages, fingerprint }
}

/** Collections together may ask for a field and for one inside of it. */
function withoutInner(fields: readonly string[]): readonly string[] {
  return fields.filter((field) => !fields.some((other) => field.startsWith(`${other}.`))).toSorted()
}
