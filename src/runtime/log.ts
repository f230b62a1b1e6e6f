import type { LogFields, Logger } from '../core/context.ts'

export type LogLevel = keyof Logger

export interface LogOptions {
  /** `human` for people, `json` for machines: one line each. */
  readonly format: 'human' | 'json'
  /** The least severe level that is written. */
  readonly level: LogLevel
  /** Gets lines with their line break; standard error when left out. */
  readonly write?: (line: string) => void
  readonly colour?: boolean
  /** Milliseconds since 1970 UTC. */
  readonly now?: () => number
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const colours = { debug: '\x1b[2m', info: '\x1b[36m', warn: '\x1b[33m', error: '\x1b[31m' } as const
const reset = '\x1b[0m'

/** The same line may be written this often within the window; what is left out is counted. */
const repeatLimit = 5
const repeatWindowMs = 10_000

/**
 * Writes one line per call. A line that repeats too often is held back and its number of repeats told afterwards, so
 * that a broken connection cannot fill a disk.
 */
export function createLogger(options: LogOptions): Logger {
  const now = options.now ?? Date.now
  const write = options.write ?? ((line) => void process.stderr.write(line))
  const colour = options.colour ?? (process.stderr.isTTY && !process.env['NO_COLOR'])
  const format = options.format === 'json' ? jsonLine : (...line: Line) => humanLine(colour, ...line)
  const repeats = new Repeats()
  const at = (level: LogLevel) => {
    if (levels.indexOf(level) < levels.indexOf(options.level)) return () => {}
    return (message: string, fields: LogFields = {}): void => {
      const timeMs = now()
      const held = repeats.pass(`${level} ${message}`, timeMs)
      if (held !== null)
        write(`${format(timeMs, level, message, held === 0 ? fields : { ...fields, repeated: held })}\n`)
    }
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

type Line = [timeMs: number, level: LogLevel, message: string, fields: LogFields]

function jsonLine(...[timeMs, level, message, fields]: Line): string {
  return JSON.stringify({ time: new Date(timeMs).toISOString(), level, message, ...fields })
}

function humanLine(colour: boolean, ...[timeMs, level, message, fields]: Line): string {
  const time = new Date(timeMs).toISOString().slice(11, 23)
  const label = level.toUpperCase().padEnd(5)
  const shown = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)
  // A line break in a message would look like another line of the log.
  const tail = shown.map(([name, value]) => `  ${name}=${oneLine(String(value))}`).join('')
  return `${time} ${colour ? `${colours[level]}${label}${reset}` : label} ${oneLine(message)}${tail}`
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' | ')
}

class Repeats {
  readonly #seen = new Map<string, { sinceMs: number; count: number }>()

  /** How many equal lines were held back since the last one; null when this one is held back too. */
  pass(line: string, nowMs: number): number | null {
    const seen = this.#seen.get(line)
    if (seen === undefined || nowMs - seen.sinceMs > repeatWindowMs) {
      if (this.#seen.size >= 1000) this.#seen.clear()
      this.#seen.set(line, { sinceMs: nowMs, count: 1 })
      return seen === undefined ? 0 : Math.max(0, seen.count - repeatLimit)
    }
    seen.count++
    return seen.count > repeatLimit ? null : 0
  }
}
