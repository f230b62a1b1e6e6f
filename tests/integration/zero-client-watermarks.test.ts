/** Watermarks of clients by table, kept in the change log: read, set, and gone on from (WS-9). */
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { openForReading } from '../../src/connectors/sinks/zero/log-file.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import { zeroWatermarks } from '../../src/index.ts'
import { GatewayConsumer } from '../support/gateway-bench.ts'
import { table } from '../support/memory-pipeline.ts'
import { waitFor } from '../support/wait-for.ts'
import { codeOf, type SinkOptions, ZeroSinkRun } from '../support/zero-sink-run.ts'

const users = table('users')
const orders = table('orders')
const TABLES = [users, orders]
const user = (id: number): ValueRow => ({ id, name: `user ${id}`, note: null })
const ID = 'anonymous/client/billing'

let run: ZeroSinkRun
const consumers: GatewayConsumer[] = []

afterEach(async () => {
  for (const { socket } of consumers.splice(0)) socket.terminate()
  await run[Symbol.asyncDispose]()
})

async function started(options: SinkOptions = {}): Promise<void> {
  run = await ZeroSinkRun.start(TABLES, options)
  await run.beginCopy(users)
  await run.copied(users, [user(1)])
  await run.copy(orders, [user(10)])
}

async function consume(request: object): Promise<GatewayConsumer> {
  const { host, port } = run.sink.address!
  const consumer = new GatewayConsumer(`ws://${host}:${port}/v1/changes`)
  consumers.push(consumer)
  await once(consumer.socket, 'open')
  consumer.socket.send(JSON.stringify({ tables: ['users', 'orders'], client: 'billing', ...request }))
  return consumer
}

/** Acknowledges the last that came, and waits until that is known. */
async function acknowledge(consumer: GatewayConsumer): Promise<string> {
  const { watermark } = consumer
  consumer.socket.send(JSON.stringify({ ack: watermark }))
  const watermarks = zeroWatermarks(run.path)
  await waitFor('it is acknowledged', () => watermarks.getWatermark(ID, 'users') === watermark)
  return watermark!
}

/** Follows from a snapshot that is acknowledged. */
async function following(): Promise<readonly [GatewayConsumer, string]> {
  const consumer = await consume({})
  await consumer.got('snapshot-end')
  return [consumer, await acknowledge(consumer)]
}

async function leave(consumer: GatewayConsumer): Promise<void> {
  consumer.socket.close()
  await consumer.end()
}

const idsOf = (consumer: GatewayConsumer): readonly unknown[] =>
  consumer.messages.filter(({ type }) => type === 'insert').map(({ row }) => row!['id'])

async function insert(id: number, into = users): Promise<void> {
  await run.commit((rows) => rows.insert(into, user(id)))
}

function oldestEntry(): number {
  const db = openForReading(run.path)
  try {
    return (db.prepare('SELECT min(seq) AS seq FROM log').get() as { seq: number }).seq
  } finally {
    db.close()
  }
}

async function http(query: string, method = 'GET', token?: string): Promise<readonly [number, unknown]> {
  const { host, port } = run.sink.address!
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` }
  const response = await fetch(`http://${host}:${port}/v1/watermarks?${query}`, { method, headers })
  const text = await response.text()
  return [response.status, text.startsWith('{') ? JSON.parse(text) : text]
}

describe('a named client of the gateway', () => {
  it('goes on after what it has acknowledged, without saying where', async () => {
    await started()
    const [consumer] = await following()
    await insert(2)
    await consumer.got('commit')
    await acknowledge(consumer)
    await insert(3)
    await consumer.got('commit', 2)
    await leave(consumer)
    const again = await consume({})
    await again.got('commit')
    expect(idsOf(again)).toEqual([3])
    expect(again.messages.map(({ type }) => type)).not.toContain('snapshot-begin')
  })

  it('gets a snapshot until it has acknowledged one', async () => {
    await started()
    const consumer = await consume({})
    await consumer.got('snapshot-end')
    await leave(consumer)
    const again = await consume({})
    await again.got('snapshot-end')
    expect(idsOf(again)).toEqual([10, 1])
  })

  it('keeps its place over a restart of the sink', async () => {
    await started()
    const [, watermark] = await following()
    await run.stop()
    await run.start(TABLES)
    expect(zeroWatermarks(run.path).getWatermark(ID, 'orders')).toBe(watermark)
    await insert(2)
    const again = await consume({})
    await again.got('commit')
    expect(idsOf(again)).toEqual([2])
  })

  it('holds the log while it is away', async () => {
    await started({ retain: '0s' })
    await insert(9)
    const [consumer] = await following()
    await leave(consumer)
    for (const id of [2, 3, 4]) await insert(id)
    // Entries of before are gone: the log was tidied up.
    await waitFor('the log was tidied up', () => oldestEntry() > 1, 20_000)
    const again = await consume({})
    await again.got('commit', 3)
    expect(idsOf(again)).toEqual([2, 3, 4])
  })

  it('is ended when it acknowledges what was never sent', async () => {
    await started()
    const [consumer] = await following()
    consumer.socket.send('{"ack":"zzz"}')
    expect((await consumer.end()).code).toBe(4400)
    const other = await consume({ tables: ['users'], client: 'other' })
    await other.got('snapshot-end')
    await insert(11, orders)
    // It is in the log, and this consumer has not heard of it.
    const everything = await consume({ client: 'third' })
    await everything.got('snapshot-end')
    other.socket.send(JSON.stringify({ ack: everything.watermark }))
    expect((await other.end()).code).toBe(4400)
  })

  it('begins anew with a table that it never had', async () => {
    await started()
    const first = await consume({ tables: ['users'] })
    await first.got('snapshot-end')
    await acknowledge(first)
    await leave(first)
    const again = await consume({})
    await again.got('snapshot-end')
    expect(idsOf(again)).toEqual([10, 1])
  })

  it('begins anew when it was away for too long', async () => {
    await started({ retain: '0s', forgetAfter: '1s' })
    const [consumer] = await following()
    await leave(consumer)
    for (const id of [2, 3]) await insert(id)
    await waitFor('it is forgotten', () => !zeroWatermarks(run.path).clients().includes(ID), 20_000)
    const again = await consume({})
    await again.got('snapshot-end')
    expect(idsOf(again)).toContain(3)
  })
})

