/** What the system catalogs say about server, publication, slot and tables. Read-only. */
import type pg from 'pg'
import { parseArray } from '../../../core/array-text.ts'
import { isLiteral, type TableSelection } from '../../../core/selection.ts'
import type { Column, TableSchema } from '../../../core/table.ts'
import { tableVanished } from './errors.ts'
import { parseLsn, type StoredTable } from './position.ts'
import {
  baseOid,
  columnType,
  conversionOf,
  nativeName,
  type Conversion,
  type PgType,
  type PgTypes,
} from './types.ts'

/** How often the tables are read again when each time another one is dropped. */
const VANISHED_ATTEMPTS = 10

/** A column as pg_attribute has it. */
export interface CatalogColumn {
  readonly number: number
  readonly name: string
  readonly type: number
  readonly modifier: number
  readonly dimensions: number
  readonly notNull: boolean
  /** The transaction that changed its catalog row last: also when a rewrite left the type as it was. */
  readonly changedBy: string
  /** Text that rows older than the column show (pg_attribute.attmissingval); null without. */
  readonly missing: string | null
  /** Rows older than the column may hold values that no catalog tells: a default that the table was rewritten with. */
  readonly rewritten: boolean
}

export interface CatalogTable {
  readonly oid: number
  readonly namespace: string
  readonly name: string
  /** pg_class.relreplident: d default, f full, i index, n nothing. */
  readonly identity: string
  readonly partitioned: boolean
  /** pg_class.relfilenode: changes when the table is rewritten or truncated. */
  readonly file: number
  /** pg_class.relnatts: the highest attribute number, dropped columns included. */
  readonly lastNumber: number
  /** Names this table's entry in this publication; another one when either was removed and made again. */
  readonly membership: string
  /** Planner's estimate; 0 when never analysed. */
  readonly rows: number
  /** Heap pages of 8 KiB. */
  readonly pages: number
  /** Attribute numbers of the primary key, else of the replica identity index, else none. */
  readonly key: readonly number[]
  readonly columns: readonly CatalogColumn[]
  /** Filter of the publication, SQL; null without. */
  readonly rowFilter: string | null
  readonly selectable: boolean
  /** A policy would hide rows from us. */
  readonly rowSecurity: boolean
  readonly owned: boolean
}

export interface Publication {
  readonly viaRoot: boolean
  readonly operations: {
    readonly insert: boolean
    readonly update: boolean
    readonly delete: boolean
    readonly truncate: boolean
  }
}

export interface Slot {
  readonly plugin: string
  readonly database: string
  readonly active: boolean
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus: string | null
  readonly confirmed: bigint | null
}

export interface Server {
  /** For example 180004. */
  readonly version: number
  readonly walLevel: string
  readonly inRecovery: boolean
  readonly canReplicate: boolean
  readonly canCreateInDatabase: boolean
  readonly database: string
  readonly role: string
  readonly walSenderTimeoutMs: number
  readonly freeSlots: number
  readonly freeSenders: number
}

export async function readServer(client: pg.Client): Promise<Server> {
  const { rows } = await client.query<Record<string, never>>(`
    SELECT current_setting('server_version_num')::int AS version, current_setting('wal_level') AS wal_level,
           pg_is_in_recovery() AS in_recovery, current_database() AS database, current_user AS role,
           (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS can_replicate,
           has_database_privilege(current_database(), 'CREATE') AS can_create,
           (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout') AS timeout,
           current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots) AS free_slots,
           current_setting('max_wal_senders')::int - (SELECT count(*)::int FROM pg_stat_replication) AS free_senders`)
  const row = rows[0]!
  return {
    version: row['version']!,
    walLevel: row['wal_level']!,
    inRecovery: row['in_recovery']!,
    canReplicate: row['can_replicate'] ?? false,
    canCreateInDatabase: row['can_create']!,
    database: row['database']!,
    role: row['role']!,
    walSenderTimeoutMs: row['timeout']!,
    freeSlots: row['free_slots']!,
    freeSenders: row['free_senders']!,
  }
}

export async function readPublication(client: pg.Client, name: string): Promise<Publication | null> {
  const { rows } = await client.query<Record<string, boolean>>(
    'SELECT pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname = $1',
    [name],
  )
  const row = rows[0]
  if (row === undefined) return null
  return {
    viaRoot: row['pubviaroot']!,
    operations: {
      insert: row['pubinsert']!,
      update: row['pubupdate']!,
      delete: row['pubdelete']!,
      truncate: row['pubtruncate']!,
    },
  }
}

