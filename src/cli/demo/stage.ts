/** The servers of the demo in a temporary folder, and connections to them. */
import { existsSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import pg from 'pg'

import { CoreError, PreconditionError } from '../../core/error.ts'
import { startClickHouse, type ClickHouseServer } from './servers/clickhouse.ts'
import { MissingPackageError } from './servers/missing-package.ts'
import { startPostgres, type PostgresServer } from './servers/postgres.ts'

export interface Stage {
  /** Holds everything that the demo writes. */
  readonly folder: string
  readonly postgres: PostgresServer
  readonly clickhouse: ClickHouseServer
  readonly source: pg.Client
  readonly target: ClickHouseClient
  readonly versions: { readonly postgres: string; readonly clickhouse: string }
}

/** Starts both servers. Disposing of `cleanup` ends them and removes the folder, also when the start failed halfway. */
export async function openStage(cleanup: AsyncDisposableStack): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-demo-'))
  const servers: { readonly pid: number }[] = []
  const atExit = (): void => removeNow(folder, servers)
  process.once('exit', atExit)
  cleanup.defer(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    process.off('exit', atExit)
  })
  // Postgres does not run as root: its user must be able to walk through.
  if (process.getuid?.() === 0) await chmod(folder, 0o711)
  const [postgres, clickhouse] = await both(
    startPostgres({ dir: join(folder, 'postgres') }).then((server) => cleanup.use(server)),
    startClickHouse({ dir: join(folder, 'clickhouse') }).then((server) => cleanup.use(server)),
  )
  servers.push(postgres, clickhouse)
  const source = new pg.Client({ connectionString: postgres.url, application_name: 'demo' })
  // The next query reports a lost connection.
  source.on('error', () => {})
  cleanup.defer(() => source.end())
  await source.connect()
  const { url, user: username, password } = clickhouse
  const target = createClient({
    url,
    username,
    password,
    request_timeout: 600_000,
    // Errors are reported where they are caught.
    log: { level: ClickHouseLogLevel.OFF },
  })
  cleanup.defer(() => target.close())
  const version = await source.query<{ server_version: string }>('SHOW server_version')
  const answer = await target.query({ query: 'SELECT version()', format: 'JSONCompactEachRow' })
  const [row] = await answer.json<[string]>()
  return {
    folder,
    postgres,
    clickhouse,
    source,
    target,
    versions: { postgres: version.rows[0]!.server_version, clickhouse: row![0] },
  }
}

/** When the process ends in the middle, as it does when nobody reads its output any more. */
function removeNow(folder: string, servers: readonly { readonly pid: number }[]): void {
  for (const { pid } of servers) {
    try {
      // Postgres ends its own processes at this signal, and without delay.
      if (pid > 0) process.kill(pid, 'SIGQUIT')
    } catch {
      // It has ended by itself.
    }
  }
  // They may write a little more, and only waiting without a promise is left at this point.
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let attempt = 1; existsSync(folder) && attempt <= 30; attempt++) {
    try {
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // Something was being written: once more.
    }
    if (existsSync(folder)) Atomics.wait(pause, 0, 0, 100)
  }
}

/** Waits for both, also when one fails: a server must not start after the cleaning up. */
async function both<A, B>(first: Promise<A>, second: Promise<B>): Promise<readonly [A, B]> {
  await Promise.allSettled([first, second])
  try {
    return [await first, await second]
  } catch (error) {
    if (error instanceof MissingPackageError) {
      const { code, what: message, fix } = error
      throw new PreconditionError([{ severity: 'error', code, message, fix }])
    }
    if (!(error instanceof Error)) throw error
    const fix =
      'See whether the machine has memory and room in its temporary folder (TMPDIR) left, and try again.'
    throw new CoreError('demo/server-start', error.message, { cause: error, fix })
  }
}
