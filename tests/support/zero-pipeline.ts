import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '../../src/core/context.ts'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import type { PipelineResult } from '../../src/runtime/definition.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import type { PipelineStatus } from '../../src/runtime/telemetry.ts'
import { freePort } from './free-port.ts'
import { sql } from './postgres.ts'
import type { Start } from './steered-child.ts'
import { SteeredCli } from './steered-cli.ts'
import { waitFor } from './wait-for.ts'

export interface ZeroPipelineOptions {
  /** Slot, publication and checkpoint are named after it. */
  readonly name: string
  /** Address of the source database. */
  readonly source: string
  /** Left out: postgres. */
  readonly sourceType?: 'postgres' | 'mongodb'
  readonly tables?: readonly string[]
  /** Further options of the sink. */
  readonly sink?: Readonly<Record<string, unknown>>
  /** Further options of the source. */
  readonly sourceOptions?: Readonly<Record<string, unknown>>
  /** Further options of the pipeline. */
  readonly options?: Readonly<Record<string, unknown>>
}

interface Line {
  readonly level: keyof Logger
  readonly message: string
  readonly fields: unknown
}

interface InProcess {
  readonly stop: AbortController
  readonly done: Promise<PipelineResult | Error>
}

/** A pipeline from a database to the change source for Zero, in this process or as a process of its own. */
export class ZeroPipeline implements AsyncDisposable {
  readonly options: ZeroPipelineOptions
  readonly port: number
  readonly folder: string
  readonly config: string
  readonly log: Line[] = []
  status: PipelineStatus | null = null
  /** Why it ended by itself, in this process. */
  failure: Error | null = null
  #here: InProcess | null = null
  #cli: SteeredCli | null = null

  private constructor(options: ZeroPipelineOptions, port: number) {
    this.options = options
    this.port = port
    this.folder = mkdtempSync(join(tmpdir(), 'sluice-zero-pipeline-'))
    // JSON is YAML.
    this.config = join(this.folder, 'pipeline.yaml')
    this.configure({})
  }

  static async make(options: ZeroPipelineOptions): Promise<ZeroPipeline> {
    return new ZeroPipeline(options, await freePort())
  }

  /** Where zero-cache connects. */
  get url(): string {
    return `ws://127.0.0.1:${this.port}/changes/v0/stream`
  }

  /** The change log. */
  get logFile(): string {
    return join(this.folder, 'zero.db')
  }

  /** Writes the config again, with other options of the sink; the next start takes them. */
  configure(sink: Readonly<Record<string, unknown>>): void {
    const { name, source, sourceType: type = 'postgres', tables, sourceOptions, options } = this.options
    const polls = type === 'postgres' ? { schemaPoll: '100ms' } : {}
    const config = {
      name,
      source: { type, url: source, heartbeat: '100ms', ...polls, ...sourceOptions },
      tables: tables ?? ['public.*'],
      sinks: {
        zero: { type: 'zero', port: this.port, path: this.logFile, ...this.options.sink, ...sink },
      },
      checkpoint: { path: join(this.folder, 'checkpoint.db'), interval: '20ms' },
      log: { format: 'json' },
      ...options,
    }
    writeFileSync(this.config, JSON.stringify(config, null, 2))
  }

  /** Starts it in this process. */
  async start(): Promise<void> {
    if (this.#here !== null || this.#cli?.exit === null) throw new Error('the pipeline runs already')
    const definition = await buildPipeline(await loadConfig(this.config))
    const stop = new AbortController()
    const at =
      (level: keyof Logger): Logger['info'] =>
      (message, fields) =>
        void this.log.push({ level, message, fields })
    const log: Logger = { debug: () => {}, info: at('info'), warn: at('warn'), error: at('error') }
    this.failure = null
    const status = (latest: PipelineStatus): void => void (this.status = latest)
    const done = runPipeline(definition, { log, signal: stop.signal, onStatus: status })
      .catch((error: unknown) => (this.failure = error as Error))
      .then(async (end) => {
        await definition.store.close()
        return end
      })
    this.#here = { stop, done }
  }

  /** Starts it as a process of its own. */
  startCli(start: Partial<Start> = {}): SteeredCli {
    if (this.#here !== null || this.#cli?.exit === null) throw new Error('the pipeline runs already')
    this.#cli = new SteeredCli(['run', this.config], start)
    return this.#cli
  }

  /** The process that was started last. */
  get cli(): SteeredCli {
    if (this.#cli === null) throw new Error('the pipeline was not started as a process')
    return this.#cli
  }

  /** Waits until subscribers can connect: a zero-cache without a replica ends when it is refused. */
  async listening(): Promise<void> {
    await this.until('it listens', () => isListening(this.port), 60_000)
  }

  /** Waits for a condition; fails at once when the pipeline ends by itself. */
  async until(what: string, holds: () => boolean | Promise<boolean>, deadlineMs?: number): Promise<void> {
    if (this.#here === null) return this.cli.until(what, holds, deadlineMs)
    const watched = async (): Promise<boolean> => {
      if (this.failure !== null) throw this.failure
      return holds()
    }
    await waitFor(what, watched, deadlineMs).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${this.lastWords}`, { cause: error })
    })
  }

  get lastWords(): string {
    if (this.#here === null) return this.#cli?.lastWords ?? ''
    return this.log
      .slice(-20)
      .map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`)
      .join('\n')
  }

  /** Stops it in order. Throws why it had failed before. */
  async stop(): Promise<void> {
    if (this.#cli?.exit === null) {
      await this.#cli.stop()
      return
    }
    const here = this.#here
    this.#here = null
    here?.stop.abort()
    await here?.done
    if (this.failure !== null) throw this.failure
  }

  /** What remains of the process after SIGKILL: nothing but its files. */
  async kill(): Promise<void> {
    await this.cli.kill()
  }

  /** The slot's confirmed position as a number; null without a slot. */
  async confirmed(): Promise<bigint | null> {
    const [slot] = await sql<{ confirmed: string }>(
      this.options.source,
      `SELECT (confirmed_flush_lsn - '0/0')::text AS confirmed FROM pg_replication_slots WHERE slot_name = $1`,
      [`sluice_${this.options.name}`],
    )
    return slot === undefined ? null : BigInt(slot.confirmed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#cli?.exit === null) await this.#cli.kill()
    this.#here?.stop.abort()
    await this.#here?.done
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** The config as it is, for a failing test. */
  get configText(): string {
    return readFileSync(this.config, 'utf8')
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
