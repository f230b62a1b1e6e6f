/** The port that subscribers connect to: HTTP and WebSocket, with or without TLS. What is said there is others' business. */
import { type EventEmitter, once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Logger } from '../../../core/context.ts'
import { ConfigError, ConnectionError } from '../../../core/error.ts'
import { setAlarm } from './alarm.ts'
import { type Authenticator, type Identity, withoutCredentials } from './auth.ts'
import { Heartbeat } from './heartbeat.ts'
import { type Refusal, refuse, refuseUpgrade } from './refusal.ts'
import { RefusalLog } from './refusal-log.ts'
import { readTlsFiles, type TlsFiles, TlsWatch } from './tls-files.ts'

export interface ListenerOptions {
  /** Name or address of the interface; loopback unless others are to connect. */
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly tls?: TlsFiles
  /** How often changed TLS files are looked for, in milliseconds. */
  readonly tlsPollMs: number
  /** permessage-deflate, with clients that offer it. */
  readonly compression: boolean
  /** Longest message from a client, in bytes; a longer one closes its socket. */
  readonly maxPayloadBytes: number
  /** Sockets and event streams together; one more is refused with 503. */
  readonly maxConnections: number
  /** A socket that is gone without a word is closed within two of these. */
  readonly pingIntervalMs: number
  /** Longest time until a request is complete, or TLS or the upgrade are through, in milliseconds. */
  readonly handshakeTimeoutMs: number
}

/** What a route learns about a request. No token is in it. */
export interface Visit {
  readonly url: URL
  readonly headers: IncomingHttpHeaders
  readonly identity: Identity
}

export interface Route {
  /** Exact, such as `/changes/v0/stream`. */
  readonly path: string
  /** A WebSocket is open; `stream` carries it. Errors are handled, pings sent; it is closed when the token expires. */
  upgrade?(socket: WebSocket, visit: Visit, stream: Duplex): void | Promise<void>
  /** A GET request. The response may stay open; it is destroyed when the token expires. */
  get?(response: ServerResponse, visit: Visit): void | Promise<void>
  /** A PUT request; what it says is in the address. */
  put?(response: ServerResponse, visit: Visit): void | Promise<void>
}

/** Close code: the token has expired. */
const TOKEN_EXPIRED = 4401
/** Close code of RFC 6455: the server goes away. */
const GOING_AWAY = 1001
/** Close code of RFC 6455: the server has failed. */
const SERVER_ERROR = 1011
/** TCP connections that are still in their handshake, or idle between requests. */
const SPARE_CONNECTIONS = 128
/**
 * A socket that is being closed is destroyed after this many milliseconds: long enough to find out why, for who reads
 * slowly. Sooner when its token has expired.
 */
const CLOSE_TIMEOUT_MS = 30_000
const EXPIRED_TIMEOUT_MS = 500

interface Admission {
  readonly route: Route
  readonly visit: Visit
}

/** One server. Whoever has the right token is let in as long as it is open: zero-cache comes back 40 times a second. */
export class Listener {
  readonly #options: ListenerOptions
  readonly #authenticator: Authenticator
  readonly #routes: ReadonlyMap<string, Route>
  readonly #log: Logger
  readonly #refusals: RefusalLog
  readonly #now: () => number
  readonly #server: Server | TlsServer
  readonly #webSockets: WebSocketServer
  readonly #heartbeat: Heartbeat
  #tlsWatch: TlsWatch | null = null
  /** Streams whose upgrade is being decided. */
  readonly #knocking = new Set<Duplex>()
  /** How to end each connection that was let in. */
  readonly #open = new Map<EventEmitter, () => void>()
  #closed: Promise<void> | null = null

