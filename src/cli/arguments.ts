import { parseArgs } from 'node:util'
import { closest } from '../core/closest.ts'
import { ConfigError } from '../core/error.ts'
import {
  type Command,
  type CommandName,
  type CommandOption,
  commands,
  globalOptions,
  shortOptions,
} from './commands.ts'

/** What the command line asks for. */
export type Invocation =
  | { readonly kind: 'help'; readonly command: CommandName | null }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'command'
      readonly command: CommandName
      readonly positionals: readonly string[]
      readonly options: Readonly<Record<string, string | true>>
      /** What follows the command, as it was given. */
      readonly rest: readonly string[]
    }

/** Reads the arguments after the program's name. Throws `ConfigError` `cli/usage` that says what is not known. */
export function parseArguments(args: readonly string[]): Invocation {
  const at = args.findIndex((arg) => !arg.startsWith('-'))
  const word = args[at]
  const name = word === undefined ? null : toCommand(word)
  const before = at < 0 ? args : args.slice(0, at)
  const rest = at < 0 ? [] : args.slice(at + 1)
  const asked = parseOptions(before, globalOptions, null)
  if ('version' in asked.options) return { kind: 'version' }
  if ('help' in asked.options || name === null) return { kind: 'help', command: name }
  if (word === 'help') return { kind: 'help', command: rest[0] === undefined ? null : toCommand(rest[0]) }
  const command: Command = commands[name]
  if (command.raw) return { kind: 'command', command: name, positionals: [], options: {}, rest }
  const { options, positionals } = parseOptions(rest, { ...command.options, ...globalOptions }, name)
  if ('help' in options) return { kind: 'help', command: name }
  if ('version' in options) return { kind: 'version' }
  checkPositionals(name, command, positionals)
  return { kind: 'command', command: name, positionals, options, rest }
}

function toCommand(word: string): CommandName | null {
  if (Object.hasOwn(commands, word)) return word as CommandName
  if (word === 'help') return null
  const near = closest(word, Object.keys(commands))
  throw usage(`unknown command "${word}"${near === null ? '' : `, did you mean "${near}"?`}`, null)
}

function parseOptions(
  args: readonly string[],
  known: Readonly<Record<string, CommandOption>>,
  command: CommandName | null,
): { readonly options: Record<string, string | true>; readonly positionals: readonly string[] } {
  const shorts = Object.entries(shortOptions).map(
    ([short, long]) => [long, { ...known[long]!, short }] as const,
  )
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options: Object.fromEntries([
      ...Object.entries(known).map(([name, { type }]) => [name, { type }] as const),
      ...shorts.map(([name, { type, short }]) => [name, { type, short }] as const),
    ]),
    allowPositionals: true,
    // Not strict: its messages know no suggestions.
    strict: false,
    tokens: true,
  })
  const options: Record<string, string | true> = {}
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const option = known[token.name]
    if (option === undefined) throw unknownOption(token.rawName, Object.keys(known), command)
    options[token.name] = valueOf(token.rawName, token.value, option, command)
  }
  return { options, positionals }
}

function valueOf(
  shown: string,
  value: string | undefined,
  option: CommandOption,
  command: CommandName | null,
): string | true {
  if (option.type === 'boolean') {
    if (value === undefined) return true
    throw usage(`${shown} takes no value`, command)
  }
  if (value === undefined || value === '') throw usage(`${shown} needs a value`, command)
  if (option.choices === undefined || option.choices.includes(value)) return value
  const near = closest(value, option.choices)
  const hint = near === null ? '' : `, did you mean "${near}"?`
  throw usage(`${shown} must be one of ${option.choices.join(', ')}${hint}`, command)
}

function checkPositionals(name: CommandName, command: Command, given: readonly string[]): void {
  const missing = command.positionals.slice(given.length).find((positional) => !positional.endsWith('?'))
  if (missing !== undefined) throw usage(`${name} needs <${missing}>`, name)
  const extra = given[command.positionals.length]
  if (extra !== undefined) throw usage(`${name} does not take "${extra}"`, name)
}

function unknownOption(shown: string, known: readonly string[], command: CommandName | null): ConfigError {
  const near = closest(shown.replace(/^-+/, ''), known)
  return usage(`unknown option ${shown}${near === null ? '' : `, did you mean --${near}?`}`, command)
}

function usage(message: string, command: CommandName | null): ConfigError {
  return new ConfigError('cli/usage', message, {
    fix: `See sluice ${command === null ? '' : `${command} `}--help.`,
  })
}
