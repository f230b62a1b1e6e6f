/** Reads tables as of one moment, for comparisons: the same statements, types and decoders as the copy. */
import type pg from 'pg'
import { ConnectionError, type CoreError, SchemaError } from '../../../core/error.ts'
import type { PackedRows } from '../../../core/packed-rows.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type {
  KeyRange,
  PackedKeys,
  RowConsumer,
  SourceReader,
  SourceSnapshot,
} from '../../../core/row-reader.ts'
import type { SourceContext } from '../../../core/source.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import {
  type CatalogTable,
  conversions,
  identifier,
  literal,
  readPublication,
  readServer,
  readTables,
  readTypes,
  storedTable,
} from './catalog.ts'
import type { PostgresConfig } from './config.ts'
import { CopyDecoder } from './copy-decoder.ts'
import { postgresError } from './errors.ts'
import { keyRanges } from './key-ranges.ts'
import { applicationName, namesOf } from './names.ts'
import { halves, parseLsn, snapshotVersion, streamPosition } from './position.ts'
import { openClient } from './session.ts'
import { createSlot } from './slot.ts'
import { copyStatement } from './snapshot.ts'
import { WireReader } from './wire.ts'

/** Keys that are looked up by one statement, and the length of them as SQL. */
const WINDOW_KEYS = 4096
const WINDOW_SQL = 1_000_000

/** A guess, for tables that were never analysed. */
const ROWS_PER_PAGE = 60

interface Request {
  readonly config: PostgresConfig
  readonly context: SourceContext
  readonly pagesPerKeyRange: number
}

export class PostgresReader implements SourceReader {
  readonly #request: Request

  private constructor(request: Request) {
    this.#request = request
  }

  /** Connects when a snapshot is asked for. */
  static async open(
    config: PostgresConfig,
    context: SourceContext,
    pagesPerKeyRange: number,
  ): Promise<PostgresReader> {
    return new PostgresReader({ config, context, pagesPerKeyRange })
  }

