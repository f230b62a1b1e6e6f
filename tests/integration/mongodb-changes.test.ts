import { Decimal128, Long } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { line, Mirror } from '../support/mirror.ts'
import { testMongo } from '../support/mongo.ts'
import {
  copyAndStop,
  createWithImages,
  inTransaction,
  mapped,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

const ORDERS = mapped({
  orders: {
    collection: 'orders',
    fields: {
      id: { path: '_id', type: 'int64' },
      city: { path: 'address.city', type: 'text?' },
      total: { path: 'total', type: 'decimal?' },
    },
    key: ['id'],
  },
})

function rows(...list: readonly Record<string, string | null>[]): readonly string[] {
  return list.map(line).toSorted()
}

async function orders(): Promise<
  Awaited<ReturnType<typeof testMongo>> & { readonly options: SourceOptions }
> {
  const mongo = await testMongo()
  const options = { uri: mongo.uri, database: mongo.database, mapping: ORDERS }
  return Object.assign(mongo, { options })
}

describe('changes of documents', () => {
  it('become changes of rows', async () => {
    await using mongo = await orders()
    const collection = mongo.client
      .db(mongo.database)
      .collection<{ _id: number; [name: string]: unknown }>('orders')
    await createWithImages(mongo.client.db(mongo.database), 'orders')
    await collection.insertOne({ _id: 1, address: { city: 'Ulm' }, total: Decimal128.fromString('1.50') })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await collection.insertOne({ _id: 2, address: { city: 'Bonn', zip: 1 }, total: 7, hidden: 'x' })
    await collection.updateOne({ _id: 1 }, { $set: { 'address.city': 'Köln' } })
    await collection.replaceOne({ _id: 2 }, { address: null, total: Long.fromBigInt(9_007_199_254_740_993n) })
    await collection.insertOne({ _id: 3 })
    await collection.deleteOne({ _id: 3 })
    await run.settled()
    expect(run.mirror.rows('public.orders')).toEqual(
      rows({ id: '1', city: 'Köln', total: '1.50' }, { id: '2', city: null, total: '9007199254740993' }),
    )
    expect(run.mirror.history.filter((entry) => !/^(begin|commit)$/.test(entry))).toEqual([
      'insert public.orders {"id":"2","city":"Bonn","total":"7"}',
      'update public.orders {"id":"1","city":"Köln","total":"1.50"} before null',
      'update public.orders {"id":"2","city":null,"total":"9007199254740993"} before null',
      'insert public.orders {"id":"3","city":null,"total":null}',
      'delete public.orders {"id":"3"}',
    ])
  })

  it('of a transaction are one transaction, also over several collections', async () => {
    await using mongo = await orders()
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'orders')
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    const collection = db.collection<{ _id: number; total?: number }>('orders')
    await inTransaction(mongo.client, async (session) => {
      await collection.insertOne({ _id: 1, total: 1 }, { session })
      await db.collection('other').insertOne({ n: 1 }, { session })
      await collection.updateOne({ _id: 1 }, { $set: { total: 2 } }, { session })
      await collection.insertOne({ _id: 2, total: 3 }, { session })
    })
    await run.settled()
    expect(run.mirror.history).toEqual([
      'begin',
      'insert public.orders {"id":"1","city":null,"total":"1"}',
      'update public.orders {"id":"1","city":null,"total":"2"} before null',
      'insert public.orders {"id":"2","city":null,"total":"3"}',
      'commit',
    ])
  })

  it('come again from every position, and nothing is missing then', async () => {
    await using mongo = await orders()
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'orders')
    const collection = db.collection<{ _id: number; total?: number }>('orders')
    const { mirror, position } = await copyAndStop(mongo.options)
    for (let id = 1; id <= 5; id++) await collection.insertOne({ _id: id, total: id })
    await inTransaction(mongo.client, async (session) => {
      await collection.updateOne({ _id: 1 }, { $set: { total: 10 } }, { session })
      await collection.deleteOne({ _id: 2 }, { session })
    })
    await collection.updateOne({ _id: 3 }, { $unset: { total: 1 } })
    const all = await resume(mongo.options, position, mirror)
    const expected = all.rows('public.orders')
    expect(expected).toEqual(
      rows(
        { id: '1', city: null, total: '10' },
        { id: '3', city: null, total: null },
        { id: '4', city: null, total: '4' },
        { id: '5', city: null, total: '5' },
      ),
    )
    const commits = all.positions.filter(({ isCommit }) => isCommit)
    expect(commits).toHaveLength(7)
    for (const [index, { position: from }] of commits.entries()) {
      const again = await resume(mongo.options, JSON.parse(JSON.stringify(from)), new Mirror())
      const later = again.history.filter((entry) => entry === 'commit')
      expect(later).toHaveLength(commits.length - 1 - index)
    }
  })
})
