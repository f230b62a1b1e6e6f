/** Tables as a schema declares them, whatever format it was written in. */
import type { ColumnType } from '../../column-type.ts'
import type { Json } from '../../position.ts'
import type { JsonPath, NamedPlace, Place } from '../normalized.ts'

/**
 * - `named`: tables by name at the top, with `tableName`, as the documentation of the earlier server had it.
 * - `specs`: a list of tables with types of Postgres, as the schema export of the earlier server gave it.
 * - `tables`: tables by name with `{type, notNull}` columns, as the earlier server read them.
 * - `zero`: what `createSchema` of @rocicorp/zero returns, as JSON.
 * - `sluice`: tables by name with columns such as `decimal(12,2)?`.
 */
export type SchemaFormat = 'named' | 'specs' | 'tables' | 'zero' | 'sluice'

export interface MappingSchema {
  readonly format: SchemaFormat
  readonly tables: readonly SchemaTable[]
  /** Mappings that came in the same document, and where they stand in it; null when there are none. */
  readonly mappings: { readonly json: Json; readonly path: JsonPath } | null
}

export interface SchemaTable {
  readonly namespace: string | null
  readonly name: string
  /** All names that a mapping may call the table. */
  readonly aliases: readonly string[]
  readonly columns: readonly SchemaColumn[]
  /** Names of columns, in key order; at least one unless there are mistakes. */
  readonly key: readonly NamedPlace[]
  /** A mapping that was written into the table itself, as text of JSON in `from` or `serverName`. */
  readonly mapping: { readonly json: Json; readonly path: JsonPath } | null
  readonly place: Place
}

export interface SchemaColumn {
  readonly name: string
  /** What a mapping may call the column too: the name that clients have for it. */
  readonly alias: string | null
  readonly type: ColumnType
  readonly nullable: boolean
  /** As it was written. */
  readonly native: string
  readonly place: Place
}
