/**
 * How fast the Postgres source reads a slot, beside `pg_recvlogical` writing to /dev/null and the package's own
 * PgoutputPlugin. Same server, same WAL, over TCP, interleaved, every run on a fresh copy of one slot.
 *
 * Usage: npm run bench:postgres -- [--rows 1000000] [--runs 3] [--json]
 */
import {
  byContender,
  line,
  type Measurement,
  median,
  round,
  runContender,
  runProgram,
  summarize,
} from './measure.ts'
import { benchOptions, say, Workload } from './workload.ts'

const { rows, runs, json } = benchOptions()
await using workload = await Workload.start(rows)
const { server, from, head, system } = workload

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
    from,
    system,
    rows,
  })

const measured = new Map<string, Measurement[]>()
const missing: string[] = []
for (let run = 1; run <= runs; run++) {
  for (const [name, start] of Object.entries(contenders)) {
    if (missing.includes(name)) continue
    const slot = `bench_${name.replaceAll('-', '_')}_${run}`
    const result = await workload.onSlot(slot, () => start(slot))
    if (result === null) {
      missing.push(name)
      say(`${name} is not installed (Debian: apt-get install postgresql-client): missing from the comparison`)
      continue
    }
    measured.set(name, [...(measured.get(name) ?? []), result])
    say(`run ${run}  ${name.padEnd(16)} ${line(summarize([result], rows))}`)
  }
}
report(measured, missing)

function report(measured: ReadonlyMap<string, readonly Measurement[]>, missing: readonly string[]): void {
  const summaries = [...measured].map(([name, list]) => [name, summarize(list, rows)] as const)
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
  for (const [name, summary] of summaries) say(`${name.padEnd(16)} ${line(summary)}`)
  for (const [name, value] of Object.entries(ratios)) say(`${name}: ${value ?? 'missing'}`)
  // The rows go nowhere, so what can be compared is their number.
  const equal = [...measured.values()]
    .flat()
    .every((one) => one.delivered === undefined || one.delivered === rows)
  say(`every contender that counts has seen ${rows} rows: ${equal}`)
  if (!equal) process.exitCode = 4
  if (!json) return
  process.stdout.write(
    `${JSON.stringify({
      benchmark: 'postgres',
      rows,
      ...byContender(summaries),
      ratio: ratios,
      runs,
      equal,
      missing,
    })}\n`,
  )
}
