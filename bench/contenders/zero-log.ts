/**
 * The change log of the Zero sink in a process of its own, so that its CPU and memory are its own. Usage: node
 * zero-log.ts <contender> <options as JSON>. `append`: batches that are ready go into the log as fast as it takes them.
 * `absent` and `stalled`: batches are made and written one by one, without a subscriber, and with one that has stopped
 * reading. Prints one JSON line.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Batches, BenchSink, type Load, ROWS_PER_BATCH } from '../zero/batches.ts'
import { StalledSubscriber } from '../zero/stalled.ts'

interface Options {
  readonly load: Load
  readonly changes: number
  /** Changes/s; as fast as the log takes them when left out. */
  readonly rate?: number
}

const MB = 1024 * 1024
const [, , contender, json] = process.argv
const options = JSON.parse(json!) as Options
const figures = contender === 'append' ? await append() : await watch(contender === 'stalled')
process.stdout.write(`${JSON.stringify(figures)}\n`)

async function append(): Promise<object> {
  await using bench = await BenchSink.open()
  // With a rate, what comes within ten milliseconds.
  const rowsPerBatch = options.rate === undefined ? ROWS_PER_BATCH : Math.ceil(options.rate / 100)
  const batches = new Batches(options.load, rowsPerBatch)
  const ready = []
  while (batches.changes < options.changes) ready.push(batches.next())
  globalThis.gc?.()
  const loop = monitorEventLoopDelay({ resolution: 1 })
  loop.enable()
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  const gaps: number[] = []
  let durable: string | null = null
  let since = startedAt
  let given = 0
  for (const batch of ready) {
    if (options.rate !== undefined) {
      const wait = startedAt + (given * 1000) / options.rate - performance.now()
      if (wait > 0) await delay(wait)
    }
    given += batch.rowCount
    const order = await bench.write(batch)
    if (order !== durable) {
      const now = performance.now()
      if (durable !== null) gaps.push(now - since)
      since = now
      durable = order
    }
    // A source gives its batches in turns of the event loop.
    await turn()
  }
  await bench.sink.flush()
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = process.cpuUsage(startedCpu)
  loop.disable()
  return {
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
    delivered: batches.changes,
    loopP99Ms: loop.percentile(99) / 1e6,
    loopMaxMs: loop.max / 1e6,
    durableGapMaxMs: Math.max(...gaps),
  }
}

/** Memory while changes go through; each sample in MB: what is resident, and what JavaScript holds. */
async function watch(isStalled: boolean): Promise<object> {
  // Its socket stays as it is for the whole run.
  await using bench = await BenchSink.open({ pingInterval: '5m' })
  const batches = new Batches(options.load)
  // Caches are full then.
  const warmUp = options.changes
  while (batches.changes < warmUp) await bench.write(batches.next())
  await bench.sink.flush()
  await using subscriber = isStalled ? await StalledSubscriber.start(bench.url) : null
  const samples: { resident: number; heap: number }[] = []
  const sample = (): void => {
    const { rss, heapUsed, external } = process.memoryUsage()
    samples.push({ resident: rss / MB, heap: (heapUsed + external) / MB })
  }
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  let next = 0
  for (const target = options.changes + warmUp; batches.changes < target;) {
    await bench.write(batches.next())
    await turn()
    if (performance.now() < next) continue
    sample()
    next = performance.now() + 50
  }
  await bench.sink.flush()
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = process.cpuUsage(startedCpu)
  const part = Math.ceil(samples.length / 3)
  const most = (from: readonly { resident: number; heap: number }[], of: 'resident' | 'heap'): number =>
    Math.max(...from.map((one) => one[of]))
  return {
    seconds,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakRssMb: most(samples, 'resident'),
    delivered: batches.changes,
    firstThird: {
      resident: most(samples.slice(0, part), 'resident'),
      heap: most(samples.slice(0, part), 'heap'),
    },
    lastThird: { resident: most(samples.slice(-part), 'resident'), heap: most(samples.slice(-part), 'heap') },
    received: (await subscriber?.received()) ?? 0,
  }
}
