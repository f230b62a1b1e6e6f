/** The statements of the change log's file, by name. */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { Opened, Request, StoredTable, Watermark } from './log-messages.ts'
import type { PositionPart } from './position-text.ts'
import { createState, dropState, StateTable, stateTable } from './state-tables.ts'
import type { TableVersion } from './table-version.ts'

interface TableRow {
  readonly source: string
  readonly state: number | null
  readonly version: number | null
  readonly copy_state: number | null
  readonly copy_version: number | null
}

/** What an entry takes besides its body, about. */
const ENTRY_OVERHEAD = 64

type SubscriberNote = Extract<Request, { kind: 'subscriber' }>

/** One bit per row filter, set when a complete row passes it. */
export type RowMask = (key: Uint8Array, cells: Uint8Array) => number

/** Row filters of publications, which have to know of every version of a table in order. */
export interface RowRules {
  /** Throws `SchemaError` when a filter asks for what the table does not have any more. */
  define(version: TableVersion): void
  forget(source: string): void
  masksOf(version: TableVersion): RowMask | null
}

export class LogStore {
  readonly db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #states = new Map<number, StateTable>()
  readonly #versions = new Map<number, TableVersion>()
  #newVersions: { id: number; version: TableVersion }[] = []

  readonly #now: () => number
  readonly #masksOf: (version: TableVersion) => RowMask | null
  readonly #masks = new Map<number, RowMask | null>()
  /** Bytes of the log's entries; null when they have to be counted. */
  #logBytes: number | null = null

  /** `now` in milliseconds since 1970 UTC. */
  constructor(db: DatabaseSync, now: () => number, masksOf: (version: TableVersion) => RowMask | null) {
    this.db = db
    this.#now = now
    this.#masksOf = masksOf
  }

