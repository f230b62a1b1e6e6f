/** Rocicorp Zero as a sink: wiring only. */
import type { RecordBatch } from '../../../core/batch.ts'
import { NotConnectedError, PoisonRecordError, type Problem, toCoreError } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { Heartbeat, SchemaChange } from '../../../core/record.ts'
import {
  Sink,
  type SinkCapabilities,
  type SinkContext,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from '../../../core/sink.ts'
import { SCHEMA_CHANGES, tableName, type TableSchema } from '../../../core/table.ts'
import type { Catalog } from './catalog.ts'
import type { ChangeLog } from './change-log.ts'
import type { ZeroConfig } from './config.ts'
import { checkEdge } from './edge.ts'
import type { ChunkItem, TableChange } from './log-messages.ts'
import { loadWanted, tableProblems } from './options.ts'
import { PermissionsFile } from './permissions.ts'
import type { RecordWriter } from './record-writer.ts'
import { Service } from './service.ts'
import { WriteQueue } from './write-queue.ts'

/** zero-cache takes no message beyond 100 MiB. */
const MAX_ROW_BYTES = 64 * 1024 * 1024
const FLUSH_INTERVAL_MS = 250

interface Connected {
  readonly context: SinkContext
  readonly service: Service
  readonly log: ChangeLog
  readonly catalog: Catalog
  readonly queue: WriteQueue
}

export class ZeroWebSocketSink extends Sink {
  readonly type = 'zero'
  readonly #config: ZeroConfig
  #connected: Connected | null = null
  /** Order of the last position that was accepted. */
  #order: string | null = null
  /** While a replay goes on: the order of what there was before. */
  #replayUntil: string | null = null
  /** A position has come since the start: a copy now is one of some tables, not the first of all. */
  #isPlaced = false
  /** Tables that the source does not know any more are still to be removed. */
  #isSwept = false

  constructor(config: ZeroConfig) {
    super()
    this.#config = config
  }

  /** Where subscribers connect to, while connected. */
  get address(): { readonly host: string; readonly port: number } | null {
    const listener = this.#connected?.service.listener
    return listener === undefined ? null : { host: this.#config.host, port: listener.port }
  }

  override capabilities(): SinkCapabilities {
    return {
      replay: 'transactional-position',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: SCHEMA_CHANGES.filter((kind) => kind !== 'truncate'),
      keepsNewestVersion: false,
      flushIntervalMs: FLUSH_INTERVAL_MS,
    }
  }

  /** Files and addresses that the options name, and who may connect. */
  override async validate({ log, now }: SinkContext): Promise<readonly Problem[]> {
    const config = this.#config
    const wanted = loadWanted(config, now)
    const permissions =
      typeof config.permissions === 'string' ? null : new PermissionsFile(config.permissions.file).changed()
    const answers = await Promise.allSettled([wanted, permissions, checkEdge(config, log, now)])
    const failures = answers.flatMap((answer) =>
      answer.status === 'rejected' ? [toCoreError(answer.reason)] : [],
    )
    const retryable = failures.find((failure) => failure.retryable)
    if (retryable !== undefined && failures.length === 1) throw retryable
    return failures.map(({ code, message, fix = 'See the log.' }) => ({
      severity: 'error',
      code,
      message,
      fix,
    }))
  }

  override async checkTables(
    tables: readonly TableSchema[],
    { now }: SinkContext,
  ): Promise<readonly Problem[]> {
    return tableProblems(this.#config, await loadWanted(this.#config, now), tables)
  }

  override async connect(context: SinkContext): Promise<SinkResume> {
    const service = await Service.open(this.#config, context)
    const { log } = service
    try {
      const position = log.position()
      this.#connected = {
        context,
        service,
        log,
        catalog: service.catalog(context),
        queue: new WriteQueue(log, position),
      }
      this.#order = position?.order ?? null
      const { earlier, head } = log.opened
      // A log that has published something has what those of the earlier server lack.
      if (earlier === null || head > 0) return { position }
      context.log.warn('subscribers of zero-sources are to go on: the log of the source is replayed', {
        from: new Date(earlier.sinceMs).toISOString(),
        fix: 'If it does not reach back so far, set `earlier: { watermarks: forget }` (WATERMARK_IMPORT=forget): they begin anew.',
      })
      return position === null ? { position, replayFrom: earlier.sinceMs } : { position }
    } catch (error) {
      await service[Symbol.asyncDispose]()
      throw error
    }
  }

  override async createTable(schema: TableSchema): Promise<void> {
    const { catalog } = this.#require()
    await this.#tell(schema, catalog.announce(schema), false)
  }

  override async alterTable(_before: TableSchema, change: SchemaChange): Promise<'applied' | 'unsupported'> {
    const { catalog } = this.#require()
    const isCopy = change.origin === 'snapshot'
    if (!isCopy) await this.#settle()
    await this.#tell(change.table, catalog.change(change), isCopy && !this.#isPlaced)
    return 'applied'
  }

  override async writeBatch(batch: RecordBatch, _context: WriteContext): Promise<WriteResult> {
    const { queue, service, catalog } = this.#require()
    service.upkeep.refuseWhenFull()
    const { position, heartbeat } = batch
    if (heartbeat !== null && this.#order !== null && heartbeat.position.order < this.#order)
      await this.#rewind(heartbeat.position)
    else {
      await this.#settle()
      if (position !== null && position.partial !== true) await this.#sweep()
      if (position !== null && this.#replayUntil !== null && position.order >= this.#replayUntil) {
        catalog.endReplay()
        this.#replayUntil = null
      }
      await queue.add((records, items) =>
        heartbeat === null ? this.#encode(batch, records, items) : this.#beat(heartbeat, records, items),
      )
    }
    if (position !== null) {
      this.#order = position.order
      this.#isPlaced = true
    }
    return { durable: queue.durable }
  }

  override async flush(): Promise<WriteResult> {
    const { queue } = this.#require()
    await queue.drain()
    return { durable: queue.durable }
  }

  override async disconnect(): Promise<void> {
    const connected = this.#connected
    this.#connected = null
    if (connected === null) return
    // Between two attempts subscribers go on with what there is.
    await connected.service.leave(connected.context)
  }

  /** Rows into records; an item of the chunk per transaction. */
  #encode(batch: RecordBatch, records: RecordWriter, items: ChunkItem[]): RecordBatch['position'] {
    const { catalog } = this.#require()
    const { rows, origin, spans, position } = batch
    if (rows === null) return position
    const encoders = batch.tables.map((table) => catalog.encoder(table))
    for (const span of spans) {
      for (let row = span.firstRow; row < span.endRow; row++) {
        const encoder = encoders[rows.tableOf[row]!]!
        if (encoder === null) continue
        const { at } = records
        encoder.write(rows, row, records)
        if (records.at - at > MAX_ROW_BYTES) throw tooLarge(batch.tableOf(row))
      }
      const last = span.position !== null && span.position === position
      const commit =
        span.position === null
          ? null
          : {
              timeMs: span.commitTimeMs,
              // Formatting one per transaction is not free, and only the last is ever asked for.
              order: last ? span.position.order : '',
              partial: span.position.partial === true,
            }
      items.push({ end: records.at, origin, commit })
    }
    return position
  }

  #beat({ position, timeMs }: Heartbeat, records: RecordWriter, items: ChunkItem[]): SourcePosition {
    const commit = { timeMs, order: position.order, partial: position.partial === true }
    items.push({ end: records.at, origin: 'stream', commit })
    return position
  }

  /** What follows is a replay: nothing of it is published before it has reached what there was. */
  async #rewind(position: SourcePosition): Promise<void> {
    const { queue, log, catalog } = this.#require()
    if (this.#replayUntil === null || this.#replayUntil < this.#order!) this.#replayUntil = this.#order
    await queue.drain()
    await log.request({ kind: 'rewind', position: log.positions.write(position) })
    queue.settle(position)
    for (let next = catalog.reintroduce(); next !== null; next = catalog.reintroduce())
      await this.#apply(next.schema, next.change, false)
  }

  /** Makes a change of a table, in the order of the log; without one the table stays as it is. */
  async #tell(schema: TableSchema, change: TableChange | null, forget: boolean): Promise<void> {
    const { queue, catalog, service } = this.#require()
    await queue.drain()
    if (change !== null) return this.#apply(schema, change, forget)
    const version = catalog.define(schema)
    if (version !== null) service.publications.define(version)
  }

  async #apply(schema: TableSchema, change: TableChange, forget: boolean): Promise<void> {
    const { queue, log, catalog, service } = this.#require()
    const { publications, permissions } = service
    const answer = await log.request({ kind: 'change', change, forget })
    if (forget) {
      queue.forget()
      this.#order = null
    }
    if (answer.kind !== 'changed') return
    const version = catalog.changed(schema, answer)
    if (answer.table === null) publications.forget(tableName(schema))
    else if (version !== null) publications.define(version)
    if (this.#isSwept) await permissions.tables(catalog.names)
  }

  /** No replay has begun: what waited for that is done. */
  async #settle(): Promise<void> {
    const { catalog } = this.#require()
    for (let next = catalog.takeDeferred(); next !== null; next = catalog.takeDeferred())
      await this.#apply(next.schema, next.change, false)
  }

  /** Once all tables are announced: what the log has besides is gone. */
  async #sweep(): Promise<void> {
    if (this.#isSwept) return
    const { catalog, log, queue, service } = this.#require()
    if (catalog.uncopied !== null) throw catalog.uncopied
    for (const source of catalog.forgotten) {
      await queue.drain()
      await log.request({ kind: 'change', change: { kind: 'drop', source }, forget: false })
      catalog.forget(source)
      service.publications.forget(source)
    }
    this.#isSwept = true
    await service.permissions.tables(catalog.names)
  }

  #require(): Connected {
    if (this.#connected === null)
      throw new NotConnectedError('zero/not-connected', 'the sink is not connected')
    return this.#connected
  }
}

function tooLarge(table: TableSchema): PoisonRecordError {
  const message = `a row of table ${tableName(table)} is larger than ${MAX_ROW_BYTES / 1024 / 1024} MiB, and zero-cache takes no such message`
  return new PoisonRecordError('zero/row-too-large', message, {
    fix: 'Leave large columns out of the publication.',
  })
}
