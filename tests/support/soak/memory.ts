/** What the memory of our process does over time. */

/** Memory of one process, from its start to its end. */
export interface Segment {
  readonly pid: number
  readonly samples: readonly Sample[]
}

/** One a second, in MB. */
export interface Sample {
  /** Resident: what the operating system gives the process. */
  readonly rssMb: number
  /** What it really holds. */
  readonly liveMb: number
  /** No fault was under way. */
  readonly steady: boolean
}

/** Code, schemas, drivers, and what V8 keeps for itself. */
const LIVE_BASE_MB = 48
/** The same, with Node itself, garbage that V8 has no reason to collect yet, and holes in what malloc has. */
const RESIDENT_BASE_MB = 320

/** Fewer say nothing about a trend. */
const SAMPLES_FOR_TREND = 30

/** Every configured byte may be there twice, as read and as encoded, and buffers may be twice as large as their content. */
const COPIES = 4

export interface Budget {
  readonly liveMb: number
  readonly rssMb: number
}

/** The most that the process may take when the config allows it to hold so much. */
export function budgetOf(configuredMb: number): Budget {
  const held = COPIES * configuredMb
  return { liveMb: LIVE_BASE_MB + held, rssMb: RESIDENT_BASE_MB + held }
}

/**
 * What is wrong with the memory: more than the budget at any moment, or growth in the last third of a process's life.
 * What is alive has to be flat; what is resident may have some more holes.
 */
export function memoryFaults(segments: readonly Segment[], configuredMb: number): readonly string[] {
  const budget = budgetOf(configuredMb)
  return segments.flatMap(({ pid, samples }) =>
    (['liveMb', 'rssMb'] as const).flatMap((kind) => {
      const what = `process ${pid}: ${kind === 'liveMb' ? 'live' : 'resident'} memory`
      const most = Math.max(0, ...samples.map((sample) => sample[kind]))
      const found = most > budget[kind] ? [`${what} of ${most} MB, the budget is ${budget[kind]} MB`] : []
      const trend = trendOf(samples, kind)
      if (trend !== null && trend.last > trend.middle * 1.25 + 24)
        found.push(`${what} grows: ${trend.middle} MB in the second third, ${trend.last} MB in the last`)
      return found
    }),
  )
}

export interface Trend {
  readonly middle: number
  readonly last: number
}

/** Medians of the second and of the last third of the steady samples; null when there are too few to tell. */
export function trendOf(samples: readonly Sample[], kind: 'liveMb' | 'rssMb'): Trend | null {
  const steady = samples.filter((sample) => sample.steady).map((sample) => sample[kind])
  if (steady.length < SAMPLES_FOR_TREND) return null
  const third = Math.floor(steady.length / 3)
  return { middle: median(steady.slice(third, 2 * third)), last: median(steady.slice(2 * third)) }
}

export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) return 0
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}
