/**
 * How fast `sluice verify` compares a table of narrow rows (5 columns, about 60 bytes) that Postgres and ClickHouse both
 * have: rows per second of each side while both are read at once, and of one side alone. Every run is a process of its
 * own. `verify-differing` is the same with a hundred rows that differ, which makes it read every range twice.
 *
 * Usage: npm run bench:verify -- [--rows 1000000] [--runs 3] [--json]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import pg from 'pg'
import { startClickHouse } from '../src/cli/demo/servers/clickhouse.ts'
import { startPostgres } from '../src/cli/demo/servers/postgres.ts'
import { buildPipeline } from '../src/runtime/config/build.ts'
import { loadConfig } from '../src/runtime/config/load.ts'
import { runPipeline } from '../src/runtime/pipeline.ts'
import { byContender, line, type Measurement, runContender, summarize } from './measure.ts'
import { benchOptions, say } from './workload.ts'

interface VerifyMeasurement extends Measurement {
  readonly equal: boolean
}

const { rows, runs, json } = benchOptions()
const contenders = ['verify', 'source', 'sink'] as const
const names = [...contenders, 'verify-differing'] as const

await using postgres = await startPostgres({ settings: { shared_buffers: '1GB', max_wal_size: '8GB' } })
await using clickhouse = await startClickHouse()
const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
const config = join(folder, 'bench.yaml')
const target = createClient({ url: clickhouse.url, database: 'bench' })
try {
  await fill()
  const measured = Object.fromEntries(names.map((name) => [name, [] as VerifyMeasurement[]]))
  for (let run = 1; run <= runs; run++)
    for (const name of contenders) measured[name]!.push(await measure(run, name, name))
  await target.command({
    query: `ALTER TABLE bench UPDATE name = 'wrong' WHERE id % ${Math.ceil(rows / 100)} = 1 SETTINGS mutations_sync = 2`,
  })
  for (let run = 1; run <= runs; run++)
    measured['verify-differing']!.push(await measure(run, 'verify', 'verify-differing'))
  report(measured)
} finally {
  await target.close()
  rmSync(folder, { recursive: true, force: true })
}

async function fill(): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  say(`loading ${rows} rows ...`)
  await client.query(`
    CREATE TABLE bench (id int8 PRIMARY KEY, n int4, name text, at timestamptz, ok bool);
    INSERT INTO bench SELECT i, i % 1000, 'customer number ' || i, timestamptz '2024-01-01' + i * interval '1.000001 s', i % 3 = 0
      FROM generate_series(1, ${rows}) i`)
  await client.query('VACUUM ANALYZE bench')
  await client.end()
  writeFileSync(
    config,
    `name: bench
source: { type: postgres, url: '${postgres.url}' }
tables: ['public.*']
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: bench, createDatabase: true } }
`,
  )
  const definition = await buildPipeline(await loadConfig(config))
  const ignore = (): void => {}
  await runPipeline(definition, {
    log: { debug: ignore, info: ignore, warn: say, error: say },
    stopWhenCaughtUp: true,
  })
  await definition.store.close()
}

async function measure(run: number, contender: string, name: string): Promise<VerifyMeasurement> {
  const result = await runContender<VerifyMeasurement>('verify.ts', contender, { config })
  say(`run ${run}  ${name.padEnd(16)} ${line(summarize([result], rows))}`)
  return result
}

function report(measured: Readonly<Record<string, readonly VerifyMeasurement[]>>): void {
  const summaries = names.map((name) => [name, summarize(measured[name]!, rows)] as const)
  say('')
  for (const [name, summary] of summaries) say(`${name.padEnd(16)} ${line(summary)}`)
  const isRight = names.every((name) =>
    measured[name]!.every((one) => one.delivered === rows && one.equal === (name !== 'verify-differing')),
  )
  say(`every run has seen ${rows} rows a side and come to the right result: ${isRight}`)
  if (!isRight) process.exitCode = 4
  if (!json) return
  process.stdout.write(
    `${JSON.stringify({ benchmark: 'verify', rows, ...byContender(summaries), runs, equal: isRight })}\n`,
  )
}
