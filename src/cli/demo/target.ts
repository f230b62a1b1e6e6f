/** What the demo replicates into. */
import type pg from 'pg'

import type { TableVerdict } from './compare.ts'
import type { LoadPace } from './load.ts'
import type { PostgresServer } from './servers/postgres.ts'

export type TargetName = 'clickhouse' | 'zero'

/** A server as it is introduced. */
export interface ServerLine {
  readonly name: string
  readonly version: string
  readonly port: number
  readonly pid: number
}

/** How much of a table has arrived. */
export interface Arrival {
  readonly table: string
  /** Rows of the source, and those that are visible. */
  readonly source: number
  readonly target: number
  /** How often it has changed before the eyes of who watches, and how long ago it did; null when it has not. */
  readonly updates: number
  readonly changedMs: number | null
}

export interface Scene {
  readonly folder: string
  readonly postgres: PostgresServer
  /** A connection to the source; queries of several parts are done in turn. */
  readonly source: pg.Client
  readonly signal: AbortSignal
  say(text: string): void
  onFailure(error: unknown): void
}

export interface Target {
  /** As in "visible in ...". */
  readonly name: string
  readonly pace: LoadPace
  /** The servers that run now. */
  readonly servers: readonly ServerLine[]
  /** The entry below `sinks` in the config of the pipeline. */
  sinkConfig(): string
  /** Once the replicating process streams: gets ready to show what arrives. */
  watch(scene: Scene): Promise<void>
  /** The source has a new column. */
  columnAdded(): void
  /** Resolves when whatever that began is done. */
  settled(): Promise<void>
  /** The largest id of the table `pulse` that is visible; 0 without any. */
  newestMark(): Promise<number>
  /** Null when it has nothing to show meanwhile. */
  arrivals(): Promise<readonly Arrival[]> | null
  compare(source: pg.Client, table: string, signal: AbortSignal): Promise<TableVerdict>
  /** Names and what they are, for somebody who looks around. */
  places(): readonly (readonly [string, string])[]
}
