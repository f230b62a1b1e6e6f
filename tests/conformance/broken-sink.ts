/** Sinks that break one law each, made of one that keeps them. */
import type { RecordBatch, TransactionSpan } from '../../src/core/batch.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import type { Sink } from '../../src/core/sink.ts'
import { type SchemaOperation, tableName, type TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder } from '../../src/core/value-batch.ts'
import type { SinkBench, SinkHarness } from '../../src/testkit/index.ts'
import { addChange, type RowChange } from '../../src/testkit/sink/story.ts'
import { merged } from './broken-source.ts'

/** The harness, with sinks some of whose methods are others. `bench` is the same object for all sinks of a target. */
export function broken(
  harness: SinkHarness,
  methods: (inner: Sink, bench: SinkBench) => Partial<Sink>,
): SinkHarness {
  return withBench(harness, (bench) => ({
    create: (options) => {
      const inner = bench.create(options)
      return merged(inner, methods(inner, bench))
    },
  }))
}

/** The harness, with some members of its benches replaced. */
export function withBench(
  harness: SinkHarness,
  members: (bench: SinkBench) => Partial<SinkBench>,
): SinkHarness {
  return {
    ...harness,
    async open(needs) {
      const bench = await harness.open(needs)
      return merged(bench, members(bench))
    },
  }
}

/** How a sink may misunderstand what it is given. */
export interface Misreading {
  schema?(schema: TableSchema): TableSchema
  operation?(operation: SchemaOperation): SchemaOperation
  /** The rows of one transaction of a batch. */
  changes?(changes: readonly RowChange[], batch: RecordBatch): readonly RowChange[]
}

/** The harness, with sinks that misunderstand schemas or rows. */
export function misreading(harness: SinkHarness, { schema, operation, changes }: Misreading): SinkHarness {
  return broken(harness, (inner) => {
    const understood = schema ?? ((table: TableSchema) => table)
    /** The same table is the same object again, and the same batch too. */
    const tables = new Map<string, TableSchema>()
    const batches = new WeakMap<RecordBatch, RecordBatch>()
    const read = (table: TableSchema): TableSchema => {
      const key = JSON.stringify([tableName(table), table.columns, table.key])
      const known = tables.get(key) ?? understood(table)
      tables.set(key, known)
      return known
    }
    const misread = (batch: RecordBatch): RecordBatch => {
      const made =
        batches.get(batch) ?? rebuilt(batch, (all) => (changes?.(all, batch) ?? all).map(renamed(read)))
      batches.set(batch, made)
      return made
    }
    return {
      createTable: (table) => inner.createTable(read(table)),
      alterTable: (before, change) => {
        const table = read(change.table)
        const what: SchemaChange = { ...change, table, change: operation?.(change.change) ?? change.change }
        return inner.alterTable(read(before), what)
      },
      writeBatch: (batch, context) => inner.writeBatch(misread(batch), context),
    }
  })
}

/** Cells follow their columns by place. */
function renamed(read: (table: TableSchema) => TableSchema) {
  return (change: RowChange): RowChange => {
    const { table } = change
    const other = read(table)
    if (other === table) return change
    const names = new Map(table.columns.map(({ name }, index) => [name, other.columns[index]!.name]))
    const row = <Row extends object | null>(cells: Row): Row =>
      cells === null
        ? cells
        : (Object.fromEntries(Object.entries(cells).map(([name, cell]) => [names.get(name)!, cell])) as Row)
    if (change.op === 'insert') return { ...change, table: other, row: row(change.row) }
    if (change.op === 'delete') return { ...change, table: other, before: row(change.before) }
    return { ...change, table: other, row: row(change.row), before: row(change.before) }
  }
}

function rebuilt(
  batch: RecordBatch,
  edit: (changes: readonly RowChange[]) => readonly RowChange[],
): RecordBatch {
  if (batch.rows === null) return batch
  const builder = new ValueBatchBuilder(batch.origin)
  for (const span of batch.spans) {
    builder.begin({
      id: span.id,
      commitTimeMs: span.commitTimeMs,
      version: span.version + BigInt(span.firstOrdinal),
    })
    for (const change of edit(changesOf(batch, span))) addChange(builder, change)
    if (span.position !== null) builder.commit(span.position)
  }
  return builder.take() ?? batch
}

function changesOf(batch: RecordBatch, span: TransactionSpan): readonly RowChange[] {
  return Array.from({ length: span.endRow - span.firstRow }, (_, index): RowChange => {
    const record = batch.record(span.firstRow + index)
    switch (record._tag) {
      case 'Insert':
        return { op: 'insert', table: record.table, row: record.after.toObject() }
      case 'Update':
        return {
          op: 'update',
          table: record.table,
          row: record.after.toObject(),
          before: record.before?.toObject() ?? null,
        }
      case 'Delete':
        return { op: 'delete', table: record.table, before: record.before.toObject() }
      default:
        throw new TypeError(`${record._tag} is no change of a row`)
    }
  })
}
