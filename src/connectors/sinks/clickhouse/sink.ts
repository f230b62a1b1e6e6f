import { randomBytes } from 'node:crypto'
import type { RecordBatch } from '../../../core/batch.ts'
import { NotConnectedError, type Problem } from '../../../core/error.ts'
import type { SchemaChange } from '../../../core/record.ts'
import {
  Sink,
  type SinkCapabilities,
  type SinkContext,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from '../../../core/sink.ts'
import type { TableSchema } from '../../../core/table.ts'
import { BatchEncoder } from './batch-encoder.ts'
import { checkServer, timestampRange } from './check.ts'
import type { ClickHouseConfig } from './config.ts'
import { quoteName } from './ddl.ts'
import { PartialRows } from './partial-rows.ts'
import { ClickHouseReader } from './reader.ts'
import { Session } from './session.ts'
import { Tables } from './tables.ts'
import { Writer } from './writer.ts'

/** What exists while the sink is connected. */
interface Connected {
  readonly session: Session
  readonly tables: Tables
  readonly writer: Writer
  readonly encoder: BatchEncoder
}

/** Keeps ClickHouse tables equal to source tables. See the README for what it promises. */
export class ClickHouseSink extends Sink {
  readonly type = 'clickhouse'
  readonly #config: ClickHouseConfig
  #connected: Connected | null = null

  constructor(config: ClickHouseConfig) {
    super()
    this.#config = config
  }

  capabilities(): SinkCapabilities {
    return {
      replay: 'idempotent-upsert',
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
      keepsNewestVersion: true,
      flushIntervalMs: this.#config.flushInterval,
    }
  }

  async validate(_context: SinkContext): Promise<readonly Problem[]> {
    const session = new Session(this.#config)
    try {
      return await checkServer(session, this.#config)
    } finally {
      await session.close()
    }
  }

  async connect(context: SinkContext): Promise<SinkResume> {
    await this.disconnect()
    const config = this.#config
    const session = new Session(config)
    try {
      if (config.createDatabase) {
        await session.run(
          `CREATE DATABASE IF NOT EXISTS ${quoteName(config.database)}`,
          'create the database',
        )
      }
      const tables = new Tables(session, config, context, await timestampRange(session))
      const partialRows = new PartialRows(session, config.flushBytes)
      const writer = new Writer(session, partialRows, {
        flushBytes: config.flushBytes,
        flushRows: config.flushRows,
        // Random, since a token that an earlier run used would make the server drop rows without an error.
        tokenPrefix: `${context.pipeline}-${context.run}-${randomBytes(6).toString('hex')}`,
      })
      const encoder = new BatchEncoder(writer, partialRows, (table) => tables.target(table))
      this.#connected = { session, tables, writer, encoder }
    } catch (error) {
      await session.close()
      throw error
    }
    return { position: null }
  }

  async createTable(schema: TableSchema): Promise<void> {
    await this.#open().tables.bring(schema, null)
  }

  override async attachTable(schema: TableSchema): Promise<void> {
    await this.#open().tables.attach(schema)
  }

  async alterTable(_before: TableSchema, change: SchemaChange): Promise<'applied'> {
    const { tables } = this.#open()
    // Nothing on a server is removed (law L4): the table stays as it is, until one of its name comes.
    if (change.change.kind === 'drop-table') return 'applied'
    if (change.change.kind === 'truncate') await tables.truncate(change.table)
    else await tables.bring(change.table, change.change.kind === 'create-table' ? null : change.change)
    return 'applied'
  }

  async writeBatch(batch: RecordBatch, { signal }: WriteContext): Promise<WriteResult> {
    const { writer, encoder } = this.#open()
    await writer.recover(signal)
    await encoder.take(batch, signal)
    writer.accept(batch.position)
    return { durable: writer.durable }
  }

  override async flush({ signal }: WriteContext): Promise<WriteResult> {
    const { writer } = this.#open()
    await writer.seal(true, signal)
    await writer.finish(signal)
    return { durable: writer.durable }
  }

  override openReader(context: SinkContext): Promise<ClickHouseReader> {
    return ClickHouseReader.open(this.#config, context)
  }

  async disconnect(): Promise<void> {
    const connected = this.#connected
    this.#connected = null
    await connected?.session.close()
  }

  #open(): Connected {
    if (this.#connected !== null) return this.#connected
    throw new NotConnectedError(
      'clickhouse/not-connected',
      'the ClickHouse sink was used before it was connected',
    )
  }
}