describe('the watermark of a client and a table', () => {
  it('set backwards makes the client receive from there again, at once', async () => {
    await started()
    const [consumer, watermark] = await following()
    for (const id of [2, 3]) await insert(id)
    await consumer.got('commit', 2)
    await acknowledge(consumer)
    zeroWatermarks(run.path).setWatermark(ID, 'users', watermark)
    expect(await consumer.end()).toMatchObject({ code: 4409 })
    const again = await consume({})
    await again.got('commit', 2)
    expect(idsOf(again)).toEqual([2, 3])
    const last = await acknowledge(again)
    expect(zeroWatermarks(run.path).getWatermark(ID, 'public.orders')).toBe(last)
  })

  it('of one table leaves the others as they are', async () => {
    await started()
    const [consumer, first] = await following()
    await insert(2)
    await consumer.got('commit')
    const second = await acknowledge(consumer)
    zeroWatermarks(run.path).setWatermark(ID, 'users', first)
    expect(await http('client=billing')).toEqual([
      200,
      { client: 'billing', watermarks: { users: first, orders: second } },
    ])
    const only = await consume({ tables: ['orders'] })
    await insert(11, orders)
    await only.got('commit')
    expect(idsOf(only)).toEqual([11])
  })

  it('is read and set over HTTP', async () => {
    await started()
    const [consumer, first] = await following()
    await insert(2)
    await consumer.got('commit')
    const second = await acknowledge(consumer)
    expect(await http('client=billing&table=orders')).toEqual([
      200,
      { client: 'billing', table: 'orders', watermark: second },
    ])
    const set = await http(`client=billing&table=users&watermark=${first}`, 'PUT')
    expect(set).toEqual([200, { client: 'billing', table: 'users', watermark: first }])
    expect(zeroWatermarks(run.path).getWatermark(ID, 'users')).toBe(first)
    expect((await consumer.end()).code).toBe(4409)
  })

  it.each([
    ['', 'GET', 400],
    ['client=no/name', 'GET', 400],
    ['client=nobody', 'GET', 404],
    ['client=billing&table=oders', 'GET', 404],
    ['client=billing&table=users', 'PUT', 400],
    ['client=billing&table=oders&watermark=01', 'PUT', 404],
    ['client=billing&table=users&watermark=!', 'PUT', 400],
    ['client=billing&table=users&watermark=01', 'PUT', 410],
    ['client=billing', 'POST', 405],
  ])('answers %s by %s with %i', async (query, method, status) => {
    await started()
    await following()
    expect((await http(query, method))[0]).toBe(status)
  })

  it('belongs to who has the token', async () => {
    await started({ tokens: { one: 'token-1', two: 'token-2' } })
    const { host, port } = run.sink.address!
    const consumer = new GatewayConsumer(`ws://${host}:${port}/v1/changes?k=token-1`)
    consumers.push(consumer)
    await once(consumer.socket, 'open')
    consumer.socket.send('{"tables":["users"],"client":"billing"}')
    await consumer.got('snapshot-end')
    consumer.socket.send(JSON.stringify({ ack: consumer.watermark }))
    await waitFor(
      'it is acknowledged',
      async () => (await http('client=billing', 'GET', 'token-1'))[0] === 200,
    )
    expect((await http('client=billing', 'GET', 'token-2'))[0]).toBe(404)
    expect((await http('client=billing'))[0]).toBe(401)
    expect((await http(`client=billing&table=users&watermark=01`, 'PUT'))[0]).toBe(401)
  })

  it('of a zero-cache is that of its last acknowledgement, and cannot be set', async () => {
    await started()
    const [, live] = await run.follow()
    await insert(2)
    await live.until('it is live', () => live.transactions.length > 0)
    const watermarks = zeroWatermarks(run.path)
    const id = 'anonymous/zero_0'
    expect(watermarks.clients()).toEqual([id])
    await waitFor('it is acknowledged', () => watermarks.getWatermark(id, 'users') === live.watermark)
    const set = async (): Promise<void> => watermarks.setWatermark(id, 'users', live.watermark!)
    expect(await codeOf(set())).toBe('zero/watermark')
  })

  it('needs a pipeline in this process', async () => {
    await started()
    await run.stop()
    const ask = async (): Promise<unknown> => zeroWatermarks(run.path)
    expect(await codeOf(ask())).toBe('zero/watermark')
  })
})
