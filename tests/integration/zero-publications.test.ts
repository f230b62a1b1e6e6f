/** What a real zero-cache gets that asks for a part, and who must show a token. */
import { SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { type ComparedTable, untilEqual } from '../support/zero-equality.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { ZeroSubscriber } from '../support/zero-subscriber.ts'

const TOKEN = 'a-shared-token-of-the-test'
const JWT_SECRET = 'a secret of more than thirty-two bytes'
const SECRET_CELL = 'only for the house'

const ORDERS: ComparedTable = { name: 'orders', columns: ['id', 'status', 'total'], where: `status = 'open'` }
const SEEN = [ORDERS, 'customers']

let postgres: TestPostgres
let pipeline: ZeroPipeline
let cache: ZeroCache

beforeAll(async () => {
  postgres = await testPostgres('zero_part')
  await postgres.sql(`
    CREATE TABLE orders (id int4 PRIMARY KEY, status text NOT NULL, total numeric(10,2), secret text);
    INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'paid' END, i / 7.0, '${SECRET_CELL}'
      FROM generate_series(1, 40) i;
    CREATE TABLE customers (id int4 PRIMARY KEY, name text); INSERT INTO customers VALUES (1, 'Ann'), (2, 'Ben');
    CREATE TABLE hidden (id int4 PRIMARY KEY, name text); INSERT INTO hidden VALUES (1, '${SECRET_CELL}')`)
  pipeline = await ZeroPipeline.make({
    name: postgres.database,
    source: postgres.url,
    sink: {
      tokens: { cache: TOKEN },
      jwt: { secret: JWT_SECRET, clockTolerance: '0s' },
      publications: {
        shop: {
          tables: ['public.orders', 'public.customers'],
          columns: { 'public.orders': { exclude: ['secret'] } },
          rows: { 'public.orders': { status: 'open' } },
        },
      },
    },
  })
  await pipeline.start()
  await pipeline.listening()
  cache = await ZeroCache.start({ upstream: `${pipeline.url}?k=${TOKEN}`, publications: ['shop'] })
  await cache.ready()
})

afterAll(async () => {
  await cache?.[Symbol.asyncDispose]()
  await pipeline?.[Symbol.asyncDispose]()
  await postgres?.[Symbol.asyncDispose]()
})

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(`${cache?.lastWords}\n${pipeline?.lastWords}`)
})

function settled(): Promise<void> {
  return untilEqual(postgres.url, cache, SEEN)
}

async function token(lifetimeSeconds: number): Promise<string> {
  return new SignJWT({ sub: 'cache' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime(Math.floor(Date.now() / 1000) + lifetimeSeconds)
    .sign(Buffer.from(JWT_SECRET))
}

describe('a publication (ZE-13)', () => {
  it('selects tables, columns and rows of the first copy', async () => {
    await settled()
    using replica = cache.replica()
    expect(replica.rows('orders')).toHaveLength(20)
    expect(replica.tables()).toEqual([
      'customers',
      'orders',
      'zero.permissions',
      'zero_0.clients',
      'zero_0.mutations',
    ])
  })

  it('lets rows come and go as they begin and stop to match, and hides all else', async () => {
    await postgres.sql(`UPDATE orders SET status = 'open' WHERE id IN (1, 3); UPDATE orders SET status = 'paid' WHERE id = 2;
      UPDATE orders SET total = 1 WHERE id IN (4, 5); UPDATE orders SET id = 104 WHERE id = 4;
      UPDATE orders SET id = 106, status = 'paid' WHERE id = 6; DELETE FROM orders WHERE id IN (7, 8);
      UPDATE hidden SET name = 'x'; UPDATE orders SET secret = 'other'`)
    await settled()
    await postgres.sql(`UPDATE orders SET status = CASE status WHEN 'open' THEN 'paid' ELSE 'open' END`)
    await settled()
    await postgres.sql(
      `ALTER TABLE orders ADD COLUMN later int4 DEFAULT 5; UPDATE orders SET total = total + 1`,
    )
    const more: ComparedTable = { ...ORDERS, columns: [...ORDERS.columns!, 'later'] }
    await untilEqual(postgres.url, cache, [more, 'customers'])
    await postgres.sql(`TRUNCATE orders; INSERT INTO orders VALUES (1, 'open'), (2, 'paid')`)
    await untilEqual(postgres.url, cache, [more, 'customers'])
    expect(cache.exits).toEqual([])
  })

  it('sends no frame with what it hides', async () => {
    await postgres.sql(`INSERT INTO orders VALUES (900, 'open', 1, '${SECRET_CELL}')`)
    await using subscriber = await ZeroSubscriber.connect({
      url: `${pipeline.url}?k=${TOKEN}`,
      publications: ['shop'],
    })
    await subscriber.until('a snapshot', () => subscriber.transactions.length === 1)
    const text = JSON.stringify(subscriber.transactions)
    expect(text).toContain('"status":"open"')
    expect(text).not.toContain(SECRET_CELL)
    expect(text).not.toContain('hidden')
  })

  it('that is unknown is refused', async () => {
    const refused = ZeroSubscriber.connect({
      url: `${pipeline.url}?k=${TOKEN}`,
      publications: ['shop', 'shopp'],
    }).then(async (subscriber) => {
      await using open = subscriber
      await open.until('it is closed', () => open.closed !== null)
      throw new Error(open.closed!.reason)
    })
    await expect(refused).rejects.toThrow(/shopp/)
  })

  it('that is unknown and has a name longer than a close frame is refused too', async () => {
    await using subscriber = await ZeroSubscriber.connect({
      url: `${pipeline.url}?k=${TOKEN}`,
      publications: ['€'.repeat(100)],
    })
    await subscriber.until('it is closed', () => subscriber.closed !== null)
    expect(subscriber.closed!.code).toBe(4400)
  })
})

describe('a token', () => {
  it('that is wrong or missing lets nobody in', async () => {
    for (const query of ['', '?k=', `?k=${TOKEN}x`, `?k=${await token(-1)}`])
      await expect(ZeroSubscriber.connect({ url: `${pipeline.url}${query}` })).rejects.toThrow('401')
  })

  it('that expires ends the stream; with a new one zero-cache goes on where it was', async () => {
    await cache.stop()
    await cache.restart(`${pipeline.url}?k=${await token(15)}`)
    await postgres.sql(`INSERT INTO orders VALUES (1000, 'open')`)
    const orders: ComparedTable = { ...ORDERS, columns: [...ORDERS.columns!, 'later'] }
    await untilEqual(postgres.url, cache, [orders])
    const version = replicaVersion()
    await cache.until(
      'the source has closed the stream and lets it in no more',
      () => cache.output.includes('server response: 401'),
      30_000,
    )
    await postgres.sql(`INSERT INTO orders VALUES (1001, 'open')`)
    await cache.stop()
    await cache.restart(`${pipeline.url}?k=${await token(600)}`)
    await untilEqual(postgres.url, cache, [orders])
    expect(replicaVersion()).toBe(version)
  })
})

function replicaVersion(): string {
  using replica = cache.replica()
  return replica.version()
}
