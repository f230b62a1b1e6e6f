/**
 * The first copy: all rows of some tables as of one snapshot, read by several connections with COPY. A large table is
 * cut into ranges of its pages (ctid), which need no key and no sort.
 */
import PQueue from 'p-queue'
import type pg from 'pg'
import { RecordBatch } from '../../../core/batch.ts'
import { ConnectionError, type CoreError, InternalError } from '../../../core/error.ts'
import { failpoint } from '../../../core/failpoint.ts'
import type { TableSelection } from '../../../core/selection.ts'
import type { BatchWriter, SnapshotProgress } from '../../../core/source.ts'
import { type CatalogTable, conversions, identifier, readTables, readTypes, storedTable } from './catalog.ts'
import { CopyDecoder } from './copy-decoder.ts'
import { postgresError } from './errors.ts'
import { copyPosition, formatLsn, type StoredTable } from './position.ts'
import type { SlotSnapshot } from './slot.ts'
import type { PgTypes } from './types.ts'
import { WireReader } from './wire.ts'

export interface CopyRequest {
  /** Holds the snapshot's transaction. */
  readonly replication: pg.Client
  readonly snapshot: SlotSnapshot
  readonly publication: string
  readonly selection: TableSelection
  readonly serverVersion: number
  readonly system: string
  /** Where the stream will go on; at a first start the snapshot itself. */
  readonly streamFrom: bigint
  /** Tables that are known and copied already; they stay as they are. */
  readonly known: Readonly<Record<string, StoredTable>>
  readonly workers: number
  /** Heap pages of 8 KiB that are copied by one statement; a table up to half as much again is not cut. */
  readonly pagesPerRange: number
  /** Number of the next position of a copy at `streamFrom`. */
  readonly nextStep: () => number
  readonly open: () => Promise<pg.Client>
  readonly out: BatchWriter
  readonly now: () => number
}

/** A part of a table: a WHERE clause, or null for all of it. */
interface Range {
  readonly table: CatalogTable
  readonly range: string | null
}

export class SnapshotCopy {
  readonly #request: CopyRequest
  #tables: Readonly<Record<string, StoredTable>>
  #done = 0
  #total = 0
  #rowsCopied = 0
  #rowsTotal = 0

  constructor(request: CopyRequest) {
    this.#request = request
    this.#tables = request.known
  }

