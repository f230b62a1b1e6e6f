import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { get as httpsGet, type RequestOptions } from 'node:https'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as tlsConnect } from 'node:tls'
import { SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'
import { Authenticator, type AuthOptions } from '../../src/connectors/sinks/zero/auth.ts'
import {
  Listener,
  type ListenerOptions,
  type Route,
  type Visit,
} from '../../src/connectors/sinks/zero/listener.ts'
import { CoreError } from '../../src/core/error.ts'
import { Secret } from '../../src/core/secret.ts'
import { TcpProxy } from '../../src/testkit/tcp-proxy.ts'
import { settles } from '../../src/testkit/wait-for.ts'
import { Authority, type Certificate } from '../support/certificates.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { type FullLog, fullLog } from '../support/full-log.ts'
import { waitFor } from '../support/wait-for.ts'

const TOKEN = 'a-token-that-nobody-may-see'
const AUTH: AuthOptions = { tokens: { production: new Secret(TOKEN) } }
const PATH = '/changes/v0/stream'
const OPTIONS: ListenerOptions = {
  host: '127.0.0.1',
  port: 0,
  tlsPollMs: 20,
  compression: false,
  maxPayloadBytes: 64 * 1024,
  maxConnections: 2000,
  pingIntervalMs: 30_000,
  handshakeTimeoutMs: 10_000,
}

interface Bench {
  readonly authenticator: Authenticator
  readonly listener: Listener
  readonly log: FullLog
  /** On the side of the server. */
  readonly sockets: Set<WebSocket>
  readonly visits: Visit[]
  /** What subscribers said. */
  readonly heard: string[]
}

const benches: Bench[] = []
const clients: WebSocket[] = []

async function bench(
  options: Partial<ListenerOptions> = {},
  auth: AuthOptions = AUTH,
  routes?: readonly Route[],
): Promise<Bench> {
  const log = fullLog()
  const sockets = new Set<WebSocket>()
  const visits: Visit[] = []
  const heard: string[] = []
  const stream: Route = {
    path: PATH,
    upgrade(socket, visit) {
      visits.push(visit)
      sockets.add(socket)
      socket.on('message', (data) => {
        heard.push((data as Buffer).toString())
        socket.send('answer')
      })
      socket.on('close', () => sockets.delete(socket))
    },
  }
  const events: Route = {
    path: '/v1/changes',
    get(response, visit) {
      visits.push(visit)
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: 1\n\n')
    },
  }
  const authenticator = new Authenticator(auth, log, Date.now)
  const listener = await Listener.open(
    { ...OPTIONS, ...options },
    authenticator,
    routes ?? [stream, events],
    log,
    Date.now,
  )
  const made = { authenticator, listener, log, sockets, visits, heard }
  benches.push(made)
  return made
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate()
  for (const { authenticator, listener, log } of benches.splice(0)) {
    authenticator.close()
    await listener.close()
    if (log.text().includes(TOKEN)) throw new Error('the token is in the log')
  }
})

function dial(
  port: number,
  url = `${PATH}?k=${TOKEN}`,
  options: ClientOptions = {},
  scheme = 'ws',
): WebSocket {
  const client = new WebSocket(`${scheme}://127.0.0.1:${port}${url}`, options)
  client.on('error', () => {})
  clients.push(client)
  return client
}

/** Connects and waits until that is done. */
async function open(...args: Parameters<typeof dial>): Promise<WebSocket> {
  const client = dial(...args)
  await once(client, 'open')
  return client
}

/** The status and the text of a refused upgrade. */
async function refused(...args: Parameters<typeof dial>): Promise<string> {
  const client = dial(...args)
  const [, response] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage]
  return `${response.statusCode} ${await text(response)}`
}

async function get(
  url: string,
  options: RequestOptions = {},
): Promise<{ status: number; body: string; headers: object }> {
  const request = (url.startsWith('https') ? httpsGet : httpGet)(url, { agent: false, ...options })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { status: response.statusCode!, body: await text(response), headers: response.headers }
}

