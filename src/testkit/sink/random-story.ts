import { UNCHANGED, type Value } from '../../core/canonical.ts'
import type { SinkCapabilities } from '../../core/sink.ts'
import type { TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import type { TextRow } from '../change.ts'
import type { Random } from '../random.ts'
import { column, int, table, text } from './cells.ts'
import { Model } from './model.ts'
import { insert, remove, type RowChange, rows, type Step, Story, truncated, update } from './story.ts'

const items = table('items', [
  column('1', 'id', int(64)),
  column('2', 'note', text, true),
  column('3', 'amount', int(32), true),
  column('4', 'body', text),
])
const lines = table(
  'lines',
  [
    column('1', 'order_id', int(32)),
    column('2', 'amount', int(32), true),
    column('3', 'line', text),
    column('4', 'note', text, true),
  ],
  { key: [0, 2] },
)

/** Few keys, so that the same ones come again and again. */
const KEYS = 24

export interface StoryOptions {
  readonly steps: number
  /** Which updates leave out what did not change, where the sink can bear that; `stay`: those that keep the key. */
  readonly partial: 'none' | 'stay' | 'all'
  readonly truncates: boolean
}

/** A history of two tables that a sink with these capabilities must follow. */
export function randomStory(
  random: Random,
  capabilities: SinkCapabilities,
  mark: string,
  options: StoryOptions,
): Story {
  return new Teller(random, capabilities, mark, options).story()
}

/** Makes up changes that are possible, since it knows what is there. */
class Teller {
  readonly #random: Random
  readonly #capabilities: SinkCapabilities
  readonly #mark: string
  readonly #options: StoryOptions
  readonly #model = new Model([items, lines])
  #texts = 0

  constructor(random: Random, capabilities: SinkCapabilities, mark: string, options: StoryOptions) {
    this.#random = random
    this.#capabilities = capabilities
    this.#mark = mark
    this.#options = options
  }

  story(): Story {
    const steps: Step[] = []
    while (steps.length < this.#options.steps) {
      if (this.#options.truncates && this.#random.chance(0.04)) {
        const step = truncated(this.#random.pick([items, lines]))
        this.#model.apply(step)
        steps.push(step)
      }
      const changes: RowChange[] = []
      for (let left = this.#random.below(12); left > 0; left--) changes.push(...this.#tell())
      steps.push(rows(...changes))
    }
    return new Story([items, lines], steps)
  }

  /** One change, or the three of a swap. */
  #tell(): readonly RowChange[] {
    const schema = this.#random.pick([items, lines])
    const stored = this.#model.rows(schema)
    const { supportsUpsert, supportsDelete } = this.#capabilities
    const free = this.#freeKey(schema, stored)
    const dice = this.#random.next()
    if (stored.length === 0 || !supportsUpsert || (free !== null && dice < 0.35))
      return free === null ? [] : this.#told(insert(schema, { ...this.#values(schema), ...free }))
    const row = this.#random.pick(stored)
    if (!supportsDelete || dice < 0.65)
      return this.#told(update(schema, this.#next(schema, row, 'stay'), this.#full(row)))
    if (dice < 0.8) return this.#told(remove(schema, this.#old(schema, row)))
    if (free === null) return []
    if (dice < 0.93) return this.#told(this.#move(schema, row, free))
    return this.#swap(schema, row, this.#random.pick(stored), free)
  }

  #told(...changes: readonly RowChange[]): readonly RowChange[] {
    for (const change of changes) this.#model.apply(rows(change))
    return changes
  }

  #swap(schema: TableSchema, one: TextRow, other: TextRow, free: ValueRow): readonly RowChange[] {
    if (one === other) return []
    const keep = (row: TextRow): ValueRow => ({ ...row, ...this.#unchanged(schema, 'move') })
    const [first, second] = [keyCells(schema, one), keyCells(schema, other)]
    return this.#told(
      update(schema, { ...keep(one), ...free }, first),
      update(schema, { ...keep(other), ...first }, second),
      update(schema, { ...keep(one), ...second }, free),
    )
  }

  #move(schema: TableSchema, row: TextRow, free: ValueRow): RowChange {
    return update(schema, { ...this.#next(schema, row, 'move'), ...free }, this.#old(schema, row))
  }

  /** The row with some of its cells changed. */
  #next(schema: TableSchema, row: TextRow, kind: 'stay' | 'move'): ValueRow {
    const kept: ValueRow = { ...row, ...this.#unchanged(schema, kind) }
    const fresh = this.#values(schema)
    const cells = Object.entries(fresh).map(([name, value]) => [
      name,
      this.#random.chance(0.5) ? value : kept[name],
    ])
    return { ...row, ...(Object.fromEntries(cells) as ValueRow) }
  }

  /** All cells outside the key as the log leaves them out, where the sink can bear that. */
  #unchanged(schema: TableSchema, kind: 'stay' | 'move'): ValueRow {
    const { partial } = this.#options
    const leavesOut = partial === 'all' || partial === kind
    if (!leavesOut || !this.#capabilities.supportsPartialRows) return {}
    return Object.fromEntries(others(schema).map(({ name }) => [name, UNCHANGED]))
  }

  #values(schema: TableSchema): ValueRow {
    return Object.fromEntries(
      others(schema).map(({ name, type, nullable }): [string, Value] => {
        if (nullable && this.#random.chance(0.2)) return [name, null]
        if (type.kind === 'int') return [name, this.#random.below(1000)]
        return [name, `${this.#mark} ${++this.#texts}`]
      }),
    )
  }

  #full(row: TextRow): ValueRow | null {
    return this.#random.chance(0.3) ? row : null
  }

  /** The old row as the log may have it: complete, or its key. */
  #old(schema: TableSchema, row: TextRow): ValueRow {
    return this.#full(row) ?? keyCells(schema, row)
  }

  #freeKey(schema: TableSchema, stored: readonly TextRow[]): ValueRow | null {
    const number = this.#random.below(KEYS)
    const key: TextRow =
      schema === items
        ? { id: String(number) }
        : { order_id: String(number % 6), line: `line ${Math.floor(number / 6)}` }
    const taken = stored.some((row) => Object.entries(key).every(([name, cell]) => row[name] === cell))
    return taken ? null : key
  }
}

function others(schema: TableSchema): readonly TableSchema['columns'][number][] {
  return schema.columns.filter((_, index) => !schema.key.includes(index))
}

function keyCells(schema: TableSchema, row: TextRow): ValueRow {
  return Object.fromEntries(
    schema.key.map((index) => {
      const { name } = schema.columns[index]!
      return [name, row[name]]
    }),
  )
}
