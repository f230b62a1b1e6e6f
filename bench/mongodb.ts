/**
 * How fast the MongoDB source reads a change stream, in CPU time of its own process, with 5 and with 14 mapped fields
 * (`sluice-5`, `sluice-14`: into a writer that drops what comes; `pipeline-14`: a whole pipeline into a sink that does),
 * beside the driver's `watch()` and a loop that takes the replies and looks at nothing (`raw`). Events of about 710 bytes,
 * with documents of about 340, each a transaction of its own. Then the first copy (`copy-5`, `copy-14`) beside the
 * driver's `find()`.
 *
 * The server is the one of the tests, in a process of its own. Its events were encoded before; documents of the copy
 * are not, so that the rows/s of the copy are the server's and only its CPU says something.
 *
 * Usage: npm run bench:mongodb -- [--only stream,copy] [--rows 500000] [--runs 3] [--json]
 */
import { spawn } from 'node:child_process'
import { loadavg } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import type { MongodbOptions } from './contenders/mongodb.ts'
import type { ServerOptions, ServerReady } from './contenders/mongodb-server.ts'
import { byContender, line, type Measurement, median, round, runContender, summarize } from './measure.ts'
import { positive, say } from './workload.ts'

const PARTS = {
  stream: { contenders: ['raw', 'sluice-5', 'sluice-14', 'pipeline-14', 'watch'], driver: 'watch' },
  copy: { contenders: ['copy-5', 'copy-14', 'find'], driver: 'find' },
} as const
type Part = keyof typeof PARTS

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(PARTS).join() },
    rows: { type: 'string', default: '500000' },
    runs: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
})
const parts = values.only.split(',')
const unknown = parts.find((part) => !Object.hasOwn(PARTS, part))
if (unknown !== undefined) {
  say(`--only knows ${Object.keys(PARTS).join(', ')}, not ${unknown}`)
  process.exit(2)
}
const rows = positive('--rows', values.rows)
const runs = positive('--runs', values.runs)
const perReply = 1000
/** The server of the tests makes every reply of a copy anew. */
const copied = Math.min(rows, 200_000)

await using server = await start({
  events: parts.includes('stream') ? rows : 1,
  perReply,
  documents: parts.includes('copy') ? copied : 0,
})
const { documentBytes, eventBytes } = server.ready
say(`${rows} events of ${Math.round(eventBytes)} bytes with documents of ${Math.round(documentBytes)}`)
const figures: Partial<Record<Part, ReturnType<typeof reported>>> = {}
for (const part of Object.keys(PARTS) as Part[]) {
  if (!parts.includes(part)) continue
  const count = part === 'copy' ? copied : rows
  say(`${part}, ${count} rows, load of the machine ${loadavg()[0]!.toFixed(1)}`)
  figures[part] = reported(part, count, await measure(part, count))
  say('')
}
if (values.json) {
  const { stream, copy } = figures
  process.stdout.write(`${JSON.stringify({ benchmark: 'mongodb', rows, ...stream, copy, runs })}\n`)
}

/** Runs the contenders in turn. */
async function measure(part: Part, count: number): Promise<ReadonlyMap<string, readonly Measurement[]>> {
  const { contenders } = PARTS[part]
  const measured = new Map(contenders.map((name): [string, Measurement[]] => [name, []]))
  const { url } = server.ready
  const options: MongodbOptions = { url, rows: count, replies: Math.ceil(count / perReply), perReply }
  for (let run = 1; run <= runs; run++) {
    for (const [name, list] of measured) {
      const result = await runContender('mongodb.ts', name, options)
      list.push(result)
      say(`run ${run}  ${name.padEnd(12)} ${line(summarize([result], count))}`)
    }
  }
  return measured
}

function reported(
  part: Part,
  count: number,
  measured: ReadonlyMap<string, readonly Measurement[]>,
): ReturnType<typeof byContender> & { readonly ratio: Record<string, number>; readonly equal: boolean } {
  const { contenders, driver } = PARTS[part]
  const summaries = [...measured].map(([name, list]) => [name, summarize(list, count)] as const)
  // Ratios pair by pair: the machine's speed drifts, neighbours in a round see the same machine.
  const ratio = Object.fromEntries(
    contenders
      .filter((name) => name !== driver)
      .map((name) => {
        const pairs = measured
          .get(name)!
          .map((one, run) => measured.get(driver)![run]!.cpuSeconds / one.cpuSeconds)
        return [`rows per CPU second ${name} / ${driver}`, round(median(pairs), 2)]
      }),
  )
  for (const [name, summary] of summaries) say(`${name.padEnd(12)} ${line(summary)}`)
  for (const [name, value] of Object.entries(ratio)) say(`${name}: ${value}`)
  // The rows go nowhere, so what can be compared is their number.
  const equal = [...measured.values()]
    .flat()
    .every(({ delivered }) => delivered === undefined || delivered === count)
  say(`every contender that counts has seen ${count} rows: ${equal}`)
  if (!equal) process.exitCode = 4
  return { ...byContender(summaries), ratio, equal }
}

async function start(options: ServerOptions): Promise<AsyncDisposable & { readonly ready: ServerReady }> {
  say(`preparing ${options.events} events and ${options.documents} documents ...`)
  const path = new URL('contenders/mongodb-server.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [path, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  for await (const text of createInterface({ input: child.stdout })) {
    const stop = (): Promise<void> => {
      child.stdin.end()
      return ended
    }
    return { ready: JSON.parse(text) as ServerReady, [Symbol.asyncDispose]: stop }
  }
  throw new Error('the server ended before it was ready')
}
