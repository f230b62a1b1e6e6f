/**
 * Everything that can go wrong, as one class with a stable code. The runtime decides by class and `retryable` only
 * (`runtime/policy.ts`), never by message text.
 *
 * Messages start with what failed; `fix` ends with what to do. Neither ever holds a secret or a cell value.
 */

export interface ErrorDetails {
  /** What the operator can do about it, one sentence. */
  readonly fix?: string
  readonly cause?: unknown
  /** Overrides the default of the class. */
  readonly retryable?: boolean
  /** The other side asked to wait this long, in milliseconds. */
  readonly retryAfterMs?: number
}

export class CoreError extends Error {
  /** Stable and greppable, `<component>/<slug>`, for example `postgres/slot-missing`. */
  readonly code: string
  readonly retryable: boolean
  readonly fix: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(code: string, message: string, details: ErrorDetails = {}, retryable = false) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.retryable = details.retryable ?? retryable
    this.fix = details.fix
    this.retryAfterMs = details.retryAfterMs
  }
}

/** The link to a server failed or could not be made. Retried with a new connection. */
export class ConnectionError extends CoreError {
  constructor(code: string, message: string, details?: ErrorDetails) {
    super(code, message, details, true)
  }
}

/** A method was called before `connect` or after `disconnect`: a programming error. */
export class NotConnectedError extends CoreError {}

/** Something was written to a channel that is closed: the pipeline is shutting down. */
export class ChannelClosedError extends CoreError {}

/** The registry has no source of that type. */
export class UnsupportedSourceError extends CoreError {}

/** The registry has no sink of that type. */
export class UnsupportedSinkError extends CoreError {}

/** The user's configuration is wrong. */
export class ConfigError extends CoreError {}

/** The server refused the credentials or the permission. */
export class AuthError extends CoreError {}

/** The server asked us to slow down. Retried after `retryAfterMs` or the usual backoff. */
export class ThrottledError extends CoreError {
  constructor(code: string, message: string, details?: ErrorDetails) {
    super(code, message, details, true)
  }
}

/** The log no longer reaches back to the stored position. Never answered by starting "from now" (law L3). */
export class PositionLostError extends CoreError {}

/** Another runner took the pipeline over: this one must not write any more (law L12). */
export class LeaseLostError extends CoreError {}

/** A table or a schema change that the other side cannot take. */
export class SchemaError extends CoreError {}

/** One record that cannot be represented or was refused. Names table and column, never the value. */
export class PoisonRecordError extends CoreError {}

/** A broken invariant: a bug of ours. */
export class InternalError extends CoreError {}

/** A fact about source or sink that stops or worries the start. `validate()` returns all of them at once (law L13). */
export interface Problem {
  readonly severity: 'error' | 'warning'
  /** Same naming as `CoreError.code`. */
  readonly code: string
  readonly message: string
  readonly fix: string
}

/** Several preconditions are not met; carries the complete list. */
export class PreconditionError extends CoreError {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(
      'pipeline/precondition',
      `${problems.length} precondition${problems.length === 1 ? ' is' : 's are'} not met`,
      { fix: 'Fix what is listed and start again.' },
    )
    this.problems = problems
  }
}

/** Wraps anything thrown into a `CoreError`; what we do not know is a bug, not something to retry. */
export function toCoreError(error: unknown): CoreError {
  if (error instanceof CoreError) return error
  const name = error instanceof Error ? error.name : typeof error
  return new InternalError(
    'core/unexpected',
    `unexpected ${name}: ${error instanceof Error ? error.message : 'no message'}`,
    {
      cause: error,
      fix: 'This is a bug in Sluice or in a connector; please report it with the stack trace.',
    },
  )
}
