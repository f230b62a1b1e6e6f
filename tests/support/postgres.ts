import { randomBytes } from 'node:crypto'

import pg, { type QueryResultRow } from 'pg'

import type { TextRow } from '../../src/testkit/change.ts'
import { urlOf } from './servers.ts'
import { waitFor } from './wait-for.ts'

/** A database of one test file's own on the shared Postgres. */
export interface TestPostgres extends AsyncDisposable {
  readonly url: string
  readonly database: string
  /** Runs statements and gives the rows of the last one; without parameters there may be several statements. */
  sql<Row extends QueryResultRow>(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
}

/** Makes an empty database; disposing of it removes its replication slots and the database. */
export async function testPostgres(purpose = 'test'): Promise<TestPostgres> {
  const server = urlOf('postgres')
  const database = `${purpose}_${randomBytes(4).toString('hex')}`
  const url = await createDatabase(server, database)
  return {
    url,
    database,
    sql: (text, values) => sql(url, text, values),
    [Symbol.asyncDispose]: () => dropDatabase(server, database),
  }
}

/** Creates a database on the server of that address, and gives the database's own address. */
export async function createDatabase(server: string, name: string): Promise<string> {
  await sql(server, `CREATE DATABASE ${pg.escapeIdentifier(name)}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

/** Runs statements in a connection of their own and gives the rows of the last one. */
export async function sql<Row extends QueryResultRow>(
  url: string,
  text: string,
  values?: readonly unknown[],
): Promise<readonly Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const result = await client.query<Row>(text, values === undefined ? undefined : [...values])
    // Several statements give several results, which the driver's types do not know.
    const last = Array.isArray(result) ? (result.at(-1) as typeof result) : result
    return last.rows
  } finally {
    await client.end()
  }
}

const PINNED = [
  'datestyle=ISO,YMD',
  'intervalstyle=iso_8601',
  'extra_float_digits=3',
  'timezone=UTC',
  'bytea_output=hex',
  'lc_monetary=C',
]
const MONEY = 790

/** The rows of a table as the server itself writes them under the documented session: the oracle. */
export async function renderedRows(url: string, table: string, columns = '*'): Promise<readonly TextRow[]> {
  const options = PINNED.map((setting) => `-c ${setting}`).join(' ')
  const raw = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig
  const client = new pg.Client({ connectionString: url, options, types: raw })
  await client.connect()
  try {
    const result = await client.query<Record<string, string | null>>(`SELECT ${columns} FROM ${table}`)
    const money = result.fields.filter(({ dataTypeID }) => dataTypeID === MONEY).map(({ name }) => name)
    for (const row of result.rows)
      for (const name of money) row[name] = row[name]?.replace(/[$,]/g, '') ?? null
    return result.rows
  } finally {
    await client.end()
  }
}

async function dropDatabase(server: string, name: string): Promise<void> {
  const slots = 'FROM pg_replication_slots WHERE database = $1'
  await sql(server, `SELECT pg_terminate_backend(active_pid) ${slots} AND active`, [name])
  await waitFor(`no slot of ${name} is in use`, async () => {
    const active = await sql(server, `SELECT 1 ${slots} AND active`, [name])
    return active.length === 0
  })
  await sql(server, `SELECT pg_drop_replication_slot(slot_name) ${slots}`, [name])
  await sql(server, `DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE)`)
}
