/**
 * A Zero sink whose subscriber catches up, in a process of its own, so that its CPU is its own. Usage: node
 * zero-serve.ts <contender> <options as JSON>; contenders are `plain` and `deflate`. A subscriber in another process
 * takes a snapshot of `rows` rows, and later as many changes at once. Prints one JSON line.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Batches, BenchSink } from '../zero/batches.ts'

interface Taken {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly rows: number
  readonly bytes: number
  readonly watermark: string
}

const startedAt = performance.now()
const [, , contender, json] = process.argv
const { rows } = JSON.parse(json!) as { readonly rows: number }
await using bench = await BenchSink.open({ compression: contender === 'deflate' })
const batches = new Batches({ rowsPerTransaction: 100, kind: 'inserts' })
await write(rows)
const snapshot = await measured('snapshot', {})
await write(batches.changes + rows)
const tail = await measured('tail', { after: snapshot.watermark, rows })
const cpu = process.cpuUsage()
process.stdout.write(
  `${JSON.stringify({
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
    snapshot,
    tail,
  })}\n`,
)

async function write(until: number): Promise<void> {
  while (batches.changes < until) {
    await bench.write(batches.next())
    await turn()
  }
  await bench.sink.flush()
}

/** What the subscriber says, and the CPU that serving it took here. */
async function measured(what: string, options: object): Promise<Taken & { servingCpuSeconds: number }> {
  const path = new URL('zero-subscriber.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [path, what, JSON.stringify({ url: bench.url, ...options })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const startedCpu = process.cpuUsage()
  const [code] = (await once(child, 'close')) as [number | null]
  const cpu = process.cpuUsage(startedCpu)
  if (code !== 0) throw new Error(`the subscriber ended with exit code ${code}`)
  return { ...(JSON.parse(output) as Taken), servingCpuSeconds: (cpu.user + cpu.system) / 1e6 }
}
