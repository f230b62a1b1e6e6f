import type { RecordBatch } from './batch.ts'
import type { ConnectorContext } from './context.ts'
import type { Problem } from './error.ts'
import type { SourcePosition } from './position.ts'
import type { SchemaChange } from './record.ts'
import type { SinkReader } from './row-reader.ts'
import type { SchemaOperationKind, TableSchema } from './table.ts'

export type SinkContext = ConnectorContext

/** How a sink makes the replay after a crash harmless. */
export type ReplayProtection =
  /**
   * Position and rows are written in one transaction, heartbeats included; `connect` returns the position. A schema
   * change of origin `snapshot` begins a new copy: forget the position with it. A heartbeat with an earlier position
   * sets it back: what follows is a replay.
   */
  | 'transactional-position'
  /** A row is replaced by key. */
  | 'idempotent-upsert'
  /** Rows may appear twice after a crash. */
  | 'append'

export interface SinkCapabilities {
  readonly replay: ReplayProtection
  readonly supportsUpsert: boolean
  readonly supportsDelete: boolean
  /** Honours unchanged cells: keeps the stored value. */
  readonly supportsPartialRows: boolean
  /**
   * Schema changes that `alterTable` applies, besides `create-table` and `truncate`, which every sink must. A sink
   * without `drop-table` is not told of it and keeps such a table as it is.
   */
  readonly schemaChanges: readonly SchemaOperationKind[]
  /**
   * A row never replaces one of a higher version, in whichever order they arrive; so rows may also be written beside a
   * running pipeline, as `sluice repair` does.
   */
  readonly keepsNewestVersion: boolean
  /** How long accepted rows may wait before the runtime calls `flush`, in milliseconds. 0: after every batch. */
  readonly flushIntervalMs: number
}

/** What a sink knows when it is connected. */
export interface SinkResume {
  /** The position that it holds itself, next to its rows; null when it keeps none. */
  readonly position: SourcePosition | null
  /**
   * Only without a position: somebody behind the sink has what the source held at this time, and waits for everything
   * after it. Milliseconds since 1970 UTC; see `SourceContext.replayFrom`.
   */
  readonly replayFrom?: number
}

export interface WriteContext {
  /** Aborted when the write is no longer wanted; the sink should end soon, with an error. */
  readonly signal: AbortSignal
  /** 1 at first; higher when the same call is repeated after a retryable error. */
  readonly attempt: number
}

export interface WriteResult {
  /**
   * Cumulative: everything up to this position survives the loss of this process (and of the server, as far as it
   * promises that). Null while nothing new is.
   */
  readonly durable: SourcePosition | null
}

/**
 * Keeps one system equal to the source. Calls never overlap. After a retryable error the same call with the same
 * batch object is made again, so accepted rows must not be lost or taken twice.
 */
export abstract class Sink {
  abstract readonly type: string
  abstract capabilities(): SinkCapabilities
  /**
   * Every reason why this cannot work, each with its fix. Changes nothing on the server. May be called on an instance
   * that is never connected, so `connect` must not need it; `disconnect` follows in any case.
   */
  abstract validate(context: SinkContext): Promise<readonly Problem[]>
  abstract connect(context: SinkContext): Promise<SinkResume>
  /**
   * Every reason why these tables, as the source has them now, cannot be kept: names, keys, types. Changes nothing. Called
   * at each start when `validate` has found no error, on an instance that is never connected; `disconnect` follows. What
   * a sink without it cannot keep stops the pipeline when the table is announced.
   */
  checkTables?(tables: readonly TableSchema[], context: SinkContext): Promise<readonly Problem[]>
  /** Makes the table or brings an existing one of ours up to this schema. Idempotent. */
  abstract createTable(schema: TableSchema): Promise<void>
  /** Applies a schema change, truncate included. Called after a flush; idempotent, as it is repeated at replay. */
  abstract alterTable(before: TableSchema, change: SchemaChange): Promise<'applied' | 'unsupported'>
  /**
   * Accepts the rows, in order per key. May return before they are durable. In a replay an update with unchanged cells
   * may meet a row that is gone, because a later delete was applied before the crash: that is no error, the delete
   * follows.
   */
  abstract writeBatch(batch: RecordBatch, context: WriteContext): Promise<WriteResult>
  /** Makes all that was accepted durable. A sink without it is durable when `writeBatch` returns. */
  flush?(context: WriteContext): Promise<WriteResult>
  /** Frees connections; drops what is not durable. Safe to call in every state. */
  abstract disconnect(): Promise<void>
  /**
   * Reads back what the sink has over connections of its own, for `sluice verify`. Called on an instance that is never
   * connected. A sink without it cannot be compared.
   */
  openReader?(context: SinkContext): Promise<SinkReader>
  /**
   * Takes rows of a table as it stands, instead of `createTable`, and changes nothing on the server: another runner
   * looks after its schema. Needed with `keepsNewestVersion`. Throws `SchemaError` when the table has another schema.
   */
  attachTable?(schema: TableSchema): Promise<void>
  /** Removes what the sink made on the server. Called by nothing but the explicit command. */
  teardown?(): Promise<void>
}
