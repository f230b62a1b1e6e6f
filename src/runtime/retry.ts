import * as Effect from 'effect/Effect'
import type { CoreError } from '../core/error.ts'
import { aborted } from './lift.ts'
import { type Backoff, directiveFor, type Site } from './policy.ts'

export interface RetryHooks {
  /** Milliseconds, for durations: of a clock that nobody can set. */
  now(): number
  /** Called before the wait. */
  onFailure(error: CoreError, delayMs: number): void
  /** Ends the wait early: what is asked for is a stop, not another attempt. */
  readonly stop?: AbortSignal
}

/**
 * Repeats an effect as `policy.ts` says, until it succeeds, fails for good, or the budget is spent. Whoever owns the
 * backoff resets it when there is progress. (`Effect.retry` with a schedule cannot be reset from outside, and the
 * status page wants to know the next delay.)
 */
export function retried<A, R>(
  attempt: (number: number) => Effect.Effect<A, CoreError, R>,
  site: Site,
  backoff: Backoff,
  hooks: RetryHooks,
): Effect.Effect<A, CoreError, R> {
  const go = (number: number): Effect.Effect<A, CoreError, R> =>
    Effect.catch(attempt(number), (error) => {
      const delay = directiveFor(error, site) === 'halt' ? null : backoff.next(error, hooks.now())
      if (delay === null) return Effect.fail(error)
      hooks.onFailure(error, delay)
      const pause = Effect.sleep(delay)
      const pauseOrStop = hooks.stop === undefined ? pause : Effect.raceFirst(pause, aborted(hooks.stop))
      return Effect.andThen(pauseOrStop, () => go(number + 1))
    })
  return go(1)
}
