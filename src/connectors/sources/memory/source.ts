import { RecordBatch } from '../../../core/batch.ts'
import { PositionLostError, type Problem } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import {
  type BatchWriter,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../../core/source.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { ValueBatchBuilder } from '../../../core/value-batch.ts'
import type { MemoryConfig } from './config.ts'
import { MemoryDatabase, type MemoryTransaction } from './database.ts'
import { addRow, change, positionOf, versionOf } from './records.ts'

const batchBytes = 64 * 1024

export class MemorySource extends Source {
  readonly type = 'memory'
  readonly #config: MemoryConfig
  readonly #database: MemoryDatabase
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
    return { transactions: true, unchangedCells: this.#config.partialUpdates, updates: true, deletes: true }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(context: SourceContext): Promise<void> {
    this.#context = context
  }

  async discover(): Promise<readonly TableSchema[]> {
    return this.#database.schemas().filter((table) => this.#selects(table))
  }

  async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const builder = new ValueBatchBuilder('stream')
    let done = from === null ? await this.#copy(out) : await this.#resume(out, Number(from.resume))
    while (!out.signal.aborted) {
      const transaction = this.#database.read(done + 1)
      if (transaction !== undefined) await this.#replay(out, builder, ++done, transaction)
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

  async disconnect(): Promise<void> {
    this.#context = null
  }

  #selects(table: TableSchema): boolean {
    return this.#context!.tables.includes(table.namespace, table.name)
  }

  async #write(out: BatchWriter, batch: RecordBatch | null): Promise<void> {
    if (batch === null) return
    this.#position = batch.position ?? this.#position
    await out.write(batch)
  }

  /** Nothing awaits before the last list of rows: all tables are as of one transaction, which is returned. */
  async #copy(out: BatchWriter): Promise<number> {
    const at = this.#database.head
    const tables = await this.discover()
    const copies = tables.map((table) => ({ table, rows: this.#database.rows(tableName(table)) }))
    const rowsTotal = copies.reduce((total, { rows }) => total + rows.length, 0)
    let progress = { tablesDone: 0, tablesTotal: tables.length, rowsCopied: 0, rowsTotal }
    for (const { table, rows } of copies) {
      const builder = new ValueBatchBuilder('snapshot')
      builder.begin({ id: `copy of ${tableName(table)}`, commitTimeMs: null, version: versionOf(at) })
      await this.#write(out, change('create-table', table, 'snapshot'))
      await this.#write(out, change('truncate', table, 'snapshot'))
      for (const row of rows) {
        if (out.signal.aborted) return at
        builder.insert(table, row)
        this.#progress = progress = { ...progress, rowsCopied: progress.rowsCopied + 1 }
        if (builder.byteSize >= batchBytes) await this.#write(out, builder.take())
      }
      await this.#write(out, builder.take())
      this.#progress = progress = { ...progress, tablesDone: progress.tablesDone + 1 }
    }
    this.#progress = null
    return at
  }

  async #resume(out: BatchWriter, done: number): Promise<number> {
    const { forgotten, head } = this.#database
    if (done < forgotten || done > head) {
      const message = `the log of database "${this.#config.database}" does not reach back to the checkpoint`
      const fix = 'Remove the checkpoint of this pipeline to copy everything again.'
      throw new PositionLostError('memory/position-lost', message, { fix })
    }
    const tables = this.#database.schemas(done).filter((table) => this.#selects(table))
    for (const table of tables) await this.#write(out, change('create-table', table, 'stream'))
    return done
  }

  async #replay(
    out: BatchWriter,
    builder: ValueBatchBuilder,
    number: number,
    { changes, commitTimeMs }: MemoryTransaction,
  ): Promise<void> {
    builder.begin({ id: String(number), commitTimeMs, version: versionOf(number) })
    for (const change of changes) {
      if (!this.#selects(change.table)) continue
      if (change.kind === 'schema') {
        await this.#write(out, builder.take())
        await out.write(RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', ...change, origin: 'stream' }))
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
    if (timeMs - this.#heartbeatAtMs >= this.#config.heartbeat) {
      this.#heartbeatAtMs = timeMs
      await this.#write(
        out,
        RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position: positionOf(done), timeMs }),
      )
    }
    const wake = AbortSignal.any([out.signal, AbortSignal.timeout(this.#config.heartbeat)])
    if (done === this.#database.head) await this.#database.changed(wake)
  }
}
