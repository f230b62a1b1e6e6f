/**
 * How a table looks to Zero at a place of the log, and how its rows lie in bytes. Pure.
 *
 * A row is two byte strings: the cells of the key, in key order, and the cells of all other columns, in slot order. A
 * cell is a number n as an unsigned LEB128, then bytes: 0 is NULL, 1 is unchanged (only in an update), n >= 2 is a value
 * of n - 2 bytes, its JSON text as Zero gets it. A slot belongs to one column for ever: a column that is added gets the
 * next one, a dropped one leaves a hole, so that stored rows stay as they are.
 */
import type { ColumnEncoding } from './types.ts'

export interface VersionColumn {
  /** `Column.id` of the source's column. */
  readonly id: string
  readonly name: string
  /** Postgres name of the type, one that Zero knows. */
  readonly dataType: string
  /** `b` for an array type, otherwise absent. */
  readonly elemPgTypeClass?: 'b'
  readonly notNull: boolean
  readonly encoding: ColumnEncoding
}

export interface Slot extends VersionColumn {
  /** JSON text that rows which end before this slot have here; null for NULL. */
  readonly missing: string | null
}

export interface TableVersion {
  /** `namespace.name` in the source. */
  readonly source: string
  /** Names in Zero: the replica shows a table of schema `public` without the schema. */
  readonly schema: string
  readonly name: string
  /** In key order. */
  readonly key: readonly VersionColumn[]
  /** Null where a column was dropped. */
  readonly slots: readonly (Slot | null)[]
}

/** What a record does to a row. A record is one byte of op, then what the op says; see `encoder.ts`. */
export const RecordOp = {
  /** key, cells. */
  insert: 1,
  /** key, cells: the key is as it was. */
  update: 2,
  /** old key, key, cells. */
  move: 3,
  /** key. */
  delete: 4,
} as const
export type RecordOp = (typeof RecordOp)[keyof typeof RecordOp]

/** Added to the op when at least one cell is unchanged. */
export const PARTIAL = 0x10
