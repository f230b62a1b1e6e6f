import type { LogFields, Logger } from '../../core/context.ts'
import type { Envelope } from './envelope.ts'

export type LogOptions = Envelope['log']

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

/**
 * Writes log lines of at least a level: `2026-01-31T12:00:00.000Z info  message key=value` or one JSON object per line
 * with `time`, `level`, `message` and the fields. `write` gets the line without its end.
 */
export function createLogger(
  options: LogOptions,
  write: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
  now: () => number = Date.now,
): Logger {
  const least = LEVELS.indexOf(options.level)
  const format = options.format === 'json' ? jsonLine : textLine
  const at =
    (level: (typeof LEVELS)[number]) =>
    (message: string, fields: LogFields = {}) => {
      if (LEVELS.indexOf(level) < least) return
      write(format(new Date(now()).toISOString(), level, message, fields))
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function jsonLine(time: string, level: string, message: string, fields: LogFields): string {
  return JSON.stringify({ time, level, message, ...fields })
}

function textLine(time: string, level: string, message: string, fields: LogFields): string {
  const parts = Object.entries(fields).flatMap(([key, value]) => {
    if (value === undefined) return []
    const text = String(value)
    return [`${key}=${/[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text}`]
  })
  // A line break in a message of a server must not look like a second line of log.
  return [time, level.padEnd(5), message.replaceAll(/[\r\n]+/g, ' '), ...parts].join(' ')
}
