import { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import { RecordBatch } from '../../src/core/batch.ts'
import type { ColumnType } from '../../src/core/column-type.ts'
import type { LogFields } from '../../src/core/context.ts'
import type { SinkContext, WriteContext, WriteResult } from '../../src/core/sink.ts'
import type { Column, SchemaOperation, TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder } from '../../src/core/value-batch.ts'
import * as Schema from 'effect/Schema'

export const int = (bits: 8 | 16 | 32 | 64, unsigned = false): ColumnType => ({ kind: 'int', bits, unsigned })
export const text: ColumnType = { kind: 'text' }
export const decimal = (precision: number, scale: number): ColumnType => ({
  kind: 'decimal',
  precision,
  scale,
})
export const timestamp = (digits: number, zoned = true): ColumnType => ({ kind: 'timestamp', digits, zoned })
export const arrayOf = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })

export function column(id: string, name: string, type: ColumnType, nullable = false): Column {
  return { id, name, type, nullable, native: '' }
}

export function table(columns: readonly Column[], more: Partial<TableSchema> = {}): TableSchema {
  return { namespace: 'public', name: 'orders', columns, key: [0], version: 1, ...more }
}

/** Options as a user writes them. */
export function options(url: string, database: string, more: Record<string, unknown> = {}): ClickHouseConfig {
  return Schema.decodeUnknownSync(ClickHouseConfig)({ url, database, ...more })
}

export const attempt: WriteContext = { signal: new AbortController().signal, attempt: 1 }

let runs = 0

/** What a pipeline gives the sink. */
export function context(warnings: string[] = [], pipeline = 'test'): SinkContext {
  const log = (message: string, _fields?: LogFields): void => void warnings.push(message)
  runs++
  return {
    pipeline,
    run: runs,
    now: () => Date.now(),
    log: { debug: () => {}, info: () => {}, warn: log, error: log },
  }
}

export async function connected(
  url: string,
  database: string,
  more: Record<string, unknown> = {},
  pipeline = 'test',
): Promise<ClickHouseSink> {
  const sink = new ClickHouseSink(options(url, database, more))
  await sink.connect(context([], pipeline))
  return sink
}

/** One transaction; the version is that of the first row. */
export function transaction(
  version: number | bigint,
  fill: (builder: ValueBatchBuilder) => void,
  origin: 'snapshot' | 'stream' = 'stream',
): RecordBatch {
  const builder = new ValueBatchBuilder(origin)
  builder.begin({ id: String(version), commitTimeMs: 0, version: BigInt(version) })
  fill(builder)
  builder.commit(at(version))
  return builder.take()!
}

export function at(version: number | bigint) {
  return { order: String(version).padStart(20, '0'), resume: String(version) }
}

/** Writes the batch and makes it durable. */
export async function store(sink: ClickHouseSink, batch: RecordBatch): Promise<WriteResult> {
  await sink.writeBatch(batch, attempt)
  return sink.flush(attempt)
}

/** Applies a change as the runtime does: after a flush. */
export async function change(
  sink: ClickHouseSink,
  before: TableSchema,
  after: TableSchema,
  operation: SchemaOperation,
): Promise<string> {
  await sink.flush(attempt)
  const record = { _tag: 'SchemaChange', before, table: after, change: operation, origin: 'stream' } as const
  return sink.alterTable(before, RecordBatch.ofSchemaChange(record).schemaChange!)
}
