/**
 * How fast rows go the whole way from a Postgres slot into ClickHouse until they are durable there (`sluice`), beside
 * the same source into a sink that takes everything (`sluice-null`). Interleaved, every run on a fresh copy of one slot
 * and into a fresh database. Then every row of source and target is compared.
 *
 * Usage: npm run bench:clickhouse -- [--rows 1000000] [--runs 3] [--json]
 */
import { createClient } from '@clickhouse/client'
import { compareTable } from '../src/cli/demo/compare.ts'
import { startClickHouse } from '../src/cli/demo/servers/clickhouse.ts'
import { byContender, line, type Measurement, median, round, runContender, summarize } from './measure.ts'
import { benchOptions, say, Workload } from './workload.ts'

const { rows, runs, json } = benchOptions()
const contenders = ['sluice', 'sluice-null'] as const
type Contender = (typeof contenders)[number]

await using workload = await Workload.start(rows)
await using clickhouse = await startClickHouse()
const target = createClient({ url: clickhouse.url })
try {
  const measured: Record<Contender, Measurement[]> = { sluice: [], 'sluice-null': [] }
  let isEqual = true
  for (let run = 1; run <= runs; run++) {
    for (const name of contenders) {
      const slot = `bench_${name.replaceAll('-', '_')}_${run}`
      const database = `bench_${run}`
      const { server, from, system } = workload
      const options = {
        url: server.url,
        slot,
        publication: 'bench',
        from,
        system,
        rows,
        clickhouse: { url: clickhouse.url, database },
      }
      const result = await workload.onSlot(slot, () => runContender('clickhouse.ts', name, options))
      measured[name].push(result)
      say(`run ${run}  ${name.padEnd(12)} ${line(summarize([result], rows))}`)
      if (name === 'sluice') isEqual = (await hasAllRows(database)) && isEqual
      await target.command({ query: `DROP DATABASE IF EXISTS ${database} SYNC` })
    }
  }
  report(measured, isEqual)
  if (!isEqual) process.exitCode = 4
} finally {
  await target.close()
}

async function hasAllRows(database: string): Promise<boolean> {
  const pair = { schema: 'public', table: 'bench', database, view: 'bench__current' }
  const verdict = await compareTable(workload.client, target, pair)
  if (!verdict.equal) say(`NOT EQUAL: ${JSON.stringify(verdict)}`)
  return verdict.equal && verdict.rows === rows
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
  if (!json) return
  process.stdout.write(
    `${JSON.stringify({
      benchmark: 'clickhouse',
      rows,
      ...byContender(summaries),
      ratio: ratios,
      runs,
      equal,
    })}\n`,
  )
}
