import { chown, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import {
  findPrograms,
  isReachable,
  type PostgresPrograms,
  postgresOwner,
  prepareCluster,
} from './postgres-files.ts'
import { MissingPackageError } from './missing-package.ts'
import { descendantsOf, signalAll } from './process-tree.ts'
import { freePort, type Owner, ServerProcess, untilReady } from './server-process.ts'

export interface PostgresOptions {
  /** The server's folder; an earlier server's data in it is continued. By default a temporary one that `stop` removes. */
  readonly dir?: string
  /** By default any free port. */
  readonly port?: number
  /** Server settings, over the defaults for a short-lived local server. */
  readonly settings?: Readonly<Record<string, string>>
  /** File for the server's log; by default `postgres.log` in its folder. */
  readonly log?: string
}

/** For servers whose data may be lost with the machine: demo, tests and benchmarks only. */
const defaultSettings: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_replication_slots: '20',
  max_wal_senders: '20',
  // The data survives the death of the processes, not of the machine.
  fsync: 'off',
  shared_buffers: '128MB',
  listen_addresses: '127.0.0.1',
  lc_messages: 'C',
  timezone: 'UTC',
}

const readyDeadline = 60_000
const leftoverDeadline = 20_000

/** Starts a Postgres server for logical replication on the loopback interface; it never outlives this process. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  if (process.platform === 'win32') {
    const fix = 'Run it there, or use servers of your own.'
    throw new MissingPackageError('demo/platform', 'The demo servers run on Linux and macOS only.', fix)
  }
  const owner = postgresOwner()
  const programs = await findPrograms(owner)
  const dir = await folderFor(options.dir, owner)
  try {
    const password = await prepareCluster(dir, programs, owner)
    const server = new PostgresServer({ dir, password, programs, owner }, options)
    await server.restart()
    return server
  } catch (error) {
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    throw error
  }
}

interface Prepared {
  readonly dir: string
  readonly password: string
  readonly programs: PostgresPrograms
  readonly owner: Owner | null
}

/** A running Postgres; made by `startPostgres`. */
export class PostgresServer implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly user = 'postgres'
  readonly database = 'postgres'
  readonly dir: string
  readonly password: string
  readonly #programs: PostgresPrograms
  readonly #owner: Owner | null
  readonly #options: PostgresOptions
  #port: number
  #process: ServerProcess | null = null

  constructor(prepared: Prepared, options: PostgresOptions) {
    this.dir = prepared.dir
    this.password = prepared.password
    this.#programs = prepared.programs
    this.#owner = prepared.owner
    this.#options = options
    this.#port = options.port ?? 0
  }

  get port(): number {
    return this.#port
  }

  /** The process id of the postmaster; 0 while it is not running. */
  get pid(): number {
    return this.#process?.running === true ? this.#process.pid : 0
  }

  /** With the password: for configuration, never for a log. */
  get url(): string {
    return `postgres://${this.user}:${this.password}@${this.host}:${this.#port}/${this.database}`
  }

  /** Fast shutdown, by force when clients hold it up. Removes the folder if it is a temporary one. */
  async stop(): Promise<void> {
    await this.#end()
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true })
  }

  /** A crash: SIGKILL for all processes of the server. The data stays for `restart`. */
  async kill(): Promise<void> {
    if (this.#process === null) return
    // They have sessions of their own and would hold the shared memory until they notice.
    const children = descendantsOf(this.#process.pid)
    await this.#process.end('SIGKILL', 10_000)
    signalAll(children, 'SIGKILL')
  }

  /** Starts again on the same port and data: with recovery after `kill`, otherwise after a fast shutdown. */
  async restart(): Promise<void> {
    await this.#end()
    const deadline = performance.now() + leftoverDeadline
    for (;;) {
      const port = this.#port === 0 ? await freePort() : this.#port
      const server = this.#spawn(port)
      const outcome = await untilReady(server, readyDeadline, () => this.#answers(port))
      if (outcome === 'ready') {
        server.unref()
        this.#process = server
        this.#port = port
        return
      }
      await server.end('SIGKILL', 5_000)
      const log = server.lastWords()
      const lostPort = this.#port === 0 && log.includes('Address already in use')
      // Processes of a killed server may not have noticed yet.
      const hasLeftover = /lock file .* already exists|shared memory block .* is still in use/.test(log)
      if (!(lostPort || hasLeftover) || performance.now() > deadline) {
        throw new Error(`Postgres did not start (${outcome}). The end of ${this.#log}:\n${log}`)
      }
      await delay(100)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #data(): string {
    return join(this.dir, 'data')
  }

  get #log(): string {
    return this.#options.log ?? join(this.dir, 'postgres.log')
  }

  #spawn(port: number): ServerProcess {
    // A socket's path may have about a hundred bytes.
    const socketFolder = this.dir.length < 80 ? this.dir : ''
    const settings = {
      ...defaultSettings,
      unix_socket_directories: socketFolder,
      ...this.#options.settings,
      port: String(port),
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    return new ServerProcess({
      command: this.#programs.postgres,
      args: ['-D', this.#data, ...flags],
      cwd: this.dir,
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
      logFile: this.#log,
      owner: this.#owner,
      orphanSignal: 'INT',
      orphanFolder: this.#options.dir === undefined ? this.dir : null,
    })
  }

  /** True when a server answers, and it is this one: somebody else may have been faster on the port. */
  async #answers(port: number): Promise<boolean> {
    const { Client } = (await import('pg')).default
    const { host, user, password, database } = this
    const client = new Client({ host, port, user, password, database, connectionTimeoutMillis: 5_000 })
    // An error after the connection is lost; the caller asks again.
    client.on('error', () => {})
    try {
      await client.connect()
      const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory')
      return rows[0]?.data_directory === this.#data
    } catch {
      return false
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #end(): Promise<void> {
    if (this.#process === null || (await this.#process.end('SIGINT', 10_000))) return
    // A fast shutdown waits for replication clients that do not acknowledge; an immediate one does not.
    if (!(await this.#process.end('SIGQUIT', 5_000))) await this.kill()
  }
}

async function folderFor(wanted: string | undefined, owner: Owner | null): Promise<string> {
  if (wanted !== undefined) await mkdir(wanted, { recursive: true, mode: 0o700 })
  const dir = await realpath(wanted ?? (await mkdtemp(join(tmpdir(), 'sluice-postgres-'))))
  if (owner === null) return dir
  await chown(dir, owner.uid, owner.gid)
  if (isReachable(dir, owner)) return dir
  const fix = 'Choose a folder whose parents everybody may enter, or do not run as root.'
  throw new Error(`Postgres cannot run as root, and its user (uid ${owner.uid}) cannot reach ${dir}. ${fix}`)
}
