/**
 * One contender of `bench/postgres.ts`, in a process of its own so that its CPU and memory are its own. Reads a slot
 * until `rows` rows have come, then prints one JSON line. Usage: node postgres.ts <contender> <options as JSON>
 */
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import * as Schema from 'effect/Schema'
import { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import { type ContenderOptions, counted, NullSink, storeAtStart } from './parts.ts'

const [, , contender, json] = process.argv
const options = JSON.parse(json!) as ContenderOptions

/** `delivered`: rows that arrived until the last one did. */
function report(startedAt: number, startedCpu: NodeJS.CpuUsage, delivered: number): void {
  const cpu = process.cpuUsage(startedCpu)
  process.stdout.write(
    `${JSON.stringify({
      seconds: (performance.now() - startedAt) / 1000,
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      peakRssMb: process.resourceUsage().maxRSS / 1024,
      delivered,
    })}\n`,
  )
}

/** The package as it is used by hand, with the acknowledgement per message switched off, which halves its work. */
async function plugin(): Promise<void> {
  const service = new LogicalReplicationService(
    { connectionString: options.url },
    { acknowledge: { auto: false, timeoutSeconds: 0 } },
  )
  let seen = 0
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  const done = new Promise<void>((resolve, reject) => {
    service.on('error', reject)
    service.on('data', (_lsn, message: { tag: string }) => {
      if (message.tag === 'insert' && ++seen === options.rows) resolve()
    })
  })
  const parser = new PgoutputPlugin({ protoVersion: 1, publicationNames: [options.publication] })
  service.subscribe(parser, options.slot, options.from).catch(() => {})
  await done
  report(startedAt, startedCpu, seen)
  process.exit(0)
}

/** The whole pipeline, from the position of the slot: source, channel, lane, checkpoints in memory. */
async function sluice(catchUp: 'auto' | 'off'): Promise<void> {
  const { url, slot, publication, rows } = options
  const config = Schema.decodeUnknownSync(PostgresConfig)({ url, slot, publication, catchUp })
  const store = await storeAtStart(options, 'null')
  const stop = new AbortController()
  const sink = new NullSink()
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  counted(sink, rows, () => {
    if (stop.signal.aborted) return
    report(startedAt, startedCpu, sink.rows)
    stop.abort()
  })
  const ignore = (): void => {}
  await runPipeline(
    {
      name: 'bench',
      tables: ['public.*'],
      source: { type: 'postgres', create: () => new PostgresSource(config) },
      sinks: [{ name: 'null', type: 'null', create: () => sink }],
      store,
    },
    { signal: stop.signal, log: { debug: ignore, info: ignore, warn: console.error, error: console.error } },
  )
}

if (contender === 'pgoutput-plugin') await plugin()
else await sluice(contender === 'sluice-stream' ? 'off' : 'auto')
