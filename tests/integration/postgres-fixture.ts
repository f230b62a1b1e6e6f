import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import type { CoreError } from '../../src/core/error.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourceContext } from '../../src/core/source.ts'
import { line, Mirror, stored } from '../support/mirror.ts'
import { renderedRows, sql } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'

/** The rows of a table as the server itself writes them under the documented session, sorted; the oracle. */
export async function readRows(url: string, table: string, columns = '*'): Promise<readonly string[]> {
  return (await renderedRows(url, table, columns)).map(line).sort()
}

const QUIET = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

export interface SourceOptions {
  readonly url: string
  /** Unique on the server: slot and publication are named after it. */
  readonly pipeline: string
  readonly tables?: readonly string[]
  readonly config?: Partial<PostgresConfig>
  readonly pagesPerRange?: number
  readonly walPerCall?: bigint
  readonly log?: ConnectorContext['log']
}

export function newSource(options: SourceOptions): PostgresSource {
  const config: PostgresConfig = {
    url: new Secret(options.url),
    copyWorkers: 2,
    catchUp: 'off',
    catchUpThreshold: 1,
    heartbeat: 20,
    schemaPoll: 50,
    lockTimeout: 20_000,
    ...options.config,
  }
  const { pagesPerRange, walPerCall } = options
  return new PostgresSource(config, {
    ...(pagesPerRange === undefined ? {} : { pagesPerRange }),
    ...(walPerCall === undefined ? {} : { walPerCall }),
  })
}

export function contextOf(options: SourceOptions): SourceContext {
  return {
    pipeline: options.pipeline,
    log: options.log ?? QUIET,
    now: () => Date.now(),
    run: 1,
    tables: selectTables(options.tables ?? ['public.*']),
  }
}

/** A source at work, into a mirror. */
export class SourceRun implements AsyncDisposable {
  readonly mirror: Mirror
  readonly source: PostgresSource
  readonly #controller = new AbortController()
  readonly #options: SourceOptions
  #done: Promise<void> = Promise.resolve()
  /** Why `stream` ended by itself. */
  failure: CoreError | null = null
  ended = false

  private constructor(options: SourceOptions, mirror: Mirror) {
    this.#options = options
    this.mirror = mirror
    this.source = newSource(options)
  }

  /** Connects, and streams from the position. `onWrite` may hold the source up, or throw. */
  static async start(
    options: SourceOptions,
    from: SourcePosition | null,
    mirror = new Mirror(),
    onWrite: (batch: RecordBatch) => void | Promise<void> = () => {},
  ): Promise<SourceRun> {
    const run = new SourceRun(options, mirror)
    await run.source.connect(contextOf(options))
    const write = (batch: RecordBatch): void | Promise<void> => {
      mirror.apply(batch)
      return onWrite(batch)
    }
    run.#done = run.source.stream({ signal: run.#controller.signal, write }, from).then(
      () => void (run.ended = true),
      (error: unknown) => {
        run.ended = true
        run.failure = error as CoreError
      },
    )
    return run
  }

  /** Waits until everything that is committed by now has been handed over. */
  async settled(): Promise<void> {
    const order = await this.#head()
    await this.until(`the source has read to ${order}`, () => this.#hasRead(order))
  }

  /** True when everything that is committed by now has been handed over. */
  async isSettled(): Promise<boolean> {
    return this.#hasRead(await this.#head())
  }

  async #head(): Promise<string> {
    const [row] = await sql<{ lsn: string }>(
      this.#options.url,
      'SELECT pg_current_wal_flush_lsn()::text AS lsn',
    )
    return orderOf(row!.lsn)
  }

  #hasRead(order: string): boolean {
    const copy = this.source.snapshotProgress()
    const copied = copy === null || copy.tablesDone === copy.tablesTotal
    return copied && (this.source.currentPosition()?.order ?? '') >= order
  }

  /** Waits for a condition; fails at once when the source fails. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    await waitFor(what, async () => {
      if (this.failure !== null) throw this.failure
      return holds()
    })
  }

  /** Waits until `stream` has failed. */
  async failed(): Promise<CoreError> {
    await waitFor('the source fails', () => this.ended)
    if (this.failure === null) throw new Error('the source ended without an error')
    return this.failure
  }

  abort(): void {
    this.#controller.abort()
  }

  get done(): Promise<void> {
    return this.#done
  }

  /** Stops, and gives the last position. */
  async stop(): Promise<SourcePosition | null> {
    this.abort()
    await this.#done
    const position = this.source.currentPosition()
    await this.source.disconnect()
    return position === null ? null : stored(position)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** `order` of a stream position at this LSN. */
function orderOf(lsn: string): string {
  const [high, low] = lsn.split('/').map((half) => half.toLowerCase().padStart(8, '0'))
  return `${high}${low}.00000000`
}

export function lsnOf(position: SourcePosition): string {
  return (position.resume as { readonly [key: string]: Json })['lsn'] as string
}

/** Copies and streams until everything is there, then stops. */
export async function copyAndStop(
  options: SourceOptions,
  mirror = new Mirror(),
): Promise<{ mirror: Mirror; position: SourcePosition }> {
  await using run = await SourceRun.start(options, null, mirror)
  await run.settled()
  return { mirror, position: (await run.stop())! }
}

/** Reads everything from the position on, then stops. */
export async function resume(
  options: SourceOptions,
  from: SourcePosition,
  mirror = new Mirror(),
): Promise<Mirror> {
  await using run = await SourceRun.start(options, from, mirror)
  await run.settled()
  return mirror
}

/** Removes the replication slots of a database: the servers that tests share have few. */
export async function dropSlots(url: string): Promise<void> {
  await waitFor('no slot of the database is in use', async () => {
    const rows = await sql(
      url,
      'SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND active',
    )
    return rows.length === 0
  })
  await sql(
    url,
    'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()',
  )
}
