import type { RecordBatch } from '../../src/core/batch.ts'
import type { CoreError } from '../../src/core/error.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { Source, SourceContext } from '../../src/core/source.ts'
import { type Mirror, stored } from './mirror.ts'
import { waitFor } from './wait-for.ts'

/** What a test does with each batch besides; may hold the source up, or throw. */
export type OnWrite = (batch: RecordBatch) => void | Promise<void>

/** A source at work, into a mirror. */
export class RunningSource<S extends Source> implements AsyncDisposable {
  readonly mirror: Mirror
  readonly source: S
  readonly #controller = new AbortController()
  #done: Promise<void> = Promise.resolve()
  /** Why `stream` ended by itself. */
  failure: CoreError | null = null
  ended = false

  protected constructor(source: S, mirror: Mirror) {
    this.source = source
    this.mirror = mirror
  }

  /** Connects, and streams from the position. */
  protected async begin(
    context: SourceContext,
    from: SourcePosition | null,
    onWrite: OnWrite,
  ): Promise<this> {
    await this.source.connect(context)
    const write = (batch: RecordBatch): void | Promise<void> => {
      this.mirror.apply(batch)
      return onWrite(batch)
    }
    this.#done = this.source.stream({ signal: this.#controller.signal, write }, from).then(
      () => void (this.ended = true),
      (error: unknown) => {
        this.ended = true
        this.failure = error as CoreError
      },
    )
    return this
  }

  /** Waits for a condition; fails at once when the source fails. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    await waitFor(what, async () => {
      if (this.failure !== null) throw this.failure
      return holds()
    })
  }

  /** Waits until `stream` has failed. */
  async failed(): Promise<CoreError> {
    await waitFor('the source fails', () => this.ended)
    if (this.failure === null) throw new Error('the source ended without an error')
    return this.failure
  }

  abort(): void {
    this.#controller.abort()
  }

  get done(): Promise<void> {
    return this.#done
  }

  /** Stops, and gives the last position. */
  async stop(): Promise<SourcePosition | null> {
    this.abort()
    await this.#done
    const position = this.source.currentPosition()
    await this.source.disconnect()
    return position === null ? null : stored(position)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
