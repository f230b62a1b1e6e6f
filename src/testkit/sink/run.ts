import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { RecordBatch } from '../../core/batch.ts'
import { CoreError } from '../../core/error.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { SchemaChange } from '../../core/record.ts'
import type { Sink, WriteContext, WriteResult } from '../../core/sink.ts'
import type { TableSchema } from '../../core/table.ts'
import type { Random } from '../random.ts'
import { type Call, heartbeat, type Story } from './story.ts'
import type { Watch } from './watch.ts'

/** How long a call is repeated while it fails in a way that passes, in milliseconds. */
const REPEATED_FOR_MS = 20_000
const PAUSE_MS = 20

/** What a run does in a story, besides the steps themselves. */
export interface Playing {
  /** The last step; by default that of the story. */
  readonly to?: number
  /** Cuts batches at random; without, each transaction is a batch. */
  readonly random?: Random
  /** How likely a flush is after a batch; by default there is none but those before schema changes. */
  readonly flushes?: number
}

/**
 * One run over a target: drives a sink as the runtime does (`runtime/lane.ts`) and holds it to what it says about
 * durability. A call that fails in a way that passes is made again with the same arguments; the `try` calls are not.
 */
export class SinkRun {
  readonly sink: Sink
  /** What the sink said at the start that it has. */
  readonly held: SourcePosition | null
  readonly #watch: Watch
  /** Orders of the positions that the sink was given. */
  readonly #given = new Set<string>()
  #accepted: SourcePosition | null = null
  /** Order of the latest position that was accepted, also before a rewind. */
  #latest = ''
  #rewound = false
  #durable: SourcePosition | null = null

  constructor(sink: Sink, held: SourcePosition | null, watch: Watch) {
    this.sink = sink
    this.held = held
    this.#watch = watch
    if (held === null) return
    this.#given.add(held.order)
    this.#latest = held.order
  }

  /** How far this run is durable, as the runtime understands it. */
  get durable(): SourcePosition | null {
    return this.#durable
  }

  /**
   * The sink gets again what it had already, from behind this step on. From now on what it says is durable may also go
   * back; one that keeps its position is told so.
   */
  async rewind(step: number): Promise<void> {
    this.#durable = null
    this.#rewound = true
    if (this.#keepsPosition) await this.write(heartbeat(step))
  }

  createTable(schema: TableSchema): Promise<void> {
    return this.#repeat(() => this.sink.createTable(schema))
  }

  write(batch: RecordBatch): Promise<void> {
    return this.#repeat((context) => this.#write(batch, context))
  }

  flush(): Promise<void> {
    return this.#repeat((context) => this.#flush(context))
  }

  async store(batch: RecordBatch): Promise<void> {
    await this.write(batch)
    await this.flush()
  }

  /** One attempt. */
  tryWrite(
    batch: RecordBatch,
    signal: AbortSignal = new AbortController().signal,
    attempt = 1,
  ): Promise<void> {
    return this.#watched(() => this.#write(batch, { signal, attempt }))
  }

  /** One attempt. */
  tryFlush(signal: AbortSignal = new AbortController().signal, attempt = 1): Promise<void> {
    return this.#watched(() => this.#flush({ signal, attempt }))
  }

  /** One attempt of writing a batch and making it durable. */
  async tryStore(batch: RecordBatch, signal?: AbortSignal, attempt = 1): Promise<void> {
    await this.tryWrite(batch, signal, attempt)
    await this.tryFlush(signal, attempt)
  }

  /** After a flush, as the runtime does. */
  async change(change: SchemaChange): Promise<void> {
    assert.equal(await this.tryChange(change), 'applied', `the change ${change.change.kind} was not applied`)
  }

  async tryChange(change: SchemaChange): Promise<'applied' | 'unsupported'> {
    await this.flush()
    if (change.change.kind !== 'create-table')
      return this.#repeat(() => this.sink.alterTable(change.before ?? change.table, change))
    await this.createTable(change.table)
    return 'applied'
  }

  /** Plays the steps of a story behind `from`. Does not flush at the end. */
  async play(
    story: Story,
    from: number,
    { to = story.length, random, flushes = 0 }: Playing = {},
  ): Promise<void> {
    for (const call of story.calls(from, to, random ?? null)) {
      await this.make(call)
      if (random?.chance(flushes) === true) await this.flush()
    }
  }

  make(call: Call): Promise<void> {
    return call.kind === 'write' ? this.write(call.batch) : this.change(call.change)
  }

  /** Drops what is not durable, as a crash of the process does. */
  end(): Promise<void> {
    return this.#watched(() => this.sink.disconnect())
  }

  get #keepsPosition(): boolean {
    return this.sink.capabilities().replay === 'transactional-position'
  }

  async #write(batch: RecordBatch, context: WriteContext): Promise<void> {
    for (const position of [batch.position, ...batch.spans.map((span) => span.position)])
      if (position !== null) this.#given.add(position.order)
    const result = await this.sink.writeBatch(batch, context)
    this.#accepted = batch.position ?? this.#accepted
    if (this.#accepted !== null && this.#accepted.order > this.#latest) this.#latest = this.#accepted.order
    this.#hear(result, this.sink.flush === undefined)
  }

  async #flush(context: WriteContext): Promise<void> {
    if (this.sink.flush !== undefined) this.#hear(await this.sink.flush(context), true)
  }

  /** `complete`: all that was accepted is durable, whatever the sink says about it. */
  #hear({ durable }: WriteResult, complete: boolean): void {
    if (durable !== null) {
      const name = `the position ${durable.order}, which the sink says is durable,`
      assert(this.#given.has(durable.order), `${name} is no commit that it was given`)
      assert(durable.order <= this.#latest, `${name} is later than all that it accepted`)
      const before = this.#durable?.order ?? ''
      assert(
        this.#rewound || durable.order >= before,
        `${name} is earlier than ${before}, which it said before`,
      )
      this.#durable = durable
    }
    if (!complete) return
    if (!this.#keepsPosition) this.#durable = this.#accepted ?? this.#durable
    else if (this.#accepted !== null)
      assert.equal(
        durable?.order,
        this.#accepted.order,
        'the sink keeps another position than it was given last',
      )
  }

  async #repeat<A>(call: (context: WriteContext) => Promise<A>): Promise<A> {
    const deadline = performance.now() + REPEATED_FOR_MS
    const { signal } = new AbortController()
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#watched(() => call({ signal, attempt }))
      } catch (error) {
        const passes = error instanceof CoreError && error.retryable
        if (!passes || performance.now() > deadline) throw error
        await delay(PAUSE_MS)
      }
    }
  }

  async #watched<A>(call: () => Promise<A>): Promise<A> {
    try {
      return await call()
    } catch (error) {
      this.#watch.error(error)
      throw error
    }
  }
}
