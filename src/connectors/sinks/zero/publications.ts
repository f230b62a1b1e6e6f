/**
 * Named selections of tables, columns and rows, of which a subscriber asks for one or several. Pure; made of plain data,
 * so that the thread that writes the log and the one that reads it have the same.
 */
import { closest } from '../../../core/closest.ts'
import { ConfigError, SchemaError } from '../../../core/error.ts'
import type { Json } from '../../../core/position.ts'
import { selectTables, type TableSelection } from '../../../core/selection.ts'
import { fingerprint } from './fingerprint.ts'
import {
  type ColumnRule,
  followRules,
  hiddenKey,
  type Places,
  resolveRules,
  rowFilter,
  type TableRules,
  visibleSlots,
} from './publication-rules.ts'
import { FILTERS_MAX, RowMasks, type TableFilter } from './row-masks.ts'
import type { TableVersion } from './table-version.ts'

export interface PublicationDefinition {
  /** Patterns of `namespace.table`. */
  readonly tables: readonly string[]
  /** By `namespace.table`; of the other tables all columns are seen. */
  readonly columns?: Readonly<Record<string, ColumnRule>>
  /** Row filters (`core/row-filter.ts`) by `namespace.table`; of the other tables all rows are seen. */
  readonly rows?: Readonly<Record<string, Json>>
}
export type PublicationDefinitions = Readonly<Record<string, PublicationDefinition>>

/** What is seen of a table: by one publication, or by a subscriber of several. */
export interface TableView {
  /** Slots of the columns that are seen besides the key, ascending. */
  readonly slots: readonly number[]
  /** A row is seen when its mask has one of these bits; null: every row is. */
  readonly bits: number | null
}

/** Numbers of the row filters by fingerprint, by `namespace.table`. */
export type FilterNumbers = Readonly<Record<string, Readonly<Record<string, number>>>>

export class Publications {
  /** To be kept with the log and given at the next start, so that stored masks keep their meaning. */
  readonly numbers: FilterNumbers
  readonly #definitions: ReadonlyMap<string, Definition>
  /** By source table, then by publication. */
  readonly #places = new Map<string, ReadonlyMap<string, Places>>()
  readonly #views = new WeakMap<TableVersion, ReadonlyMap<string, TableView>>()
  readonly #filters = new WeakMap<TableVersion, readonly TableFilter[]>()

