import * as Effect from 'effect/Effect'
import type { RecordBatch } from '../core/batch.ts'
import { Channel } from '../core/channel.ts'
import type { Logger } from '../core/context.ts'
import { type CoreError, SchemaError } from '../core/error.ts'
import type { SourcePosition } from '../core/position.ts'
import type { SchemaChange } from '../core/record.ts'
import type { Sink, SinkCapabilities, WriteContext, WriteResult } from '../core/sink.ts'
import { tableName } from '../core/table.ts'
import { call, pass, wait } from './lift.ts'
import type { Backoff } from './policy.ts'
import type { ReplayFilter } from './replay-filter.ts'
import { retried } from './retry.ts'

export interface LaneOptions {
  readonly name: string
  readonly sink: Sink
  /** Bytes that may wait for this sink. */
  readonly bufferBytes: number
  readonly filter: ReplayFilter
  readonly backoff: Backoff
  readonly log: Logger
  /** Milliseconds, for durations: of a clock that nobody can set. */
  now(): number
  /** The sink is durable up to here. */
  onDurable(position: SourcePosition): void
  /**
   * The sink gets again what comes after `position`, although it may have some of it. Makes sure that nothing says it
   * has, and gives the heartbeat that tells a sink which keeps its position.
   */
  rewind(position: SourcePosition): Effect.Effect<RecordBatch, CoreError>
  onFailure?(error: CoreError, delayMs: number): void
}

/**
 * The path to one sink: batches in order, schema changes as barriers, flushes in time, failed calls repeated in place.
 * Everything here is per batch; rows are the sink's business.
 */
export class Lane {
  readonly channel: Channel<RecordBatch>
  readonly #options: LaneOptions
  readonly #sink: Sink
  readonly #capabilities: SinkCapabilities
  /** One for all calls: they end together. */
  readonly #controller = new AbortController()
  /** Position of the last accepted batch that had one. */
  #accepted: SourcePosition | null = null
  /** When the oldest accepted batch that is not durable was accepted; null when all is durable. */
  #pendingSinceMs: number | null = null

  constructor(options: LaneOptions) {
    this.#options = options
    this.#sink = options.sink
    this.#capabilities = options.sink.capabilities()
    this.channel = new Channel(options.bufferBytes)
  }

  get name(): string {
    return this.#options.name
  }

  /** Failures in a row of the call that is being repeated. */
  get failures(): number {
    return this.#options.backoff.failures
  }

  /** Works until the channel ends and everything is durable. */
  run(): Effect.Effect<void, CoreError> {
    return Effect.gen({ self: this }, function* () {
      for (;;) {
        const next = this.channel.read()
        const item: RecordBatch | null = next instanceof Promise ? yield* this.#await(next) : next
        if (item === null) break
        const batches = this.#options.filter.skipping ? yield* this.#unseen(item) : [item]
        for (const batch of batches) yield* this.#take(batch)
        if (this.#pendingSinceMs !== null && this.#flushDueInMs() <= 0) yield* this.#flush()
      }
      yield* this.#flush()
    })
  }

  #take(batch: RecordBatch): Effect.Effect<void, CoreError> {
    if (batch.schemaChange !== null) return this.#change(batch, batch.schemaChange)
    if (batch.heartbeat !== null && !this.#keepsPosition)
      return Effect.sync(() => this.#settle(batch.position))
    return Effect.map(
      this.#repeat((context) => this.#sink.writeBatch(batch, context)),
      (result) => this.#accept(batch, result),
    )
  }

  /** A sink that stores the position itself is durable when it says so, never because we think so. */
  get #keepsPosition(): boolean {
    return this.#capabilities.replay === 'transactional-position'
  }

  #unseen(item: RecordBatch): Effect.Effect<readonly RecordBatch[], CoreError> {
    const { filter, rewind } = this.#options
    const { batches, repeatsFrom } = filter.apply(item)
    this.#durable(filter.reached)
    if (repeatsFrom === null) return Effect.succeed(batches)
    return Effect.map(rewind(repeatsFrom), (heartbeat) => [heartbeat, ...batches])
  }

