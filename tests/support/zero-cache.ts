import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { processTree, signalAll } from './process-tree.ts'
import { createDatabase, sql } from './postgres.ts'
import { urlOf } from './servers.ts'
import { waitFor } from './wait-for.ts'
import { ZeroReplica } from './zero-replica.ts'

const entry = resolve(import.meta.dirname, 'zero-cache-child.ts')
/** Folder of another version of `@rocicorp/zero`. */
const OTHER_VERSION = process.env['SLUICE_ZERO_CACHE']
/** What is kept of its output, in characters. */
const OUTPUT_LIMIT = 200_000
/** A supervisor waits so long, in milliseconds, before it starts the process again. */
const RESTART_DELAY = 100

export interface ZeroCacheOptions {
  /** Address of the change source, with its own query parameters. */
  readonly upstream: string
  readonly appID?: string
  readonly publications?: readonly string[]
  /** False: a `reset-required` is logged, and nothing is done; true by default. */
  readonly autoReset?: boolean
  /** One process starts faster; `many` is how it runs in production. */
  readonly processes?: 'one' | 'many'
  /** Starts it again whenever it ends by itself or is killed, as in production. */
  readonly supervised?: boolean
  readonly env?: Readonly<Record<string, string>>
}

export interface ZeroCacheExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A real zero-cache with a replica file and a Postgres database of its own. Disposing of it leaves nothing behind. */
export class ZeroCache implements AsyncDisposable {
  readonly options: ZeroCacheOptions
  readonly port: number
  /** Of its CVR and change databases. */
  readonly database: string
  readonly replicaFile: string
  /** How it ended, each time. */
  readonly exits: ZeroCacheExit[] = []
  readonly #folder: string
  readonly #databaseUrl: string
  #upstream: string
  #child: ChildProcess | null = null
  #done: Promise<ZeroCacheExit> = Promise.resolve({ code: null, signal: null })
  #output = ''
  #starts = 0
  #frozen: readonly number[] = []
  /** True while somebody wants it to run. */
  #wanted = false

