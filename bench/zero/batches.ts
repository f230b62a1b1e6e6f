/** Batches of a table of eight columns as the Postgres source cuts them, and a sink for Zero on a file of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Schema from 'effect/Schema'
import { ZeroConfig } from '../../src/connectors/sinks/zero/config.ts'
import { ZeroWebSocketSink } from '../../src/connectors/sinks/zero/sink.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import { declareTable } from '../../src/core/declared-table.ts'
import { type ValueRow, ValueBatchBuilder } from '../../src/core/value-batch.ts'

/** What a socket brings at once under load is about so much. */
export const ROWS_PER_BATCH = 1000

const table = declareTable('public.bench', {
  key: ['id'],
  columns: {
    id: 'int64',
    n: 'int32?',
    name: 'text?',
    price: 'decimal(12,2)?',
    ok: 'bool?',
    at: 'timestamp(6) with time zone?',
    score: 'float64?',
    note: 'text?',
  },
})

export interface Load {
  readonly rowsPerTransaction: number
  /** `inserts`: new rows only. `mixed`: of ten changes six inserts, three updates and one delete of any earlier row. */
  readonly kind: 'inserts' | 'mixed'
}

/** A stream of changes that never ends; the same each time. */
export class Batches {
  readonly #load: Load
  readonly #rowsPerBatch: number
  #rows = 0
  #changes = 0
  #transactions = 0
  #seed = 1

  constructor(load: Load, rowsPerBatch = ROWS_PER_BATCH) {
    this.#load = load
    this.#rowsPerBatch = rowsPerBatch
  }

  /** Changes that were given out. */
  get changes(): number {
    return this.#changes
  }

  /** The next whole transactions. */
  next(): RecordBatch {
    const { rowsPerTransaction } = this.#load
    const builder = new ValueBatchBuilder('stream')
    while (builder.rowCount < this.#rowsPerBatch) {
      const number = ++this.#transactions
      builder.begin({ id: String(number), commitTimeMs: Date.now(), version: BigInt(number) << 12n })
      for (let row = 0; row < rowsPerTransaction; row++) this.#change(builder)
      const lsn = number.toString(16).toUpperCase().padStart(16, '0')
      builder.commit({ order: `${lsn}.00000000`, resume: { lsn: `0/${lsn.slice(8)}`, system: '1' } })
    }
    return builder.take()!
  }

  #change(builder: ValueBatchBuilder): void {
    const kind = this.#load.kind === 'inserts' ? 0 : this.#changes % 10
    this.#changes++
    if (kind < 6) builder.insert(table, rowOf(++this.#rows))
    else if (kind < 9) builder.update(table, { ...rowOf(this.#any()), name: `changed ${this.#changes}` })
    else builder.delete(table, { id: BigInt(this.#any()) })
  }

  #any(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0
    return (this.#seed % this.#rows) + 1
  }
}

function rowOf(id: number): ValueRow {
  return {
    id: BigInt(id),
    n: id % 1_000_000,
    name: `customer ${id}`,
    price: ((id % 100_000) / 100).toFixed(2),
    ok: id % 3 === 0,
    at: '2024-01-01 00:00:00.123456+00',
    score: id * 1.5,
    note: `note for the row number ${id}`,
  }
}

/** A connected sink that knows the table and has published an empty state; disposing of it removes its file. */
export class BenchSink implements AsyncDisposable {
  readonly sink: ZeroWebSocketSink
  readonly folder: string

  private constructor(sink: ZeroWebSocketSink, folder: string) {
    this.sink = sink
    this.folder = folder
  }

  static async open(options: Readonly<Record<string, unknown>> = {}): Promise<BenchSink> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-zero-'))
    const config = { path: join(folder, 'zero.db'), port: 0, permissions: 'allow-all-select', ...options }
    const sink = new ZeroWebSocketSink(Schema.decodeUnknownSync(ZeroConfig)(config))
    const ignore = (): void => {}
    const log = { debug: ignore, info: ignore, warn: console.error, error: console.error }
    await sink.connect({ pipeline: 'bench', log, now: Date.now, run: 1 })
    const bench = new BenchSink(sink, folder)
    await sink.createTable(table)
    const first = new ValueBatchBuilder('stream')
    first.begin({ id: '0', commitTimeMs: null, version: 0n })
    first.commit({ order: `${'0'.repeat(16)}.00000000`, resume: { lsn: '0/0', system: '1' } })
    await bench.write(first.take()!)
    await sink.flush()
    return bench
  }

  get url(): string {
    return `ws://127.0.0.1:${this.sink.address!.port}/changes/v0/stream`
  }

  /** Order of what is durable. */
  async write(batch: RecordBatch): Promise<string | null> {
    const { durable } = await this.sink.writeBatch(batch, {
      signal: new AbortController().signal,
      attempt: 1,
    })
    return durable?.order ?? null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sink.disconnect()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
