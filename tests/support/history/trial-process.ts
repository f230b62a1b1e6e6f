import { ConnectionError, InternalError } from '../../../src/core/error.ts'
import type { Sink } from '../../../src/core/sink.ts'
import type { Checkpoint, Lease, LeaseOwner } from '../../../src/runtime/checkpoint/store.ts'
import { CheckpointStore } from '../../../src/runtime/checkpoint/store.ts'
import type { PipelineDefinition } from '../../../src/runtime/definition.ts'
import { FaultySink } from '../faulty-sink.ts'
import { FaultySource } from '../faulty-source.ts'
import type { End, Trouble } from './history.ts'

/**
 * A pipeline that can be killed as `kill -9` does, inside this process: from one call to anything outside on, every
 * call fails, so that nothing has an effect any more, and there is no drain. Sinks and source can be made to fail too.
 */
export class TrialProcess {
  /** Calls to source, sinks and checkpoint store so far, and batches read. */
  calls = 0
  #lastCallMs = performance.now()
  #awaited: { readonly calls: number; readonly resolve: () => void } | null = null
  #state: 'alive' | 'dies in the next call' | 'dies after the next call' | 'dead' = 'alive'
  readonly #failures = new Map<number, { times: number; applied: boolean }>()
  #breakSource: ((error: Error) => void) | null = null

  /** The pipeline, so that it runs in this process. */
  of(definition: PipelineDefinition): PipelineDefinition {
    const before = (): void => this.#before()
    const after = (): void => this.#after()
    const { source, sinks, store } = definition
    return {
      ...definition,
      source: {
        ...source,
        create: () =>
          new FaultySource(source.create(), {
            before,
            written: before,
            streaming: (breakWith) => (this.#breakSource = breakWith),
          }),
      },
      sinks: sinks.map((sink, index) => ({ ...sink, create: () => this.#sink(sink.create(), index) })),
      store: new TrialStore(store, async (call) => {
        before()
        const result = await call()
        after()
        return result
      }),
    }
  }

  /** Waits for so many calls; not longer when there was none for `quietMs`, or `ended` says that none will come. */
  async pass(calls: number, quietMs: number, ended: () => boolean): Promise<void> {
    if (calls === 0 || ended()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#awaited = { calls: this.calls + calls, resolve }
    const fromMs = performance.now()
    const timer = setInterval(() => {
      if (ended() || performance.now() - Math.max(fromMs, this.#lastCallMs) > quietMs) resolve()
    }, 1)
    await promise
    clearInterval(timer)
    this.#awaited = null
  }

  suffer(trouble: Trouble): void {
    if (trouble.trouble === 'source disconnects') this.#breakSource?.(lost())
    else this.#failures.set(trouble.sink, { times: trouble.times, applied: trouble.applied })
  }

  /** The next call is the last one. */
  kill({ applied }: Extract<End, { end: 'killed' }>): void {
    this.#state = applied ? 'dies after the next call' : 'dies in the next call'
  }

  static wasKilled(error: unknown): boolean {
    return error instanceof InternalError && error.code === 'test/killed'
  }

  /** A dead process still lets its connections go, as the operating system would. */
  #sink(sink: Sink, index: number): Sink {
    const fail = (applied: boolean): void => {
      const failure = this.#failures.get(index)
      if (failure === undefined || failure.applied !== applied || failure.times === 0) return
      failure.times--
      throw lost()
    }
    return new FaultySink(sink, {
      before: (call) => {
        if (call === 'disconnect') return
        this.#before()
        fail(false)
      },
      after: (call) => {
        if (call === 'disconnect') return
        this.#after()
        fail(true)
      },
    })
  }

  #before(): void {
    this.calls++
    this.#lastCallMs = performance.now()
    if (this.#awaited !== null && this.calls >= this.#awaited.calls) this.#awaited.resolve()
    if (this.#state === 'dies in the next call') this.#state = 'dead'
    if (this.#state === 'dead') throw killed()
    if (this.#state === 'dies after the next call') this.#state = 'dead'
  }

  #after(): void {
    if (this.#state === 'dead') throw killed()
  }
}

function killed(): InternalError {
  return new InternalError('test/killed', 'the process was killed')
}

function lost(): ConnectionError {
  return new ConnectionError('test/lost', 'the connection was lost')
}

class TrialStore extends CheckpointStore {
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
