import { randomBytes } from 'node:crypto'

import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'

import { urlOf } from './servers.ts'

/** A database of one test file's own on the shared ClickHouse. */
export interface TestClickHouse extends AsyncDisposable {
  /** The server's address, without the database. */
  readonly url: string
  readonly database: string
  /** For this database. */
  readonly client: ClickHouseClient
  /** The rows of a SELECT as objects; 64-bit integers and decimals are strings. */
  query<Row>(text: string, params?: Record<string, unknown>): Promise<readonly Row[]>
  /** Runs a statement without a result. */
  command(text: string): Promise<void>
}

/** Makes an empty database, on the shared server unless told otherwise; disposing of it removes it. */
export async function testClickHouse(purpose = 'test', url = urlOf('clickhouse')): Promise<TestClickHouse> {
  const database = `${purpose}_${randomBytes(4).toString('hex')}`
  const client = clickHouseClient(url, database)
  const command = async (text: string): Promise<void> => void (await client.command({ query: text }))
  await clickHouseCommand(url, `CREATE DATABASE ${database}`)
  return {
    url,
    database,
    client,
    command,
    query: async (text, params = {}) => {
      const result = await client.query({ query: text, query_params: params, format: 'JSONEachRow' })
      return result.json()
    },
    [Symbol.asyncDispose]: async () => {
      await client.close()
      await clickHouseCommand(url, `DROP DATABASE IF EXISTS ${database} SYNC`)
    },
  }
}

/** Runs one statement on the server of that address in a connection of its own. */
export async function clickHouseCommand(url: string, text: string): Promise<void> {
  const client = clickHouseClient(url)
  try {
    await client.command({ query: text })
  } finally {
    await client.close()
  }
}

function clickHouseClient(url: string, database = 'default'): ClickHouseClient {
  return createClient({
    url,
    database,
    // Who asks gets the error; tests ask for what is not there yet.
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: {
      output_format_json_quote_64bit_integers: 1,
      output_format_json_quote_decimals: 1,
    },
  })
}
