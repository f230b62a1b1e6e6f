/** Reads the log while others write it. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { EarlierWatermarks } from './earlier-server.ts'
import { openForReading } from './log-file.ts'
import type { Permissions, StoredRows, Watermark } from './log-messages.ts'
import type { SubscriberState, Tables } from './subscribers.ts'
import { stateTable } from './state-tables.ts'
import type { TableVersion } from './table-version.ts'

/** One entry of the log, see `log-file.ts`. */
export interface Entry {
  readonly seq: number
  readonly watermark: Watermark
  readonly kind: number
  /** Commit time in the source, milliseconds since 1970 UTC. */
  readonly time: number | null
  readonly body: Uint8Array
  readonly masks: Uint8Array | null
}

export interface Reading {
  readonly entries: readonly Entry[]
  /** There is nothing more up to the head. */
  readonly isEnd: boolean
}

/** Entries that many subscribers read at about the same time are kept in memory, up to this. */
const RECENT_BYTES = 8 * 1024 * 1024
/** Entries of one read, which takes the thread. */
const READ_ENTRIES = 1000

export class LogReader {
  readonly #path: string
  readonly #db: DatabaseSync
  readonly #last: StatementSync
  readonly #after: StatementSync
  readonly #oldest: StatementSync
  readonly #versions = new Map<number, TableVersion>()
  readonly #recent = new Map<number, Entry>()
  #recentBytes = 0

  constructor(path: string) {
    this.#path = path
    this.#db = openForReading(path)
    this.#last = this.#db.prepare('SELECT max(seq) AS seq FROM log WHERE watermark = ?')
    this.#after = this.#db.prepare(
      `SELECT seq, watermark, kind, time, body, masks FROM log WHERE seq > ? AND seq <= ? ORDER BY seq`,
    )
    this.#oldest = this.#db.prepare('SELECT min(seq) AS seq FROM log')
  }

  /** Number of the last entry of a transaction; null when the log does not have it, or no longer. */
  lastEntryOf(watermark: Watermark): number | null {
    return (this.#last.get(watermark) as { seq: number | null }).seq
  }

  /**
   * Entries after number `seq`, up to the head, of about `maxBytes`; at least one when there is one. Null when some of
   * them were removed.
   */
  read(seq: number, head: Watermark, maxBytes: number): Reading | null {
    const entries: Entry[] = []
    let bytes = 0
    let next = seq + 1
    while (bytes < maxBytes && entries.length < READ_ENTRIES) {
      const entry = this.#recent.get(next) ?? this.#load(next)
      if (entry === null || entry.watermark > head) {
        if (entries.length > 0) return { entries, isEnd: true }
        const { seq: oldest } = this.#oldest.get() as { seq: number | null }
        return oldest !== null && oldest > next ? null : { entries, isEnd: true }
      }
      entries.push(entry)
      bytes += entry.body.length
      next++
    }
    return { entries, isEnd: false }
  }

  version(id: number): TableVersion {
    let version = this.#versions.get(id)
    if (version === undefined) this.#versions.set(id, (version = readVersion(this.#db, id)))
    return version
  }

  /** True for a watermark of an earlier server that the first transaction of the log comes after. */
  isEarlier(shardNum: number, watermark: Watermark): boolean {
    const row = this.#db.prepare("SELECT value FROM meta WHERE name = 'earlier'").get() as
      | { value: string | null }
      | undefined
    if (row === undefined || row.value === null) return false
    const range = (JSON.parse(row.value) as EarlierWatermarks).shards[String(shardNum)]
    return range !== undefined && range.from <= watermark && watermark <= range.to
  }

  /** When the definition of a publication changed last; null for one that never was. */
  publicationSince(name: string): Watermark | null {
    const sql = 'SELECT since FROM publications WHERE name = ?'
    return (this.#db.prepare(sql).get(name) as { since: Watermark } | undefined)?.since ?? null
  }

  /** What each subscriber had when it was seen last. */
  subscribers(): readonly SubscriberState[] {
    const rows = this.#db.prepare('SELECT id, acked, seen, tables FROM subscribers').all()
    return (rows as unknown as (Omit<SubscriberState, 'tables'> & { tables: string | null })[]).map(
      (row) => ({
        ...row,
        tables: row.tables === null ? null : (JSON.parse(row.tables) as Tables),
      }),
    )
  }

  /** All rows as of one watermark, over a connection of its own that has to be closed. */
  snapshot(): LogSnapshot {
    return new LogSnapshot(openForReading(this.#path))
  }

  close(): void {
    this.#db.close()
  }

  #load(seq: number): Entry | null {
    let first: Entry | null = null
    for (const entry of this.#after.iterate(seq - 1, seq + 63) as Iterable<Entry>) {
      if (first === null && entry.seq !== seq) return null
      first ??= entry
      this.#recent.set(entry.seq, entry)
      this.#recentBytes += entry.body.length + 200
      if (entry.body.length > 64 * 1024) break
    }
    for (const [old, { body }] of this.#recent) {
      if (this.#recentBytes <= RECENT_BYTES || old >= seq) break
      this.#recent.delete(old)
      this.#recentBytes -= body.length + 200
    }
    return first
  }
}

/** A table of a snapshot. */
export interface SnapshotTable {
  readonly version: TableVersion
  readonly rows: StoredRows
}

/** The published state at one watermark, however long it is read. */
export class LogSnapshot {
  readonly #db: DatabaseSync
  readonly watermark: Watermark
  readonly waiting: boolean
  readonly permissions: Permissions | null
  readonly tables: readonly SnapshotTable[]

  constructor(db: DatabaseSync) {
    this.#db = db
    db.exec('BEGIN')
    const meta = (name: string): string | null =>
      (db.prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: string | null } | undefined)
        ?.value ?? null
    const state = JSON.parse(meta('state') ?? '{"head":0,"waiting":true}') as {
      head: Watermark
      waiting: boolean
    }
    this.watermark = state.head
    this.waiting = state.waiting
    const permissions = meta('permissions')
    this.permissions = permissions === null ? null : (JSON.parse(permissions) as Permissions)
    const rows = db.prepare('SELECT state, version FROM tables WHERE state IS NOT NULL ORDER BY source').all()
    this.tables = (rows as unknown as StoredRows[]).map((one) => ({
      version: readVersion(db, one.version),
      rows: one,
    }))
  }

  rows({ rows }: SnapshotTable): Iterable<{ key: Uint8Array; cells: Uint8Array }> {
    return this.#db
      .prepare(`SELECT key, cells FROM ${stateTable(rows.state)} ORDER BY key`)
      .iterate() as Iterable<{
      key: Uint8Array
      cells: Uint8Array
    }>
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}

function readVersion(db: DatabaseSync, id: number): TableVersion {
  const { body } = db.prepare('SELECT body FROM versions WHERE id = ?').get(id) as { body: string }
  return JSON.parse(body) as TableVersion
}
