/** What is wrong with publications, seen beside the tables that there are. Pure. */
import { closest } from '../../../core/closest.ts'
import { CoreError, type Problem } from '../../../core/error.ts'
import type { FilterMistake } from '../../../core/row-filter.ts'
import { isLiteral, selectTables } from '../../../core/selection.ts'
import { resolveRules, unknownName } from './publication-rules.ts'
import {
  includes,
  type PublicationDefinition,
  type PublicationDefinitions,
  Publications,
  rulesOf,
} from './publications.ts'
import type { TableVersion } from './table-version.ts'

/** The complete list. A pattern that nothing fits may wait for a table, so it is a warning; a plain name may not. */
export function publicationProblems(
  definitions: PublicationDefinitions,
  tables: readonly TableVersion[],
): readonly Problem[] {
  return [
    ...Object.entries(definitions).flatMap(([name, definition]) => problemsOf(name, definition, tables)),
    ...countProblems(definitions),
  ]
}

function problemsOf(
  name: string,
  definition: PublicationDefinition,
  tables: readonly TableVersion[],
): readonly Problem[] {
  const at = (path: readonly (string | number)[]) => ['publications', name, ...path]
  const sources = tables.map(({ source }) => source)
  const selection = selectTables(definition.tables)
  const problems: Problem[] = []
  if (definition.tables.length === 0) {
    problems.push(mistake({ path: at(['tables']), reason: 'has no pattern; "*" stands for every table' }))
  }
  for (const [index, pattern] of definition.tables.entries()) {
    const path = at(['tables', index])
    if (isLiteral(pattern) && !sources.includes(pattern)) {
      problems.push(mistake({ path, reason: unknownTable(pattern, sources) }))
    } else if (!sources.some((source) => includes(selectTables([pattern.replace(/^!/, '')]), source))) {
      problems.push({ ...mistake({ path, reason: 'fits no table' }), severity: 'warning' })
    }
  }
  for (const kind of ['columns', 'rows'] as const) {
    for (const source of Object.keys(definition[kind] ?? {})) {
      const path = at([kind, source])
      if (!sources.includes(source)) problems.push(mistake({ path, reason: unknownTable(source, sources) }))
      else if (!includes(selection, source)) {
        problems.push(mistake({ path, reason: 'is not among the `tables` of the publication' }))
      }
    }
  }
  for (const table of tables) {
    const { mistakes } = resolveRules(rulesOf(definition, table.source), table)
    for (const { path, reason } of mistakes) {
      const [kind, ...inside] = path
      problems.push(mistake({ path: at([kind!, table.source, ...inside]), reason }))
    }
  }
  return problems
}

function countProblems(definitions: PublicationDefinitions): readonly Problem[] {
  try {
    void new Publications(definitions)
    return []
  } catch (error) {
    if (!(error instanceof CoreError)) throw error
    return [{ severity: 'error', code: error.code, message: error.message, fix: error.fix! }]
  }
}

function unknownTable(source: string, known: readonly string[]): string {
  const near = closest(source, known)
  return near === null ? 'unknown table' : unknownName('table', source, known)
}

function mistake({ path, reason }: FilterMistake): Problem {
  return {
    severity: 'error',
    code: 'zero/publication-mistake',
    message: `${path.join('.')}: ${reason}`,
    fix: 'Correct it in the configuration.',
  }
}
