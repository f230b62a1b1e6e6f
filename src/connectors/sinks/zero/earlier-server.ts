/**
 * The watermark database of zero-sources, an earlier MongoDB change source: taken over, so that a zero-cache that
 * followed it goes on.
 *
 * That server kept no changes, only pairs of watermark and resume token in one table, `zero_kv(key, value)`:
 * `zero_{shard}.lsn` is the last watermark, `zero_{shard}.{watermark}` the token of one, `zero_{shard}.{token}` the other
 * way round. A token begins with the cluster time of its change: a key string, 0x82 and twice 32 bits, seconds first.
 */
import { existsSync, renameSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { CoreError } from '../../../core/error.ts'
import type { Watermark } from './log-messages.ts'
import { readWatermark } from './stream-request.ts'

export interface EarlierOptions {
  /** `forget`: nobody goes on, whoever followed begins anew. */
  readonly watermarks: 'resume' | 'forget'
  /** Watermarks that are so much older than the newest are not taken over. Milliseconds. */
  readonly window: number
}

/** Watermarks that the log stands in for: everything after them is in its first transaction. */
export interface EarlierWatermarks {
  /** The source was replayed from here. Milliseconds since 1970 UTC. */
  readonly sinceMs: number
  /** First and last one by the number of the shard. */
  readonly shards: Readonly<Record<string, { readonly from: Watermark; readonly to: Watermark }>>
}

const KEY = /^zero_([^.]+)\.(.+)$/s
const TOKEN = /^82([0-9a-f]{8})[0-9a-f]{8}/i
/** Between the old file's last moment under its name and the first one of the log that took its watermarks. */
const PENDING = '-importing'
/** The old file is kept under this end. */
const KEPT = '-zero-sources'
/** Name of the watermarks in `meta`. */
const EARLIER = 'earlier'
const NOBODY = 'earlier server/'
/** https://sqlite.org/rescode.html */
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6

/** True for a database that zero-sources has written. */
export function isEarlier(db: DatabaseSync): boolean {
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .all()
  return tables.length === 1 && tables[0]!['name'] === 'zero_kv'
}

/** Closes such a database and moves it aside, so that a log can be made in its place. */
export function setAside(db: DatabaseSync, file: string): void {
  try {
    // Nobody else has it, and all of it is in this one file.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE; COMMIT')
  } catch (error) {
    const { errcode = 0 } = error as { errcode?: number }
    if ([SQLITE_BUSY, SQLITE_LOCKED].includes(errcode & 0xff)) throw inUse(file)
    throw error
  }
  db.close()
  renameSync(file, `${file}${PENDING}`)
}

/** Brings into a new log what `setAside` has left, at this start or at one that did not come so far. */
export function importEarlier(log: DatabaseSync, file: string, { watermarks, window }: EarlierOptions): void {
  const pending = `${file}${PENDING}`
  if (watermarks === 'forget') forget(log)
  if (!existsSync(pending)) return
  const found = watermarks === 'forget' ? null : readFile(pending, window)
  if (found !== null) {
    log.exec('BEGIN IMMEDIATE')
    log.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)').run(EARLIER, JSON.stringify(found))
    const hold = log.prepare('INSERT OR REPLACE INTO subscribers (id, acked, seen) VALUES (?, 0, ?)')
    for (const shard of Object.keys(found.shards)) hold.run(placeholderOf(shard), Date.now())
    log.exec('COMMIT')
  }
  renameSync(pending, `${file}${KEPT}`)
}

/** Who holds the log until a zero-cache of the shard has come: nobody knows its name yet. */
export function placeholderOf(shard: string): string {
  return `${NOBODY}${shard}`
}

/** A first copy that waits for a replay begins anew without one: its position may be one that the source has lost. */
function forget(log: DatabaseSync): void {
  const { unpublished } = log
    .prepare(
      `SELECT count(*) AS unpublished FROM meta WHERE name = '${EARLIER}' AND value IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'state' AND value ->> 'head' > 0)`,
    )
    .get() as { unpublished: number }
  const begun =
    unpublished > 0 ? "DELETE FROM log; DELETE FROM meta WHERE name IN ('state', 'position');" : ''
  log.exec(
    `BEGIN IMMEDIATE; ${begun} DELETE FROM meta WHERE name = '${EARLIER}';
     DELETE FROM subscribers WHERE id LIKE '${NOBODY}%'; COMMIT`,
  )
}

function readFile(path: string, windowMs: number): EarlierWatermarks | null {
  const db = new DatabaseSync(path, { readOnly: true })
  try {
    return readEarlier(db, windowMs)
  } finally {
    db.close()
  }
}

/** Null when it holds no watermark that has a token. */
function readEarlier(db: DatabaseSync, windowMs: number): EarlierWatermarks | null {
  const pairs: { shard: string; watermark: Watermark; timeMs: number }[] = []
  const rows = db.prepare('SELECT key, value FROM zero_kv').iterate() as Iterable<{
    key: unknown
    value: unknown
  }>
  for (const { key, value } of rows) {
    const [, shard = '', name = ''] = KEY.exec(String(key)) ?? []
    const timeMs = tokenTime(String(value))
    const watermark = readWatermark(name)
    if (timeMs !== null && watermark !== null) pairs.push({ shard, watermark, timeMs })
  }
  const newestMs = pairs.reduce((newest, { timeMs }) => Math.max(newest, timeMs), 0)
  const shards: Record<string, { from: Watermark; to: Watermark }> = {}
  let sinceMs = newestMs
  for (const { shard, watermark, timeMs } of pairs) {
    if (timeMs < newestMs - windowMs) continue
    sinceMs = Math.min(sinceMs, timeMs)
    const { from, to } = shards[shard] ?? { from: watermark, to: watermark }
    shards[shard] = { from: Math.min(from, watermark), to: Math.max(to, watermark) }
  }
  return pairs.length === 0 ? null : { sinceMs, shards }
}

/** Cluster time of a resume token, in whole seconds; null for what is none. */
function tokenTime(token: string): number | null {
  const [, seconds] = TOKEN.exec(token) ?? []
  return seconds === undefined ? null : Number.parseInt(seconds, 16) * 1000
}

function inUse(file: string): CoreError {
  return new CoreError('zero/log-in-use', `the watermark database ${file} is used by another process`, {
    fix: 'Stop the earlier server first.',
  })
}