  /** Throws `ConfigError` when a table has too many row filters; `publicationProblems` finds that and more. */
  constructor(definitions: PublicationDefinitions, known: FilterNumbers = {}) {
    this.#definitions = new Map(
      Object.entries(definitions).map(([name, definition]) => {
        return [name, { ...definition, selection: selectTables(definition.tables) }]
      }),
    )
    this.numbers = numberFilters(definitions, known)
  }

  get names(): readonly string[] {
    return [...this.#definitions.keys()]
  }

  /**
   * Takes note of a table: call it for every table at the start, when one appears, and at every change of its schema, in
   * order and before anything else is asked about it. Throws `SchemaError` when a rule names what the table does not
   * have, or a filter asks for what is gone.
   */
  define(version: TableVersion): void {
    const places = this.#places.get(version.source)
    if (places !== undefined) {
      const now = [...places].map(([name, of]) => [name, followRules(of, version)] as const)
      this.#places.set(version.source, new Map(now))
    }
    this.filtersOf(version)
    this.#viewsOf(version)
  }

  /** The table was dropped: one of the same name is another one. */
  forget(source: string): void {
    this.#places.delete(source)
  }

  /** What a publication shows of a table; null when nothing. */
  of(name: string, version: TableVersion): TableView | null {
    return this.#viewsOf(version).get(name) ?? null
  }

  /** The distinct row filters of a table over all publications. */
  filtersOf(version: TableVersion): readonly TableFilter[] {
    let filters = this.#filters.get(version)
    if (filters === undefined) {
      const rules = this.#rulesOf(version.source)
      filters = compileFilters(
        rules,
        this.#placesOf(rules, version),
        version,
        this.#numbersOf(version.source),
      )
      this.#filters.set(version, filters)
    }
    return filters
  }

  /** Evaluates the row filters of a table; null when it has none. */
  masksOf(version: TableVersion): RowMasks | null {
    const filters = this.filtersOf(version)
    return filters.length === 0 ? null : new RowMasks(version, filters)
  }

  /**
   * By publication, 32 hex digits that change when the definition does, or what it means: a subscriber that has seen
   * another one must begin anew. Ask after every table is defined.
   */
  fingerprints(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#definitions].map(([name, definition]) => [name, this.#fingerprintOf(name, definition)]),
    )
  }

  /** Why a subscriber cannot have these publications; null when it can. `required`: it must ask for one. */
  refusal(asked: readonly string[], required: boolean): string | null {
    if (required && asked.length === 0) return 'no publication was asked for, and one is required here'
    const unknown = asked.filter((name) => !this.#definitions.has(name))
    if (unknown.length === 0) return null
    return unknown
      .map((name) => {
        const near = closest(name, this.names)
        return `there is no publication "${name}"${near === null ? '' : `, did you mean "${near}"?`}`
      })
      .join('; ')
  }

  /**
   * What a subscriber of these publications sees of a table, null when nothing: a table of any of them, with the columns
   * of all of them, and the rows that one of them shows. Without publications that is everything.
   */
  view(asked: readonly string[], version: TableVersion): TableView | null {
    if (asked.length === 0) return everything(version)
    const views = asked.flatMap((name) => this.of(name, version) ?? [])
    if (views.length < 2) return views[0] ?? null
    const slots = new Set(views.flatMap((view) => view.slots))
    return {
      slots: [...slots].toSorted((a, b) => a - b),
      bits: views.reduce<number | null>(
        (all, { bits }) => (all === null || bits === null ? null : all | bits),
        0,
      ),
    }
  }

  #viewsOf(version: TableVersion): ReadonlyMap<string, TableView> {
    let views = this.#views.get(version)
    if (views === undefined) {
      const rules = this.#rulesOf(version.source)
      views = compileViews(rules, this.#placesOf(rules, version), version, this.#numbersOf(version.source))
      this.#views.set(version, views)
    }
    return views
  }

  #placesOf(rules: ReadonlyMap<string, TableRules>, version: TableVersion): ReadonlyMap<string, Places> {
    const places = this.#places.get(version.source) ?? resolve(rules, version)
    this.#places.set(version.source, places)
    return places
  }

  #numbersOf(source: string): Readonly<Record<string, number>> {
    return this.numbers[source] ?? {}
  }

  #fingerprintOf(name: string, { tables, columns = {}, rows = {} }: Definition): string {
    return fingerprint({
      tables: tables.toSorted(),
      columns: mapValues(columns, sortedRule),
      rows,
      // Stored masks have these bits.
      bits: mapValues(rows, (filter, source) => this.#numbersOf(source)[fingerprint(filter)]!),
      // A name may mean another column by now.
      ids: this.#idsOf(name),
    })
  }

  #idsOf(name: string): Json {
    const ids = [...this.#places].flatMap(([source, places]) => {
      return [...(places.get(name) ?? [])].map(([column, { id }]) => [source, column, id])
    })
    return ids.toSorted((a, b) => (a.join() < b.join() ? -1 : 1))
  }

  /** By publication that includes the table. */
  #rulesOf(source: string): ReadonlyMap<string, TableRules> {
    const rules = new Map<string, TableRules>()
    for (const [name, definition] of this.#definitions) {
      if (includes(definition.selection, source)) rules.set(name, rulesOf(definition, source))
    }
    return rules
  }
}

/** The view of a subscriber that nothing is hidden from. */
function everything(version: TableVersion): TableView {
  return { slots: visibleSlots(null, new Map(), version), bits: null }
}

export function includes(selection: TableSelection, source: string): boolean {
  const point = source.indexOf('.')
  return selection.includes(source.slice(0, point), source.slice(point + 1))
}

export function rulesOf(definition: PublicationDefinition, source: string): TableRules {
  const { columns = {}, rows = {} } = definition
  return {
    columns: Object.hasOwn(columns, source) ? columns[source]! : null,
    rows: Object.hasOwn(rows, source) ? rows[source]! : null,
  }
}

