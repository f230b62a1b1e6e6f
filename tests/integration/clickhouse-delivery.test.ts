import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import type { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import { CoreError } from '../../src/core/error.ts'
import type { TableSchema } from '../../src/core/table.ts'
import { clickHouseCommand, type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { waitFor } from '../support/wait-for.ts'
import { at, attempt, column, connected, int, store, table, text, transaction } from './clickhouse-fixture.ts'
import { InsertProxy } from './clickhouse-proxy.ts'

let server: TestClickHouse
let proxy: InsertProxy
beforeAll(async () => {
  server = await testClickHouse('delivery')
})
afterAll(() => server[Symbol.asyncDispose]())
beforeEach(async () => {
  proxy = await InsertProxy.start(server.url)
})
afterEach(() => proxy[Symbol.asyncDispose]())

let names = 0
const events = () =>
  table([column('1', 'id', int(64)), column('2', 'body', text)], { name: `events${++names}` })

function rows(schema: TableSchema, version: number, count: number, body = 'x'): RecordBatch {
  return transaction(version, (tx) => {
    for (let i = 0; i < count; i++) tx.insert(schema, { id: BigInt(version + i), body })
  })
}

const rawCount = async (name: string) =>
  Number((await server.query<{ n: string }>(`SELECT count() AS n FROM ${name}`))[0]!.n)

/** Makes the table, and keeps the server from merging rows that were written twice into one. */
async function makeUnmerged(sink: ClickHouseSink, schema: TableSchema): Promise<void> {
  await sink.createTable(schema)
  await server.command(`SYSTEM STOP MERGES ${schema.name}`)
}

/** Calls again after every retryable failure, as the runtime does. */
async function repeated<T>(call: () => Promise<T>, failures: CoreError[] = []): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof CoreError) || !error.retryable || failures.length > 500) throw error
      failures.push(error)
    }
  }
}

