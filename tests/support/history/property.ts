import * as fc from 'fast-check'
import type { History } from './history.ts'

export interface Search {
  /** Histories to try. */
  readonly runs: number
  /** Repeats a search; a new one, or SLUICE_SEED, when left out. */
  readonly seed?: number
}

/** How long a counterexample is made smaller, in milliseconds, once one is found. */
const shrinkMs = 20_000

/** The smallest history found for which something is wrong, and what. */
export interface Counterexample {
  readonly history: History
  readonly wrong: string
  readonly seed: number
  readonly path: string
}

/**
 * Looks for a history after which `check` finds something wrong, and makes it as small as it can. Prints the seed;
 * SLUICE_SEED repeats the search, with SLUICE_PATH it begins at the counterexample.
 */
export async function counterexample(
  what: string,
  arbitrary: fc.Arbitrary<History>,
  check: (history: History) => Promise<readonly string[]>,
  search: Search,
): Promise<{ readonly found: Counterexample | null; readonly tried: number }> {
  const fixed = search.seed ?? process.env['SLUICE_SEED']
  const seed = Number(fixed ?? Math.floor(Math.random() * 2 ** 31))
  const path = search.seed === undefined ? process.env['SLUICE_PATH'] : undefined
  const repeat = search.seed === undefined ? ` (repeat with SLUICE_SEED=${seed})` : ''
  console.log(`${what}: ${search.runs} histories, seed ${seed}${repeat}`)
  let shrinkUntilMs = Infinity
  const property = fc.asyncProperty(arbitrary, async (history) => {
    // What is left to try counts as right: fast-check keeps the smallest that it has seen fail.
    if (performance.now() > shrinkUntilMs) return
    const wrong = await check(history)
    if (wrong.length === 0) return
    if (shrinkUntilMs === Infinity) shrinkUntilMs = performance.now() + shrinkMs
    throw new Error(wrong.join('\n'))
  })
  const details = await fc.check(property, {
    seed,
    numRuns: search.runs,
    ...(path === undefined ? {} : { path }),
  })
  const { failed, numRuns: tried, errorInstance: error, counterexamplePath } = details
  if (!failed) return { found: null, tried }
  const wrong = error instanceof Error ? error.message : String(error)
  return {
    found: { history: details.counterexample![0], wrong, seed, path: counterexamplePath ?? '' },
    tried,
  }
}

/** Fails with the smallest counterexample when there is one; gives the number of histories that were tried. */
export async function holdsForAll(...args: Parameters<typeof counterexample>): Promise<number> {
  const { found, tried } = await counterexample(...args)
  if (found === null) return tried
  const { history, wrong, seed, path } = found
  throw new Error(
    `${args[0]}: after these ${history.length} steps\n\n${String(history)}\n\nthis is wrong:\n${wrong}\n\nRepeat the search with SLUICE_SEED=${seed}, or only this history with SLUICE_SEED=${seed} SLUICE_PATH=${path}.`,
  )
}