async function closeOf(client: WebSocket): Promise<{ code: number; reason: string }> {
  return await new Promise((resolve) =>
    client.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  )
}

function failed(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => false,
    () => true,
  )
}

async function failure(promise: Promise<unknown>): Promise<CoreError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(CoreError)
  return error as CoreError
}

describe('the door', () => {
  it('lets in who has the token, and hands on the address without it', async () => {
    const { listener, visits, heard } = await bench()
    const client = await open(listener.port, `${PATH}?k=${TOKEN}&appID=zero&lastWatermark=05`)
    client.send('hello')
    expect(String((await once(client, 'message'))[0])).toBe('answer')
    expect(heard).toEqual(['hello'])
    expect(visits[0]!.url.href).toBe(`http://localhost${PATH}?appID=zero&lastWatermark=05`)
    expect(visits[0]!.identity).toEqual({ name: 'production', expiresAtMs: null })
  })

  it('takes user and password of the URL, as zero-cache can send them', async () => {
    const { listener, visits } = await bench()
    const client = new WebSocket(`ws://zero:${TOKEN}@127.0.0.1:${listener.port}${PATH}`)
    clients.push(client)
    await once(client, 'open')
    expect(visits[0]!.headers.authorization).toBeUndefined()
    expect(visits[0]!.identity.name).toBe('production')
  })

  it.each([
    ['401 no token was presented', PATH, {}],
    ['401 the token is not known', `${PATH}?k=${TOKEN}x`, {}],
    ['401 the token is not known', PATH, { headers: { authorization: `Bearer ${TOKEN.toUpperCase()}` } }],
    ['404 there is nothing under this path', `/?k=${TOKEN}`, {}],
    ['404 there is nothing under this path', `${PATH}/?k=${TOKEN}`, {}],
    ['404 there is nothing under this path', `/${TOKEN}`, {}],
    ['404 there is nothing under this path', `${PATH.toUpperCase()}?k=${TOKEN}`, {}],
    ['400 this path is not for WebSockets', `/v1/changes?k=${TOKEN}`, {}],
  ])('answers %s before the upgrade', async (answer, url, options) => {
    const { listener, log, sockets } = await bench()
    expect(await refused(listener.port, url, options)).toBe(answer)
    expect(sockets.size).toBe(0)
    expect(log.lines).toHaveLength(1)
    expect(log.lines[0]!.message).toBe(`a connection was refused: ${answer.slice(4)}`)
  })

  it('answers plain requests with what is wrong', async () => {
    const { listener } = await bench()
    const base = `http://127.0.0.1:${listener.port}`
    expect(await get(`${base}/v1/changes`)).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Bearer', connection: 'close' },
    })
    expect(await get(`${base}${PATH}?k=${TOKEN}`)).toMatchObject({
      status: 426,
      headers: { upgrade: 'websocket' },
    })
    expect(await get(`${base}/nothing`)).toMatchObject({ status: 404 })
    const posted = await fetch(`${base}/v1/changes?k=${TOKEN}`, { method: 'POST', body: 'x' })
    expect(posted.status).toBe(405)
    await posted.text()
  })

  it('answers 400 to what is no WebSocket handshake or no HTTP, and goes on', async () => {
    const { listener } = await bench()
    const say = async (words: string) => {
      const socket = connect(listener.port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write(words)
      return await text(socket).catch(() => 'reset')
    }
    const upgrade = `GET ${PATH}?k=${TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
    expect(await say(`${upgrade}\r\n`)).toMatch(/^HTTP\/1.1 400 /)
    expect(await say(`${upgrade}Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 400 /,
    )
    expect(await say('GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1.1 40[04] /)
    expect(await say('\x16\x03\x01 nonsense \0\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /)
    expect(await say(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /)
    await open(listener.port)
  })

  it('refuses web pages where no token is asked for', async () => {
    const { listener } = await bench({}, { tokens: {} })
    expect(await refused(listener.port, PATH, { origin: 'https://evil.example.com' })).toMatch(/^403 /)
    const pages = { hostname: 'evil.example.com', lookup: undefined, headers: { host: 'evil.example.com' } }
    expect(
      await get(`http://127.0.0.1:${listener.port}/v1/changes`, { headers: pages.headers }),
    ).toMatchObject({ status: 403 })
    await open(listener.port, PATH)
  })

  it('refuses one more than the limit with 503, and lets in again when one leaves', async () => {
    const { listener, sockets } = await bench({ maxConnections: 3 })
    const all = await Promise.allSettled(Array.from({ length: 10 }, () => open(listener.port)))
    const inside = all.filter((each) => each.status === 'fulfilled').map((each) => each.value)
    expect(inside).toHaveLength(3)
    expect(await refused(listener.port)).toBe('503 too many connections are open')
    inside[0]!.close()
    await waitFor('one has left', () => sockets.size === 2)
    await open(listener.port)
  })

  it('counts event streams as well', async () => {
    const { listener } = await bench({ maxConnections: 1 })
    const aborted = new AbortController()
    const stream = await fetch(`http://127.0.0.1:${listener.port}/v1/changes?k=${TOKEN}`, {
      signal: aborted.signal,
    })
    expect(stream.status).toBe(200)
    expect(await refused(listener.port)).toBe('503 too many connections are open')
    aborted.abort()
    await waitFor('the stream is gone', () => listener.connections === 0)
    await open(listener.port)
  })

  it('gives up on who connects and says nothing, or not all', async () => {
    const { listener } = await bench({ handshakeTimeoutMs: 100 })
    const silent = connect(listener.port, '127.0.0.1')
    const halting = connect(listener.port, '127.0.0.1')
    halting.write('GET / HTTP/1.1\r\nHost:')
    for (const socket of [silent, halting]) expect(await text(socket)).toMatch(/^HTTP\/1.1 408 /)
  })

  it('gives up on an upgrade that takes too long to decide', async () => {
    const keys = createServer().listen(0, '127.0.0.1')
    await once(keys, 'listening')
    const jwt = {
      keySet: {
        url: `http://127.0.0.1:${(keys.address() as AddressInfo).port}`,
        timeoutMs: 60_000,
        cooldownMs: 0,
        maxAgeMs: 0,
      },
      clockToleranceMs: 0,
      requireExpiry: true,
      nameClaim: 'sub',
    }
    const { listener } = await bench({ handshakeTimeoutMs: 100 }, { tokens: {}, jwt })
    const header = Buffer.from('{"alg":"RS256"}').toString('base64url')
    const client = dial(listener.port, `${PATH}?k=${header}.e30.e30`)
    expect(await closeOf(client)).toMatchObject({ code: 1006 })
    keys.close()
  })
})

describe('a token that expires', () => {
  const secret = 'a secret of thirty-two bytes, yes'
  const jwt = { secret: new Secret(secret), clockToleranceMs: 0, requireExpiry: true, nameClaim: 'sub' }
  const sign = (expiresAtMs: number) =>
    new SignJWT({ sub: 'me', exp: expiresAtMs / 1000 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(secret))

  it('closes its connection then, and opens none any more', async () => {
    const { listener, log } = await bench({}, { tokens: {}, jwt })
    const expiresAtMs = Date.now() + 700
    const token = await sign(expiresAtMs)
    const client = await open(listener.port, `${PATH}?k=${token}`)
    expect(await closeOf(client)).toEqual({ code: 4401, reason: 'the token has expired' })
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAtMs - 5)
    expect(await refused(listener.port, `${PATH}?k=${token}`)).toBe('401 the token has expired')
    expect(log.text()).not.toContain(token)
    expect(log.lines.map((line) => line.message)).toContain('the token of a subscriber has expired')
  })

  it('ends an event stream', async () => {
    const { listener } = await bench({}, { tokens: {}, jwt })
    const token = await sign(Date.now() + 500)
    const response = await fetch(`http://127.0.0.1:${listener.port}/v1/changes`, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(await failed(response.text())).toBe(true)
    await waitFor('it is forgotten', () => listener.connections === 0)
  })

  it('closes also a connection whose other end reads nothing', async () => {
    const { listener, sockets } = await bench({}, { tokens: {}, jwt })
    const client = await open(listener.port, `${PATH}?k=${await sign(Date.now() + 500)}`)
    client.pause()
    const [socket] = sockets
    for (let i = 0; i < 20; i++) socket!.send(Buffer.alloc(1_000_000))
    await waitFor('the server has let go of it', () => listener.connections === 0, 3000)
    expect(client.readyState).toBe(WebSocket.OPEN)
  })
})

describe('a bad client', () => {
  const masked = (...bytes: number[]) => Buffer.from(bytes)
  it.each<[string, Buffer, number]>([
    ['a frame that is not masked', masked(0x81, 0x01, 0x41), 1002],
    ['a reserved opcode', masked(0x83, 0x80, 0, 0, 0, 0), 1002],
    ['a reserved bit', masked(0xc1, 0x80, 0, 0, 0, 0), 1002],
    ['text that is not UTF-8', masked(0x81, 0x81, 0, 0, 0, 0, 0xff), 1007],
    ['a control frame that is too long', masked(0x89, 0xfe, 0x00, 0x80, 0, 0, 0, 0), 1002],
    ['a length beyond 64 bits', masked(0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009],
    ['a message that is longer than allowed', masked(0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0), 1009],
    ['noise', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1002],
  ])('that sends %s loses its own connection only', async (_, bytes, code) => {
    const { listener, sockets, log } = await bench()
    const good = await open(listener.port)
    const bad = await open(listener.port)
    const closed = closeOf(bad)
    ;(bad as unknown as { _socket: Socket })._socket.write(bytes)
    expect((await closed).code).toBe(code)
    await waitFor('the server has let go of it', () => sockets.size === 1)
    good.send('still here')
    expect(String((await once(good, 'message'))[0])).toBe('answer')
    expect(log.lines.map((line) => line.message)).toEqual(['the connection of a subscriber failed'])
  })

  it('may send a message as long as allowed, and not one byte more', async () => {
    const { listener, heard } = await bench()
    const client = await open(listener.port)
    client.send('x'.repeat(64 * 1024))
    await once(client, 'message')
    expect(heard[0]).toHaveLength(64 * 1024)
    client.send('x'.repeat(64 * 1024 + 1))
    expect((await closeOf(client)).code).toBe(1009)
  })

  it('cannot make a small frame unfold into a large message', async () => {
    const { listener, heard } = await bench({ compression: true })
    const client = await open(listener.port, undefined, { perMessageDeflate: true })
    expect(client.extensions).toContain('permessage-deflate')
    client.send('x'.repeat(10_000_000))
    expect((await closeOf(client)).code).toBe(1009)
    expect(heard).toEqual([])
  })

  it('that resets its connection in the middle of everything changes nothing for others', async () => {
    const { listener, sockets } = await bench()
    const good = await open(listener.port)
    for (let i = 0; i < 50; i++) {
      const socket = connect(listener.port, '127.0.0.1')
      socket.on('error', () => {})
      const words = `GET ${PATH}?k=${TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16, i).toString('base64')}\r\n\r\n`
      socket.write(words.slice(0, (i * words.length) / 49))
      await once(socket, 'ready')
      socket.resetAndDestroy()
    }
    await waitFor('the others are gone', () => sockets.size === 1 && listener.connections === 1)
    good.send('still here')
    expect(String((await once(good, 'message'))[0])).toBe('answer')
  })

  it('is not what a route that fails is: that is said, and costs one connection', async () => {
    const failing: Route = {
      path: PATH,
      upgrade: () => Promise.reject(new Error('out of order')),
      get: () => {
        throw new Error('out of order')
      },
    }
    const { listener, log } = await bench({}, AUTH, [failing])
    expect(await closeOf(dial(listener.port))).toEqual({ code: 1011, reason: 'internal error' })
    expect(await failed(get(`http://127.0.0.1:${listener.port}${PATH}?k=${TOKEN}`))).toBe(true)
    expect(log.lines.map((line) => line.fields['code'])).toEqual(['zero/subscriber', 'zero/subscriber'])
  })
})

describe('pings', () => {
  it('keep a connection open that says nothing', async () => {
    const { listener, sockets } = await bench({ pingIntervalMs: 30 })
    const client = await open(listener.port)
    let pings = 0
    client.on('ping', () => pings++)
    await waitFor('ten pings have come', () => pings >= 10)
    expect(sockets.size).toBe(1)
  })

  it('find a connection that is gone without a word within two intervals', async () => {
    const { listener, sockets, log } = await bench({ pingIntervalMs: 300 })
    await using proxy = await TcpProxy.start({ host: '127.0.0.1', port: listener.port })
    await open(proxy.port)
    const other = await open(listener.port)
    proxy.stall('both')
    const since = performance.now()
    await waitFor('the server has noticed', () => sockets.size === 1)
    // Two intervals, and what a busy machine adds.
    expect(performance.now() - since).toBeLessThan(1500)
    expect(other.readyState).toBe(WebSocket.OPEN)
    expect(log.lines.map((line) => line.message)).toContain(
      'a subscriber does not answer any more and was disconnected',
    )
  })

  it('find one that is gone while a backlog waits for it', async () => {
    const { listener, sockets } = await bench({ pingIntervalMs: 100 })
    await using proxy = await TcpProxy.start({ host: '127.0.0.1', port: listener.port })
    await open(proxy.port)
    proxy.stall('both')
    const [socket] = sockets
    for (let i = 0; i < 50; i++) socket!.send(Buffer.alloc(1_000_000))
    expect(socket!.bufferedAmount).toBeGreaterThan(10_000_000)
    await waitFor('the server has noticed', () => sockets.size === 0, 5000)
  })

  it('leave alone who works off a backlog so slowly that no answer can come', async () => {
    const { listener, sockets } = await bench({ pingIntervalMs: 1500 })
    await using proxy = await TcpProxy.start({ host: '127.0.0.1', port: listener.port })
    const client = await open(proxy.port)
    proxy.throttle(3_000_000, 'toClient')
    const [socket] = sockets
    const more = () => {
      while (socket!.readyState === WebSocket.OPEN && socket!.bufferedAmount < 1_000_000)
        socket!.send(Buffer.alloc(250_000), more)
    }
    more()
    let received = 0
    client.on('message', (data) => (received += (data as Buffer).length))
    // Four intervals.
    await waitFor('much of it has come', () => received > 18_000_000 || client.readyState !== WebSocket.OPEN)
    expect(client.readyState).toBe(WebSocket.OPEN)
  })
})

describe('the address', () => {
  it('that is in use stops the start and says so', async () => {
    const { listener } = await bench()
    const error = await failure(bench({ port: listener.port }))
    expect(error).toMatchObject({ code: 'zero/address-in-use', retryable: false, name: 'ConnectionError' })
    expect(error.message).toBe(`cannot listen on 127.0.0.1, port ${listener.port} (EADDRINUSE)`)
    expect(error.fix).toContain('port')
  })

  it('that is none of this machine stops the start', async () => {
    const error = await failure(bench({ host: '192.0.2.1' }))
    expect(error).toMatchObject({ code: 'zero/listen', retryable: false })
    expect(error.message).toContain('EADDRNOTAVAIL')
  })

  it.each(['0.0.0.0', '::'])('%s is refused without a token, unless it is meant so', async (host) => {
    const error = await failure(bench({ host }, { tokens: {} }))
    expect(error).toMatchObject({ code: 'zero/open-to-all', name: 'ConfigError' })
    const { log } = await bench({ host }, { tokens: {}, anonymous: true })
    expect(log.lines).toMatchObject([{ level: 'warn', fields: { host } }])
    const closed = await bench({ host })
    expect(closed.log.lines).toEqual([])
  })

  it.each(['127.0.0.1', 'localhost', '127.5.5.5'])('%s needs no token', async (host) => {
    const { log } = await bench({ host }, { tokens: {} })
    expect(log.lines).toEqual([])
  })
})

describe('TLS', () => {
  let folder: string
  let ours: Authority
  let foreign: Authority
  let server: Certificate
  let another: Certificate
  let client: Certificate
  let stranger: Certificate

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
    ours = new Authority(folder, 'ours')
    foreign = new Authority(folder, 'foreign')
    server = ours.issue('server')
    another = ours.issue('another')
    client = ours.issue('client')
    stranger = foreign.issue('stranger')
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const trust = (authority: Authority, own?: Certificate): ClientOptions => ({
    ca: readFileSync(authority.caFile),
    ...(own !== undefined && { cert: readFileSync(own.certificateFile), key: readFileSync(own.keyFile) }),
  })

  /** The name in the certificate that the server shows. */
  async function shown(port: number): Promise<string> {
    const socket = tlsConnect({ port, host: '127.0.0.1', ca: readFileSync(ours.caFile) })
    await once(socket, 'secureConnect')
    const { subject } = socket.getPeerCertificate()
    socket.destroy()
    return String(subject.CN)
  }

  async function refusedCode(port: number, options: ClientOptions): Promise<string> {
    const socket = dial(port, undefined, options, 'wss')
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
    return `${error.code} ${error.message}`
  }

  it('carries sockets and requests, and plain text gets nowhere', async () => {
    const { listener, sockets } = await bench({ tls: server })
    await open(listener.port, undefined, trust(ours), 'wss')
    const response = new Promise<number>((resolve) => {
      const request = httpsGet(
        `https://127.0.0.1:${listener.port}/v1/changes?k=${TOKEN}`,
        { ca: readFileSync(ours.caFile), agent: false },
        (answer) => {
          resolve(answer.statusCode!)
          request.destroy()
        },
      )
    })
    expect(await response).toBe(200)
    const plain = dial(listener.port)
    expect((await closeOf(plain)).code).toBe(1006)
    expect(sockets.size).toBe(1)
  })

  it('is refused by a client that does not know the authority', async () => {
    const { listener } = await bench({ tls: server })
    expect(await refusedCode(listener.port, trust(foreign))).toMatch(/UNABLE_TO|SELF_SIGNED/)
    expect(await refusedCode(listener.port, {})).toMatch(/UNABLE_TO|SELF_SIGNED/)
  })

  it('of version 1.1 is not spoken', async () => {
    const { listener } = await bench({ tls: server })
    const old = {
      ...trust(ours),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    } as const
    expect(await refusedCode(listener.port, old)).toMatch(/protocol version/)
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      await open(
        listener.port,
        undefined,
        { ...trust(ours), minVersion: version, maxVersion: version },
        'wss',
      )
  })

  it('asks clients for a certificate of their authority, and names them by it', async () => {
    const files = { ...server, clientCaFile: ours.caFile }
    const { listener, visits, log } = await bench({ tls: files, host: '0.0.0.0' }, { tokens: {} })
    await open(listener.port, PATH, trust(ours, client), 'wss')
    expect(visits[0]!.identity.name).toBe('client')
    const refusal =
      /CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|ECONNRESET|EPIPE|socket hang up|disconnected/
    expect(await refusedCode(listener.port, trust(ours))).toMatch(refusal)
    expect(await refusedCode(listener.port, trust(ours, stranger))).toMatch(refusal)
    expect(visits).toHaveLength(1)
    await waitFor(
      'both were noted',
      () => log.lines.filter((line) => /TLS handshake/.test(line.message)).length === 2,
    )
  })

  it('shows a new certificate as soon as its files are replaced, and goes on with open connections', async () => {
    const files = { certificateFile: join(folder, 'live.pem'), keyFile: join(folder, 'live.key') }
    const replace = (by: Certificate) => {
      for (const [from, to] of [
        [by.certificateFile, files.certificateFile],
        [by.keyFile, files.keyFile],
      ] as const) {
        copyFileSync(from, `${to}.new`)
        renameSync(`${to}.new`, to)
      }
    }
    replace(server)
    const { listener, log } = await bench({ tls: files })
    const early = await open(listener.port, undefined, trust(ours), 'wss')
    expect(await shown(listener.port)).toBe('server')
    replace(another)
    await waitFor('the new one is shown', async () => (await shown(listener.port)) === 'another')

    // A pair that does not fit, a file that is cut short, none at all: the former one stays.
    const complaints = () => log.lines.filter((line) => line.level === 'error').length
    let before = complaints()
    copyFileSync(server.keyFile, files.keyFile)
    await waitFor('the wrong key was noted', () => complaints() > before)
    before = complaints()
    writeFileSync(files.certificateFile, 'hunter2')
    await waitFor('the nonsense was noted', () => complaints() > before)
    before = complaints()
    rmSync(files.certificateFile)
    await waitFor('the missing file was noted', () => complaints() > before)
    expect(await shown(listener.port)).toBe('another')
    expect(log.text()).not.toContain('hunter2')

    replace(server)
    await waitFor('the repaired one is shown', async () => (await shown(listener.port)) === 'server')
    early.send('still here')
    expect(String((await once(early, 'message'))[0])).toBe('answer')
    // The minimum version holds for the new ones too.
    const old = {
      ...trust(ours),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    } as const
    expect(await refusedCode(listener.port, old)).toMatch(/protocol version/)
  })

  it('with files that cannot be used stops the start', async () => {
    for (const tls of [
      { ...server, keyFile: another.keyFile },
      { ...server, certificateFile: join(folder, 'none.pem') },
      { ...server, certificateFile: server.keyFile },
      { ...server, clientCaFile: server.keyFile },
    ]) {
      const error = await failure(bench({ tls }))
      expect(error).toMatchObject({ code: 'zero/tls-files', name: 'ConfigError' })
      expect(error.fix).toContain('PEM')
    }
  })
})

describe('the end', () => {
  it('is told to subscribers, and nothing is left over', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    const { listener, sockets } = await bench()
    const { port } = listener
    const ours = Array.from({ length: 5 }, () => dial(listener.port))
    await Promise.all(ours.map((each) => once(each, 'open')))
    const closes = ours.map(closeOf)
    const aborted = fetch(`http://127.0.0.1:${listener.port}/v1/changes?k=${TOKEN}`).then((r) => r.text())
    const outcome = failed(aborted)
    await waitFor('the stream is open', () => listener.connections === 6)
    const knocking = connect(listener.port, '127.0.0.1')
    knocking.on('error', () => {})
    await once(knocking, 'ready')
    await Promise.all([listener.close(), listener.close()])
    expect(sockets.size).toBe(0)
    for (const close of closes)
      expect(await close).toEqual({ code: 1001, reason: 'the server is shutting down' })
    expect(await outcome).toBe(true)
    const error = await once(connect(port, '127.0.0.1'), 'error').then(
      ([thrown]) => (thrown as NodeJS.ErrnoException).code,
      (thrown: NodeJS.ErrnoException) => thrown.code,
    )
    expect(error).toBe('ECONNREFUSED')
    await waitFor('no timer is left', () => timers() <= before)
  })

  it('stops what it does at intervals', async () => {
    const made = vi.spyOn(globalThis, 'setInterval')
    const ended = vi.spyOn(globalThis, 'clearInterval')
    const folder = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
    const { listener } = await bench({ tls: new Authority(folder, 'ours').issue('server') })
    await listener.close()
    rmSync(folder, { recursive: true })
    const timers = made.mock.results.map(({ value }) => value as NodeJS.Timeout)
    const stopped = ended.mock.calls.map(([timer]) => timer)
    vi.restoreAllMocks()
    // Pings, and the look at the files.
    expect(timers).toHaveLength(2)
    expect(stopped).toEqual(expect.arrayContaining(timers))
  })

  it('of a connection is the end of the watch on its token', async () => {
    const secret = 'a secret of thirty-two bytes, yes'
    const jwt = { secret: new Secret(secret), clockToleranceMs: 0, requireExpiry: true, nameClaim: 'sub' }
    const token = await new SignJWT({ sub: 'me', exp: Math.ceil(Date.now() / 1000) + 3600 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(secret))
    const { listener } = await bench({}, { tokens: {}, jwt })
    const made = vi.spyOn(globalThis, 'setTimeout')
    const ended = vi.spyOn(globalThis, 'clearTimeout')
    const client = await open(listener.port, `${PATH}?k=${token}`)
    client.close()
    await waitFor('it is gone', () => listener.connections === 0)
    const alarms = made.mock.calls.flatMap(([, ms], index) =>
      ms === 60_000 ? [made.mock.results[index]!.value] : [],
    )
    const stopped = ended.mock.calls.map(([timer]) => timer)
    vi.restoreAllMocks()
    expect(alarms).toHaveLength(1)
    expect(stopped).toEqual(expect.arrayContaining(alarms))
  })

  it('waits for nobody who reads nothing', async () => {
    const { listener, sockets } = await bench()
    const client = await open(listener.port)
    client.pause()
    const [socket] = sockets
    for (let i = 0; i < 20; i++) socket!.send(Buffer.alloc(1_000_000))
    expect(await settles(listener.close(), 2000)).toBe(true)
    expect(sockets.size).toBe(0)
  })

  it('of a thousand connections leaves no timer, listener or memory behind', async () => {
    const refs: WeakRef<WebSocket>[] = []
    const route: Route = { path: PATH, upgrade: (socket) => void refs.push(new WeakRef(socket)) }
    const { listener, log } = await bench({ maxConnections: 200 }, AUTH, [route])
    const round = async (count: number) => {
      for (let done = 0; done < count; done += 50) {
        const some = Array.from({ length: 50 }, () => dial(listener.port))
        await Promise.all(some.map((each) => once(each, 'open')))
        const gone = some.map(closeOf)
        // Half of them say goodbye, the others are just gone.
        for (const [index, each] of some.entries()) each[index % 2 === 0 ? 'close' : 'terminate']()
        await Promise.all(gone)
        clients.length = 0
        await waitFor('the server has let go of them', () => listener.connections === 0)
      }
    }
    const count = (kind: string) => process.getActiveResourcesInfo().filter((each) => each === kind).length
    await round(50)
    const before = {
      timers: count('Timeout'),
      sockets: count('TCPSocketWrap'),
      events: process.eventNames().length,
    }
    await round(1000)
    await waitFor(
      'sockets and timers are back to where they were',
      () => count('TCPSocketWrap') <= before.sockets && count('Timeout') <= before.timers,
    )
    expect(process.eventNames()).toHaveLength(before.events)
    expect(refs).toHaveLength(1050)
    expect(log.lines).toEqual([])
    // What was connected last may still be on somebody's stack.
    await waitFor('the sockets are forgotten', () => {
      collectGarbage()
      return refs.filter((ref) => ref.deref() !== undefined).length <= 50
    })
  })
})