describe('delivery to ClickHouse', () => {
  it('leaves the same raw rows when the answer of an insert is lost and it is sent again (CH-2)', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database)
    await makeUnmerged(sink, schema)
    await sink.writeBatch(rows(schema, 1000, 10), attempt)
    proxy.loseAnswers = 2
    await expect(sink.flush(attempt)).rejects.toMatchObject({
      code: 'clickhouse/connection',
      retryable: true,
    })
    // The server may still be at the lost one, and then says so (216): one more failure that is repeated.
    const failures: CoreError[] = []
    expect(await repeated(() => sink.flush(attempt), failures)).toEqual({ durable: at(1000) })
    expect(failures.length).toBeGreaterThan(0)
    expect(proxy.inserts).toBe(failures.length + 2)
    expect(await rawCount(schema.name)).toBe(10)
    await sink.disconnect()
  })

  it('reports a failure of the background at the next call, and takes the repeated batch once', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database, { flushRows: 100 })
    await makeUnmerged(sink, schema)
    proxy.loseAnswers = 1
    const failures: CoreError[] = []
    for (let batch = 0; batch < 10; batch++) {
      const next = rows(schema, 1000 + batch * 100, 60)
      await repeated(() => sink.writeBatch(next, attempt), failures)
    }
    expect(await repeated(() => sink.flush(attempt), failures)).toEqual({ durable: at(1900) })
    expect(failures.length).toBeGreaterThan(0)
    expect(await rawCount(schema.name)).toBe(600)
    await sink.disconnect()
  })

  it('goes on in the middle of a batch when it failed there', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database, { flushRows: 100 })
    await makeUnmerged(sink, schema)
    const failures: CoreError[] = []
    for (const version of [1000, 2000]) {
      proxy.loseAnswers = 1
      const large = rows(schema, version, 450)
      await repeated(() => sink.writeBatch(large, attempt), failures)
    }
    await repeated(() => sink.flush(attempt), failures)
    expect(failures).toHaveLength(2)
    expect(await rawCount(schema.name)).toBe(900)
    await sink.disconnect()
  })

  it('says nothing is durable before its insert is answered', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database, { flushRows: 10 })
    await makeUnmerged(sink, schema)
    proxy.hold()
    expect(await sink.writeBatch(rows(schema, 1000, 5), attempt)).toEqual({ durable: null })
    expect(await sink.writeBatch(rows(schema, 2000, 8), attempt)).toEqual({ durable: null })
    await waitFor('the insert is held', () => proxy.holding === 1)
    proxy.release()
    expect(await sink.flush(attempt)).toEqual({ durable: at(2000) })
    await sink.disconnect()
  })

  it('takes no more than one group in flight and one that fills', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database, { flushBytes: '64KB' })
    await makeUnmerged(sink, schema)
    proxy.hold()
    let accepted = 0
    const writing = (async () => {
      for (let batch = 0; batch < 40; batch++) {
        await sink.writeBatch(rows(schema, 1000 + batch * 100, 10, 'y'.repeat(1000)), attempt)
        accepted++
      }
    })()
    await waitFor('the insert is held', () => proxy.holding === 1)
    // 63 rows of about 1 kB fill a group; the 13th batch does not fit any more.
    await waitFor('the second group is full', () => accepted >= 12)
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    expect(accepted).toBe(12)
    proxy.release()
    await writing
    await sink.flush(attempt)
    expect(await rawCount(schema.name)).toBe(400)
    await sink.disconnect()
  })

  it('stops waiting when it is asked to, and goes on with the same insert later', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database)
    await makeUnmerged(sink, schema)
    await sink.writeBatch(rows(schema, 1000, 10), attempt)
    proxy.hold()
    const stop = new AbortController()
    const flushing = sink.flush({ signal: stop.signal, attempt: 1 })
    await waitFor('the insert is held', () => proxy.holding === 1)
    stop.abort()
    await expect(flushing).rejects.toMatchObject({ code: 'clickhouse/aborted' })
    proxy.release()
    expect(await sink.flush(attempt)).toEqual({ durable: at(1000) })
    expect(proxy.inserts).toBe(1)
    expect(await rawCount(schema.name)).toBe(10)
    await sink.disconnect()
  })

  it('ends requests that are in flight when it is disconnected', async () => {
    const schema = events()
    const sink = await connected(proxy.url, server.database)
    await makeUnmerged(sink, schema)
    await sink.writeBatch(rows(schema, 1000, 10), attempt)
    proxy.hold()
    const flushing = sink.flush(attempt).catch((error: unknown) => error)
    await waitFor('the insert is held', () => proxy.holding === 1)
    await sink.disconnect()
    expect(await flushing).toMatchObject({ code: 'clickhouse/aborted' })
    await expect(sink.flush(attempt)).rejects.toMatchObject({ code: 'clickhouse/not-connected' })
  })

  it('inserts once per flush at low traffic, and in large inserts at high traffic (CH-9)', async () => {
    const [busy, quiet] = [events(), events()]
    const sink = await connected(proxy.url, server.database, { flushBytes: '1MB' })
    await makeUnmerged(sink, busy)
    await makeUnmerged(sink, quiet)
    for (let batch = 0; batch < 200; batch++) await sink.writeBatch(rows(quiet, 1000 + batch, 1), attempt)
    await sink.flush(attempt)
    expect(proxy.inserts).toBe(1)

    proxy.inserts = 0
    let bytes = 0
    for (let batch = 0; batch < 100; batch++) {
      const large = rows(busy, 10_000 + batch * 200, 100, 'z'.repeat(1000))
      bytes += large.byteSize
      await sink.writeBatch(large, attempt)
      await sink.writeBatch(rows(quiet, 10_150 + batch * 200, 1), attempt)
    }
    await sink.flush(attempt)
    // The busy table once per megabyte, the quiet one with the flush only.
    expect(proxy.inserts).toBeLessThanOrEqual(Math.ceil(bytes / 1e6) + 1)
    expect(await rawCount(busy.name)).toBe(10_000)
    expect(await rawCount(quiet.name)).toBe(300)
    await sink.disconnect()
  })

  it.each(['gzip', 'zstd'])('sends compressed inserts: %s', async (compression) => {
    const schema = events()
    const sink = await connected(server.url, server.database, { compression })
    await makeUnmerged(sink, schema)
    await store(sink, rows(schema, 1000, 1000, 'compressible '.repeat(20)))
    expect(await server.query(`SELECT count() AS n, sum(length(body)) AS bytes FROM ${schema.name}`)).toEqual(
      [{ n: '1000', bytes: '260000' }],
    )
    await sink.disconnect()
  })
})

describe('delivery to a server that is killed', () => {
  it('loses nothing and doubles nothing when the server is killed during inserts and starts again', async () => {
    await using own = await startClickHouse()
    await clickHouseCommand(own.url, 'CREATE DATABASE cdc')
    const schema = events()
    const sink: ClickHouseSink = await connected(own.url, 'cdc', { flushRows: 2000 })
    await sink.createTable(schema)
    await clickHouseCommand(own.url, `SYSTEM STOP MERGES cdc.${schema.name}`)
    const failures: CoreError[] = []
    let batches = 0
    let writing = true
    const done = (async () => {
      while (writing || batches < 300) {
        const batch = rows(schema, 1000 + batches * 1000, 500, 'w'.repeat(200))
        await repeated(async () => {
          await sink.writeBatch(batch, attempt)
          if (batches % 7 === 0) await sink.flush(attempt)
        }, failures)
        batches++
        // Lets the kill in, and keeps the log of failures short while the server is away.
        await new Promise(setImmediate)
      }
      return repeated(() => sink.flush(attempt), failures)
    })()
    for (let kill = 0; kill < 3; kill++) {
      const seen = batches
      await waitFor('more batches are written', () => batches > seen + 20)
      await own.kill()
      await own.restart()
    }
    writing = false
    expect(await done).toEqual({ durable: at(1000 + (batches - 1) * 1000) })
    const result = await fetch(own.url, {
      method: 'POST',
      body: `SELECT count(), uniqExact(id), sum(length(body)) FROM cdc.${schema.name} FORMAT TSV`,
    })
    expect(await result.text()).toBe(`${batches * 500}\t${batches * 500}\t${batches * 500 * 200}\n`)
    await sink.disconnect()
  })
})
