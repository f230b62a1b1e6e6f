import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'

import { ReplicationStream } from '../../../src/connectors/sources/postgres/stream.ts'
import type { CatalogWatch } from '../../../src/connectors/sources/postgres/catalog-watch.ts'
import type { Follower } from '../../../src/connectors/sources/postgres/follower.ts'
import { int32 } from './messages.ts'

function frame(type: string, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content)
  return Buffer.concat([Buffer.from(type), int32(bytes.length + 4), bytes])
}

const READY = Buffer.concat([frame('R', int32(0)), frame('Z', 'I')])
const SHUTDOWN = frame(
  'E',
  'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0',
)
const SLOT_IN_USE = Buffer.concat([
  frame('E', 'SERROR\0VERROR\0C55006\0Mreplication slot "s" is active for PID 1\0\0'),
  frame('Z', 'I'),
])

/** A server that is none: it answers the startup message and the first query with these bytes. */
async function fakeServer(
  onStartup: Buffer,
  onQuery: Buffer | null,
): Promise<AsyncDisposable & { readonly url: string; readonly closed: Promise<unknown> }> {
  let close: () => void = () => {}
  const closed = new Promise<void>((resolve) => (close = resolve))
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('close', close)
    let started = false
    socket.on('data', (bytes: Buffer) => {
      // Terminate.
      if (started && bytes[0] === 0x58) socket.end()
      const answer = started ? onQuery : onStartup
      started = true
      if (answer !== null && !socket.writableEnded) socket.write(answer)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `postgres://u:p@127.0.0.1:${(server.address() as AddressInfo).port}/d`,
    closed,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function streamFrom(url: string, signal = new AbortController().signal): ReplicationStream {
  return new ReplicationStream({
    url,
    applicationName: 'test',
    slot: 's',
    publication: 'p',
    from: 0n,
    durable: 0n,
    heartbeatMs: 60_000,
    owesWhole: false,
    schemaPollMs: 60_000,
    watch: { poll: () => Promise.resolve(), due: () => [] } as unknown as CatalogWatch,
    walSenderTimeoutMs: 60_000,
    follower: { decoder: { hasRows: false, inTransaction: false, lastCommit: 0n } } as unknown as Follower,
    out: { signal, write: () => {} },
    now: () => 0,
  })
}

describe('the replication connection', () => {
  it('reports that the server ends it in the very moment in which it is ready', async () => {
    await using server = await fakeServer(Buffer.concat([READY, SHUTDOWN]), null)
    const stream = streamFrom(server.url)
    const run = stream.run()
    run.catch(() => {})
    await Promise.race([run.catch(() => {}), server.closed])
    await stream.close()
    // What counts is that nobody else hears of it: an error without a listener ends the process.
    await expect(Promise.race([run, new Promise((resolve) => setImmediate(resolve))])).rejects.toMatchObject({
      code: 'postgres/connection-lost',
      retryable: true,
    })
  })

  it('reports why the stream does not start', async () => {
    await using server = await fakeServer(READY, SLOT_IN_USE)
    const stream = streamFrom(server.url)
    await expect(stream.run()).rejects.toMatchObject({ code: 'postgres/slot-active', retryable: true })
    await stream.close()
  })

  it('is closed when it is stopped while it is being made, and leaves no timer behind', async () => {
    await using server = await fakeServer(READY, null)
    const controller = new AbortController()
    const stream = streamFrom(server.url, controller.signal)
    const run = stream.run()
    controller.abort()
    await run
    await stream.close()
    await server.closed
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThan(3)
  })
})