  private constructor(options: ZeroCacheOptions, port: number, database: string, databaseUrl: string) {
    this.options = options
    this.#upstream = options.upstream
    this.port = port
    this.database = database
    this.#databaseUrl = databaseUrl
    this.#folder = mkdtempSync(join(tmpdir(), 'sluice-zero-'))
    this.replicaFile = join(this.#folder, 'replica.db')
  }

  /** Starts it without waiting until it is ready: it may need a change source that comes later. */
  static async start(options: ZeroCacheOptions): Promise<ZeroCache> {
    const database = `zero_${randomBytes(4).toString('hex')}`
    const databaseUrl = await createDatabase(urlOf('postgres'), database)
    const cache = new ZeroCache(options, await freePort(1), database, databaseUrl)
    cache.#start()
    return cache
  }

  /** Where clients connect. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** The end of the process that was started last. */
  get exit(): Promise<ZeroCacheExit> {
    return this.#done
  }

  get starts(): number {
    return this.#starts
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  /** The end of what all its processes wrote. */
  get output(): string {
    return this.#output
  }

  /** Its last complaints, for a failing test. */
  get lastWords(): string {
    const lines = this.#output.split('\n').filter((line) => line !== '' && !line.includes('"level":"INFO"'))
    return lines
      .slice(-20)
      .map((line) => line.slice(0, 600))
      .join('\n')
  }

  /** It and its descendants, parents first. */
  get pids(): readonly number[] {
    return this.#child === null ? [] : processTree(this.#child.pid!)
  }

  /** Waits until it serves clients. */
  async ready(deadlineMs = 90_000): Promise<void> {
    await this.until('zero-cache is ready', () => this.#answers(), deadlineMs)
  }

  /** Waits for a condition; fails with its output, at once when it ends and nobody starts it again. */
  async until(what: string, holds: () => boolean | Promise<boolean>, deadlineMs?: number): Promise<void> {
    const watched = async (): Promise<boolean> => {
      if (await holds()) return true
      if (this.#child === null && !this.#wanted)
        throw new Error(`zero-cache ended (${JSON.stringify(this.exits.at(-1))}) before ${what}`)
      return false
    }
    try {
      await waitFor(what, watched, deadlineMs)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.lastWords}`, { cause: error })
    }
  }

  /** Opens its replica, which exists once the initial sync is done; the caller closes it. */
  replica(): ZeroReplica {
    return new ZeroReplica(this.replicaFile)
  }

  /** What a query over its change database gives; the tables lie in schema `"<appID>_0/cdc"`. */
  changeDatabase<Row extends Record<string, unknown>>(text: string): Promise<readonly Row[]> {
    return sql<Row>(this.#databaseUrl, text)
  }

  /** SIGTERM, and its end; it stays down. */
  async stop(): Promise<ZeroCacheExit> {
    this.#wanted = false
    this.thaw()
    this.#child?.kill('SIGTERM')
    return this.#done
  }

  /** SIGKILL of all its processes at once; a supervised one comes back. */
  async kill(): Promise<ZeroCacheExit> {
    this.#wanted = this.options.supervised === true
    return this.#killAll()
  }

  /** Starts it again on the same data, after its end; with another address of the change source when given. */
  async restart(upstream?: string): Promise<void> {
    if (this.isRunning) throw new Error('zero-cache still runs: stop or kill it first')
    this.#upstream = upstream ?? this.#upstream
    this.#start()
  }

  /** SIGSTOP of all its processes. */
  freeze(): void {
    this.#frozen = this.pids
    signalAll(this.#frozen, 'SIGSTOP')
  }

  thaw(): void {
    signalAll(this.#frozen, 'SIGCONT')
    this.#frozen = []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wanted = false
    await this.#killAll()
    rmSync(this.#folder, { recursive: true, force: true })
    await sql(urlOf('postgres'), `DROP DATABASE ${this.database} WITH (FORCE)`)
  }

  #start(): void {
    const { appID, publications, autoReset, processes, env } = this.options
    const child = spawn(process.execPath, [entry], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        ...(OTHER_VERSION === undefined ? {} : { SLUICE_ZERO_CACHE: OTHER_VERSION }),
        HOME: this.#folder,
        TMPDIR: this.#folder,
        DO_NOT_TRACK: '1',
        ZERO_UPSTREAM_TYPE: 'custom',
        ZERO_UPSTREAM_DB: this.#upstream,
        ZERO_CVR_DB: this.#databaseUrl,
        ZERO_CHANGE_DB: this.#databaseUrl,
        // The server is shared with all other tests.
        ZERO_CVR_MAX_CONNS: '4',
        ZERO_CHANGE_MAX_CONNS: '3',
        ZERO_REPLICA_FILE: this.replicaFile,
        ZERO_PORT: String(this.port),
        ZERO_APP_ID: appID ?? 'zero',
        ZERO_ADMIN_PASSWORD: 'test',
        ZERO_NUM_SYNC_WORKERS: '1',
        ZERO_ENABLE_TELEMETRY: 'false',
        ZERO_LOG_LEVEL: 'info',
        ZERO_LOG_FORMAT: 'json',
        ...(publications === undefined ? {} : { ZERO_APP_PUBLICATIONS: publications.join(',') }),
        ...(autoReset === undefined ? {} : { ZERO_AUTO_RESET: String(autoReset) }),
        ...(processes === 'many' ? {} : { SINGLE_PROCESS: '1' }),
        ...env,
      },
    })
    this.#child = child
    this.#starts++
    this.#wanted = this.options.supervised === true
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_LIMIT)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    this.#done = new Promise((resolveDone, reject) => {
      child.once('error', reject)
      // Not `close`: an orphan may hold the pipes.
      child.once('exit', (code, signal) => {
        const exit = { code, signal }
        this.#child = null
        this.exits.push(exit)
        this.#output += `\n--- it ended: ${JSON.stringify(exit)} ---\n`
        resolveDone(exit)
        void this.#supervise()
      })
    })
  }

  async #supervise(): Promise<void> {
    if (!this.#wanted) return
    await delay(RESTART_DELAY)
    if (this.#wanted && this.#child === null) this.#start()
  }

  async #killAll(): Promise<ZeroCacheExit> {
    if (this.#child === null) return this.#done
    const done = this.#done
    const { pids } = this
    this.#frozen = []
    signalAll(pids, 'SIGKILL')
    await waitFor('all processes of zero-cache are gone', () => pids.every((pid) => !isAlive(pid)))
    return done
  }

  async #answers(): Promise<boolean> {
    const response = await fetch(`${this.url}/keepalive`, { signal: AbortSignal.timeout(5_000) }).catch(
      () => null,
    )
    return response?.status === 200
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