interface Definition extends PublicationDefinition {
  readonly selection: TableSelection
}

function resolve(rules: ReadonlyMap<string, TableRules>, version: TableVersion): ReadonlyMap<string, Places> {
  const resolved = new Map<string, Places>()
  for (const [name, tableRules] of rules) {
    const { places, mistakes } = resolveRules(tableRules, version)
    const mistake = mistakes[0]
    if (mistake !== undefined) throw unsuited(name, version, `${mistake.path.join('.')} ${mistake.reason}`)
    resolved.set(name, places)
  }
  return resolved
}

function compileFilters(
  rules: ReadonlyMap<string, TableRules>,
  places: ReadonlyMap<string, Places>,
  version: TableVersion,
  numbers: Readonly<Record<string, number>>,
): readonly TableFilter[] {
  // Equal filters of several publications are one.
  const filters = new Map<number, TableFilter>()
  for (const [name, { rows }] of rules) {
    if (rows === null) continue
    const id = fingerprint(rows)
    const filter = rowFilter(rows, places.get(name)!, version)
    if ('reason' in filter) throw unsuited(name, version, `the row filter ${filter.reason}`)
    const number = numbers[id]!
    filters.set(number, { number, filter })
  }
  return [...filters.values()].toSorted((a, b) => a.number - b.number)
}

function compileViews(
  rules: ReadonlyMap<string, TableRules>,
  places: ReadonlyMap<string, Places>,
  version: TableVersion,
  numbers: Readonly<Record<string, number>>,
): ReadonlyMap<string, TableView> {
  const views = new Map<string, TableView>()
  for (const [name, { columns, rows }] of rules) {
    const found = places.get(name)!
    const [hidden] = hiddenKey(columns, found, version)
    if (hidden !== undefined)
      throw unsuited(name, version, `column "${hidden}" cannot be hidden, it is part of the key`)
    views.set(name, {
      slots: visibleSlots(columns, found, version),
      bits: rows === null ? null : 1 << numbers[fingerprint(rows)]!,
    })
  }
  return views
}

/** Keeps the numbers of filters that are still there, and gives the lowest free ones to others. */
function numberFilters(definitions: PublicationDefinitions, known: FilterNumbers): FilterNumbers {
  const filters = new Map<string, Set<string>>()
  for (const { rows = {} } of Object.values(definitions)) {
    for (const [source, filter] of Object.entries(rows)) {
      const of = filters.get(source) ?? new Set<string>()
      filters.set(source, of.add(fingerprint(filter)))
    }
  }
  const numbered = [...filters].map(
    ([source, ids]) => [source, numberIds(source, ids, known[source] ?? {})] as const,
  )
  return Object.fromEntries(numbered)
}

function numberIds(
  source: string,
  ids: ReadonlySet<string>,
  known: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const numbers = new Map(Object.entries(known).filter(([id]) => ids.has(id)))
  const taken = new Set(numbers.values())
  let next = 0
  for (const id of ids) {
    if (numbers.has(id)) continue
    while (taken.has(next)) next++
    if (next >= FILTERS_MAX) throw tooMany(source)
    numbers.set(id, next++)
  }
  return Object.fromEntries(numbers)
}

function sortedRule(rule: ColumnRule): Json {
  return 'exclude' in rule ? { exclude: rule.exclude.toSorted() } : rule.toSorted()
}

function mapValues<Value>(
  of: Readonly<Record<string, Value>>,
  map: (value: Value, key: string) => Json,
): Readonly<Record<string, Json>> {
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [key, map(value, key)]))
}

function tooMany(source: string): ConfigError {
  return new ConfigError(
    'zero/too-many-filters',
    `table ${source} has more than ${FILTERS_MAX} different row filters`,
    {
      fix: 'Give several publications the same filter, or filter in Zero.',
    },
  )
}

function unsuited(publication: string, version: TableVersion, reason: string): SchemaError {
  return new SchemaError(
    'zero/publication-unsuited',
    `publication "${publication}" does not fit table ${version.source}: ${reason}`,
    {
      fix: 'Change the publication in the configuration and start again; subscribers of it begin anew.',
    },
  )
}
