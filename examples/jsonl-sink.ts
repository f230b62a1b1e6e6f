/**
 * A connector of a third party: a sink that appends every change to a file, one JSON object per line. It uses nothing
 * but the public entry (in a package of your own: 'sluice'). `jsonl-sink.yaml` runs it.
 */
import { type FileHandle, open } from 'node:fs/promises'
import {
  type CdcRecord,
  defineSink,
  fields,
  type Problem,
  type RecordBatch,
  Sink,
  type SinkCapabilities,
  type SinkResume,
  type SourcePosition,
  tableName,
  UNCHANGED,
  type WriteResult,
} from '../src/index.ts'

const JsonlConfig = fields.struct({
  path: fields.text().pipe(fields.described('File to append to.')),
  flushInterval: fields
    .duration()
    .pipe(fields.described('Longest time before lines are forced to disk.'), fields.withDefault('1s')),
})
type JsonlConfig = typeof JsonlConfig.Type

class JsonlSink extends Sink {
  readonly type = 'jsonl'
  readonly #config: JsonlConfig
  #file: FileHandle | null = null
  #written: SourcePosition | null = null

  constructor(config: JsonlConfig) {
    super()
    this.#config = config
  }

  capabilities(): SinkCapabilities {
    return {
      // After a crash the last lines may appear twice.
      replay: 'append',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: ['add-column', 'drop-column', 'rename-column', 'alter-column', 'change-key'],
      keepsNewestVersion: false,
      flushIntervalMs: this.#config.flushInterval,
    }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(): Promise<SinkResume> {
    this.#file = await open(this.#config.path, 'a')
    return { position: null }
  }

  async createTable(): Promise<void> {}

  async alterTable(): Promise<'applied'> {
    return 'applied'
  }

  async writeBatch(batch: RecordBatch): Promise<WriteResult> {
    const lines = Array.from(batch, toLine).filter((line) => line !== null)
    await this.#file!.appendFile(lines.join(''))
    this.#written = batch.position ?? this.#written
    return { durable: null }
  }

  override async flush(): Promise<WriteResult> {
    await this.#file!.datasync()
    return { durable: this.#written }
  }

  async disconnect(): Promise<void> {
    await this.#file?.close()
    this.#file = null
  }
}

/** The line of a record; null for what is not a change of rows. */
function toLine(record: CdcRecord): string | null {
  switch (record._tag) {
    case 'Insert':
    case 'Update':
      return json({
        op: record._tag.toLowerCase(),
        table: tableName(record.table),
        row: record.after.toObject(),
      })
    case 'Delete':
      return json({ op: 'delete', table: tableName(record.table), row: record.before.toObject() })
    case 'SchemaChange':
    case 'Begin':
    case 'Commit':
    case 'Heartbeat':
      return null
  }
}

/** JSON has no integers beyond 2^53: they are written as text. Cells that did not change are left out. */
function json(value: unknown): string {
  const text = JSON.stringify(value, (_key, cell: unknown) => {
    if (typeof cell === 'bigint') return cell.toString()
    return cell === UNCHANGED ? undefined : cell
  })
  return `${text}\n`
}

export const sinks = [
  defineSink({
    type: 'jsonl',
    summary: 'A file of JSON lines',
    config: JsonlConfig,
    load: async () => (config) => new JsonlSink(config),
  }),
]
