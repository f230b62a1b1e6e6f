/** What the memory of our process does over time. */

/** Resident memory of one process, from its start to its end. */
export interface Segment {
  readonly pid: number
  /** In the order of time, one a second, in MB; `steady` when no fault was under way or just over. */
  readonly samples: { readonly mb: number; readonly steady: boolean }[]
}

/**
 * A process of Node with this pipeline takes that much before it has anything to hold: code, the driver's and V8's own
 * buffers, garbage that V8 has no reason to collect yet, and what the allocator keeps for itself. What is alive after a
 * collection was 28 MB throughout a hundred reconnections; resident memory went up to 363 MB within ten minutes of
 * faults, with 16 MB configured.
 */
const BASE_MB = 320

/** Fewer say nothing about a trend. */
const SAMPLES_FOR_TREND = 30

/** The most that the process may take with so many configured bytes, which are used twice: as read, and as encoded. */
export function budgetMb(configuredMb: number): number {
  return BASE_MB + 4 * configuredMb
}

/**
 * What is wrong with the memory: a sample above the budget, or a process whose memory still grows in the last third of
 * its life. A third that V8 filled with garbage passes, a leak does not.
 */
export function memoryFaults(segments: readonly Segment[], configuredMb: number): readonly string[] {
  const budget = budgetMb(configuredMb)
  return segments.flatMap(({ pid, samples }) => {
    const most = Math.max(0, ...samples.map(({ mb }) => mb))
    const found = most > budget ? [`process ${pid} took ${most} MB; the budget is ${budget} MB`] : []
    const trend = trendOf(samples.filter(({ steady }) => steady).map(({ mb }) => mb))
    if (trend !== null && trend.last > trend.middle * 1.25 + 24)
      found.push(`process ${pid} grows: ${trend.middle} MB in the second third, ${trend.last} MB in the last`)
    return found
  })
}

/** Medians of the second and of the last third, in MB; null when there are too few samples to tell. */
export function trendOf(
  samples: readonly number[],
): { readonly middle: number; readonly last: number } | null {
  if (samples.length < SAMPLES_FOR_TREND) return null
  const third = Math.floor(samples.length / 3)
  return { middle: median(samples.slice(third, 2 * third)), last: median(samples.slice(2 * third)) }
}

export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) return 0
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}
