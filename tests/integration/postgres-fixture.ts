import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourceContext } from '../../src/core/source.ts'
import { line, Mirror } from '../support/mirror.ts'
import { type OnWrite, RunningSource } from '../support/running-source.ts'
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
export class SourceRun extends RunningSource<PostgresSource> {
  readonly #options: SourceOptions

  private constructor(options: SourceOptions, mirror: Mirror) {
    super(newSource(options), mirror)
    this.#options = options
  }

  /** Connects, and streams from the position. */
  static start(
    options: SourceOptions,
    from: SourcePosition | null,
    mirror = new Mirror(),
    onWrite: OnWrite = () => {},
  ): Promise<SourceRun> {
    return new SourceRun(options, mirror).begin(contextOf(options), from, onWrite)
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
