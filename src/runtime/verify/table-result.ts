import { copyKey, noKeys, type PackedKeys } from '../../core/row-reader.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import type { Example, TableReport } from './report.ts'
import type { DifferenceKind, Settled } from './settle.ts'

/** Real differences after which a table is not compared any further. */
const MAX_DIFFERENCES = 100_000

/** What is known about a table while it is compared. */
export class TableResult {
  readonly name: string
  rows = 0
  rangesDone = 0
  rangesTotal = 0
  /** Those that are to be compared. */
  rangesChosen = 0
  readonly problems: string[] = []
  unsettled = 0
  repaired: number | null = null
  examples: readonly Example[] | null = null
  #table: TableSchema
  #keys: PackedKeys = noKeys()
  #kinds: DifferenceKind[] = []
  #columns = new Map<string, number>()
  #stopped = false

  constructor(table: TableSchema) {
    this.#table = table
    this.name = tableName(table)
  }

  /** Of the last look; what `keys` belong to. */
  get table(): TableSchema {
    return this.#table
  }

  /** The rows that differ. */
  get keys(): PackedKeys {
    return this.#keys
  }

  get kinds(): readonly DifferenceKind[] {
    return this.#kinds
  }

  /** So many rows differ that no more are looked for. */
  get isFull(): boolean {
    return this.#kinds.length >= MAX_DIFFERENCES
  }

  get isDone(): boolean {
    return (
      this.problems.length > 0 ||
      this.#stopped ||
      (this.rangesChosen > 0 && this.rangesDone >= this.rangesChosen)
    )
  }

  get isRepairable(): boolean {
    return this.#keys.rowCount > 0 && this.problems.length === 0
  }

  stop(): void {
    this.#stopped = true
  }

  /** Notes why rows cannot be compared. */
  note(problems: readonly string[]): void {
    for (const problem of problems) if (!this.problems.includes(problem)) this.problems.push(problem)
  }

  add({ table, keys, kinds, columns, unsettled, problems }: Settled): void {
    this.#table = table
    for (let row = 0; row < keys.rowCount; row++) copyKey(this.#keys, table, keys, row)
    this.#kinds.push(...kinds)
    for (const [name, rows] of columns) this.#columns.set(name, (this.#columns.get(name) ?? 0) + rows)
    this.unsettled += unsettled
    this.note(problems)
  }

  /** Forgets the differences: they are looked at again. */
  reset(): void {
    this.#keys = noKeys()
    this.#kinds = []
    this.#columns = new Map()
    this.unsettled = 0
  }

  report(): TableReport {
    const count = (kind: DifferenceKind): number => this.#kinds.filter((one) => one === kind).length
    const columns = [...this.#columns].toSorted(([, a], [, b]) => b - a).map(([name]) => name)
    return {
      table: this.name,
      equal: this.#kinds.length === 0 && this.unsettled === 0 && this.problems.length === 0 && !this.#stopped,
      rows: this.rows,
      ranges: { compared: this.rangesDone, of: this.rangesTotal },
      missing: count('missing'),
      extra: count('extra'),
      different: count('different'),
      unsettled: this.unsettled,
      columns,
      problems: this.problems,
      stopped: this.#stopped,
      ...(this.repaired === null ? {} : { repaired: this.repaired }),
      ...(this.examples === null ? {} : { examples: this.examples }),
    }
  }
}
