import { CoreError } from '../../core/error.ts'
import type { SourcePosition } from '../../core/position.ts'

/** What survives a restart. */
export interface Checkpoint {
  /** Every sink named below is durable up to here (law L1). */
  readonly position: SourcePosition
  /** Type of the source that can read the position. */
  readonly source: string
  /** Names of the sinks that hold everything up to the position; any other needs a full copy. */
  readonly sinks: readonly string[]
}

/** Who runs a pipeline. */
export interface LeaseOwner {
  readonly host: string
  readonly pid: number
  /** When the process started, in the operating system's own terms: a pid alone may be given out again. */
  readonly startedAt: string | null
}

/** The right to run a pipeline (law L12). */
export interface Lease {
  readonly pipeline: string
  readonly owner: LeaseOwner
  /** Rises at every acquire; a save with an old fence is refused. */
  readonly fence: number
}

/** How far a pipeline is, seen from outside. */
export interface PipelineState {
  readonly checkpoint: Checkpoint | null
  /** Who runs the pipeline; null when nobody does, or when the store cannot say. */
  readonly runner: LeaseOwner | null
}

/** Another process runs the pipeline. */
export class LeaseHeldError extends CoreError {}

/** How long a lease is good for without renewal, and how often it is renewed. */
export const leaseTtlMs = 30_000
export const leaseRenewMs = 10_000

/**
 * Keeps the checkpoint and the lease of pipelines. `save` and `renew` throw `LeaseLostError` when the fence is not the
 * newest one. Errors that may pass (a full disk, a lock) are retryable.
 */
export abstract class CheckpointStore {
  /** Throws `LeaseHeldError` while another process is alive and holds it. */
  abstract acquire(pipeline: string, owner: LeaseOwner): Promise<Lease>
  abstract load(pipeline: string): Promise<Checkpoint | null>
  /** Looks from another process than the pipeline's, and changes nothing. */
  async peek(pipeline: string): Promise<PipelineState> {
    return { checkpoint: await this.load(pipeline), runner: null }
  }
  /** Resolves when the checkpoint survives a power cut. */
  abstract save(lease: Lease, checkpoint: Checkpoint): Promise<void>
  abstract renew(lease: Lease): Promise<void>
  /** Lets the next runner start at once. Does nothing when the lease is already another's. */
  abstract release(lease: Lease): Promise<void>
  abstract close(): Promise<void>
}
