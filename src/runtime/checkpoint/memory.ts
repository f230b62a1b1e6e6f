import { LeaseLostError } from '../../core/error.ts'
import { type Checkpoint, CheckpointStore, type Lease, type LeaseOwner, type PipelineState } from './store.ts'

/** Forgets everything with the process: for tests and for trying things out. Refuses nobody; the last one wins. */
export class MemoryCheckpointStore extends CheckpointStore {
  readonly #fences = new Map<string, number>()
  readonly #runners = new Map<string, Lease>()
  readonly #checkpoints = new Map<string, string>()

  async acquire(pipeline: string, owner: LeaseOwner): Promise<Lease> {
    const fence = (this.#fences.get(pipeline) ?? 0) + 1
    const lease = { pipeline, owner, fence }
    this.#fences.set(pipeline, fence)
    this.#runners.set(pipeline, lease)
    return lease
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const text = this.#checkpoints.get(pipeline)
    return text === undefined ? null : (JSON.parse(text) as Checkpoint)
  }

  override async peek(pipeline: string): Promise<PipelineState> {
    return {
      checkpoint: await this.load(pipeline),
      runner: this.#runners.get(pipeline)?.owner ?? null,
    }
  }

  async save(lease: Lease, checkpoint: Checkpoint): Promise<void> {
    await this.renew(lease)
    this.#checkpoints.set(lease.pipeline, JSON.stringify(checkpoint))
  }

  async renew(lease: Lease): Promise<void> {
    if (this.#fences.get(lease.pipeline) === lease.fence) return
    throw new LeaseLostError(
      'checkpoint/lease-lost',
      `another runner took pipeline "${lease.pipeline}" over`,
      {
        fix: 'Run each pipeline once.',
      },
    )
  }

  async release(lease: Lease): Promise<void> {
    if (this.#fences.get(lease.pipeline) === lease.fence) this.#runners.delete(lease.pipeline)
  }

  async close(): Promise<void> {}
}
