import type { Logger } from '../core/context.ts'
import type { Sink } from '../core/sink.ts'
import type { Source } from '../core/source.ts'
import type { CheckpointStore } from './checkpoint/store.ts'
import type { PipelineMapping } from './mapping/pipeline-mapping.ts'
import type { ReloadRequests } from './mapping/reload-requests.ts'
import type { PipelineStatus } from './telemetry.ts'

export interface SourceDefinition {
  /** As in the registry, for messages; kept with the checkpoint, which another type of source cannot read. */
  readonly type: string
  /** A new instance per attempt. Called after the driver is imported and the options are decoded. */
  create(): Source
}

export interface SinkDefinition {
  /** Unique in the pipeline. A name that the checkpoint does not know is a new sink: it gets a full copy. */
  readonly name: string
  readonly type: string
  create(): Sink
}

export interface PipelineLimits {
  /** Bytes that may wait between source and sinks, split evenly over the sinks (law L10). */
  readonly bufferBytes: number
  /** How long failures in a row are retried without progress in between, once the pipeline has been connected. */
  readonly retryBudgetMs: number
  /** The same before the first successful connect: a wrong host name should not take an hour to be reported. */
  readonly startBudgetMs: number
  /** How long a stop may take before it becomes an abort. */
  readonly shutdownDeadlineMs: number
  /** The checkpoint is saved at most this often. */
  readonly checkpointIntervalMs: number
}

/** Everything that a pipeline is. Made from a config file, or by hand when used as a library. */
export interface PipelineDefinition {
  /** Unique in the checkpoint store. */
  readonly name: string
  /** Patterns, see `core/selection.ts`; empty means every table. */
  readonly tables: readonly string[]
  readonly source: SourceDefinition
  readonly sinks: readonly SinkDefinition[]
  /** How tables are made of what the source has; they are its own when left out. */
  readonly mapping?: PipelineMapping
  /** Opened by the pipeline when needed; closed by whoever made it. */
  readonly store: CheckpointStore
  /** What is left out is taken from `defaultLimits`. */
  readonly limits?: Partial<PipelineLimits>
}

export const defaultLimits: PipelineLimits = {
  bufferBytes: 64 * 1024 * 1024,
  retryBudgetMs: 60 * 60 * 1000,
  startBudgetMs: 30_000,
  shutdownDeadlineMs: 25_000,
  checkpointIntervalMs: 1000,
}

export interface RunOptions {
  /** Aborted to stop: drain, flush, save, disconnect. */
  readonly signal?: AbortSignal
  readonly log: Logger
  /** Asks for the mapping to be read again, or brings another one. */
  readonly reload?: ReloadRequests
  /** Called at every change of phase and about once a second. */
  readonly onStatus?: (status: PipelineStatus) => void
  /** Stop by itself when the copy is complete and the end that the log had at the start is reached. */
  readonly stopWhenCaughtUp?: boolean
  /** Milliseconds since 1970 UTC; the runtime's own clock when left out. */
  readonly now?: () => number
  /** In [0, 1), for jitter. */
  readonly random?: () => number
}

/** How a pipeline ended that did not fail. */
export interface PipelineResult {
  readonly reason: 'stopped' | 'caught-up'
  /** False when the deadline cut the drain short: safe, the rest is replayed at the next start. */
  readonly drained: boolean
  readonly status: PipelineStatus
}
