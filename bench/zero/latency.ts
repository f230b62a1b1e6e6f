/** From the commit in Postgres to the row in a real Zero client. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { boolean, createSchema, number, string, table, Zero } from '@rocicorp/zero'
import type { WriterOptions, Written } from '../contenders/zero-writer.ts'
import { nowMs } from './clock.ts'
import type { Stack } from './stack.ts'

const bench = table('bench')
  .columns({
    id: number(),
    phase: number(),
    n: number().optional(),
    name: string().optional(),
    price: number().optional(),
    ok: boolean().optional(),
    at: number().optional(),
    note: string().optional(),
  })
  .primaryKey('id')
const schema = createSchema({ enableLegacyQueries: true, tables: [bench] })
type Client = Zero<typeof schema>

const WARM_UP_SECONDS = 2
/** Before the first measurement nothing is compiled yet, in any of the processes. */
const FIRST_WARM_UP_SECONDS = 8
/** What has not come so long after the last commit, in milliseconds, is lost. */
const PATIENCE_MS = 90_000

export interface Latency {
  readonly rate: number
  /** Transactions/s that were committed, and that were seen, from the first commit to the last row. */
  readonly writtenPerSecond: number
  readonly seenPerSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Cores that were busy, on average. */
  readonly cores: {
    readonly pipeline: number
    readonly zeroCache: number
    readonly client: number
    readonly machine: number
  }
  /** Median and p99 of the parts, through Sluice. */
  readonly steps: Readonly<Record<string, { readonly p50: number; readonly p99: number }>>
}

/** A real Zero client of one stack. */
export class LatencyClient implements AsyncDisposable {
  readonly #stack: Stack
  readonly #client: Client
  #phase = 0

  constructor(stack: Stack) {
    this.#stack = stack
    this.#client = new Zero({
      cacheURL: stack.cacheUrl,
      userID: `bench-${process.hrtime.bigint()}`,
      schema,
      kvStore: 'mem',
      logLevel: 'error',
      onUpdateNeeded: (reason) => console.error(reason),
      onClientStateNotFound: () => console.error('the client state was lost'),
    })
  }

  /** Transactions of one row, `rate` per second, after a warm-up at the same rate. Times in milliseconds. */
  async measure(rate: number, seconds: number): Promise<Latency> {
    const warmUp = this.#phase === 0 ? FIRST_WARM_UP_SECONDS : WARM_UP_SECONDS
    await measurePhase(this.#stack, this.#client, this.#phase++, rate, rate * warmUp)
    return measurePhase(this.#stack, this.#client, this.#phase++, rate, rate * seconds)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close()
  }
}

async function measurePhase(
  stack: Stack,
  client: Client,
  phase: number,
  rate: number,
  transactions: number,
): Promise<Latency> {
  const seenMs = new Float64Array(transactions)
  const base = phase * 1_000_000 + 1
  let seen = 0
  let isComplete = false
  const view = client.materialize(client.query.bench.where('phase', phase))
  view.addListener((rows, result) => {
    const at = nowMs()
    isComplete = result === 'complete'
    // Ordered by id: what is new is near the end.
    for (let row = rows.length - 1; row >= 0 && seen < rows.length; row--) {
      const index = rows[row]!.id - base
      if (seenMs[index] !== 0) continue
      seenMs[index] = at
      seen++
    }
  })
  try {
    await until(() => isComplete, 30_000)
    await stack.trace()
    const options: WriterOptions = { url: stack.url, phase, rate, transactions }
    const writer = new Worker(new URL('../contenders/zero-writer.ts', import.meta.url), {
      workerData: options,
    })
    const cpuBefore = stack.cpu()
    const ownBefore = process.cpuUsage()
    const startedMs = nowMs()
    const [{ committedMs, seconds }] = (await once(writer, 'message')) as [Written]
    await until(() => seen === transactions, PATIENCE_MS)
    const passed = (nowMs() - startedMs) / 1000
    const cpu = stack.cpu()
    const own = process.cpuUsage(ownBefore)
    const latencies = sorted(seenMs.map((at, index) => at - committedMs[index]!))
    const last = seenMs.reduce((a, b) => Math.max(a, b))
    const trace = await stack.trace()
    const steps: Record<string, { p50: number; p99: number }> = {}
    const step = (name: string, of: (one: (typeof trace)[number]) => number): void => {
      const values = sorted(Float64Array.from(trace, of))
      steps[name] = { p50: at(values, 0.5), p99: at(values, 0.99) }
    }
    if (trace.length > 0) {
      step('commit to batch', ([id, batch]) => batch - committedMs[id - base]!)
      step('batch to log', ([, batch, log]) => log - batch)
      step('log to socket', ([, , log, socket]) => socket - log)
      step('socket to client', ([id, , , socket]) => seenMs[id - base]! - socket)
    }
    return {
      rate,
      writtenPerSecond: transactions / seconds,
      seenPerSecond: transactions / ((last - committedMs[0]!) / 1000),
      p50: at(latencies, 0.5),
      p99: at(latencies, 0.99),
      max: latencies.at(-1)!,
      cores: {
        pipeline: (cpu.pipeline - cpuBefore.pipeline) / passed,
        zeroCache: (cpu.zeroCache - cpuBefore.zeroCache) / passed,
        machine: (cpu.machine - cpuBefore.machine) / passed,
        client: (own.user + own.system) / 1e6 / passed,
      },
      steps,
    }
  } finally {
    view.destroy()
  }
}

async function until(holds: () => boolean, patienceMs: number): Promise<void> {
  const deadline = nowMs() + patienceMs
  while (!holds()) {
    if (nowMs() > deadline) throw new Error('the client did not get all rows in time')
    await delay(10)
  }
}

function sorted(values: Float64Array): Float64Array {
  return values.sort()
}

function at(values: Float64Array, part: number): number {
  return values[Math.min(values.length - 1, Math.floor(values.length * part))]!
}
