import { CoreError, InternalError } from '../../core/error.ts'

/** What SQLite or the file system said. */
export interface SqliteFailure {
  readonly message: string
  /** Of the file system, `EACCES`. */
  readonly code: string | null
  /** Extended result code of SQLite, https://sqlite.org/rescode.html; its low byte is the primary code. */
  readonly sqlite: number | null
}

/** The failure as an error with a next step. */
export function sqliteError(path: string, failure: SqliteFailure): CoreError {
  const cause = new Error(failure.message)
  const kind = kindOf(failure)
  switch (kind) {
    case 'busy':
      return new CoreError('checkpoint/busy', `the checkpoint file ${path} is locked`, {
        cause,
        fix: 'Another process holds its lock; this is tried again.',
        retryable: true,
      })
    case 'disk-full':
      return new CoreError('checkpoint/disk-full', `there is no space to write the checkpoint file ${path}`, {
        cause,
        fix: 'Free some space; this is tried again.',
        retryable: true,
      })
    case 'io':
      return new CoreError('checkpoint/io', `the disk failed to read or write the checkpoint file ${path}`, {
        cause,
        fix: 'Check the disk; this is tried again.',
        retryable: true,
      })
    case 'corrupt':
      return new CoreError('checkpoint/corrupt', `the checkpoint file ${path} is not an intact database`, {
        cause,
        fix: 'Restore it from a backup, or remove it to copy everything again.',
      })
    case 'unwritable':
      return new CoreError('checkpoint/unwritable', `the checkpoint file ${path} cannot be written`, {
        cause,
        fix: 'Let this user write the file and its directory, or configure another path.',
      })
    case null:
      return new InternalError('checkpoint/unexpected', `the checkpoint store failed: ${failure.message}`, {
        cause,
      })
  }
}

function kindOf({
  code,
  sqlite,
}: SqliteFailure): 'busy' | 'disk-full' | 'io' | 'corrupt' | 'unwritable' | null {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'disk-full'
  if (sqlite === null) return code !== null && /^E[A-Z]+$/.test(code) ? 'unwritable' : null
  // SQLITE_IOERR_SHMSIZE: the file beside it cannot grow.
  if (sqlite === (10 | (19 << 8))) return 'disk-full'
  switch (sqlite & 0xff) {
    case 5: // SQLITE_BUSY
    case 6: // SQLITE_LOCKED
      return 'busy'
    case 13: // SQLITE_FULL
      return 'disk-full'
    case 10: // SQLITE_IOERR
      return 'io'
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return 'corrupt'
    case 3: // SQLITE_PERM
    case 8: // SQLITE_READONLY
    case 14: // SQLITE_CANTOPEN
      return 'unwritable'
    default:
      return null
  }
}
