import { RecordBatch } from '../../../core/batch.ts'
import type { Problem } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import {
  type BatchWriter,
  handOver,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../../core/source.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { ValueBatchBuilder } from '../../../core/value-batch.ts'
import { capabilitiesOf, type MemoryConfig } from './config.ts'
import { MemoryDatabase, type MemoryTransaction } from './database.ts'
import { MemoryReader } from './reader.ts'
import { addRow, change, heartbeat, oneTableMore, positionLost, positionOf, versionOf } from './records.ts'

const batchBytes = 64 * 1024
export class MemorySource extends Source {
  readonly type = 'memory'
  readonly #config: MemoryConfig
  readonly #database: MemoryDatabase
  readonly #builder = new ValueBatchBuilder('stream')
  #context: SourceContext | null = null
  #position: SourcePosition | null = null
  #progress: SnapshotProgress | null = null
  #heartbeatAtMs = 0

  constructor(config: MemoryConfig) {
    super()
    this.#config = config
    this.#database = MemoryDatabase.named(config.database)
  }

  capabilities(): SourceCapabilities {
    return capabilitiesOf(this.#config)
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(context: SourceContext): Promise<void> {
    this.#context = context
  }

  async discover(): Promise<readonly TableSchema[]> {
    return this.#selected()
  }

  async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const builder = this.#builder
    let done = from === null ? await this.#copy(out) : await this.#resume(out, Number(from.resume))
    while (!out.signal.aborted) {
      const transaction = this.#database.read(done + 1)
      if (transaction !== undefined) await this.#replay(out, ++done, transaction)
      if (transaction === undefined || builder.byteSize >= batchBytes) await this.#write(out, builder.take())
      if (transaction === undefined) await this.#idle(out, done)
    }
  }

  async checkpoint(position: SourcePosition): Promise<void> {
    this.#database.forget(Number(position.resume))
  }

  currentPosition(): SourcePosition | null {
    return this.#position
  }

  async headPosition(): Promise<SourcePosition | null> {
    return positionOf(this.#database.head)
  }

  override snapshotProgress(): SnapshotProgress | null {
    return this.#progress
  }

  /** There is nothing to free, and a stream that still runs needs what it has. */
  async disconnect(): Promise<void> {}

  override async openReader(context: SourceContext): Promise<MemoryReader> {
    return new MemoryReader(this.#database, context.tables)
  }

  #selected(): readonly TableSchema[] {
    return this.#database.schemas().filter((table) => this.#selects(table))
  }

  #selects(table: TableSchema): boolean {
    return this.#context!.tables.includes(table.namespace, table.name)
  }

  async #write(out: BatchWriter, batch: RecordBatch | null): Promise<void> {
    if (batch === null || out.signal.aborted) return
    this.#position = batch.position ?? this.#position
    await handOver(out, batch)
  }

  /** Nothing awaits before the last list of rows: all tables are as of one transaction, which is returned. */
  async #copy(out: BatchWriter): Promise<number> {
    const at = this.#database.head
    const tables = this.#selected()
    const copies = tables.map((table) => ({ table, rows: this.#database.rows(tableName(table)) }))
    const rowsTotal = copies.flatMap(({ rows }) => rows).length
    let progress: SnapshotProgress = { tablesDone: 0, tablesTotal: tables.length, rowsCopied: 0, rowsTotal }
    for (const { table, rows } of copies) {
      const builder = new ValueBatchBuilder('snapshot')
      builder.begin({ id: `copy of ${tableName(table)}`, commitTimeMs: null, version: versionOf(at) })
      for (const kind of ['create-table', 'truncate'] as const)
        await this.#write(out, change(kind, table, 'snapshot'))
      for (const row of rows) {
        if (out.signal.aborted) return at
        builder.insert(table, row)
        if (builder.byteSize >= batchBytes) await this.#write(out, builder.take())
      }
      await this.#write(out, builder.take())
      this.#progress = progress = oneTableMore(progress, rows.length)
    }
    this.#progress = null
    return at
  }

  async #resume(out: BatchWriter, done: number): Promise<number> {
    const { forgotten, head } = this.#database
    if (!Number.isInteger(done) || done < forgotten || done > head) throw positionLost(this.#config.database)
    for (const table of this.#database.schemas(done))
      if (this.#selects(table)) await this.#write(out, change('create-table', table, 'stream'))
    return done
  }

  async #replay(out: BatchWriter, number: number, log: MemoryTransaction): Promise<void> {
    const builder = this.#builder
    builder.begin({ id: String(number), commitTimeMs: log.commitTimeMs, version: versionOf(number) })
    for (const change of log.changes) {
      if (out.signal.aborted) return
      if (!this.#selects(change.table)) continue
      if (change.kind === 'schema') {
        await this.#write(out, builder.take())
        await handOver(out, RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', ...change, origin: 'stream' }))
      } else {
        addRow(builder, change, this.#config.partialUpdates)
        if (builder.byteSize >= batchBytes) await this.#write(out, builder.take())
      }
    }
    builder.commit(positionOf(number))
  }

  /** Says that the log is read, at most once per interval; ends at a commit, an abort or the next heartbeat. */
  async #idle(out: BatchWriter, done: number): Promise<void> {
    const timeMs = this.#context!.now()
    if (Math.abs(timeMs - this.#heartbeatAtMs) >= this.#config.heartbeat) {
      this.#heartbeatAtMs = timeMs
      await this.#write(out, heartbeat(done, timeMs))
    }
    const wake = AbortSignal.any([out.signal, AbortSignal.timeout(this.#config.heartbeat)])
    if (done === this.#database.head) await this.#database.changed(wake)
  }
}
