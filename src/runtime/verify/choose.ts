/** What a comparison is about: a sink of the pipeline, and some of its tables. */
import { closest } from '../../core/closest.ts'
import { ConfigError } from '../../core/error.ts'
import { isLiteral, selectTables } from '../../core/selection.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import type { PipelineDefinition, SinkDefinition } from '../definition.ts'

/** The sink of that name; without a name, the only one. */
export function chooseSink({ sinks }: PipelineDefinition, name: string | undefined): SinkDefinition {
  const names = sinks.map((sink) => sink.name)
  if (name === undefined && sinks.length === 1) return sinks[0]!
  const fix = `Name one with --sink: ${names.join(', ')}.`
  if (name === undefined)
    throw new ConfigError('verify/which-sink', 'the pipeline has several sinks', { fix })
  const chosen = sinks.find((sink) => sink.name === name)
  if (chosen !== undefined) return chosen
  const near = closest(name, names)
  const hint = near === null ? '' : `, did you mean "${near}"?`
  throw new ConfigError('verify/unknown-sink', `the pipeline has no sink "${name}"${hint}`, { fix })
}

/** Those that the patterns select. A pattern that selects nothing is a mistake. */
export function chooseTables(
  tables: readonly TableSchema[],
  patterns: readonly string[],
): readonly TableSchema[] {
  for (const pattern of patterns) {
    const one = selectTables([pattern])
    if (pattern.startsWith('!') || tables.some(({ namespace, name }) => one.includes(namespace, name)))
      continue
    const near = isLiteral(pattern) ? nearest(pattern, tables) : null
    throw new ConfigError(
      'verify/unknown-table',
      `no table of the pipeline is called ${pattern}${near === null ? '' : `, did you mean ${near}?`}`,
      { fix: 'Write it as namespace.table, with * for any characters; sluice check lists the tables.' },
    )
  }
  const selection = selectTables(patterns)
  const chosen = tables.filter(({ namespace, name }) => selection.includes(namespace, name))
  if (chosen.length > 0) return chosen
  throw new ConfigError('verify/no-tables', 'there is no table to compare', {
    fix: 'Check `tables` in the config and --tables; sluice check lists the tables of the pipeline.',
  })
}

/** The table that was most likely meant, also when its namespace was left out. */
function nearest(pattern: string, tables: readonly TableSchema[]): string | null {
  if (pattern.includes('.')) return closest(pattern, tables.map(tableName))
  const near = closest(
    pattern,
    tables.map(({ name }) => name),
  )
  const table = tables.find(({ name }) => name === near)
  return table === undefined ? null : tableName(table)
}
