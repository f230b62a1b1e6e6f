/** What the runtime does about an error: one table. Connectors only classify. */
import {
  AuthError,
  ConfigError,
  type CoreError,
  InternalError,
  LeaseLostError,
  NotConnectedError,
  PositionLostError,
  PreconditionError,
  UnsupportedSinkError,
  UnsupportedSourceError,
} from '../core/error.ts'
import { LeaseHeldError } from './checkpoint/store.ts'

/** `repeat`: the same call again. `restart`: a new attempt with new connections. `halt`: the pipeline ends. */
export type Directive = 'repeat' | 'restart' | 'halt'

/** A call to a sink or to the checkpoint store can be repeated; a source reads on a connection, so it starts again. */
export type Site = 'call' | 'attempt'

/** Whatever their `retryable` says, time does not heal these. Unknown errors arrive as `InternalError` (law L11). */
const halting = [
  ConfigError,
  UnsupportedSourceError,
  UnsupportedSinkError,
  PreconditionError,
  LeaseHeldError,
  LeaseLostError,
  PositionLostError,
  NotConnectedError,
  InternalError,
] as const

export function directiveFor(error: CoreError, site: Site): Directive {
  if (halting.some((type) => error instanceof type)) return 'halt'
  // AuthError, SchemaError, PoisonRecordError and plain CoreErrors say it themselves; their default is no.
  if (!error.retryable) return 'halt'
  return site === 'call' ? 'repeat' : 'restart'
}

/** Exit codes of the command line: 0 is a clean end, 4 is for `verify` when source and target differ. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  config: 2,
  precondition: 3,
  differs: 4,
  positionLost: 5,
} as const

export function exitCodeOf(error: CoreError): number {
  if (
    error instanceof ConfigError ||
    error instanceof UnsupportedSourceError ||
    error instanceof UnsupportedSinkError
  ) {
    return exitCodes.config
  }
  if (error instanceof PreconditionError || error instanceof AuthError || error instanceof LeaseHeldError) {
    return exitCodes.precondition
  }
  return error instanceof PositionLostError ? exitCodes.positionLost : exitCodes.failure
}

const firstDelayMs = 250
const longestDelayMs = 30_000

/**
 * How long to wait after failures in a row: 250 ms doubling to 30 s, each shortened by up to half at random, and never
 * less than the other side asked for. Ends when the next attempt would start later than the budget after the first.
 */
export class Backoff {
  readonly #budgetMs: () => number
  readonly #random: () => number
  #failures = 0
  #firstAtMs = 0

  constructor(budgetMs: () => number, random: () => number) {
    this.#budgetMs = budgetMs
    this.#random = random
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures
  }

  /** Milliseconds to wait; null when the budget is spent. */
  next(error: CoreError, nowMs: number): number | null {
    if (this.#failures === 0) this.#firstAtMs = nowMs
    this.#failures++
    const full = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(this.#failures - 1, 20))
    const delay = Math.max(error.retryAfterMs ?? 0, Math.round(full * (1 - this.#random() / 2)))
    return nowMs + delay - this.#firstAtMs > this.#budgetMs() ? null : delay
  }

  /** There was progress. */
  reset(): void {
    this.#failures = 0
  }
}
