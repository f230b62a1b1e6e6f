/** PostgreSQL as a source: wiring only. */
import type pg from 'pg'
import { RecordBatch } from '../../../core/batch.ts'
import { NotConnectedError, type Problem } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import {
  type BatchWriter,
  handOver,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from '../../../core/source.ts'
import type { TableSchema } from '../../../core/table.ts'
import { CatchUp } from './catch-up.ts'
import {
  type CatalogTable,
  readPublication,
  readServer,
  readSlot,
  currentTables,
  readTables,
  readTypes,
  type Server,
  storedTable,
} from './catalog.ts'
import { CatalogWatch } from './catalog-watch.ts'
import { check } from './check.ts'
import { defaultUnits, type PostgresConfig, type Units } from './config.ts'
import { postgresError } from './errors.ts'
import { Follower } from './follower.ts'
import { copyStep, formatLsn, parseLsn, positionAt, readResume, withoutTables } from './position.ts'
import { CAPABILITIES } from './capabilities.ts'
import { applicationName, namesOf } from './names.ts'
import { PostgresReader } from './reader.ts'
import { openClient } from './session.ts'
import {
  createPublication,
  createSlot,
  refuseLost,
  requireCluster,
  requirePublication,
  requireSlot,
} from './slot.ts'
import { SnapshotCopy } from './snapshot.ts'
import { ReplicationStream } from './stream.ts'
import { goneTables, needsCopy, stillPublished, type Tables } from './tables.ts'

interface Connected {
  readonly context: SourceContext
  readonly sql: pg.Client
  readonly server: Server
  readonly system: string
}

export class PostgresSource extends Source {
  readonly type = 'postgres'
  readonly #config: PostgresConfig
  readonly #units: Units
  #connected: Connected | null = null
  #stream: ReplicationStream | null = null
  #copy: SnapshotCopy | null = null
  #position: SourcePosition | null = null
  /** Tables that were copied at this place of the log, also by earlier runs: keeps the order of positions rising. */
  #copyStep = 0
  /** Durable and stored, see `checkpoint`. */
  #durable = 0n
  readonly #clients = new Set<pg.Client>()

  constructor(config: PostgresConfig, units: Partial<Units> = {}) {
    super()
    this.#config = config
    this.#units = { ...defaultUnits, ...units }
  }

  override capabilities(): SourceCapabilities {
    return CAPABILITIES
  }

  override async validate(context: SourceContext): Promise<readonly Problem[]> {
    const sql = await this.#open(context)
    try {
      const { tables: selection, oldImages = null } = context
      return await check({ sql, ...namesOf(this.#config, context), selection, oldImages })
    } catch (error) {
      throw postgresError(error, 'check the server')
    } finally {
      await this.#close(sql)
    }
  }

  override async connect(context: SourceContext): Promise<void> {
    const sql = await this.#open(context)
    try {
      const server = await readServer(sql)
      this.#connected = { context, sql, server, system: await this.#systemIdentifier(context) }
    } catch (error) {
      throw postgresError(error, 'read the state of the server')
    }
  }

  override async discover(): Promise<readonly TableSchema[]> {
    const { sql, server, context } = this.#require()
    const { publication } = namesOf(this.#config, context)
    try {
      const exists = (await readPublication(sql, publication)) !== null
      const query = {
        publication: exists ? publication : null,
        selection: context.tables,
        serverVersion: server.version,
      }
      const types = await readTypes(sql)
      return (await currentTables(sql, query)).map((table) => storedTable(table, types, null).schema)
    } catch (error) {
      throw postgresError(error, 'read the catalog')
    }
  }

  override async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    try {
      await this.#run(this.#tracking(out), from)
    } catch (error) {
      throw postgresError(error, 'replicate')
    }
  }

  async #run(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    const { sql, system, context } = this.#require()
    const { slot, publication } = namesOf(this.#config, context)
    let lsn: bigint | null = null
    let tables: Tables = {}
    if (from === null) {
      await this.#makePublication()
      refuseLost(slot, (await readSlot(sql, slot))?.walStatus ?? null)
    } else {
      const resume = readResume(from)
      requireCluster(resume.system, system)
      lsn = parseLsn(resume.lsn)
      await requireSlot(sql, slot, lsn)
      await requirePublication(sql, publication)
      tables = resume.tables
      this.#copyStep = copyStep(from)
      this.#position = from
      this.#durable = lsn
    }
    for (let first = from !== null; !out.signal.aborted; first = false) {
      const published = await this.#publishedTables()
      const gone = goneTables(tables, published)
      // Without the publication everything seems gone.
      if (gone.length > 0) await requirePublication(sql, publication)
      for (const { schema } of gone) await out.write(RecordBatch.ofTable('drop-table', schema, 'stream'))
      tables = stillPublished(tables, published)
      const known = first ? Object.values(tables) : []
      for (const { schema } of known) await out.write(RecordBatch.ofTable('create-table', schema, 'stream'))
      if (lsn === null || needsCopy(tables, published)) {
        const copied: { lsn: bigint; tables: Tables } = await this.#copyTables(out, lsn, tables)
        lsn = copied.lsn
        tables = copied.tables
      }
      if (out.signal.aborted) return
      const reached: { lsn: bigint; tables: Tables } = await this.#follow(out, lsn, tables)
      lsn = reached.lsn
      tables = reached.tables
    }
  }

  override async checkpoint(position: SourcePosition): Promise<void> {
    this.#durable = parseLsn(readResume(position).lsn)
    this.#stream?.confirm(this.#durable)
  }

  override currentPosition(): SourcePosition | null {
    return this.#position
  }

  override async headPosition(): Promise<SourcePosition | null> {
    const { sql, system } = this.#require()
    try {
      const { rows } = await sql.query<{ lsn: string }>('SELECT pg_current_wal_flush_lsn()::text AS lsn')
      return positionAt(rows[0]!.lsn, system)
    } catch (error) {
      throw postgresError(error, 'read the end of the WAL')
    }
  }

  override snapshotProgress(): SnapshotProgress | null {
    return this.#copy?.progress ?? null
  }

  override async disconnect(): Promise<void> {
    const stream = this.#stream
    this.#stream = null
    this.#connected = null
    // The replication connection first: the server's shutdown waits for it.
    await stream?.close()
    await Promise.all([...this.#clients].map((client) => this.#close(client)))
  }

  /** Drops the slot, and the publication when it has the derived name. */
  override async teardown(): Promise<void> {
    const { sql, context } = this.#require()
    const { slot, publication } = namesOf(this.#config, context)
    try {
      if ((await readSlot(sql, slot)) !== null) await sql.query('SELECT pg_drop_replication_slot($1)', [slot])
      if (this.#config.publication === undefined)
        await sql.query(`DROP PUBLICATION IF EXISTS "${publication}"`)
    } catch (error) {
      throw postgresError(error, 'remove the replication slot and the publication')
    }
  }

  override openReader(context: SourceContext): Promise<PostgresReader> {
    return PostgresReader.open(this.#config, context, this.#units.pagesPerKeyRange)
  }

  override copyAgain(position: SourcePosition, tables: readonly string[]): SourcePosition {
    return withoutTables(position, tables)
  }

  /** Copies what is not copied yet; at the first start that is everything, and gives the LSN to stream from. */
  async #copyTables(
    out: BatchWriter,
    lsn: bigint | null,
    known: Tables,
  ): Promise<{ lsn: bigint; tables: Tables }> {
    const { context, sql, server, system } = this.#require()
    const { slot, publication } = namesOf(this.#config, context)
    const replication = await this.#open(context, true)
    // The making of a slot waits for open transactions, perhaps for long.
    const abort = (): void => void this.#close(replication)
    out.signal.addEventListener('abort', abort, { once: true })
    try {
      // A slot's snapshot is to be had only when the slot is made: with an existing one, a temporary slot gives it.
      const temporary = (await readSlot(sql, slot)) !== null
      const name = temporary ? `${slot.slice(0, 50)}_copy_${process.pid}` : slot
      const snapshot = await createSlot(replication, name, {
        temporary,
        lockTimeoutMs: this.#config.lockTimeout,
      })
      const streamFrom = lsn ?? snapshot.lsn
      context.log.info('copy started', { snapshot: formatLsn(snapshot.lsn), slot })
      this.#copy = new SnapshotCopy({
        replication,
        snapshot,
        publication,
        selection: context.tables,
        serverVersion: server.version,
        system,
        streamFrom,
        known,
        workers: this.#config.copyWorkers,
        ...this.#units,
        nextStep: () => ++this.#copyStep,
        open: () => this.#open(context),
        out,
        now: context.now,
      })
      const tables = await this.#copy.run()
      if (!out.signal.aborted) {
        context.log.info('copy finished', {
          rows: this.#copy.progress.rowsCopied,
          tables: this.#copy.progress.tablesDone,
        })
      }
      return { lsn: streamFrom, tables }
    } catch (error) {
      if (!out.signal.aborted) throw error
      return { lsn: lsn ?? 0n, tables: known }
    } finally {
      out.signal.removeEventListener('abort', abort)
      await this.#close(replication)
    }
  }

  /** Streams until stopped or until a table has to be copied; a long backlog is read through SQL first. */
  async #follow(out: BatchWriter, from: bigint, tables: Tables): Promise<{ lsn: bigint; tables: Tables }> {
    const { context, sql, server, system } = this.#require()
    const { slot, publication } = namesOf(this.#config, context)
    const types = await readTypes(sql)
    const request = {
      sql,
      publication,
      selection: context.tables,
      serverVersion: server.version,
      system,
      from,
      tables,
      types,
      out,
    }
    const follower = new Follower(request)
    const reached = () => ({ lsn: follower.reached, tables: follower.tables })
    if (this.#config.catchUp === 'auto') await this.#catchUp(follower, out, from)
    if (out.signal.aborted || follower.copyNeeded) return reached()
    const stream = new ReplicationStream({
      url: this.#config.url.reveal(),
      applicationName: applicationName(context),
      slot,
      publication,
      from: follower.reached,
      durable: this.#durable,
      heartbeatMs: this.#config.heartbeat,
      owesWhole: this.#position === null || this.#position.partial === true,
      schemaPollMs: this.#config.schemaPoll,
      watch: new CatalogWatch({ sql, publication, selection: context.tables, serverVersion: server.version }),
      walSenderTimeoutMs: server.walSenderTimeoutMs,
      follower,
      out,
      now: context.now,
    })
    this.#stream = stream
    context.log.info('streaming', { slot, from: formatLsn(follower.reached) })
    await stream.run()
    if (!out.signal.aborted) {
      this.#stream = null
      await stream.close()
    }
    return reached()
  }

  async #catchUp(follower: Follower, out: BatchWriter, from: bigint): Promise<void> {
    const { context, sql } = this.#require()
    const { slot, publication } = namesOf(this.#config, context)
    const head = parseLsn(readResume((await this.headPosition())!).lsn)
    if (head - from < BigInt(this.#config.catchUpThreshold)) return
    context.log.info('catching up', { bytes: Number(head - from), from: formatLsn(from) })
    const server = await readServer(sql)
    if (server.freeSlots < 1) {
      context.log.warn('no replication slot is free for catching up quickly; streaming instead')
      return
    }
    const client = await this.#open(context)
    try {
      const copyName = `${slot.slice(0, 50)}_catchup_${process.pid}`
      const copy = { slot, copyName, publication, ...this.#units }
      await new CatchUp({ sql: client, ...copy, follower, out }).run(head)
    } finally {
      await this.#close(client)
    }
  }

  /** Those that are selected. */
  #publishedTables(): Promise<readonly CatalogTable[]> {
    const { context, sql, server } = this.#require()
    const { publication } = namesOf(this.#config, context)
    return currentTables(sql, { publication, selection: context.tables, serverVersion: server.version })
  }

  async #makePublication(): Promise<void> {
    const { context, sql, server } = this.#require()
    const { publication } = namesOf(this.#config, context)
    if ((await readPublication(sql, publication)) !== null) return
    const tables = await readTables(sql, {
      publication: null,
      selection: context.tables,
      serverVersion: server.version,
    })
    await createPublication(sql, publication, tables)
    context.log.info('publication created', { publication, tables: tables.length })
  }

  async #systemIdentifier(context: SourceContext): Promise<string> {
    const replication = await this.#open(context, true)
    try {
      const { rows } = await replication.query<{ systemid: string }>('IDENTIFY_SYSTEM')
      return rows[0]!.systemid
    } finally {
      await this.#close(replication)
    }
  }

  /** Notes the positions that pass. Neither does a held write keep the source from stopping, nor does any pass then. */
  #tracking(out: BatchWriter): BatchWriter {
    return {
      signal: out.signal,
      write: (batch) => {
        if (out.signal.aborted) return
        if (batch.position !== null) this.#position = batch.position
        return handOver(out, batch)
      },
    }
  }

  async #open(context: SourceContext, replication = false): Promise<pg.Client> {
    const client = await openClient(this.#config.url.reveal(), applicationName(context), replication)
    this.#clients.add(client)
    return client
  }

  async #close(client: pg.Client): Promise<void> {
    this.#clients.delete(client)
    await client.end().catch(() => {})
  }

  #require(): Connected {
    if (this.#connected === null)
      throw new NotConnectedError('postgres/not-connected', 'the source is not connected')
    return this.#connected
  }
}