  private constructor(
    options: ListenerOptions,
    authenticator: Authenticator,
    routes: readonly Route[],
    log: Logger,
    now: () => number,
    server: Server | TlsServer,
  ) {
    this.#options = options
    this.#authenticator = authenticator
    this.#routes = new Map(routes.map((route) => [route.path, route]))
    this.#log = log
    this.#refusals = new RefusalLog(log, now)
    this.#now = now
    this.#server = server
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: options.maxPayloadBytes,
      // Level 1: higher ones cost more time than the bytes they save.
      perMessageDeflate: options.compression && { threshold: 1024, zlibDeflateOptions: { level: 1 } },
      closeTimeout: CLOSE_TIMEOUT_MS,
    } as ConstructorParameters<typeof WebSocketServer>[0])
    this.#heartbeat = new Heartbeat(options.pingIntervalMs, () =>
      this.#log.warn('a subscriber does not answer any more and was disconnected'),
    )
    server.maxConnections = options.maxConnections + SPARE_CONNECTIONS
    server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      void this.#call(
        () => this.#upgrade(request, stream, head),
        () => stream.destroy(),
      )
    })
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void this.#call(
        () => this.#answer(request, response),
        () => response.destroy(),
      )
    })
    server.on('tlsClientError', (error: NodeJS.ErrnoException) =>
      log.info('a TLS handshake failed', { reason: error.code }),
    )
    server.on('error', (error: NodeJS.ErrnoException) =>
      log.error('a connection could not be accepted', { reason: error.code }),
    )
  }

  /**
   * Listens. Throws a `ConfigError` when everybody could read everything or the TLS files are none, a
   * `ConnectionError` when the address cannot be had.
   */
  static async open(
    options: ListenerOptions,
    authenticator: Authenticator,
    routes: readonly Route[],
    log: Logger,
    now: () => number,
  ): Promise<Listener> {
    refuseOpenDoor(options, authenticator, log)
    const { tls, handshakeTimeoutMs } = options
    const limits: ServerOptions = {
      headersTimeout: handshakeTimeoutMs,
      requestTimeout: handshakeTimeoutMs,
      connectionsCheckingInterval: Math.min(5000, handshakeTimeoutMs),
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    }
    const seen = tls === undefined ? '' : await TlsWatch.versionOf(tls)
    const server =
      tls === undefined
        ? createServer(limits)
        : createTlsServer({
            ...limits,
            ...(await readTlsFiles(tls)),
            handshakeTimeout: handshakeTimeoutMs,
            requestCert: tls.clientCaFile !== undefined,
            rejectUnauthorized: tls.clientCaFile !== undefined,
          })
    await listen(server, options)
    const listener = new Listener(options, authenticator, routes, log, now, server)
    if (tls !== undefined) listener.#watchTls(tls, seen)
    return listener
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Sockets and event streams that are open. */
  get connections(): number {
    return this.#open.size
  }

  /** Ends every connection and what the authenticator waits for, and stops listening. Nothing is left over when it resolves. */
  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  async #shutDown(): Promise<void> {
    this.#heartbeat.stop()
    this.#tlsWatch?.stop()
    this.#authenticator.close()
    const ended = [...this.#open.keys()].map((each) => new Promise((resolve) => each.once('close', resolve)))
    for (const end of this.#open.values()) end()
    for (const stream of this.#knocking) stream.destroy()
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await Promise.all([closed, ...ended])
  }

  #watchTls(files: TlsFiles, seen: string): void {
    const server = this.#server as TlsServer
    const apply = (options: Parameters<TlsServer['setSecureContext']>[0]) => server.setSecureContext(options)
    this.#tlsWatch = new TlsWatch(files, seen, this.#options.tlsPollMs, apply, this.#log)
  }

  async #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    stream.on('error', () => stream.destroy())
    const timer = setTimeout(() => stream.destroy(), this.#options.handshakeTimeoutMs)
    this.#knocking.add(stream)
    stream.once('close', () => {
      clearTimeout(timer)
      this.#knocking.delete(stream)
    })
    const decision = await this.#decide(request, 'upgrade')
    if (this.#closed !== null || stream.destroyed) return void stream.destroy()
    const admission = this.#admit(decision, request)
    if ('status' in admission) return refuseUpgrade(stream, admission)
    this.#webSockets.handleUpgrade(request, stream, head, (socket) => {
      clearTimeout(timer)
      this.#knocking.delete(stream)
      this.#welcome(socket, stream, admission)
    })
  }

  #welcome(socket: WebSocket, stream: Duplex, { route, visit }: Admission): void {
    // Without a listener a malformed frame would end the process; ws closes the socket by itself.
    socket.on('error', (error: NodeJS.ErrnoException) =>
      this.#log.info('the connection of a subscriber failed', {
        subscriber: visit.identity.name,
        reason: error.code,
      }),
    )
    this.#heartbeat.watch(socket, stream)
    const end = (code: number, reason: string) => {
      socket.close(code, reason)
      // Said, not waited for: nothing is owed to who has no token any more, and who reads nothing never answers.
      if (code === GOING_AWAY) return socket.terminate()
      const timer = setTimeout(() => socket.terminate(), EXPIRED_TIMEOUT_MS)
      socket.once('close', () => clearTimeout(timer))
    }
    const forget = this.#remember(socket, visit, end)
    socket.once('close', forget)
    void this.#call(
      async () => await route.upgrade!(socket, visit, stream),
      () => socket.close(SERVER_ERROR, 'internal error'),
    )
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => response.destroy())
    const kind = request.method === 'PUT' ? 'put' : 'get'
    const decision = await this.#decide(request, kind)
    if (this.#closed !== null || response.destroyed) return void response.destroy()
    const { origin } = request.headers
    if (origin !== undefined && this.#authenticator.origins.includes(origin)) {
      response.setHeader('Access-Control-Allow-Origin', origin)
      response.setHeader('Vary', 'Origin')
    }
    const admission = this.#admit(decision, request)
    if ('status' in admission) return refuse(response, admission)
    const { route, visit } = admission
    response.once(
      'close',
      this.#remember(response, visit, () => response.destroy()),
    )
    await route[kind]!(response, visit)
  }

  async #decide(request: IncomingMessage, kind: 'upgrade' | 'get' | 'put'): Promise<Admission | Refusal> {
    const url = URL.parse(request.url ?? '/', 'http://localhost')
    if (url === null) return { status: 400, reason: 'the address is malformed' }
    const route = this.#routes.get(url.pathname)
    if (route === undefined) return { status: 404, reason: 'there is nothing under this path' }
    const isServed = kind === 'put' ? route.put !== undefined : request.method === 'GET'
    if (!isServed) return { status: 405, reason: 'only GET is served' }
    if (route[kind] === undefined)
      return kind === 'get'
        ? { status: 426, reason: 'this path is for WebSockets' }
        : { status: 400, reason: 'this path is not for WebSockets' }
    const verdict = await this.#authenticator.authenticate(request)
    if (!verdict.ok) return verdict
    const { authorization: _, cookie: __, ...headers } = request.headers
    return { route, visit: { url: withoutCredentials(url), headers, identity: verdict.identity } }
  }

  /** In one go with letting it in, so that two cannot have the last place. */
  #admit(decision: Admission | Refusal, request: IncomingMessage): Admission | Refusal {
    const full = !('status' in decision) && this.#open.size >= this.#options.maxConnections
    const admission = full ? { status: 503, reason: 'too many connections are open' } : decision
    if ('status' in admission) {
      const { status, reason } = admission
      // The path is not named: who mistypes the address may have put the token there.
      this.#refusals.refused(reason, { status, remote: request.socket.remoteAddress })
    }
    return admission
  }

  /** Counts the connection until the returned function is called, and ends it when its token expires. */
  #remember(connection: EventEmitter, visit: Visit, end: (code: number, reason: string) => void): () => void {
    const { name, expiresAtMs } = visit.identity
    const cancel =
      expiresAtMs === null
        ? () => {}
        : setAlarm(expiresAtMs, this.#now, () => {
            this.#log.info('the token of a subscriber has expired', { subscriber: name })
            end(TOKEN_EXPIRED, 'the token has expired')
          })
    this.#open.set(connection, () => end(GOING_AWAY, 'the server is shutting down'))
    return () => {
      cancel()
      this.#open.delete(connection)
    }
  }

  async #call(serve: () => Promise<void>, fail: () => void): Promise<void> {
    try {
      await serve()
    } catch (error) {
      this.#log.error('a subscriber could not be served', {
        code: 'zero/subscriber',
        reason: error instanceof Error ? error.message : 'unknown',
      })
      fail()
    }
  }
}

