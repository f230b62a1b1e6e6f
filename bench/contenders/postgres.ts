/**
 * One contender of `bench/postgres.ts`, in a process of its own so that its CPU and memory are its own. Reads a slot
 * until `rows` rows have come, then prints one JSON line. Usage: node postgres.ts <contender> <options as JSON>
 */
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import pg from 'pg'
import type { RecordBatch } from '../../src/core/batch.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import { Sink, type SinkCapabilities, type SinkResume, type WriteResult } from '../../src/core/sink.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { readTables, readTypes, storedTable } from '../../src/connectors/sources/postgres/catalog.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'

interface Options {
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly from: string
  readonly system: string
  readonly rows: number
}

const [, , contender, json] = process.argv
const options = JSON.parse(json!) as Options

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
  const service = new LogicalReplicationService({ connectionString: options.url } as pg.ClientConfig, {
    acknowledge: { auto: false, timeoutSeconds: 0 },
  })
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

/** Takes everything and is durable at once. */
class NullSink extends Sink {
  readonly type = 'null'
  rows = 0
  onEnough: () => void = () => {}
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
  override writeBatch(batch: RecordBatch): Promise<WriteResult> {
    this.rows += batch.rowCount
    if (this.rows >= options.rows) this.onEnough()
    return Promise.resolve({ durable: batch.position })
  }
  override disconnect(): Promise<void> {
    return Promise.resolve()
  }
}

/** The whole pipeline, from the position of the slot: source, channel, lane, checkpoints in memory. */
async function sluice(catchUp: 'auto' | 'off'): Promise<void> {
  const store = new MemoryCheckpointStore()
  const lease = await store.acquire('bench', { host: 'bench', pid: process.pid, startedAt: null })
  await store.save(lease, { position: await startPosition(), source: 'postgres', sinks: ['null'] })
  const sink = new NullSink()
  const stop = new AbortController()
  let measured = false
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  sink.onEnough = () => {
    if (measured) return
    measured = true
    report(startedAt, startedCpu, sink.rows)
    stop.abort()
  }
  await runPipeline(
    {
      name: 'bench',
      tables: ['public.*'],
      source: {
        type: 'postgres',
        create: () =>
          new PostgresSource({
            url: new Secret(options.url),
            slot: options.slot,
            publication: options.publication,
            copyWorkers: 2,
            catchUp,
            catchUpThreshold: 64e6,
            heartbeat: 5000,
            schemaPoll: 10_000,
            lockTimeout: 60_000,
          }),
      },
      sinks: [{ name: 'null', type: 'null', create: () => sink }],
      store,
    },
    {
      signal: stop.signal,
      log: { debug: () => {}, info: () => {}, warn: console.error, error: console.error },
    },
  )
}

/** As if the tables had been copied before the slot was made. */
async function startPosition(): Promise<SourcePosition> {
  const client = new pg.Client({ connectionString: options.url })
  await client.connect()
  const types = await readTypes(client)
  const query = {
    publication: options.publication,
    selection: selectTables(['public.*']),
    serverVersion: 180_000,
  }
  const tables = Object.fromEntries(
    (await readTables(client, query)).map((table) => [
      `${table.namespace}.${table.name}`,
      storedTable(table, types, options.from),
    ]),
  )
  await client.end()
  return { order: '0', resume: { lsn: options.from, system: options.system, tables } as never }
}

if (contender === 'pgoutput-plugin') await plugin()
else await sluice(contender === 'sluice-stream' ? 'off' : 'auto')
