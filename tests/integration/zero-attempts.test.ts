/** What subscribers notice when the source fails and the pipeline tries again: nothing. */
import pg from 'pg'
import { expect, it } from 'vitest'
import { TcpProxy } from '../../src/testkit/index.ts'
import { testPostgres } from '../support/postgres.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { ZeroSubscriber } from '../support/zero-subscriber.ts'

it('serves subscribers and takes new ones while the source is away', async () => {
  await using postgres = await testPostgres('zero_attempts')
  await postgres.sql(
    'CREATE TABLE items (id int4 PRIMARY KEY, n int4 NOT NULL); INSERT INTO items VALUES (1, 0)',
  )
  const { hostname: host, port } = new URL(postgres.url)
  await using proxy = await TcpProxy.start({ host, port: Number(port) })
  const source = new URL(postgres.url)
  source.host = `127.0.0.1:${proxy.port}`
  await using pipeline = await ZeroPipeline.make({ name: postgres.database, source: source.href })
  await pipeline.start()
  await pipeline.until('it serves', () => pipeline.log.some(({ message }) => message === 'serving'))
  await using first = await ZeroSubscriber.connect({ url: pipeline.url })
  await first.until('a snapshot', () => first.watermark !== null)
  const after = { lastWatermark: first.watermark!, replicaVersion: first.watermark! }
  await using follower = await ZeroSubscriber.connect({ url: pipeline.url, after })

  proxy.refuse(true)
  proxy.cut()
  const retried = (): number =>
    pipeline.log.filter(({ message }) => message.startsWith('attempt failed')).length
  await pipeline.until('an attempt failed, and one more', () => retried() > 1)
  await using late = await ZeroSubscriber.connect({ url: pipeline.url })
  await late.until('a snapshot without the source', () => late.watermark !== null)
  proxy.refuse(false)

  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  await client.query('UPDATE items SET n = 1')
  await client.end()
  await follower.until('the change arrives on the same socket', () =>
    follower.transactions.some(({ changes }) => changes.some(({ tag }) => tag === 'update')),
  )
  expect(follower.closed).toBeNull()
  expect(follower.others).toEqual([])
  const { port: served } = pipeline
  await pipeline.stop()
  await expect(fetch(`http://127.0.0.1:${served}/`)).rejects.toThrow('fetch failed')
})
