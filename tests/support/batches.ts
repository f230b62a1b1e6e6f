import { RecordBatch } from '../../src/core/batch.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { SchemaOperation } from '../../src/core/table.ts'
import { ValueBatchBuilder } from '../../src/core/value-batch.ts'
import { table } from './memory-pipeline.ts'

export const users = table('users')

/** Positions are plain numbers in tests. */
export function at(number: number): SourcePosition {
  return { order: String(number).padStart(4, '0'), resume: number }
}

/** One transaction with one insert per id, committed at `number` by a server whose clock shows `number` seconds. */
export function transaction(number: number, ...ids: readonly number[]): RecordBatch {
  return transactions([number, ...ids])
}

/** Several transactions, each `[number, ...ids]`; a negative number leaves the last one open. */
export function transactions(...all: readonly (readonly [number, ...number[]])[]): RecordBatch {
  const builder = new ValueBatchBuilder('stream')
  for (const [number, ...ids] of all) {
    builder.begin({
      id: String(Math.abs(number)),
      commitTimeMs: Math.abs(number) * 1000,
      version: BigInt(Math.abs(number)) << 16n,
    })
    for (const id of ids) builder.insert(users, { id, name: `user ${id}`, note: null })
    if (number > 0) builder.commit(at(number))
  }
  return builder.take()!
}

/** Rows of a first copy, in the middle of a chunk. */
export function copied(...ids: readonly number[]): RecordBatch {
  return copyBatch(ids, null)
}

/** Rows of a first copy, with which a chunk is finished. */
export function copiedChunk(number: number, ...ids: readonly number[]): RecordBatch {
  return copyBatch(ids, number)
}

function copyBatch(ids: readonly number[], number: number | null): RecordBatch {
  const builder = new ValueBatchBuilder('snapshot')
  builder.begin({ id: 'copy', commitTimeMs: null, version: 0n })
  for (const id of ids) builder.insert(users, { id, name: `user ${id}`, note: null })
  if (number !== null) builder.commit(at(number))
  return builder.take()!
}

export function heartbeat(number: number): RecordBatch {
  return RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position: at(number), timeMs: number * 1000 })
}

export function schemaChange(
  kind: 'create-table' | 'drop-table' | 'truncate' | 'change-key',
  origin: 'snapshot' | 'stream' = 'stream',
  position: SourcePosition | null = null,
): RecordBatch {
  const change: SchemaOperation = { kind }
  const before = kind === 'create-table' ? null : users
  return RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', before, table: users, change, origin }, position)
}

/** The ids of the inserted rows. */
export function idsOf(batch: RecordBatch | null): unknown[] {
  return [...(batch ?? [])].flatMap((record) => (record._tag === 'Insert' ? [record.after.value(0)] : []))
}
