/** Random transactions on several connections at once. */
import { setImmediate } from 'node:timers/promises'
import type { SourceCapabilities } from '../../core/source.ts'
import type { KitChange, KitRow } from '../change.ts'
import type { Random } from '../random.ts'
import { bigNumber, largeText, row, text } from './rows.ts'
import type { Trial } from './trial.ts'

const WRITERS = 3
/** Keys per writer and table; a changed key is taken from as many above. */
const KEYS = 40
/** `n` of a writer's transactions: its number in millions, and a count. */
const PER_WRITER = 1_000_000

/**
 * Call `fill` first, then `start`. Every writer has keys of its own, so that none waits for another or fails. All rows that one transaction inserts or
 * updates have the same `n`, and no other transaction has it.
 */
export class Writers {
  readonly #trial: Trial
  readonly #tables: readonly string[]
  readonly #most: number
  #stopped = false
  #working: Promise<void>[] = []
  #active = 0
  /** Transactions that were committed. */
  committed = 0
  /** Truncates wait for a copy, and everything else for them: they are for afterwards. */
  truncates = false
  #failure: Error | null = null

  /** Each writer makes at most so many transactions. */
  constructor(trial: Trial, tables: readonly string[], most = 150) {
    this.#trial = trial
    this.#tables = tables
    this.#most = most
  }

  /** Rows for some of the keys, to begin with: a transaction per table, which a source without a copy streams. */
  async fill(): Promise<void> {
    const ids = Array.from({ length: (WRITERS * KEYS) / 2 }, (_, id) => id)
    for (const [index, table] of this.#tables.entries()) {
      const n = -1 - index
      await this.#trial.apply(
        ...ids.map((id): KitChange => ({ kind: 'insert', table, row: row(this.#trial.random, id, n) })),
      )
    }
  }

  start(): void {
    this.#active = WRITERS
    this.#working = Array.from({ length: WRITERS }, (_, index) =>
      this.#work(index)
        .catch((error: Error) => void (this.#failure ??= error))
        .then(() => void this.#active--),
    )
  }

  /** Every writer has made all of its transactions, or was stopped. */
  get done(): boolean {
    return this.#active === 0
  }

  /** Resolves when so many more transactions are committed, or the writers are done. */
  async more(count: number): Promise<void> {
    const goal = this.committed + count
    await this.#trial.waitFor('the writers go on', () => this.committed >= goal || this.done)
  }

  /** Waits for the transactions under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.finished()
  }

  /** Waits until every writer has made all of its transactions. */
  async finished(): Promise<void> {
    await Promise.all(this.#working)
    if (this.#failure !== null) throw this.#failure
  }

  async #work(index: number): Promise<void> {
    const { random, capabilities } = this.#trial
    const writer = new Writer(index, this.#tables, random, capabilities)
    for (let count = 1; count <= this.#most && !this.#stopped; count++) {
      await this.#trial.apply(...writer.transaction((index + 1) * PER_WRITER + count, this.truncates))
      this.committed++
      // A database in this process would let nobody else have a turn.
      await setImmediate()
    }
  }
}

class Writer {
  readonly #index: number
  readonly #tables: readonly string[]
  readonly #random: Random
  readonly #capabilities: SourceCapabilities
  /** Keys that are surely there, by table, unless somebody has truncated it. */
  readonly #present = new Map<string, Set<number>>()

  constructor(index: number, tables: readonly string[], random: Random, capabilities: SourceCapabilities) {
    this.#index = index
    this.#tables = tables
    this.#random = random
    this.#capabilities = capabilities
    const filled = Array.from({ length: KEYS / 2 }, (_, place) => this.#id(place))
    for (const table of tables) this.#present.set(table, new Set(filled))
  }

  transaction(n: number, truncates: boolean): readonly KitChange[] {
    const random = this.#random
    if (truncates && random.chance(0.02) && this.#capabilities.schemaChanges.includes('truncate')) {
      const table = random.pick(this.#tables)
      this.#present.get(table)!.clear()
      return [{ kind: 'truncate', table }]
    }
    const count = random.chance(0.1) ? 25 : 1 + random.below(4)
    return Array.from({ length: count }, () => this.#change(n))
  }

  #change(n: number): KitChange {
    const random = this.#random
    const { updates, deletes } = this.#capabilities
    const table = random.pick(this.#tables)
    const present = this.#present.get(table)!
    const id = this.#id(random.below(KEYS))
    if (!present.has(id)) {
      present.add(id)
      return { kind: 'insert', table, row: row(random, id, n) }
    }
    if (deletes && random.chance(updates ? 0.2 : 1)) {
      present.delete(id)
      return { kind: 'delete', table, key: { id } }
    }
    if (updates) return { kind: 'update', table, key: { id }, set: this.#update(present, id, n) }
    const next = this.#unused(present)
    present.add(next)
    return { kind: 'insert', table, row: row(random, next, n) }
  }

  #update(present: Set<number>, id: number, n: number): KitRow {
    const random = this.#random
    const kind = random.next()
    if (kind < 0.2) return { n, doc: random.chance(0.3) ? null : largeText(random) }
    if (kind < 0.4) return { n, note: text(random), big: null }
    if (kind < 0.7) return { n, big: bigNumber(random) }
    if (kind < 0.8) return { n }
    const moved = this.#unused(present)
    present.delete(id)
    present.add(moved)
    return { n, id: moved }
  }

  #unused(present: ReadonlySet<number>): number {
    let place = this.#random.below(2 * KEYS)
    while (present.has(this.#id(place))) place++
    return this.#id(place)
  }

  #id(place: number): number {
    return place * WRITERS + this.#index
  }
}
