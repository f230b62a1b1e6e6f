/**
 * Driver errors to ours. The server's error codes decide (MongoDB source, `error_codes.yml`; manual, "Error Codes"), then
 * the driver's classes. The server's own text is never passed on: it may quote values.
 */
import {
  AuthError,
  ConfigError,
  ConnectionError,
  type CoreError,
  type ErrorDetails,
  InternalError,
  PositionLostError,
  SchemaError,
  toCoreError,
} from '../../../core/error.ts'

type Make = new (code: string, message: string, details?: ErrorDetails) => CoreError

interface Rule {
  readonly make: Make
  readonly code: string
  readonly reason: string
  readonly fix: string
}

const REACHABLE =
  'Check the hosts, the port and the replicaSet of source.url, and that the servers accept connections from here.'

const COPY_AGAIN =
  'Copy again: stop, remove the checkpoint of the pipeline, start. A larger oplog keeps more: db.adminCommand({replSetResizeOplog: 1, minRetentionHours: 48}).'

const historyLost: Rule = {
  make: PositionLostError,
  code: 'mongodb/history-lost',
  reason: 'the oplog does not reach back to where the pipeline was',
  fix: COPY_AGAIN,
}
const auth: Rule = {
  make: AuthError,
  code: 'mongodb/auth',
  reason: 'user or password were refused',
  fix: 'Check user, password and authSource of source.url.',
}
const permission: Rule = {
  make: AuthError,
  code: 'mongodb/permission',
  reason: 'the user may not do this',
  fix: 'Grant the role read on the mapped databases (readAnyDatabase for several), which holds find, listCollections and changeStream.',
}
const tooLarge: Rule = {
  make: SchemaError,
  code: 'mongodb/event-too-large',
  reason: 'an event is larger than 16 MB, and the server cannot split it',
  fix: 'Use MongoDB 6.0.9 or 7.0 and later, which split events, or map fewer fields of large documents.',
}
const standalone: Rule = {
  make: SchemaError,
  code: 'mongodb/replica-set-needed',
  reason: 'the server is no member of a replica set, so it has no log of changes',
  fix: 'Start mongod with --replSet rs0, run rs.initiate() once, and put ?replicaSet=rs0 into source.url.',
}
const notPrimary: Rule = {
  make: ConnectionError,
  code: 'mongodb/not-primary',
  reason: 'the primary stepped down or is shutting down',
  fix: 'Nothing to do: the next primary is looked for.',
}
const interrupted: Rule = {
  make: ConnectionError,
  code: 'mongodb/interrupted',
  reason: 'the server ended the operation',
  fix: 'Nothing to do: it is repeated.',
}
const snapshotGone: Rule = {
  make: ConnectionError,
  code: 'mongodb/snapshot-too-old',
  reason: 'the server no longer keeps the moment that is read',
  fix: 'Raise the server parameter minSnapshotHistoryWindowInSeconds.',
}

const CODES: Readonly<Record<number, Rule>> = {
  13: permission,
  18: auth,
  8000: auth,
  260: historyLost,
  280: historyLost,
  286: historyLost,
  10334: tooLarge,
  17280: tooLarge,
  40573: standalone,
  20: standalone,
  239: snapshotGone,
  246: interrupted,
  43: interrupted,
  237: interrupted,
  50: interrupted,
  112: interrupted,
  134: interrupted,
  // The collection was dropped or renamed while it was read; the log has been overwritten under the cursor, perhaps.
  175: interrupted,
  136: interrupted,
  202: interrupted,
  290: interrupted,
  402: interrupted,
  462: interrupted,
  // Locks, keys of the cluster time, sessions: what is short for a moment.
  24: interrupted,
  211: interrupted,
  261: interrupted,
  279: interrupted,
  365: interrupted,
  11601: interrupted,
  10107: notPrimary,
  13435: notPrimary,
  13436: notPrimary,
  189: notPrimary,
  11600: notPrimary,
  11602: notPrimary,
  91: notPrimary,
}