  get logBytes(): number {
    this.#logBytes ??= (
      this.#get(`SELECT coalesce(sum(length(body) + ${ENTRY_OVERHEAD}), 0) AS bytes FROM log`) as {
        bytes: number
      }
    ).bytes
    return this.#logBytes
  }

  meta<A extends string | number>(name: string): A | null {
    const row = this.#get('SELECT value FROM meta WHERE name = ?', name) as { value: A | null } | undefined
    return row?.value ?? null
  }

  setMeta(name: string, value: string | number | null): void {
    this.#run(
      'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      name,
      value,
    )
  }

  positionParts(): readonly PositionPart[] {
    return this.#all('SELECT id, body FROM position_parts') as unknown as PositionPart[]
  }

  /** Replaces all of them. */
  savePositionParts(parts: readonly PositionPart[]): void {
    this.#run('DELETE FROM position_parts')
    for (const { id, body } of parts)
      this.#run('INSERT INTO position_parts (id, body) VALUES (?, ?)', id, body)
  }

  append(
    watermark: Watermark,
    kind: number,
    body: Uint8Array,
    masks: Uint8Array | null,
    timeMs: number | null,
  ): void {
    if (this.#logBytes !== null) this.#logBytes += body.length + ENTRY_OVERHEAD
    this.#run(
      'INSERT INTO log (watermark, kind, time, written, body, masks) VALUES (?, ?, ?, ?, ?, ?)',
      watermark,
      kind,
      timeMs,
      this.#now(),
      body,
      masks,
    )
  }

  /** The entry with the lowest number. */
  oldestEntry(): { seq: number; watermark: Watermark; written: number; size: number } | null {
    const sql = 'SELECT seq, watermark, written, length(body) AS size FROM log ORDER BY seq LIMIT 1'
    return (
      (this.#get(sql) as { seq: number; watermark: Watermark; written: number; size: number } | undefined) ??
      null
    )
  }

  removeEntry(seq: number, size: number): void {
    this.#run('DELETE FROM log WHERE seq = ?', seq)
    if (this.#logBytes !== null) this.#logBytes -= size + ENTRY_OVERHEAD
  }

  hasEntry(watermark: Watermark): boolean {
    return this.#get('SELECT 1 FROM log WHERE watermark = ? LIMIT 1', watermark) !== undefined
  }

  renumber(from: Watermark, to: Watermark): void {
    this.#run('UPDATE log SET watermark = ? WHERE watermark = ?', to, from)
  }

  /** The rows of a state table. */
  state(state: number): StateTable {
    let table = this.#states.get(state)
    if (table === undefined) this.#states.set(state, (table = new StateTable(this.db, state)))
    return table
  }

  createState(): number {
    return createState(this.db)
  }

  dropState(state: number): void {
    this.#states.delete(state)
    dropState(this.db, state)
  }

  emptyState(state: number): void {
    this.db.exec(`DELETE FROM ${stateTable(state)}`)
  }

  allTables(): readonly StoredTable[] {
    const rows = this.#all('SELECT * FROM tables ORDER BY source') as unknown as TableRow[]
    return rows.map(({ source, state, version, copy_state, copy_version }) => ({
      source,
      published: state === null ? null : { state, version: version! },
      copy: copy_state === null ? null : { state: copy_state, version: copy_version! },
    }))
  }

  saveTable({ source, published, copy }: StoredTable): void {
    this.#run(
      'INSERT OR REPLACE INTO tables (source, state, version, copy_state, copy_version) VALUES (?, ?, ?, ?, ?)',
      source,
      published?.state ?? null,
      published?.version ?? null,
      copy?.state ?? null,
      copy?.version ?? null,
    )
  }

  removeTable(source: string): void {
    this.#run('DELETE FROM tables WHERE source = ?', source)
  }

  allVersions(): Opened['versions'] {
    const rows = this.#all('SELECT id, body FROM versions') as unknown as { id: number; body: string }[]
    return rows.map(({ id, body }) => ({ id, version: JSON.parse(body) as TableVersion }))
  }

  version(id: number): TableVersion {
    let version = this.#versions.get(id)
    if (version === undefined) {
      const { body } = this.#get('SELECT body FROM versions WHERE id = ?', id) as { body: string }
      this.#versions.set(id, (version = JSON.parse(body) as TableVersion))
    }
    return version
  }

  /** The number of a version; the same for equal ones. */
  versionNumber(version: TableVersion): number {
    const body = JSON.stringify(version)
    const known = this.#get('SELECT id FROM versions WHERE body = ?', body) as { id: number } | undefined
    if (known !== undefined) return known.id
    const { lastInsertRowid } = this.#run('INSERT INTO versions (body) VALUES (?)', body)
    const id = Number(lastInsertRowid)
    this.#newVersions.push({ id, version })
    return id
  }

  /** Which row filters of publications a row of a version passes; null when there are none for its table. */
  masks(id: number): RowMask | null {
    let masks = this.#masks.get(id)
    if (masks === undefined) this.#masks.set(id, (masks = this.#masksOf(this.version(id))))
    return masks
  }

  /** Those that were made since the last call. */
  takeNewVersions(): Opened['versions'] {
    const versions = this.#newVersions
    this.#newVersions = []
    return versions
  }

  /** After a rollback: what was read or made in the transaction is not there. */
  forgetCached(): void {
    this.#states.clear()
    this.#versions.clear()
    this.#masks.clear()
    this.#logBytes = null
    this.#newVersions = []
  }

  /** Definitions of publications; one that changed is worth nothing before `since`. Returns them by name. */
  savePublications(fingerprints: Readonly<Record<string, string>>, since: Watermark): void {
    for (const [name, fingerprint] of Object.entries(fingerprints))
      this.#run(
        `INSERT INTO publications (name, fingerprint, since) VALUES (?, ?, ?) ON CONFLICT (name)
         DO UPDATE SET fingerprint = excluded.fingerprint, since = excluded.since WHERE fingerprint <> excluded.fingerprint`,
        name,
        fingerprint,
        since,
      )
  }

  /** `acked` null forgets the subscriber. */
  saveSubscriber({ id, acked, seenMs, tables }: SubscriberNote): void {
    if (acked === null) this.#run('DELETE FROM subscribers WHERE id = ?', id)
    else
      this.#run(
        'INSERT OR REPLACE INTO subscribers (id, acked, seen, tables) VALUES (?, ?, ?, ?)',
        id,
        acked,
        seenMs,
        tables === null ? null : JSON.stringify(tables),
      )
  }

  #run(sql: string, ...values: SQLInputValue[]) {
    return this.#prepared(sql).run(...values)
  }

  #get(sql: string, ...values: SQLInputValue[]): unknown {
    return this.#prepared(sql).get(...values)
  }

  #all(sql: string): unknown[] {
    return this.#prepared(sql).all()
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.db.prepare(sql)))
    return statement
  }
}
