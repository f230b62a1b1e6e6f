/** `npm run example:zero`: starts everything that the page needs, and ends it with Ctrl-C. */
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'

import { Course, Interrupted } from '../../src/cli/demo/course.ts'
import { MissingPackageError } from '../../src/cli/demo/servers/missing-package.ts'
import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import {
  isListening,
  isPortFree,
  ServerProcess,
  untilReady,
} from '../../src/cli/demo/servers/server-process.ts'
import { requireZero, startZeroCache } from '../../src/cli/demo/servers/zero-cache.ts'

const say = (text: string): void => void process.stdout.write(`${text}\n`)

using course = new Course()
// Servers that end without a promise of this process must not end it half-way.
const alive = setInterval(() => {}, 2 ** 30)
try {
  await run()
} catch (error) {
  process.exitCode = report(course.signal.aborted ? course.signal.reason : error)
}
clearInterval(alive)

async function run(): Promise<void> {
  await requirePackages()
  const ports = {
    page: portOf('PORT', 5173),
    zero: portOf('ZERO_PORT', 4848),
    sluice: portOf('SLUICE_PORT', 4850),
  }
  await requirePort('PORT', ports.page)
  await requirePort('ZERO_PORT', ports.zero, ports.zero + 1)
  await requirePort('SLUICE_PORT', ports.sluice)

  await using cleanup = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sluice-zero-example-'))
  cleanup.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  // Postgres does not run as root: its user must be able to walk through.
  if (process.getuid?.() === 0) await chmod(folder, 0o711)

  course.signal.addEventListener('abort', () => say('Stopping ...'))
  say('Postgres ...')
  const postgres = cleanup.use(await startPostgres({ dir: join(folder, 'postgres') }))
  const database = new pg.Pool({ connectionString: postgres.url, max: 4 })
  // The next query reports a lost connection.
  database.on('error', () => {})
  cleanup.defer(() => database.end())
  await database.query(readFileSync(resolve(import.meta.dirname, 'shop.sql'), 'utf8'))
  // zero-cache keeps notes of its own in Postgres.
  await database.query('CREATE DATABASE zero')
  course.signal.throwIfAborted()

  say('Sluice ...')
  const sluice = startSluice(folder, { PG_URL: postgres.url, SLUICE_PORT: String(ports.sluice) })
  cleanup.defer(() => endSluice(sluice))
  const serves = async (): Promise<boolean> => course.signal.aborted || (await isListening(ports.sluice))
  if ((await untilReady(sluice, 30_000, serves)) !== 'ready')
    throw new Error(`Sluice did not start. Its last words:\n${sluice.lastWords()}`)
  course.signal.throwIfAborted()

  say('zero-cache ...')
  const cache = cleanup.use(
    await startZeroCache({
      dir: join(folder, 'zero'),
      upstream: `ws://127.0.0.1:${ports.sluice}/changes/v0/stream`,
      database: postgres.url.replace(/[^/]*$/, 'zero'),
      port: ports.zero,
      env: { ZERO_QUERY_URL: `http://127.0.0.1:${ports.page}/queries` },
      signal: course.signal,
    }),
  )
  const { startPage } = await import('./server.ts')
  cleanup.use(await startPage({ port: ports.page, zeroCache: cache.url, database, folder }))

  say(`\n  The page     http://127.0.0.1:${ports.page}/`)
  say(`  Postgres     psql '${postgres.url}'`)
  say(`  Logs         ${folder}\n`)
  say(
    'Change rows with the buttons, or with any client of Postgres. Ctrl-C ends it all and removes the folder.',
  )

  while (!course.signal.aborted) {
    if (!sluice.running) throw new Error(`Sluice has ended. Its last words:\n${sluice.lastWords()}`)
    if (cache.pid === 0) throw new Error(`zero-cache has ended. Its last words:\n${cache.lastWords()}`)
    if (postgres.pid === 0) throw new Error('Postgres has ended.')
    await delay(500, null, { signal: course.signal }).catch(() => {})
  }
  throw course.signal.reason as Error
}

async function requirePackages(): Promise<void> {
  await requireZero()
  try {
    await import('vite')
  } catch (cause) {
    const fix = 'Install what the example needs with `npm ci --include=dev`.'
    throw new MissingPackageError('demo/vite-missing', 'Vite is not installed.', fix, cause)
  }
}

/** The command line of Sluice with the config beside this file. */
function startSluice(folder: string, env: Readonly<Record<string, string>>): ServerProcess {
  const main = resolve(import.meta.dirname, '../../src/cli/main.ts')
  return new ServerProcess({
    command: process.execPath,
    args: [main, 'run', join(import.meta.dirname, 'pipeline.yaml')],
    cwd: folder,
    env: { ...process.env, FOLDER: folder, ...env },
    logFile: join(folder, 'sluice.log'),
    owner: null,
    orphanSignal: 'INT',
    orphanFolder: null,
  })
}

async function endSluice(sluice: ServerProcess): Promise<void> {
  if (!(await sluice.end('SIGTERM', 10_000))) await sluice.end('SIGKILL', 5_000)
}

function portOf(variable: string, usual: number): number {
  const text = process.env[variable] ?? ''
  if (text === '') return usual
  const port = Number(text)
  if (Number.isInteger(port) && port > 0 && port < 65_535) return port
  throw new Error(`${variable} must be a port from 1 to 65534, and is ${JSON.stringify(text)}.`)
}

async function requirePort(variable: string, ...ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    if (await isPortFree(port)) continue
    const fix = `End what listens there, or choose another one: ${variable}=${ports[0]! + 100} npm run example:zero`
    throw new Error(`Port ${port} of 127.0.0.1 is in use. ${fix}`)
  }
}

/** Says why it ends. Returns the exit code. */
function report(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`)
  return error instanceof MissingPackageError ? 3 : 1
}
