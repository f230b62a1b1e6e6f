import type { RecordBatch } from '../../../core/batch.ts'
import { NotConnectedError, type Problem } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { SchemaChange } from '../../../core/record.ts'
import { Sink, type SinkCapabilities, type SinkResume, type WriteResult } from '../../../core/sink.ts'
import type { TableSchema } from '../../../core/table.ts'
import type { MemoryConfig } from './config.ts'
import { MemoryReader } from './reader.ts'
import { MemoryTarget } from './target.ts'

export class MemorySink extends Sink {
  readonly type = 'memory'
  readonly #config: MemoryConfig
  readonly #target: MemoryTarget
  #connected = false
  /** Accepted and not yet durable: lost with the connection, as in a server's own buffer. */
  #accepted: RecordBatch[] = []
  #position: SourcePosition | null = null

  constructor(config: MemoryConfig) {
    super()
    this.#config = config
    this.#target = MemoryTarget.named(config.target)
  }

  capabilities(): SinkCapabilities {
    return {
      replay: 'idempotent-upsert',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: ['drop-table', 'add-column', 'drop-column', 'rename-column', 'alter-column'],
      keepsNewestVersion: false,
      flushIntervalMs: this.#config.flushInterval,
    }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(): Promise<SinkResume> {
    this.#connected = true
    return { position: null }
  }

  async createTable(schema: TableSchema): Promise<void> {
    this.#target.createTable(schema)
  }

  async alterTable(_before: TableSchema, change: SchemaChange): Promise<'applied' | 'unsupported'> {
    if (change.change.kind === 'change-key') return 'unsupported'
    this.#target.alterTable(change)
    return 'applied'
  }

  async writeBatch(batch: RecordBatch): Promise<WriteResult> {
    this.#requireConnection()
    this.#accepted.push(batch)
    return this.#config.durable === 'write' ? await this.flush() : { durable: null }
  }

  override async flush(): Promise<WriteResult> {
    this.#requireConnection()
    for (let batch = this.#accepted[0]; batch !== undefined; batch = this.#accepted[0]) {
      for (const record of batch) this.#target.apply(record)
      // Not earlier: nothing behind a batch that failed may become durable.
      this.#accepted.shift()
      this.#position = batch.position ?? this.#position
    }
    return { durable: this.#position }
  }

  override async openReader(): Promise<MemoryReader> {
    return new MemoryReader(this.#target)
  }

  async disconnect(): Promise<void> {
    this.#connected = false
    this.#accepted = []
  }

  #requireConnection(): void {
    if (!this.#connected)
      throw new NotConnectedError('memory/not-connected', 'the memory sink is not connected')
  }
}
