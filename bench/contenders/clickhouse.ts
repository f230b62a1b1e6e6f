/**
 * One contender of `bench/clickhouse.ts`, in a process of its own so that its CPU and memory are its own. Reads a slot
 * until `rows` rows are durable in the sink, then prints one JSON line. Usage: node clickhouse.ts <contender> <options
 * as JSON>; contenders are `sluice` and `sluice-null`.
 */
import * as Schema from 'effect/Schema'
import { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { Sink } from '../../src/core/sink.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import { type ContenderOptions, counted, NullSink, storeAtStart } from './parts.ts'

interface Options extends ContenderOptions {
  readonly clickhouse: { readonly url: string; readonly database: string }
}

const [, , contender, json] = process.argv
const options = JSON.parse(json!) as Options

function createSink(): Sink {
  if (contender === 'sluice-null') return new NullSink()
  const config = { ...options.clickhouse, createDatabase: true }
  return new ClickHouseSink(Schema.decodeUnknownSync(ClickHouseConfig)(config))
}

const { url, slot, publication } = options
const postgres = Schema.decodeUnknownSync(PostgresConfig)({ url, slot, publication })
const store = await storeAtStart(options, 'target')
const stop = new AbortController()
const ignore = (): void => {}
const startedCpu = process.cpuUsage()
const startedAt = performance.now()
// Stopping drains: when the pipeline has ended, all that was taken is durable.
const sink = counted(createSink(), options.rows, () => stop.abort())
const result = await runPipeline(
  {
    name: 'bench',
    tables: ['public.*'],
    source: { type: 'postgres', create: () => new PostgresSource(postgres) },
    sinks: [{ name: 'target', type: sink.type, create: () => sink }],
    store,
  },
  { signal: stop.signal, log: { debug: ignore, info: ignore, warn: console.error, error: console.error } },
)
const cpu = process.cpuUsage(startedCpu)
if (!result.drained) throw new Error('the pipeline ended before everything was durable')
process.stdout.write(
  `${JSON.stringify({
    seconds: (performance.now() - startedAt) / 1000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    peakRssMb: process.resourceUsage().maxRSS / 1024,
  })}\n`,
)
