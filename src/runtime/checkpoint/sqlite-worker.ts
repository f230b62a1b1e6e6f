/**
 * The thread that owns the database file of `sqlite.ts`: node:sqlite blocks, and a commit waits for the disk. Answers
 * requests in order.
 */
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { after, type Moment, untilMoment } from './moment.ts'
import { mayBeAlive } from './owner.ts'
import { type LeaseOwner, leaseTtlMs } from './store.ts'

export interface WorkerData {
  readonly path: string
}

export type Request =
  | {
      readonly kind: 'acquire'
      readonly pipeline: string
      readonly owner: LeaseOwner
      readonly now: Moment
    }
  | { readonly kind: 'load'; readonly pipeline: string }
  | {
      readonly kind: 'save'
      readonly pipeline: string
      readonly fence: number
      readonly text: string
      readonly now: Moment
    }
  | { readonly kind: 'renew'; readonly pipeline: string; readonly fence: number; readonly now: Moment }
  | { readonly kind: 'release'; readonly pipeline: string; readonly fence: number }
  | { readonly kind: 'close' }

/** `failed` carries what `sqlite.ts` makes a `CoreError` of: error objects lose their class on the way. */
export type Answer =
  | { readonly kind: 'acquired'; readonly fence: number }
  | { readonly kind: 'held'; readonly owner: LeaseOwner; readonly expiresInMs: number }
  | { readonly kind: 'loaded'; readonly text: string | null }
  | { readonly kind: 'done' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'gone' }
  | {
      readonly kind: 'failed'
      readonly message: string
      readonly code: string | null
      readonly sqlite: number | null
    }

const { path } = workerData as WorkerData

let database: DatabaseSync | null = null
let inode = 0

function open(): DatabaseSync {
  if (database !== null) return database
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // Made with its mode before SQLite does; the files beside it take the mode from this one.
  closeSync(openSync(path, 'a', 0o600))
  chmodSync(path, 0o600)
  const opened = new DatabaseSync(path, { timeout: 5000 })
  try {
    prepare(opened)
  } catch (error) {
    // It is opened again at the next request: nothing of this one may be left behind.
    opened.close()
    throw error
  }
  inode = statSync(path).ino
  database = opened
  return opened
}

function prepare(opened: DatabaseSync): void {
  // FULL: a commit has reached the disk when it returns, which is what the source is told (law L1).
  opened.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  opened.exec(`
    CREATE TABLE IF NOT EXISTS checkpoint (pipeline TEXT PRIMARY KEY, fence INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS lease (
      pipeline TEXT PRIMARY KEY,
      fence INTEGER NOT NULL,
      owner TEXT,
      expires_at_ms INTEGER NOT NULL
    ) STRICT`)
}

/** SQLite goes on writing to a file that was deleted under it: those checkpoints would be lost without a word. */
function isGone(): boolean {
  try {
    return statSync(path).ino !== inode
  } catch {
    return true
  }
}

interface LeaseRow {
  readonly fence: number
  /** `Holder` as JSON; null when the lease was given back. */
  readonly owner: string | null
  /** Time of day. */
  readonly expires_at_ms: number
}

interface Holder extends LeaseOwner {
  /** Missing in a file of an older version, where the column tells the time of day. */
  readonly expires?: Moment
}

function inTransaction(work: (db: DatabaseSync) => Answer): Answer {
  const db = open()
  if (isGone()) return { kind: 'gone' }
  db.exec('BEGIN IMMEDIATE')
  try {
    const answer = work(db)
    db.exec('COMMIT')
    return answer
  } catch (error) {
    // A full disk may have rolled back already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

function leaseOf(db: DatabaseSync, pipeline: string): LeaseRow | undefined {
  const query = db.prepare('SELECT fence, owner, expires_at_ms FROM lease WHERE pipeline = ?')
  return query.get(pipeline) as LeaseRow | undefined
}

function acquire(pipeline: string, owner: LeaseOwner, now: Moment): Answer {
  return inTransaction((db) => {
    const row = leaseOf(db, pipeline)
    const held = row === undefined ? null : heldBy(row, now)
    if (held !== null) return held
    const fence = (row?.fence ?? 0) + 1
    const statement = db.prepare('INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)')
    statement.run(pipeline, fence, ...holding(owner, now))
    return { kind: 'acquired', fence }
  })
}

/** Whose the lease still is, if anybody's. */
function heldBy({ owner: text, expires_at_ms: ofDayMs }: LeaseRow, now: Moment): Answer | null {
  if (text === null) return null
  const { expires = { ofDayMs, sinceBootMs: 0, boot: null }, ...owner } = JSON.parse(text) as Holder
  const expiresInMs = untilMoment(expires, now)
  return expiresInMs > 0 && mayBeAlive(owner) ? { kind: 'held', owner, expiresInMs } : null
}

/** The columns `owner` and `expires_at_ms` of a lease that begins or is renewed now. */
function holding(owner: LeaseOwner, now: Moment): [string, number] {
  const expires = after(now, leaseTtlMs)
  return [JSON.stringify({ ...owner, expires } satisfies Holder), expires.ofDayMs]
}

function fenced(
  pipeline: string,
  fence: number,
  work: (db: DatabaseSync, owner: LeaseOwner) => void,
): Answer {
  return inTransaction((db) => {
    const row = leaseOf(db, pipeline)
    if (row === undefined || row.owner === null || row.fence !== fence) return { kind: 'lost' }
    work(db, JSON.parse(row.owner) as Holder)
    return { kind: 'done' }
  })
}

function answer(request: Request): Answer {
  switch (request.kind) {
    case 'acquire':
      return acquire(request.pipeline, request.owner, request.now)
    case 'load': {
      const row = open().prepare('SELECT body FROM checkpoint WHERE pipeline = ?').get(request.pipeline)
      return { kind: 'loaded', text: (row?.['body'] as string | undefined) ?? null }
    }
    case 'save':
      return fenced(request.pipeline, request.fence, (db, owner) => {
        db.prepare('INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)').run(
          request.pipeline,
          request.fence,
          request.text,
        )
        extend(db, request.pipeline, owner, request.now)
      })
    case 'renew':
      return fenced(request.pipeline, request.fence, (db, owner) =>
        extend(db, request.pipeline, owner, request.now),
      )
    case 'release':
      return fenced(request.pipeline, request.fence, (db) => {
        db.prepare('UPDATE lease SET owner = NULL WHERE pipeline = ?').run(request.pipeline)
      })
    case 'close':
      database?.close()
      database = null
      return { kind: 'done' }
  }
}

function extend(db: DatabaseSync, pipeline: string, owner: LeaseOwner, now: Moment): void {
  const statement = db.prepare('UPDATE lease SET owner = ?, expires_at_ms = ? WHERE pipeline = ?')
  statement.run(...holding(owner, now), pipeline)
}

function failure(error: unknown): Answer {
  const { message, code, errcode } = error as { message?: string; code?: string; errcode?: number }
  return { kind: 'failed', message: message ?? 'no message', code: code ?? null, sqlite: errcode ?? null }
}

parentPort!.on('message', ({ id, request }: { id: number; request: Request }) => {
  let reply: Answer
  try {
    reply = answer(request)
  } catch (error) {
    reply = failure(error)
  }
  parentPort!.postMessage({ id, answer: reply })
})
