import type { ColumnType } from './column-type.ts'

export interface Column {
  /** Stays the same when the column is renamed (an attribute number); the name where the source has nothing better. */
  readonly id: string
  readonly name: string
  readonly type: ColumnType
  readonly nullable: boolean
  /** The type as the source declares it, for messages and docs; never dispatched on. */
  readonly native: string
  /**
   * Canonical text that rows older than the column show for it, for a column that was added with a constant default;
   * null when they show NULL. Only meaningful in an `add-column` change.
   */
  readonly addedDefault?: string | null
}

export interface TableSchema {
  /** Schema or database of the table in the source. */
  readonly namespace: string
  readonly name: string
  readonly columns: readonly Column[]
  /** Indexes into `columns` of the key that identifies a row, in key order; empty when the table has none. */
  readonly key: readonly number[]
  /** Counts the schema changes of this table that the pipeline has seen. */
  readonly version: number
}

/** `namespace.name`, for messages and maps. */
export function tableName(table: Pick<TableSchema, 'namespace' | 'name'>): string {
  return `${table.namespace}.${table.name}`
}

/** What a `SchemaChange` record does. A truncate is one too, so that no sink can forget it. */
export type SchemaOperation =
  /** Announces a table before its first row, at every start and when it appears. Idempotent. */
  | { readonly kind: 'create-table' }
  /**
   * The table is gone, or followed no longer: dropped, renamed, or left out of what is selected; also while nothing ran,
   * so it need not be announced before. After its last row. A later table of this name is announced, and emptied before
   * its first row, as a sink may have kept what it had. `table` is the schema that was.
   */
  | { readonly kind: 'drop-table' }
  /** All rows that precede are gone: a TRUNCATE, or the beginning of a (repeated) first copy of the table. */
  | { readonly kind: 'truncate' }
  | { readonly kind: 'add-column'; readonly column: Column }
  | { readonly kind: 'drop-column'; readonly column: Column }
  | { readonly kind: 'rename-column'; readonly from: Column; readonly to: Column }
  /** Type, nullability or both. When stored values may differ, the source copies the table again afterwards. */
  | { readonly kind: 'alter-column'; readonly from: Column; readonly to: Column }
  /** The identifying columns changed; the source copies the table again afterwards. */
  | { readonly kind: 'change-key' }

export type SchemaOperationKind = SchemaOperation['kind']

/** Every schema change besides `create-table`, which all connectors know. */
export const SCHEMA_CHANGES = [
  'drop-table',
  'truncate',
  'add-column',
  'drop-column',
  'rename-column',
  'alter-column',
  'change-key',
] as const satisfies readonly SchemaOperationKind[]
