/**
 * Zero behind Sluice. In one run, interleaved, medians:
 *
 * - `latency`: from the commit in Postgres to the row in a real Zero client, through Sluice (`sluice`) and through
 *   zero-cache's own Postgres upstream (`zero-postgres`), the same zero-cache and client, each on a database of its own
 *   and one after the other. One clock; what is not on the disk does not count as committed, on either way.
 * - `log`: changes/s into the change log without a subscriber.
 * - `stalled`: memory while a subscriber has stopped reading, beside the same load without one.
 * - `deflate`: a subscriber that catches up over loopback, with and without `compression`.
 *
 * Usage: npm run bench:zero -- [--only latency,log,stalled,deflate] [--seconds 10] [--rates 100,1000] [--rows 500000]
 *   [--runs 3] [--json]
 */
import { parseArgs } from 'node:util'
import { loadavg } from 'node:os'
import { startPostgres } from '../src/cli/demo/servers/postgres.ts'
import { type Measurement, median, round, runContender } from './measure.ts'
import { positive, say } from './workload.ts'
import type { Load } from './zero/batches.ts'
import { type Latency, LatencyClient } from './zero/latency.ts'
import { type Contender, contenders, Stack } from './zero/stack.ts'

const PARTS = ['latency', 'log', 'stalled', 'deflate'] as const
type Part = (typeof PARTS)[number]

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join() },
    seconds: { type: 'string', default: '10' },
    rates: { type: 'string', default: '100,1000' },
    rows: { type: 'string', default: '500000' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const parts = values.only.split(',')
const unknown = parts.find((part) => !(PARTS as readonly string[]).includes(part))
if (unknown !== undefined) {
  say(`--only knows ${PARTS.join(', ')}, not ${unknown}`)
  process.exit(2)
}
const seconds = positive('--seconds', values.seconds)
const rates = values.rates.split(',').map((rate) => positive('--rates', rate))
const rows = positive('--rows', values.rows)
const runs = positive('--runs', values.runs)

const measures: Record<Part, () => Promise<object>> = { latency, log, stalled, deflate }
const figures: Record<string, object> = {}
for (const part of PARTS) {
  if (!parts.includes(part)) continue
  say(`${part}, load of the machine ${loadavg()[0]!.toFixed(1)}`)
  figures[part] = await measures[part]()
  say('')
}
if (values.json) process.stdout.write(`${JSON.stringify({ benchmark: 'zero', rows, ...figures, runs })}\n`)
// Zero keeps timers of its own.
process.exit()

async function latency(): Promise<object> {
  await using server = await startPostgres({ settings: { max_connections: '200' } })
  await using sluice = await Stack.start(server, 'sluice', 'bench_sluice')
  await using direct = await Stack.start(server, 'zero-postgres', 'bench_direct')
  await using sluiceClient = new LatencyClient(sluice)
  await using directClient = new LatencyClient(direct)
  const clients: Record<Contender, LatencyClient> = { sluice: sluiceClient, 'zero-postgres': directClient }
  const figures: Record<string, object> = {}
  for (const rate of rates) {
    const measured: Record<Contender, Latency[]> = { sluice: [], 'zero-postgres': [] }
    for (let run = 1; run <= runs; run++) {
      // In turn the first: what the one leaves behind is there for the other.
      for (const name of run % 2 === 1 ? contenders : contenders.toReversed()) {
        const one = await clients[name].measure(rate, seconds)
        measured[name].push(one)
        say(`run ${run}  ${name.padEnd(14)} ${latencyLine(one)}`)
      }
    }
    figures[rate] = latencyOf(rate, measured)
  }
  return figures
}

function latencyOf(rate: number, measured: Readonly<Record<Contender, readonly Latency[]>>): object {
  const pick = (value: (one: Latency) => number): Record<Contender, number> => ({
    sluice: round(median(measured.sluice.map(value)), 1),
    'zero-postgres': round(median(measured['zero-postgres'].map(value)), 1),
  })
  // Ratios pair by pair: the machine's speed drifts, neighbours in a round see the same machine.
  const ratio = (value: (one: Latency) => number): number =>
    round(median(measured.sluice.map((one, at) => value(one) / value(measured['zero-postgres'][at]!))), 2)
  const result = {
    p50: pick((one) => one.p50),
    p99: pick((one) => one.p99),
    writtenPerSecond: pick((one) => one.writtenPerSecond),
    seenPerSecond: pick((one) => one.seenPerSecond),
    steps: stepsOf(measured.sluice),
    ratio: {
      'p50 sluice / zero-postgres': ratio((one) => one.p50),
      'p99 sluice / zero-postgres': ratio((one) => one.p99),
    },
  }
  for (const name of contenders)
    say(
      `${rate} transactions/s  ${name.padEnd(14)} p50 ${result.p50[name]} ms  p99 ${result.p99[name]} ms  ` +
        `seen ${result.seenPerSecond[name]}/s`,
    )
  for (const [step, { p50, p99 }] of Object.entries(result.steps))
    say(`    ${step.padEnd(18)} p50 ${p50} ms  p99 ${p99} ms`)
  for (const [what, value] of Object.entries(result.ratio)) say(`    ${what}: ${value}`)
  return result
}

function stepsOf(list: readonly Latency[]): Record<string, { p50: number; p99: number }> {
  return Object.fromEntries(
    Object.keys(list[0]!.steps).map((step) => {
      const medianOf = (part: 'p50' | 'p99'): number =>
        round(median(list.map((one) => one.steps[step]![part])), 1)
      return [step, { p50: medianOf('p50'), p99: medianOf('p99') }]
    }),
  )
}

function latencyLine({ rate, p50, p99, writtenPerSecond, seenPerSecond, cores }: Latency): string {
  const busy = Object.entries(cores).map(([name, value]) => `${name} ${value.toFixed(2)}`)
  return (
    `${rate}/s: p50 ${p50.toFixed(1)} ms  p99 ${p99.toFixed(1)} ms  committed ${Math.round(writtenPerSecond)}/s  ` +
    `seen ${Math.round(seenPerSecond)}/s  cores: ${busy.join(', ')}`
  )
}

interface Appended extends Measurement {
  readonly loopP99Ms: number
  readonly loopMaxMs: number
  readonly durableGapMaxMs: number
}

async function log(): Promise<object> {
  const loads: readonly (Load & { readonly rate?: number })[] = [
    { rowsPerTransaction: 100, kind: 'inserts' },
    { rowsPerTransaction: 100, kind: 'mixed' },
    { rowsPerTransaction: 1, kind: 'inserts' },
    // How long one waits for the disk, checkpoints included, when the log is not behind.
    { rowsPerTransaction: 1, kind: 'inserts', rate: 10_000 },
  ]
  const measured = loads.map((): Appended[] => [])
  for (let run = 1; run <= runs; run++)
    for (const [index, { rate, ...load }] of loads.entries()) {
      const changes = rate === undefined ? rows : Math.min(rows, rate * seconds)
      measured[index]!.push(await runContender<Appended>('zero-log.ts', 'append', { changes, load, rate }))
    }
  return Object.fromEntries(
    loads.map(({ rowsPerTransaction, kind, rate }, index) => {
      const list = measured[index]!
      const of = (value: (one: Appended) => number, digits = 1): number =>
        round(median(list.map(value)), digits)
      const result = {
        changesPerSecond: of((one) => one.delivered! / one.seconds, 0),
        transactionsPerSecond: of((one) => one.delivered! / rowsPerTransaction / one.seconds, 0),
        cpuMicrosPerChange: of((one) => (one.cpuSeconds * 1e6) / one.delivered!, 2),
        loopP99Ms: of((one) => one.loopP99Ms),
        loopMaxMs: of((one) => one.loopMaxMs),
        durableGapMaxMs: of((one) => one.durableGapMaxMs),
      }
      const name = `${kind}, ${rowsPerTransaction} per transaction${rate === undefined ? '' : `, ${rate}/s`}`
      say(
        `${name.padEnd(38)} ${result.changesPerSecond.toLocaleString('en').padStart(9)} changes/s  ` +
          `${result.transactionsPerSecond.toLocaleString('en')} transactions/s  ${result.cpuMicrosPerChange} us CPU/change  ` +
          `event loop p99 ${result.loopP99Ms} ms, longest ${result.loopMaxMs} ms  not durable for ${result.durableGapMaxMs} ms at most`,
      )
      return [name, result]
    }),
  )
}

interface Watched extends Measurement {
  readonly firstThird: { readonly resident: number; readonly heap: number }
  readonly lastThird: { readonly resident: number; readonly heap: number }
}

async function stalled(): Promise<object> {
  const names = ['stalled', 'absent'] as const
  const measured: Record<(typeof names)[number], Watched[]> = { stalled: [], absent: [] }
  const options = { changes: rows, load: { rowsPerTransaction: 100, kind: 'mixed' } }
  for (let run = 1; run <= runs; run++)
    for (const name of names) measured[name].push(await runContender<Watched>('zero-log.ts', name, options))
  return Object.fromEntries(
    names.map((name) => {
      const of = (value: (one: Watched) => number): number => Math.round(median(measured[name].map(value)))
      const result = {
        changesPerSecond: of((one) => rows / one.seconds),
        peakRssMb: of((one) => one.peakRssMb),
        firstThirdMb: {
          resident: of((one) => one.firstThird.resident),
          heap: of((one) => one.firstThird.heap),
        },
        lastThirdMb: { resident: of((one) => one.lastThird.resident), heap: of((one) => one.lastThird.heap) },
      }
      say(
        `${name.padEnd(8)} ${result.changesPerSecond.toLocaleString('en').padStart(9)} changes/s  resident ${result.peakRssMb} MB at most, ` +
          `${result.firstThirdMb.resident} in the first third, ${result.lastThirdMb.resident} in the last; ` +
          `JavaScript ${result.firstThirdMb.heap} and ${result.lastThirdMb.heap} MB`,
      )
      return [name, result]
    }),
  )
}

interface Taken {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly servingCpuSeconds: number
  readonly bytes: number
}
interface Served extends Measurement {
  readonly snapshot: Taken
  readonly tail: Taken
}

async function deflate(): Promise<object> {
  const names = ['plain', 'deflate'] as const
  const served = Math.min(rows, 200_000)
  const measured: Record<(typeof names)[number], Served[]> = { plain: [], deflate: [] }
  for (let run = 1; run <= runs; run++)
    for (const name of names)
      measured[name].push(await runContender<Served>('zero-serve.ts', name, { rows: served }))
  return Object.fromEntries(
    names.map((name) => {
      const result = Object.fromEntries(
        (['snapshot', 'tail'] as const).map((part) => {
          const of = (value: (one: Taken) => number): number =>
            round(median(measured[name].map((one) => value(one[part]))), 2)
          const taken = {
            rowsPerSecond: Math.round(served / of((one) => one.seconds)),
            seconds: of((one) => one.seconds),
            servingCpuSeconds: of((one) => one.servingCpuSeconds),
            readingCpuSeconds: of((one) => one.cpuSeconds),
            megabytes: of((one) => one.bytes / 1e6),
          }
          say(
            `${name.padEnd(8)} ${part.padEnd(9)} ${served} rows in ${taken.seconds} s, CPU ${taken.servingCpuSeconds} s here and ` +
              `${taken.readingCpuSeconds} s there, ${taken.megabytes} MB`,
          )
          return [part, taken]
        }),
      )
      return [name, result]
    }),
  )
}
