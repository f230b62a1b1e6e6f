import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { CAPABILITIES } from '../../src/connectors/sources/postgres/capabilities.ts'
import { parseLsn } from '../../src/connectors/sources/postgres/position.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Address } from '../../src/testkit/address.ts'
import type { KitChange, KitColumn, KitRow, KitType, KitValue, TextRow } from '../../src/testkit/change.ts'
import type {
  SourceBench,
  SourceHarness,
  SourceOptions,
  TypeSamples,
} from '../../src/testkit/source/harness.ts'
import { renderedRows, sql, type TestPostgres, testPostgres } from '../support/postgres.ts'
import { createSamples, insertSamples, OWN_TYPES, typesOfServer } from '../support/postgres-types.ts'
import { urlOf } from '../support/servers.ts'
import { waitFor } from '../support/wait-for.ts'

export const postgresHarness: SourceHarness = {
  capabilities: CAPABILITIES,
  async open() {
    const postgres = await testPostgres('kit')
    // A role of its own: its password cannot be in a message by chance, and it has no right that is not documented.
    const password = `secret-${randomBytes(12).toString('hex')}`
    const role = postgres.database
    await sql(
      urlOf('postgres'),
      `CREATE ROLE ${role} LOGIN REPLICATION PASSWORD '${password}'; ALTER DATABASE ${role} OWNER TO ${role}`,
    )
    const url = new URL(postgres.url)
    url.username = role
    url.password = password
    return new PostgresBench(postgres, url)
  },
}

const SQL_TYPES: Readonly<Record<KitType, string>> = {
  int: 'int4',
  bigint: 'int8',
  text: 'text',
  'large-text': 'text',
}

class PostgresBench implements SourceBench {
  readonly pipeline: string
  readonly tables = ['public.*']
  readonly secrets: readonly string[]
  readonly types: TypeSamples
  readonly address: Address
  readonly #postgres: TestPostgres
  readonly #url: URL
  readonly #wrong: URL
  readonly #pool: pg.Pool
  #sources = 0

  constructor(postgres: TestPostgres, url: URL) {
    this.#postgres = postgres
    this.#url = url
    this.#wrong = new URL(url)
    this.#wrong.password = `wrong-${randomBytes(12).toString('hex')}`
    this.secrets = [url.password, this.#wrong.password]
    this.pipeline = postgres.database
    this.address = { host: url.hostname, port: Number(url.port) }
    this.#pool = new pg.Pool({ connectionString: url.href, max: 8 })
    // The database is dropped right after the pool has ended: the server may be faster with a connection than the pool.
    this.#pool.on('connect', (client) => client.on('error', () => {}))
    this.types = typeSamples(this.#pool)
  }

  create({ through, wrongPassword = false }: SourceOptions = {}): PostgresSource {
    const url = new URL(wrongPassword ? this.#wrong : this.#url)
    if (through !== undefined) {
      url.hostname = through.host
      url.port = String(through.port)
    }
    return new PostgresSource(
      {
        url: new Secret(url.href),
        copyWorkers: 2,
        // Both ways to read a backlog: every second start uses SQL.
        catchUp: this.#sources++ % 2 === 0 ? 'off' : 'auto',
        catchUpThreshold: 1,
        heartbeat: 20,
        schemaPoll: 50,
        lockTimeout: 20_000,
      },
      { pagesPerRange: 4 },
    )
  }

  nameOf(table: string): string {
    return `public.${table}`
  }

  /** The server runs several statements of one query in one transaction. */
  async apply(changes: readonly KitChange[]): Promise<void> {
    await this.#pool.query(changes.flatMap((change) => this.#statements(change)).join(';\n'))
  }

  async objects(): Promise<readonly string[]> {
    const rows = await this.#postgres.sql<{ name: string }>(
      `SELECT 'publication ' || pubname AS name FROM pg_publication
       UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary
       ORDER BY 1`,
    )
    return rows.map(({ name }) => name)
  }

  rows(table: string): Promise<readonly TextRow[]> {
    return renderedRows(this.#url.href, this.nameOf(table))
  }

  async connections(): Promise<number> {
    const [row] = await this.#postgres.sql<{ count: number }>(
      'SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1',
      [`sluice ${this.pipeline}`],
    )
    return row!.count
  }

  async released(): Promise<string | null> {
    const [slot] = await this.#slot()
    if (slot?.lsn === undefined) return null
    return `${parseLsn(slot.lsn).toString(16).padStart(16, '0')}.00000000`
  }

  async unrelated(): Promise<void> {
    await this.#pool.query(
      'CREATE SCHEMA IF NOT EXISTS elsewhere; CREATE TABLE IF NOT EXISTS elsewhere.t (id int); INSERT INTO elsewhere.t VALUES (1)',
    )
  }

  async loseHistory(): Promise<void> {
    await waitFor('the slot is not in use', async () => (await this.#slot())[0]?.active === false)
    await this.#postgres.sql('SELECT pg_replication_slot_advance($1, pg_current_wal_flush_lsn())', [
      this.#name,
    ])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
    await this.#postgres[Symbol.asyncDispose]()
    await sql(urlOf('postgres'), `DROP ROLE ${this.pipeline}`)
  }

  /** Of slot and publication. */
  get #name(): string {
    return `sluice_${this.pipeline}`
  }

