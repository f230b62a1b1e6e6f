/** How rows of one table of the source become rows of one table that sinks see, worked out against both schemas. */
import { closest } from '../../closest.ts'
import { type ColumnType, describeType } from '../../column-type.ts'
import type { Column, TableSchema } from '../../table.ts'
import { tableName } from '../../table.ts'
import type { Expression, Path, Predicate } from '../mapping.ts'
import type { NormalizedColumn, NormalizedTable, Place } from '../normalized.ts'
import { valueAt } from '../path.ts'
import { type Cast, castOf } from './rows-cast.ts'

/** Where a cell comes from. */
export type CellPlan =
  /** A cell of the source as it is, or through a cast. */
  | { readonly kind: 'column'; readonly from: number; readonly cast: Cast | null }
  | { readonly kind: 'computed'; readonly reads: readonly number[]; readonly expression: Expression }

export interface RowPlan {
  readonly mapping: NormalizedTable
  readonly source: TableSchema
  /** What the mapping calls the columns of the source. */
  readonly names: readonly string[]
  readonly target: TableSchema
  /** One per column of the target. */
  readonly cells: readonly CellPlan[]
  /** Columns of the target in which NULL is a misfit: declared so, while the source may have it. */
  readonly required: readonly boolean[]
  readonly filter: { readonly predicate: Predicate; readonly reads: readonly number[] } | null
  /** For each key column of the source its column in the target, and the cast back; for look-ups by key. */
  readonly keyFrom: readonly { readonly column: number; readonly back: Cast | null }[]
  /** An update or a delete says enough only with the whole old row. */
  readonly needsOldRow: boolean
}

/** Something in the mapping that the table does not allow. */
export interface RowProblem extends Place {
  readonly code: string
  /** A clause without a full stop. */
  readonly reason: string
}

/** Names of columns by the ids that they have now: the log may still have them under older names. */
export type CurrentNames = ReadonlyMap<string, string>

export type PlannedRows =
  | { readonly plan: RowPlan; readonly problems: null }
  | { readonly plan: null; readonly problems: readonly RowProblem[] }

/** Plans one table. `current` is by id what the source calls its columns now, which the mapping goes by. */
export function planRows(
  mapping: NormalizedTable,
  source: TableSchema,
  namespace: string,
  current: CurrentNames | null = null,
): PlannedRows {
  const planner = new Planner(mapping, source, current)
  const plan = planner.plan(namespace)
  return planner.problems.length === 0 ? { plan, problems: null } : { plan: null, problems: planner.problems }
}

/** Types whose cells a log may leave out when they did not change: those of any length. */
const MAY_BE_LEFT_OUT: readonly ColumnType['kind'][] = ['text', 'json', 'bytes', 'array', 'decimal', 'other']

/** Types of which equal values have equal texts, so that a cast keeps them apart. */
const HAS_ONE_TEXT: readonly ColumnType['kind'][] = [
  'bool',
  'int',
  'enum',
  'uuid',
  'bytes',
  'date',
  'timestamp',
]

interface Planned {
  readonly column: Column
  readonly cell: CellPlan
  readonly required: boolean
  readonly place: Place
}

class Planner {
  readonly problems: RowProblem[] = []
  readonly #mapping: NormalizedTable
  readonly #source: TableSchema
  readonly #names: readonly string[]
  readonly #ids = new Set<string>()

