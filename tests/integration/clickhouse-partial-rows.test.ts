import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RecordBatch } from '../../src/core/batch.ts'
import { UNCHANGED } from '../../src/core/canonical.ts'
import { type CoreError, PoisonRecordError } from '../../src/core/error.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import {
  arrayOf,
  attempt,
  change,
  column,
  connected,
  decimal,
  int,
  store,
  table,
  text,
  timestamp,
  transaction,
} from './clickhouse-fixture.ts'
import { InsertProxy } from './clickhouse-proxy.ts'

let server: TestClickHouse
beforeAll(async () => {
  server = await testClickHouse('partial')
})
afterAll(() => server[Symbol.asyncDispose]())

let names = 0
const documents = () =>
  table(
    [
      column('1', 'id', int(64)),
      column('2', 'state', text, true),
      column('3', 'big', text, true),
      column('4', 'tags', arrayOf(text)),
    ],
    { name: `documents${++names}` },
  )

/** 1 MB with every kind of byte sequence that UTF-8 has. */
const large = (seed: string) => `${seed}\0"'\\é€😀\n`.repeat(60_000)
const tags = ['a', 'b,c']

async function current(name: string) {
  return server.query<{ id: string; state: string | null; big: string | null; tags: string[] }>(
    `SELECT * FROM ${name}__current ORDER BY id`,
  )
}

