/** The columns of a mapped table: by the schema, by what a pipeline leaves, or by `fields`. */
import type { Json } from '../../position.ts'
import { canonicalText } from '../values/canonical-json.ts'
import type { JsonPath, NamedPlace, NormalizedColumn, Place } from '../normalized.ts'
import { parsePath } from '../path.ts'
import { isList, isObject, type JsonObject, orNearest, type Reading } from './reading.ts'
import { type DeclaredType, readDeclaredType } from './schema-columns.ts'
import type { SchemaColumn, SchemaTable } from './schema.ts'
import { type Field, fieldText, ruleOf } from './shape.ts'
import type { Stages } from './stages.ts'

export interface TableColumns {
  readonly columns: readonly NormalizedColumn[]
  readonly rest: { readonly exclude: readonly NamedPlace[] } | null
}

type Typed = Pick<NormalizedColumn, 'type' | 'nullable' | 'native'>

const UNTYPED: Typed = { type: null, nullable: null, native: '' }

/** What a projection or a pipeline leaves under the name of each column. */
export function columnsByShape(
  stages: Stages,
  schema: SchemaTable | null,
  path: JsonPath,
  reading: Reading,
): TableColumns {
  const { shape, lastProjection } = stages
  if (schema === null) return untypedByShape(stages, reading, path)
  const names = schema.columns.map((column) => column.name)
  const claimed = new Set<string>()
  const columns = schema.columns.flatMap((column) => {
    const called = [column.name, column.alias ?? column.name].find(
      (name) => fieldNamed(stages, name) !== null,
    )
    if (called === undefined) {
      reading.wrong(path, `does not give the column "${column.name}" of the schema`)
      return []
    }
    claimed.add(called)
    const place = lastProjection?.get(called)
    const at = place === undefined ? column.place : reading.place(place)
    return columnOf(column.name, fieldNamed(stages, called), column, at)
  })
  for (const [name, at] of lastProjection ?? []) {
    if (claimed.has(name) || (name === '_id' && shape.field(name).kind !== 'expression')) continue
    reading.wrong(at, `is no column of table "${schema.name}" in the schema${orNearest(name, names)}`)
  }
  return { columns, rest: null }
}

function fieldNamed(stages: Stages, name: string): Field | null {
  const { shape } = stages
  const field = shape.field(name)
  if (field.kind !== 'gone' && !(shape.isOwn(name) && name.includes('.'))) return field
  const { path } = parsePath(name)
  const inside = path === null || path.length === 1 ? null : shape.at(path)
  return inside === null || inside.kind === 'gone' ? null : inside
}

/** Without a schema: the source says the types, so what is named one by one, or everything and what was added. */
function untypedByShape({ shape, lastProjection }: Stages, reading: Reading, path: JsonPath): TableColumns {
  const fields = [...shape.fields]
  const columns = fields.flatMap(([name, field]) => {
    const isDefault = name === '_id' && lastProjection !== null && !lastProjection.has(name)
    const isOwn = shape.isOpen && shape.isOwn(name)
    if (isDefault || isOwn || field.kind === 'gone') return []
    return columnOf(name, field, UNTYPED, reading.place(lastProjection?.get(name) ?? path))
  })
  if (!shape.isOpen) return { columns, rest: null }
  const gone = fields.filter(([, field]) => field.kind === 'gone')
  return { columns, rest: { exclude: gone.map(([name]) => ({ name, place: reading.place(path) })) } }
}

const FIELD_KEYS = ['path', 'value', 'expression', 'type', 'nullable']

/** `fields` and `exclude`; without both, every column of the schema or the source. */
export function columnsByFields(
  mapping: JsonObject,
  stages: Stages,
  schema: SchemaTable | null,
  path: JsonPath,
  reading: Reading,
): TableColumns {
  const { fields, exclude } = mapping
  const given = fields === undefined ? {} : (reading.object(fields, [...path, 'fields']) ?? {})
  if (fields !== undefined && Object.keys(given).length === 0)
    reading.wrong([...path, 'fields'], 'names no column')
  const excluded = readExclude(exclude, [...path, 'exclude'], reading)
  const columns = new Map<string, NormalizedColumn>()
  const wrong = new Set<string>()
  for (const [name, json] of Object.entries(given)) {
    const at = [...path, 'fields', name]
    const declared = schema?.columns.find((column) => column.name === name || column.alias === name) ?? null
    if (schema !== null && declared === null) {
      const near = orNearest(
        name,
        schema.columns.map((column) => column.name),
      )
      reading.wrong(at, `is no column of table "${schema.name}" in the schema${near}`)
    }
    const column = readField(declared?.name ?? name, json, declared, stages, at, reading)
    if (column === null) {
      wrong.add(declared?.name ?? name)
      continue
    }
    if (columns.has(column.name)) reading.wrong(at, `is the column "${column.name}", which is there already`)
    columns.set(column.name, column)
  }
  for (const { name, place } of excluded) {
    if (columns.has(name)) reading.wrong(place.path, `is in \`fields\` too`)
  }
  const takesRest = fields === undefined || exclude !== undefined
  if (schema === null) {
    return { columns: [...columns.values()], rest: takesRest ? { exclude: excluded } : null }
  }
  const missing = schema.columns.filter(({ name }) => !columns.has(name) && !wrong.has(name))
  const rest = restOf(schema, missing, excluded, takesRest, stages, path, reading)
  const all = schema.columns.flatMap(({ name }) => columns.get(name) ?? rest.get(name) ?? [])
  return { columns: all, rest: null }
}

