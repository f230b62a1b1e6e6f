import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as Schema from 'effect/Schema'
import { WebSocket } from 'ws'
import { ClientWatermarks } from '../../src/connectors/sinks/zero/client-watermarks.ts'
import { Authenticator } from '../../src/connectors/sinks/zero/auth.ts'
import { ZeroConfig } from '../../src/connectors/sinks/zero/config.ts'
import { Gateway, type GatewayOptions } from '../../src/connectors/sinks/zero/gateway.ts'
import { Listener, type ListenerOptions } from '../../src/connectors/sinks/zero/listener.ts'
import { LogReader } from '../../src/connectors/sinks/zero/log-reader.ts'
import { type PublicationDefinitions, Publications } from '../../src/connectors/sinks/zero/publications.ts'
import { Subscribers } from '../../src/connectors/sinks/zero/subscribers.ts'
import { ZeroWebSocketSink } from '../../src/connectors/sinks/zero/sink.ts'
import { UNCHANGED } from '../../src/core/canonical.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import type { SchemaOperation, TableSchema } from '../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../src/core/value-batch.ts'
import { at } from './batches.ts'
import { type FullLog, fullLog } from './full-log.ts'
import { waitFor } from './wait-for.ts'

/** One message of the gateway. */
export interface Message {
  readonly type: string
  readonly table?: string
  readonly key?: Readonly<Record<string, unknown>>
  readonly row?: Readonly<Record<string, unknown>>
  readonly watermark?: string
  readonly [field: string]: unknown
}

export type Change =
  | {
      readonly kind: 'insert' | 'update'
      readonly table: TableSchema
      readonly row: ValueRow
      readonly before?: ValueRow
    }
  | { readonly kind: 'delete'; readonly table: TableSchema; readonly row: ValueRow }

export const insert = (table: TableSchema, row: ValueRow): Change => ({ kind: 'insert', table, row })
export const update = (table: TableSchema, row: ValueRow, before?: ValueRow): Change => {
  return { kind: 'update', table, row, ...(before !== undefined && { before }) }
}
export const remove = (table: TableSchema, row: ValueRow): Change => ({ kind: 'delete', table, row })

/** What is published so far, as another connection to the file sees it. */
class PublishedLog implements Pick<GatewayOptions['log'], 'head' | 'isWhole' | 'onPublished'> {
  readonly reader: LogReader
  head = 0
  isWhole = false
  readonly #db: DatabaseSync
  readonly #timer: NodeJS.Timeout
  readonly #listeners = new Set<() => void>()

  constructor(path: string) {
    this.reader = new LogReader(path)
    this.#db = new DatabaseSync(path, { readOnly: true })
    const query = this.#db.prepare(`SELECT value FROM meta WHERE name = 'state'`)
    this.#timer = setInterval(() => {
      const stored = query.get() as { readonly value: string } | undefined
      if (stored === undefined) return
      const { head, waiting } = JSON.parse(stored.value) as { head: number; waiting: boolean }
      const isWhole = head > 0 && !waiting
      if (head === this.head && isWhole === this.isWhole) return
      this.head = head
      this.isWhole = isWhole
      for (const listener of this.#listeners) listener()
    }, 2)
  }

  /** Who listens now. */
  get listeners(): number {
    return this.#listeners.size
  }

  onPublished(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    clearInterval(this.#timer)
    this.reader.close()
    this.#db.close()
  }
}

export interface BenchOptions {
  readonly publications?: PublicationDefinitions
  readonly gateway?: Partial<Pick<GatewayOptions, 'stallTimeoutMs' | 'keepAliveMs'>>
  readonly listener?: Partial<ListenerOptions>
  /** Further options of the sink. */
  readonly sink?: Readonly<Record<string, unknown>>
}