  #slot(): Promise<readonly { readonly lsn: string; readonly active: boolean }[]> {
    return this.#postgres.sql(
      'SELECT confirmed_flush_lsn::text AS lsn, active FROM pg_replication_slots WHERE slot_name = $1',
      [this.#name],
    )
  }

  #statements(change: KitChange): readonly string[] {
    const { table } = change
    switch (change.kind) {
      case 'create-table':
        return [
          `CREATE TABLE ${table} (${change.columns.map(definition).join(', ')}, PRIMARY KEY (${change.key.join(', ')}))`,
          ...change.columns
            .filter(({ type }) => type === 'large-text')
            .map(({ name }) => `ALTER TABLE ${table} ALTER ${name} SET STORAGE EXTERNAL`),
          // What the operator does for a table that comes later, see the connector's README.
          `DO $$ BEGIN IF EXISTS (SELECT FROM pg_publication WHERE pubname = '${this.#name}')
             THEN ALTER PUBLICATION ${this.#name} ADD TABLE ${table}; END IF; END $$`,
        ]
      case 'insert': {
        const names = Object.keys(change.row).join(', ')
        return [
          `INSERT INTO ${table} (${names}) VALUES (${Object.values(change.row).map(literal).join(', ')})`,
        ]
      }
      case 'update':
        return [
          `UPDATE ${table} SET ${assignments(change.set, ', ')} WHERE ${assignments(change.key, ' AND ')}`,
        ]
      case 'delete':
        return [`DELETE FROM ${table} WHERE ${assignments(change.key, ' AND ')}`]
      case 'drop-table':
        return [`DROP TABLE ${table}`]
      case 'truncate':
        return [`TRUNCATE ${table}`]
      case 'add-column': {
        const rest = change.default === undefined ? '' : ` DEFAULT ${literal(change.default)}`
        return [`ALTER TABLE ${table} ADD COLUMN ${definition(change.column)}${rest}`]
      }
      case 'drop-column':
        return [`ALTER TABLE ${table} DROP COLUMN ${change.column}`]
      case 'rename-column':
        return [`ALTER TABLE ${table} RENAME COLUMN ${change.from} TO ${change.to}`]
      case 'alter-column':
        return [`ALTER TABLE ${table} ALTER ${change.column} TYPE ${SQL_TYPES[change.type]}`]
      case 'change-key':
        return [
          `ALTER TABLE ${table} DROP CONSTRAINT ${table}_pkey, ADD CONSTRAINT ${table}_pkey PRIMARY KEY (${change.key.join(', ')})`,
        ]
    }
  }
}

function definition({ name, type }: KitColumn): string {
  return `${name} ${SQL_TYPES[type]}`
}

function literal(value: KitValue): string {
  if (value === null) return 'NULL'
  return typeof value === 'string' ? pg.escapeLiteral(value) : String(value)
}

function assignments(row: KitRow, separator: string): string {
  return Object.entries(row)
    .map(([name, value]) => `${name} = ${literal(value)}`)
    .join(separator)
}

function typeSamples(pool: pg.Pool): TypeSamples {
  const query = async <Row extends pg.QueryResultRow>(text: string): Promise<readonly Row[]> =>
    (await pool.query<Row>(text)).rows
  return {
    tables: ['types'],
    async create() {
      await query(`${OWN_TYPES}; ${createSamples('types', await typesOfServer({ sql: query }))}`)
    },
    async insert(first) {
      await query(insertSamples('types', await typesOfServer({ sql: query }), first))
    },
  }
}
