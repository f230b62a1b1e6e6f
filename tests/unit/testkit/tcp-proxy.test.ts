import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TcpProxy } from '../../../src/testkit/tcp-proxy.ts'
import { waitFor } from '../../support/wait-for.ts'

/** One end of a connection, with what it has heard. */
class End {
  readonly socket: Socket
  text = ''
  received = 0
  ended = false
  closed = false
  error: NodeJS.ErrnoException | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length
      if (this.text.length < 1000) this.text += chunk.toString('latin1')
    })
    socket.on('end', () => (this.ended = true))
    socket.on('close', () => (this.closed = true))
    socket.on('error', (error) => (this.error = error))
  }
}

let server: Server
let proxy: TcpProxy
let accepted: End[]
let clients: End[]

beforeEach(async () => {
  accepted = []
  clients = []
  server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(new End(socket)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy = await TcpProxy.start({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
})

afterEach(async () => {
  for (const { socket } of [...clients, ...accepted]) socket.destroy()
  await proxy[Symbol.asyncDispose]()
  server.close()
  await once(server, 'close')
})

function client(): End {
  const end = new End(connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }))
  clients.push(end)
  return end
}

/** A connection that has carried a byte each way. */
async function connected(): Promise<{ client: End; server: End }> {
  const index = accepted.length
  const near = client()
  near.socket.write('>')
  await waitFor('the server has it', () => accepted[index]?.text === '>')
  const far = accepted[index]!
  far.socket.write('<')
  await waitFor('the client has the answer', () => near.text === '<')
  return { client: near, server: far }
}

/** Passes when a round trip on another connection is over: whatever was to arrive at once would have arrived. */
async function roundTrip(): Promise<void> {
  await connected()
}

describe('a proxy that is left alone', () => {
  it('passes bytes on both ways and counts them', async () => {
    const { client, server } = await connected()
    client.socket.write('question')
    await waitFor('the question arrives', () => server.text === '>question')
    server.socket.write('answer')
    await waitFor('the answer arrives', () => client.text === '<answer')
    expect(proxy.bytes).toEqual({ toServer: 9, toClient: 7 })
    expect(proxy.connections).toBe(1)
  })

  it('passes the end of one direction on, and the other direction goes on', async () => {
    const { client, server } = await connected()
    client.socket.end('last words')
    await waitFor('the server hears the end', () => server.ended)
    server.socket.write('still here')
    await waitFor('the client still hears', () => client.text === '<still here')
    server.socket.end()
    await waitFor('the connection is gone', () => proxy.connections === 0 && client.closed)
    expect([client.error, server.error]).toEqual([null, null])
  })

  it('passes a reset on', async () => {
    const { client, server } = await connected()
    client.socket.resetAndDestroy()
    await waitFor('the server hears it', () => server.closed)
    expect(server.error?.code).toBe('ECONNRESET')
  })

  it('resets a client when the server cannot be reached', async () => {
    server.close()
    const one = client()
    await waitFor('the client hears it', () => one.closed)
    expect(one.error?.code).toBe('ECONNRESET')
    server.listen(0, '127.0.0.1')
  })

  it('holds nothing itself: what the server does not read waits at the client', async () => {
    const { client, server } = await connected()
    const megabyte = 1024 * 1024
    server.socket.pause()
    client.socket.write(Buffer.alloc(64 * megabyte))
    let passed: number
    do {
      passed = proxy.bytes.toServer
      for (let trip = 0; trip < 10; trip++) await roundTrip()
    } while (proxy.bytes.toServer > passed + 10)
    // The kernel's own buffers are a few megabytes.
    expect(passed).toBeLessThan(24 * megabyte)
    expect(client.socket.writableLength).toBeGreaterThan(0)
    server.socket.resume()
    await waitFor('all of it arrives', () => server.received === 64 * megabyte + 1)
  })
})

describe('a proxy that', () => {
  it('cuts resets every connection at both ends, and accepts new ones', async () => {
    const pairs = [await connected(), await connected()]
    proxy.cut()
    const ends = pairs.flatMap((pair) => [pair.client, pair.server])
    await waitFor('all are closed', () => ends.every((end) => end.closed))
    expect(ends.map((end) => end.error?.code)).toEqual(ends.map(() => 'ECONNRESET'))
    await connected()
    expect(proxy.connections).toBe(1)
  })

  it('refuses resets new connections and counts them; open ones stay', async () => {
    const open = await connected()
    proxy.refuse(true)
    const one = client()
    await waitFor('it is refused', () => one.closed)
    expect(one.error?.code).toBe('ECONNRESET')
    expect(proxy.refused).toBe(1)
    open.client.socket.write('!')
    await waitFor('the open one works', () => open.server.text === '>!')
    expect(accepted).toHaveLength(1)
    proxy.refuse(false)
    await connected()
  })

  it.each(['toServer', 'toClient'] as const)('stalls %s lets the other direction pass', async (direction) => {
    const { client, server } = await connected()
    const [from, to] = direction === 'toServer' ? [client, server] : [server, client]
    proxy.stall(direction)
    from.socket.write('late')
    to.socket.write('through')
    await waitFor('the other direction passes', () => from.text.endsWith('through'))
    expect(to.text).not.toContain('late')
    proxy.resume()
    await waitFor('the rest follows', () => to.text.endsWith('late'))
  })

  it('stalls both passes neither bytes nor the end nor a reset, until it resumes', async () => {
    const [speaking, ending, dying] = [await connected(), await connected(), await connected()]
    proxy.stall('both')
    speaking.client.socket.end('last words')
    ending.client.socket.end()
    dying.client.socket.resetAndDestroy()
    await waitFor('the client is gone', () => dying.client.closed)
    // Time enough for anything that is not held: a byte goes through the same process and back.
    const bypass = connect((server.address() as AddressInfo).port, '127.0.0.1')
    bypass.write('!')
    await waitFor('a direct byte arrives', () => accepted.at(-1)?.text === '!')
    bypass.destroy()
    const seen = [speaking, ending, dying].map((pair) => [
      pair.server.text,
      pair.server.ended,
      pair.server.closed,
    ])
    expect(seen).toEqual([1, 2, 3].map(() => ['>', false, false]))
    proxy.resume()
    await waitFor('the ends arrive', () => speaking.server.ended && ending.server.ended)
    await waitFor('the reset arrives', () => dying.server.closed)
    expect([speaking.server.text, dying.server.error?.code]).toEqual(['>last words', 'ECONNRESET'])
  })

  it('cuts while it stalls', async () => {
    const { client, server } = await connected()
    proxy.stall('both')
    client.socket.write('lost')
    proxy.cut()
    await waitFor('both ends are closed', () => client.closed && server.closed)
    expect([client.error?.code, server.error?.code]).toEqual(['ECONNRESET', 'ECONNRESET'])
  })

  it.each(['toServer', 'toClient'] as const)(
    'half-closes %s ends that direction, loses what still comes, and the other goes on',
    async (direction) => {
      const { client, server } = await connected()
      const [from, to] = direction === 'toServer' ? [client, server] : [server, client]
      proxy.halfClose(direction)
      await waitFor('the end arrives', () => to.ended)
      from.socket.write('lost')
      to.socket.write('through')
      await waitFor('the other direction passes', () => from.text.endsWith('through'))
      await roundTrip()
      expect(to.text).not.toContain('lost')
      expect([from.ended, from.error, to.error]).toEqual([false, null, null])
    },
  )

  it('throttles one direction over all connections, and the other is as fast as ever', async () => {
    const [one, two] = [await connected(), await connected()]
    const startedAt = performance.now()
    const before = proxy.bytes
    proxy.throttle(40_000, 'toServer')
    for (const { client } of [one, two]) client.socket.write(Buffer.alloc(10_000))
    one.server.socket.write(Buffer.alloc(5_000_000))
    await waitFor('the answer is there', () => one.client.received > 5_000_000)
    const early = proxy.bytes.toServer - before.toServer
    const most = 40_000 * ((performance.now() - startedAt) / 1000) + 2 * 2000
    expect(early).toBeLessThanOrEqual(most)
    await waitFor('all has arrived', () => one.server.received + two.server.received === 20_002)
    // Never early: a rate is a promise of "no faster".
    expect(performance.now() - startedAt).toBeGreaterThan(400)
    proxy.resume()
    two.client.socket.write(Buffer.alloc(10_000_000))
    await waitFor('full speed again', () => two.server.received === 10_010_001)
  })

  it('inspects can lose bytes, cut their connection, and wait', async () => {
    const one = await connected()
    const gate = Promise.withResolvers<void>()
    proxy.inspect = async (bytes) => {
      const text = bytes.toString()
      if (text === 'wait') await gate.promise
      return text === 'lose' ? 'lose' : text === 'cut' ? 'cut' : 'pass'
    }
    one.client.socket.write('lose')
    await roundTrip()
    one.client.socket.write('wait')
    await roundTrip()
    expect(one.server.text).toBe('>')
    gate.resolve()
    await waitFor('it goes on', () => one.server.text === '>wait')
    const other = await connected()
    one.client.socket.write('cut')
    await waitFor('it is cut', () => one.client.closed && one.server.closed)
    expect(one.server.text).toBe('>wait')
    other.client.socket.write('!')
    await waitFor('the other one stays', () => other.server.text === '>!')
  })
})
