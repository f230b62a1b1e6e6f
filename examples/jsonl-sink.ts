/**
 * A connector of a third party: a sink that appends every change to a file, one JSON object per line. It uses nothing
 * but the public entry. `jsonl-sink.yaml` runs it.
 */
import { type FileHandle, open } from 'node:fs/promises'
import {
  type CdcRecord,
  defineSink,
  fields,
  NotConnectedError,
  type Problem,
  type RecordBatch,
  type RowView,
  type SchemaChange,
  Sink,
  type SinkCapabilities,
  type SinkResume,
  type SourcePosition,
  type TableSchema,
  tableName,
  UNCHANGED,
  type WriteResult,
} from 'sluice'

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
      schemaChanges: [
        'drop-table',
        'add-column',
        'drop-column',
        'rename-column',
        'alter-column',
        'change-key',
      ],
      keepsNewestVersion: false,
      flushIntervalMs: this.#config.flushInterval,
    }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(): Promise<SinkResume> {
    this.#file = await open(this.#config.path, 'a')
    // Ends a line that a crash may have cut off; readers skip empty lines.
    if ((await this.#file.stat()).size > 0) await this.#file.appendFile('\n')
    return { position: null }
  }

  async createTable(): Promise<void> {}

  /** Readers must know: a truncate empties the table, a rename moves values. */
  async alterTable(_before: TableSchema, { table, change }: SchemaChange): Promise<'applied'> {
    await this.#open().appendFile(json({ op: 'alter', table: tableName(table), change }))
    return 'applied'
  }

  async writeBatch(batch: RecordBatch): Promise<WriteResult> {
    const lines = Array.from(batch, toLine).filter((line) => line !== null)
    await this.#open().appendFile(lines.join(''))
    this.#written = batch.position ?? this.#written
    return { durable: null }
  }

  override async flush(): Promise<WriteResult> {
    await this.#open().datasync()
    return { durable: this.#written }
  }

  async disconnect(): Promise<void> {
    const file = this.#file
    this.#file = null
    await file?.close()
  }

  #open(): FileHandle {
    if (this.#file !== null) return this.#file
    throw new NotConnectedError('jsonl/not-connected', 'the file was used before it was opened')
  }
}

/** The line of a record; null for what is not a change of rows. The key of an update may differ from the old one. */
function toLine(record: CdcRecord): string | null {
  switch (record._tag) {
    case 'Insert':
      return json({ op: 'insert', ...named(record.after), row: record.after.toObject() })
    case 'Update':
      return json({
        op: 'update',
        ...named(record.after),
        row: record.after.toObject(),
        oldKey: record.before === null ? undefined : named(record.before).key,
      })
    case 'Delete':
      return json({ op: 'delete', ...named(record.before) })
    case 'SchemaChange':
    case 'Begin':
    case 'Commit':
    case 'Heartbeat':
      return null
  }
}

/** Which row it is. */
function named(row: RowView) {
  return { table: tableName(row.table), key: row.table.key.map((column) => row.value(column)) }
}

/** What JSON has no form for is written as text. Cells that did not change are left out. */
function json(value: unknown): string {
  const text = JSON.stringify(value, (_key, cell: unknown) => {
    if (cell === UNCHANGED) return undefined
    if (cell instanceof Uint8Array) return `\\x${Buffer.from(cell).toString('hex')}`
    if (typeof cell === 'bigint') return cell.toString()
    // JSON has no integers beyond 2^53, no NaN and no infinities, and no negative zero.
    if (Object.is(cell, -0)) return '-0'
    return typeof cell === 'number' && !Number.isFinite(cell) ? String(cell) : cell
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