export async function readSlot(client: pg.Client, name: string): Promise<Slot | null> {
  const { rows } = await client.query<Record<string, never>>(
    `SELECT plugin, database, active, wal_status, confirmed_flush_lsn::text AS confirmed
     FROM pg_replication_slots WHERE slot_name = $1`,
    [name],
  )
  const row = rows[0]
  if (row === undefined) return null
  return {
    plugin: row['plugin'] ?? 'physical',
    database: row['database'] ?? '',
    active: row['active']!,
    walStatus: row['wal_status'] ?? null,
    confirmed: row['confirmed'] === null ? null : parseLsn(row['confirmed']!),
  }
}

/** All of pg_type, a few hundred rows. */
export async function readTypes(client: pg.Client): Promise<PgTypes> {
  // int2vector (22) and oidvector (30) call themselves arrays but are written as "1 2 3".
  const { rows } = await client.query<Record<string, never>>(`
    SELECT oid::int8::text AS oid, typname, typtype, typbasetype::int8::text AS base, typtypmod, typndims,
           CASE WHEN typcategory = 'A' AND typlen = -1 AND oid NOT IN (22, 30) THEN typelem::int8 ELSE 0 END::text AS element
    FROM pg_type`)
  return new Map(
    rows.map((row): [number, PgType] => [
      Number(row['oid']),
      {
        oid: Number(row['oid']),
        name: row['typname']!,
        kind: row['typtype']!,
        element: Number(row['element']),
        base: Number(row['base']),
        baseModifier: row['typtypmod']!,
        dimensions: row['typndims']!,
      },
    ]),
  )
}

/** Who asks for tables: the publication when it exists, else everything that the selection would publish. */
export interface TableQuery {
  readonly publication: string | null
  readonly selection: TableSelection
  readonly serverVersion: number
}

/** `readTables` outside of transactions, where a table that is dropped at that very moment is no failure. */
export async function currentTables(client: pg.Client, query: TableQuery): Promise<readonly CatalogTable[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readTables(client, query)
    } catch (error) {
      if (attempt === VANISHED_ATTEMPTS || !tableVanished(error)) throw error
    }
  }
}

/**
 * The tables that are (or would be) published and are selected, ordered by name. One statement reads everything about
 * them: between two the table may be altered, and the file of before with the columns of after hides a rewrite.
 */
export async function readTables(client: pg.Client, query: TableQuery): Promise<readonly CatalogTable[]> {
  // Column lists and row filters exist since 15; before, all columns that are not generated are published.
  const modern = query.serverVersion >= 150_000
  const published =
    query.publication === null
      ? `SELECT n.nspname AS schemaname, c.relname AS tablename, NULL::name[] AS attnames, NULL::text AS rowfilter
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
           AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'`
      : `SELECT schemaname, tablename, ${modern ? 'attnames, rowfilter' : 'NULL::name[] AS attnames, NULL::text AS rowfilter'}
         FROM pg_publication_tables WHERE pubname = ${literal(query.publication)}`
  const bySchema = modern
    ? `(SELECT s.oid FROM pg_publication_namespace s WHERE s.pnpubid = b.oid AND s.pnnspid = c.relnamespace)`
    : 'NULL'
  const membership =
    query.publication === null
      ? `''`
      : `(SELECT concat_ws('/', b.oid, coalesce(
           (SELECT r.oid FROM pg_publication_rel r WHERE r.prpubid = b.oid AND r.prrelid = c.oid), ${bySchema}))
         FROM pg_publication b WHERE b.pubname = ${literal(query.publication)})`
  const from = `FROM (${published}) p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename`
  const names = await client.query<Record<string, never>>(
    `SELECT c.oid::int8::text AS oid, n.nspname, c.relname ${from}`,
  )
  const selected = names.rows.filter((row) => query.selection.includes(row['nspname']!, row['relname']!))
  if (selected.length === 0) return []
  const tables = await client.query<Record<string, never>>(`
    SELECT ${membership} AS membership, c.oid::int8::text AS oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relfilenode::int8::text AS file, c.relnatts::int AS lastnumber,
           greatest(c.reltuples, 0)::float8 AS rows, p.attnames::text[] AS attnames, p.rowfilter,
           CASE WHEN c.relkind = 'p' THEN 0 ELSE pg_relation_size(c.oid) / current_setting('block_size')::int8 END::float8 AS pages,
           has_table_privilege(c.oid, 'SELECT') AS selectable, row_security_active(c.oid) AS row_security, pg_has_role(c.relowner, 'USAGE') AS owned,
           (SELECT array_agg(k.number::int ORDER BY k.place) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(number, place)
            WHERE i.indrelid = c.oid AND k.place <= i.indnkeyatts
              AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END) AS key,
           (SELECT json_agg(json_build_object('changed', a.xmin::text, 'attnum', a.attnum, 'attname', a.attname,
                     'type', a.atttypid::int8::text, 'atttypmod', a.atttypmod, 'attndims', a.attndims, 'attnotnull', a.attnotnull,
                     'missing', a.attmissingval::text, 'generated', a.attgenerated <> '',
                     'rewritten', NOT a.atthasmissing AND (a.atthasdef OR a.attidentity <> '')) ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
    ${from}
    WHERE c.oid IN (${selected.map((row) => String(row['oid'])).join(',')})
    ORDER BY n.nspname, c.relname`)
  return tables.rows.map((row) => {
    const listed = row['attnames'] as unknown as readonly string[] | null
    const all = (row['columns'] as unknown as readonly Record<string, never>[] | null) ?? []
    // 15 to 17 list generated columns although they are not sent; from 18 on they are listed when they are.
    const visible = all.filter(
      (column) =>
        (listed?.includes(String(column['attname'])) ?? true) &&
        (!column['generated'] || (listed !== null && query.serverVersion >= 180_000)),
    )
    return {
      oid: Number(row['oid']),
      namespace: row['nspname']!,
      name: row['relname']!,
      identity: row['relreplident']!,
      partitioned: row['relkind'] === 'p',
      file: Number(row['file']),
      lastNumber: row['lastnumber']!,
      membership: row['membership']!,
      rows: row['rows']!,
      pages: row['pages']!,
      key: row['key'] ?? [],
      rowFilter: row['rowfilter'] ?? null,
      selectable: row['selectable']!,
      rowSecurity: row['row_security']!,
      owned: row['owned']!,
      columns: visible.map(catalogColumn),
    }
  })
}

