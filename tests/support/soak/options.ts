import { parseArgs } from 'node:util'

/** What a soak is asked to do. */
export interface SoakOptions {
  /** How long the load runs. */
  readonly minutes: number
  readonly seed: number
  /** Print the report as JSON. */
  readonly json: boolean
}

/** The command line is wrong. */
export class UsageError extends Error {}

export const USAGE = `npm run soak -- [--minutes <number>] [--seed <number>] [--json]

  --minutes  How long the load runs, 0.5 to 10000. Default: 10.
  --seed     Repeats the faults and the load of an earlier soak, 0 to 4294967295. Default: a new one.
  --json     Prints the report as JSON. The course goes to standard error in any case.`

/** Reads the arguments after the program's name. Throws `UsageError`. */
export function soakOptions(args: readonly string[]): SoakOptions {
  const { values } = parsed(args)
  return {
    minutes: number(values.minutes ?? '10', '--minutes', /^\d+(\.\d+)?$/, 0.5, 10_000),
    seed: number(
      values.seed ?? String(Math.floor(Math.random() * 2 ** 32)),
      '--seed',
      /^\d+$/,
      0,
      2 ** 32 - 1,
    ),
    json: values.json ?? false,
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: { minutes: { type: 'string' }, seed: { type: 'string' }, json: { type: 'boolean' } },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function number(text: string, option: string, form: RegExp, least: number, most: number): number {
  const value = Number(text)
  if (form.test(text) && value >= least && value <= most) return value
  const what = form.test('0.5') ? 'a number' : 'a whole number'
  throw new UsageError(`${option} must be ${what} from ${least} to ${most}, not "${text}"`)
}
