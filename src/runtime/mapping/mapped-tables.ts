/** The tables of a mapping against those of a source. */
import { closest } from '../../core/closest.ts'
import type { Problem } from '../../core/error.ts'
import type { NormalizedMapping, NormalizedTable, Place } from '../../core/mapping/normalized.ts'
import {
  type CurrentNames,
  planRows,
  type RowPlan,
  type RowProblem,
} from '../../core/mapping/rows/rows-plan.ts'
import type { TableSelection } from '../../core/selection.ts'
import { tableName, type TableSchema } from '../../core/table.ts'

export interface Planned {
  readonly plans: readonly RowPlan[]
  readonly problems: readonly RowProblem[]
}

/** The tables of the source that somebody maps, of those that are selected. */
export function mappedSelection(mapping: NormalizedMapping, selected: TableSelection): TableSelection {
  const patterns = mapping.tables.map(({ collection }) => `${collection.namespace ?? '*'}.${collection.name}`)
  return {
    patterns: [...new Set(patterns)],
    includes: (namespace, name) =>
      selected.includes(namespace, name) && mapping.tables.some((table) => reads(table, { namespace, name })),
  }
}

/** Exactly these tables. */
export function namedSelection(tables: readonly TableSchema[]): TableSelection {
  const names = new Set(tables.map(tableName))
  return { patterns: [...names], includes: (namespace, name) => names.has(tableName({ namespace, name })) }
}

export function reads(table: NormalizedTable, source: Pick<TableSchema, 'namespace' | 'name'>): boolean {
  const { namespace, name } = table.collection
  return name === source.name && (namespace === null || namespace === source.namespace)
}

/** Plans every table of the mapping, and finds everything that is wrong with it. `tables` are those of the source. */
export function planTables(mapping: NormalizedMapping, tables: readonly TableSchema[]): Planned {
  const plans: RowPlan[] = []
  const problems: RowProblem[] = []
  for (const table of mapping.tables) {
    const found = tables.filter((source) => reads(table, source))
    const [source] = found
    if (source === undefined || found.length > 1) {
      problems.push(source === undefined ? missing(table, tables) : ambiguous(table, found))
      continue
    }
    const planned = planRows(table, source, source.namespace)
    if (planned.problems !== null) problems.push(...planned.problems)
    else plans.push(planned.plan)
  }
  for (const [index, { target, mapping: table }] of plans.entries()) {
    const isTwice = plans.findIndex((other) => tableName(other.target) === tableName(target)) < index
    if (isTwice)
      problems.push({
        ...table.place,
        code: 'mapping/twice',
        reason: `makes the table ${tableName(target)} a second time`,
      })
  }
  return { plans, problems }
}

/** What the source calls its columns now, by their ids. */
export function currentNames(table: TableSchema): CurrentNames {
  return new Map(table.columns.map(({ id, name }) => [id, name]))
}

/** Says where something stands in the documents of the mapping. */
export type Locate = (place: Place) => string

export function toProblems(problems: readonly RowProblem[], locate: Locate): readonly Problem[] {
  return problems.map((problem) => ({
    severity: 'error',
    code: problem.code,
    message: `${locate(problem)} ${problem.reason}`,
    fix: FIXES[problem.code] ?? 'Correct the mapping.',
  }))
}

const FIXES: Readonly<Record<string, string>> = {
  'mapping/table-missing': 'Name a table that the source has and that `tables` selects.',
  'mapping/ambiguous': 'Write the schema in front of the name.',
  'mapping/column-gone': 'Name a column that the table has, or leave the rule out.',
  'mapping/cast': 'Give the column a type that it can become; the table of casts is in docs/mapping.md.',
  'mapping/no-type': 'Write the type of the value beside the expression.',
  'mapping/key': 'Let the key of the table hold the key of the source.',
  'mapping/unwind': 'Leave `unwind` out, or use it with a source of documents.',
  'mapping/twice': 'Give each one a name of its own.',
}

function missing(table: NormalizedTable, tables: readonly TableSchema[]): RowProblem {
  const { namespace, name } = table.collection
  const wanted = namespace === null ? name : `${namespace}.${name}`
  const names = tables.map((source) => (namespace === null ? source.name : tableName(source)))
  const near = closest(wanted, names)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  return {
    ...table.place,
    code: 'mapping/table-missing',
    reason: `reads the table "${wanted}", which is not among the tables of the source${hint}`,
  }
}

function ambiguous(table: NormalizedTable, found: readonly TableSchema[]): RowProblem {
  return {
    ...table.place,
    code: 'mapping/ambiguous',
    reason: `reads the table "${table.collection.name}", of which there are several: ${found.map(tableName).join(', ')}`,
  }
}
