/** A real zero-cache that follows a database of its own, either through Sluice or by its own Postgres upstream. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { PostgresServer } from '../../src/cli/demo/servers/postgres.ts'
import { freePort } from '../../tests/support/free-port.ts'
import { processTree } from '../../tests/support/process-tree.ts'
import type { Trace } from '../contenders/zero-pipeline.ts'

export const contenders = ['sluice', 'zero-postgres'] as const
export type Contender = (typeof contenders)[number]

const START_MS = 90_000
/** Kernel ticks of `/proc/<pid>/stat`, in every Linux that Node runs on. */
const TICKS_PER_SECOND = 100
const ALLOW = [['allow', { type: 'and', conditions: [] }]]
const PERMISSIONS = JSON.stringify({ tables: { bench: { row: { select: ALLOW } } } })

export class Stack implements AsyncDisposable {
  readonly contender: Contender
  /** Of the source database. */
  readonly url: string
  /** Where clients connect. */
  readonly cacheUrl: string
  readonly #server: PostgresServer
  readonly #names: readonly string[]
  readonly #folder: string
  readonly #pipeline: ChildProcess | null
  readonly #cache: ChildProcess

  private constructor(
    contender: Contender,
    parts: {
      server: PostgresServer
      url: string
      names: readonly string[]
      folder: string
      pipeline: ChildProcess | null
      cache: ChildProcess
      port: number
    },
  ) {
    this.contender = contender
    this.url = parts.url
    this.cacheUrl = `http://127.0.0.1:${parts.port}`
    this.#server = parts.server
    this.#names = parts.names
    this.#folder = parts.folder
    this.#pipeline = parts.pipeline
    this.#cache = parts.cache
  }

  /** `name`: of its databases. Resolves when zero-cache serves clients. */
  static async start(server: PostgresServer, contender: Contender, name: string): Promise<Stack> {
    const names = [`${name}_source`, `${name}_zero`]
    for (const database of names) await sql(server.url, `CREATE DATABASE ${database}`)
    const [url, zero] = names.map((database) => addressOf(server, database)) as [string, string]
    await sql(
      url,
      `CREATE TABLE bench (id int8 PRIMARY KEY, phase int4 NOT NULL, n int4, name text, price numeric(12,2), ok bool,
                           at timestamptz, note text)`,
    )
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-zero-'))
    const pipeline = contender === 'sluice' ? startPipeline(url, join(folder, 'zero.db')) : null
    const upstream = pipeline === null ? url : await addressOfPipeline(pipeline)
    const port = await freePort(2)
    const cache = startCache(folder, port, {
      ZERO_UPSTREAM_TYPE: pipeline === null ? 'pg' : 'custom',
      ZERO_UPSTREAM_DB: upstream,
      ZERO_CVR_DB: zero,
      ZERO_CHANGE_DB: zero,
    })
    const stack = new Stack(contender, { server, url, names, folder, pipeline, cache, port })
    try {
      await stack.#ready()
      if (pipeline === null) await sql(url, `UPDATE zero.permissions SET permissions = '${PERMISSIONS}'`)
      return stack
    } catch (error) {
      await stack[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Where the rows since the last call were and when; nothing without Sluice. */
  async trace(): Promise<readonly Trace[]> {
    if (this.#pipeline === null) return []
    this.#pipeline.send('trace')
    const [trace] = (await once(this.#pipeline, 'message')) as [readonly Trace[]]
    return trace
  }

  /** Seconds of CPU since their start; `machine`: of all processes there are. */
  cpu(): { readonly pipeline: number; readonly zeroCache: number; readonly machine: number } {
    return {
      machine: busySeconds(),
      pipeline: this.#pipeline === null ? 0 : cpuSeconds(this.#pipeline.pid!),
      zeroCache: processTree(this.#cache.pid!).reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ended(this.#cache, () => this.#cache.kill('SIGTERM'))
    if (this.#pipeline !== null) await ended(this.#pipeline, () => this.#pipeline!.stdin!.end())
    const { url } = this.#server
    for (const name of this.#names) {
      const slots = `FROM pg_replication_slots WHERE database = '${name}'`
      await sql(url, `SELECT pg_terminate_backend(active_pid) ${slots} AND active`)
      while ((await sql(url, `SELECT 1 ${slots} AND active`)).length > 0) await delay(50)
      await sql(url, `SELECT pg_drop_replication_slot(slot_name) ${slots}`)
      await sql(url, `DROP DATABASE ${name} WITH (FORCE)`)
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + START_MS
    for (;;) {
      const answer = await fetch(`${this.cacheUrl}/keepalive`).catch(() => null)
      if (answer?.status === 200) return
      if (this.#cache.exitCode !== null || performance.now() > deadline)
        throw new Error(`zero-cache did not start, its log is ${join(this.#folder, 'zero-cache.log')}`)
      await delay(100)
    }
  }
}

function startPipeline(url: string, path: string): ChildProcess {
  const program = new URL('../contenders/zero-pipeline.ts', import.meta.url).pathname
  return spawn(process.execPath, [program, 'sluice', JSON.stringify({ url, path })], {
    stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
  })
}

async function addressOfPipeline(pipeline: ChildProcess): Promise<string> {
  const failed = once(pipeline, 'exit').then(() =>
    Promise.reject(new Error('the pipeline ended before it served')),
  )
  const [port] = (await Promise.race([once(pipeline, 'message'), failed])) as [number]
  return `ws://127.0.0.1:${port}/changes/v0/stream`
}

/** It ends with this process. */
function startCache(folder: string, port: number, env: Readonly<Record<string, string>>): ChildProcess {
  const program = new URL('../../tests/support/zero-cache-child.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [program], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      TMPDIR: folder,
      DO_NOT_TRACK: '1',
      NODE_ENV: 'production',
      ZERO_REPLICA_FILE: join(folder, 'replica.db'),
      ZERO_PORT: String(port),
      ZERO_ADMIN_PASSWORD: 'bench',
      ZERO_NUM_SYNC_WORKERS: '1',
      ZERO_ENABLE_TELEMETRY: 'false',
      ZERO_LOG_LEVEL: 'warn',
      ...env,
    },
  })
  let last = ''
  const keep = (chunk: Buffer): void => void (last = (last + chunk.toString()).slice(-4000))
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  child.once('exit', (code) => {
    if (code !== 0 && code !== null)
      process.stderr.write(`zero-cache ended with exit code ${code}:\n${last}\n`)
  })
  return child
}

async function ended(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  end()
  await gone
}

function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return 0
  }
}

function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8').split(/\s+/).map(Number)
  return (user! + nice! + system! + irq! + softirq!) / TICKS_PER_SECOND
}

function addressOf(server: PostgresServer, database: string): string {
  const url = new URL(server.url)
  url.pathname = `/${database}`
  return url.href
}

async function sql(url: string, text: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
