import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import pg from 'pg'
import { type ClickHouseServer, startClickHouse } from '../../../src/cli/demo/servers/clickhouse.ts'
import { type PostgresServer, startPostgres } from '../../../src/cli/demo/servers/postgres.ts'
import { TcpProxy } from '../../../src/testkit/tcp-proxy.ts'
import { type CliRun, startCli } from '../cli.ts'
import { differences } from '../equality.ts'
import type { MemoryLine } from './memory-probe.ts'

/** What the config of the pipeline allows it to hold, in MB: the buffer, and twice what the sink collects. */
export const configuredMb = 8 + 2 * 4

/** How long the server waits for a sign of life of its replication client, in milliseconds. */
export const walSenderTimeoutMs = 3000

const name = 'soak'
const memoryProbe = resolve(import.meta.dirname, 'memory-probe.ts')

/** A row of the source that says how far the pipeline is. */
export interface Mark {
  readonly id: number
  /** The log holds it before this place. */
  readonly lsn: string
}

/** Two servers of our own, a proxy in front of each, and the pipeline between them as a process of its own. */
export class Stage implements AsyncDisposable {
  readonly postgres: PostgresServer
  readonly clickhouse: ClickHouseServer
  readonly sourceLink: TcpProxy
  readonly sinkLink: TcpProxy
  /** Not through the proxy. */
  readonly target: ClickHouseClient
  /** Of the pipeline. */
  readonly config: string
  readonly #folder: string
  #run: CliRun | null = null
  /** The end of the running process is part of the plan. */
  #mayEnd = false
  #marks = 0