  constructor(mapping: NormalizedTable, source: TableSchema, current: CurrentNames | null) {
    this.#mapping = mapping
    this.#source = source
    const now = source.columns.map((column) => current?.get(column.id) ?? column.name)
    // A name that the log has already wins.
    this.#names = source.columns.map(({ name }, index) => {
      const renamed = now[index]!
      const isTaken = source.columns.some((other) => other.name === renamed)
      return isTaken ? name : renamed
    })
  }

  plan(namespace: string): RowPlan {
    const mapping = this.#mapping
    if (mapping.unwind.length > 0)
      this.#problem(mapping.place, 'unwind', 'unwinds an array, which only sources of documents can')
    const planned = [...mapping.columns.map((column) => this.#column(column)), ...this.#rest()]
    for (const [index, { column, place }] of planned.entries()) {
      if (planned.findIndex((other) => other.column.name === column.name) < index)
        this.#problem(place, 'twice', `has the column "${column.name}" twice`)
    }
    const columns = planned.map(({ column }) => column)
    const key = this.#key(columns)
    const cells = planned.map(({ cell }) => cell)
    const target: TableSchema = {
      namespace: mapping.namespace ?? namespace,
      name: mapping.name,
      columns: columns.map((column, index) =>
        key.includes(index) ? { ...column, nullable: false } : column,
      ),
      key,
      version: this.#source.version,
    }
    const filter =
      mapping.filter === null
        ? null
        : { predicate: mapping.filter, reads: this.#reads(mapping.filter.paths, mapping.place) }
    return {
      mapping,
      source: this.#source,
      names: this.#names,
      target,
      cells,
      required: planned.map(
        ({ required }, index) => required || (key.includes(index) && this.#mayBeNull(cells[index]!)),
      ),
      filter,
      keyFrom: this.#keyFrom(key, columns, cells, planned),
      needsOldRow: this.#needsOldRow(filter?.reads ?? [], key, cells),
    }
  }

  #column(column: NormalizedColumn): Planned {
    const { rule, place } = column
    const from = rule.kind === 'path' && rule.path.length === 1 ? this.#find(rule.path[0]!, place) : null
    if (from !== null) return this.#copied(column, from)
    const reads = this.#reads(
      rule.kind === 'path' ? (rule.path.length === 1 ? [] : [rule.path]) : rule.expression.paths,
      place,
    )
    const type = column.type ?? { kind: 'text' }
    if (column.type === null && !(rule.kind === 'path' && rule.path.length === 1))
      this.#problem(place, 'no-type', 'is computed, so it needs a `type`')
    const expression = rule.kind === 'path' ? inside(rule.path) : rule.expression
    return {
      column: {
        id: this.#id(`=${column.ruleText}`),
        name: column.name,
        type,
        nullable: column.nullable ?? true,
        native: column.native || describeType(type),
      },
      cell: { kind: 'computed', reads, expression },
      required: column.nullable === false,
      place,
    }
  }

  #copied({ name, type, nullable, native, place }: NormalizedColumn, from: number): Planned {
    const source = this.#source.columns[from]!
    const to = type ?? source.type
    const cast = castOf(source.type, to)
    if (cast === null) {
      const what = `cannot become ${describeType(to)}: the column is ${describeType(source.type)} (${source.native}) in the source`
      this.#problem(place, 'cast', what)
    }
    const isSame = cast === 'same'
    return {
      column: {
        id: this.#id(source.id),
        name,
        type: to,
        nullable: nullable ?? source.nullable,
        native:
          type === null || (isSame && to.kind === source.type.kind)
            ? source.native
            : native || describeType(to),
        ...addedDefault(source, cast),
      },
      cell: { kind: 'column', from, cast: isSame ? null : cast },
      required: nullable === false && source.nullable,
      place,
    }
  }

  /** The columns that nothing is said about. */
  #rest(): readonly Planned[] {
    const { rest, columns } = this.#mapping
    if (rest === null) return []
    for (const { name, place } of rest.exclude) this.#find(name, place)
    const said = columns.flatMap(({ rule }) =>
      rule.kind === 'path' && rule.path.length === 1 ? [rule.path[0]!] : [],
    )
    const left = [...said, ...rest.exclude.map(({ name }) => name), ...columns.map(({ name }) => name)]
    return this.#source.columns.flatMap((column, from): readonly Planned[] => {
      if (left.includes(this.#names[from]!)) return []
      const cell: CellPlan = { kind: 'column', from, cast: null }
      return [
        { column: { ...column, id: this.#id(column.id) }, cell, required: false, place: this.#mapping.place },
      ]
    })
  }

  #key(columns: readonly Column[]): readonly number[] {
    const { key, place } = this.#mapping
    if (key !== null) {
      return key.flatMap((named) => {
        const index = columns.findIndex(({ name }) => name === named.name)
        if (index >= 0) return [index]
        this.#problem(
          named.place,
          'key',
          `names the key column "${named.name}", which the table does not have`,
        )
        return []
      })
    }
    return this.#source.key.flatMap((from) => {
      const { id, name } = this.#source.columns[from]!
      const index = columns.findIndex((column) => column.id === id)
      if (index >= 0) return [index]
      this.#problem(place, 'key', `leaves out "${name}", a key column of ${tableName(this.#source)}`)
      return []
    })
  }

  /** Two rows of the source must never be one row of the target. */
  #keyFrom(
    key: readonly number[],
    columns: readonly Column[],
    cells: readonly CellPlan[],
    planned: readonly Planned[],
  ): RowPlan['keyFrom'] {
    if (this.#source.key.length === 0) {
      this.#problem(this.#mapping.place, 'key', `is made from ${tableName(this.#source)}, which has no key`)
      return []
    }
    if (this.problems.length > 0) return []
    return this.#source.key.flatMap((from) => {
      const candidates = key.flatMap((column) => {
        const cell = cells[column]!
        if (cell.kind !== 'column' || cell.from !== from) return []
        const { type } = this.#source.columns[from]!
        const back = castOf(columns[column]!.type, type)
        if (back === null || (cell.cast !== null && !HAS_ONE_TEXT.includes(type.kind))) return []
        return [{ column, back: back === 'same' ? null : back }]
      })
      if (candidates.length > 0) return [candidates.find(({ back }) => back === null) ?? candidates[0]!]
      const { name } = this.#source.columns[from]!
      const at = planned[key[0] ?? 0]?.place ?? this.#mapping.place
      this.#problem(
        at,
        'key',
        `has a key without "${name}" of ${tableName(this.#source)}, as it is there or cast so that nothing is lost: different rows could become one`,
      )
      return []
    })
  }

  #needsOldRow(filter: readonly number[], key: readonly number[], cells: readonly CellPlan[]): boolean {
    const isKey = (column: number): boolean => this.#source.key.includes(column)
    const ofCell = (cell: CellPlan): readonly number[] => (cell.kind === 'column' ? [cell.from] : cell.reads)
    if (filter.some((column) => !isKey(column))) return true
    if (key.some((column) => ofCell(cells[column]!).some((from) => !isKey(from)))) return true
    // One that the log leaves out is not computed anew; of several, only some may be left out.
    return cells.some(
      (cell) =>
        cell.kind === 'computed' &&
        cell.reads.length > 1 &&
        cell.reads.some((from) => MAY_BE_LEFT_OUT.includes(this.#source.columns[from]!.type.kind)),
    )
  }

  #mayBeNull(cell: CellPlan): boolean {
    return cell.kind === 'computed' || this.#source.columns[cell.from]!.nullable
  }

  #reads(paths: readonly Path[], place: Place): readonly number[] {
    const found = paths.flatMap((path) => {
      if (path.length === 0) return this.#source.columns.map((_, index) => index)
      return this.#find(path[0]!, place) ?? []
    })
    return [...new Set(found)].toSorted((a, b) => a - b)
  }

  #find(name: string, place: Place): number | null {
    const index = this.#names.indexOf(name)
    if (index >= 0) return index
    const near = closest(name, this.#names)
    const hint = near === null ? `; there are ${this.#names.join(', ')}` : `; did you mean "${near}"?`
    this.#problem(
      place,
      'column-gone',
      `names the column "${name}", which ${tableName(this.#source)} does not have${hint}`,
    )
    return null
  }

  /** The first use of a column keeps its id, so that a rename in the mapping is one in the target. */
  #id(wanted: string): string {
    let id = wanted
    for (let count = 2; this.#ids.has(id); count++) id = `${wanted}#${count}`
    this.#ids.add(id)
    return id
  }

  #problem(place: Place, code: string, reason: string): void {
    this.problems.push({ ...place, code: `mapping/${code}`, reason })
  }
}

/** What older rows show for a column that was added, as the target has it. */
function addedDefault(
  { addedDefault: text }: Column,
  cast: Cast | 'same' | null,
): Pick<Column, 'addedDefault'> {
  if (text === undefined) return {}
  return { addedDefault: text === null || cast === 'same' || cast === null ? text : cast(text) }
}

/** What is inside a json column. */
function inside(path: Path): Expression {
  return { paths: [path], evaluate: (document) => valueAt(document, path) }
}
