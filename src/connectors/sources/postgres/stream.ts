/**
 * The replication connection. `pg-logical-replication` connects, authenticates and starts the stream; the socket is
 * then read by `wire.ts`, and status updates are our own (the package acknowledges one byte too far, and what was
 * received instead of what is durable).
 */
import type pg from 'pg'
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import { RecordBatch } from '../../../core/batch.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { BatchWriter } from '../../../core/source.ts'
import { identifier, literal } from './catalog.ts'
import { postgresError } from './errors.ts'
import type { CatalogWatch } from './catalog-watch.ts'
import { Feedback } from './feedback.ts'
import type { Follower } from './follower.ts'
import { formatLsn } from './position.ts'
import { clientConfig } from './session.ts'
import { type FrameConsumer, Stop } from './frames.ts'
import { WireReader } from './wire.ts'

const XLOG_DATA = 0x77
const KEEPALIVE = 0x6b
/** XLogData: type, start, end, clock; then the message. */
const XLOG_HEADER = 25
const POSTGRES_EPOCH_MS = 946_684_800_000
/** How often it is looked whether the log has reached the place that a copy was taken at, in milliseconds. */
const WHOLE_CHECK_MS = 50

export interface StreamRequest {
  readonly url: string
  readonly applicationName: string
  readonly slot: string
  readonly publication: string
  readonly from: bigint
  /** What was durable when the stream started; the slot may forget up to here. */
  readonly durable: bigint
  readonly heartbeatMs: number
  /** The last position was partial, or there is none: one that is not shall not wait for the next heartbeat. */
  readonly owesWhole: boolean
  readonly schemaPollMs: number
  readonly watch: CatalogWatch
  readonly walSenderTimeoutMs: number
  readonly follower: Follower
  readonly out: BatchWriter
  readonly now: () => number
}

export class ReplicationStream implements FrameConsumer {
  readonly #request: StreamRequest
  readonly #follower: Follower
  readonly #service: LogicalReplicationService
  #reader: WireReader | null = null
  #feedback: Feedback | null = null
  readonly #timers: NodeJS.Timeout[] = []
  #polling = false
  /** The last heartbeat waits for room. */
  #heartbeatHeld = false
  #closed = false
  /** End of the WAL that the server has looked at, and its clock then. */
  #walEnd = 0n
  #walClockMs = 0
  #told: bigint
  #owesWhole: boolean
  /** Ends `run` normally. */
  #finish: () => void = () => {}

