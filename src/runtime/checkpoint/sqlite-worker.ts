/**
 * The thread that owns the database file of `sqlite.ts`: node:sqlite blocks, and a commit waits for the disk. Answers
 * requests in order.
 */
import { chmodSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
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
      readonly nowMs: number
    }
  | { readonly kind: 'load'; readonly pipeline: string }
  | {
      readonly kind: 'save'
      readonly pipeline: string
      readonly fence: number
      readonly text: string
      readonly nowMs: number
    }
  | { readonly kind: 'renew'; readonly pipeline: string; readonly fence: number; readonly nowMs: number }
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
  inode = statSync(path).ino
  database = opened
  return opened
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
  readonly owner: string | null
  readonly expires_at_ms: number
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

function acquire(pipeline: string, owner: LeaseOwner, nowMs: number): Answer {
  return inTransaction((db) => {
    const row = leaseOf(db, pipeline)
    const other = typeof row?.owner !== 'string' ? null : (JSON.parse(row.owner) as LeaseOwner)
    const expiresInMs = (row?.expires_at_ms ?? 0) - nowMs
    if (other !== null && expiresInMs > 0 && mayBeAlive(other))
      return { kind: 'held', owner: other, expiresInMs }
    const fence = (row?.fence ?? 0) + 1
    db.prepare('INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)').run(
      pipeline,
      fence,
      JSON.stringify(owner),
      nowMs + leaseTtlMs,
    )
    return { kind: 'acquired', fence }
  })
}

function fenced(pipeline: string, fence: number, work: (db: DatabaseSync) => void): Answer {
  return inTransaction((db) => {
    const row = leaseOf(db, pipeline)
    if (row === undefined || row.owner === null || row.fence !== fence) return { kind: 'lost' }
    work(db)
    return { kind: 'done' }
  })
}

function answer(request: Request): Answer {
  switch (request.kind) {
    case 'acquire':
      return acquire(request.pipeline, request.owner, request.nowMs)
    case 'load': {
      const row = open().prepare('SELECT body FROM checkpoint WHERE pipeline = ?').get(request.pipeline)
      return { kind: 'loaded', text: (row?.['body'] as string | undefined) ?? null }
    }
    case 'save':
      return fenced(request.pipeline, request.fence, (db) => {
        db.prepare('INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)').run(
          request.pipeline,
          request.fence,
          request.text,
        )
        extend(db, request.pipeline, request.nowMs)
      })
    case 'renew':
      return fenced(request.pipeline, request.fence, (db) => extend(db, request.pipeline, request.nowMs))
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

function extend(db: DatabaseSync, pipeline: string, nowMs: number): void {
  db.prepare('UPDATE lease SET expires_at_ms = ? WHERE pipeline = ?').run(nowMs + leaseTtlMs, pipeline)
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
