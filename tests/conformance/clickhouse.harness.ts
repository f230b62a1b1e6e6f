import { randomBytes } from 'node:crypto'
import { type ClickHouseClient, createClient } from '@clickhouse/client'
import * as Schema from 'effect/Schema'
import { startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import { formatArray } from '../../src/core/array-text.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import type { TableSchema } from '../../src/core/table.ts'
import type { SinkBench, SinkHarness, TextRow } from '../../src/testkit/index.ts'

const WRONG_PASSWORD = 'wrong-password-of-the-kit'

/** The ClickHouse sink on the server at that address; `more` are options as a user writes them. */
export function clickHouseHarness(url: () => string, more: Record<string, unknown> = {}): SinkHarness {
  return {
    capabilities: sink('http://localhost:1', 'none', more).capabilities(),
    async open(needs = {}) {
      if (needs.crash !== true) return openBench(url(), more)
      const server = await startClickHouse()
      const bench = await openBench(server.url, more)
      return {
        ...bench,
        async crash() {
          await server.kill()
          await server.restart()
        },
        async [Symbol.asyncDispose]() {
          await bench[Symbol.asyncDispose]()
          await server.stop()
        },
      }
    },
  }
}

function sink(url: string, database: string, more: Record<string, unknown>): ClickHouseSink {
  return new ClickHouseSink(Schema.decodeUnknownSync(ClickHouseConfig)({ url, database, ...more }))
}

async function openBench(url: string, more: Record<string, unknown>): Promise<SinkBench> {
  const database = `kit_${randomBytes(4).toString('hex')}`
  const client = createClient({ url })
  const { hostname: host, port } = new URL(url)
  await client.command({ query: `CREATE DATABASE ${database}` })
  return {
    pipeline: 'kit',
    address: { host, port: Number(port) },
    secrets: [WRONG_PASSWORD],
    create({ through, impatient, wrongPassword } = {}) {
      const address = through === undefined ? url : `http://${through.host}:${through.port}`
      return sink(address, database, {
        ...(impatient === true ? { requestTimeout: '1s' } : {}),
        ...(wrongPassword === true ? { password: WRONG_PASSWORD } : {}),
        ...more,
      })
    },
    rows: (schema) => readRows(client, database, schema),
    async inventory() {
      const rows = await select<[string, string, string]>(
        client,
        'SELECT table, name, type FROM system.columns WHERE database = {database:String}',
        { database },
      )
      return rows.map((row) => row.join(' '))
    },
    async refuseRow(schema, key) {
      const table = `${database}.${name(targetOf(schema))}`
      const conditions = Object.entries(key).map(
        ([column, cell]) => `toString(${name(column)}) = ${text(cell!)}`,
      )
      await client.command({
        query: `ALTER TABLE ${table} ADD CONSTRAINT kit CHECK NOT (${conditions.join(' AND ')})`,
      })
      return async () => void (await client.command({ query: `ALTER TABLE ${table} DROP CONSTRAINT kit` }))
    },
    async [Symbol.asyncDispose]() {
      await client.command({ query: `DROP DATABASE IF EXISTS ${database} SYNC` })
      await client.close()
    },
  }
}

function targetOf({ namespace, name: table }: TableSchema): string {
  return namespace === 'public' ? table : `${namespace}__${table}`
}

async function select<Row>(
  client: ClickHouseClient,
  query: string,
  params: Record<string, unknown>,
): Promise<readonly Row[]> {
  const result = await client.query({ query, query_params: params, format: 'JSONCompactEachRow' })
  return result.json<Row>()
}

/** The canonical text of the view of current rows, made by the server as far as it can. */
async function readRows(
  client: ClickHouseClient,
  database: string,
  schema: TableSchema,
): Promise<readonly TextRow[]> {
  const view = `${targetOf(schema)}__current`
  const types = new Map(
    await select<[string, string]>(
      client,
      'SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {view:String}',
      { database, view },
    ),
  )
  const cells = schema.columns.map(({ name: column, type }) =>
    cellOf(name(column), type, types.get(column) ?? ''),
  )
  const rows = await select<unknown[]>(
    client,
    `SELECT ${cells.map(({ sql }) => sql).join(', ')} FROM ${database}.${name(view)}`,
    {},
  )
  return rows.map((row) =>
    Object.fromEntries(schema.columns.map((column, index) => [column.name, cells[index]!.read(row[index])])),
  )
}

interface Cell {
  readonly sql: string
  read(shown: unknown): string | null
}

function cellOf(column: string, type: ColumnType, stored: string): Cell {
  if (type.kind !== 'array' || !stored.startsWith('Array('))
    return { sql: scalarSql(column, type), read: (shown) => (shown === null ? null : canonical(type, shown)) }
  let sql = scalarSql('x', type.of)
  for (let depth = 1; depth < type.dimensions; depth++) sql = `arrayMap(x -> ${sql}, x)`
  return {
    sql: `arrayMap(x -> ${sql}, ${column})`,
    read: (shown) => formatArray(shown as readonly unknown[], (element) => canonical(type.of, element)),
  }
}

/** JSON would give up on bytes that are no text. */
function scalarSql(value: string, { kind }: ColumnType): string {
  return kind === 'bytes' ? `hex(${value})` : `toString(${value})`
}

/** What ClickHouse writes in another way than the canonical text. */
function canonical(type: ColumnType, shown: unknown): string {
  const words = String(shown)
  switch (type.kind) {
    case 'bool':
      return words === 'true' ? 't' : 'f'
    case 'bytes':
      return `\\x${words.toLowerCase()}`
    case 'float':
      return words.replace('nan', 'NaN').replace('inf', 'Infinity')
    case 'timestamp':
      return type.zoned && !words.endsWith('+00') ? `${words}+00` : words
    default:
      return words
  }
}

function name(identifier: string): string {
  return `\`${identifier.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}

function text(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
