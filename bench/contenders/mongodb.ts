/**
 * One contender of `bench/mongodb.ts`, in a process of its own so that its CPU and memory are its own. Reads the change
 * stream, or the collection, until `rows` of it have come, then prints one JSON line. Usage: node mongodb.ts <contender>
 * <options as JSON>
 */
import * as Schema from 'effect/Schema'
import { type ClientSession, type Document, Long, MongoClient } from 'mongodb'
import { MongodbConfig } from '../../src/connectors/sources/mongodb/config.ts'
import { MongodbSource } from '../../src/connectors/sources/mongodb/source.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import { compileNormalized } from '../../src/core/mapping/compile.ts'
import { normalizeMapping } from '../../src/core/mapping/normalize.ts'
import type { NormalizedMapping } from '../../src/core/mapping/normalized.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import { selectTables } from '../../src/core/selection.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import { COLLECTION, DATABASE, FIRST_SECOND, mappings, NAMESPACE } from '../mongodb/orders.ts'
import { counted, NullSink } from './parts.ts'

export interface MongodbOptions {
  readonly url: string
  readonly rows: number
  /** How many replies they come in. */
  readonly replies: number
  readonly perReply: number
}

const ignore = (): void => {}
const log = { debug: ignore, info: ignore, warn: console.error, error: console.error }
const [, , contender, json] = process.argv
const { url, rows, replies, perReply } = JSON.parse(json!) as MongodbOptions

/** `delivered`: rows that arrived until the last one did. */
function measured(): (delivered?: number) => void {
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  return (delivered) => {
    const cpu = process.cpuUsage(startedCpu)
    const measurement = {
      seconds: (performance.now() - startedAt) / 1000,
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      peakRssMb: process.resourceUsage().maxRSS / 1024,
      delivered,
    }
    process.stdout.write(`${JSON.stringify(measurement)}\n`)
  }
}

/** Replies of which nobody looks at the events: the floor. */
async function raw(): Promise<void> {
  const report = measured()
  const client = await MongoClient.connect(url)
  const database = client.db(DATABASE)
  const session: ClientSession = client.startSession()
  const pipeline = [{ $changeStream: { fullDocument: 'whenAvailable' } }]
  const opened = await database.command({ aggregate: 1, pipeline, cursor: { batchSize: 0 } }, { session })
  const { id } = (opened as { cursor: { id: Long | number } }).cursor
  const more: Document = {
    getMore: Long.fromValue(id),
    collection: '$cmd.aggregate',
    batchSize: perReply,
    maxTimeMS: 1000,
  }
  for (let reply = 0; reply < replies; reply++) await database.command(more, { session, raw: true })
  report()
  await client.close(true)
}

/** The driver as it is used by hand. */
async function watch(): Promise<void> {
  const report = measured()
  const client = await MongoClient.connect(url)
  let seen = 0
  const stream = client.db(DATABASE).watch([], { fullDocument: 'whenAvailable', batchSize: perReply })
  for await (const { operationType } of stream) if (operationType === 'insert' && ++seen === rows) break
  report(seen)
  await client.close(true)
}

/** The same for the documents that are there. */
async function find(): Promise<void> {
  const report = measured()
  const client = await MongoClient.connect(url)
  let seen = 0
  for await (const _ of client.db(DATABASE).collection(COLLECTION).find({}, { batchSize: perReply })) seen++
  report(seen)
  await client.close(true)
}

/** The source alone, into nothing. With `position` it has copied before. */
async function sluice(tables: NormalizedMapping, position: SourcePosition | null): Promise<void> {
  const { mapping } = compileNormalized(tables, { namespace: NAMESPACE })
  const stop = new AbortController()
  const source = newSource()
  let seen = 0
  const report = measured()
  const write = (batch: RecordBatch): void => {
    seen += batch.rowCount
    if (seen < rows || stop.signal.aborted) return
    report(seen)
    stop.abort()
  }
  await source.connect({
    pipeline: 'bench',
    log,
    now: () => Date.now(),
    run: 1,
    tables: selectTables([]),
    mapping,
  })
  await source.stream({ signal: stop.signal, write }, position)
  await source.disconnect()
}

/** The whole pipeline: source, channel, lane, checkpoints in memory. */
async function pipeline(tables: NormalizedMapping): Promise<void> {
  const store = new MemoryCheckpointStore()
  const lease = await store.acquire('bench', { host: 'bench', pid: process.pid, startedAt: null })
  await store.save(lease, { position: copied(tables), source: 'mongodb', sinks: ['null'] })
  const stop = new AbortController()
  const sink = new NullSink()
  const report = measured()
  counted(sink, rows, () => {
    if (stop.signal.aborted) return
    report(sink.rows)
    stop.abort()
  })
  await runPipeline(
    {
      name: 'bench',
      tables: [],
      mapping: { tables, breaking: 'refuse' },
      source: { type: 'mongodb', create: newSource },
      sinks: [{ name: 'null', type: 'null', create: () => sink }],
      store,
    },
    { signal: stop.signal, log },
  )
}

function newSource(): MongodbSource {
  return new MongodbSource(Schema.decodeUnknownSync(MongodbConfig)({ url, database: DATABASE }))
}

function fields(count: number): NormalizedMapping {
  const { mapping, mistakes } = normalizeMapping({ schema: null, mappings: mappings(count) })
  if (mapping === null) throw new Error(JSON.stringify(mistakes))
  return mapping
}

/** As if the tables had been copied before the first event. */
function copied(tables: NormalizedMapping): SourcePosition {
  const { mapping } = compileNormalized(tables, { namespace: NAMESPACE })
  const at = `${FIRST_SECOND.toString(16)}00000000`
  const stored = mapping!.tables.map(({ table, fingerprint, columnFingerprints }) => [
    `${table.namespace}.${table.name}`,
    {
      schema: table,
      collection: `${DATABASE}.${COLLECTION}`,
      fingerprint,
      columnFingerprints,
      copiedAt: at,
      keyClasses: [],
    },
  ])
  const resume = {
    at,
    token: null,
    events: 0,
    rows: 0,
    stages: '',
    cluster: 'rs0',
    tables: Object.fromEntries(stored),
    copies: {},
    wholeFrom: '',
  }
  return { order: '0', resume: resume as unknown as Json }
}

const contenders: Record<string, () => Promise<void>> = {
  raw,
  watch,
  find,
  'sluice-5': () => sluice(fields(5), copied(fields(5))),
  'sluice-14': () => sluice(fields(14), copied(fields(14))),
  'pipeline-14': () => pipeline(fields(14)),
  'copy-5': () => sluice(fields(5), null),
  'copy-14': () => sluice(fields(14), null),
}
await contenders[contender!]!()
process.exit()
