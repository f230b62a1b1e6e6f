import type { RecordBatch } from './batch.ts'
import type { ConnectorContext } from './context.ts'
import type { Problem } from './error.ts'
import type { DocumentMapping } from './mapping/mapping.ts'
import type { SourcePosition } from './position.ts'
import type { SourceReader } from './row-reader.ts'
import type { TableSelection } from './selection.ts'
import type { SchemaOperationKind, TableSchema } from './table.ts'

export interface SourceContext extends ConnectorContext {
  readonly tables: TableSelection
  /** How documents become tables, for a source that has none of its own; absent when the config has none. */
  readonly mapping?: DocumentMapping | null
  /** Tables of which every update and delete must tell the old row whole; none when left out. */
  readonly oldImages?: TableSelection
  /**
   * Only at a first start, and only where `replaysFrom` is true: besides the copy, the stream must bring every change that
   * was committed at this time or later, whole rows, before its first position that is not partial; a little more
   * does no harm. Milliseconds since 1970 UTC. Throws `PositionLostError` when the log does not reach back so far.
   */
  readonly replayFrom?: number
}

/** Where a source writes to. */
export interface BatchWriter {
  /** Aborted when the source shall stop reading. */
  readonly signal: AbortSignal
  /** Hands a batch over. When it returns a promise, wait for it before reading more from the server. */
  write(batch: RecordBatch): void | Promise<void>
}

/**
 * Hands a batch over, and waits for room no longer than until the source shall stop: a sink that takes nothing must not
 * keep it from stopping.
 */
export function handOver(out: BatchWriter, batch: RecordBatch): void | Promise<void> {
  const { signal } = out
  const room = out.write(batch)
  if (room === undefined) return
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve()
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    const ending =
      <A>(end: (result: A) => void) =>
      (result: A): void => {
        signal.removeEventListener('abort', stop)
        end(result)
      }
    room.then(ending(resolve), ending(reject))
  })
}

export interface SourceCapabilities {
  /** Has no tables of its own: makes them by `context.mapping`, which it cannot do without. */
  readonly needsMapping?: true
  /**
   * Whether a stream that starts at a stored position gives everything after it. With `none` what happens while the
   * pipeline is down is lost; a start says so.
   */
  readonly replay: 'log' | 'none'
  /** Honours `SourceContext.replayFrom`. */
  readonly replaysFrom?: true
  /** Copies the rows that are there before it follows the log. */
  readonly snapshot: boolean
  /** A transaction's rows arrive between its Begin and Commit, in commit order. */
  readonly transactions: boolean
  /** Whether updates can leave cells out (`UNCHANGED`). A sink must then keep what it has. */
  readonly unchangedCells: boolean
  readonly updates: boolean
  readonly deletes: boolean
  /** Schema changes that the stream reports, besides `create-table`; `drop-table` and `truncate` count as such. */
  readonly schemaChanges: readonly SchemaOperationKind[]
}

/** How far the first copy is. Estimates, except `rowsCopied`. */
export interface SnapshotProgress {
  readonly tablesDone: number
  readonly tablesTotal: number
  readonly rowsCopied: number
  readonly rowsTotal: number
}

/**
 * Reads the committed row changes of one database. The methods are called in the order validate, connect, discover,
 * stream, disconnect; `checkpoint`, `currentPosition` and `headPosition` may be called while `stream` runs. A source
 * is used for one attempt: after a failure the runtime makes a new one.
 */
export abstract class Source {
  abstract readonly type: string
  abstract capabilities(): SourceCapabilities
  /**
   * Every reason why this cannot work, each with its fix. Changes nothing on the server. May be called on an instance
   * that is never connected, so `connect` must not need it; `disconnect` follows in any case.
   */
  abstract validate(context: SourceContext): Promise<readonly Problem[]>
  abstract connect(context: SourceContext): Promise<void>
  /** The selected tables as the server has them now. */
  abstract discover(): Promise<readonly TableSchema[]>
  /**
   * Announces every table (`create-table`), copies what was not copied yet, then follows the log. `from` is null at
   * the first start: copy first. Resolves after `out.signal` is aborted; the connection stays for a last
   * `checkpoint`. Throws `PositionLostError` when the log does not reach back to `from`.
   */
  abstract stream(out: BatchWriter, from: SourcePosition | null): Promise<void>
  /** Everything up to here is durable and stored: the server may forget it (law L1). */
  abstract checkpoint(position: SourcePosition): Promise<void>
  /** The last position that was handed to `out`. */
  abstract currentPosition(): SourcePosition | null
  /** The end of the server's log, for lag; null when the server cannot say. */
  abstract headPosition(): Promise<SourcePosition | null>
  /** Frees connections; removes nothing from the server (law L4). Safe to call in every state. */
  abstract disconnect(): Promise<void>
  /** Present while a first copy runs. */
  snapshotProgress?(): SnapshotProgress | null
  /**
   * Reads rows for `sluice verify` over connections of its own. Called on an instance that is never connected. A source
   * without it cannot be compared.
   */
  openReader?(context: SourceContext): Promise<SourceReader>
  /**
   * The same place in the log, from which these tables (`namespace.name`) are not copied yet: a stream from there copies
   * them again. Needs no connection. A source without it copies a table again only with all others.
   */
  copyAgain?(position: SourcePosition, tables: readonly string[]): SourcePosition
  /** Removes what the source made on the server. Called by nothing but the explicit command. */
  teardown?(): Promise<void>
}
