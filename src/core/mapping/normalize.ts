/** Schema and table mappings, each in any of its formats, to what all sources understand. */
import type { Json } from '../position.ts'
import { namedMappings, type NamedMapping, readMapping, unmapped } from './formats/mappings-read.ts'
import type { NormalizedMapping, NormalizedTable, PlacedMistake } from './normalized.ts'
import { orNearest, Reading } from './formats/reading.ts'
import { readSchema } from './formats/schema-read.ts'
import type { MappingSchema, SchemaTable } from './formats/schema.ts'

/** Both documents as they were parsed; null for one that there is not. */
export interface MappingInput {
  readonly schema: Json | null
  readonly mappings: Json | null
}

export type Normalized =
  | { readonly mapping: NormalizedMapping; readonly mistakes: null }
  | { readonly mapping: null; readonly mistakes: readonly PlacedMistake[] }

/**
 * Reads both documents. With a schema every table of it is there: one that nobody maps has the fields of the collection
 * of its name. All mistakes at once.
 */
export function normalizeMapping({ schema: schemaJson, mappings }: MappingInput): Normalized {
  const mistakes: PlacedMistake[] = []
  const ofSchema = new Reading('schema', mistakes)
  const ofMappings = new Reading('mappings', mistakes)
  const schema = schemaJson === null ? null : readSchema(schemaJson, ofSchema)
  if (schema === null && mappings === null) ofMappings.wrong([], 'is missing, and there is no schema')
  const alongside = schema?.mappings ?? null
  if (alongside !== null && mappings !== null) {
    ofSchema.wrong(alongside.path, 'are mappings too: there are others already')
  }
  const named = mappings === null ? [] : namedMappings(mappings, [], ofMappings)
  const tables =
    schema === null
      ? named.flatMap((one) => readMapping(one, null, ofMappings) ?? [])
      : bySchema(schema, named, ofSchema, ofMappings)
  if (schema === null && mappings !== null && named.length === 0) ofMappings.wrong([], 'has no table')
  return mistakes.length > 0 ? { mapping: null, mistakes } : { mapping: { tables }, mistakes: null }
}

function bySchema(
  schema: MappingSchema,
  named: readonly NamedMapping[],
  ofSchema: Reading,
  ofMappings: Reading,
): readonly NormalizedTable[] {
  const inSchema =
    schema.mappings === null ? [] : namedMappings(schema.mappings.json, schema.mappings.path, ofSchema)
  const found = new Map<SchemaTable, { readonly one: NamedMapping; readonly reading: Reading }>()
  const names = schema.tables.map((table) => table.name)
  const all = [
    ...named.map((one) => ({ one, reading: ofMappings })),
    ...inSchema.map((one) => ({ one, reading: ofSchema })),
  ]
  for (const { one, reading } of all) {
    const table = tableNamed(schema, one.name)
    if (table === null) {
      reading.wrong(one.path, `is no table of the schema${orNearest(one.name, names)}`)
    } else if (found.has(table)) {
      reading.wrong(one.path, `is table "${table.name}", which is mapped already`)
    } else found.set(table, { one, reading })
  }
  return schema.tables.flatMap((table) => {
    const mapped = found.get(table)
    if (mapped !== undefined) return readMapping(mapped.one, table, mapped.reading) ?? []
    if (table.mapping === null) return [unmapped(table, ofSchema)]
    return readWithin(table, table.mapping, ofSchema) ?? []
  })
}

/** A mapping in a text has no lines of its own: its mistakes stand where the text does. */
function readWithin(
  table: SchemaTable,
  { json, path }: NonNullable<SchemaTable['mapping']>,
  reading: Reading,
): NormalizedTable | null {
  const inside = new Reading('schema')
  const read = readMapping({ name: table.name, json, path: [] }, table, inside)
  for (const mistake of inside.mistakes) {
    const where = mistake.path.length === 0 ? '' : `, at ${mistake.path.join('.')} in it,`
    reading.wrong(path, `is a mapping that${where} ${mistake.reason}`)
  }
  return read
}

function tableNamed(schema: MappingSchema, name: string): SchemaTable | null {
  const full = ({ namespace, name: own }: SchemaTable): string =>
    namespace === null ? own : `${namespace}.${own}`
  return (
    schema.tables.find((table) => full(table) === name || table.name === name) ??
    schema.tables.find((table) => table.aliases.includes(name)) ??
    null
  )
}
