import { type CoreError, InternalError, PreconditionError, type Problem } from '../core/error.ts'
import { InvalidConfigError } from '../runtime/config/format.ts'
import type { Terminal } from './terminal.ts'

/**
 * Shows an error on stderr: what failed, every problem, what to do, the code. The stack trace comes only with what is
 * a bug, never with a mistake of the user.
 */
export function reportError(terminal: Terminal, error: CoreError): void {
  terminal.note(`${terminal.paint(['bold', 'red'], 'error:')} ${error.message}`)
  // Each problem has its own fix and code.
  if (error instanceof PreconditionError) return reportProblems(terminal, error.problems)
  if (error.fix !== undefined) terminal.note(`  fix: ${error.fix}`)
  terminal.note(`  code: ${error.code}`)
  if (!(error instanceof InternalError)) return
  const origin = error.cause instanceof Error ? error.cause : error
  terminal.note(terminal.paint('dim', origin.stack ?? ''))
}

/** Every problem with its fix, errors first. */
export function reportProblems(terminal: Terminal, problems: readonly Problem[]): void {
  const ordered = problems.toSorted((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'))
  for (const { severity, code, message, fix } of ordered) {
    const label = terminal.paint(['bold', severity === 'error' ? 'red' : 'yellow'], `${severity}:`)
    terminal.note(`${label} ${message}`)
    terminal.note(`  fix: ${fix}`)
    terminal.note(`  code: ${code}`)
  }
}

/** The same for machines. */
export function errorObject(error: CoreError): object {
  return {
    code: error.code,
    message: error.message,
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    ...(error instanceof PreconditionError ? { problems: error.problems } : {}),
    ...(error instanceof InvalidConfigError ? { mistakes: error.mistakes } : {}),
  }
}
