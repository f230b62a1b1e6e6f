import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { TcpProxy } from '../../src/testkit/tcp-proxy.ts'
import { type TestClickHouse, testClickHouse } from './clickhouse.ts'
import { differences } from './equality.ts'
import { sql } from './postgres.ts'
import type { Start } from './steered-child.ts'
import { SteeredCli } from './steered-cli.ts'
import { waitFor } from './wait-for.ts'

export interface ChaosOptions {
  /** Of the pipeline: slot and publication are named after it. */
  readonly name: string
  /** The source database, without the proxy. */
  readonly source: string
  /** Where the folder of the checkpoint file is made; by default it is that of the config file. */
  readonly checkpoints?: string
  /** Of the sink, as YAML. */
  readonly flushInterval?: string
  readonly requestTimeout?: string
  /** Further top-level options, as YAML. */
  readonly options?: string
  /** The target, when it is not a database of the shared server. */
  readonly clickhouse?: TestClickHouse
}

/** A pipeline of the command line from Postgres to ClickHouse, with a proxy on each side. */
export class ChaosPipeline implements AsyncDisposable {
  readonly name: string
  readonly source: string
  readonly clickhouse: TestClickHouse
  readonly sourceLink: TcpProxy
  readonly sinkLink: TcpProxy
  readonly config: string
  readonly checkpoint: string
  readonly #folder: string
  readonly #checkpoints: string
  #run: SteeredCli | null = null

  private constructor(
    options: ChaosOptions,
    clickhouse: TestClickHouse,
    links: readonly [TcpProxy, TcpProxy],
  ) {
    this.name = options.name
    this.source = options.source
    this.clickhouse = clickhouse
    this.sourceLink = links[0]
    this.sinkLink = links[1]
    this.#folder = mkdtempSync(join(tmpdir(), 'sluice-chaos-'))
    const { checkpoints } = options
    this.#checkpoints =
      checkpoints === undefined ? this.#folder : mkdtempSync(join(checkpoints, 'checkpoint-'))
    this.config = join(this.#folder, 'pipeline.yaml')
    this.checkpoint = join(this.#checkpoints, 'checkpoint.db')
    const url = new URL(options.source)
    url.host = `127.0.0.1:${this.sourceLink.port}`
    writeFileSync(
      this.config,
      `
name: ${options.name}
source: { type: postgres, url: '${url.href}', heartbeat: 100ms, schemaPoll: 200ms }
tables: ['public.*']
sinks:
  lake: { type: clickhouse, url: 'http://127.0.0.1:${this.sinkLink.port}', database: ${clickhouse.database}, flushInterval: ${options.flushInterval ?? '20ms'}, requestTimeout: ${options.requestTimeout ?? '60s'} }
checkpoint: { path: '${this.checkpoint}', interval: 20ms }
log: { format: json }
# So little that reading is soon held when the sink does not take rows.
buffer: 1MiB
${options.options ?? ''}
`,
    )
  }

  static async make(options: ChaosOptions): Promise<ChaosPipeline> {
    const clickhouse = options.clickhouse ?? (await testClickHouse(options.name))
    const links = await Promise.all([linkTo(options.source), linkTo(clickhouse.url)])
    return new ChaosPipeline(options, clickhouse, links)
  }

  /** The process that was started last. */
  get run(): SteeredCli {
    if (this.#run === null) throw new Error('the pipeline was not started')
    return this.#run
  }

  start(start: Partial<Start> = {}, args: readonly string[] = []): SteeredCli {
    this.#run = new SteeredCli(['run', this.config, ...args], start)
    return this.#run
  }

  /** Waits until source and target are equal. */
  async untilEqual(tables: readonly string[], deadlineMs = 30_000): Promise<void> {
    let found: readonly string[] = []
    const equal = async (): Promise<boolean> => {
      found = await this.differences(tables)
      return found.length === 0
    }
    await this.run.until('source and target are equal', equal, deadlineMs).catch((error: unknown) => {
      throw new Error(`${found.slice(0, 10).join('\n')}\n${(error as Error).message}`, { cause: error })
    })
  }

  /** What differs now; a table that is not there yet differs. */
  async differences(tables: readonly string[]): Promise<readonly string[]> {
    const client = new pg.Client({ connectionString: this.source })
    await client.connect()
    try {
      const found = []
      for (const table of tables) found.push(...(await this.#differences(client, table)))
      return found
    } finally {
      await client.end()
    }
  }

  /** The slot's confirmed position as a number; null without a slot. */
  async slot(): Promise<{ readonly confirmed: bigint; readonly pid: number | null } | null> {
    const [slot] = await sql<{ confirmed: string; pid: number | null }>(
      this.source,
      `SELECT (confirmed_flush_lsn - '0/0')::text AS confirmed, active_pid AS pid
       FROM pg_replication_slots WHERE slot_name = $1`,
      [`sluice_${this.name}`],
    )
    return slot === undefined ? null : { confirmed: BigInt(slot.confirmed), pid: slot.pid }
  }

  /** Ends the process, and removes the slot, the target and the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#run?.exit === null) await this.#run.kill()
    await this.sourceLink[Symbol.asyncDispose]()
    await this.sinkLink[Symbol.asyncDispose]()
    await this.#dropSlot()
    await this.clickhouse[Symbol.asyncDispose]()
    for (const folder of [this.#folder, this.#checkpoints]) rmSync(folder, { recursive: true, force: true })
  }

  async #differences(client: pg.Client, table: string): Promise<readonly string[]> {
    try {
      return await differences(client, this.clickhouse.client, table)
    } catch (error) {
      // The view does not exist yet, or is behind the last schema change.
      return [`${table}: ${(error as Error).message}`]
    }
  }

  async #dropSlot(): Promise<void> {
    await waitFor('the slot is free', async () => {
      const slot = await this.slot()
      if (slot !== null && slot.pid !== null)
        await sql(this.source, 'SELECT pg_terminate_backend($1)', [slot.pid])
      return slot === null || slot.pid === null
    })
    if ((await this.slot()) !== null)
      await sql(this.source, 'SELECT pg_drop_replication_slot($1)', [`sluice_${this.name}`])
  }
}

function linkTo(address: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(address)
  return TcpProxy.start({ host: hostname, port: Number(port) })
}
