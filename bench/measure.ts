/** Figures of the benchmarks: medians, and one process measured from outside. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Measurement {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakRssMb: number
  /** Rows that arrived, where the contender counts them. */
  readonly delivered?: number
}

export interface Summary {
  readonly rowsPerSecond: number
  readonly cpuMicrosPerRow: number
  readonly peakRssMb: number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Medians over the runs. */
export function summarize(runs: readonly Measurement[], rows: number): Summary {
  return {
    rowsPerSecond: Math.round(rows / median(runs.map((run) => run.seconds))),
    cpuMicrosPerRow: round(median(runs.map((run) => (run.cpuSeconds * 1e6) / rows)), 3),
    peakRssMb: Math.round(median(runs.map((run) => run.peakRssMb))),
  }
}

/** One contender's figures for people. */
export function line({ rowsPerSecond, cpuMicrosPerRow, peakRssMb }: Summary): string {
  return `${rowsPerSecond.toLocaleString('en').padStart(9)} rows/s  ${cpuMicrosPerRow.toFixed(2)} us CPU/row  ${peakRssMb} MB`
}

/** The figures by contender, as the JSON line has them. */
export function byContender(
  summaries: Iterable<readonly [string, Summary]>,
): Record<keyof Summary, Record<string, number>> {
  const pick = (field: keyof Summary): Record<string, number> =>
    Object.fromEntries([...summaries].map(([name, summary]) => [name, summary[field]]))
  return {
    rowsPerSecond: pick('rowsPerSecond'),
    cpuMicrosPerRow: pick('cpuMicrosPerRow'),
    peakRssMb: pick('peakRssMb'),
  }
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** Runs a contender of `bench/contenders`, which reports about itself in its last line. */
export async function runContender<T extends Measurement>(
  file: string,
  name: string,
  options: object,
): Promise<T> {
  const path = new URL(`contenders/${file}`, import.meta.url).pathname
  const child = spawn(process.execPath, [path, name, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await exit(child)
  if (code !== 0) throw new Error(`${name} ended with exit code ${code}`)
  return JSON.parse(output.trim().split('\n').at(-1)!) as T
}

/** Runs a program of somebody else; its CPU time is what the shell's `time` says of it. Null when it is not installed. */
export async function runProgram(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Measurement | null> {
  if ((await exit(spawn('bash', ['-c', `command -v ${program}`], { stdio: 'ignore' }))) !== 0) return null
  const script = `TIMEFORMAT='%R %U %S'; time "$0" "$@"`
  const child = spawn('bash', ['-c', script, program, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  let peakRssMb = 0
  const watch = setInterval(() => (peakRssMb = Math.max(peakRssMb, childRssMb(child.pid!))), 50)
  const code = await exit(child)
  clearInterval(watch)
  const last = errors.trim().split('\n').at(-1) ?? ''
  const [seconds, user, system] = last.split(' ').map(Number)
  if (code !== 0 || system === undefined)
    throw new Error(`${program} ended with exit code ${code}: ${errors.trim()}`)
  return { seconds: seconds!, cpuSeconds: user! + system, peakRssMb }
}

/** Peak resident memory of the processes that `pid` started. Linux only, else 0. */
function childRssMb(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    return Math.max(
      0,
      ...children.map(
        (child) =>
          Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child}/status`, 'utf8'))?.[1] ?? 0) / 1024,
      ),
    )
  } catch {
    return 0
  }
}

function exit(child: ReturnType<typeof spawn>): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
}
