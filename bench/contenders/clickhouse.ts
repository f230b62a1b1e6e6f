/**
 * One contender of `bench/clickhouse.ts`, in a process of its own so that its CPU and memory are its own. Reads a slot
 * until `rows` rows are durable in the sink, then prints one JSON line. Usage: node clickhouse.ts <contender> <options
 * as JSON>; contenders are `sluice` and `sluice-null`.
 */
import pg from 'pg'
import * as Schema from 'effect/Schema'
import { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import { readTables, readTypes, storedTable } from '../../src/connectors/sources/postgres/catalog.ts'
import { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { selectTables } from '../../src/core/selection.ts'
import {
  Sink,
  type SinkCapabilities,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from '../../src/core/sink.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'

interface Options {
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly from: string
  readonly system: string
  readonly rows: number
  readonly clickhouse: { readonly url: string; readonly database: string }
}

const [, , contender, json] = process.argv
const options = JSON.parse(json!) as Options

/** Takes everything and is durable at once. */
class NullSink extends Sink {
  readonly type = 'null'
  override capabilities(): SinkCapabilities {
    return {
      replay: 'idempotent-upsert',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: [],
      flushIntervalMs: 0,
    }
  }
  override validate(): Promise<readonly []> {
    return Promise.resolve([])
  }
  override connect(): Promise<SinkResume> {
    return Promise.resolve({ position: null })
  }
  override createTable(): Promise<void> {
    return Promise.resolve()
  }
  override alterTable(): Promise<'applied'> {
    return Promise.resolve('applied')
  }
  override writeBatch(batch: RecordBatch, _context: WriteContext): Promise<WriteResult> {
    return Promise.resolve({ durable: batch.position })
  }
  override disconnect(): Promise<void> {
    return Promise.resolve()
  }
}

/** Calls `onAccepted` when the sink has taken `rows` rows. */
function counted(sink: Sink, rows: number, onAccepted: () => void): Sink {
  const write = sink.writeBatch.bind(sink)
  let taken = 0
  sink.writeBatch = async (batch, context) => {
    const result = await write(batch, context)
    taken += batch.rowCount
    if (taken >= rows) onAccepted()
    return result
  }
  return sink
}

function createSink(): Sink {
  if (contender === 'sluice-null') return new NullSink()
  const config = { ...options.clickhouse, createDatabase: true }
  return new ClickHouseSink(Schema.decodeUnknownSync(ClickHouseConfig)(config))
}

const { url, slot, publication } = options
const postgres = Schema.decodeUnknownSync(PostgresConfig)({ url, slot, publication })
const store = new MemoryCheckpointStore()
const lease = await store.acquire('bench', { host: 'bench', pid: process.pid, startedAt: null })
await store.save(lease, { position: await startPosition(), source: 'postgres', sinks: ['target'] })
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

/** As if the tables had been copied before the slot was made. */
async function startPosition(): Promise<SourcePosition> {
  const client = new pg.Client({ connectionString: options.url })
  await client.connect()
  const types = await readTypes(client)
  const selection = selectTables(['public.*'])
  const tables = await readTables(client, { publication, selection, serverVersion: 180_000 })
  await client.end()
  const stored = tables.map(
    (table) => [`${table.namespace}.${table.name}`, storedTable(table, types, options.from)] as const,
  )
  const resume = { lsn: options.from, system: options.system, tables: Object.fromEntries(stored) }
  return { order: '0', resume: resume as never }
}
