/** What a source writes, mapped: rows, schema changes and positions. */
import { RecordBatch } from '../../core/batch.ts'
import { SchemaError } from '../../core/error.ts'
import type { NormalizedMapping } from '../../core/mapping/normalized.ts'
import { BatchMapping } from '../../core/mapping/rows/row-batches.ts'
import type { SchemaStep } from '../../core/mapping/diff.ts'
import { type MappedTable, mappedTable, stepsTo } from '../../core/mapping/rows/row-changes.ts'
import {
  type CurrentNames,
  planRows,
  type RowPlan,
  type RowProblem,
} from '../../core/mapping/rows/rows-plan.ts'
import { RowMapping } from '../../core/mapping/rows/rows.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { Origin, SchemaChange } from '../../core/record.ts'
import type { BatchWriter } from '../../core/source.ts'
import { tableName, type TableSchema } from '../../core/table.ts'
import { MappedPosition } from './mapped-position.ts'
import { currentNames, type Locate, reads, toProblems } from './mapped-tables.ts'

export interface MappedStreamOptions {
  readonly mapping: NormalizedMapping
  readonly locate: Locate
  /** The tables of the source as it has them now; the log may be behind. */
  readonly current: readonly TableSchema[]
  /** What sinks have already. */
  readonly known: readonly MappedTable[]
  readonly out: BatchWriter
  /** Milliseconds since 1970 UTC. */
  now(): number
}

export class MappedStream implements BatchWriter {
  readonly #options: MappedStreamOptions
  readonly #rows: BatchMapping
  /** By name of the source's table, what its rows become now. */
  readonly #mappings = new Map<
    string,
    { readonly source: TableSchema; readonly each: readonly RowMapping[] }
  >()
  #known: readonly MappedTable[]
  /** What the source calls the columns of its tables, until the log has come there. */
  readonly #current: Map<string, CurrentNames>
  /** The last position that was handed over. */
  position: SourcePosition | null = null

