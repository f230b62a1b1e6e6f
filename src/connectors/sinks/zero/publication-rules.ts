/**
 * What one publication says about one table: which columns and rows are seen. Pure.
 *
 * Names are looked up once, in the table as it is when the rules are first compiled for it. From then on they mean those
 * columns, whatever these are called: a column that is renamed stays hidden, or stays what a filter asks for. At the
 * next start the names of that time count, and one that no column has is a mistake.
 */
import { closest } from '../../../core/closest.ts'
import type { Json } from '../../../core/position.ts'
import { compileFilter, type FilterMistake, type RowFilter } from '../../../core/row-filter.ts'
import { columnsOf, type PlacedColumn } from './row-masks.ts'
import type { TableVersion } from './table-version.ts'
import { zqlType } from './types.ts'

/** Names of the columns that are seen, or of those that are not. Key columns always are. */
export type ColumnRule = readonly string[] | { readonly exclude: readonly string[] }

export interface TableRules {
  readonly columns: ColumnRule | null
  readonly rows: Json | null
}

/** Where a named column lies. */
export interface Place {
  /** Null in the key. */
  readonly slot: number | null
  readonly id: string
}

/** Places by the names that the rules use. */
export type Places = ReadonlyMap<string, Place>

/** Finds what the rules name, or lists what is wrong with them. Paths begin with `columns` or `rows`. */
export function resolveRules(
  rules: TableRules,
  version: TableVersion,
): { readonly places: Places; readonly mistakes: readonly FilterMistake[] } {
  const columns = columnsOf(version)
  const places = new Map<string, Place>()
  const note = ({ column, slot }: PlacedColumn) => places.set(column.name, { slot, id: column.id })
  const mistakes = columnMistakes(rules.columns, columns, note)
  if (rules.rows === null) return { places, mistakes }
  const compiled = compileFilter(
    rules.rows,
    columns.map(({ column }) => ({ name: column.name, kind: zqlType(column) })),
  )
  if (compiled.mistakes !== null) {
    const inside = compiled.mistakes.map(({ path, reason }) => ({ path: ['rows', ...path], reason }))
    return { places, mistakes: [...mistakes, ...inside] }
  }
  for (const index of compiled.filter.columns) note(columns[index]!)
  return { places, mistakes }
}

/** Slots of the columns that are seen, ascending; of a list of columns or of all but some. */
export function visibleSlots(
  rule: ColumnRule | null,
  places: Places,
  version: TableVersion,
): readonly number[] {
  const columns = columnsOf(version)
  const all = columns.flatMap(({ slot }) => (slot === null ? [] : [slot]))
  if (rule === null) return all
  const named = new Set(namesOf(rule).map((name) => find(columns, places.get(name)!)?.slot))
  return all.filter((slot) => named.has(slot) === isList(rule))
}

/** The row filter for the columns of `columnsOf(version)`, or why it cannot be had any more. */
export function rowFilter(
  rows: Json,
  places: Places,
  version: TableVersion,
): RowFilter | { readonly reason: string } {
  const names = new Map<number, string>()
  const columns = columnsOf(version)
  for (const [name, place] of places) {
    const found = find(columns, place)
    if (found !== undefined) names.set(columns.indexOf(found), name)
  }
  // What no rule names cannot be asked for.
  const compiled = compileFilter(
    rows,
    columns.map(({ column }, index) => ({ name: names.get(index) ?? '', kind: zqlType(column) })),
  )
  if (compiled.mistakes === null) return compiled.filter
  const column = compiled.mistakes[0]!.path.findLast((key) => typeof key === 'string' && places.has(key))
  const isGone = ![...names.values()].some((name) => name === column)
  return {
    reason: isGone
      ? `asks for column "${column}", which is gone`
      : `does not fit the new type of column "${column}"`,
  }
}

/** Names that the rule hides although the columns are part of the key by now. */
export function hiddenKey(rule: ColumnRule | null, places: Places, { key }: TableVersion): readonly string[] {
  if (rule === null || isList(rule)) return []
  return rule.exclude.filter((name) => key.some(({ id }) => id === places.get(name)!.id))
}

function columnMistakes(
  rule: ColumnRule | null,
  columns: readonly PlacedColumn[],
  found: (column: PlacedColumn) => void,
): readonly FilterMistake[] {
  if (rule === null) return []
  const path = isList(rule) ? ['columns'] : ['columns', 'exclude']
  const names = columns.map(({ column }) => column.name)
  return namesOf(rule).flatMap((name, index) => {
    const column = columns[names.indexOf(name)]
    const at = [...path, index]
    if (column === undefined) return [{ path: at, reason: unknownName('column', name, names) }]
    if (column.slot === null && !isList(rule)) {
      return [{ path: at, reason: 'is a column of the key, which is always needed' }]
    }
    found(column)
    return []
  })
}

/** The places in a later version. What is gone keeps its old one. */
export function followRules(places: Places, version: TableVersion): Places {
  const columns = columnsOf(version)
  return new Map(
    [...places].map(([name, place]) => {
      const now = find(columns, place)
      return [name, now === undefined ? place : { slot: now.slot, id: now.column.id }]
    }),
  )
}

/** By id, or where the source has nothing better than names as ids, by the slot: a rename leaves the column there. */
function find(columns: readonly PlacedColumn[], { slot, id }: Place): PlacedColumn | undefined {
  return (
    columns.find((column) => column.column.id === id) ??
    (slot === null ? undefined : columns.find((column) => column.slot === slot))
  )
}

function namesOf(rule: ColumnRule): readonly string[] {
  return isList(rule) ? rule : rule.exclude
}

function isList(rule: ColumnRule): rule is readonly string[] {
  return Array.isArray(rule)
}

/** `unknown column, did you mean "total"?` */
export function unknownName(what: string, name: string, known: readonly string[]): string {
  const near = closest(name, known)
  if (near !== null) return `unknown ${what}, did you mean "${near}"?`
  return known.length === 0
    ? `unknown ${what}; there are none`
    : `unknown ${what}; known: ${known.join(', ')}`
}
