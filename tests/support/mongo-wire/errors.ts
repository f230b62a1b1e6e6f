/** The names of the error codes that this server gives, as MongoDB's list of error codes has them. */
const NAMES: { readonly [code: number]: string } = {
  2: 'BadValue',
  6: 'HostUnreachable',
  7: 'HostNotFound',
  9: 'FailedToParse',
  11: 'UserNotFound',
  13: 'Unauthorized',
  14: 'TypeMismatch',
  18: 'AuthenticationFailed',
  20: 'IllegalOperation',
  26: 'NamespaceNotFound',
  27: 'IndexNotFound',
  28: 'PathNotViable',
  40: 'ConflictingUpdateOperators',
  43: 'CursorNotFound',
  47: 'NoMatchingDocument',
  48: 'NamespaceExists',
  50: 'MaxTimeMSExpired',
  59: 'CommandNotFound',
  66: 'ImmutableField',
  72: 'InvalidOptions',
  73: 'InvalidNamespace',
  76: 'NoReplicationEnabled',
  89: 'NetworkTimeout',
  91: 'ShutdownInProgress',
  112: 'WriteConflict',
  117: 'ConflictingOperationInProgress',
  123: 'NotAReplicaSet',
  133: 'FailedToSatisfyReadPreference',
  134: 'ReadConcernMajorityNotAvailableYet',
  166: 'CommandNotSupportedOnView',
  175: 'QueryPlanKilled',
  292: 'CursorInUse',
  168: 'InvalidPipelineOperator',
  189: 'PrimarySteppedDown',
  211: 'KeyNotFound',
  225: 'TransactionTooOld',
  234: 'RetryChangeStream',
  237: 'CursorKilled',
  239: 'SnapshotTooOld',
  246: 'SnapshotUnavailable',
  251: 'NoSuchTransaction',
  256: 'TransactionCommitted',
  260: 'InvalidResumeToken',
  262: 'ExceededTimeLimit',
  263: 'OperationNotSupportedInTransaction',
  280: 'ChangeStreamFatalError',
  286: 'ChangeStreamHistoryLost',
  9001: 'SocketException',
  10107: 'NotWritablePrimary',
  10334: 'BSONObjectTooLarge',
  11000: 'DuplicateKey',
  11600: 'InterruptedAtShutdown',
  11601: 'Interrupted',
  11602: 'InterruptedDueToReplStateChange',
  13435: 'NotPrimaryNoSecondaryOk',
  13436: 'NotPrimaryOrSecondary',
}

/** What a command answers when it fails. */
export class CommandError extends Error {
  readonly code: number
  readonly labels: readonly string[]
  /** Whether the labels are all there shall be: the server adds none of its own. */
  readonly labelled: boolean
  /** Further fields of the reply. */
  readonly detail: { readonly [name: string]: unknown }

  constructor(
    code: number,
    message: string,
    labels: readonly string[] = [],
    detail: { readonly [name: string]: unknown } = {},
    labelled = false,
  ) {
    super(message)
    this.code = code
    this.labels = labels
    this.detail = detail
    this.labelled = labelled
  }

  get codeName(): string {
    return nameOfCode(this.code)
  }
}

/** Codes without a name of their own are called by their number. */
export function nameOfCode(code: number): string {
  return NAMES[code] ?? `Location${code}`
}

const RESUMABLE = new Set([
  6, 7, 63, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436,
])
const RETRYABLE = new Set([6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

/** Whether the server puts the label `ResumableChangeStreamError` on this error of a change stream. */
export function isResumable(code: number): boolean {
  return RESUMABLE.has(code)
}

/** Whether the server puts the label `RetryableWriteError` on this error of a retryable write. */
export function isRetryableWrite(code: number): boolean {
  return RETRYABLE.has(code)
}
