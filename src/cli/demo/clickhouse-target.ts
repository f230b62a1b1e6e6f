/** A ClickHouse server as the target of the demo. */
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import type pg from 'pg'

import { compareTable, type TableVerdict } from './compare.ts'
import { currentRows, PIPELINE } from './pipeline-config.ts'
import { type ClickHouseServer, startClickHouse } from './servers/clickhouse.ts'
import type { ServerLine, Target } from './target.ts'

export class ClickHouseTarget implements Target, AsyncDisposable {
  readonly name = 'ClickHouse'
  readonly pace = { transactionsPerSecond: 400, bigRows: 1_000 }
  readonly #server: ClickHouseServer
  readonly #client: ClickHouseClient
  #version = ''

  private constructor(server: ClickHouseServer) {
    const { url, user: username, password } = server
    this.#server = server
    this.#client = createClient({
      url,
      username,
      password,
      request_timeout: 600_000,
      // Errors are reported where they are caught.
      log: { level: ClickHouseLogLevel.OFF },
    })
  }

  static async start(dir: string): Promise<ClickHouseTarget> {
    const target = new ClickHouseTarget(await startClickHouse({ dir }))
    try {
      const answer = await target.#client.query({ query: 'SELECT version()', format: 'JSONCompactEachRow' })
      const [row] = await answer.json<[string]>()
      target.#version = row![0]
      return target
    } catch (error) {
      await target[Symbol.asyncDispose]()
      throw error
    }
  }

  get servers(): readonly ServerLine[] {
    const { port, pid } = this.#server
    return [{ name: 'ClickHouse', version: this.#version, port, pid }]
  }

  sinkConfig(): string {
    const { url, user, password } = this.#server
    return `  lake:
    type: clickhouse
    url: ${url}
    username: ${user}
    password: ${JSON.stringify(password)}
    database: ${PIPELINE}
    createDatabase: true
    # The default, 1s, makes fewer and larger inserts; this shows changes sooner.
    flushInterval: 200ms
`
  }

  async watch(): Promise<void> {}

  columnAdded(): void {}

  async settled(): Promise<void> {}

  arrivals(): null {
    return null
  }

  async newestMark(): Promise<number> {
    try {
      const result = await this.#client.query({
        query: `SELECT toUInt32(max(id)) FROM ${PIPELINE}.pulse`,
        format: 'JSONCompactEachRow',
      })
      const [row] = await result.json<[number]>()
      return row?.[0] ?? 0
    } catch (error) {
      if (error instanceof ClickHouseError && error.type === 'UNKNOWN_TABLE') return 0
      throw error
    }
  }

  compare(source: pg.Client, table: string, signal: AbortSignal): Promise<TableVerdict> {
    const pair = { schema: 'public', table, database: PIPELINE, view: currentRows(table) }
    return compareTable(source, this.#client, pair, signal)
  }

  places(): readonly (readonly [string, string])[] {
    const { url, user, password } = this.#server
    const query = `SELECT * FROM ${currentRows('customers')} LIMIT 3 FORMAT Vertical`
    const address = `${url}/?user=${user}&password=${password}&database=${PIPELINE}`
    return [['ClickHouse', `curl '${address}' -d '${query}'`]]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close()
    await this.#server.stop()
  }
}