  snapshot(exact: boolean): Promise<SourceSnapshot> {
    return PostgresSnapshot.take(this.#request, exact)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

interface ReadTable {
  readonly catalog: CatalogTable
  readonly schema: TableSchema
  readonly conversions: Uint8Array | null
}

class PostgresSnapshot implements SourceSnapshot {
  readonly position: SourcePosition
  readonly version: bigint | null
  readonly tables: readonly TableSchema[]
  readonly #request: Request
  readonly #name: string
  readonly #tables: ReadonlyMap<string, ReadTable>
  readonly #idle: pg.Client[] = []
  readonly #all = new Set<pg.Client>()

  private constructor(request: Request, taken: Taken, tables: readonly ReadTable[]) {
    this.#request = request
    this.#name = taken.name
    this.position = positionOf(taken.lsn)
    this.version = taken.exact ? snapshotVersion(taken.lsn) : null
    this.tables = tables.map(({ schema }) => schema)
    this.#tables = new Map(tables.map((table) => [tableName(table.schema), table]))
    this.#all.add(taken.holder)
  }

  static async take(request: Request, exact: boolean): Promise<PostgresSnapshot> {
    const { config, context } = request
    const open = (replication: boolean): Promise<pg.Client> =>
      openClient(config.url.reveal(), applicationName(context), replication)
    const holder = await open(exact)
    // A connection for replication takes no statements with parameters.
    const client = exact ? await open(false).catch((error) => closed(holder, error)) : holder
    try {
      const taken = exact ? await takeExact(holder, config, context) : await takePlain(holder)
      if (exact) await share(client, taken.name)
      const { publication } = namesOf(config, context)
      const server = await readServer(client)
      const exists = (await readPublication(client, publication)) !== null
      const catalog = await readTables(client, {
        publication: exists ? publication : null,
        selection: context.tables,
        serverVersion: server.version,
      })
      const types = await readTypes(client)
      if (exact) await client.query('COMMIT')
      const tables = catalog.map((table) => {
        const stored = storedTable(table, types, null)
        return { catalog: table, schema: stored.schema, conversions: conversions(stored, types) }
      })
      const snapshot = new PostgresSnapshot(request, taken, tables)
      if (exact) snapshot.#idle.push(client)
      snapshot.#all.add(client)
      return snapshot
    } catch (error) {
      await client.end().catch(() => {})
      return await closed(holder, postgresError(error, 'take a snapshot'))
    }
  }

  rowCount(table: TableSchema): number {
    const { rows, pages } = this.#table(table).catalog
    return rows > 0 ? rows : pages * ROWS_PER_PAGE
  }

  async ranges(table: TableSchema): Promise<readonly KeyRange[]> {
    const { pagesPerKeyRange } = this.#request
    return this.#with(table, (client) =>
      keyRanges(client, this.#table(table).catalog, table, pagesPerKeyRange),
    )
  }

  async scan(table: TableSchema, range: KeyRange, out: RowConsumer): Promise<void> {
    const column = identifier(table.columns[table.key[0] ?? 0]!.name)
    const conditions = [
      ...(range.from === null ? [] : [`${column} >= ${constant(range.from)}`]),
      ...(range.to === null ? [] : [`${column} < ${constant(range.to)}`]),
    ]
    await this.#copy(table, conditions.length === 0 ? null : conditions.join(' AND '), out)
  }

  async find(table: TableSchema, keys: PackedKeys, out: RowConsumer): Promise<void> {
    const all = Array.from({ length: keys.rowCount }, (_, row) => row)
    for (let at = 0; at < all.length;) {
      let length = 0
      const from = at
      const window: (readonly string[])[] = []
      for (; at < all.length && at - from < WINDOW_KEYS && length < WINDOW_SQL; at++) {
        const key = keyConstants(table, keys, at)
        if (key === null) continue
        window.push(key)
        length += key.reduce((sum, part) => sum + part.length, 0)
      }
      if (window.length > 0) await this.#findAll(table, window, out)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((client) => client.end().catch(() => {})))
  }

  /** A key of another database may be no value of its type here: it is found out and left out. */
  async #findAll(
    table: TableSchema,
    window: readonly (readonly string[])[],
    out: RowConsumer,
  ): Promise<void> {
    const columns = table.key.map((index) => identifier(table.columns[index]!.name))
    const list = window.map((key) => `(${key.join(', ')})`).join(', ')
    try {
      await this.#copy(table, `(${columns.join(', ')}) IN (${list})`, out, refuseRewritten)
    } catch (error) {
      if (!(error instanceof NotAValueError)) throw error
      if (window.length === 1) return
      const half = window.length >> 1
      await this.#findAll(table, window.slice(0, half), out)
      await this.#findAll(table, window.slice(half), out)
    }
  }

  async #copy(
    table: TableSchema,
    where: string | null,
    out: RowConsumer,
    then: ((client: pg.Client, catalog: CatalogTable) => Promise<void>) | null = null,
  ): Promise<void> {
    const { catalog, conversions: needed } = this.#table(table)
    await this.#with(table, async (client) => {
      const decoder = new CopyDecoder(table, needed, 1n)
      const write = (batch: { readonly rows: PackedRows | null }): void | Promise<void> => out(batch.rows!)
      const reader = new WireReader(client, decoder, { write })
      await Promise.race([client.query(copyStatement(catalog, where)), reader.failure])
      await reader.finish()
      await then?.(client, catalog)
    })
  }

  /**
   * Runs `work` on a connection that sees the snapshot, in a transaction of its own: its locks must not outlive it, as
   * whoever waits for one holds up everybody else. A connection that failed is not used again.
   */
  async #with<A>(table: TableSchema, work: (client: pg.Client) => Promise<A>): Promise<A> {
    const client = this.#idle.pop() ?? (await this.#worker())
    try {
      await share(client, this.#name)
      const result = await work(client)
      await client.query('COMMIT')
      this.#idle.push(client)
      return result
    } catch (error) {
      this.#all.delete(client)
      // Cut off: the server may still be sending rows.
      ;(client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
      await client.end().catch(() => {})
      throw readError(error, `read the table ${tableName(table)}`)
    }
  }

  async #worker(): Promise<pg.Client> {
    const { config, context } = this.#request
    const client = await openClient(config.url.reveal(), applicationName(context))
    this.#all.add(client)
    return client
  }

  #table(table: TableSchema): ReadTable {
    return this.#tables.get(tableName(table))!
  }
}

/** A snapshot that a connection holds. */
interface Taken {
  readonly holder: pg.Client
  readonly name: string
  readonly lsn: bigint
  readonly exact: boolean
}

async function closed(client: pg.Client, error: unknown): Promise<never> {
  await client.end().catch(() => {})
  throw error
}

