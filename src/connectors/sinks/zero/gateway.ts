/** Changes for anybody: JSON over a WebSocket or as server-sent events, from the same log as Zero's. */
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { closeReason } from './close-reason.ts'
import type { ChangeLog } from './change-log.ts'
import type { ClientWatermarks } from './client-watermarks.ts'
import { ChangeView } from './change-view.ts'
import { ConsumerLoop, type LoopOptions } from './consumer-loop.ts'
import {
  BAD_REQUEST,
  Consumer,
  type Piece,
  pieceOf,
  type Place,
  type Surroundings,
  type ViewInUse,
} from './gateway-consumer.ts'
import { EventOutput, type Output, SocketOutput } from './gateway-output.ts'
import { type GatewayRequest, readAcknowledgement, readMessage, readQuery } from './gateway-request.ts'
import type { Route, Visit } from './listener.ts'
import type { Watermark } from './log-messages.ts'
import type { Publications } from './publications.ts'
import type { TableVersion } from './table-version.ts'

const GATEWAY_PATH = '/v1/changes'

export interface GatewayOptions extends LoopOptions {
  readonly log: Pick<ChangeLog, 'head' | 'isWhole' | 'reader' | 'onPublished'>
  readonly publications: Publications
  /** Nobody gets everything: a publication has to be asked for. */
  readonly requirePublication: boolean
  readonly clients: ClientWatermarks
}

interface SharedView extends ViewInUse {
  users: number
}

/** A WebSocket has so long to say what it wants, in milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000
/** Bytes of the log that are one piece of work. */
const READ_BYTES = 128 * 1024
/** Pieces are kept up to so many bytes for those who are at the same place. */
const KEPT_BYTES = 8 * 1024 * 1024
/** Each has a connection to the file, and keeps old pages in it. */
const SNAPSHOTS_AT_ONCE = 4

/** Needs no end of its own: it holds nothing once the connections are closed. */
export class Gateway implements Surroundings {
  readonly log: GatewayOptions['log']
  readonly publications: Publications
  readonly requirePublication: boolean
  readonly clients: ClientWatermarks
  readonly #loop: ConsumerLoop
  readonly #views = new Map<string, SharedView>()
  readonly #pieces = new Map<string, Piece>()
  /** Consumers that take a snapshot, and those that wait until they may. */
  readonly #turns = new Set<Consumer>()
  readonly #queue = new Set<Consumer>()
  #known: { readonly head: Watermark; readonly tables: readonly TableVersion[] } | null = null
  #viewsMade = 0
  #keptBytes = 0
  #leave: (() => void) | null = null

  constructor(options: GatewayOptions) {
    this.log = options.log
    this.publications = options.publications
    this.requirePublication = options.requirePublication
    this.clients = options.clients
    this.#loop = new ConsumerLoop(options)
  }

  get route(): Route {
    return {
      path: GATEWAY_PATH,
      upgrade: (socket, visit, stream) => this.#socket(socket, visit, stream),
      get: (response, visit) => this.#events(response, visit),
    }
  }

  tables(): readonly TableVersion[] {
    const { head, reader } = this.log
    if (this.#known?.head !== head) {
      const snapshot = reader.snapshot()
      this.#known = { head, tables: snapshot.tables.map(({ version }) => version) }
      snapshot.close()
    }
    return this.#known.tables
  }

  pieceAfter({ id, view }: ViewInUse, place: Place): Piece | null {
    const { head, reader } = this.log
    const key = `${id} ${place.seq} ${place.begun} ${head}`
    const kept = this.#pieces.get(key)
    if (kept !== undefined) return kept
    const reading = reader.read(place.seq, head, READ_BYTES)
    if (reading === null) return null
    const { entries } = reading
    if (entries.length === 0) return { part: null, next: place }
    const piece = pieceOf(view, place, entries, ({ seq, watermark }) => reader.lastEntryOf(watermark) === seq)
    this.#keep(key, piece)
    return piece
  }

