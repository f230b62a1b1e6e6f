import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Schema from 'effect/Schema'
import { ZeroConfig } from '../../src/connectors/sinks/zero/config.ts'
import { ZeroWebSocketSink } from '../../src/connectors/sinks/zero/sink.ts'
import { RecordBatch } from '../../src/core/batch.ts'
import { toCoreError } from '../../src/core/error.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { SchemaOperation, TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../src/core/value-batch.ts'
import { fullLog } from './full-log.ts'
import { type SubscriberOptions, ZeroSubscriber } from './zero-subscriber.ts'

/** What a run gives to `ZeroWebSocketSink`; the path may be left out. */
export type SinkOptions = Readonly<Record<string, unknown>>

/** Positions of tests are numbers that rise. */
export function place(order: number, partial = false): SourcePosition {
  const position = { order: String(order).padStart(12, '0'), resume: { order } }
  return partial ? { ...position, partial } : position
}

/** The Zero sink in this process, fed by hand as the runtime would; its file outlives stops and starts. */
export class ZeroSinkRun implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-zero-log-'))
  readonly path: string
  readonly log = fullLog()
  readonly #subscribers: ZeroSubscriber[] = []
  #options: SinkOptions
  #sink: ZeroWebSocketSink | null = null
  /** Order of the last position that was given out. */
  order = 0
  /** The last position that the sink called durable. */
  durable: SourcePosition | null = null
  /** From when on it wants to have the log of the source, said at the last start. */
  replayFrom: number | undefined

  private constructor(options: SinkOptions) {
    this.#options = options
    const { path } = options
    this.path = typeof path === 'string' ? path : join(this.folder, 'deep', 'changes.db')
  }

  /** Starts it with an empty file, and announces the tables. */
  static async start(tables: readonly TableSchema[], options: SinkOptions = {}): Promise<ZeroSinkRun> {
    const run = new ZeroSinkRun(options)
    try {
      await run.start(tables)
      return run
    } catch (error) {
      await run[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Returns the position that the sink has. `options` replace the ones so far. */
  async start(tables: readonly TableSchema[], options = this.#options): Promise<SourcePosition | null> {
    this.#options = options
    const decoded = Schema.decodeUnknownSync(ZeroConfig)({
      port: 0,
      pingInterval: '1m',
      ...options,
      path: this.path,
    })
    const sink = new ZeroWebSocketSink(decoded)
    const { position, replayFrom } = await sink.connect({
      pipeline: 'test',
      log: this.log,
      now: Date.now,
      run: 1,
    })
    this.#sink = sink
    this.replayFrom = replayFrom
    for (const table of tables) await sink.createTable(table)
    return position
  }

  async stop(): Promise<void> {
    const sink = this.#sink
    this.#sink = null
    await sink?.disconnect()
  }

  /** Removes the files of the change log, as when a disk is lost. */
  lose(): void {
    for (const end of ['', '-wal', '-shm', '-lock']) rmSync(`${this.path}${end}`, { force: true })
  }

  get sink(): ZeroWebSocketSink {
    if (this.#sink === null) throw new Error('the sink is not started')
    return this.#sink
  }

  get url(): string {
    const { host, port } = this.sink.address!
    return `ws://${host}:${port}/changes/v0/stream`
  }

  /** A subscriber that ends with the run at the latest. */
  async subscribe(options: Omit<SubscriberOptions, 'url'> = {}): Promise<ZeroSubscriber> {
    const subscriber = await ZeroSubscriber.connect({ url: this.url, ...options })
    this.#subscribers.push(subscriber)
    return subscriber
  }

  /** As zero-cache begins: a snapshot on one connection, then a second one that follows. */
  async follow(
    options: Omit<SubscriberOptions, 'url' | 'after'> = {},
  ): Promise<readonly [ZeroSubscriber, ZeroSubscriber]> {
    const first = await this.subscribe(options)
    await first.until('the snapshot is there', () => first.transactions.length > 0)
    const watermark = first.watermark!
    await first[Symbol.asyncDispose]()
    const after = { lastWatermark: watermark, replicaVersion: watermark }
    return [first, await this.subscribe({ ...options, after })]
  }

  /** One batch, durable when it ends with a commit. */
  async write(batch: RecordBatch): Promise<void> {
    await this.accept(batch)
    await this.flush()
  }

  /** One batch, durable some time. */
  async accept(batch: RecordBatch): Promise<void> {
    const { durable } = await this.sink.writeBatch(batch, {
      signal: new AbortController().signal,
      attempt: 1,
    })
    this.durable = durable
  }

  async flush(): Promise<void> {
    const { durable } = await this.sink.flush()
    this.durable = durable
  }

  /** One transaction of the log. */
  async commit(fill: (rows: ValueBatchBuilder) => void, partial = false): Promise<void> {
    await this.write(this.transaction(fill, partial))
  }

  transaction(fill: (rows: ValueBatchBuilder) => void, partial = false): RecordBatch {
    return this.#rows('stream', fill, partial)
  }

  /** A copy of the table begins. */
  async beginCopy(table: TableSchema): Promise<void> {
    await this.#change(table, { kind: 'truncate' }, table, 'snapshot')
  }

  /** A part of a copy. */
  async copied(table: TableSchema, rows: readonly ValueRow[], partial = true): Promise<void> {
    await this.write(
      this.#rows('snapshot', (batch) => rows.forEach((row) => batch.insert(table, row)), partial),
    )
  }

  /** The whole copy of a table, at whose end the state is whole. */
  async copy(table: TableSchema, rows: readonly ValueRow[]): Promise<void> {
    await this.beginCopy(table)
    await this.copied(table, rows, false)
  }

  async heartbeat(partial = false, order = this.order + 1): Promise<void> {
    this.order = order
    const position = place(order, partial)
    await this.write(
      RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: 1_700_000_000_000 + order }),
    )
  }

  /** A schema change of the log. */
  async change(before: TableSchema, change: SchemaOperation, after = before): Promise<void> {
    await this.#change(before, change, after, 'stream')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const subscriber of this.#subscribers) await subscriber[Symbol.asyncDispose]()
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #change(
    before: TableSchema,
    change: SchemaOperation,
    table: TableSchema,
    origin: 'snapshot' | 'stream',
  ): Promise<void> {
    await this.flush()
    await this.sink.alterTable(before, { _tag: 'SchemaChange', before, table, change, origin })
  }

  #rows(
    origin: 'snapshot' | 'stream',
    fill: (rows: ValueBatchBuilder) => void,
    partial: boolean,
  ): RecordBatch {
    const builder = new ValueBatchBuilder(origin)
    this.order++
    builder.begin({
      id: String(this.order),
      commitTimeMs: 1_700_000_000_000 + this.order,
      version: BigInt(this.order) << 16n,
    })
    fill(builder)
    builder.commit(place(this.order, partial))
    return builder.take()!
  }
}

/** The code of what the promise fails with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing failed',
    (error: unknown) => toCoreError(error).code,
  )
}
