import * as Effect from 'effect/Effect'
import * as Latch from 'effect/Latch'
import type { Logger } from '../core/context.ts'
import type { CoreError } from '../core/error.ts'
import { comparePositions, type SourcePosition } from '../core/position.ts'
import type { CheckpointStore, Lease } from './checkpoint/store.ts'
import { call, pass } from './lift.ts'
import type { Backoff } from './policy.ts'
import type { Progress } from './progress.ts'
import { retried } from './retry.ts'

export interface SaverOptions {
  readonly store: CheckpointStore
  readonly lease: Lease
  readonly source: { readonly type: string; checkpoint(position: SourcePosition): Promise<void> }
  readonly sinks: readonly string[]
  readonly progress: Pick<Progress, 'durable'>
  /** What the store has now. */
  readonly saved: SourcePosition | null
  readonly intervalMs: number
  readonly backoff: Backoff
  readonly log: Logger
  /** Milliseconds, for durations: of a clock that nobody can set. */
  now(): number
  onSaved(position: SourcePosition): void
}

/**
 * Law L1, in this order: durable in every sink, then in the checkpoint store, then the source may forget. While the
 * store fails the source is told nothing; reading goes on.
 */
export class Saver {
  readonly #options: SaverOptions
  readonly #advanced = Latch.makeUnsafe(true)
  #saved: SourcePosition | null
  /** What the source was told last. */
  #told: SourcePosition | null

  constructor(options: SaverOptions) {
    this.#options = options
    this.#saved = options.saved
    this.#told = options.saved
  }

  /** The durable position moved. Several moves between two saves are one save. */
  wake(): void {
    this.#advanced.openUnsafe()
  }

  /** Saves for ever, at most once per interval. */
  loop(): Effect.Effect<never, CoreError> {
    const round = Effect.gen({ self: this }, function* () {
      yield* this.#advanced.await
      this.#advanced.closeUnsafe()
      yield* this.save()
      yield* Effect.sleep(this.#options.intervalMs)
    })
    return Effect.forever(round)
  }

  /** Saves what is durable now, unless it is saved already, and tells the source. */
  save(): Effect.Effect<void, CoreError> {
    return Effect.gen({ self: this }, function* () {
      const { source, backoff, log, now } = this.#options
      yield* retried(() => this.#store(), 'call', backoff, {
        now,
        onFailure: (error, delayMs) =>
          log.warn(`the checkpoint could not be saved, the source keeps its log: ${error.message}`, {
            code: error.code,
            delayMs,
          }),
      })
      backoff.reset()
      const position = this.#saved
      if (position === null || position === this.#told) return
      yield* pass('checkpoint-saved')
      yield* call(() => source.checkpoint(position))
      this.#told = position
    })
  }

  /** A sink gets again what comes after `position`: what is stored must not say that it has more. */
  rewind(position: SourcePosition): Effect.Effect<void, CoreError> {
    const { store, lease, source, sinks, backoff, log, now } = this.#options
    if (this.#saved === null || comparePositions(this.#saved, position) <= 0) return Effect.void
    const save = call(() => store.save(lease, { position, source: source.type, sinks }))
    return Effect.map(
      retried(() => save, 'call', backoff, {
        now,
        onFailure: (error, delayMs) =>
          log.warn(`the checkpoint could not be set back: ${error.message}`, { code: error.code, delayMs }),
      }),
      () => {
        this.#saved = position
        this.#told = position
      },
    )
  }

  /** Stores the newest durable position, which may have moved since the last try. */
  #store(): Effect.Effect<void, CoreError> {
    return Effect.suspend(() => {
      const { store, lease, source, sinks, progress, onSaved } = this.#options
      const position = progress.durable
      if (position === null) return Effect.void
      if (this.#saved !== null && comparePositions(position, this.#saved) <= 0) return Effect.void
      const save = call(() => store.save(lease, { position, source: source.type, sinks }))
      return Effect.map(Effect.andThen(pass('checkpoint-due'), save), () => {
        this.#saved = position
        onSaved(position)
      })
    })
  }
}
