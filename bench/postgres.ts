/**
 * How fast the Postgres source reads a slot, beside `pg_recvlogical` writing to /dev/null and the package's own
 * PgoutputPlugin. Same server, same WAL, over TCP, interleaved, every run on a fresh copy of one slot.
 *
 * Usage: npm run bench:postgres -- [--rows 1000000] [--runs 3] [--json]
 */
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startPostgres } from '../src/cli/demo/servers/postgres.ts'
import {
  type Measurement,
  median,
  round,
  runContender,
  runProgram,
  summarize,
  type Summary,
} from './measure.ts'
import { loadRows, ROWS_PER_TRANSACTION } from './rows.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const rows = Number(values.rows)
const runs = Number(values.runs)
const say = (line: string): void => void process.stderr.write(`${line}\n`)

await using server = await startPostgres({
  settings: { shared_buffers: '1GB', max_wal_size: '8GB', checkpoint_timeout: '1h' },
})
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
  const { rows: state } = await client.query<{ confirmed: string; head: string; system: string }>(
    `SELECT confirmed_flush_lsn::text AS confirmed, pg_current_wal_flush_lsn()::text AS head,
            (SELECT system_identifier::text FROM pg_control_system()) AS system
     FROM pg_replication_slots WHERE slot_name = 'bench_base'`,
  )
  const { confirmed, head, system } = state[0]!

  const contenders: Record<string, (slot: string) => Promise<Measurement | null>> = {
    sluice: (slot) => sluice('sluice', slot),
    pg_recvlogical: (slot) =>
      runProgram(
        'pg_recvlogical',
        [
          '-h',
          server.host,
          '-p',
          String(server.port),
          '-U',
          server.user,
          '-d',
          server.database,
          '-S',
          slot,
          '--start',
          '--no-loop',
          '-f',
          '/dev/null',
          '-E',
          head,
          '-o',
          'proto_version=1',
          '-o',
          'publication_names=bench',
        ],
        { PGPASSWORD: server.password },
      ),
    'sluice-stream': (slot) => sluice('sluice-stream', slot),
    'pgoutput-plugin': (slot) => sluice('pgoutput-plugin', slot),
  }
  const sluice = (name: string, slot: string): Promise<Measurement> =>
    runContender('postgres.ts', name, {
      url: server.url,
      slot,
      publication: 'bench',
      from: confirmed,
      system,
      rows,
    })

  const measured = new Map<string, Measurement[]>()
  const missing: string[] = []
  for (let run = 1; run <= runs; run++) {
    for (const [name, start] of Object.entries(contenders)) {
      if (missing.includes(name)) continue
      const slot = `bench_${name.replaceAll('-', '_')}_${run}`
      await client.query(`SELECT pg_copy_logical_replication_slot('bench_base', $1)`, [slot])
      const result = await start(slot)
      await dropSlot(slot)
      if (result === null) {
        missing.push(name)
        say(
          `${name} is not installed (Debian: apt-get install postgresql-client): missing from the comparison`,
        )
        continue
      }
      measured.set(name, [...(measured.get(name) ?? []), result])
      say(
        `run ${run}  ${name.padEnd(16)} ${Math.round(rows / result.seconds).toLocaleString('en')} rows/s  ${((result.cpuSeconds * 1e6) / rows).toFixed(2)} us CPU/row  ${Math.round(result.peakRssMb)} MB`,
      )
    }
  }
  report(measured, missing)
} finally {
  await client.end()
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

function report(measured: ReadonlyMap<string, readonly Measurement[]>, missing: readonly string[]): void {
  const summaries = new Map<string, Summary>(
    [...measured].map(([name, list]) => [name, summarize(list, rows)]),
  )
  // Ratios pair by pair: the machine's speed drifts, neighbours in a round see the same machine.
  const ratio = (a: string, b: string, value: (one: Measurement) => number): number | null => {
    const left = measured.get(a)
    const right = measured.get(b)
    if (left === undefined || right === undefined) return null
    return round(median(left.map((one, index) => value(one) / value(right[index]!))), 2)
  }
  const speed = (one: Measurement): number => 1 / one.seconds
  const cpu = (one: Measurement): number => one.cpuSeconds
  const ratios = {
    'rowsPerSecond sluice / pg_recvlogical': ratio('sluice', 'pg_recvlogical', speed),
    'rowsPerSecond sluice-stream / pg_recvlogical': ratio('sluice-stream', 'pg_recvlogical', speed),
    'rowsPerSecond sluice / pgoutput-plugin': ratio('sluice', 'pgoutput-plugin', speed),
    'cpu sluice / pgoutput-plugin': ratio('sluice', 'pgoutput-plugin', cpu),
    'cpu sluice-stream / pgoutput-plugin': ratio('sluice-stream', 'pgoutput-plugin', cpu),
    'cpu sluice / pg_recvlogical': ratio('sluice', 'pg_recvlogical', cpu),
  }
  say('')
  for (const [name, summary] of summaries) {
    say(
      `${name.padEnd(18)} ${summary.rowsPerSecond.toLocaleString('en').padStart(9)} rows/s  ${summary.cpuMicrosPerRow.toFixed(2)} us CPU/row  ${summary.peakRssMb} MB`,
    )
  }
  for (const [name, value] of Object.entries(ratios)) say(`${name}: ${value ?? 'missing'}`)
  // The rows go nowhere, so what can be compared is their number.
  const equal = [...measured.values()]
    .flat()
    .every((one) => one.delivered === undefined || one.delivered === rows)
  say(`every contender that counts has seen ${rows} rows: ${equal}`)
  if (!equal) process.exitCode = 4
  if (!values.json) return
  const pick = (field: keyof Summary): Record<string, number> =>
    Object.fromEntries([...summaries].map(([name, summary]) => [name, summary[field]]))
  process.stdout.write(
    `${JSON.stringify({
      benchmark: 'postgres',
      rows,
      rowsPerSecond: pick('rowsPerSecond'),
      cpuMicrosPerRow: pick('cpuMicrosPerRow'),
      peakRssMb: pick('peakRssMb'),
      ratio: ratios,
      runs,
      equal,
      missing,
    })}\n`,
  )
}
