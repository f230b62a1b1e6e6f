/** Schemas and mappings in TypeScript: what the compiler can know of them is a mistake at its place. */
import { ConfigError } from '../error.ts'
import type { Json } from '../position.ts'
import { normalizeMapping } from './normalize.ts'
import type { PlacedMistake } from './normalized.ts'
import type { ColumnName, SchemaInput, TableInput, TableName, ValueOfType } from './row-types.ts'

/** The same schema, with a mistake where a type is unknown or a key names no column. */
export type CheckedSchema<Schema> = Schema extends { readonly tables: infer Tables }
  ? { readonly tables: { readonly [Name in keyof Tables]: CheckedTable<Tables[Name]> } }
  : { readonly [Name in keyof Schema]: CheckedTable<Schema[Name]> }

type CheckedTable<Table> = Table extends { readonly columns: infer Columns }
  ? {
      readonly columns: { readonly [Name in keyof Columns]: CheckedColumn<Columns[Name]> }
      readonly key?: readonly (keyof Columns & string)[]
      readonly primaryKey?: readonly (keyof Columns & string)[]
    }
  : TableInput

type CheckedColumn<Column> = Column extends string
  ? [ValueOfType<Column>] extends [never]
    ? 'a type such as int64, text? or decimal(12,2)'
    : Column
  : Column

/** A condition or an expression: checked when the mapping is read, not by the compiler. */
type Rules = { readonly [key: string]: unknown }

type FieldInput =
  | string
  | {
      readonly path?: string
      readonly value?: unknown
      readonly expression?: unknown
      readonly type?: string
      readonly nullable?: boolean
    }
  | { readonly [operator: `$${string}`]: unknown }

type UnwindInput = string | { readonly path: string; readonly index?: string; readonly keepEmpty?: boolean }

/** How one table is made, see docs/mapping.md. Columns are those of the schema. */
export interface MappingInputOf<Column extends string> {
  readonly collection?: string | { readonly namespace?: string; readonly name: string }
  readonly source?: string
  readonly filter?: Rules
  readonly unwind?: UnwindInput | readonly UnwindInput[]
  readonly elementFilter?: Rules
  readonly fields?: { readonly [Name in Column]?: FieldInput }
  readonly exclude?: readonly Column[]
  readonly projection?: { readonly [Name in Column | `${Column}.${string}` | '_id']?: unknown }
  readonly pipeline?: readonly Rules[]
  readonly key?: readonly Column[]
}

export type MappingsInput<Schema> = {
  readonly [Name in TableName<Schema>]?: MappingInputOf<ColumnName<Schema, Name>>
}

/** The same mappings, with a mistake at each name that is not known: what is inferred may have more than was asked for. */
export type CheckedMappings<Schema, Mappings> = {
  readonly [Name in keyof Mappings]: Name extends TableName<Schema>
    ? CheckedMapping<ColumnName<Schema, Name>, Mappings[Name]>
    : never
}

type CheckedMapping<Column extends string, Mapping> = {
  readonly [Key in keyof Mapping]: Key extends 'fields'
    ? CheckedKeys<Mapping[Key], Column, FieldInput>
    : Key extends 'projection'
      ? CheckedKeys<Mapping[Key], Column | `${Column}.${string}` | '_id', unknown>
      : Key extends keyof MappingInputOf<Column>
        ? MappingInputOf<Column>[Key]
        : never
}

type CheckedKeys<Given, Known extends string, Value> = {
  readonly [Key in keyof Given]: Key extends Known ? Value : never
}

/** Gives the schema back, with all names and types in its own type: for `RowOf` and `defineMappings`. */
export function defineSchema<const Schema extends SchemaInput>(
  schema: Schema & CheckedSchema<Schema>,
): Schema {
  refuse(normalizeMapping({ schema: schema as unknown as Json, mappings: null }).mistakes)
  return schema
}

/**
 * Gives the mappings back. A table or column that the schema does not have is a mistake for the compiler, and everything
 * else that is wrong with them an error. Throws `ConfigError`.
 *
 * ```ts
 * const mappings = defineMappings(schema, { orders: { collection: 'sales', fields: { id: '_id', note: 'extra.note' } } })
 * ```
 */
export function defineMappings<Schema extends SchemaInput, const Mappings extends MappingsInput<Schema>>(
  schema: Schema,
  mappings: Mappings & CheckedMappings<Schema, Mappings>,
): Mappings {
  const input = { schema: schema as unknown as Json, mappings: mappings as unknown as Json }
  refuse(normalizeMapping(input).mistakes)
  return mappings
}

function refuse(mistakes: readonly PlacedMistake[] | null): void {
  if (mistakes === null) return
  const lines = mistakes.map(({ document, path, reason }) => {
    return `  ${[document === 'schema' ? 'schema' : 'mappings', ...path].join('.')}: ${reason}`
  })
  throw new ConfigError('mapping/invalid', `the mapping has mistakes\n${lines.join('\n')}`, {
    fix: 'Correct what is listed; docs/mapping.md says what there is.',
  })
}
