import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** A watermark that the earlier server gave out, and when the change behind it was committed. */
export interface EarlierPair {
  readonly watermark: string
  /** Milliseconds since 1970 UTC, whole seconds. */
  readonly timeMs: number
  readonly shard?: string
}

/**
 * A resume token as the server of MongoDB makes them: a key string that begins with the cluster time
 * (https://www.mongodb.com/docs/manual/changeStreams/#resume-tokens names the parts). What follows is of no interest here.
 */
export function resumeToken(timeMs: number, ordinal: number): string {
  const hex = (value: number): string => value.toString(16).padStart(8, '0').toUpperCase()
  return `82${hex(timeMs / 1000)}${hex(ordinal)}2B042C0100296E5A1004A9A9E6C44A8F46E1`
}

/** Writes a watermark database as zero-sources left it: one table of keys and values, three rows per change. */
export function writeZeroSourcesDatabase(path: string, pairs: readonly EarlierPair[]): void {
  mkdirSync(dirname(path), { recursive: true })
  const db = new DatabaseSync(path)
  db.exec('CREATE TABLE zero_kv (key TEXT PRIMARY KEY, value TEXT)')
  const put = db.prepare('INSERT OR REPLACE INTO zero_kv (key, value) VALUES (?, ?)')
  for (const [index, { watermark, timeMs, shard = '0' }] of pairs.entries()) {
    const token = resumeToken(timeMs, index + 1)
    put.run(`zero_${shard}.lsn`, watermark)
    put.run(`zero_${shard}.${token}`, watermark)
    put.run(`zero_${shard}.${watermark}`, token)
  }
  db.close()
}