/** A Zero sink that is written to by hand, and a gateway on its log with an own port. */
export class GatewayBench implements AsyncDisposable {
  readonly log: FullLog
  readonly published: PublishedLog
  readonly listener: Listener
  readonly #sink: ZeroWebSocketSink
  readonly #folder: string
  #position = 0
  readonly #consumers: GatewayConsumer[] = []

  private constructor(
    sink: ZeroWebSocketSink,
    folder: string,
    log: FullLog,
    published: PublishedLog,
    listener: Listener,
  ) {
    this.#sink = sink
    this.#folder = folder
    this.log = log
    this.published = published
    this.listener = listener
  }

  static async start(options: BenchOptions = {}): Promise<GatewayBench> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-gateway-'))
    const path = join(folder, 'zero.db')
    const log = fullLog()
    const { publications: definitions = {} } = options
    const config = Schema.decodeUnknownSync(ZeroConfig)({
      path,
      port: 0,
      publications: definitions,
      ...options.sink,
    })
    const sink = new ZeroWebSocketSink(config)
    await sink.connect({ pipeline: 'test', log, now: Date.now, run: 1 })
    const published = new PublishedLog(path)
    const publications = new Publications(definitions)
    const timeouts = { stallTimeoutMs: 30_000, keepAliveMs: 15_000, ...options.gateway }
    const { requirePublication } = config
    const gateway = new Gateway({
      log: published,
      publications,
      requirePublication,
      clients: new ClientWatermarks({ log: published, subscribers: new Subscribers([], Date.now) }),
      logger: log,
      ...timeouts,
    })
    const listener = await Listener.open(
      {
        host: '127.0.0.1',
        port: 0,
        tlsPollMs: 1000,
        compression: false,
        maxPayloadBytes: 64 * 1024,
        maxConnections: 2000,
        pingIntervalMs: 30_000,
        handshakeTimeoutMs: 10_000,
        ...options.listener,
      },
      new Authenticator({ tokens: {} }, log, Date.now),
      [gateway.route],
      log,
      Date.now,
    )
    return new GatewayBench(sink, folder, log, published, listener)
  }

  /** A first copy of these tables. */
  async copy(tables: readonly TableSchema[], rows: readonly Change[] = []): Promise<void> {
    for (const table of tables) {
      await this.#sink.createTable(table)
      await this.alter(table, { kind: 'truncate' }, table, 'snapshot')
    }
    const builder = new ValueBatchBuilder('snapshot')
    builder.begin({ id: 'copy', commitTimeMs: null, version: 0n })
    for (const change of rows) if (change.kind === 'insert') builder.insert(change.table, change.row)
    builder.commit(at(++this.#position))
    await this.#sink.writeBatch(builder.take()!, CONTEXT)
    await this.#sink.flush()
    await this.caughtUp()
  }

  /** One transaction. */
  async write(...changes: readonly Change[]): Promise<void> {
    await this.writeAll([changes])
  }

  /** Several transactions in one batch. */
  async writeAll(transactions: readonly (readonly Change[])[]): Promise<void> {
    const builder = new ValueBatchBuilder('stream')
    for (const changes of transactions) {
      const number = ++this.#position
      builder.begin({ id: String(number), commitTimeMs: number * 1000, version: BigInt(number) << 16n })
      for (const change of changes) {
        if (change.kind === 'insert') builder.insert(change.table, change.row)
        else if (change.kind === 'update')
          builder.update(change.table, filled(change.table, change.row), change.before ?? null)
        else builder.delete(change.table, change.row)
      }
      builder.commit({ order: String(number).padStart(8, '0'), resume: number })
    }
    await this.#sink.writeBatch(builder.take()!, CONTEXT)
    await this.#sink.flush()
  }

  /** One transaction that comes in several batches. */
  async writeParts(parts: readonly (readonly Change[])[]): Promise<void> {
    const number = ++this.#position
    const builder = new ValueBatchBuilder('stream')
    builder.begin({ id: String(number), commitTimeMs: number * 1000, version: BigInt(number) << 16n })
    for (const [index, changes] of parts.entries()) {
      for (const change of changes) builder.insert(change.table, change.row)
      if (index === parts.length - 1)
        builder.commit({ order: String(number).padStart(8, '0'), resume: number })
      await this.#sink.writeBatch(builder.take()!, CONTEXT)
    }
    await this.#sink.flush()
  }

  async alter(
    before: TableSchema,
    change: SchemaOperation,
    table = before,
    origin: SchemaChange['origin'] = 'stream',
  ): Promise<void> {
    await this.#sink.alterTable(before, { _tag: 'SchemaChange', before, table, change, origin })
  }

  /** The gateway knows of what was written so far. */
  async caughtUp(): Promise<void> {
    await waitFor('something is published', () => this.published.isWhole)
  }

  /** Connects and asks; `request` null asks for nothing. */
  async consume(request: object | null, query = ''): Promise<GatewayConsumer> {
    const consumer = new GatewayConsumer(`ws://127.0.0.1:${this.listener.port}/v1/changes${query}`)
    this.#consumers.push(consumer)
    await once(consumer.socket, 'open')
    if (request !== null) consumer.socket.send(JSON.stringify(request))
    return consumer
  }

  /** The gateway that the sink opens itself. */
  get address(): { readonly host: string; readonly port: number } {
    return this.#sink.address!
  }

  get url(): string {
    return `http://127.0.0.1:${this.listener.port}/v1/changes`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#consumers) socket.terminate()
    await this.listener.close()
    this.published.close()
    await this.#sink.disconnect()
    rmSync(this.#folder, { recursive: true })
  }
}

/** What is left out of an update is unchanged. */
function filled({ columns }: TableSchema, row: ValueRow): ValueRow {
  return Object.fromEntries(
    columns.map(({ name }) => [name, name in row ? row[name] : UNCHANGED]),
  ) as ValueRow
}

const CONTEXT = { signal: new AbortController().signal, attempt: 1 }

/** A consumer over WebSocket that keeps what it gets. */
export class GatewayConsumer {
  readonly socket: WebSocket
  readonly messages: Message[] = []
  closed: { readonly code: number; readonly reason: string } | null = null

  constructor(url: string) {
    this.socket = new WebSocket(url)
    this.socket.on('error', () => {})
    this.socket.on('message', (data) =>
      this.messages.push(JSON.parse((data as Buffer).toString()) as Message),
    )
    this.socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }))
  }

  /** The last watermark after which it may go on. */
  get watermark(): string | null {
    return this.messages.findLast(({ type }) => MARKS.includes(type))?.watermark ?? null
  }

  async got(type: string, count = 1): Promise<Message[]> {
    const found = () => this.messages.filter((message) => message.type === type)
    await waitFor(`${count} messages of type ${type}`, () => found().length >= count || this.closed !== null)
    return found()
  }

  async end(): Promise<{ readonly code: number; readonly reason: string }> {
    await waitFor('the connection is closed', () => this.closed !== null)
    return this.closed!
  }
}

const MARKS = ['commit', 'snapshot-end', 'watermark']

/** Rows by table and key, after all these messages. */
export function stateOf(messages: readonly Message[]): Record<string, Record<string, unknown>> {
  const tables: Record<string, Record<string, Record<string, unknown>>> = {}
  for (const { type, table, key, row } of messages) {
    if (table === undefined) continue
    const rows = (tables[table] ??= {})
    const id = JSON.stringify(key)
    if (type === 'truncate') tables[table] = {}
    else if (type === 'drop') delete tables[table]
    else if (type === 'delete') delete rows[id]
    else if (type === 'insert') rows[id] = row!
    else if (type === 'update') {
      const next = { ...rows[id], ...row }
      delete rows[id]
      const names = Object.keys(key!)
      rows[JSON.stringify(Object.fromEntries(names.map((name) => [name, next[name]])))] = next
    }
  }
  return tables
}
