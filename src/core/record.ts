import type { SourcePosition } from './position.ts'
import type { RowView } from './row-view.ts'
import type { SchemaOperation, TableSchema } from './table.ts'

/** `snapshot` rows come from the first copy of a table, `stream` rows from the log. */
export type Origin = 'snapshot' | 'stream'

/** A row is there now: newly made, or found by the first copy. */
export interface Insert {
  readonly _tag: 'Insert'
  readonly table: TableSchema
  readonly origin: Origin
  readonly after: RowView
}

/** A row changed. Cells of `after` that the log did not carry are unchanged, not null (law L7). */
export interface Update {
  readonly _tag: 'Update'
  readonly table: TableSchema
  readonly after: RowView
  /** The old row as far as the log carries it: complete, the old key when it changed, or null. Missing cells are absent. */
  readonly before: RowView | null
}

/** A row is gone. `before` has at least the key. */
export interface Delete {
  readonly _tag: 'Delete'
  readonly table: TableSchema
  readonly before: RowView
}

/** Happens after the last row that precedes it and before the first that needs it (law L9). Alone in its batch. */
export interface SchemaChange {
  readonly _tag: 'SchemaChange'
  /** The schema before the change; null when the table is announced. */
  readonly before: TableSchema | null
  /** The schema after the change; that of a dropped table is the one that it had. */
  readonly table: TableSchema
  readonly change: SchemaOperation
  readonly origin: Origin
}

export interface Begin {
  readonly _tag: 'Begin'
  /** The source's name of the transaction. */
  readonly id: string
}

export interface Commit {
  readonly _tag: 'Commit'
  readonly id: string
  readonly position: SourcePosition
  /** When the source committed, milliseconds since 1970 UTC; null when the log does not say. */
  readonly commitTimeMs: number | null
  /** Rows of the transaction were read after it, and may be newer: the log did not hold them whole. */
  readonly lookedUp?: true
}

/** The log moved although nothing of ours was in it: lets the source forget, and lag be measured. */
export interface Heartbeat {
  readonly _tag: 'Heartbeat'
  readonly position: SourcePosition
  /** The source's clock, milliseconds since 1970 UTC. */
  readonly timeMs: number
}

export type CdcRecord = Insert | Update | Delete | SchemaChange | Begin | Commit | Heartbeat