  get progress(): SnapshotProgress {
    return {
      tablesDone: this.#done,
      tablesTotal: this.#total,
      rowsCopied: this.#rowsCopied,
      rowsTotal: Math.max(this.#rowsTotal, this.#rowsCopied),
    }
  }

  /** Copies and returns the tables as they are known now. Resolves early when `out.signal` is aborted. */
  async run(): Promise<Readonly<Record<string, StoredTable>>> {
    const { replication, known } = this.#request
    // Read in the snapshot's own transaction: the schema is the one that the copied rows have.
    const published = await readTables(replication, {
      publication: this.#request.publication,
      selection: this.#request.selection,
      serverVersion: this.#request.serverVersion,
    })
    const types = await readTypes(replication)
    const tables = published.filter((table) => (known[nameOf(table)]?.copiedAt ?? null) === null)
    await lockTables(replication, tables)
    await failpoint('snapshot-plan')
    this.#total = tables.length
    this.#rowsTotal = tables.reduce((sum, table) => sum + table.rows, 0)
    const ranges = tables.flatMap((table) =>
      rangesOf(table, this.#request.pagesPerRange).map((range) => ({ table, range })),
    )
    const idle = await this.#workers(Math.min(this.#request.workers, ranges.length), tables)
    try {
      await this.#announce(tables, types)
      await this.#copyAll(ranges, types, idle)
      // Nobody else would soon say that there is nothing to copy.
      if (tables.length === 0 && !this.#request.out.signal.aborted) await this.#tellPosition()
    } finally {
      await endAll(idle)
    }
    return this.#tables
  }

  async #announce(tables: readonly CatalogTable[], types: PgTypes): Promise<void> {
    const { known, out } = this.#request
    for (const table of tables) {
      const stored = storedTable(table, types, null, (known[nameOf(table)]?.schema.version ?? 0) + 1)
      this.#tables = { ...this.#tables, [nameOf(table)]: stored }
      for (const kind of ['create-table', 'truncate'] as const)
        await out.write(RecordBatch.ofTable(kind, stored.schema, 'snapshot'))
    }
  }

  async #copyAll(ranges: readonly Range[], types: PgTypes, idle: pg.Client[]): Promise<void> {
    const { out, snapshot } = this.#request
    const left = new Map<string, number>()
    for (const { table } of ranges) left.set(nameOf(table), (left.get(nameOf(table)) ?? 0) + 1)
    const queue = new PQueue({ concurrency: Math.max(1, idle.length) })
    try {
      const jobs = ranges.map(({ table, range }) =>
        queue.add(async () => {
          if (out.signal.aborted) return
          const client = idle.pop()!
          await this.#copyRange(client, table, range, types)
          idle.push(client)
          const name = nameOf(table)
          left.set(name, left.get(name)! - 1)
          if (left.get(name) === 0 && !out.signal.aborted) await this.#finishTable(name, snapshot.lsn)
        }),
      )
      await Promise.all(jobs)
    } finally {
      queue.clear()
    }
  }

  /** Connections that see the slot's snapshot. All are made, or none. */
  async #workers(count: number, tables: readonly CatalogTable[]): Promise<pg.Client[]> {
    const made = await Promise.allSettled(Array.from({ length: count }, () => this.#worker(tables)))
    const workers = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    const failed = made.find((one) => one.status === 'rejected')
    if (failed === undefined) return workers
    await endAll(workers)
    throw failed.reason
  }

  /**
   * Takes the locks of all tables now: later one might have to wait behind an ALTER that itself waits for the end of
   * the copy. When one waits already, the copy makes way for it.
   */
  async #worker(tables: readonly CatalogTable[]): Promise<pg.Client> {
    const client = await this.#request.open()
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      await client.query(`SET TRANSACTION SNAPSHOT '${this.#request.snapshot.snapshot}'`)
      await client.query(`LOCK TABLE ${listOf(tables)} IN ACCESS SHARE MODE NOWAIT`)
      return client
    } catch (error) {
      await client.end().catch(() => {})
      throw workerError(error)
    }
  }

  async #copyRange(
    client: pg.Client,
    table: CatalogTable,
    range: string | null,
    types: PgTypes,
  ): Promise<void> {
    const name = nameOf(table)
    const stored = this.#tables[name]!
    const decoder = new CopyDecoder(stored.schema, conversions(stored, types), this.#request.snapshot.lsn)
    const { out } = this.#request
    const counting = {
      write: (batch: RecordBatch): void | Promise<void> => {
        this.#rowsCopied += batch.rowCount
        return out.write(batch)
      },
    }
    const reader = new WireReader(client, decoder, counting)
    // A copy that nobody wants any more is cut off with its connection: there is nothing to keep.
    const abort = (): void =>
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
    out.signal.addEventListener('abort', abort, { once: true })
    try {
      if (out.signal.aborted) return
      await Promise.race([client.query(copyStatement(table, range)), reader.failure])
      await failpoint('snapshot-read')
      await reader.finish()
    } catch (error) {
      abort()
      if (out.signal.aborted) return
      throw copyError(error, `copy the table ${name}`)
    } finally {
      out.signal.removeEventListener('abort', abort)
    }
  }

  /** Notes in the position that the table is done: a restart does not read it again (law L2). */
  async #finishTable(name: string, lsn: bigint): Promise<void> {
    this.#tables = { ...this.#tables, [name]: { ...this.#tables[name]!, copiedAt: formatLsn(lsn) } }
    this.#done++
    await failpoint('snapshot-record')
    await this.#tellPosition()
  }

  async #tellPosition(): Promise<void> {
    const { out, streamFrom, system, nextStep } = this.#request
    const position = copyPosition(streamFrom, nextStep(), system, this.#tables)
    await out.write(RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: this.#request.now() }))
  }
}

function nameOf(table: CatalogTable): string {
  return `${table.namespace}.${table.name}`
}

