import { parseArgs } from 'node:util'

import { closest } from '../../core/closest.ts'
import { ConfigError } from '../../core/error.ts'
import { columns } from '../help.ts'
import type { TargetName } from './target.ts'

export interface DemoOptions {
  readonly sink: TargetName
  /** How long the load runs beside the stream, in seconds. */
  readonly seconds: number
  /** Rows that are there before anything is replicated. */
  readonly rows: number
  readonly json: boolean
  readonly keep: boolean
}

const known = {
  sink: {
    type: 'string',
    value: 'name',
    summary: 'Where the rows go: clickhouse, the default, or zero (a zero-cache and a Zero client).',
  },
  seconds: {
    type: 'string',
    value: 'n',
    summary: 'How long the load runs after the first copy; 20 by default.',
  },
  rows: {
    type: 'string',
    value: 'n',
    summary: 'Rows that are there at the beginning; 200000 by default, 20000 with zero.',
  },
  json: {
    type: 'boolean',
    summary: 'The last line of stdout is the result as JSON; all text goes to stderr.',
  },
  keep: { type: 'boolean', summary: 'Leave everything running at the end, to look around, until Ctrl-C.' },
  help: { type: 'boolean', summary: 'Show this help.' },
} as const

/** A Zero client holds every row in its memory. */
const limits: Readonly<Record<TargetName, { readonly usualRows: string; readonly maxRows: number }>> = {
  clickhouse: { usualRows: '200000', maxRows: 100_000_000 },
  zero: { usualRows: '20000', maxRows: 50_000 },
}

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
  const sink = sinkOf(given.get('sink') ?? 'clickhouse')
  const { usualRows, maxRows } = limits[sink]
  return {
    sink,
    seconds: number(given.get('seconds') ?? '20', '--seconds', { min: 1, max: 86_400, whole: false }),
    rows: number(given.get('rows') ?? usualRows, '--rows', { min: 1_000, max: maxRows, whole: true }),
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
    'Starts a real Postgres and a real ClickHouse (or zero-cache) in a temporary folder, fills a shop, replicates it',
    'while it is being changed, kills the replicating process and starts it again, and compares every row at the end.',
    '',
    'Usage: sluice demo',
    '',
    ...columns(lines),
    '',
    'Exit codes: 0 equal, 1 failure, 2 mistake in usage, 3 a package for the servers is missing, 4 not equal.',
  ].join('\n')
}

function sinkOf(name: string): TargetName {
  if (Object.hasOwn(limits, name)) return name as TargetName
  throw usage(`--sink must be ${Object.keys(limits).join(' or ')}`)
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
