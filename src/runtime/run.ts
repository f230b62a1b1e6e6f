import type { Clock } from 'effect/Clock'
import type { ConnectorContext, Logger } from '../core/context.ts'
import { toCoreError } from '../core/error.ts'
import type { SourcePosition } from '../core/position.ts'
import type { Source } from '../core/source.ts'
import type { Lease } from './checkpoint/store.ts'
import {
  defaultLimits,
  type PipelineDefinition,
  type PipelineLimits,
  type PipelineResult,
  type RunOptions,
} from './definition.ts'
import { Kept } from './kept.ts'
import type { Lane } from './lane.ts'
import type { PipelineMapping } from './mapping/pipeline-mapping.ts'
import { Backoff } from './policy.ts'
import type { Progress } from './progress.ts'
import {
  type CopyStatus,
  type PipelinePhase,
  type PipelineStatus,
  type SinkStatus,
  Telemetry,
} from './telemetry.ts'

/** The wish to stop, from outside or because the end was reached. The first reason counts. */
class StopRequest {
  readonly #controller = new AbortController()
  #reason: PipelineResult['reason'] = 'stopped'

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get requested(): boolean {
    return this.signal.aborted
  }

  get reason(): PipelineResult['reason'] {
    return this.#reason
  }

  request(reason: PipelineResult['reason']): void {
    if (this.requested) return
    this.#reason = reason
    this.#controller.abort()
  }
}

/** The parts of the attempt under way that the status shows. */
export interface Running {
  readonly source: Source
  readonly lanes: readonly Lane[]
  readonly progress: Progress
}

/** What lives as long as the process runs the pipeline, over all attempts. */
export class Run {
  #definition: PipelineDefinition
  readonly limits: PipelineLimits
  readonly log: Logger
  /** The time of day; somebody may set it back or ahead at any moment. */
  readonly now: () => number
  /** Milliseconds since some moment, for durations: nobody can set it. */
  readonly steady: () => number
  readonly random: () => number
  readonly stopWhenCaughtUp: boolean
  readonly stop = new StopRequest()
  /** Ends the attempt under way. */
  #turn = new AbortController()
  readonly telemetry = new Telemetry()
  readonly kept: Kept
  /** Of attempts; reset when the durable position moves. */
  readonly backoff: Backoff
  #running: Running | null = null
  /** Of the attempt that ended last. */
  #sinks: readonly SinkStatus[] = []
  /** Where "caught up" is: the end of the log when this process saw it first. */
  head: SourcePosition | null = null
  #connected = false
  readonly #onStatus: ((status: PipelineStatus) => void) | null

  constructor(definition: PipelineDefinition, options: RunOptions, clock: Clock) {
    this.#definition = definition
    this.stop.signal.addEventListener('abort', () => this.#turn.abort(), { once: true })
    this.limits = { ...defaultLimits, ...definition.limits }
    this.log = options.log
    this.kept = new Kept(options.log)
    this.now = options.now ?? (() => clock.currentTimeMillisUnsafe())
    this.steady = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    this.random = options.random ?? Math.random
    this.stopWhenCaughtUp = options.stopWhenCaughtUp ?? false
    this.#onStatus = options.onStatus ?? null
    this.backoff = new Backoff(
      () => (this.#connected ? this.limits.retryBudgetMs : this.limits.startBudgetMs),
      this.random,
    )
  }

  /** Its mapping may become another one between two attempts. */
  get definition(): PipelineDefinition {
    return this.#definition
  }

  /** Aborted when the attempt under way shall end: at a stop, or because the next one has another mapping. */
  get turn(): AbortSignal {
    return this.#turn.signal
  }

  /** An attempt begins. */
  beginTurn(): void {
    if (!this.stop.requested) this.#turn = new AbortController()
  }

  /** From the next attempt on. */
  replaceMapping(mapping: PipelineMapping): void {
    this.#definition = { ...this.#definition, mapping }
  }

  /** The attempt under way ends as at a stop, and another one follows. */
  endTurn(): void {
    this.#turn.abort()
  }

  context(lease: Lease | null): ConnectorContext {
    const { log, now, kept } = this
    // A check has no next instance.
    return {
      pipeline: this.definition.name,
      log,
      now,
      run: lease?.fence ?? 0,
      ...(lease === null ? {} : { kept }),
    }
  }

  /** Both sides answered for the first time: from here on failures have the long budget. */
  connected(): void {
    if (!this.#connected) this.backoff.reset()
    this.#connected = true
  }

  enter(phase: PipelinePhase): void {
    if (this.telemetry.phase === phase) return
    this.telemetry.phase = phase
    this.publish()
  }

  /** An attempt has everything that the status shows. */
  attach(running: Running): void {
    this.#running = running
  }

  /** The attempt is over; what its sinks reached stays visible. */
  detach(): void {
    this.#sinks = this.#sinkStatus()
    this.#running = null
  }

  status(): PipelineStatus {
    return this.telemetry.status(
      this.definition.name,
      { copy: this.#copyStatus(), sinks: this.#sinkStatus() },
      this.now(),
    )
  }

  /** An observer that throws must not end the pipeline. */
  publish(): void {
    try {
      this.#onStatus?.(this.status())
    } catch (error) {
      this.log.error(`an observer of the status failed: ${toCoreError(error).message}`)
    }
  }

  #copyStatus(): CopyStatus | null {
    const progress = this.#running?.source.snapshotProgress?.() ?? null
    if (progress === null) return null
    const { tablesDone, tablesTotal, rowsCopied, rowsTotal } = progress
    return { tablesDone, tablesTotal, rows: rowsCopied, rowsTotal }
  }

  #sinkStatus(): readonly SinkStatus[] {
    const running = this.#running
    if (running === null) return this.#sinks
    return running.lanes.map((lane, index) => ({
      name: lane.name,
      durable: running.progress.of(index)?.order ?? null,
      queuedBytes: lane.channel.bytes,
      failures: lane.failures,
    }))
  }
}