describe('cells that the log left out because they did not change', () => {
  it('keeps a value of 1 MB: row and update in one batch, in two batches, after a restart (CH-4)', async () => {
    const schema = documents()
    const big = large('x')
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        tx.insert(schema, { id: 1n, state: 'a', big, tags })
        tx.update(schema, { id: 1n, state: 'b', big: UNCHANGED, tags: UNCHANGED })
        tx.update(schema, { id: 1n, state: 'c', big: UNCHANGED, tags: UNCHANGED })
      }),
    )
    const stored = (state: string) => [{ id: '1', state, big, tags }]
    expect(await current(schema.name)).toEqual(stored('c'))
    await store(
      sink,
      transaction(200, (tx) => tx.update(schema, { id: 1n, state: 'd', big: UNCHANGED, tags: UNCHANGED })),
    )
    expect(await current(schema.name)).toEqual(stored('d'))
    await sink.disconnect()
    const restarted = await connected(server.url, server.database)
    await restarted.createTable(schema)
    await store(
      restarted,
      transaction(300, (tx) => tx.update(schema, { id: 1n, state: UNCHANGED, big: UNCHANGED, tags: [] })),
    )
    expect(await current(schema.name)).toEqual([{ id: '1', state: 'd', big, tags: [] }])
    await restarted.disconnect()
  })

  it('finds the row among those that wait, without inserting them earlier', async () => {
    await using proxy = await InsertProxy.start(server.url)
    const schema = documents()
    const sink = await connected(proxy.url, server.database)
    await sink.createTable(schema)
    for (let version = 100; version < 150; version++) {
      const id = BigInt(version % 5)
      await sink.writeBatch(
        transaction(version * 10, (tx) => {
          if (version < 105) tx.insert(schema, { id, state: 's', big: `big ${id}`, tags })
          else tx.update(schema, { id, state: String(version), big: UNCHANGED, tags: UNCHANGED })
        }),
        attempt,
      )
    }
    await sink.flush(attempt)
    expect(proxy.inserts).toBe(1)
    expect((await current(schema.name)).map(({ state, big }) => [state, big])).toEqual(
      [0, 1, 2, 3, 4].map((id) => [String(145 + id), `big ${id}`]),
    )
    await sink.disconnect()
  })

  it('finds the row in the insert that is in flight', async () => {
    await using proxy = await InsertProxy.start(server.url)
    const schema = documents()
    const sink = await connected(proxy.url, server.database, { flushRows: 1 })
    await sink.createTable(schema)
    proxy.hold()
    await sink.writeBatch(
      transaction(100, (tx) => {
        tx.insert(schema, { id: 1n, state: 'a', big: 'in flight', tags })
      }),
      attempt,
    )
    const update = transaction(200, (tx) =>
      tx.update(schema, { id: 1n, state: 'b', big: UNCHANGED, tags: UNCHANGED }),
    )
    const updating = sink.writeBatch(update, attempt)
    await Promise.resolve()
    proxy.release()
    await updating
    await sink.flush(attempt)
    expect(await current(schema.name)).toEqual([{ id: '1', state: 'b', big: 'in flight', tags }])
    await sink.disconnect()
  })

  it('takes the value from the old image when the log has it there', async () => {
    const schema = documents()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) =>
        tx.update(
          schema,
          { id: 1n, state: 'b', big: UNCHANGED, tags: UNCHANGED },
          { id: 1n, state: 'a', big: null, tags },
        ),
      ),
    )
    expect(await current(schema.name)).toEqual([{ id: '1', state: 'b', big: null, tags }])
    await sink.disconnect()
  })

  it('keeps the value when the key changes too, from the row of the old key', async () => {
    const schema = documents()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => tx.insert(schema, { id: 1n, state: 'a', big: 'kept', tags })),
    )
    const moves = () =>
      transaction(200, (tx) => {
        tx.update(schema, { id: 2n, state: 'b', big: UNCHANGED, tags: UNCHANGED }, { id: 1n })
        tx.update(schema, { id: 2n, state: 'c', big: UNCHANGED, tags: UNCHANGED })
        tx.update(schema, { id: 3n, state: UNCHANGED, big: UNCHANGED, tags: UNCHANGED }, { id: 2n })
      })
    await store(sink, moves())
    const rows = [{ id: '3', state: 'c', big: 'kept', tags }]
    expect(await current(schema.name)).toEqual(rows)
    // A replay finds neither of the old keys any more.
    await store(sink, moves())
    expect(await current(schema.name)).toEqual(rows)
    await sink.disconnect()
  })

  it('takes nothing from a newer row that has the old key by now, at a replay', async () => {
    const schema = documents()
    const keyChange = transaction(200, (tx) => {
      tx.update(schema, { id: 2n, state: 'a', big: UNCHANGED, tags: UNCHANGED }, { id: 1n })
    })
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => tx.insert(schema, { id: 1n, state: 'a', big: 'first', tags })),
    )
    await store(sink, keyChange)
    await store(
      sink,
      transaction(300, (tx) => tx.insert(schema, { id: 1n, state: 'n', big: 'second', tags })),
    )
    await store(sink, keyChange)
    await sink.disconnect()
    expect(await current(schema.name)).toEqual([
      { id: '1', state: 'n', big: 'second', tags },
      { id: '2', state: 'a', big: 'first', tags },
    ])
  })

  it('stays equal when a range is replayed whose rows were changed, deleted and truncated since', async () => {
    const schema = documents()
    const other = documents()
    const begin = transaction(100, (tx) => {
      for (const id of [1n, 2n, 3n]) tx.insert(schema, { id, state: 'a', big: `big ${id}`, tags })
      tx.insert(other, { id: 1n, state: 'a', big: 'gone', tags })
    })
    const range = [
      transaction(200, (tx) => {
        for (const id of [1n, 2n, 3n]) tx.update(schema, { id, state: 'b', big: UNCHANGED, tags: UNCHANGED })
        tx.update(other, { id: 1n, state: 'b', big: UNCHANGED, tags: UNCHANGED })
      }),
      transaction(300, (tx) => {
        tx.update(schema, { id: 1n, state: 'c', big: 'other', tags: UNCHANGED })
        tx.delete(schema, { id: 2n })
      }),
      transaction(400, (tx) => {
        tx.update(schema, { id: 1n, state: 'd', big: UNCHANGED, tags: UNCHANGED })
        tx.insert(schema, { id: 2n, state: 'new', big: 'new', tags: [] })
        tx.delete(schema, { id: 3n })
      }),
    ]
    const rows = [
      { id: '1', state: 'd', big: 'other', tags },
      { id: '2', state: 'new', big: 'new', tags: [] },
    ]
    const play = async (batches: typeof range) => {
      const sink = await connected(server.url, server.database)
      await sink.createTable(schema)
      await sink.createTable(other)
      for (const batch of batches) await store(sink, batch)
      await change(sink, other, other, { kind: 'truncate' })
      await sink.disconnect()
    }
    await play([begin, ...range])
    expect(await current(schema.name)).toEqual(rows)
    await play(range)
    expect(await current(schema.name)).toEqual(rows)
    await play(range.slice(1))
    expect(await current(schema.name)).toEqual(rows)
    expect(await current(other.name)).toEqual([])
  })

  it('stops when the row is nowhere, instead of writing NULL', async () => {
    const schema = documents()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => tx.insert(schema, { id: 1n, state: 'a', big: 'b', tags })),
    )
    await store(
      sink,
      transaction(200, (tx) => tx.delete(schema, { id: 1n })),
    )
    await sink.disconnect()
    for (const id of [1n, 7n]) {
      const stopped = await connected(server.url, server.database)
      await stopped.createTable(schema)
      const batch = transaction(300, (tx) => tx.update(schema, { id, state: 'b', big: UNCHANGED, tags }))
      // The row is never left out: a repetition fails as well.
      for (const call of [() => store(stopped, batch), () => stopped.flush(attempt)]) {
        const error = await call().catch((thrown: unknown) => thrown)
        expect(error).toBeInstanceOf(PoisonRecordError)
        expect(error).toMatchObject({ code: 'clickhouse/missing-base-row' })
      }
      await stopped.disconnect()
    }
    expect(await current(schema.name)).toEqual([])
  })

  it('builds on rows that are looked up later themselves, in the order of the log', async () => {
    const schema = documents()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        for (const id of [1n, 2n, 3n]) tx.insert(schema, { id, state: 'a', big: `big ${id}`, tags })
      }),
    )
    const rest: ValueRow = { big: UNCHANGED, tags: UNCHANGED }
    const chain = (version: number) =>
      transaction(version, (tx) => {
        tx.update(schema, { id: 1n, state: 'b', ...rest })
        // The key moves on, and another row takes its place.
        tx.update(schema, { id: 9n, state: UNCHANGED, ...rest }, { id: 1n })
        tx.insert(schema, { id: 1n, state: 'new', big: 'new', tags: [] })
        tx.update(schema, { id: 1n, state: 'newer', ...rest })
        tx.update(schema, { id: 9n, state: 'c', ...rest })
        // A newer complete row, and a newer tombstone, win over what is looked up later.
        tx.update(schema, { id: 2n, state: 'b', ...rest })
        tx.update(schema, { id: 2n, state: 'c', big: 'other', tags: [] })
        tx.update(schema, { id: 3n, state: 'b', ...rest })
        tx.delete(schema, { id: 3n })
      })
    const rows = [
      { id: '1', state: 'newer', big: 'new', tags: [] },
      { id: '2', state: 'c', big: 'other', tags: [] },
      { id: '9', state: 'c', big: 'big 1', tags },
    ]
    const batch = chain(200)
    await store(sink, batch)
    expect(await current(schema.name)).toEqual(rows)
    await sink.disconnect()
    const replay = await connected(server.url, server.database)
    await replay.createTable(schema)
    await store(replay, chain(200))
    expect(await current(schema.name)).toEqual(rows)
    await replay.disconnect()
  })

  it('goes on where it was when a look-up or an insert of completed rows fails', async () => {
    await using proxy = await InsertProxy.start(server.url)
    const schema = documents()
    const sink = await connected(proxy.url, server.database, { flushBytes: '64KB' })
    await sink.createTable(schema)
    const big = 'v'.repeat(1000)
    await store(
      sink,
      transaction(100, (tx) => {
        for (let id = 0n; id < 200n; id++) tx.insert(schema, { id, state: 'a', big: big + id, tags })
      }),
    )
    const rest: ValueRow = { big: UNCHANGED, tags: UNCHANGED }
    await sink.writeBatch(
      transaction(1000, (tx) => {
        tx.update(schema, { id: 0n, state: 'b', ...rest })
        for (let id = 1n; id < 200n; id++) tx.update(schema, { id, state: 'b', ...rest })
        tx.update(schema, { id: 0n, state: UNCHANGED, big: UNCHANGED, tags: [] })
      }),
      attempt,
    )
    proxy.cutRead = 4
    proxy.loseAnswers = 1
    const codes: string[] = []
    const flushed = () =>
      sink.flush(attempt).then(
        () => true,
        (error: CoreError) => codes.push(error.code) > 10,
      )
    while (!(await flushed()));
    expect(codes).toEqual(['clickhouse/connection', 'clickhouse/connection'])
    const rows = await current(schema.name)
    expect(rows.map((row) => [row.state, row.big, row.tags.length])).toEqual(
      Array.from({ length: 200 }, (_, id) => ['b', big + id, id === 0 ? 0 : 2]),
    )
    await sink.disconnect()
  })

  it('keeps the order of rows that share one version, as those far behind in a long transaction do', async () => {
    const schema = documents()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        for (const id of [1n, 2n]) tx.insert(schema, { id, state: 'a', big: 'stored', tags })
      }),
    )
    const { origin, tables, rows, spans, position } = transaction(200, (tx) => {
      for (const id of [1n, 2n]) tx.update(schema, { id, state: 'b', big: UNCHANGED, tags: UNCHANGED })
      tx.update(schema, { id: 1n, state: 'c', big: 'newer', tags: [] })
      tx.delete(schema, { id: 2n })
    })
    const equal = spans.map((span) => ({ ...span, ordinalLimit: 0 }))
    await store(sink, RecordBatch.ofRows(origin, tables, rows!, equal, position))
    expect(await current(schema.name)).toEqual([{ id: '1', state: 'c', big: 'newer', tags: [] }])
    await sink.disconnect()
  })

  it('completes many large rows within its memory limit', async () => {
    await using proxy = await InsertProxy.start(server.url)
    const schema = documents()
    const sink = await connected(proxy.url, server.database, { flushBytes: '200KB' })
    await sink.createTable(schema)
    const body = 'q'.repeat(20_000)
    for (let id = 0; id < 100; id += 20) {
      await store(
        sink,
        transaction(100 + id, (tx) => {
          for (let i = id; i < id + 20; i++)
            tx.insert(schema, { id: BigInt(i), state: 'a', big: body + i, tags })
        }),
      )
    }
    proxy.inserts = 0
    await store(
      sink,
      transaction(1000, (tx) => {
        for (let i = 0; i < 100; i++) {
          tx.update(schema, { id: BigInt(i), state: 'b', big: UNCHANGED, tags: UNCHANGED })
        }
      }),
    )
    // 2 MB of rows, of which the log carried a few kB.
    expect(proxy.inserts).toBeGreaterThanOrEqual(9)
    const rows = await current(schema.name)
    expect(rows.map(({ state, big }) => [state, big])).toEqual(
      Array.from({ length: 100 }, (_, id) => ['b', body + id]),
    )
    await sink.disconnect()
  })

  it('finds rows by keys of every awkward kind', async () => {
    const schema = table(
      [
        column('1', 'd`ec', decimal(30, 4)),
        column('2', 'at', timestamp(6)),
        column('3', "te'xt\\", text),
        column('4', 'raw', { kind: 'bytes' }),
        column('5', 'uuid', { kind: 'uuid' }),
        column('6', 'day', { kind: 'date' }),
        column('7', 'yes', { kind: 'bool' }),
        column('8', 'big', text, true),
        column('9', 'n', int(32)),
      ],
      { name: 'awk`ward \'"\\ 名', key: [0, 1, 2, 3, 4, 5, 6] },
    )
    const keys = [`'; DROP TABLE x; --`, 'back\\slash', 'nul\0', '', 'é€😀', '`', '\n\t\b'].map(
      (value, i) => ({
        'd`ec': `-${i}99999999999999999999.1234`,
        at: `000${i + 1}-01-01 00:00:00.00000${i}+00`,
        "te'xt\\": value,
        raw: Uint8Array.from([0, 255, 39, 92, i]),
        uuid: `a0eebc99-9c0b-4ef8-bb6d-6bb9bd38000${i}`,
        day: `190${i}-02-28`,
        yes: i % 2 === 0,
      }),
    )
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        for (const [n, key] of keys.entries()) tx.insert(schema, { ...key, big: `big ${n}`, n })
      }),
    )
    await store(
      sink,
      transaction(200, (tx) => {
        for (const [n, key] of keys.entries()) tx.update(schema, { ...key, big: UNCHANGED, n: n + 100 })
      }),
    )
    const view = `\`${schema.name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}__current\``
    const rows = await server.query(`SELECT "te'xt\\\\" AS t, big, n FROM ${view} ORDER BY n`)
    expect(rows).toEqual(keys.map((key, n) => ({ t: key["te'xt\\"], big: `big ${n}`, n: n + 100 })))
    await sink.disconnect()
  })
})
