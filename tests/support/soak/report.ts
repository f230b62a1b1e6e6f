import { median, type Sample, type Segment, trendOf } from './memory.ts'

export interface FaultRecord {
  readonly kind: string
  /** Since the start of the soak. */
  readonly atMs: number
  /** From the end of the fault until a new row arrived. */
  readonly recoveryMs: number
}

/** How a soak went. */
export interface SoakReport {
  readonly seed: number
  readonly minutes: number
  /** Source and target, by full comparison at the end. */
  readonly equal: boolean
  /** Everything that is not as it must be, one line each; empty when all is well. */
  readonly wrong: readonly string[]
  /** Transactions of the load. */
  readonly commits: number
  /** Rows that the last process has read from the log. */
  readonly changes: number
  readonly faults: readonly FaultRecord[]
  /** The most WAL that the slot kept on the server after a recovery. */
  readonly retainedBytes: number
  readonly memory: readonly Segment[]
}

/** The report as JSON: as it is, with figures for what is a list of measurements. */
export function reportJson(report: SoakReport): string {
  const { memory, faults, ...rest } = report
  return JSON.stringify({
    ...rest,
    faults: byKind(faults),
    recoveryMs: figures(faults.map(({ recoveryMs }) => recoveryMs)),
    memory: memory.map(({ pid, samples }) => ({
      pid,
      seconds: samples.length,
      liveMb: { ...figures(samples.map(({ liveMb }) => liveMb)), trend: trendOf(samples, 'liveMb') },
      rssMb: { ...figures(samples.map(({ rssMb }) => rssMb)), trend: trendOf(samples, 'rssMb') },
    })),
  })
}

/** For people. */
export function reportLines(report: SoakReport): readonly string[] {
  const { seed, minutes, commits, changes, faults, memory, retainedBytes, wrong } = report
  const recovery = figures(faults.map(({ recoveryMs }) => recoveryMs))
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
  return [
    `${minutes} minutes, seed ${seed}: ${wrong.length === 0 ? 'source and target are equal, and nothing else is wrong' : 'FAILED'}`,
    ...wrong.map((line) => `  ${line}`),
    `load: ${commits} commits; the last process read ${changes} changes`,
    `faults: ${faults.length}, recovery ${seconds(recovery.median)} (median), ${seconds(recovery.max)} (longest)`,
    ...Object.entries(byKind(faults)).map(
      ([kind, { count, recoveryMs }]) =>
        `  ${count} x ${kind}: ${seconds(recoveryMs.median)}, ${seconds(recoveryMs.max)}`,
    ),
    `WAL kept by the slot: ${(retainedBytes / 1e6).toFixed(1)} MB at most, after a recovery`,
    'memory of the pipeline:',
    ...memory.map(
      ({ samples }) =>
        `  process of ${samples.length} s: ${memoryText(samples, 'liveMb')} live, ${memoryText(samples, 'rssMb')} resident`,
    ),
  ]
}

function memoryText(samples: readonly Sample[], kind: 'liveMb' | 'rssMb'): string {
  const { median: usual, max } = figures(samples.map((sample) => sample[kind]))
  const trend = trendOf(samples, kind)
  const thirds = trend === null ? '' : ` (steady: ${trend.middle}, then ${trend.last})`
  return `${usual} MB, at most ${max} MB${thirds}`
}

interface Figures {
  readonly median: number
  readonly max: number
}

function figures(numbers: readonly number[]): Figures {
  return { median: median(numbers), max: Math.max(0, ...numbers) }
}

function byKind(faults: readonly FaultRecord[]): Record<string, { count: number; recoveryMs: Figures }> {
  const kinds = [...new Set(faults.map(({ kind }) => kind))]
  return Object.fromEntries(
    kinds.map((kind) => {
      const times = faults.filter((fault) => fault.kind === kind).map(({ recoveryMs }) => recoveryMs)
      return [kind, { count: times.length, recoveryMs: figures(times) }]
    }),
  )
}
