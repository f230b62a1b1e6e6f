/** What the demo tells a person who watches. */
import { Terminal } from '../terminal.ts'
import type { TableVerdict } from './compare.ts'
import type { Arrival } from './target.ts'

/** What is known at one moment of the load. */
export interface Moment {
  /** Since the load began. */
  readonly seconds: number
  readonly phase: string
  /** Set while the first copy runs. */
  readonly copy: { readonly rows: number; readonly rowsTotal: number } | null
  /** Row changes per second that were committed in Postgres, and that were read from its log. */
  readonly committedPerSecond: number
  readonly replicatedPerSecond: number
  readonly lagMs: number | null
  /** Table by table; null without a view of them. */
  readonly arrivals: readonly Arrival[] | null
}

/** Without a terminal a line only every so often. */
const PLAIN_EVERY_MS = 2_000
/** And what has arrived less often. */
const TABLE_EVERY_LINES = 3

export class Display {
  readonly #terminal: Terminal
  #plainAt = 0
  #plainLines = 0
  readonly #target: string

  /** With `json` stdout is left to the result. `target` is where rows may be missing. */
  constructor(json: boolean, target: string) {
    this.#target = target
    const out = json ? process.stderr : process.stdout
    this.#terminal = new Terminal(process.stdout, out, process.env)
  }

  /** A line that stays. */
  say(text = ''): void {
    this.#terminal.status('')
    this.#terminal.note(text)
  }

  /** The same, as something that happens on purpose. */
  event(text: string): void {
    this.say(this.#terminal.paint('bold', text))
  }

  /** The result for machines. */
  result(value: object): void {
    this.#terminal.status('')
    this.#terminal.print(JSON.stringify(value))
  }

  live(moment: Moment): void {
    const line = `  ${momentLine(moment)}`
    const table = moment.arrivals === null ? [] : arrivalLines(moment.arrivals)
    if (this.#terminal.isLive) {
      this.#terminal.status([...table, line].join('\n'))
      return
    }
    const nowMs = performance.now()
    if (nowMs - this.#plainAt < PLAIN_EVERY_MS) return
    this.#plainAt = nowMs
    if (this.#plainLines++ % TABLE_EVERY_LINES === 0) for (const row of table) this.#terminal.note(row)
    this.#terminal.note(line)
  }

  verdict(table: TableVerdict): void {
    const word = table.equal
      ? this.#terminal.paint('green', 'equal')
      : this.#terminal.paint('red', 'NOT EQUAL')
    this.say(`  ${table.table.padEnd(20)} ${count(table.rows).padStart(12)} rows   ${word}`)
    for (const line of mistakes(table, this.#target)) this.say(`    ${line}`)
  }

  conclusion(isEqual: boolean, text: string): void {
    this.say(this.#terminal.paint(['bold', isEqual ? 'green' : 'red'], text))
  }
}

/** `1234567` as `1,234,567`. */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** Milliseconds as a person says them. */
export function time(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function momentLine({
  seconds,
  phase,
  copy,
  committedPerSecond,
  replicatedPerSecond,
  lagMs,
}: Moment): string {
  const parts = [`${seconds.toFixed(0).padStart(3)} s`]
  if (copy !== null)
    parts.push(`copied ${count(copy.rows)} of about ${count(Math.max(copy.rows, copy.rowsTotal))} rows`)
  else if (phase !== 'streaming') parts.push(phase)
  parts.push(`${count(committedPerSecond)} changes/s in Postgres`)
  if (copy === null) parts.push(`${count(replicatedPerSecond)}/s replicated`)
  if (lagMs !== null) parts.push(`lag ${time(lagMs)}`)
  return parts.join('   ')
}

function arrivalLines(arrivals: readonly Arrival[]): readonly string[] {
  const head = `  ${''.padEnd(14)}${'Postgres'.padStart(12)}${'client'.padStart(12)}${'updates'.padStart(10)}   last one`
  const lines = arrivals.map(({ table, source, target, updates, changedMs }) => {
    const numbers = `${count(source).padStart(12)}${count(target).padStart(12)}${count(updates).padStart(10)}`
    return `  ${table.padEnd(14)}${numbers}   ${changedMs === null ? '' : `${time(changedMs)} ago`}`
  })
  return [head, ...lines]
}

function mistakes(table: TableVerdict, target: string): readonly string[] {
  const { missing, unexpected, different, columns, examples } = table
  const counts = [
    missing > 0 ? `${count(missing)} missing in ${target}` : '',
    unexpected > 0 ? `${count(unexpected)} only in ${target}` : '',
    different > 0 ? `${count(different)} with other values` : '',
  ].filter((text) => text !== '')
  return [
    ...columns,
    ...(counts.length > 0 ? [`rows: ${counts.join(', ')}`] : []),
    ...examples.map(({ kind, key, columns: wrong }) => {
      return `${kind}: ${key}${wrong.length > 0 ? ` in ${wrong.join(', ')}` : ''}`
    }),
  ]
}
