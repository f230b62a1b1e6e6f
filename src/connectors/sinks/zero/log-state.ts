/** What the writer of the change log keeps in mind of it, and how that is found in the file. */
import type { EarlierWatermarks } from './earlier-server.ts'
import type { LogEvent, Permissions, StoredTable, Watermark } from './log-messages.ts'
import type { LogStore } from './log-store.ts'

/** Everything that a rollback takes back with the file. Replaced, never changed. */
export interface State {
  readonly head: Watermark
  /** The transaction of the log that is being written; null between transactions. */
  readonly open: Watermark | null
  /** Nothing is published before a position that is not partial, and not before `waitOrder`. */
  readonly waiting: boolean
  readonly waitOrder: string | null
  /** Of the stored position. */
  readonly order: string | null
  readonly isPartial: boolean
  /** Watermarks of an earlier server: what the stream brings during the first copy is logged for those who have them. */
  readonly earlier: EarlierWatermarks | null
  readonly tables: ReadonlyMap<string, StoredTable>
  readonly parts: ReadonlySet<number>
  /** What is not committed needs a position before it may be: rows of the log, or changes of tables. */
  readonly bound: boolean
  /** The last change has left a table without its rows: a copy has to bring them. */
  readonly isEmptied: boolean
  /** Somebody asked for a watermark of its own while a transaction was open. */
  readonly bump: boolean
  /** A watermark that surely has an entry; null says nothing. */
  readonly appended: Watermark | null
}

/** As it is on the disk. */
export function loadState(store: LogStore, bump: boolean): State {
  const text = store.meta<string>('state')
  const kept =
    text === null
      ? { head: 0, open: null, waiting: true, waitOrder: null }
      : (JSON.parse(text) as Pick<State, 'head' | 'open' | 'waiting' | 'waitOrder'>)
  const position = store.meta<string>('position')
  const { order, partial } =
    position === null
      ? { order: null, partial: false }
      : (JSON.parse(position) as { readonly order: string; readonly partial?: boolean })
  const earlier = store.meta<string>('earlier')
  return {
    ...kept,
    earlier: earlier === null ? null : (JSON.parse(earlier) as EarlierWatermarks),
    order,
    isPartial: partial === true,
    tables: new Map(store.allTables().map((table) => [table.source, table])),
    parts: new Set(store.positionParts().map(({ id }) => id)),
    bound: false,
    isEmptied: false,
    bump,
    appended: null,
  }
}

/** Body of an entry that tells the permissions as they are; null when none were ever set. */
export function permissionsEvent(store: LogStore): Uint8Array | null {
  const text = store.meta<string>('permissions')
  if (text === null) return null
  const event: LogEvent = { kind: 'permissions', ...(JSON.parse(text) as Permissions) }
  return Buffer.from(JSON.stringify(event))
}
