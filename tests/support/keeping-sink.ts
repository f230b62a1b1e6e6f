import type { RecordBatch } from '../../src/core/batch.ts'
import type { Problem } from '../../src/core/error.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import { Sink, type SinkCapabilities, type SinkResume, type WriteResult } from '../../src/core/sink.ts'
import type { TableSchema } from '../../src/core/table.ts'
import { MemorySink } from '../../src/connectors/sinks/memory/sink.ts'

const positions = new Map<string, SourcePosition>()

/** A sink that keeps the position next to its rows, as one does that writes both in one transaction. */
export class KeepingSink extends Sink {
  readonly type = 'keeping'
  readonly #target: string
  readonly #rows: MemorySink

  constructor(target: string) {
    super()
    this.#target = target
    this.#rows = new MemorySink({ target, durable: 'write', flushInterval: 0 })
  }

  /** What a target says that it has. */
  static position(target: string): SourcePosition | null {
    return positions.get(target) ?? null
  }

  /** What a target says that was emptied behind our back. */
  static forget(target: string): void {
    positions.delete(target)
  }

  capabilities(): SinkCapabilities {
    return { ...this.#rows.capabilities(), replay: 'transactional-position' }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(): Promise<SinkResume> {
    await this.#rows.connect()
    return { position: positions.get(this.#target) ?? null }
  }

  createTable(schema: TableSchema): Promise<void> {
    return this.#rows.createTable(schema)
  }

  alterTable(before: TableSchema, change: SchemaChange): Promise<'applied' | 'unsupported'> {
    // A copy begins: what is here is no longer what the position says.
    if (change.origin === 'snapshot') positions.delete(this.#target)
    return this.#rows.alterTable(before, change)
  }

  async writeBatch(batch: RecordBatch): Promise<WriteResult> {
    await this.#rows.writeBatch(batch)
    if (batch.position !== null) positions.set(this.#target, batch.position)
    return { durable: positions.get(this.#target) ?? null }
  }

  disconnect(): Promise<void> {
    return this.#rows.disconnect()
  }
}