  /** The next batch; flushes meanwhile when that becomes due. */
  #await(next: Promise<RecordBatch | null>): Effect.Effect<RecordBatch | null, CoreError> {
    // The channel may fail during the flush, when nobody listens: that must not end the process.
    next.catch(() => {})
    return Effect.gen({ self: this }, function* () {
      while (this.#pendingSinceMs !== null) {
        const left = this.#flushDueInMs()
        if (left > 0) {
          const item = yield* Effect.timeoutOption(wait(next), left)
          if (item._tag === 'Some') return item.value
        }
        yield* this.#flush()
      }
      return yield* wait(next)
    })
  }

  /** Law L9: everything before the change is durable before it is made. */
  #change(batch: RecordBatch, change: SchemaChange): Effect.Effect<void, CoreError> {
    // A sink that cannot drop a table keeps it as it is.
    if (change.change.kind === 'drop-table' && !this.#capabilities.schemaChanges.includes('drop-table'))
      return Effect.sync(() => this.#settle(batch.position))
    return Effect.gen({ self: this }, function* () {
      yield* this.#flush()
      yield* pass('schema-before')
      if (change.change.kind === 'create-table') {
        yield* this.#repeat(() => this.#sink.createTable(change.table))
      } else {
        const outcome = yield* this.#repeat(() =>
          this.#sink.alterTable(change.before ?? change.table, change),
        )
        if (outcome === 'unsupported') return yield* Effect.fail(this.#unsupported(change))
      }
      yield* pass('schema-after')
      // Every table is announced at every start; only real changes are worth a line.
      const level = change.change.kind === 'create-table' ? 'debug' : 'info'
      const fields = { sink: this.#options.name, table: tableName(change.table), change: change.change.kind }
      this.#options.log[level]('schema change applied', fields)
      this.#settle(batch.position)
    })
  }

  #unsupported(change: SchemaChange): SchemaError {
    const table = tableName(change.table)
    return new SchemaError(
      'pipeline/schema-change-unsupported',
      `sink "${this.#options.name}" (${this.#sink.type}) cannot apply ${change.change.kind} to table ${table}`,
      {
        fix: `Make the change to the target of ${table} by hand or remove the target, then start again with a new copy.`,
      },
    )
  }

  #flush(): Effect.Effect<void, CoreError> {
    if (this.#pendingSinceMs === null) return Effect.void
    const flush = this.#sink.flush?.bind(this.#sink)
    if (flush === undefined) return Effect.void
    return Effect.map(this.#repeat(flush), (result) => {
      this.#pendingSinceMs = null
      this.#durable(this.#keepsPosition ? result.durable : this.#accepted)
    })
  }

  #flushDueInMs(): number {
    return this.#pendingSinceMs! + this.#capabilities.flushIntervalMs - this.#options.now()
  }

  /** A call to the sink, repeated under the policy with the same arguments. */
  #repeat<A>(run: (context: WriteContext) => Promise<A>): Effect.Effect<A, CoreError> {
    const { signal } = this.#controller
    const { backoff, name, log, now, onFailure } = this.#options
    return Effect.map(
      retried((attempt) => call(() => run({ signal, attempt }), this.#controller), 'call', backoff, {
        now,
        onFailure: (error, delayMs) => {
          log.warn(`sink "${name}" failed, the call will be repeated: ${error.message}`, {
            sink: name,
            code: error.code,
            delayMs,
            failures: backoff.failures,
          })
          onFailure?.(error, delayMs)
        },
      }),
      (value) => {
        backoff.reset()
        return value
      },
    )
  }

  #accept(batch: RecordBatch, result: WriteResult): void {
    this.#accepted = batch.position ?? this.#accepted
    if (this.#sink.flush === undefined) {
      this.#durable(this.#keepsPosition ? result.durable : this.#accepted)
      return
    }
    this.#durable(result.durable)
    // Rows of a transaction that goes on in the next batch come after the batch's position.
    const complete =
      !batch.endsInTransaction &&
      batch.position !== null &&
      result.durable !== null &&
      result.durable.order >= batch.position.order
    if (complete) this.#pendingSinceMs = null
    else this.#pendingSinceMs ??= this.#options.now()
  }

  /** Something that needs no writing was passed: as durable as what precedes it. */
  #settle(position: SourcePosition | null): void {
    if (position === null || this.#keepsPosition) return
    this.#accepted = position
    if (this.#pendingSinceMs === null) this.#durable(position)
  }

  #durable(position: SourcePosition | null): void {
    if (position !== null) this.#options.onDurable(position)
  }
}