  constructor(options: MappedStreamOptions) {
    this.#options = options
    this.#known = options.known
    this.#current = new Map(options.current.map((table) => [tableName(table), currentNames(table)]))
    this.#rows = new BatchMapping({
      of: (table) => this.#mappingsOf(table),
      position: (position) => new MappedPosition(position, this.#known),
    })
  }

  get signal(): AbortSignal {
    return this.#options.out.signal
  }

  write(batch: RecordBatch): void | Promise<void> {
    const room = this.#write(batch)
    // A source that was broken off may not listen any more: that must not end the process.
    room?.catch(() => {})
    return room
  }

  #write(batch: RecordBatch): void | Promise<void> {
    if (batch.schemaChange !== null) return this.#change(batch.schemaChange, batch.position)
    if (batch.rows === null) return this.#tell(batch.position!, batch.heartbeat!.timeMs)
    const { batch: mapped, position } = this.#rows.map(batch)
    const room = mapped === null ? undefined : this.#hand(mapped)
    if (position === null) return room
    const tell = () => this.#tell(position, batch.commitTimeMs ?? this.#options.now())
    return room === undefined ? tell() : room.then(tell)
  }

  /** Says that sinks' tables are made no longer. */
  async drop(tables: readonly MappedTable[]): Promise<void> {
    for (const { schema } of tables) await this.#hand(RecordBatch.ofTable('drop-table', schema, 'stream'))
  }

  #hand(batch: RecordBatch): void | Promise<void> {
    if (batch.position !== null) this.position = batch.position
    return this.#options.out.write(batch)
  }

  #tell(position: SourcePosition, timeMs: number): void | Promise<void> {
    const mapped = new MappedPosition(position, this.#known)
    return this.#hand(RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position: mapped, timeMs }))
  }

  async #change(change: SchemaChange, position: SourcePosition | null): Promise<void> {
    const batches = [...this.#batches(change)]
    if (batches.length > 0 && change.origin === 'stream') {
      const begin = this.#rows.announce()
      if (begin !== null) await this.#hand(begin)
    }
    for (const batch of batches) await this.#hand(batch)
    if (position !== null) await this.#tell(position, this.#options.now())
  }

  /** What a schema change of the source is for the mapped tables. */
  *#batches({ change, table, origin }: SchemaChange): Generator<RecordBatch> {
    const name = tableName(table)
    const known = this.#known.filter(({ source }) => tableName(source) === name)
    switch (change.kind) {
      case 'truncate':
        for (const { schema } of known) yield RecordBatch.ofTable('truncate', schema, origin)
        return
      case 'drop-table':
        for (const { schema } of known) yield RecordBatch.ofTable('drop-table', schema, origin)
        this.#known = this.#known.filter(({ source }) => tableName(source) !== name)
        this.#mappings.delete(name)
        return
      default: {
        const plans = this.#plan(table)
        for (const plan of plans) yield* this.#bring(plan, change.kind === 'create-table', origin)
        this.#mappings.set(name, { source: table, each: plans.map((plan) => new RowMapping(plan)) })
      }
    }
  }

  /** Brings a table of the sinks to its plan. */
  *#bring(plan: RowPlan, announces: boolean, origin: Origin): Generator<RecordBatch> {
    const next = mappedTable(plan)
    const name = tableName(plan.target)
    const known = this.#known.find(({ schema }) => tableName(schema) === name)
    const isCopied = announces && origin === 'snapshot'
    const steps = known === undefined ? [] : stepsTo(known, next, isCopied)
    // A change of the mapping, which needs the table as it was.
    if (announces && steps.length > 0) yield RecordBatch.ofTable('create-table', known!.schema, 'stream')
    for (const step of steps) yield stepBatch(step, announces ? 'stream' : origin)
    if (announces && (steps.length === 0 || isCopied))
      yield RecordBatch.ofTable('create-table', plan.target, origin)
    this.#known = [...this.#known.filter((other) => other !== known), next]
  }

  #plan(source: TableSchema): readonly RowPlan[] {
    const { mapping, locate } = this.#options
    const names = this.#current.get(tableName(source)) ?? null
    const isCurrent = source.columns.every(({ id, name }) => names?.get(id) === name)
    if (isCurrent && names?.size === source.columns.length) this.#current.delete(tableName(source))
    const planned = mapping.tables
      .filter((table) => reads(table, source))
      .map((table) => planRows(table, source, source.namespace, names))
    const problems = planned.flatMap(({ problems: found }) => found ?? [])
    if (problems.length > 0) throw unmappable(source, problems, locate)
    const plans = planned.map(({ plan }) => plan!)
    for (const { target, mapping: table } of plans) {
      const other = this.#known.find(({ schema }) => tableName(schema) === tableName(target))
      if (other === undefined || tableName(other.source) === tableName(source)) continue
      const reason = `makes the table ${tableName(target)}, which is made from ${tableName(other.source)} already`
      throw unmappable(source, [{ ...table.place, code: 'mapping/twice', reason }], locate)
    }
    return plans
  }

  #mappingsOf(table: TableSchema): readonly RowMapping[] {
    const known = this.#mappings.get(tableName(table))
    if (known === undefined) return []
    if (known.source === table) return known.each
    // The same in other words: a source may make its schemas anew.
    const each = known.each.map(({ plan }) => new RowMapping({ ...plan, source: table }))
    const isSame = JSON.stringify(table.columns) === JSON.stringify(known.source.columns)
    if (!isSame) return this.#plan(table).map((plan) => new RowMapping(plan))
    this.#mappings.set(tableName(table), { source: table, each })
    return each
  }
}

function stepBatch({ before, after, change }: SchemaStep, origin: Origin): RecordBatch {
  return RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', before, table: after, change, origin })
}

/** The table has become one that the mapping does not fit. */
export function unmappable(
  source: TableSchema,
  problems: readonly RowProblem[],
  locate: Locate,
): SchemaError {
  const [first] = toProblems(problems, locate)
  const lines = toProblems(problems, locate).map(({ message }) => message)
  return new SchemaError(
    first!.code,
    `the table ${tableName(source)} is no longer what the mapping says: ${lines.join('; ')}`,
    { fix: 'Change the mapping for the table as it is now and start again, or load the mapping again.' },
  )
}
