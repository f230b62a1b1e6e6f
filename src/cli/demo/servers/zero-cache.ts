import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { findPackageJSON } from 'node:module'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { MissingPackageError } from './missing-package.ts'
import { allGone, descendantsOf, signalAll } from './process-tree.ts'
import { lastingPort, ServerProcess, untilReady } from './server-process.ts'

export interface ZeroCacheOptions {
  /** Its folder, for the replica and the log. */
  readonly dir: string
  /** Address of the change source. */
  readonly upstream: string
  /** A Postgres database of its own, for what it remembers about clients and changes. */
  readonly database: string
  /** By default any free one; the next one is taken too. */
  readonly port?: number
  /** Further variables of its environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Gives up waiting for it. */
  readonly signal?: AbortSignal
}

const readyDeadline = 300_000
const endDeadline = 5_000
const portAttempts = 5

/** Fails when Rocicorp Zero, an optional package, is not installed. */
export async function requireZero(): Promise<void> {
  try {
    await import('@rocicorp/zero/change-protocol/v0')
  } catch (cause) {
    const fix = 'Install it with `npm install @rocicorp/zero@1.9`.'
    throw new MissingPackageError('demo/zero-missing', 'Rocicorp Zero is not installed.', fix, cause)
  }
}

/** Starts a zero-cache on the loopback interface and waits until its replica has what the change source has. */
export async function startZeroCache(options: ZeroCacheOptions): Promise<ZeroCacheServer> {
  await requireZero()
  await mkdir(options.dir, { recursive: true, mode: 0o700 })
  const server = new ZeroCacheServer(options)
  try {
    await server.start()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

/** A running zero-cache; made by `startZeroCache`. */
export class ZeroCacheServer implements AsyncDisposable {
  readonly #options: ZeroCacheOptions
  #port = 0
  #process: ServerProcess | null = null

  constructor(options: ZeroCacheOptions) {
    this.#options = options
  }

  get port(): number {
    return this.#port
  }

  /** The process id of its root; 0 while it is not running. */
  get pid(): number {
    return this.#process?.running === true ? this.#process.pid : 0
  }

  /** Where clients connect. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Of `@rocicorp/zero`. */
  get version(): string {
    const manifest = readFileSync(findPackageJSON('@rocicorp/zero', import.meta.url)!, 'utf8')
    return (JSON.parse(manifest) as { readonly version: string }).version
  }

  /** Resolves when its root process is gone. */
  get exited(): Promise<void> {
    return this.#process?.exited ?? Promise.resolve()
  }

  /** The end of what it has logged. */
  lastWords(): string {
    return this.#process?.lastWords() ?? ''
  }

  async start(): Promise<void> {
    const { port, signal } = this.#options
    for (let attempt = 1; ; attempt++) {
      this.#port = port ?? (await lastingPort(1))
      this.#process = this.#spawn()
      const isReady = async (): Promise<boolean> => (signal?.aborted ?? false) || (await this.#answers())
      const outcome = await untilReady(this.#process, readyDeadline, isReady)
      signal?.throwIfAborted()
      if (outcome === 'ready') return this.#process.unref()
      const log = this.lastWords()
      await this.stop()
      const lostPort = port === undefined && log.includes('EADDRINUSE')
      if (!lostPort || attempt === portAttempts)
        throw new Error(`zero-cache did not start (${outcome}). The end of ${this.#log}:\n${log}`)
    }
  }

  /** Ends all of its processes. */
  async stop(): Promise<void> {
    const root = this.#process
    if (root === null || !root.running) return
    const parts = descendantsOf(root.pid)
    // It ends its parts at this signal, and does not wait for clients to go.
    if (!(await root.end('SIGQUIT', endDeadline))) await root.end('SIGKILL', endDeadline)
    if (!(await allGone(parts, endDeadline))) signalAll(parts, 'SIGKILL')
    await allGone(parts, endDeadline)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #log(): string {
    return join(this.#options.dir, 'zero-cache.log')
  }

  #spawn(): ServerProcess {
    const { dir, upstream, database, env } = this.#options
    // `.ts` in the repository, `.js` in the package.
    const child = fileURLToPath(new URL(`zero-cache-child${extname(import.meta.url)}`, import.meta.url))
    return new ServerProcess({
      command: process.execPath,
      args: [child, dir],
      cwd: dir,
      env: {
        PATH: process.env['PATH'],
        HOME: dir,
        TMPDIR: dir,
        TZ: 'UTC',
        DO_NOT_TRACK: '1',
        ZERO_UPSTREAM_TYPE: 'custom',
        ZERO_UPSTREAM_DB: upstream,
        ZERO_CVR_DB: database,
        ZERO_CHANGE_DB: database,
        ZERO_CVR_MAX_CONNS: '10',
        ZERO_REPLICA_FILE: join(dir, 'replica.db'),
        ZERO_PORT: String(this.#port),
        ZERO_ADMIN_PASSWORD: 'demo',
        ZERO_NUM_SYNC_WORKERS: '1',
        ZERO_ENABLE_TELEMETRY: 'false',
        ZERO_LOG_LEVEL: 'info',
        ...env,
      },
      logFile: this.#log,
      owner: null,
      orphanSignal: 'INT',
      orphanFolder: null,
    })
  }

  async #answers(): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(5_000)
      const response = await fetch(`${this.url}/keepalive`, { signal, headers: { connection: 'close' } })
      return response.ok
    } catch {
      return false
    }
  }
}
