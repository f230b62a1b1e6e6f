/** Schemas in all formats that are known, into one form. */
import type { Json } from '../../position.ts'
import type { JsonPath } from '../normalized.ts'
import { isList, isObject, type JsonObject, orNearest, type Reading, splitName } from './reading.ts'
import { readColumn } from './schema-columns.ts'
import type { MappingSchema, SchemaColumn, SchemaFormat, SchemaTable } from './schema.ts'

/** Around the tables: what exports and Zero add, which says nothing about columns. */
const BESIDE_TABLES = [
  'tables',
  'version',
  'metadata',
  'exportedAt',
  'relationships',
  'enableLegacyQueries',
  'enableLegacyMutators',
  '$schema',
]
const BESIDE_SCHEMA = ['schema', 'tableMappings', 'version', 'metadata', 'exportedAt', 'permissions']

const TABLE_KEYS: Readonly<Record<SchemaFormat, readonly string[]>> = {
  named: ['tableName', 'columns', 'primaryKey', 'relationships'],
  specs: ['schema', 'name', 'columns', 'primaryKey', 'from'],
  tables: ['columns', 'primaryKey'],
  zero: ['name', 'serverName', 'columns', 'primaryKey', 'from'],
  sluice: ['columns', 'key'],
}

/** Reads as much as there is; what is left out has a mistake in `reading`. */
export function readSchema(json: Json, reading: Reading): MappingSchema {
  const top = reading.object(json, [])
  if (top === null) return { format: 'sluice', tables: [], mappings: null }
  const inner = top['schema']
  const isWrapped = top['tables'] === undefined && isObject(inner) && inner['tables'] !== undefined
  if (!isWrapped) return { ...readTables(top, [], reading), mappings: null }
  reading.onlyKeys(top, BESIDE_SCHEMA, [])
  const mappings = top['tableMappings']
  return {
    ...readTables(inner, ['schema'], reading),
    mappings: mappings === undefined ? null : { json: mappings, path: ['tableMappings'] },
  }
}

function readTables(top: JsonObject, path: JsonPath, reading: Reading): Omit<MappingSchema, 'mappings'> {
  const { tables } = top
  if (tables === undefined) {
    const named = Object.entries(top).filter(([key]) => key !== '$schema')
    return { format: 'named', tables: readEach('named', named, path, reading) }
  }
  reading.onlyKeys(top, BESIDE_TABLES, path)
  if (isList(tables)) {
    return { format: 'specs', tables: readEach('specs', [...tables.entries()], [...path, 'tables'], reading) }
  }
  const byName = reading.object(tables, [...path, 'tables'])
  if (byName === null) return { format: 'sluice', tables: [] }
  const format = formatOf(top, Object.values(byName))
  return { format, tables: readEach(format, Object.entries(byName), [...path, 'tables'], reading) }
}

/** By what only one of the formats has. */
function formatOf(top: JsonObject, tables: readonly Json[]): SchemaFormat {
  const objects = tables.filter(isObject)
  const columns = objects.flatMap(({ columns }) => (isObject(columns) ? Object.values(columns) : []))
  if (objects.some((table) => 'key' in table) || columns.some((column) => typeof column === 'string')) {
    return 'sluice'
  }
  const ofZero = (column: Json): boolean =>
    isObject(column) && ['optional', 'customType', 'serverName'].some((key) => key in column)
  const isZero = 'relationships' in top || objects.some((table) => 'name' in table) || columns.some(ofZero)
  return isZero ? 'zero' : 'tables'
}

function readEach(
  format: SchemaFormat,
  entries: readonly (readonly [string | number, Json])[],
  path: JsonPath,
  reading: Reading,
): readonly SchemaTable[] {
  if (entries.length === 0) reading.wrong(path, 'has no table')
  const names = new Set<string>()
  return entries.flatMap(([key, json]) => {
    const at = [...path, key]
    const object = reading.object(json, at)
    const table = object === null ? null : readTable(format, key, object, at, reading)
    if (table === null) return []
    const full = `${table.namespace ?? ''}.${table.name}`
    if (names.has(full)) reading.wrong(at, `is called "${table.name}", as another table is`)
    names.add(full)
    return [table]
  })
}

function readTable(
  format: SchemaFormat,
  key: string | number,
  table: JsonObject,
  path: JsonPath,
  reading: Reading,
): SchemaTable | null {
  reading.onlyKeys(table, TABLE_KEYS[format], path)
  const named = nameOf(format, key, table, path, reading)
  const columns = readColumns(format, table['columns'], [...path, 'columns'], reading)
  if (named === null) return null
  const declared: SchemaTable = { ...named, columns, key: [], place: reading.place(path) }
  return withKey(format, table, declared, path, reading)
}

