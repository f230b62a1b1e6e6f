import * as Cause from 'effect/Cause'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import type * as Scope from 'effect/Scope'
import { type CoreError, LeaseLostError, type Problem, toCoreError } from '../core/error.ts'
import { attempt } from './attempt.ts'
import { check, type Checked, refuse } from './check.ts'
import { thisProcess } from './checkpoint/owner.ts'
import { type Lease, leaseRenewMs } from './checkpoint/store.ts'
import type { PipelineDefinition, PipelineResult, RunOptions } from './definition.ts'
import { aborted, call, pass } from './lift.ts'
import { ReloadRequests } from './mapping/reload-requests.ts'
import { directiveFor } from './policy.ts'
import { retried, type RetryHooks } from './retry.ts'
import { Run } from './run.ts'

const statusIntervalMs = 1000

/** Runs a pipeline until it is stopped. Rejects with a `CoreError` when it cannot go on. */
export function runPipeline(definition: PipelineDefinition, options: RunOptions): Promise<PipelineResult> {
  return toPromise(pipeline(definition, options))
}

/** Every reason why the pipeline cannot or should not start. Changes nothing anywhere. */
export function checkPipeline(
  definition: PipelineDefinition,
  options: Pick<RunOptions, 'log' | 'now'>,
): Promise<readonly Problem[]> {
  const checked = withRun(definition, options, (run) => check(definition, run.context(null)))
  return toPromise(Effect.map(checked, ({ problems }) => problems))
}

/** The same, with the tables that would be replicated: null when there is an error. */
export function inspectPipeline(
  definition: PipelineDefinition,
  options: Pick<RunOptions, 'log' | 'now'>,
): Promise<Checked> {
  return toPromise(
    withRun(definition, options, (run) => check(definition, run.context(null), { tables: true })),
  )
}

/** `runPipeline` as an effect: sleeps on Effect's clock, so that tests can hold time. */
export function pipeline(
  definition: PipelineDefinition,
  options: RunOptions,
): Effect.Effect<PipelineResult, CoreError> {
  return withRun(definition, options, (run) =>
    Effect.gen(function* () {
      const stop = (): void => run.stop.request('stopped')
      if (options.signal?.aborted === true) stop()
      options.signal?.addEventListener('abort', stop, { once: true })
      const end = yield* Effect.scoped(start(run, options.reload ?? new ReloadRequests())).pipe(
        Effect.tapError((error) => Effect.sync(() => run.telemetry.failed(error, run.now()))),
        Effect.ensuring(
          Effect.sync(() => {
            options.signal?.removeEventListener('abort', stop)
            run.enter('stopped')
          }),
        ),
        Effect.ensuring(Effect.promise(() => run.kept.end())),
      )
      if (end === 'cut')
        run.log.warn('stopped before everything was durable; the rest is replayed at the next start')
      return { reason: run.stop.reason, drained: end === 'drained', status: run.status() }
    }),
  )
}

function start(run: Run, requests: ReloadRequests): Effect.Effect<'drained' | 'cut', CoreError, Scope.Scope> {
  return Effect.gen(function* () {
    const hooks = retrying(run)
    const ready = yield* untilStop(
      run,
      retried(() => validate(run), 'attempt', run.backoff, hooks),
    )
    if (ready === null) return 'drained'
    const lease = yield* untilStop(
      run,
      retried(() => acquireLease(run), 'attempt', run.backoff, hooks),
    )
    if (lease === null) return 'drained'
    yield* pass('lease-taken')
    const attempts = retried(() => attemptOrStop(run, lease), 'attempt', run.backoff, hooks)
    return yield* Effect.raceAllFirst([
      attempts,
      renewing(run, lease),
      publishing(run),
      reloads(run, requests),
    ])
  })
}