  constructor(request: StreamRequest) {
    this.#request = request
    this.#follower = request.follower
    this.#told = request.from
    this.#owesWhole = request.owesWhole
    this.#service = new LogicalReplicationService(clientConfig(request.url, request.applicationName), {
      acknowledge: { auto: false, timeoutSeconds: 0 },
      flowControl: { enabled: false },
    })
  }

  /** Resolves when `out.signal` is aborted or a table has to be copied; the connection stays open until `close`. */
  async run(): Promise<void> {
    const { slot, from, out } = this.#request
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve
    })
    const failed = new Promise<never>((_, reject) => this.#service.on('error', reject))
    failed.catch(() => {})
    out.signal.addEventListener('abort', this.#finish, { once: true })
    const started = this.#service.subscribe(
      new ArenaPlugin(this.#request.publication, (client) => this.#start(client)),
      slot,
      formatLsn(from),
    )
    setImmediate(() => listenForErrors(this.#service))
    const ended = started.then(() => {
      throw new Error('Connection terminated by the server')
    })
    ended.catch(() => {})
    try {
      if (out.signal.aborted) return
      await Promise.race([finished, failed, ended, this.#readerFailure()])
    } catch (error) {
      throw postgresError(error, `stream from the replication slot "${slot}"`)
    } finally {
      out.signal.removeEventListener('abort', this.#finish)
      for (const timer of this.#timers) clearInterval(timer)
      this.#reader?.stop()
    }
  }

  /** Everything before `lsn` is durable and stored. */
  confirm(lsn: bigint): void {
    this.#feedback?.flushed(lsn)
  }

  /** Ends the connection. The slot stays. */
  async close(): Promise<void> {
    this.#closed = true
    this.#feedback?.stop()
    this.#reader?.discard()
    await this.#service.destroy().catch(() => {})
  }

  get hasRows(): boolean {
    return this.#follower.decoder.hasRows
  }

  copyData(arena: Arena, start: number, end: number): Stop {
    const kind = arena[start]
    if (kind === XLOG_DATA) {
      const stop = this.#follower.decoder.message(arena, start + XLOG_HEADER, end)
      if (stop !== Stop.no) return stop
      return this.#follower.copyNeeded && !this.#follower.decoder.inTransaction ? Stop.after : Stop.no
    }
    if (kind === KEEPALIVE) this.#keepalive(arena, start)
    return Stop.no
  }

  take(arena: Arena): RecordBatch {
    const batch = this.#follower.take(arena)
    if (batch.position !== null) this.#tell(this.#follower.decoder.lastCommit)
    return batch
  }

  async attend(): Promise<void> {
    await this.#follower.attend()
    if (this.#follower.copyNeeded && !this.#follower.decoder.inTransaction) this.#finish()
  }

  #start(client: pg.Client): void {
    const { durable, walSenderTimeoutMs, heartbeatMs, schemaPollMs, now, out } = this.#request
    // Stopped while it was connecting.
    if (this.#closed || out.signal.aborted) throw new Error('Connection terminated')
    this.#reader = new WireReader(client, this, this.#request.out)
    this.#reader.failure.catch((error: unknown) => this.#failReader(error))
    const interval =
      walSenderTimeoutMs === 0 ? 10_000 : Math.min(10_000, Math.max(100, walSenderTimeoutMs / 4))
    this.#feedback = new Feedback(client, durable, interval, now)
    this.#timers.push(
      setInterval(() => this.#beat(), heartbeatMs),
      setInterval(() => this.#poll(), schemaPollMs),
    )
    if (this.#owesWhole) this.#timers.push(setInterval(() => this.#beatWhole(), WHOLE_CHECK_MS))
    this.#poll()
  }

  #failReader: (error: unknown) => void = () => {}

  /** Rejects when decoding or the channel fails; the reader exists only once the stream has started. */
  #readerFailure(): Promise<never> {
    return new Promise((_, reject) => {
      this.#failReader = reject
    })
  }

  /** Primary keepalive: end of WAL, clock, and whether an answer is wanted at once. */
  #keepalive(arena: Arena, at: number): void {
    this.#walEnd = (arena as Buffer).readBigUInt64BE(at + 1)
    this.#walClockMs = POSTGRES_EPOCH_MS + Math.floor(Number((arena as Buffer).readBigInt64BE(at + 9)) / 1000)
    this.#feedback?.received(this.#walEnd)
    if (arena[at + 17] === 1) this.#feedback?.send()
  }

  #poll(): void {
    if (this.#polling) return
    this.#polling = true
    this.#request.watch
      .poll(() => this.#follower.tables)
      .catch((error: unknown) => this.#failReader(error))
      .finally(() => (this.#polling = false))
  }

  /**
   * The log moved without rows of ours: lets the position move too, or idle tables would hold all WAL. Everything
   * that the server sent before the keepalive has been handed over when nothing is decoded and no transaction is open.
   */
  #beat(): void {
    const decoder = this.#follower.decoder
    if (this.#heartbeatHeld || this.#reader?.drained !== true) return
    if (decoder.inTransaction || this.#follower.copyNeeded) return
    const lsn = this.#walEnd > decoder.lastCommit ? this.#walEnd : decoder.lastCommit
    const due = this.#request.watch.due(lsn, this.#follower.tables)
    if (due !== null) {
      this.#reader.between(async () => {
        await this.#follower.applyCatalog(due)
        if (this.#follower.copyNeeded) this.#finish()
      })
      return
    }
    if (lsn <= this.#told) return
    this.#tell(lsn)
    this.#follower.idleAt = lsn
    const heartbeat = {
      _tag: 'Heartbeat',
      position: this.#follower.positionAt(lsn),
      timeMs: this.#walClockMs,
    } as const
    // Rows need not wait for room after it, as a heartbeat holds next to nothing; the next heartbeat does.
    const room = this.#hand(RecordBatch.ofHeartbeat(heartbeat))
    if (room === undefined) return
    this.#heartbeatHeld = true
    room.then(
      () => (this.#heartbeatHeld = false),
      (error: unknown) => this.#failReader(error),
    )
  }

  /** A heartbeat ahead of time, once after a copy: as soon as the log is where the tables are whole. */
  #beatWhole(): void {
    if (this.#owesWhole && this.#follower.isWholeAt(this.#walEnd)) this.#beat()
  }

  /** A position is handed over. */
  #tell(lsn: bigint): void {
    this.#told = lsn
    if (this.#owesWhole) this.#owesWhole = !this.#follower.isWholeAt(lsn)
  }

  /** A closed channel throws, which would end the process in a timer. */
  #hand(batch: RecordBatch): void | Promise<void> {
    try {
      return this.#request.out.write(batch)
    } catch (error) {
      this.#failReader(error)
    }
  }
}

/**
 * The package makes its client soon after `subscribe` and listens for errors only once it is connected. When the server
 * ends the connection in that very moment, nobody would listen, which ends the process. The query reports the error.
 */
function listenForErrors(service: LogicalReplicationService): void {
  const { _client: client } = service as unknown as { readonly _client: pg.Client | null }
  client?.on('error', () => {})
}

/** Starts the stream and gives the connection away before its first byte. */
class ArenaPlugin extends PgoutputPlugin {
  readonly #publication: string
  readonly #onStart: (client: pg.Client) => void

  constructor(publication: string, onStart: (client: pg.Client) => void) {
    super({ protoVersion: 1, publicationNames: [publication] })
    this.#publication = publication
    this.#onStart = onStart
  }

  override start(client: pg.Client, slot: string, lsn: string): Promise<unknown> {
    this.#onStart(client)
    // publication_names is a list of identifiers inside a string constant.
    const names = literal(identifier(this.#publication))
    return client.query(
      `START_REPLICATION SLOT ${identifier(slot)} LOGICAL ${lsn} (proto_version '1', publication_names ${names})`,
    )
  }
}
