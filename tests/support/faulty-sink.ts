import type { Problem } from '../../src/core/error.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { SinkReader } from '../../src/core/row-reader.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import {
  Sink,
  type SinkCapabilities,
  type SinkContext,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from '../../src/core/sink.ts'
import type { TableSchema } from '../../src/core/table.ts'

export type SinkCall = 'connect' | 'createTable' | 'alterTable' | 'write' | 'flush' | 'disconnect'

/** What goes wrong, shared by all instances that a pipeline makes. Each hook may throw, wait, or hang. */
export interface Faults {
  /** Called in front of the real call. */
  before?(call: SinkCall, context: WriteContext | null): void | Promise<void>
  /** Called when the real call has succeeded, before the runtime hears of it: "done, but the answer was lost". */
  after?(call: SinkCall): void | Promise<void>
  /** Replaces some capabilities. */
  readonly capabilities?: Partial<SinkCapabilities>
}

/** A sink that fails on command; everything else is passed on. */
export class FaultySink extends Sink {
  readonly type: string
  readonly #inner: Sink
  readonly #faults: Faults

  constructor(inner: Sink, faults: Faults) {
    super()
    this.type = inner.type
    this.#inner = inner
    this.#faults = faults
  }

  capabilities(): SinkCapabilities {
    return { ...this.#inner.capabilities(), ...this.#faults.capabilities }
  }

  validate(context: SinkContext): Promise<readonly Problem[]> {
    return this.#inner.validate(context)
  }

  connect(context: SinkContext): Promise<SinkResume> {
    return this.#call('connect', null, () => this.#inner.connect(context))
  }

  createTable(schema: TableSchema): Promise<void> {
    return this.#call('createTable', null, () => this.#inner.createTable(schema))
  }

  alterTable(before: TableSchema, change: SchemaChange): Promise<'applied' | 'unsupported'> {
    return this.#call('alterTable', null, () => this.#inner.alterTable(before, change))
  }

  writeBatch(batch: RecordBatch, context: WriteContext): Promise<WriteResult> {
    return this.#call('write', context, () => this.#inner.writeBatch(batch, context))
  }

  override async flush(context: WriteContext): Promise<WriteResult> {
    return this.#call('flush', context, async () => (await this.#inner.flush?.(context)) ?? { durable: null })
  }

  override openReader(context: SinkContext): Promise<SinkReader> {
    return this.#inner.openReader!(context)
  }

  disconnect(): Promise<void> {
    return this.#call('disconnect', null, () => this.#inner.disconnect())
  }

  async #call<A>(call: SinkCall, context: WriteContext | null, run: () => Promise<A>): Promise<A> {
    await this.#faults.before?.(call, context)
    const result = await run()
    await this.#faults.after?.(call)
    return result
  }
}