function validate(run: Run): Effect.Effect<true, CoreError> {
  return Effect.gen(function* () {
    run.enter('starting')
    const { problems } = yield* check(run.definition, run.context(null))
    for (const problem of problems) {
      if (problem.severity === 'warning')
        run.log.warn(problem.message, { code: problem.code, fix: problem.fix })
    }
    yield* refuse(problems)
    return true as const
  })
}

function acquireLease(run: Run): Effect.Effect<Lease, CoreError, Scope.Scope> {
  const { store, name } = run.definition
  return Effect.acquireRelease(
    call(() => store.acquire(name, thisProcess())),
    (lease) =>
      Effect.catch(
        call(() => store.release(lease)),
        (error) =>
          Effect.sync(() =>
            run.log.warn(`the lease could not be given back: ${error.message}`, { code: error.code }),
          ),
      ),
  )
}

/**
 * One attempt after the other, until a stop is asked for. A failure while stopping is not repeated: what was not durable
 * is replayed at the next start.
 */
function attemptOrStop(run: Run, lease: Lease): Effect.Effect<'drained' | 'cut', CoreError> {
  const one = Effect.catch(attempt(run, lease), (error) => {
    if (!run.stop.requested || directiveFor(error, 'attempt') === 'halt') return Effect.fail(error)
    run.log.warn(`stopping was cut short: ${error.message}`, { code: error.code })
    return Effect.succeed('cut' as const)
  })
  return Effect.flatMap(one, (end) => (run.stop.requested ? Effect.succeed(end) : attemptOrStop(run, lease)))
}

/** Keeps the lease. A renewal that fails otherwise than by losing it is tried again at the next interval. */
function renewing(run: Run, lease: Lease): Effect.Effect<never, CoreError> {
  const renewal = Effect.catch(
    call(() => run.definition.store.renew(lease)),
    (error) => {
      if (error instanceof LeaseLostError) return Effect.fail(error)
      return Effect.sync(() =>
        run.log.warn(`the lease could not be renewed: ${error.message}`, { code: error.code }),
      )
    },
  )
  return Effect.forever(Effect.andThen(Effect.sleep(leaseRenewMs), renewal))
}

/** What reloads is imported for a pipeline with a mapping, or when somebody asks. */
function reloads(run: Run, requests: ReloadRequests): Effect.Effect<never, CoreError> {
  const due = run.definition.mapping === undefined ? call((signal) => requests.asked(signal)) : Effect.void
  const loaded = Effect.andThen(
    due,
    call(() => import('./mapping/reload.ts')),
  )
  return Effect.flatMap(loaded, ({ reloading }) => reloading(run, requests))
}

function publishing(run: Run): Effect.Effect<never> {
  return Effect.forever(
    Effect.andThen(
      Effect.sleep(statusIntervalMs),
      Effect.sync(() => run.publish()),
    ),
  )
}

function retrying(run: Run): RetryHooks {
  return {
    now: run.steady,
    stop: run.stop.signal,
    onFailure: (error, delayMs) => {
      run.log.warn(`attempt failed, the next one follows: ${error.message}`, { code: error.code, delayMs })
      run.telemetry.failed(error, run.now())
      run.telemetry.nextRetryAtMs = run.now() + delayMs
      run.enter('retrying')
    },
  }
}

function untilStop<A, R>(
  run: Run,
  effect: Effect.Effect<A, CoreError, R>,
): Effect.Effect<A | null, CoreError, R> {
  return Effect.raceFirst(effect, Effect.as(aborted(run.stop.signal), null))
}

function withRun<A>(
  definition: PipelineDefinition,
  options: RunOptions,
  use: (run: Run) => Effect.Effect<A, CoreError>,
): Effect.Effect<A, CoreError> {
  return Effect.clockWith((clock) => use(new Run(definition, options, clock)))
}

async function toPromise<A>(effect: Effect.Effect<A, CoreError>): Promise<A> {
  const exit = await Effect.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  throw toCoreError(Cause.squash(exit.cause))
}
