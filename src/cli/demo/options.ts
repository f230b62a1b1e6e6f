import { parseArgs } from 'node:util'

import { closest } from '../../core/closest.ts'
import { ConfigError } from '../../core/error.ts'
import { columns } from '../help.ts'

export interface DemoOptions {
  /** How long the load runs beside the stream, in seconds. */
  readonly seconds: number
  /** Rows that are there before anything is replicated. */
  readonly rows: number
  readonly json: boolean
  readonly keep: boolean
}

const known = {
  seconds: {
    type: 'string',
    value: 'n',
    summary: 'How long the load runs after the first copy; 20 by default.',
  },
  rows: { type: 'string', value: 'n', summary: 'Rows that are there at the beginning; 200000 by default.' },
  json: {
    type: 'boolean',
    summary: 'The last line of stdout is the result as JSON; all text goes to stderr.',
  },
  keep: { type: 'boolean', summary: 'Leave everything running at the end, to look around, until Ctrl-C.' },
  help: { type: 'boolean', summary: 'Show this help.' },
} as const

/** Reads the arguments after `demo`; null asks for help. Throws `ConfigError` `cli/usage`. */
export function readOptions(args: readonly string[]): DemoOptions | null {
  const given = new Map<string, string>()
  const options = { ...known, help: { ...known.help, short: 'h' } } as const
  // Not strict: its messages know no suggestions.
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'positional') throw usage(`demo does not take "${token.value}"`)
    if (token.kind === 'option') given.set(token.name, checked(token.name, token.rawName, token.value))
  }
  if (given.has('help')) return null
  return {
    seconds: number(given.get('seconds') ?? '20', '--seconds', { min: 1, max: 86_400, whole: false }),
    rows: number(given.get('rows') ?? '200000', '--rows', { min: 1_000, max: 100_000_000, whole: true }),
    json: given.has('json'),
    keep: given.has('keep'),
  }
}

export function demoHelp(): string {
  const lines = Object.entries(known).map(([name, option]) => {
    const value = 'value' in option ? ` <${option.value}>` : ''
    return [`--${name}${value}`, option.summary] as const
  })
  return [
    'Starts a real Postgres and a real ClickHouse in a temporary folder, fills a shop, replicates it while it is',
    'being changed, kills the replicating process and starts it again, and compares every row at the end.',
    '',
    'Usage: sluice demo',
    '',
    ...columns(lines),
    '',
    'Exit codes: 0 equal, 1 failure, 2 mistake in usage, 3 a package for the servers is missing, 4 not equal.',
  ].join('\n')
}

function checked(name: string, shown: string, value: string | undefined): string {
  if (!Object.hasOwn(known, name)) {
    const near = closest(name, Object.keys(known))
    throw usage(`unknown option ${shown}${near === null ? '' : `, did you mean --${near}?`}`)
  }
  const { type } = known[name as keyof typeof known]
  if (type === 'boolean' && value !== undefined) throw usage(`${shown} takes no value`)
  if (type === 'string' && (value === undefined || value === '')) throw usage(`${shown} needs a value`)
  return value ?? ''
}

function number(
  text: string,
  option: string,
  { min, max, whole }: { readonly min: number; readonly max: number; readonly whole: boolean },
): number {
  const value = Number(text)
  if (Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isInteger(value)))
    return value
  const kind = whole ? 'a whole number' : 'a number'
  throw usage(`${option} must be ${kind} from ${min} to ${max}`)
}

function usage(message: string): ConfigError {
  return new ConfigError('cli/usage', message, { fix: 'See sluice demo --help.' })
}
