import { UNCHANGED, type Value } from '../../src/core/canonical.ts'
import { RecordBatch } from '../../src/core/batch.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import type { Sink } from '../../src/core/sink.ts'
import type { Column, SchemaOperation, TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../src/core/value-batch.ts'
import { column, int, table } from './memory-pipeline.ts'
import { Random } from './random.ts'
import { place } from './zero-sink-run.ts'

type Action =
  | { readonly kind: 'batch'; readonly batch: RecordBatch }
  | { readonly kind: 'change'; readonly change: SchemaChange }

/** Steps of a copy within a period of steps: it begins, is disturbed, and ends. */
const PERIOD = 29
const COPY_BEGINS = 20
const COPY_ENDS = 22

/**
 * What a source with one table does, step by step, the same for the same seed; each step ends with the position of its
 * number. Transactions of all sizes, schema changes, and copies that find other rows than there were.
 */
export class Story {
  readonly #seed: number
  step = 0
  schema: TableSchema = table('users')
  readonly rows = new Map<number, Record<string, Value>>()

  constructor(seed: number) {
    this.#seed = seed
    for (let id = 0; id < 30; id++) this.rows.set(id, this.#row(id, 'first'))
  }

  /** After so many steps. */
  static at(seed: number, step: number): Story {
    const story = new Story(seed)
    while (story.step < step) story.next()
    return story
  }

  /** Number of the last step up to this one after which the state is whole. */
  static wholeStep(step: number): number {
    const within = step % PERIOD
    return within >= COPY_BEGINS && within < COPY_ENDS ? step - (within - COPY_BEGINS) - 1 : step
  }

  /** As a replica has them. */
  get cells(): readonly Readonly<Record<string, unknown>>[] {
    return [...this.rows].toSorted(([a], [b]) => a - b).map(([, row]) => row)
  }

  /** What is done in the first step of all: the copy of what there is. */
  firstCopy(): readonly Action[] {
    return [
      this.#change({ kind: 'truncate' }, this.schema, 'snapshot'),
      this.#batch('snapshot', (rows) => this.#copy(rows, () => true)),
    ]
  }

  /** A source says where it goes on, before a copy may begin. */
  heartbeat(): Action {
    const position = this.#place()
    return {
      kind: 'batch',
      batch: RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: this.step }),
    }
  }

  next(): readonly Action[] {
    this.step++
    const random = new Random(this.#seed * 31 + this.step)
    const within = this.step % PERIOD
    if (within === COPY_BEGINS) {
      // Changes that nobody saw.
      for (const id of this.rows.keys()) if (random.chance(0.3)) this.rows.delete(id)
      for (let count = 0; count < 10; count++) this.#put(random.below(60), `unseen in ${this.step}`)
      const begins = this.#change({ kind: 'truncate' }, this.schema, 'snapshot')
      return [begins, this.#batch('snapshot', (rows) => this.#copy(rows, (id) => id % 2 === 0))]
    }
    if (within === COPY_BEGINS + 1)
      return [this.#batch('stream', (rows) => this.#write(rows, random, 5, (id) => id % 2 === 0))]
    if (within === COPY_ENDS)
      return [this.#batch('snapshot', (rows) => this.#copy(rows, (id) => id % 2 === 1))]
    const actions: Action[] = []
    if (this.step % 17 === 5) actions.push(this.#addColumn(random.below(100)))
    if (this.step % 17 === 11) actions.push(...this.#dropColumn())
    if (this.step % 41 === 40) {
      this.rows.clear()
      actions.push(this.#change({ kind: 'truncate' }, this.schema, 'stream'))
    }
    return [...actions, ...this.#transaction(random)]
  }

  #transaction(random: Random): readonly Action[] {
    const builder = this.#builder('stream')
    const batches: RecordBatch[] = []
    const parts = random.chance(0.2) ? 1 + random.below(4) : 1
    const large = random.chance(0.02)
    for (let part = 0; part < parts; part++) {
      this.#write(builder, random, 1 + random.below(12), () => true, large ? 200_000 : 20)
      const batch = part < parts - 1 ? builder.take() : null
      if (batch !== null) batches.push(batch)
    }
    builder.commit(this.#place())
    return [...batches, builder.take()!].map((batch) => ({ kind: 'batch', batch }))
  }

  #write(
    rows: ValueBatchBuilder,
    random: Random,
    count: number,
    may: (id: number) => boolean,
    length = 20,
  ): void {
    for (let row = 0; row < count; row++) {
      const id = random.below(60)
      if (!may(id)) continue
      const old = this.rows.get(id)
      if (old === undefined) rows.insert(this.schema, this.#put(id, `inserted in ${this.step}`))
      else if (random.chance(0.2)) {
        this.rows.delete(id)
        rows.delete(this.schema, { id })
      } else {
        const name = `updated in ${this.step} ${'x'.repeat(length)}`
        this.rows.set(id, { ...old, name })
        const partial = Object.fromEntries(this.schema.columns.map((one) => [one.name, UNCHANGED]))
        rows.update(this.schema, random.chance(0.5) ? this.rows.get(id)! : { ...partial, id, name })
      }
    }
  }

  #copy(rows: ValueBatchBuilder, which: (id: number) => boolean): void {
    for (const [id, row] of this.rows) if (which(id)) rows.insert(this.schema, row)
  }

  #addColumn(value: number): Action {
    const added: Column = { ...column(`c${this.step}`, int), addedDefault: String(value) }
    const before = this.schema
    const plain = column(added.name, int)
    this.schema = { ...before, columns: [...before.columns, plain] }
    for (const row of this.rows.values()) row[added.name] = value
    return this.#change({ kind: 'add-column', column: added }, before, 'stream', {
      ...before,
      columns: [...before.columns, added],
    })
  }

  #dropColumn(): readonly Action[] {
    const before = this.schema
    const gone = before.columns.find(({ name }) => name.startsWith('c'))
    if (gone === undefined) return []
    this.schema = { ...before, columns: before.columns.filter((one) => one !== gone) }
    for (const row of this.rows.values()) delete row[gone.name]
    return [this.#change({ kind: 'drop-column', column: gone }, before, 'stream')]
  }

  #change(
    change: SchemaOperation,
    before: TableSchema,
    origin: 'snapshot' | 'stream',
    after = this.schema,
  ): Action {
    return { kind: 'change', change: { _tag: 'SchemaChange', before, table: after, change, origin } }
  }

  #batch(origin: 'snapshot' | 'stream', fill: (rows: ValueBatchBuilder) => void): Action {
    const builder = this.#builder(origin)
    fill(builder)
    builder.commit(this.#place())
    return { kind: 'batch', batch: builder.take()! }
  }

  #builder(origin: 'snapshot' | 'stream'): ValueBatchBuilder {
    const builder = new ValueBatchBuilder(origin)
    builder.begin({ id: String(this.step), commitTimeMs: this.step, version: BigInt(this.step) << 16n })
    return builder
  }

  #place() {
    return place(this.step, Story.wholeStep(this.step) !== this.step)
  }

  #put(id: number, name: string): ValueRow {
    const row = this.#row(id, name)
    this.rows.set(id, row)
    return row
  }

  #row(id: number, name: string): Record<string, Value> {
    const others = this.schema.columns
      .filter((one) => one.name.startsWith('c'))
      .map((one): [string, Value] => [one.name, id])
    return { id, name, note: null, ...Object.fromEntries(others) }
  }
}

/** Makes the sink do it. Returns the order of what is durable; null when nothing is. */
export async function perform(
  sink: Sink,
  actions: readonly Action[],
  flush: boolean,
): Promise<number | null> {
  const context = { signal: new AbortController().signal, attempt: 1 }
  let durable = null
  for (const action of actions) {
    if (action.kind === 'batch') ({ durable } = await sink.writeBatch(action.batch, context))
    else {
      await sink.flush!(context)
      await sink.alterTable(action.change.before!, action.change)
    }
  }
  if (flush) ({ durable } = await sink.flush!(context))
  return durable === null ? null : Number(durable.order)
}
