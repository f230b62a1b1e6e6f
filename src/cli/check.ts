import { PreconditionError, type Problem } from '../core/error.ts'
import { type TableSchema, tableName } from '../core/table.ts'
import { buildPipeline } from '../runtime/config/build.ts'
import type { LoadedConfig } from '../runtime/config/load.ts'
import { createLogger } from '../runtime/config/log.ts'
import { inspectPipeline } from '../runtime/pipeline.ts'
import { exitCodeOf, exitCodes } from '../runtime/policy.ts'
import { columns } from './help.ts'
import { reportProblems } from './report.ts'
import type { Terminal } from './terminal.ts'

/** Connects both sides, finds every problem and lists the tables. Moves and changes nothing. */
export async function check(
  args: { load(): Promise<LoadedConfig>; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const config = await args.load()
  const log = createLogger(config.log, (line) => terminal.note(line))
  const definition = await buildPipeline(config)
  try {
    const { problems, tables } = await inspectPipeline(definition, { log })
    const isReady = problems.every((problem) => problem.severity === 'warning')
    const listed = isReady ? (tables ?? []) : []
    if (args.json)
      terminal.print(JSON.stringify({ ok: isReady, problems, tables: listed.map(describeTable) }))
    else printCheck(terminal, problems, listed)
    return isReady ? exitCodes.ok : exitCodeOf(new PreconditionError(problems))
  } finally {
    await definition.store.close()
  }
}

function describeTable(table: TableSchema): object {
  return {
    table: tableName(table),
    key: keyOf(table),
    columns: table.columns.map(({ name, native, nullable }) => ({ name, type: native, nullable })),
  }
}

function keyOf(table: TableSchema): readonly string[] {
  return table.key.map((index) => table.columns[index]!.name)
}

function printCheck(terminal: Terminal, problems: readonly Problem[], tables: readonly TableSchema[]): void {
  reportProblems(terminal, problems)
  const errors = problems.filter((problem) => problem.severity === 'error').length
  if (errors > 0) {
    terminal.print(`not ready: ${errors} ${errors === 1 ? 'problem' : 'problems'} to solve first`)
    return
  }
  terminal.print(`ready: ${tables.length} ${tables.length === 1 ? 'table' : 'tables'} to replicate`)
  const rows = tables.map((table) => {
    const key = table.key.length === 0 ? 'no key' : `key (${keyOf(table).join(', ')})`
    const count = table.columns.length === 1 ? '1 column' : `${table.columns.length} columns`
    return [tableName(table), `${count}, ${key}`] as const
  })
  for (const line of columns(rows)) terminal.print(line)
}
