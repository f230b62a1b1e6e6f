/** The servers of the demo in a temporary folder, and connections to them. */
import { existsSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

import { CoreError, PreconditionError } from '../../core/error.ts'
import { ClickHouseTarget } from './clickhouse-target.ts'
import { MissingPackageError } from './servers/missing-package.ts'
import { startPostgres, type PostgresServer } from './servers/postgres.ts'
import type { Target, TargetName } from './target.ts'
import { ZeroTarget } from './zero-target.ts'

export interface Stage {
  /** Holds everything that the demo writes. */
  readonly folder: string
  readonly postgres: PostgresServer
  readonly source: pg.Client
  readonly target: Target
  readonly version: string
}

/** Starts the source and the target. Disposing of `cleanup` ends them and removes the folder, also when the start failed halfway. */
export async function openStage(cleanup: AsyncDisposableStack, sink: TargetName): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-demo-'))
  const pids: (() => readonly number[])[] = []
  const atExit = (): void =>
    removeNow(
      folder,
      pids.flatMap((now) => now()),
    )
  process.once('exit', atExit)
  cleanup.defer(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    process.off('exit', atExit)
  })
  // Postgres does not run as root: its user must be able to walk through.
  if (process.getuid?.() === 0) await chmod(folder, 0o711)
  const [postgres, target] = await both(
    startPostgres({ dir: join(folder, 'postgres') }).then((server) => cleanup.use(server)),
    startTarget(sink, folder).then((started) => cleanup.use(started)),
  )
  pids.push(
    () => [postgres.pid],
    () => target.servers.map(({ pid }) => pid),
  )
  const source = new pg.Client({ connectionString: postgres.url, application_name: 'demo' })
  // The next query reports a lost connection.
  source.on('error', () => {})
  cleanup.defer(() => source.end())
  await source.connect()
  const version = await source.query<{ server_version: string }>('SHOW server_version')
  return { folder, postgres, source, target, version: version.rows[0]!.server_version }
}

function startTarget(sink: TargetName, folder: string): Promise<Target & AsyncDisposable> {
  switch (sink) {
    case 'clickhouse':
      return ClickHouseTarget.start(join(folder, 'clickhouse'))
    case 'zero':
      return ZeroTarget.start(folder)
  }
}

/** When the process ends in the middle, as it does when nobody reads its output any more. */
function removeNow(folder: string, pids: readonly number[]): void {
  for (const pid of pids) {
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
