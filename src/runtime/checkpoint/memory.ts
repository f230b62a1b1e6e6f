import { LeaseLostError } from '../../core/error.ts'
import { type Checkpoint, CheckpointStore, type Lease, type LeaseOwner } from './store.ts'

/** Forgets everything with the process: for tests and for trying things out. Refuses nobody; the last one wins. */
export class MemoryCheckpointStore extends CheckpointStore {
  readonly #fences = new Map<string, number>()
  readonly #checkpoints = new Map<string, string>()

  async acquire(pipeline: string, owner: LeaseOwner): Promise<Lease> {
    const fence = (this.#fences.get(pipeline) ?? 0) + 1
    this.#fences.set(pipeline, fence)
    return { pipeline, owner, fence }
  }

  async load(pipeline: string): Promise<Checkpoint | null> {
    const text = this.#checkpoints.get(pipeline)
    return text === undefined ? null : (JSON.parse(text) as Checkpoint)
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

  async release(): Promise<void> {}

  async close(): Promise<void> {}
}
