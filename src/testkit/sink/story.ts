import { RecordBatch } from '../../core/batch.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { Origin, SchemaChange } from '../../core/record.ts'
import { type SchemaOperation, tableName, type TableSchema } from '../../core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../core/value-batch.ts'
import type { Random } from '../random.ts'

export type RowChange =
  | { readonly op: 'insert'; readonly table: TableSchema; readonly row: ValueRow }
  | {
      readonly op: 'update'
      readonly table: TableSchema
      readonly row: ValueRow
      /** The complete old row, the old key, or null. */
      readonly before: ValueRow | null
    }
  | { readonly op: 'delete'; readonly table: TableSchema; readonly before: ValueRow }

/** One transaction, or one change of a schema. */
export type Step =
  | { readonly kind: 'rows'; readonly origin: Origin; readonly changes: readonly RowChange[] }
  | { readonly kind: 'schema'; readonly change: SchemaChange }

/** What a run does for a part of a story. */
export type Call =
  | { readonly kind: 'write'; readonly batch: RecordBatch }
  | { readonly kind: 'change'; readonly change: SchemaChange }

export const insert = (table: TableSchema, row: ValueRow): RowChange => ({ op: 'insert', table, row })
export const update = (table: TableSchema, row: ValueRow, before: ValueRow | null = null): RowChange => ({
  op: 'update',
  table,
  row,
  before,
})
export const remove = (table: TableSchema, before: ValueRow): RowChange => ({ op: 'delete', table, before })

/** A transaction. */
export const rows = (...changes: readonly RowChange[]): Step => ({ kind: 'rows', origin: 'stream', changes })
/** A part of a table's first copy. */
export const copied = (...changes: readonly RowChange[]): Step => ({
  kind: 'rows',
  origin: 'snapshot',
  changes,
})

/** A change from one schema to another. */
export function changed(
  before: TableSchema,
  table: TableSchema,
  change: SchemaOperation,
  origin: Origin = 'stream',
): Step {
  return { kind: 'schema', change: { _tag: 'SchemaChange', before, table, change, origin } }
}

export const dropped = (table: TableSchema): Step => changed(table, table, { kind: 'drop-table' })

/** A table that was not there before. */
export const created = (table: TableSchema): Step => ({
  kind: 'schema',
  change: {
    _tag: 'SchemaChange',
    before: null,
    table,
    change: { kind: 'create-table' },
    origin: 'snapshot',
  },
})

export const truncated = (table: TableSchema, origin: Origin = 'stream'): Step =>
  changed(table, table, { kind: 'truncate' }, origin)

/** Where one may resume after a step; steps are counted from 1. */
function positionOf(step: number): SourcePosition {
  return { order: String(step).padStart(8, '0'), resume: { step } }
}

/** The step that a position is of; 0 for null, where everything is still to come. */
export function stepOf(position: SourcePosition | null): number {
  return position === null ? 0 : Number(position.order)
}

const VERSIONS_PER_STEP = 16n

/** Row version of the first row of a step. */
function versionOf(step: number): bigint {
  return BigInt(step) << VERSIONS_PER_STEP
}

export function addChange(builder: ValueBatchBuilder, change: RowChange): void {
  if (change.op === 'insert') builder.insert(change.table, change.row)
  else if (change.op === 'update') builder.update(change.table, change.row, change.before)
  else builder.delete(change.table, change.before)
}

function begin(builder: ValueBatchBuilder, step: number): void {
  builder.begin({ id: String(step), commitTimeMs: 1_700_000_000_000 + step, version: versionOf(step) })
}

/** One transaction as a batch. */
export function transaction(step: number, ...changes: readonly RowChange[]): RecordBatch {
  const builder = new ValueBatchBuilder('stream')
  begin(builder, step)
  for (const change of changes) addChange(builder, change)
  builder.commit(positionOf(step))
  return builder.take()!
}

export function heartbeat(step: number): RecordBatch {
  return RecordBatch.ofHeartbeat({
    _tag: 'Heartbeat',
    position: positionOf(step),
    timeMs: 1_700_000_000_000 + step,
  })
}

/** What happens to some tables, as data: every run builds its batches from it anew, so a replay is the same again. */
export class Story {
  /** As they are before the first step. */
  readonly tables: readonly TableSchema[]
  readonly steps: readonly Step[]

  constructor(tables: readonly TableSchema[], steps: readonly Step[]) {
    this.tables = tables
    this.steps = steps
  }

  get length(): number {
    return this.steps.length
  }

  /** The tables after so many steps, as a source announces them at a start there. */
  tablesAfter(step: number): readonly TableSchema[] {
    const found = new Map(this.tables.map((schema) => [tableName(schema), schema]))
    for (const item of this.steps.slice(0, step)) {
      if (item.kind !== 'schema') continue
      const { table, change } = item.change
      if (change.kind === 'drop-table') found.delete(tableName(table))
      else found.set(tableName(table), table)
    }
    return [...found.values()]
  }

  /** Steps after which one may resume: the beginning, and every transaction. */
  get resumable(): readonly number[] {
    return [0, ...this.steps.flatMap((step, index) => (step.kind === 'rows' ? [index + 1] : []))]
  }

  /**
   * The calls for the steps behind `from` up to `to`. With `random`, batches hold several transactions and large
   * transactions are cut; without, each transaction is one batch.
   */
  *calls(from: number, to: number, random: Random | null = null): Generator<Call, void, undefined> {
    let builder: ValueBatchBuilder | null = null
    let origin: Origin = 'stream'
    for (let index = from; index < to; index++) {
      const step = this.steps[index]!
      const fits = builder !== null && step.kind === 'rows' && step.origin === origin
      if (!fits) {
        yield* taken(builder)
        builder = null
      }
      if (step.kind === 'schema') {
        yield { kind: 'change', change: step.change }
        continue
      }
      origin = step.origin
      builder ??= new ValueBatchBuilder(origin)
      begin(builder, index + 1)
      for (const change of step.changes) {
        addChange(builder, change)
        if (random?.chance(0.1) === true) yield* taken(builder)
      }
      builder.commit(positionOf(index + 1))
      if (random === null || random.chance(0.4)) {
        yield* taken(builder)
        builder = null
      }
    }
    yield* taken(builder)
  }
}

function* taken(builder: ValueBatchBuilder | null): Generator<Call, void, undefined> {
  const batch = builder?.take() ?? null
  if (batch !== null) yield { kind: 'write', batch }
}