/** Nobody gives everything to everybody by leaving something out. */
export function refuseOpenDoor(
  options: Pick<ListenerOptions, 'host' | 'tls'>,
  authenticator: Authenticator,
  log: Logger,
): void {
  const { host, tls } = options
  const local = host === 'localhost' || host === '::1' || /^(::ffff:)?127\./.test(host)
  if (local || !authenticator.open || tls?.clientCaFile !== undefined) return
  if (!authenticator.anonymous) {
    throw new ConfigError('zero/open-to-all', `every machine could read everything through ${host}`, {
      fix: 'Set `tokens` or `jwt`, or a `clientCaFile`, or listen on 127.0.0.1; `anonymous: true` if it is meant so.',
    })
  }
  log.warn('everybody who reaches this address can read everything', { host })
}

async function listen(server: Server, { host, port }: ListenerOptions): Promise<void> {
  try {
    server.listen({ host, port })
    await once(server, 'listening')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    const what = `cannot listen on ${host}, port ${port} (${code})`
    if (code === 'EADDRINUSE') {
      const fix = 'Another process listens there: stop it, or choose another `port`.'
      throw new ConnectionError('zero/address-in-use', what, { fix, retryable: false })
    }
    const fix =
      code === 'EACCES'
        ? 'Choose a `port` above 1023, or give the process the right to use this one.'
        : 'Choose a `host` that is a name or an address of this machine.'
    throw new ConnectionError('zero/listen', what, { fix, retryable: false })
  }
}