const RESUMABLE_CODES = new Set([6, 7, 63, 89, 133, 150, 234, 262, 9001, 13388])
const LABELS = ['ResumableChangeStreamError', 'TransientTransactionError', 'RetryableWriteError']

const NETWORK = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerClosedError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoExpiredSessionError',
  'MongoPoolClosedError',
  'MongoPoolClearedError',
  'PoolClearedOnNetworkError',
  'MongoOperationTimeoutError',
  'MongoClientClosedError',
  'MongoWaitQueueTimeoutError',
])

const ADDRESS = new Set([
  'MongoParseError',
  'MongoInvalidArgumentError',
  'MongoMissingCredentialsError',
  'MongoAPIError',
])

/** A failed `doing` ("copy the collection ...") as one of our errors; passes our own errors through. */
export function mongodbError(error: unknown, doing: string): CoreError {
  const known = toCoreError(error)
  if (!(error instanceof Error) || !(known instanceof InternalError)) return known
  const rule = ruleOf(error)
  if (rule !== null) {
    const { make, code, reason, fix } = rule
    return new make(code, `cannot ${doing}: ${reason}`, { fix, cause: error })
  }
  const code = codeOf(error)
  if (code === null) return known
  return new SchemaError('mongodb/server-error', `cannot ${doing}: error ${code} of the server`, {
    fix: 'See the server log for the command, and the MongoDB manual, "Error Codes", for the number.',
    cause: error,
  })
}

/** `maxTimeMS` was over. */
export function isOutOfTime(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === 50
}

/** The cursor is gone because nobody asked for long, or the server was told so: it can be opened again. */
export function isCursorGone(error: unknown): boolean {
  const code = error instanceof Error ? codeOf(error) : null
  return code === 43 || code === 237
}

/** The server refused; anything else, such as a lost connection, says nothing about what was asked. */
export function isAnswer(error: unknown): boolean {
  return error instanceof Error && error.name === 'MongoServerError'
}

function ruleOf(error: Error): Rule | null {
  const code = codeOf(error)
  // The code before the label, which an event that is too large has as well.
  if (code !== null && CODES[code] !== undefined) return CODES[code]
  if (hasLabel(error, 'NonResumableChangeStreamError')) return historyLost
  if (code !== null && RESUMABLE_CODES.has(code)) return interrupted
  const inner = error.cause instanceof Error ? error.cause : null
  if (error.name === 'MongoServerSelectionError') {
    if (inner !== null && /certificate|self.signed|SSL|TLS/i.test(inner.message)) {
      return {
        make: AuthError,
        code: 'mongodb/tls',
        reason: 'the certificate of the server was refused, or it does not speak TLS',
        fix: 'Check tls and tlsCAFile in source.url, and the name and date of the server certificate.',
      }
    }
    return {
      make: ConnectionError,
      code: 'mongodb/unreachable',
      reason: 'no server of the replica set could be reached that can be read from',
      fix: REACHABLE,
    }
  }
  if (NETWORK.has(error.name)) {
    return {
      make: ConnectionError,
      code: 'mongodb/connection-lost',
      reason: 'the connection was lost',
      fix: REACHABLE,
    }
  }
  if (LABELS.some((label) => hasLabel(error, label))) return interrupted
  if (ADDRESS.has(error.name)) {
    return {
      make: ConfigError,
      code: 'mongodb/url',
      reason: 'source.url is not an address that the driver understands',
      fix: 'Write it as mongodb://user:password@host:27017/database?replicaSet=rs0, special characters in the password as %XX.',
    }
  }
  const system = (error as { code?: unknown }).code
  if (typeof system === 'string' && /^E[A-Z_]+$/.test(system)) {
    return { make: ConnectionError, code: 'mongodb/unreachable', reason: system, fix: REACHABLE }
  }
  return null
}

function codeOf(error: Error): number | null {
  const code = (error as { code?: unknown }).code
  return typeof code === 'number' ? code : null
}

function hasLabel(error: Error, label: string): boolean {
  const { errorLabelSet } = error as { errorLabelSet?: unknown }
  return errorLabelSet instanceof Set && errorLabelSet.has(label)
}
