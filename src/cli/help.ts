import { type Command, type CommandName, type CommandOption, commands, globalOptions } from './commands.ts'

/** Help for one command, or the overview. */
export function helpText(name: CommandName | null): string {
  if (name === null) return overview()
  const command: Command = commands[name]
  const options = { ...command.options, ...globalOptions }
  const lines = [
    command.summary,
    '',
    `Usage: sluice ${usageOf(name, command)}`,
    '',
    ...optionLines(options),
    ...variableLines(command),
  ]
  return lines.join('\n')
}

function overview(): string {
  const rows = Object.entries(commands).map(
    ([name, command]) => [usageOf(name, command), command.summary] as const,
  )
  return [
    'Sluice reads committed row changes out of databases and keeps other systems equal to them.',
    '',
    'Usage: sluice <command>',
    '',
    ...columns(rows),
    '',
    ...optionLines(globalOptions),
    '',
    'Exit codes: 0 done, 1 failure, 2 mistake in usage or config, 3 a precondition is missing,',
    '            4 source and target differ, 5 the position is no longer available.',
  ].join('\n')
}

function usageOf(name: string, command: Command): string {
  const positionals = command.positionals.map((it) => (it.endsWith('?') ? `[${it.slice(0, -1)}]` : `<${it}>`))
  return [name, ...positionals].join(' ')
}

function optionLines(options: Readonly<Record<string, CommandOption>>): readonly string[] {
  return columns(
    Object.entries(options).map(([name, option]) => {
      const value = option.value === undefined ? '' : ` <${option.value}>`
      return [`--${name}${value}`, withChoices(option)] as const
    }),
  )
}

function withChoices(one: { readonly summary: string; readonly choices?: readonly string[] }): string {
  return one.choices === undefined ? one.summary : `${one.summary} One of ${one.choices.join(', ')}.`
}

function variableLines({ variables = [] }: Command): readonly string[] {
  if (variables.length === 0) return []
  return ['', 'Environment:', ...columns(variables.map((one) => [one.name, withChoices(one)] as const))]
}

/** Two columns, the second one aligned. */
export function columns(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd())
}
