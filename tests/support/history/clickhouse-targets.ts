import type { ClickHouseClient } from '@clickhouse/client'
import { ClickHouseSink } from '../../../src/connectors/sinks/clickhouse/sink.ts'
import { options } from '../../integration/clickhouse-fixture.ts'
import { testClickHouse } from '../clickhouse.ts'
import type { Model, State } from './model.ts'
import type { Targets } from './postgres-bench.ts'
import type { HistoryColumn, Row } from './statement.ts'

const VIEW = '__current'

/** One ClickHouse sink with a database of its own. */
export async function clickHouseTargets(): Promise<Targets> {
  const server = await testClickHouse('history')
  const config = options(server.url, server.database, { flushInterval: '30ms' })
  return {
    sinks: [{ name: 'clickhouse', type: 'clickhouse', create: () => new ClickHouseSink(config) }],
    states: async (model) => ({ clickhouse: await stateOf(server.client, model) }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** The current rows as views show them; columns as the kinds that the model says. */
async function stateOf(client: ClickHouseClient, model: Model): Promise<State> {
  const there = await rowsOf<{ view: string; columns: string[] }>(
    client,
    `SELECT table AS view, groupArray(name) AS columns FROM
       (SELECT table, name FROM system.columns WHERE database = currentDatabase() ORDER BY table, position)
     WHERE endsWith(table, '${VIEW}') GROUP BY table`,
  )
  const state: Record<string, State[string]> = {}
  for (const { view, columns } of there) {
    const name = view.slice(0, -VIEW.length)
    const known = model.table(name)?.columns.filter((column) => columns.includes(column.name)) ?? []
    const cells = known.map((column) => `${plain(column)} AS \`plain ${column.name}\``)
    const found = await rowsOf<Row>(
      client,
      `SELECT 1 AS one${cells.map((cell) => `, ${cell}`).join('')} FROM \`${view}\``,
    )
    const rows = found.map((row) =>
      Object.fromEntries(known.map(({ name: column }) => [column, row[`plain ${column}`]!])),
    )
    state[name] = { columns, rows }
  }
  return state
}

async function rowsOf<A>(client: ClickHouseClient, query: string): Promise<readonly A[]> {
  const result = await client.query({
    query,
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_output_format: 'simple' },
  })
  return result.json<A>()
}

function plain({ name, kind }: HistoryColumn): string {
  const column = `\`${name}\``
  switch (kind) {
    case 'text':
    case 'large':
      return column
    case 'decimal':
      return `toDecimalString(${column}, 3)`
    case 'timestamp':
      return `concat(toString(${column}), '+00')`
    case 'bytes':
      return `concat('\\\\x', lower(hex(${column})))`
    case 'int':
    case 'bigint':
    case 'bool':
      return `toString(${column})`
  }
}
