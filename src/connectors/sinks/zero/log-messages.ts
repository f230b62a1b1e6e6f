/** What the main thread asks of the thread that writes the change log, and what it answers. */
import type { PackedItems } from './chunk-items.ts'
import type { EarlierWatermarks } from './earlier-server.ts'
import type { EvolutionStep } from './evolve.ts'
import type { PositionPart, PositionText } from './position-text.ts'
import type { FilterNumbers } from './publications.ts'
import type { TableVersion } from './table-version.ts'

/** A watermark is a whole number that rises with every transaction; 0 is before the first. */
export type Watermark = number

/** Rows of a table and how they lie: the numbers of a state table and of a table version. */
export interface StoredRows {
  readonly state: number
  readonly version: number
}

export interface StoredTable {
  readonly source: string
  /** What subscribers see; null before the first copy of the table is complete. */
  readonly published: StoredRows | null
  /** What a copy has brought so far; null when none goes on. */
  readonly copy: StoredRows | null
}

/** What the log holds when it is opened. */
export interface Opened {
  /** Text of the position, see `position-text.ts`; null when there is none. */
  readonly position: string | null
  readonly parts: readonly PositionPart[]
  readonly head: Watermark
  readonly waiting: boolean
  /** Watermarks of an earlier server that the log stands in for; null when there are none. */
  readonly earlier: EarlierWatermarks | null
  readonly tables: readonly StoredTable[]
  readonly versions: readonly { readonly id: number; readonly version: TableVersion }[]
  /** Numbers of the row filters of publications. */
  readonly filters: FilterNumbers
}

/** Records of one transaction, or of one table's copy. */
export interface ChunkItem {
  /** One past the last byte in the buffer of the chunk; the item begins where the one before ends. */
  readonly end: number
  readonly origin: 'snapshot' | 'stream'
  /** Set when a transaction, or a part of a copy, ends here. */
  readonly commit: ItemCommit | null
}

export interface ItemCommit {
  /** Milliseconds since 1970 UTC; null when the source does not say. */
  readonly timeMs: number | null
  readonly order: string
  readonly partial: boolean
}

/** What is applied as a whole or not at all. */
export interface Chunk {
  readonly buffer: Uint8Array
  readonly items: PackedItems
  /** Position of the last commit; without one the transaction stays open. */
  readonly position: PositionText | null
}

/** Something that happened to a table, in the order of the log. */
export type TableChange =
  /** A copy begins, with rows of this version; what an earlier one brought is forgotten. */
  | { readonly kind: 'copy'; readonly source: string; readonly version: TableVersion }
  /** The rows stay as they are; `steps` tells subscribers. `fill`: all rows are sent again after them. */
  | {
      readonly kind: 'evolve'
      readonly source: string
      readonly version: TableVersion
      readonly steps: readonly EvolutionStep[]
      readonly fill: boolean
    }
  /** Cells are written in another way from now on. */
  | {
      readonly kind: 'convert'
      readonly source: string
      readonly version: TableVersion
    }
  | { readonly kind: 'truncate'; readonly source: string }
  | { readonly kind: 'drop'; readonly source: string }

/** Body of a log entry that is no rows. `from` and `to` are numbers of table versions. */
export type LogEvent =
  | { readonly kind: 'create-table'; readonly to: number }
  | { readonly kind: 'drop-table'; readonly from: number }
  | { readonly kind: 'truncate'; readonly from: number }
  | {
      readonly kind: 'schema'
      readonly from: number
      readonly to: number
      readonly steps: readonly EvolutionStep[]
    }
  | { readonly kind: 'permissions'; readonly permissions: string | null; readonly hash: string | null }

export const EntryKind = { rows: 0, event: 1 } as const

export interface Permissions {
  /** JSON text; null when nothing is allowed. */
  readonly permissions: string | null
  readonly hash: string | null
}

export interface UpkeepRequest {
  /** Newest watermark that every known subscriber has. */
  readonly acked: Watermark
  /** Entries that were written after this time stay, if there is room; milliseconds since 1970 UTC. */
  readonly keepSinceMs: number
  readonly maxBytes: number
  /** Also entries that a subscriber does not have go when the log is too large. */
  readonly force: boolean
}

export type Request =
  | { readonly kind: 'apply'; readonly chunk: Chunk }
  | { readonly kind: 'change'; readonly change: TableChange; readonly forget: boolean }
  /** The position goes back to this: what follows is a replay. */
  | { readonly kind: 'rewind'; readonly position: PositionText }
  /** A watermark of its own for a new snapshot. */
  | { readonly kind: 'bump' }
  | { readonly kind: 'permissions'; readonly value: Permissions }
  | { readonly kind: 'publications'; readonly fingerprints: Readonly<Record<string, string>> }
  | {
      readonly kind: 'subscriber'
      readonly id: string
      readonly acked: Watermark | null
      readonly seenMs: number
      readonly tables: Readonly<Record<string, Watermark>> | null
    }
  | { readonly kind: 'upkeep'; readonly request: UpkeepRequest }
  /** Forgets what is not durable, and says what is. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'close' }

export type Answer =
  /** `durable`: the position of the request is on the disk. */
  | { readonly kind: 'done'; readonly head: Watermark; readonly waiting: boolean }
  /** `table`: null when it is gone. `isEmptied`: its rows could not be kept, a copy has to bring them. */
  | {
      readonly kind: 'changed'
      readonly table: StoredTable | null
      readonly isEmptied: boolean
      readonly versions: Opened['versions']
    }
  | { readonly kind: 'upkept'; readonly bytes: number; readonly lost: boolean; readonly more: boolean }
  | { readonly kind: 'opened'; readonly opened: Opened }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** An error that crossed threads. */
export interface Failure {
  readonly name: string
  readonly code: string | null
  readonly message: string
  readonly fix: string | null
  /** Result code of SQLite, https://sqlite.org/rescode.html; null when it is no error of SQLite. */
  readonly sqlite: number | null
  /** Rows that were accepted before are lost with it: nothing can be repeated in place. */
  readonly lost: boolean
}
