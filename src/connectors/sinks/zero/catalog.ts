/** The tables of the log, as the source announces and changes them: what becomes of each, and how its rows are written. */
import { type Problem, SchemaError } from '../../../core/error.ts'
import type { SchemaChange } from '../../../core/record.ts'
import { tableName, type TableSchema } from '../../../core/table.ts'
import { TableEncoder } from './encoder.ts'
import { type Evolution, type EvolutionStep, evolve } from './evolve.ts'
import type { Answer, Opened, StoredTable, TableChange } from './log-messages.ts'
import { literalDefault } from './messages.ts'
import { replicaName } from './names.ts'
import { type PlanOptions, planTable, type WantedTable } from './plan.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'

export interface CatalogOptions extends PlanOptions {
  /** What a client's Zero schema wants of a table: null when it does not have it, undefined when there is no schema. */
  wanted(table: Pick<TableSchema, 'namespace' | 'name'>): WantedTable | null | undefined
  /** Something that stops the next start, or does not stop anything. */
  worried(problem: Problem): void
}

export class Catalog {
  readonly #options: CatalogOptions
  readonly #tables = new Map<string, StoredTable>()
  readonly #versions = new Map<number, TableVersion>()
  readonly #encoders = new Map<string, TableEncoder>()
  /** What the source has told of since the start. */
  readonly #announced = new Set<string>()
  /** Tables that changed in a way that only a copy can bring, or the replay that follows takes back. */
  readonly #uncopied = new Map<
    string,
    { readonly schema: TableSchema; readonly columns: readonly string[] }
  >()
  /** Of these, the tables whose rows could not be kept. */
  readonly #isEmptied = new Set<string>()
  #isReplaying = false
  /** Announced tables whose stored rows are to be written in another form, unless a replay shows that they need not. */
  readonly #deferred = new Map<string, { readonly schema: TableSchema; readonly change: TableChange }>()

  constructor(options: CatalogOptions, opened: Pick<Opened, 'tables' | 'versions'>) {
    this.#options = options
    for (const { id, version } of opened.versions) this.#versions.set(id, version)
    for (const table of opened.tables) this.#tables.set(table.source, table)
  }

  /** How rows of a table are written; null when it is not for Zero. Throws when they cannot be before a copy. */
  encoder(table: TableSchema): TableEncoder | null {
    const source = tableName(table)
    const encoder = this.#encoders.get(source)
    const missing = this.#uncopied.get(source)
    if (missing !== undefined) throw needsCopy(source, missing.columns)
    return encoder ?? null
  }

