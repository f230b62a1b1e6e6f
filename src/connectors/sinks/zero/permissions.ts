/**
 * What clients may read with ad-hoc queries: the row of `{appID}.permissions`. Without one they see nothing; queries that
 * an API server defines (`ZERO_QUERY_URL`) are not bound by it.
 *
 * The file is what `npx zero-deploy-permissions --output-file permissions.json --output-format json` writes. It is
 * checked as zero-cache will check it, because permissions that zero-cache cannot read stop all of its clients.
 */
import { readFile, stat } from 'node:fs/promises'
import { ConfigError, toCoreError } from '../../../core/error.ts'
import type { Logger } from '../../../core/context.ts'
import type { Json } from '../../../core/position.ts'
import { fingerprint } from './fingerprint.ts'
import type { Permissions } from './log-messages.ts'
import { permissionMistakes } from './permission-rules.ts'

/** Nobody may read anything. */
export const NO_PERMISSIONS: Permissions = { permissions: null, hash: null }

const SIZE_MAX = 16 * 2 ** 20

/** The row that holds these permissions. zero-cache reads them again when the hash is another one. */
function permissionsRow(permissions: Json): Permissions {
  return { permissions: JSON.stringify(permissions), hash: fingerprint(permissions) }
}

/** Every row of these tables may be read by everybody; for demonstrations. Names are those that Zero has for them. */
export function allowAllSelect(tables: readonly string[]): Permissions {
  const rule = ['allow', { type: 'and', conditions: [] }]
  const entries = tables.toSorted().map((table) => [table, { row: { select: [rule] } }])
  return permissionsRow({ tables: Object.fromEntries(entries) as Json })
}

/** The permissions of a text, which `name` stands for in messages. Throws `ConfigError` with the complete list. */
export function parsePermissions(text: string, name: string): Permissions {
  let permissions: Json
  try {
    permissions = JSON.parse(text) as Json
  } catch {
    throw malformed(
      `${name} is not JSON`,
      'It should be what zero-deploy-permissions writes with --output-format json.',
    )
  }
  const mistakes = permissionMistakes(permissions)
  if (mistakes.length === 0) return permissionsRow(permissions)
  const lines = mistakes.map(
    ({ path, reason }) => `  ${path.length === 0 ? 'the file' : path.join('.')}: ${reason}`,
  )
  throw malformed(
    `${name} holds no permissions that zero-cache can read\n${lines.join('\n')}`,
    'Write it again with the zero-deploy-permissions of the version that zero-cache has.',
  )
}

/** A file of permissions, and whether it holds others by now. */
export class PermissionsFile {
  readonly #path: string
  #hash: string | null = null

  constructor(path: string) {
    this.#path = path
  }

  /**
   * The permissions of the file when they are others than those of the last call; null when not. Throws `ConfigError` for
   * a file that cannot be read or is broken.
   */
  async changed(): Promise<Permissions | null> {
    const name = `the permissions file ${this.#path}`
    const { size } = await reading(name, stat(this.#path))
    if (size > SIZE_MAX)
      throw malformed(`${name} is larger than 16 MiB`, 'Look whether it is the right file.')
    // It is small, and read again each time: times and sizes may be the same for other contents.
    const found = parsePermissions(await reading(name, readFile(this.#path, 'utf8')), name)
    if (found.hash === this.#hash) return null
    this.#hash = found.hash
    return found
  }
}

async function reading<Result>(name: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    throw new ConfigError('zero/permissions-unreadable', `${name} cannot be read (${code})`, {
      fix: 'Check the path in `permissions.file` and the rights on it.',
      cause: error,
    })
  }
}

export interface PermissionsWatch {
  readonly intervalMs: number
  readonly log: Logger
  /** Repeated when it fails. */
  changed(permissions: Permissions): Promise<void> | void
}

/**
 * Looks at the file again and again; gives what it holds when that is another thing. A broken file is logged and what was
 * there before stays. Returns the end of it.
 */
export function watchPermissions(
  file: PermissionsFile,
  { intervalMs, log, changed }: PermissionsWatch,
): () => void {
  let busy = false
  let ended = false
  let told = ''
  let pending: Permissions | null = null
  const look = async () => {
    if (busy) return
    busy = true
    try {
      pending = (await file.changed()) ?? pending
      if (pending !== null && !ended) await changed(pending)
      pending = null
      told = ''
    } catch (error) {
      const { message, code, fix } = toCoreError(error)
      if (message !== told && !ended) log.error(`${message}; the permissions so far stay`, { code, fix })
      told = message
    } finally {
      busy = false
    }
  }
  const timer = setInterval(() => void look(), intervalMs)
  timer.unref()
  return () => {
    ended = true
    clearInterval(timer)
  }
}

function malformed(message: string, fix: string): ConfigError {
  return new ConfigError('zero/permissions-malformed', message, { fix })
}
