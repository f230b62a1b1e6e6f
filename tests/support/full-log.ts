import type { LogFields, Logger } from '../../src/core/context.ts'

export interface FullLine {
  readonly level: keyof Logger
  readonly message: string
  readonly fields: LogFields
}

export interface FullLog extends Logger {
  readonly lines: FullLine[]
  /** Everything that was ever said, to look for what must not be in it. */
  text(): string
}

/** Keeps every line with all its fields. */
export function fullLog(): FullLog {
  const lines: FullLine[] = []
  const at =
    (level: keyof Logger): Logger['info'] =>
    (message, fields = {}) =>
      lines.push({ level, message, fields })
  return {
    lines,
    text: () => JSON.stringify(lines),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
}
