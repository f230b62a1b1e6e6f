import type { RecordBatch } from '../../src/core/batch.ts'
import type { Problem } from '../../src/core/error.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { SourceReader } from '../../src/core/row-reader.ts'
import {
  type BatchWriter,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../src/core/source.ts'
import type { TableSchema } from '../../src/core/table.ts'

/** What goes wrong, shared by all instances that a pipeline makes. */
export interface SourceFaults {
  before?(
    call: 'validate' | 'connect' | 'stream' | 'checkpoint',
    position: SourcePosition | null,
  ): void | Promise<void>
  /** Called with every batch that is handed over. */
  written?(batch: RecordBatch): void
  /** Called with a function that breaks the running `stream` with an error, as a lost connection does. */
  streaming?(breakWith: (error: Error) => void): void
  /** Replaces some capabilities. */
  readonly capabilities?: Partial<SourceCapabilities>
  readonly problems?: readonly Problem[]
}

/** A source that fails on command; everything else is passed on. */
export class FaultySource extends Source {
  readonly type: string
  readonly #inner: Source
  readonly #faults: SourceFaults

  constructor(inner: Source, faults: SourceFaults) {
    super()
    this.type = inner.type
    this.#inner = inner
    this.#faults = faults
  }

  capabilities(): SourceCapabilities {
    return { ...this.#inner.capabilities(), ...this.#faults.capabilities }
  }

  async validate(context: SourceContext): Promise<readonly Problem[]> {
    await this.#faults.before?.('validate', null)
    return [...(await this.#inner.validate(context)), ...(this.#faults.problems ?? [])]
  }

  async connect(context: SourceContext): Promise<void> {
    await this.#faults.before?.('connect', null)
    await this.#inner.connect(context)
  }

  discover(): Promise<readonly TableSchema[]> {
    return this.#inner.discover()
  }

  async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    await this.#faults.before?.('stream', from)
    const broken = new AbortController()
    const write = (batch: RecordBatch): void | Promise<void> => {
      this.#faults.written?.(batch)
      return out.write(batch)
    }
    const signal = AbortSignal.any([out.signal, broken.signal])
    const inner = this.#inner.stream({ signal, write }, from)
    const failure = new Promise<never>((_, reject) =>
      this.#faults.streaming?.((error) => {
        broken.abort()
        reject(error)
      }),
    )
    await Promise.race([inner, failure])
  }

  async checkpoint(position: SourcePosition): Promise<void> {
    await this.#faults.before?.('checkpoint', position)
    await this.#inner.checkpoint(position)
  }

  currentPosition(): SourcePosition | null {
    return this.#inner.currentPosition()
  }

  headPosition(): Promise<SourcePosition | null> {
    return this.#inner.headPosition()
  }

  override snapshotProgress(): SnapshotProgress | null {
    return this.#inner.snapshotProgress?.() ?? null
  }

  override openReader(context: SourceContext): Promise<SourceReader> {
    return this.#inner.openReader!(context)
  }

  disconnect(): Promise<void> {
    return this.#inner.disconnect()
  }
}