/** Lets a connection see the snapshot of another. */
async function share(client: pg.Client, name: string): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  await client.query(`SET TRANSACTION SNAPSHOT ${literal(name)}`)
}

/**
 * A table that was truncated or rewritten looks empty to older snapshots (PostgreSQL documentation, "MVCC Caveats"): rows
 * that are looked up must not be taken for deleted. pg_relation_filenode looks past the snapshot, pg_class does not. Called after
 * reading, with the lock that keeps both away.
 */
async function refuseRewritten(client: pg.Client, { oid, namespace, name }: CatalogTable): Promise<void> {
  const { rows } = await client.query(
    `SELECT 1 FROM (SELECT ${oid}::oid AS oid UNION SELECT relid FROM pg_partition_tree(${oid}::oid::regclass)) t
     LEFT JOIN pg_class c ON c.oid = t.oid
     WHERE c.oid IS NULL OR (c.relfilenode <> 0 AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode) LIMIT 1`,
  )
  if (rows.length === 0) return
  throw new ConnectionError(
    'postgres/table-rewritten',
    `the table ${namespace}.${name} was truncated or rewritten while it was read`,
    { fix: 'Nothing to do: it is read again.' },
  )
}

/** Everything visible is at or before the end of the WAL that is read afterwards. */
async function takePlain(holder: pg.Client): Promise<Taken> {
  await holder.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  const exported = await holder.query<{ name: string }>('SELECT pg_export_snapshot() AS name')
  const end = await holder.query<{ lsn: string; page: string }>(
    `SELECT pg_current_wal_insert_lsn()::text AS lsn, current_setting('wal_block_size') AS page`,
  )
  const { lsn, page } = end.rows[0]!
  return {
    holder,
    name: exported.rows[0]!.name,
    lsn: endOfRecord(parseLsn(lsn), BigInt(page)),
    exact: false,
  }
}

/** A slot is made in a snapshot that sees exactly what is before its LSN; a temporary one goes with the connection. */
async function takeExact(holder: pg.Client, config: PostgresConfig, context: SourceContext): Promise<Taken> {
  const { slot } = namesOf(config, context)
  const { lsn, snapshot } = await createSlot(holder, `${slot.slice(0, 45)}_repair_${process.pid}`, {
    temporary: true,
    lockTimeoutMs: config.lockTimeout,
  })
  return { holder, name: snapshot, lsn, exact: true }
}

/**
 * The insert position at the beginning of a page lies behind the page's header, of 24 or 40 bytes, where no record
 * ends: an idle stream would never come to it.
 */
export function endOfRecord(lsn: bigint, pageSize: bigint): bigint {
  const inPage = lsn % pageSize
  return inPage <= 40n ? lsn - inPage : lsn
}

function positionOf(lsn: bigint): SourcePosition {
  const [high, low] = halves(lsn)
  return streamPosition(high, low, '', {})
}

/** The key as SQL constants; null when PostgreSQL cannot have it. */
function keyConstants(table: TableSchema, keys: PackedKeys, row: number): readonly string[] | null {
  const first = keys.newImage[row]!
  const parts: string[] = []
  for (const [at, index] of table.key.entries()) {
    const cell = (first + at) * 2
    const length = keys.cells[cell + 1]!
    if (length < 0) return null
    const start = keys.cells[cell]!
    const isBytes = table.columns[index]!.type.kind === 'bytes'
    const text = isBytes
      ? `\\x${keys.arena.toString('hex', start, start + length)}`
      : keys.arena.utf8Slice(start, start + length)
    if (text.includes('\0')) return null
    parts.push(constant(text))
  }
  return parts
}

/** Understood the same whatever `standard_conforming_strings` is. The server finds the type of the column by itself. */
function constant(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A constant is no value of its column's type. */
class NotAValueError extends SchemaError {}

function readError(error: unknown, doing: string): CoreError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code.startsWith('22'))
    return new NotAValueError('postgres/server-error', `cannot ${doing}: SQLSTATE ${code}`, {
      fix: 'See the server log for the statement.',
      cause: error,
    })
  if (code !== '42703' && code !== '42P01') return postgresError(error, doing)
  return new ConnectionError('postgres/table-changed', `cannot ${doing}: its schema was changed meanwhile`, {
    fix: 'Nothing to do: it is read again.',
    cause: error,
  })
}
