/** Errors of the change log: as they cross threads, and as an operator reads them. */
import { CoreError, InternalError, SchemaError } from '../../../core/error.ts'
import type { Failure } from './log-messages.ts'

/** The parts of an error that survive a message between threads. */
export function toFailure(error: unknown, lost: boolean): Failure {
  const { cause } = error as { cause?: unknown }
  const origin = lost && cause !== undefined ? cause : error
  const { name, message, code, errcode, fix } = origin as Partial<Record<keyof Failure | 'errcode', unknown>>
  return {
    name: typeof name === 'string' ? name : 'Error',
    code: typeof code === 'string' ? code : null,
    message: typeof message === 'string' ? message : String(origin),
    fix: typeof fix === 'string' ? fix : null,
    sqlite: typeof errcode === 'number' ? errcode : null,
    lost,
  }
}

/** The failure with a next step. */
export function logError(path: string, failure: Failure): CoreError {
  const { lost, code, message, fix } = failure
  if (code !== null && code.includes('/')) {
    const details = fix === null ? {} : { fix }
    switch (failure.name) {
      case 'InternalError':
        return new InternalError(code, message, details)
      case 'SchemaError':
        return new SchemaError(code, message, details)
      default:
        return new CoreError(code, message, details)
    }
  }
  const cause = new Error(message)
  // What was accepted before is gone, so the same call cannot be repeated.
  const retryable = !lost
  switch (kindOf(failure)) {
    case 'busy':
      return new CoreError('zero/log-in-use', `the change log ${path} is used by another process`, {
        cause,
        fix: 'Run each pipeline once, and give every Zero sink a file of its own.',
      })
    case 'disk-full':
      return new CoreError('zero/log-disk-full', `there is no space to write the change log ${path}`, {
        cause,
        retryable,
        fix: lost ? 'Free some space and start again.' : 'Free some space; this is tried again.',
      })
    case 'io':
      return new CoreError('zero/log-io', `the disk failed to read or write the change log ${path}`, {
        cause,
        retryable,
        fix: lost ? 'Check the disk and start again.' : 'Check the disk; this is tried again.',
      })
    case 'corrupt':
      return new CoreError('zero/log-corrupt', `the change log ${path} is not an intact database`, {
        cause,
        fix: 'Restore it from a backup, or remove it and its companions (-wal, -shm) to copy everything anew.',
      })
    case 'unwritable':
      return new CoreError('zero/log-unwritable', `the change log ${path} cannot be written`, {
        cause,
        fix: 'Let this user write the file and its directory, or configure another path.',
      })
    case null:
      return new InternalError('zero/log-unexpected', `the change log failed: ${message}`, { cause })
  }
}

function kindOf({ code, sqlite }: Failure): 'busy' | 'disk-full' | 'io' | 'corrupt' | 'unwritable' | null {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'disk-full'
  if (sqlite === null) return code !== null && /^E[A-Z]+$/.test(code) ? 'unwritable' : null
  // SQLITE_IOERR_SHMSIZE: the file beside it cannot grow.
  if (sqlite === (10 | (19 << 8))) return 'disk-full'
  // Result codes of SQLite, https://sqlite.org/rescode.html; the low byte is the primary code.
  switch (sqlite & 0xff) {
    case 5:
    case 6:
      return 'busy'
    case 13:
      return 'disk-full'
    case 10:
      return 'io'
    case 11:
    case 26:
      return 'corrupt'
    case 3:
    case 8:
    case 14:
      return 'unwritable'
    default:
      return null
  }
}
