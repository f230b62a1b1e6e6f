/** A look at the file of `sqlite.ts` that neither makes nor changes anything. */
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { type Moment, untilMoment } from './moment.ts'
import { mayBeAlive } from './owner.ts'
import { sqliteError } from './sqlite-error.ts'
import type { LeaseOwner } from './store.ts'

/** What the file says about a pipeline. */
export interface Peek {
  /** Body of the checkpoint as it is stored. */
  readonly body: string | null
  /** Who holds the lease and may be alive. */
  readonly runner: LeaseOwner | null
}

export function peekFile(path: string, pipeline: string, now: Moment): Peek {
  if (!existsSync(path)) return { body: null, runner: null }
  try {
    using database = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
    const tables = database.prepare(
      `SELECT count(*) AS n FROM sqlite_schema WHERE name IN ('checkpoint', 'lease')`,
    )
    // Somebody is making the file just now.
    if (tables.get()?.['n'] !== 2) return { body: null, runner: null }
    const checkpoint = database.prepare('SELECT body FROM checkpoint WHERE pipeline = ?').get(pipeline)
    const lease = database.prepare('SELECT owner, expires_at_ms FROM lease WHERE pipeline = ?').get(pipeline)
    return {
      body: (checkpoint?.['body'] as string | undefined) ?? null,
      runner: runnerOf(
        (lease?.['owner'] ?? null) as string | null,
        Number(lease?.['expires_at_ms'] ?? 0),
        now,
      ),
    }
  } catch (error) {
    const { message, code, errcode } = error as { message?: string; code?: string; errcode?: number }
    throw sqliteError(path, { message: message ?? 'no message', code: code ?? null, sqlite: errcode ?? null })
  }
}

function runnerOf(text: string | null, ofDayMs: number, now: Moment): LeaseOwner | null {
  if (text === null) return null
  // An older version wrote the time of day only.
  const holder = JSON.parse(text) as LeaseOwner & { readonly expires?: Moment }
  const { expires = { ofDayMs, sinceBootMs: 0, boot: null }, ...owner } = holder
  return untilMoment(expires, now) > 0 && mayBeAlive(owner) ? owner : null
}
