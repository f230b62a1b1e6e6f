import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { MissingPackageError } from './missing-package.ts'
import { freePort, ServerProcess, untilReady } from './server-process.ts'

export interface ClickHouseOptions {
  /** The server's folder; an earlier server's data in it is continued. By default a temporary one that `stop` removes. */
  readonly dir?: string
  /** By default any free port. */
  readonly port?: number
  /** File for the server's log; by default `clickhouse.log` in its folder. */
  readonly log?: string
}

const readyDeadline = 60_000
const portAttempts = 5

// The engine's own session logs in as `default`, which therefore has no password.
const users = `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password/>
      <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <access_management>1</access_management>
    </default>
    <sluice>
      <password>sluice</password>
      <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </sluice>
  </users>
</clickhouse>
`

const config = (usersFile: string) => `<clickhouse>
  <users_config>${usersFile}</users_config>
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <mmap_cache_size>64</mmap_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <logger><level>warning</level><console>1</console></logger>
  <query_log remove="1"/>
  <part_log remove="1"/>
</clickhouse>
`

/** Starts a ClickHouse server on the loopback interface; it never outlives this process. */
export async function startClickHouse(options: ClickHouseOptions = {}): Promise<ClickHouseServer> {
  await requirePackages()
  if (options.dir !== undefined) await mkdir(options.dir, { recursive: true, mode: 0o700 })
  const dir = await realpath(options.dir ?? (await mkdtemp(join(tmpdir(), 'sluice-clickhouse-'))))
  try {
    await writeFile(join(dir, 'users.xml'), users)
    await writeFile(join(dir, 'config.xml'), config(join(dir, 'users.xml')))
    const server = new ClickHouseServer(dir, options)
    await server.restart()
    return server
  } catch (error) {
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    throw error
  }
}

/** A running ClickHouse; made by `startClickHouse`. */
export class ClickHouseServer implements AsyncDisposable {
  readonly host = '127.0.0.1'
  /** A user with a password; `default` has none. */
  readonly user = 'sluice'
  readonly password = 'sluice'
  readonly dir: string
  readonly #options: ClickHouseOptions
  #port: number
  #process: ServerProcess | null = null

  constructor(dir: string, options: ClickHouseOptions) {
    this.dir = dir
    this.#options = options
    this.#port = options.port ?? 0
  }

  get port(): number {
    return this.#port
  }

  /** The process id; 0 while it is not running. */
  get pid(): number {
    return this.#process?.running === true ? this.#process.pid : 0
  }

  /** Address of the HTTP interface, for the user `default`, without a database: make one, and use only that. */
  get url(): string {
    return `http://${this.host}:${this.#port}`
  }

  /** Ends the server and removes the folder if it is a temporary one. */
  async stop(): Promise<void> {
    await this.kill()
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true })
  }

  /**
   * SIGKILL. Also the way of `stop`: an orderly end would wait for idle connections, and what was accepted is on disk
   * either way.
   */
  async kill(): Promise<void> {
    await this.#process?.end('SIGKILL', 10_000)
  }

  /** Starts again on the same port and data. */
  async restart(): Promise<void> {
    await this.kill()
    for (let attempt = 1; ; attempt++) {
      const port = this.#port === 0 ? await freePort() : this.#port
      const server = this.#spawn(port)
      const outcome = await untilReady(server, readyDeadline, () => answersPing(port))
      if (outcome === 'ready') {
        server.unref()
        this.#process = server
        this.#port = port
        return
      }
      await server.end('SIGKILL', 5_000)
      const log = server.lastWords()
      const lostPort = this.#port === 0 && log.includes('Address already in use')
      if (!lostPort || attempt === portAttempts) {
        throw new Error(`ClickHouse did not start (${outcome}). The end of ${this.#log}:\n${log}`)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #log(): string {
    return this.#options.log ?? join(this.dir, 'clickhouse.log')
  }

  #spawn(port: number): ServerProcess {
    // `.ts` in the repository, `.js` in the package.
    const child = fileURLToPath(new URL(`clickhouse-child${extname(import.meta.url)}`, import.meta.url))
    const query = `SYSTEM START LISTEN HTTP; SELECT count() FROM file('stdin', 'LineAsString', 's String') FORMAT Null`
    const args = [
      `--config-file=${join(this.dir, 'config.xml')}`,
      `--path=${join(this.dir, 'data')}`,
      '--listen_host=127.0.0.1',
      `--http_port=${port}`,
      `--query=${query}`,
    ]
    return new ServerProcess({
      command: process.execPath,
      args: [child, ...args],
      cwd: this.dir,
      env: { PATH: process.env['PATH'], HOME: this.dir, TZ: 'UTC' },
      logFile: this.#log,
      owner: null,
      orphanSignal: 'KILL',
      orphanFolder: this.#options.dir === undefined ? this.dir : null,
    })
  }
}

async function answersPing(port: number): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(5_000)
    const response = await fetch(`http://127.0.0.1:${port}/ping`, {
      signal,
      headers: { connection: 'close' },
    })
    return (await response.text()) === 'Ok.\n'
  } catch {
    return false
  }
}

/** The engine's library exists for some platforms only, and nobody but the demo needs it. */
async function requirePackages(): Promise<void> {
  try {
    const { libchdbPath } = await import('chdb/libchdb')
    await import('ffi-rs')
    libchdbPath()
  } catch (cause) {
    const fix = 'Install it with `npm install chdb@3.4.0 ffi-rs`, or use a ClickHouse server of your own.'
    const what = `The ClickHouse library is not installed for ${process.platform}-${process.arch}.`
    throw new MissingPackageError('demo/clickhouse-missing', what, fix, cause)
  }
}