type Named = Pick<SchemaTable, 'namespace' | 'name' | 'aliases' | 'mapping'>

function nameOf(
  format: SchemaFormat,
  key: string | number,
  table: JsonObject,
  path: JsonPath,
  reading: Reading,
): Named | null {
  const text = (name: string): string | null => reading.optionalText(table[name], [...path, name])
  if (format === 'specs') {
    const name = reading.text(table['name'], [...path, 'name'])
    const namespace = text('schema')
    const mapping = mappingIn(text('from'), [...path, 'from'])
    if (name === null) return null
    // Zero calls the tables of this schema by their bare name.
    if (namespace === null || namespace === 'public')
      return { namespace: null, name, aliases: [name], mapping }
    return { namespace, name, aliases: [`${namespace}.${name}`, name], mapping }
  }
  const own = text(format === 'named' ? 'tableName' : 'name') ?? String(key)
  const serverName = text('serverName')
  const mapping = mappingIn(serverName, [...path, 'serverName']) ?? mappingIn(text('from'), [...path, 'from'])
  const full = serverName === null || mapping !== null ? own : serverName
  return { ...splitName(full), aliases: [...new Set([String(key), own, full])], mapping }
}

/** The earlier server took mappings as `.from(JSON.stringify({source: ...}))` too. */
function mappingIn(text: string | null, path: JsonPath): SchemaTable['mapping'] {
  if (text === null || !text.startsWith('{')) return null
  try {
    return { json: JSON.parse(text) as Json, path }
  } catch {
    return null
  }
}

function readColumns(
  format: SchemaFormat,
  json: Json | undefined,
  path: JsonPath,
  reading: Reading,
): readonly SchemaColumn[] {
  const object = reading.object(json, path)
  if (object === null) return []
  if (Object.keys(object).length === 0) reading.wrong(path, 'has no column')
  const names = new Set<string>()
  return Object.entries(object).flatMap(([key, column]) => {
    const at = [...path, key]
    const read = key === '' ? reading.wrong(at, 'has no name') : readColumn(format, key, column, at, reading)
    if (read === null) return []
    if (names.has(read.name)) reading.wrong(at, `is called "${read.name}", as another column is`)
    names.add(read.name)
    return [read]
  })
}

function withKey(
  format: SchemaFormat,
  table: JsonObject,
  declared: SchemaTable,
  path: JsonPath,
  reading: Reading,
): SchemaTable {
  const name = format === 'sluice' ? 'key' : 'primaryKey'
  const at = [...path, name]
  const { columns } = declared
  const byDefault =
    format === 'tables' && columns.some((column) => column.name === '_id') ? ['_id'] : undefined
  const json = table[name] ?? byDefault
  if (json === undefined || (isList(json) && json.length === 0)) {
    reading.wrong(
      json === undefined ? path : at,
      `must have a ${name}: a list of columns that identify a row`,
    )
    return declared
  }
  const entries = typeof json === 'string' ? [json] : reading.list(json, at)
  const key = (entries ?? []).flatMap((entry, index) => {
    const place = typeof json === 'string' ? at : [...at, index]
    const column = columns.find((candidate) => candidate.name === entry || candidate.alias === entry)
    if (column === undefined) {
      const near =
        typeof entry === 'string'
          ? orNearest(
              entry,
              columns.map((candidate) => candidate.name),
            )
          : ''
      reading.wrong(place, `must be a column of the table${near}`)
      return []
    }
    return [{ name: column.name, place: reading.place(place) }]
  })
  if (new Set(key.map((column) => column.name)).size < key.length) reading.wrong(at, 'names a column twice')
  return { ...declared, key, columns: columns.map((column) => inKey(format, column, key, reading)) }
}

/** Whoever writes `notNull` where it matters leaves it out in keys; a column that says it may be NULL is a mistake. */
function inKey(
  format: SchemaFormat,
  column: SchemaColumn,
  key: SchemaTable['key'],
  reading: Reading,
): SchemaColumn {
  if (!column.nullable || !key.some(({ name }) => name === column.name)) return column
  if (format !== 'specs' && format !== 'tables') {
    reading.wrong(column.place.path, 'is in the key and may be NULL')
  }
  return { ...column, nullable: false }
}