  /** How the tables of the log are now. */
  get current(): readonly TableVersion[] {
    return [...this.#tables.keys()].flatMap((source) => this.#currentVersion(source) ?? [])
  }

  /** Tables as Zero calls them. */
  get names(): readonly string[] {
    return [...this.#encoders.values()].map(({ version }) => replicaName(version)).toSorted()
  }

  /** Tables of the log that the source has not told of: they are gone. */
  get forgotten(): readonly string[] {
    return [...this.#tables.keys()].filter((source) => !this.#announced.has(source))
  }

  get uncopied(): SchemaError | null {
    const [first] = this.#uncopied
    return first === undefined ? null : needsCopy(first[0], first[1].columns)
  }

  /**
   * A replay begins: tables are announced as they were then, perhaps with columns that were dropped since. Those come
   * back empty, one per call, and go again before anything is published. Null when there is none left.
   */
  reintroduce(): { readonly schema: TableSchema; readonly change: TableChange } | null {
    this.#isReplaying = true
    for (const [source, { schema }] of this.#deferred) {
      // What is stored is of a later time. Rows of now are written in its form, if that holds everything.
      const current = this.#currentVersion(source)!
      const isText = [...current.key, ...current.slots].every(
        (column) => column === null || column.encoding === 'string' || this.#plannedAs(schema, column),
      )
      if (!isText) return this.takeDeferred()
      this.#deferred.delete(source)
      this.define(schema)
    }
    for (const [source, { schema }] of this.#uncopied) {
      const current = this.#currentVersion(source)!
      const known = new Set([...current.key, ...current.slots].map((column) => column?.id))
      const column = schema.columns.find(({ id }) => !known.has(id))
      this.#uncopied.delete(source)
      if (column === undefined) continue
      const columns = schema.columns.filter((one) => one === column || known.has(one.id))
      const key = schema.key
        .map((index) => columns.indexOf(schema.columns[index]!))
        .filter((index) => index >= 0)
      const step = { ...schema, columns, key }
      const change = this.#follow(
        step,
        evolve(
          current,
          { change: { kind: 'add-column', column: { ...column, addedDefault: null } }, table: step },
          this.#options,
          null,
        ),
      )
      this.#uncopied.set(source, { schema, columns: [] })
      if (change !== null) return { schema: step, change }
    }
    return null
  }

  /** What the log has to be told of an announced table. */
  announce(schema: TableSchema): TableChange | null {
    const source = tableName(schema)
    const wanted = this.#options.wanted(schema)
    if (wanted === null) return null
    this.#announced.add(source)
    const current = this.#currentVersion(source)
    if (current === null) return this.#copy(schema, wanted ?? null)
    const evolution = evolve(
      current,
      { change: { kind: 'create-table' }, table: schema },
      this.#options,
      wanted ?? null,
    )
    const change = this.#follow(schema, evolution)
    if (change?.kind !== 'convert') return change
    this.#deferred.set(source, { schema, change })
    return null
  }

  /** A change that waited to see whether a replay begins; null when there is none left. */
  takeDeferred(): { readonly schema: TableSchema; readonly change: TableChange } | null {
    for (const [source, next] of this.#deferred) {
      this.#deferred.delete(source)
      return next
    }
    return null
  }

  /** What the log has to be told of a change. */
  change({ table, change, origin }: SchemaChange): TableChange | null {
    const source = tableName(table)
    const wanted = this.#options.wanted(table)
    if (change.kind === 'drop-table') {
      this.#encoders.delete(source)
      this.#uncopied.delete(source)
      this.#isEmptied.delete(source)
      this.#deferred.delete(source)
      this.#announced.delete(source)
      return this.#tables.has(source) ? { kind: 'drop', source } : null
    }
    if (wanted === null) return null
    const current = this.#currentVersion(source)
    if (change.kind === 'truncate' && origin === 'stream')
      return current === null ? null : { kind: 'truncate', source }
    if (change.kind === 'truncate' || current === null) return this.#copy(table, wanted ?? null)
    return this.#follow(table, evolve(current, { change, table }, this.#options, wanted ?? null))
  }

  /** Notes what the log answered. */
  changed(schema: TableSchema, answer: Extract<Answer, { kind: 'changed' }>): TableVersion | null {
    for (const { id, version } of answer.versions) this.#versions.set(id, version)
    const source = tableName(schema)
    if (answer.table === null) {
      this.#tables.delete(source)
      return null
    }
    this.#tables.set(source, answer.table)
    if (answer.isEmptied) {
      this.#isEmptied.add(source)
      if (!this.#isReplaying)
        this.#uncopied.set(source, { schema, columns: schema.columns.map(({ name }) => name) })
    }
    return this.define(schema)
  }

  forget(source: string): void {
    this.#tables.delete(source)
    this.#encoders.delete(source)
  }

  /** The table is written as it is in the log, from rows of this schema. */
  define(schema: TableSchema): TableVersion | null {
    const source = tableName(schema)
    const stored = this.#tables.get(source)
    const rows = stored?.copy ?? stored?.published ?? null
    if (rows === null || this.#uncopied.has(source)) return null
    const version = this.#versions.get(rows.version)!
    this.#encoders.set(source, new TableEncoder(schema, version, rows.version))
    return version
  }

  /** Everything that was there before is repeated. Throws when rows of a table could not be kept and were not copied. */
  endReplay(): void {
    this.#isReplaying = false
    for (const source of this.#isEmptied) throw needsCopy(source, [])
  }

  /** True when a column of the schema would be written as the stored one is. */
  #plannedAs(schema: TableSchema, stored: VersionColumn): boolean {
    const { version } = planTable(schema, this.#options, this.#options.wanted(schema) ?? null)
    const planned = [...(version?.key ?? []), ...(version?.slots ?? [])].find(
      (column) => column?.id === stored.id,
    )
    return planned?.encoding === stored.encoding
  }

  #currentVersion(source: string): TableVersion | null {
    const stored = this.#tables.get(source)
    const rows = stored?.copy ?? stored?.published ?? null
    return rows === null ? null : this.#versions.get(rows.version)!
  }

  /** Rows lie as they did, if they can: then only what is different has to be told at the end of the copy. */
  #copy(schema: TableSchema, wanted: WantedTable | null): TableChange {
    const source = tableName(schema)
    this.#uncopied.delete(source)
    this.#isEmptied.delete(source)
    this.#deferred.delete(source)
    const current = this.#currentVersion(source)
    if (current !== null) {
      const evolution = evolve(
        current,
        { change: { kind: 'create-table' }, table: schema },
        this.#options,
        wanted,
      )
      if (evolution.kind === 'same') return { kind: 'copy', source, version: current }
    }
    const { version, problems } = planTable(schema, this.#options, wanted)
    if (version !== null) return { kind: 'copy', source, version }
    throw refused(source, problems)
  }

  #follow(schema: TableSchema, evolution: Evolution): TableChange | null {
    const source = tableName(schema)
    for (const problem of evolution.kind === 'refused' ? [] : evolution.problems)
      this.#options.worried(problem)
    switch (evolution.kind) {
      case 'same':
        return null
      case 'evolve': {
        const { version, steps, fill } = evolution
        return { kind: 'evolve', source, version, steps, fill: fill && !hasLiterals(version, steps) }
      }
      case 'convert':
        return { kind: 'convert', source, version: evolution.version }
      case 'copy':
        this.#uncopied.set(source, { schema, columns: evolution.columns })
        return null
      case 'refused':
        throw refused(source, evolution.problems)
    }
  }
}

function refused(source: string, problems: readonly { message: string; fix: string }[]): SchemaError {
  const [first] = problems
  const message = problems.map((problem) => problem.message).join('; ')
  return new SchemaError('zero/table-refused', `table ${source} cannot be served to Zero: ${message}`, {
    fix: first?.fix ?? 'Leave the table out.',
  })
}

function needsCopy(source: string, columns: readonly string[]): SchemaError {
  const names = columns.map((name) => `"${name}"`).join(', ')
  const what = columns.length === 0 ? 'the rows' : `the values of column ${names}`
  return new SchemaError(
    'zero/copy-needed',
    `the change log does not have ${what} of table ${source} in its new form, and the source does not copy the table again`,
    { fix: 'Remove the files of the change log and start again: everything is copied anew.' },
  )
}

/** True when the defaults of all new columns can be told without sending the rows. */
function hasLiterals({ slots }: TableVersion, steps: readonly EvolutionStep[]): boolean {
  return steps.every((step) => {
    const slot = step.kind === 'add-column' ? slots[step.slot] : null
    return (
      slot === null ||
      slot === undefined ||
      slot.missing === null ||
      literalDefault(slot, slot.missing) !== null
    )
  })
}