/** Columns of the schema that `fields` does not speak of. */
function restOf(
  schema: SchemaTable,
  missing: readonly SchemaColumn[],
  excluded: readonly NamedPlace[],
  takesRest: boolean,
  stages: Stages,
  path: JsonPath,
  reading: Reading,
): ReadonlyMap<string, NormalizedColumn> {
  const names = schema.columns.map((column) => column.name)
  for (const { name, place } of excluded) {
    if (!names.includes(name)) {
      reading.wrong(
        place.path,
        `is no column of table "${schema.name}" in the schema${orNearest(name, names)}`,
      )
    }
    if (schema.key.some((column) => column.name === name)) reading.wrong(place.path, 'is in the key')
  }
  const rest = missing.flatMap((column): readonly NormalizedColumn[] => {
    if (excluded.some(({ name }) => name === column.name)) return []
    if (!takesRest) {
      const reason = `does not give the column "${column.name}" of the schema: add it, or name it in \`exclude\``
      reading.wrong([...path, 'fields'], reason)
      return []
    }
    const parsed = parsePath(column.name)
    if (parsed.path !== null) return columnOf(column.name, stages.shape.at(parsed.path), column, column.place)
    reading.mistakes.push({ ...column.place, reason: parsed.reason })
    return []
  })
  return new Map(rest.map((column) => [column.name, column]))
}

function readExclude(json: Json | undefined, path: JsonPath, reading: Reading): readonly NamedPlace[] {
  if (json === undefined) return []
  const names = isList(json) ? json : [json]
  return names.flatMap((entry, index) => {
    const at = isList(json) ? [...path, index] : path
    const name = reading.text(entry, at)
    return name === null ? [] : [{ name, place: reading.place(at) }]
  })
}

/** `'a.b'`, `{path, type?, nullable?}`, `{value}`, `{expression}` or an expression itself. */
function readField(
  name: string,
  json: Json,
  schema: SchemaColumn | null,
  stages: Stages,
  at: JsonPath,
  reading: Reading,
): NormalizedColumn | null {
  const place = reading.place(at)
  const purpose = `column "${name}"`
  if (typeof json === 'string')
    return first(columnOf(name, readPath(json, stages, purpose, at, reading), schema ?? UNTYPED, place))
  if (!isObject(json)) {
    return reading.wrong(
      at,
      'must be a field such as "author.id", an expression, or an object with `path` or `value`',
    )
  }
  if (Object.keys(json).some((key) => key.startsWith('$'))) {
    return first(columnOf(name, compiled(stages, json, purpose, at, reading), schema ?? UNTYPED, place))
  }
  reading.onlyKeys(json, FIELD_KEYS, at)
  const typed = readTyped(json, schema, at, reading)
  const ways = ['path', 'value', 'expression'].filter((key) => key in json)
  const [way, ...others] = ways
  if (way === undefined || others.length > 0) {
    return reading.wrong(at, 'must have one of `path`, `value` and `expression`, and only one')
  }
  return first(columnOf(name, readWay(way, json, stages, purpose, at, reading), typed, place))
}

function readWay(
  way: string,
  json: JsonObject,
  stages: Stages,
  purpose: string,
  at: JsonPath,
  reading: Reading,
): Field | null {
  const content = json[way]!
  const inside = [...at, way]
  switch (way) {
    case 'path': {
      const text = reading.text(content, inside)
      return text === null ? null : readPath(text, stages, purpose, inside, reading)
    }
    case 'value': {
      const { field, mistakes } = stages.shape.compile({ $literal: content }, purpose)
      if (field !== null) return field
      // Their paths begin with the $literal that nobody wrote.
      const own = mistakes.map((mistake) => ({
        ...mistake,
        path: mistake.path.filter((key) => key !== '$literal'),
      }))
      return reading.within(inside, own)
    }
    default:
      return compiled(stages, content, purpose, inside, reading)
  }
}

function readPath(
  text: string,
  stages: Stages,
  purpose: string,
  at: JsonPath,
  reading: Reading,
): Field | null {
  if (text.startsWith('$$')) return compiled(stages, text, purpose, at, reading)
  const { path, reason } = parsePath(text.replace(/^\$/, ''))
  return path === null ? reading.wrong(at, reason) : stages.shape.at(path)
}

function compiled(stages: Stages, json: Json, purpose: string, at: JsonPath, reading: Reading): Field | null {
  const { field, mistakes } = stages.shape.compile(json, purpose)
  return field ?? reading.within(at, mistakes ?? [])
}

function readTyped(json: JsonObject, schema: SchemaColumn | null, at: JsonPath, reading: Reading): Typed {
  const declared: DeclaredType | null =
    json['type'] === undefined ? null : readDeclaredType(json['type'], [...at, 'type'], reading)
  const nullable = reading.optionalBoolean(json['nullable'], [...at, 'nullable'])
  if (schema !== null) {
    if (declared !== null && canonicalText(declared.type) !== canonicalText(schema.type)) {
      reading.wrong([...at, 'type'], 'is another type than the schema has')
    }
    if (nullable !== null && nullable !== schema.nullable) {
      reading.wrong([...at, 'nullable'], 'is not what the schema says')
    }
    return schema
  }
  if (declared === null) return { ...UNTYPED, nullable }
  return { ...declared, nullable: nullable ?? declared.nullable }
}

function first(columns: readonly NormalizedColumn[]): NormalizedColumn | null {
  return columns[0] ?? null
}

/** None for a field that could not be read, which has its mistake already. */
function columnOf(
  name: string,
  field: Field | null,
  typed: Typed,
  place: Place,
): readonly NormalizedColumn[] {
  const rule = field === null ? null : ruleOf(field)
  if (field === null || rule === null) return []
  const { type, nullable, native } = typed
  const ruleText = canonicalText(fieldText(field))
  return [{ name, rule, ruleText, type, nullable, native, place }]
}