function catalogColumn(row: Record<string, never>): CatalogColumn {
  const missing: string | null = row['missing'] ?? null
  return {
    number: row['attnum']!,
    name: row['attname']!,
    type: Number(row['type']),
    modifier: row['atttypmod']!,
    dimensions: row['attndims']!,
    notNull: row['attnotnull']!,
    changedBy: row['changed']!,
    // attmissingval is an array of one element; an array-typed column's element is a nested list.
    missing: missing === null ? null : missingText(missing),
    rewritten: row['rewritten']!,
  }
}

function missingText(text: string): string | null {
  if (text.startsWith('{{')) return text.slice(1, -1)
  const [value] = parseArray(text, (element) => element)
  return typeof value === 'string' ? value : null
}

/** The table as core describes it, with what is needed to recognise it in the stream. */
export function storedTable(
  table: CatalogTable,
  types: PgTypes,
  copiedAt: string | null,
  version = 1,
): StoredTable {
  const columns = table.columns.map((column) => describeColumn(column, types))
  const key = table.key.map((number) => table.columns.findIndex((column) => column.number === number))
  const schema: TableSchema = {
    namespace: table.namespace,
    name: table.name,
    columns,
    key: key.includes(-1) ? [] : key,
    version,
  }
  const columnTypes = table.columns.map((column) => [column.type, column.modifier] as const)
  return {
    oid: table.oid,
    copiedAt,
    schema,
    types: columnTypes,
    file: table.file,
    lastNumber: table.lastNumber,
    membership: table.membership,
    changedBy: changesOf(table),
  }
}

/** By attribute number, the transaction that changed the column last. */
export function changesOf(table: CatalogTable): Readonly<Record<string, string>> {
  return Object.fromEntries(table.columns.map((column) => [column.number, column.changedBy]))
}

export function describeColumn(column: CatalogColumn, types: PgTypes): Column {
  return {
    id: String(column.number),
    name: column.name,
    type: columnType(types, column.type, column.modifier, column.dimensions),
    nullable: !column.notNull,
    native: nativeName(types, column.type, column.modifier),
  }
}

/** Per column what `cells.ts` has to do; null when nothing. */
export function conversions(stored: StoredTable, types: PgTypes): Uint8Array | null {
  const out = stored.schema.columns.map((column, index): Conversion =>
    conversionOf(column.type, baseOid(types, stored.types[index]![0])),
  )
  return out.some((conversion) => conversion !== 0) ? Uint8Array.from(out) : null
}

/** Tables named without a wildcard that are not among `tables`. */
export function missingTables(selection: TableSelection, tables: readonly CatalogTable[]): readonly string[] {
  const names = new Set(tables.map((table) => `${table.namespace}.${table.name}`))
  return selection.patterns.filter((pattern) => isLiteral(pattern) && !names.has(pattern))
}

/** A quoted identifier. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A quoted string constant, for statements that take no parameters (replication commands). */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
