/** Table mappings in all formats that are known, into one form. */
import type { Json } from '../../position.ts'
import { columnsByFields, columnsByShape, type TableColumns } from './mapping-columns.ts'
import type { JsonPath, NormalizedTable } from '../normalized.ts'
import { isList, isObject, type JsonObject, orNearest, type Reading, splitName } from './reading.ts'
import { canonicalText } from '../values/canonical-json.ts'
import type { SchemaTable } from './schema.ts'
import { Stages } from './stages.ts'

const KEYS = [
  'source',
  'collection',
  'pipeline',
  'projection',
  'filter',
  'unwind',
  'elementFilter',
  'fields',
  'exclude',
  'key',
]
/** What a pipeline says itself. */
const INSTEAD_OF_PIPELINE = ['filter', 'unwind', 'elementFilter', 'fields', 'exclude']
const BESIDE_MAPPINGS = ['mappings', 'tables', 'version', 'metadata', 'exportedAt']

/** A mapping, the place where it stands, and the name that it is for. */
export interface NamedMapping {
  readonly name: string
  readonly json: Json
  readonly path: JsonPath
}

/** The mappings by name, without what exports put around them. `path` is where the document begins. */
export function namedMappings(json: Json, path: JsonPath, reading: Reading): readonly NamedMapping[] {
  const top = reading.object(json, path)
  if (top === null) return []
  const wrapper = ['mappings', 'tables'].find((key) => {
    const inside = top[key]
    const isMapping = (value: Json): boolean => isObject(value) && KEYS.some((name) => name in value)
    return isObject(inside) && Object.values(inside).every((value) => isObject(value)) && !isMapping(inside)
  })
  if (wrapper === undefined) return entriesOf(top, path)
  reading.onlyKeys(top, BESIDE_MAPPINGS, path)
  return entriesOf(top[wrapper] as JsonObject, [...path, wrapper])
}

function entriesOf(object: JsonObject, path: JsonPath): readonly NamedMapping[] {
  return Object.entries(object).map(([name, json]) => ({ name, json, path: [...path, name] }))
}

/**
 * One table. `schema` says which columns it has; without it the mapping does, or the source. Null when the mapping is
 * no object.
 */
export function readMapping(
  mapping: NamedMapping,
  schema: SchemaTable | null,
  reading: Reading,
): NormalizedTable | null {
  const { path } = mapping
  const object = reading.object(mapping.json, path)
  if (object === null) return null
  reading.onlyKeys(object, KEYS, path)
  const name = schema === null ? splitName(mapping.name) : { namespace: schema.namespace, name: schema.name }
  const stages = new Stages(reading, `table "${name.name}"`)
  const columns = readContent(object, schema, stages, path, reading)
  const collection = collectionOf(object, name, path, reading)
  return {
    ...name,
    collection,
    filter: stages.filter,
    unwind: stages.unwind,
    elementFilter: stages.elementFilter,
    columns: columns.columns,
    rest: columns.rest,
    key: keyOf(object, schema, columns, path, reading),
    rowsText: canonicalText({ collection: { ...collection }, rows: stages.text }),
    place: reading.place(path),
  }
}

/** A table of the schema that nobody mapped: the fields of the collection of its name. */
export function unmapped(schema: SchemaTable, reading: Reading): NormalizedTable {
  const mapping = { name: schema.name, json: {}, path: schema.place.path }
  return readMapping(mapping, schema, reading)!
}

function readContent(
  object: JsonObject,
  schema: SchemaTable | null,
  stages: Stages,
  path: JsonPath,
  reading: Reading,
): TableColumns {
  const { pipeline, projection, filter, unwind, elementFilter, fields } = object
  if (pipeline !== undefined) {
    for (const key of INSTEAD_OF_PIPELINE) {
      if (key in object)
        reading.wrong([...path, key], 'cannot stand beside `pipeline`: make it a stage of it')
    }
    stages.pipeline(pipeline, [...path, 'pipeline'])
  }
  if (filter !== undefined && pipeline === undefined) stages.match(filter, [...path, 'filter'])
  if (unwind !== undefined && pipeline === undefined) readUnwind(unwind, [...path, 'unwind'], stages)
  if (elementFilter !== undefined && pipeline === undefined) {
    const at = [...path, 'elementFilter']
    if (unwind === undefined) reading.wrong(at, 'needs `unwind`: say it in `filter`')
    stages.match(elementFilter, at)
  }
  if (projection !== undefined) {
    const at = [...path, 'projection']
    if (fields !== undefined || object['exclude'] !== undefined) {
      reading.wrong(at, 'cannot stand beside `fields` and `exclude`, which say the same')
    }
    stages.project(projection, at, new Set(schema?.columns.map((column) => column.name)))
  }
  if (pipeline !== undefined || projection !== undefined) {
    return columnsByShape(stages, schema, path, reading)
  }
  return columnsByFields(object, stages, schema, path, reading)
}

function readUnwind(json: Json, path: JsonPath, stages: Stages): void {
  if (!isList(json)) return stages.unwindField(json, path)
  for (const [index, one] of json.entries()) stages.unwindField(one, [...path, index])
}

function collectionOf(
  object: JsonObject,
  table: { readonly namespace: string | null; readonly name: string },
  path: JsonPath,
  reading: Reading,
): NormalizedTable['collection'] {
  const key = 'collection' in object ? 'collection' : 'source'
  const at = [...path, key]
  if ('collection' in object && 'source' in object)
    reading.wrong(at, 'stands beside `source`, which says the same')
  const given = object[key]
  if (given === undefined) return { namespace: table.namespace, name: table.name }
  if (!isObject(given)) {
    const text = reading.text(given, at)
    return splitName(text ?? '')
  }
  // For names that have a point in them.
  reading.onlyKeys(given, ['namespace', 'name'], at)
  return {
    namespace: reading.optionalText(given['namespace'], [...at, 'namespace']),
    name: reading.text(given['name'], [...at, 'name']) ?? '',
  }
}

function keyOf(
  object: JsonObject,
  schema: SchemaTable | null,
  { columns, rest }: TableColumns,
  path: JsonPath,
  reading: Reading,
): NormalizedTable['key'] {
  const at = [...path, 'key']
  const json = object['key']
  if (json === undefined) return schema === null ? null : schema.key
  const names = typeof json === 'string' ? [json] : (reading.list(json, at) ?? [])
  if (names.length === 0) reading.wrong(at, 'must name at least one column')
  const known = columns.map((column) => column.name)
  const key = names.flatMap((entry, index) => {
    const place = typeof json === 'string' ? at : [...at, index]
    const name = reading.text(entry, place)
    if (name === null) return []
    if (rest === null && !known.includes(name)) {
      reading.wrong(place, `is no column of the table${orNearest(name, known)}`)
      return []
    }
    return [{ name, place: reading.place(place) }]
  })
  if (new Set(key.map(({ name }) => name)).size < key.length) reading.wrong(at, 'names a column twice')
  if (schema === null) return key
  const declared = schema.key.map(({ name }) => name).join(', ')
  if (key.length === names.length && key.map(({ name }) => name).join(', ') !== declared) {
    reading.wrong(at, `is another key than the schema has: ${declared}`)
  }
  return schema.key
}
