/**
 * The only border between promises and Effect: a promise becomes an effect, whatever it throws a `CoreError`, and
 * connect/disconnect a scoped resource.
 */
import * as Effect from 'effect/Effect'
import type * as Scope from 'effect/Scope'
import { type CoreError, toCoreError } from '../core/error.ts'
import { type Failpoint, failpoint } from '../core/failpoint.ts'

/** How long an interrupted call may take to settle before it is left behind, in milliseconds. */
export const settleDeadlineMs = 2000

/**
 * Runs a promise. On interruption aborts the controller and waits until the promise has settled, at most
 * `settleDeadlineMs`: nothing that a call still uses may be closed under it, which `Effect.tryPromise` would do. Pass
 * a controller to share one between the calls of a loop, it is half the price of a call.
 */
export function call<A>(
  run: (signal: AbortSignal) => Promise<A>,
  controller = new AbortController(),
): Effect.Effect<A, CoreError> {
  return Effect.callback<A, CoreError>((resume) => {
    let settled = false
    let onSettled: (() => void) | null = null
    const settle = (effect: Effect.Effect<A, CoreError>): void => {
      settled = true
      resume(effect)
      onSettled?.()
    }
    let promise: Promise<A>
    try {
      promise = run(controller.signal)
    } catch (error) {
      settle(Effect.fail(toCoreError(error)))
      return
    }
    promise.then(
      (value) => settle(Effect.succeed(value)),
      (error: unknown) => settle(Effect.fail(toCoreError(error))),
    )
    return Effect.suspend(() => {
      controller.abort()
      if (settled) return Effect.void
      const done = Effect.callback<void>((resumeDone) => {
        onSettled = () => resumeDone(Effect.void)
      })
      return Effect.timeoutOption(Effect.interruptible(done), settleDeadlineMs)
    })
  })
}

/** Waits for a promise that is already under way; interruption just stops waiting. */
export function wait<A>(promise: Promise<A>): Effect.Effect<A, CoreError> {
  return Effect.callback<A, CoreError>((resume) => {
    promise.then(
      (value) => resume(Effect.succeed(value)),
      (error: unknown) => resume(Effect.fail(toCoreError(error))),
    )
  })
}

/** Passes a failpoint. */
export function pass(name: Failpoint): Effect.Effect<void, CoreError> {
  return Effect.suspend(() => {
    const held = failpoint(name)
    return held === undefined ? Effect.void : wait(held)
  })
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Effect.Effect<void> {
  return Effect.callback<void>((resume) => {
    if (signal.aborted) {
      resume(Effect.void)
      return
    }
    const listener = (): void => resume(Effect.void)
    signal.addEventListener('abort', listener, { once: true })
    return Effect.sync(() => signal.removeEventListener('abort', listener))
  })
}

export interface Disconnects {
  disconnect(): Promise<void>
}

/**
 * Disconnects; `onFailure` gets the error, or null when it takes too long. Neither stops anything: a disconnect deletes
 * nothing, and there is nothing left to save.
 */
export function release(
  resource: Disconnects,
  onFailure: (error: CoreError | null) => void,
): Effect.Effect<void> {
  return Effect.interruptible(call(() => resource.disconnect())).pipe(
    Effect.timeoutOption(settleDeadlineMs),
    Effect.map((done) => (done._tag === 'None' ? onFailure(null) : undefined)),
    Effect.catch((error) => Effect.sync(() => onFailure(error))),
  )
}

/** Connects, and disconnects when the scope closes, also after a connect that failed half-way. */
export function acquire<R extends Disconnects, A>(
  resource: R,
  connect: (resource: R) => Promise<A>,
  onDisconnectFailure: (error: CoreError | null) => void,
): Effect.Effect<A, CoreError, Scope.Scope> {
  return Effect.andThen(
    Effect.addFinalizer(() => release(resource, onDisconnectFailure)),
    call(() => connect(resource)),
  )
}
