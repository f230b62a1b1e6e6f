import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import type { CoreError } from '../../src/core/error.ts'
import { CellState } from '../../src/core/packed-rows.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import type { RowView } from '../../src/core/row-view.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourceContext } from '../../src/core/source.ts'
import { type TableSchema, tableName } from '../../src/core/table.ts'
import { renderedRows, sql } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'

export const UNCHANGED_TEXT = '<unchanged>'

type TextRow = Record<string, string | null>

interface MirrorTable {
  schema: TableSchema
  rows: Map<string, TextRow>
}

/**
 * What a sink would have, as raw text of the cells: bytes as hex, no JS values in between. Strict: a change that does
 * not fit (a row of a table that was not announced, an unchanged cell without a stored row) throws.
 */
export class Mirror {
  readonly tables = new Map<string, MirrorTable>()
  /** One line per record of the stream, in order. */
  readonly history: string[] = []
  /** Every position that was handed over, with the length of `history` at that moment. */
  readonly positions: {
    readonly position: SourcePosition
    readonly at: number
    readonly isCommit: boolean
  }[] = []
  /** `kind table` of the stream, without announcements. */
  readonly schemaChanges: string[] = []
  /** Rows of copies by table. */
  readonly copied = new Map<string, number>()
  batches = 0

  /** The last position, as it comes back from a checkpoint store. */
  get position(): SourcePosition | null {
    const last = this.positions.at(-1)
    return last === undefined ? null : stored(last.position)
  }

  apply(batch: RecordBatch): void {
    this.batches++
    for (const record of batch) {
      switch (record._tag) {
        case 'SchemaChange':
          this.#change(record)
          break
        case 'Insert': {
          const name = tableName(record.table)
          if (record.origin === 'snapshot') this.copied.set(name, (this.copied.get(name) ?? 0) + 1)
          else this.history.push(`insert ${name} ${JSON.stringify(textOf(record.after))}`)
          this.#put(record.after, null)
          break
        }
        case 'Update':
          this.history.push(
            `update ${tableName(record.table)} ${JSON.stringify(textOf(record.after))} before ${record.before === null ? 'null' : JSON.stringify(textOf(record.before))}`,
          )
          this.#put(record.after, record.before)
          break
        case 'Delete':
          this.history.push(`delete ${tableName(record.table)} ${JSON.stringify(textOf(record.before))}`)
          this.#table(record.table).rows.delete(keyOf(record.before))
          break
        case 'Begin':
          this.history.push('begin')
          break
        case 'Commit':
          this.history.push('commit')
          this.#note(record.position, true)
          break
        case 'Heartbeat':
          this.#note(record.position, false)
          break
      }
    }
  }

  /** Rows as sorted JSON, to compare with `readRows`. */
  rows(table: string): readonly string[] {
    return [...(this.tables.get(table)?.rows.values() ?? [])].map(line).sort()
  }

  columns(table: string): readonly string[] {
    return this.tables.get(table)!.schema.columns.map(({ name }) => name)
  }

  #note(position: SourcePosition, isCommit: boolean): void {
    this.positions.push({ position, at: this.history.length, isCommit })
  }

  #change({ table, change, before, origin }: SchemaChange): void {
    const name = tableName(table)
    const known = this.tables.get(name)
    if (change.kind !== 'create-table') {
      if (origin === 'stream') {
        this.history.push(`${change.kind} ${name}`)
        this.schemaChanges.push(`${change.kind} ${name}`)
      }
      if (change.kind === 'drop-table') {
        this.tables.delete(name)
        return
      }
      if (before === null || known === undefined)
        throw new Error(`${change.kind} of ${name}, which was not announced`)
    }
    if (known === undefined) {
      this.tables.set(name, { schema: table, rows: new Map() })
      return
    }
    const from = known.schema.columns
    const names = table.columns.map(({ name: column }) => column)
    if (new Set(names).size !== names.length)
      throw new Error(`two columns of ${name} have the same name: ${names.join(', ')}`)
    for (const [key, row] of known.rows) {
      const cells = table.columns.map((column): [string, string | null] => {
        const old = from.find(({ id }) => id === column.id)
        return [column.name, old === undefined ? (column.addedDefault ?? null) : row[old.name]!]
      })
      known.rows.set(key, Object.fromEntries(cells))
    }
    known.schema = table
    if (change.kind === 'truncate') known.rows.clear()
  }

  #put(after: RowView, before: RowView | null): void {
    const { rows } = this.#table(after.table)
    const old = before === null ? undefined : rows.get(keyOf(before))
    if (before !== null) rows.delete(keyOf(before))
    const row = textOf(after)
    const base = old ?? rows.get(keyOf(after))
    for (const [name, value] of Object.entries(row)) {
      if (value !== UNCHANGED_TEXT) continue
      if (base === undefined)
        throw new Error(`${name} of ${tableName(after.table)} is unchanged, but nothing is stored`)
      row[name] = base[name]!
    }
    rows.set(keyOf(after), row)
  }

  #table(schema: TableSchema): MirrorTable {
    const table = this.tables.get(tableName(schema))
    if (table === undefined) throw new Error(`${tableName(schema)} was not announced`)
    const shape = (of: TableSchema): string => of.columns.map(({ name }) => name).join()
    if (shape(table.schema) !== shape(schema))
      throw new Error(`a row of ${tableName(schema)} has another shape than announced`)
    return table
  }
}

/** Cells by column name; absent ones are left out. */
function textOf(row: RowView): TextRow {
  const out: TextRow = {}
  for (const [index, column] of row.table.columns.entries()) {
    const state = row.state(index)
    if (state === CellState.absent) continue
    if (state === CellState.null) out[column.name] = null
    else if (state === CellState.unchanged) out[column.name] = UNCHANGED_TEXT
    else {
      const bytes = Buffer.from(row.bytes(index))
      out[column.name] = column.type.kind === 'bytes' ? `\\x${bytes.toString('hex')}` : bytes.toString('utf8')
    }
  }
  return out
}

function keyOf(row: RowView): string {
  return JSON.stringify(row.table.key.map((index) => Buffer.from(row.bytes(index)).toString('utf8')))
}

function line(row: Readonly<TextRow>): string {
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** A position after its way through a checkpoint store. */
export function stored(position: SourcePosition): SourcePosition {
  return JSON.parse(JSON.stringify(position)) as SourcePosition
}

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