  takeTurn(consumer: Consumer): boolean {
    if (this.#turns.size < SNAPSHOTS_AT_ONCE) this.#turns.add(consumer)
    else this.#queue.add(consumer)
    return this.#turns.has(consumer)
  }

  endTurn(consumer: Consumer): void {
    this.#queue.delete(consumer)
    if (!this.#turns.delete(consumer)) return
    const [next] = this.#queue
    if (next === undefined) return
    this.#queue.delete(next)
    this.#loop.wake(next)
  }

  #socket(socket: WebSocket, visit: Visit, stream: Duplex): void {
    let consumer: Consumer | null = null
    const refuse = (reason: string) => {
      const message = JSON.stringify({ type: 'error', message: reason })
      socket.send(message)
      socket.close(BAD_REQUEST.code, closeReason(reason))
    }
    const timer = setTimeout(() => refuse('nothing was asked for'), REQUEST_TIMEOUT_MS)
    const start = (request: GatewayRequest) => {
      clearTimeout(timer)
      consumer = this.#add(visit, request, (wake) => new SocketOutput(socket, stream, wake))
    }
    socket.on('message', (data) => {
      if (consumer !== null) return consumer.acknowledge(readAcknowledgement(String(data as Buffer)))
      const request = readMessage(String(data as Buffer))
      if ('refused' in request) refuse(request.refused)
      else start(request)
    })
    socket.once('close', () => {
      clearTimeout(timer)
      if (consumer !== null) this.#remove(consumer)
    })
    const query = readQuery(visit.url, undefined)
    if (query !== null) start(query)
  }

  #events(response: ServerResponse, visit: Visit): void {
    const lastId = visit.headers['last-event-id']
    const request = readQuery(visit.url, typeof lastId === 'string' ? lastId : undefined)
    if (request === null) {
      const message = 'the query must name tables: ?tables=a,b or ?tables=*'
      response.writeHead(BAD_REQUEST.status, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify({ type: 'error', message }))
      return
    }
    const consumer = this.#add(visit, request, (wake) => new EventOutput(response, wake))
    response.once('close', () => this.#remove(consumer))
  }

  #add({ identity }: Visit, request: GatewayRequest, output: (wake: () => void) => Output): Consumer {
    const view = this.#viewOf(request)
    const onRoom = () => this.#loop.wake(consumer)
    const consumer: Consumer = new Consumer(identity.name, output(onRoom), request, view, this)
    this.#leave ??= this.log.onPublished(() => this.#loop.published())
    this.#loop.add(consumer)
    return consumer
  }

  #remove(consumer: Consumer): void {
    this.#loop.remove(consumer)
    const key = viewKey(consumer.request)
    const shared = this.#views.get(key)!
    if (--shared.users === 0) this.#views.delete(key)
    if (this.#loop.size > 0) return
    this.#leave?.()
    this.#leave = null
    this.#pieces.clear()
    this.#keptBytes = 0
  }

  #viewOf(request: GatewayRequest): SharedView {
    const key = viewKey(request)
    let shared = this.#views.get(key)
    if (shared === undefined) {
      const view = new ChangeView(request, this.publications, (id) => this.log.reader.version(id))
      this.#views.set(key, (shared = { id: this.#viewsMade++, view, users: 0 }))
    }
    shared.users++
    return shared
  }

  #keep(key: string, piece: Piece): void {
    this.#pieces.set(key, piece)
    this.#keptBytes += sizeOf(piece)
    for (const [oldest, old] of this.#pieces) {
      if (this.#keptBytes <= KEPT_BYTES) break
      this.#pieces.delete(oldest)
      this.#keptBytes -= sizeOf(old)
    }
  }
}

function viewKey({ tables, publications }: GatewayRequest): string {
  return JSON.stringify([tables, publications])
}

/** With what it costs besides. */
function sizeOf({ part }: Piece): number {
  return 500 + (part === null ? 0 : part.byteSize + part.messages.length * 100)
}