async function endAll(clients: readonly pg.Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end().catch(() => {})))
}

function listOf(tables: readonly CatalogTable[]): string {
  return tables.map((table) => `${identifier(table.namespace)}.${identifier(table.name)}`).join(', ')
}

/**
 * Keeps ALTER, TRUNCATE and rewrites away until the copy is done, as they are not safe for a snapshot that is older
 * (PostgreSQL documentation, "MVCC Caveats"); then makes sure that none slipped in before the lock.
 */
async function lockTables(client: pg.Client, tables: readonly CatalogTable[]): Promise<void> {
  if (tables.length === 0) return
  try {
    await client.query(`LOCK TABLE ${listOf(tables)} IN ACCESS SHARE MODE`)
  } catch (error) {
    throw copyError(error, 'lock the tables for reading')
  }
  // pg_relation_filenode looks past the snapshot, the catalog row that was read does not.
  const values = tables.map((table) => `(${table.oid}::oid, ${table.file}::int8)`).join(', ')
  const moved = await client.query<{ oid: string }>(
    `SELECT t.oid::text AS oid FROM (VALUES ${values}) AS t(oid, file)
     WHERE t.file <> 0 AND pg_relation_filenode(t.oid)::int8 IS DISTINCT FROM t.file`,
  )
  if (moved.rows.length > 0) {
    throw new ConnectionError(
      'postgres/table-rewritten',
      'a table was rewritten while the copy was being prepared',
      {
        fix: 'Nothing to do: the copy starts again.',
      },
    )
  }
}

/** A table or column that is missing was dropped or renamed after the snapshot: the next snapshot sees it so. */
function copyError(error: unknown, doing: string): CoreError {
  const code = codeOf(error)
  if (code !== '42703' && code !== '42P01') return postgresError(error, doing)
  return new ConnectionError(
    'postgres/table-changed',
    `cannot ${doing}: its schema was changed while the copy was being prepared`,
    {
      fix: 'Nothing to do: the copy starts again.',
      cause: error,
    },
  )
}

/** A lock that is not to be had at once is wanted by a schema change; a snapshot is gone with its connection. */
function workerError(error: unknown): CoreError {
  const doing = 'begin the copy'
  switch (codeOf(error)) {
    case '55P03':
      return new ConnectionError(
        'postgres/table-locked',
        `cannot ${doing}: a schema change waits for one of the tables`,
        {
          fix: 'Nothing to do: the copy makes way for it and starts again.',
          cause: error,
        },
      )
    case '42704':
    case '55000':
    // Older servers.
    case '22023':
      return new ConnectionError(
        'postgres/connection-lost',
        `cannot ${doing}: the connection that held its snapshot was lost`,
        {
          fix: 'Nothing to do: the copy starts again.',
          cause: error,
        },
      )
    default:
      return copyError(error, doing)
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null
}

/** WHERE clauses that together cover the table; null is the whole table. */
function rangesOf(table: CatalogTable, pagesPerRange: number): readonly (string | null)[] {
  if (table.partitioned || table.pages <= pagesPerRange * 1.5) return [null]
  const ranges: string[] = []
  for (let from = 0; from < table.pages; from += pagesPerRange) {
    const to = from + pagesPerRange
    // The last range is open: the table may have grown since its size was read.
    ranges.push(to < table.pages ? `ctid >= '(${from},0)' AND ctid < '(${to},0)'` : `ctid >= '(${from},0)'`)
  }
  return ranges
}

export function copyStatement(table: CatalogTable, range: string | null): string {
  if (table.columns.length === 0)
    throw new InternalError('postgres/no-columns', `the table ${nameOf(table)} has no columns`)
  const columns = table.columns.map((column) => identifier(column.name)).join(', ')
  const conditions = [range, table.rowFilter]
    .filter((condition) => condition !== null)
    .map((condition) => `(${condition})`)
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  // ONLY: rows of children by inheritance are published under the child's name.
  const only = table.partitioned ? '' : 'ONLY '
  return `COPY (SELECT ${columns} FROM ${only}${identifier(table.namespace)}.${identifier(table.name)}${where}) TO STDOUT`
}
