/**
 * How fast rows go the whole way from a Postgres slot into ClickHouse until they are durable there (`sluice`), beside
 * the same source into a sink that takes everything (`sluice-null`). Interleaved, every run on a fresh copy of one slot
 * and into a fresh database. Then every row of source and target is compared.
 *
 * Usage: npm run bench:clickhouse -- [--rows 1000000] [--runs 3] [--json]
 */
import { parseArgs } from 'node:util'
import { createClient } from '@clickhouse/client'
import pg from 'pg'
import { compareTable } from '../src/cli/demo/compare.ts'
import { startClickHouse } from '../src/cli/demo/servers/clickhouse.ts'
import { startPostgres } from '../src/cli/demo/servers/postgres.ts'
import { type Measurement, median, round, runContender, type Summary, summarize } from './measure.ts'
import { loadRows, ROWS_PER_TRANSACTION } from './rows.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const rows = positive('--rows', values.rows)
const runs = positive('--runs', values.runs)
const contenders = ['sluice', 'sluice-null'] as const
type Contender = (typeof contenders)[number]
const say = (line: string): void => void process.stderr.write(`${line}\n`)

await using server = await startPostgres({
  settings: { shared_buffers: '1GB', max_wal_size: '8GB', checkpoint_timeout: '1h' },
})
await using clickhouse = await startClickHouse()
const target = createClient({ url: clickhouse.url })
const client = new pg.Client({ connectionString: server.url })
await client.connect()
try {
  await client.query(
    'CREATE TABLE bench (id int8 PRIMARY KEY, n int4, name text, price numeric(12,2), ok bool, at timestamptz, score float8, note text)',
  )
  await client.query('CREATE PUBLICATION bench FOR TABLE bench')
  await client.query(`SELECT pg_create_logical_replication_slot('bench_base', 'pgoutput')`)
  say(`loading ${rows} rows in transactions of ${ROWS_PER_TRANSACTION} ...`)
  await loadRows(client, rows)
  const { rows: state } = await client.query<{ confirmed: string; system: string }>(
    `SELECT confirmed_flush_lsn::text AS confirmed,
            (SELECT system_identifier::text FROM pg_control_system()) AS system
     FROM pg_replication_slots WHERE slot_name = 'bench_base'`,
  )
  const { confirmed, system } = state[0]!

  const measured: Record<Contender, Measurement[]> = { sluice: [], 'sluice-null': [] }
  let isEqual = true
  for (let run = 1; run <= runs; run++) {
    for (const name of contenders) {
      const slot = `bench_${name.replaceAll('-', '_')}_${run}`
      const database = `bench_${run}`
      await client.query(`SELECT pg_copy_logical_replication_slot('bench_base', $1)`, [slot])
      const result = await runContender('clickhouse.ts', name, {
        url: server.url,
        slot,
        publication: 'bench',
        from: confirmed,
        system,
        rows,
        clickhouse: { url: clickhouse.url, database },
      })
      await dropSlot(slot)
      measured[name].push(result)
      say(`run ${run}  ${name.padEnd(12)} ${line(summarize([result], rows))}`)
      if (name === 'sluice') isEqual = (await hasAllRows(database)) && isEqual
      await target.command({ query: `DROP DATABASE IF EXISTS ${database} SYNC` })
    }
  }
  report(measured, isEqual)
  if (!isEqual) process.exitCode = 4
} finally {
  await client.end()
  await target.close()
}

async function hasAllRows(database: string): Promise<boolean> {
  const pair = { schema: 'public', table: 'bench', database, view: 'bench__current' }
  const verdict = await compareTable(client, target, pair)
  if (!verdict.equal) say(`NOT EQUAL: ${JSON.stringify(verdict)}`)
  return verdict.equal && verdict.rows === rows
}

/** A walsender may hold the slot for a moment after its client has gone. */
async function dropSlot(slot: string): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      await client.query('SELECT pg_drop_replication_slot($1)', [slot])
      return
    } catch (error) {
      if ((error as { code?: string }).code !== '55006' || Date.now() > deadline) throw error
      await client.query('SELECT pg_sleep(0.05)')
    }
  }
}

function report(measured: Readonly<Record<Contender, readonly Measurement[]>>, equal: boolean): void {
  const summaries = contenders.map((name) => [name, summarize(measured[name], rows)] as const)
  // Ratios pair by pair: the machine's speed drifts, neighbours in a round see the same machine.
  const ratio = (value: (one: Measurement) => number): number => {
    const pairs = measured.sluice.map((one, at) => value(one) / value(measured['sluice-null'][at]!))
    return round(median(pairs), 2)
  }
  const ratios = {
    'rowsPerSecond sluice / sluice-null': ratio((one) => 1 / one.seconds),
    'cpu sluice / sluice-null': ratio((one) => one.cpuSeconds),
  }
  say('')
  for (const [name, summary] of summaries) say(`${name.padEnd(12)} ${line(summary)}`)
  for (const [name, value] of Object.entries(ratios)) say(`${name}: ${value}`)
  say(`source and target are ${equal ? 'equal' : 'NOT EQUAL'} after each of ${runs} runs`)
  if (!values.json) return
  const pick = (field: keyof Summary): Record<string, number> =>
    Object.fromEntries(summaries.map(([name, summary]) => [name, summary[field]]))
  process.stdout.write(
    `${JSON.stringify({
      benchmark: 'clickhouse',
      rows,
      rowsPerSecond: pick('rowsPerSecond'),
      cpuMicrosPerRow: pick('cpuMicrosPerRow'),
      peakRssMb: pick('peakRssMb'),
      ratio: ratios,
      runs,
      equal,
    })}\n`,
  )
}

function line({ rowsPerSecond, cpuMicrosPerRow, peakRssMb }: Summary): string {
  return `${rowsPerSecond.toLocaleString('en').padStart(9)} rows/s  ${cpuMicrosPerRow.toFixed(2)} us CPU/row  ${peakRssMb} MB`
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  say(`${option} must be a whole number above 0`)
  process.exit(2)
}
