import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UNCHANGED } from '../../src/core/canonical.ts'
import { PoisonRecordError } from '../../src/core/error.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { at, attempt, column, connected, int, store, table, text, transaction } from './clickhouse-fixture.ts'

let server: TestClickHouse
beforeAll(async () => {
  server = await testClickHouse('rows')
})
afterAll(() => server[Symbol.asyncDispose]())

let names = 0
/** A table of its own for each test. */
const orders = () =>
  table([column('1', 'id', int(64)), column('2', 'state', text, true), column('3', 'note', text, true)], {
    name: `orders${++names}`,
  })

const current = (name: string) => server.query(`SELECT * FROM ${name}__current ORDER BY id`)
const rawCount = async (name: string) =>
  (await server.query<{ n: string }>(`SELECT count() AS n FROM ${name}`))[0]!.n

describe('rows in ClickHouse', () => {
  it('keeps inserted, updated and deleted rows equal in the view and with FINAL', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        tx.insert(schema, { id: 1n, state: 'new', note: null })
        tx.insert(schema, { id: 2n, state: 'new', note: 'x' })
        tx.insert(schema, { id: 3n, state: 'new', note: '' })
      }),
    )
    await store(
      sink,
      transaction(200, (tx) => {
        tx.update(schema, { id: 1n, state: 'paid', note: 'ñ' })
        tx.delete(schema, { id: 2n })
      }),
    )
    const rows = [
      { id: '1', state: 'paid', note: 'ñ' },
      { id: '3', state: 'new', note: '' },
    ]
    expect(await current(schema.name)).toEqual(rows)
    expect(await server.query(`SELECT id, state, note FROM ${schema.name} FINAL ORDER BY id`)).toEqual(rows)
    await sink.disconnect()
  })

  it('lets the newer version win when an older one arrives late (CH-3)', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(200, (tx) => tx.insert(schema, { id: 1n, state: 'newer', note: null })),
    )
    await store(
      sink,
      transaction(100, (tx) => tx.insert(schema, { id: 1n, state: 'older', note: null })),
    )
    expect(await current(schema.name)).toEqual([{ id: '1', state: 'newer', note: null }])
    await sink.disconnect()
  })

  it('removes the old row when the key changes, with the old key or the complete old row in the log (CH-5)', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        tx.insert(schema, { id: 1n, state: 'a', note: null })
        tx.insert(schema, { id: 2n, state: 'b', note: null })
        tx.update(schema, { id: 11n, state: 'a', note: null }, { id: 1n })
        tx.update(schema, { id: 12n, state: 'c', note: null }, { id: 2n, state: 'b', note: null })
        tx.update(schema, { id: 12n, state: 'd', note: null }, { id: 12n, state: 'c', note: null })
      }),
    )
    expect(await current(schema.name)).toEqual([
      { id: '11', state: 'a', note: null },
      { id: '12', state: 'd', note: null },
    ])
    await sink.disconnect()
  })

  it('swaps two keys within one transaction', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(100, (tx) => {
        tx.insert(schema, { id: 1n, state: 'a', note: null })
        tx.insert(schema, { id: 2n, state: 'b', note: null })
        tx.update(schema, { id: 3n, state: 'a', note: null }, { id: 1n })
        tx.update(schema, { id: 1n, state: 'b', note: null }, { id: 2n })
        tx.update(schema, { id: 2n, state: 'a', note: null }, { id: 3n })
      }),
    )
    expect(await current(schema.name)).toEqual([
      { id: '1', state: 'b', note: null },
      { id: '2', state: 'a', note: null },
    ])
    await sink.disconnect()
  })

  it('gives the same rows again when a whole range of the log is replayed by a new run', async () => {
    const schema = orders()
    const batches = () => [
      transaction(100, (tx) => {
        for (let id = 1n; id <= 50n; id++) tx.insert(schema, { id, state: 'new', note: null })
      }),
      transaction(300, (tx) => {
        for (let id = 1n; id <= 50n; id += 2n) tx.delete(schema, { id })
        tx.update(schema, { id: 100n, state: 'moved', note: null }, { id: 2n })
      }),
      transaction(400, (tx) => tx.insert(schema, { id: 1n, state: 'again', note: null })),
    ]
    const first = await connected(server.url, server.database)
    await first.createTable(schema)
    for (const batch of batches()) await store(first, batch)
    const before = await current(schema.name)
    await first.disconnect()
    const second = await connected(server.url, server.database)
    await second.createTable(schema)
    for (const batch of batches()) {
      await store(second, batch)
    }
    expect(await current(schema.name)).toEqual(before)
    expect(before).toHaveLength(26)
    await second.disconnect()
  })

  it('refuses an insert that leaves a column out, and names it without its values', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    const batch = transaction(100, (tx) => tx.insert(schema, { id: 1n, state: 'secret' }))
    const error = await sink.writeBatch(batch, attempt).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(PoisonRecordError)
    expect(error).toMatchObject({
      code: 'clickhouse/absent-cell',
      message: expect.stringContaining('"note"'),
    })
    expect(String(error)).not.toContain('secret')
    await sink.disconnect()
  })

  it('is durable for a batch without rows at once, unless rows wait', async () => {
    const schema = orders()
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    const empty = (version: number) => transaction(version, () => {})
    expect(await sink.writeBatch(empty(1), attempt)).toEqual({ durable: at(1) })
    await sink.writeBatch(
      transaction(2, (tx) => tx.insert(schema, { id: 1n, state: 'a', note: null })),
      attempt,
    )
    expect(await sink.writeBatch(empty(3), attempt)).toEqual({ durable: at(1) })
    expect(await sink.flush(attempt)).toEqual({ durable: at(3) })
    expect(await rawCount(schema.name)).toBe('1')
    await sink.disconnect()
  })

  it('writes rows of several tables, and versions that need 64 bits', async () => {
    const [a, b] = [orders(), orders()]
    const sink = await connected(server.url, server.database)
    await sink.createTable(a)
    await sink.createTable(b)
    const version = (1n << 64n) - 70_000n
    await store(
      sink,
      transaction(version, (tx) => {
        tx.insert(a, { id: 1n, state: 'a', note: null })
        tx.insert(b, { id: -1n, state: 'b', note: null })
        tx.update(a, { id: 1n, state: UNCHANGED, note: 'n' }, { id: 1n, state: 'a', note: null })
      }),
    )
    expect(await server.query(`SELECT *, _version FROM ${a.name} FINAL`)).toMatchObject([
      { id: '1', state: 'a', note: 'n', _version: String(version + 2n) },
    ])
    expect(await current(b.name)).toEqual([{ id: '-1', state: 'b', note: null }])
    await sink.disconnect()
  })

  it('takes the columns in the order that each batch has them', async () => {
    const schema = orders()
    const other = { ...schema, columns: schema.columns.toReversed(), key: [2] }
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    for (const [index, shape] of [schema, { ...schema }, other, schema].entries()) {
      const row = { id: BigInt(index), state: `s${index}`, note: `n${index}` }
      await sink.writeBatch(
        transaction(index + 1, (tx) => tx.insert(shape, row)),
        attempt,
      )
    }
    await sink.flush(attempt)
    expect(await current(schema.name)).toEqual(
      [0, 1, 2, 3].map((index) => ({ id: String(index), state: `s${index}`, note: `n${index}` })),
    )
    const mixed = transaction(9, (tx) => {
      for (const shape of [schema, other]) tx.insert(shape, { id: 1n, state: 'a', note: 'b' })
    })
    await expect(sink.writeBatch(mixed, attempt)).rejects.toMatchObject({ code: 'clickhouse/two-schemas' })
    await sink.disconnect()
  })
})