  private constructor(
    servers: { readonly postgres: PostgresServer; readonly clickhouse: ClickHouseServer },
    links: { readonly source: TcpProxy; readonly sink: TcpProxy },
  ) {
    this.postgres = servers.postgres
    this.clickhouse = servers.clickhouse
    this.sourceLink = links.source
    this.sinkLink = links.sink
    this.target = createClient({
      url: servers.clickhouse.url,
      database: name,
      // It is asked for tables that are not there yet, and while the server is down.
      log: { level: ClickHouseLogLevel.OFF },
    })
    this.#folder = mkdtempSync(join(tmpdir(), 'sluice-soak-'))
    this.config = join(this.#folder, 'pipeline.yaml')
    const { user, password, database } = servers.postgres
    writeFileSync(
      this.config,
      `
name: ${name}
source: { type: postgres, url: 'postgres://${user}:${password}@127.0.0.1:${links.source.port}/${database}', heartbeat: 500ms, schemaPoll: 1s }
tables: ['public.*']
sinks:
  lake: { type: clickhouse, url: 'http://127.0.0.1:${links.sink.port}', database: ${name}, createDatabase: true, flushInterval: 200ms, flushBytes: 4MB, requestTimeout: 5s }
checkpoint: { interval: 200ms }
buffer: 8MiB
`,
    )
  }

  static async make(): Promise<Stage> {
    const [postgres, clickhouse] = await Promise.all([
      startPostgres({ settings: { wal_sender_timeout: `${walSenderTimeoutMs}ms` } }),
      startClickHouse(),
    ])
    const [source, sink] = await Promise.all([linkTo(postgres), linkTo(clickhouse)])
    const stage = new Stage({ postgres, clickhouse }, { source, sink })
    await stage.sql('CREATE TABLE marks (id int8 PRIMARY KEY)')
    return stage
  }

  /** The process of the pipeline. */
  get pid(): number {
    return this.#run!.child.pid!
  }

  start(): void {
    this.#run = startCli(['run', this.config, '--json'], { NODE_OPTIONS: `--import=${memoryProbe}` })
    this.#mayEnd = false
  }

  /** Sends a signal that ends the process, and waits for that. Gives the exit code, null after SIGKILL. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    const run = this.#run!
    this.#mayEnd = true
    run.child.kill(signal)
    const { code } = await run.done
    return code
  }

  /** Changes that the running process has read from the log. */
  get changes(): number {
    return Number(this.#lastLine<{ changes?: number }>('status')?.changes ?? 0)
  }

  /** Memory of the running process; null when it has not said it yet. */
  get memory(): MemoryLine | null {
    return this.#lastLine<MemoryLine>('memory')
  }

  /** The last line of an event on the standard output of the process. */
  #lastLine<Line>(event: string): Line | null {
    const output = this.#run!.stdout()
    const end = output.lastIndexOf('\n')
    const start = output.lastIndexOf(`{"event":"${event}"`, end)
    if (start < 0) return null
    return JSON.parse(output.slice(start, output.indexOf('\n', start))) as Line
  }

  /** Waits for a condition; fails at once when the process ends by itself. Servers may be away meanwhile. */
  async until(what: string, holds: () => Promise<boolean>, deadlineMs: number): Promise<void> {
    const deadline = performance.now() + deadlineMs
    let because = ''
    for (;;) {
      const { exitCode, signalCode } = this.#run!.child
      const end = exitCode ?? signalCode
      if (!this.#mayEnd && end !== null)
        throw new Error(`the pipeline ended by itself (${end})\n${this.lastWords}`)
      try {
        if (await holds()) return
      } catch (error) {
        because = `\nThe last error: ${(error as Error).message}`
      }
      if (performance.now() > deadline)
        throw new Error(`not within ${deadlineMs} ms: ${what}${because}\n${this.lastWords}`)
      // The machine has better things to do than to be asked a hundred times a second.
      await delay(50)
    }
  }

  /** The end of the process's log. */
  get lastWords(): string {
    return this.#run!.stderr().slice(-3000)
  }

  /** Writes a row at the source. */
  async mark(): Promise<Mark> {
    const id = ++this.#marks
    await this.sql(`INSERT INTO marks VALUES (${id})`)
    const [row] = await this.sql<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
    return { id, lsn: row!.lsn }
  }

  /** Waits until the row has arrived: everything committed before it is on its way, and the pipeline works. */
  async arrived({ id }: Mark, deadlineMs: number): Promise<void> {
    const query = `SELECT count() AS n FROM marks__current WHERE id = ${id}`
    await this.until(
      `mark ${id} arrives`,
      async () => {
        const result = await this.target.query({ query, format: 'JSONEachRow' })
        return Number((await result.json<{ n: string }>())[0]!.n) === 1
      },
      deadlineMs,
    )
  }

  /** Waits until the source was told that it may forget the log up to the row. */
  async confirmed({ id, lsn }: Mark, deadlineMs: number): Promise<void> {
    await this.until(
      `the slot is confirmed up to mark ${id}`,
      async () => {
        const found = await this.sql(
          `SELECT 1 FROM pg_replication_slots WHERE slot_name = 'sluice_${name}' AND confirmed_flush_lsn >= '${lsn}'`,
        )
        return found.length === 1
      },
      deadlineMs,
    )
  }

  /** Bytes of WAL that the slot keeps on the server, and all slots there are. */
  async retention(): Promise<{ readonly bytes: number; readonly slots: readonly string[] }> {
    const rows = await this.sql<{ slot: string; bytes: string }>(
      `SELECT slot_name AS slot, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text AS bytes
       FROM pg_replication_slots WHERE restart_lsn IS NOT NULL`,
    )
    const own = rows.find(({ slot }) => slot === `sluice_${name}`)
    return { bytes: Number(own?.bytes ?? 0), slots: rows.map(({ slot }) => slot) }
  }

  /** The server's process that sends the log; null when there is none. */
  async walSender(): Promise<number | null> {
    const [row] = await this.sql<{ pid: number | null }>(
      `SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = 'sluice_${name}'`,
    )
    return row?.pid ?? null
  }

  /** What differs between source and target now. */
  async differences(tables: readonly string[]): Promise<readonly string[]> {
    const client = new pg.Client({ connectionString: this.postgres.url })
    await client.connect()
    try {
      const found: string[] = []
      for (const table of tables) found.push(...(await differences(client, this.target, table)))
      return found
    } finally {
      await client.end()
    }
  }

  async sql<Row extends pg.QueryResultRow>(text: string): Promise<readonly Row[]> {
    const client = new pg.Client({ connectionString: this.postgres.url })
    client.on('error', () => {})
    await client.connect()
    try {
      return (await client.query<Row>(text)).rows
    } finally {
      await client.end().catch(() => {})
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#run !== null) await this.end('SIGKILL')
    await this.target.close()
    await Promise.all([this.sourceLink[Symbol.asyncDispose](), this.sinkLink[Symbol.asyncDispose]()])
    await Promise.all([this.postgres.stop(), this.clickhouse.stop()])
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function linkTo({ host, port }: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  return TcpProxy.start({ host, port })
}
