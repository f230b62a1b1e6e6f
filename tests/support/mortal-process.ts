import { InternalError } from '../../src/core/error.ts'
import type { Checkpoint, Lease, LeaseOwner } from '../../src/runtime/checkpoint/store.ts'
import { CheckpointStore } from '../../src/runtime/checkpoint/store.ts'
import type { PipelineDefinition } from '../../src/runtime/definition.ts'
import { FaultySink } from './faulty-sink.ts'
import { FaultySource } from './faulty-source.ts'

/**
 * Kills a pipeline as `kill -9` does: after so many calls to anything outside the process, every call fails, so that
 * nothing of it has an effect any more, and there is no drain.
 */
export class MortalProcess {
  #callsLeft: number
  readonly #answerLost: boolean

  /** `answerLost`: the last call has its effect and only the answer is lost; otherwise it has none. */
  constructor(callsLeft: number, answerLost: boolean) {
    this.#callsLeft = callsLeft
    this.#answerLost = answerLost
  }

  /** The same pipeline, in this process. */
  of(definition: PipelineDefinition): PipelineDefinition {
    const before = (): void => this.#before()
    const after = (): void => this.#after()
    return {
      ...definition,
      source: {
        ...definition.source,
        create: () => new FaultySource(definition.source.create(), { before }),
      },
      sinks: definition.sinks.map((sink) => ({
        ...sink,
        create: () => new FaultySink(sink.create(), { before, after }),
      })),
      store: new MortalStore(definition.store, async (call) => {
        before()
        const result = await call()
        after()
        return result
      }),
    }
  }

  #before(): void {
    if (this.#callsLeft < 0 || (this.#callsLeft === 0 && !this.#answerLost)) {
      this.#callsLeft = -1
      throw killed()
    }
    this.#callsLeft--
  }

  #after(): void {
    if (this.#callsLeft < 0) throw killed()
  }
}

function killed(): InternalError {
  return new InternalError('test/killed', 'the process was killed')
}

class MortalStore extends CheckpointStore {
  readonly #inner: CheckpointStore
  readonly #call: <A>(call: () => Promise<A>) => Promise<A>

  constructor(inner: CheckpointStore, call: <A>(call: () => Promise<A>) => Promise<A>) {
    super()
    this.#inner = inner
    this.#call = call
  }

  acquire(pipeline: string, owner: LeaseOwner): Promise<Lease> {
    return this.#call(() => this.#inner.acquire(pipeline, owner))
  }

  load(pipeline: string): Promise<Checkpoint | null> {
    return this.#call(() => this.#inner.load(pipeline))
  }

  save(lease: Lease, checkpoint: Checkpoint): Promise<void> {
    return this.#call(() => this.#inner.save(lease, checkpoint))
  }

  renew(lease: Lease): Promise<void> {
    return this.#call(() => this.#inner.renew(lease))
  }

  release(lease: Lease): Promise<void> {
    return this.#call(() => this.#inner.release(lease))
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}
