/** What the contenders share: a sink that takes everything, and where they start. */
import pg from 'pg'
import { readTables, readTypes, storedTable } from '../../src/connectors/sources/postgres/catalog.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { selectTables } from '../../src/core/selection.ts'
import { Sink, type SinkCapabilities, type SinkResume, type WriteResult } from '../../src/core/sink.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'

/** What a contender is told, as JSON. */
export interface ContenderOptions {
  readonly url: string
  readonly slot: string
  readonly publication: string
  readonly from: string
  readonly system: string
  readonly rows: number
}

/** Takes everything and is durable at once. */
export class NullSink extends Sink {
  readonly type = 'null'
  rows = 0
  override capabilities(): SinkCapabilities {
    return {
      replay: 'idempotent-upsert',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: [
        'drop-table',
        'add-column',
        'drop-column',
        'rename-column',
        'alter-column',
        'change-key',
      ],
      keepsNewestVersion: false,
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
    return Promise.resolve({ durable: batch.position })
  }
  override disconnect(): Promise<void> {
    return Promise.resolve()
  }
}

/** Calls back when the sink has taken so many rows. */
export function counted<S extends Sink>(sink: S, rows: number, onTaken: () => void): S {
  const write = sink.writeBatch.bind(sink)
  let taken = 0
  sink.writeBatch = async (batch, context) => {
    const result = await write(batch, context)
    taken += batch.rowCount
    if (taken >= rows) onTaken()
    return result
  }
  return sink
}

/** A checkpoint as if the tables had been copied before the slot was made. */
export async function storeAtStart(options: ContenderOptions, sink: string): Promise<MemoryCheckpointStore> {
  const store = new MemoryCheckpointStore()
  const lease = await store.acquire('bench', { host: 'bench', pid: process.pid, startedAt: null })
  await store.save(lease, { position: await startPosition(options), source: 'postgres', sinks: [sink] })
  return store
}

async function startPosition({ url, publication, from, system }: ContenderOptions): Promise<SourcePosition> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const types = await readTypes(client)
  const query = { publication, selection: selectTables(['public.*']), serverVersion: 180_000 }
  const stored = (await readTables(client, query)).map(
    (table) => [`${table.namespace}.${table.name}`, storedTable(table, types, from)] as const,
  )
  await client.end()
  return { order: '0', resume: { lsn: from, system, tables: Object.fromEntries(stored) } as never }
}
