/** What the log holds, as records of a batch. Pure. */
import { RecordBatch } from '../../../core/batch.ts'
import { UNCHANGED } from '../../../core/canonical.ts'
import { PositionLostError } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { Origin } from '../../../core/record.ts'
import type { SnapshotProgress } from '../../../core/source.ts'
import type { TableSchema } from '../../../core/table.ts'
import type { ValueBatchBuilder, ValueRow } from '../../../core/value-batch.ts'
import type { MemoryChange } from './database.ts'

/** Transactions are numbered, which is all that a position has to say. */
export function positionOf(number: number): SourcePosition {
  return { order: String(number).padStart(16, '0'), resume: number }
}

export function versionOf(number: number): bigint {
  return BigInt(number) << 16n
}

export function change(kind: 'create-table' | 'truncate', table: TableSchema, origin: Origin): RecordBatch {
  const before = kind === 'create-table' ? null : table
  return RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', before, table, change: { kind }, origin })
}

/** One change of a row. `partialUpdates` leaves unchanged cells out, as some databases' logs do. */
export function addRow(
  builder: ValueBatchBuilder,
  change: Exclude<MemoryChange, { kind: 'schema' }>,
  partialUpdates: boolean,
): void {
  const { table } = change
  if (change.kind === 'insert') builder.insert(table, change.after)
  else if (change.kind === 'delete') builder.delete(table, change.before)
  else if (!partialUpdates || changesKey(change)) builder.update(table, change.after, change.before)
  else builder.update(table, partial(change))
}

/** The log is read up to `done`. */
export function heartbeat(done: number, timeMs: number): RecordBatch {
  return RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position: positionOf(done), timeMs })
}

export function oneTableMore(progress: SnapshotProgress, rows: number): SnapshotProgress {
  const { tablesDone, rowsCopied } = progress
  return { ...progress, tablesDone: tablesDone + 1, rowsCopied: rowsCopied + rows }
}

export function positionLost(database: string): PositionLostError {
  const message = `the log of database "${database}" does not reach back to the checkpoint`
  const fix = 'Remove the checkpoint of this pipeline to copy everything again.'
  return new PositionLostError('memory/position-lost', message, { fix })
}

type MemoryUpdate = Extract<MemoryChange, { kind: 'update' }>

/** A new key comes with the full row (law L6): at a replay the old one may be gone or be another row's. */
function changesKey({ table, before, after }: MemoryUpdate): boolean {
  return table.key.map((index) => table.columns[index]!.name).some((name) => before[name] !== after[name])
}

/** The row as a log that leaves out unchanged cells has it: always with the key. */
function partial({ table, before, after }: MemoryUpdate): ValueRow {
  const cells = table.columns.map(({ name }, index) => {
    const kept = table.key.includes(index) || before[name] !== after[name]
    return [name, kept ? after[name] : UNCHANGED] as const
  })
  return Object.fromEntries(cells)
}
