import { BSON, MongoClient, type Document } from 'mongodb'
import { describe, expect, test } from 'vitest'

import type { TestMongo } from '../support/mongo.ts'
import { cannedReply, CannedStream } from '../support/mongo-wire/canned.ts'
import { Cluster } from '../support/mongo-wire/cluster.ts'
import { markToken } from '../support/mongo-wire/token.ts'
import { waitFor } from '../support/wait-for.ts'
import { codeOf, opened, take, wireMongo, type Row, type Stream } from './mongo-wire-fixture.ts'

const quick = { maxAwaitTimeMS: 50 }

function setUp(mongo: TestMongo) {
  const db = mongo.client.db(mongo.database)
  return { db, rows: db.collection<Row>('rows') }
}

describe('a replica set', () => {
  test('elects another primary, and writes and streams of the driver go on', async (context) => {
    await using wire = await wireMongo(context, { members: 3, electionMs: 100 })
    const { rows } = setUp(wire.mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    await rows.insertOne({ _id: 1 })
    expect(wire.controls.primary).toBe(0)
    wire.controls.stepDown()
    await rows.insertOne({ _id: 2 })
    expect(wire.controls.primary).toBe(1)
    expect((await take(stream, 2)).map((event) => (event as Document)['documentKey']._id)).toEqual([1, 2])
    await stream.close()
  })

  test('interrupts the streams that wait on the primary when it steps down', async (context) => {
    await using wire = await wireMongo(context, { electionMs: 50 })
    const { db } = setUp(wire.mongo)
    const session = wire.mongo.client.startSession()
    for (const code of [11602, 10107, 189, 91]) {
      const { cursor } = await db.command(
        { aggregate: 1, pipeline: [{ $changeStream: {} }], cursor: {} },
        { session },
      )
      const getMore = { getMore: cursor.id, collection: '$cmd.aggregate', maxTimeMS: 60_000 }
      const seen = wire.controls.commands('getMore').length
      const failed = db.command(getMore, { session }).catch((caught: unknown) => caught)
      await waitFor('the getMore is taken', () => wire.controls.commands('getMore').length > seen)
      wire.controls.stepDown(code)
      expect(await failed).toMatchObject({
        code,
        errorLabels: expect.arrayContaining(['ResumableChangeStreamError']),
      })
      await waitFor('there is a primary again', () => wire.controls.primary === 0)
    }
    await session.endSession()
  })

  test('keeps its data while each member restarts in turn', async (context) => {
    await using wire = await wireMongo(context, { members: 3, electionMs: 50 })
    const { rows } = setUp(wire.mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    for (let member = 0; member < 3; member++) {
      await rows.insertOne({ _id: member })
      await wire.controls.restartMember(member)
    }
    await rows.insertOne({ _id: 3 })
    expect((await take(stream, 4)).map((event) => (event as Document)['documentKey']._id)).toEqual([
      0, 1, 2, 3,
    ])
    await stream.close()
  })

  test('of one member is without a primary until the election is over', async (context) => {
    await using wire = await wireMongo(context, { electionMs: 50 })
    const { rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 1 })
    wire.controls.stepDown()
    expect(wire.controls.primary).toBe(-1)
    await rows.insertOne({ _id: 2 })
    expect(wire.controls.primary).toBe(0)
  })

  test('answers on a secondary with 10107 for writes and 13435 for reads that want the primary', async (context) => {
    await using wire = await wireMongo(context, { members: 3 })
    const { rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 1 })
    const { address } = wire.mongo.cluster!.members[1]!
    const client = new MongoClient(
      `mongodb://${address}/?directConnection=true&retryWrites=false&readPreference=secondary`,
    )
    await using _ = { [Symbol.asyncDispose]: () => client.close() }
    const secondary = client.db(wire.mongo.database)
    expect(await secondary.collection<Row>('rows').findOne()).toEqual({ _id: 1 })
    expect(await codeOf(secondary.collection<Row>('rows').insertOne({ _id: 2 }))).toBe(10107)
    const hello = await secondary.command({ hello: 1 })
    expect(hello).toMatchObject({
      isWritablePrimary: false,
      secondary: true,
      setName: 'rs0',
      maxWireVersion: 21,
    })
    expect(hello['hosts']).toHaveLength(3)
  })

  test('shows to streams and majority reads what a majority has, and undoes the rest when the primary is lost', async (context) => {
    await using wire = await wireMongo(context, { members: 3, electionMs: 50 })
    const { db, rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 1, v: 1 })
    const stream = await opened(rows.watch([], { ...quick, fullDocument: 'updateLookup' }) as Stream)
    await rows.updateOne({ _id: 1 }, { $set: { v: 2 } })
    wire.controls.holdMajority()
    await rows.updateOne({ _id: 1 }, { $set: { v: 3 } })
    await rows.insertOne({ _id: 2 })
    const { operationTime } = await db.command({ ping: 1 })
    const majority = (readConcern: object, maxTimeMS = 1000) =>
      db.command({ find: 'rows', readConcern: { level: 'majority', ...readConcern }, maxTimeMS })
    expect((await majority({}))['cursor'].firstBatch).toEqual([{ _id: 1, v: 2 }])
    expect(await rows.countDocuments()).toBe(2)
    expect(await take(stream, 1)).toMatchObject([{ operationType: 'update', fullDocument: { v: 2 } }])
    expect(await stream.tryNext()).toBeNull()
    expect(await codeOf(majority({ afterClusterTime: operationTime }, 20))).toBe(50)
    const waiting = majority({ afterClusterTime: operationTime })
    await waitFor('the read is taken', () => wire.controls.commands('find').length >= 3)
    wire.controls.releaseMajority()
    expect((await waiting)['cursor'].firstBatch).toHaveLength(2)
    expect(await take(stream, 2)).toMatchObject([{ operationType: 'update' }, { operationType: 'insert' }])
    wire.controls.holdMajority()
    await rows.deleteOne({ _id: 2 })
    await rows.insertOne({ _id: 3 })
    wire.controls.rollBack()
    await rows.insertOne({ _id: 4 })
    expect((await rows.find({}, { sort: { _id: 1 } }).toArray()).map(({ _id }) => _id)).toEqual([1, 2, 4])
    expect(await take(stream, 1)).toMatchObject([{ documentKey: { _id: 4 } }])
    await stream.close()
  })

  test('lets in who knows the password, and nobody else', async (context) => {
    const auth = { user: 'us:er', password: 'pa/ss' }
    await using wire = await wireMongo(context, { auth })
    const { rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 1 })
    const host = wire.mongo.cluster!.members[0]!.address
    const wrong = new MongoClient(`mongodb://us%3Aer:wrong@${host}/?replicaSet=rs0`)
    expect(await codeOf(wrong.connect())).toBe(18)
    await wrong.close()
    const nobody = new MongoClient(`mongodb://${host}/?replicaSet=rs0`)
    expect(await codeOf(nobody.db('x').collection('y').findOne())).toBe(13)
    await nobody.close()
  })

  test('of an older or newer version says so', async () => {
    for (const [version, wire] of [
      ['6.0', 17],
      ['7.0', 21],
      ['8.0', 25],
    ] as const) {
      await using cluster = await Cluster.start({ version })
      const client = await MongoClient.connect(cluster.uri)
      const hello = await client.db('admin').command({ hello: 1 })
      const build = await client.db('admin').command({ buildInfo: 1 })
      await client.close()
      expect(hello['maxWireVersion']).toBe(wire)
      expect(build['version']).toMatch(version)
    }
  })
})

describe('a fault', () => {
  test('fails the commands it is meant for, with its code and labels', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    const labels = ['SomeLabel']
    wire.controls.fail({
      command: 'insert',
      code: 2,
      labels,
      skip: 1,
      where: ({ target }) => target === 'rows',
    })
    await rows.insertOne({ _id: 1 })
    const error = await rows.insertOne({ _id: 2 }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 2, errorLabels: labels })
    await rows.insertOne({ _id: 3 })
    expect(await rows.countDocuments()).toBe(2)
  })

  test('before or after a write is applied, is made good by one retry of the driver', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    wire.controls.fail({ command: 'insert', cut: 'before' })
    await rows.insertOne({ _id: 1 })
    wire.controls.fail({ command: 'insert', cut: 'after' })
    await rows.insertMany([{ _id: 2 }, { _id: 3 }])
    wire.controls.fail({ command: 'update', cut: 'after' })
    expect(await rows.updateOne({ _id: 1 }, { $inc: { n: 1 } })).toMatchObject({
      matchedCount: 1,
      modifiedCount: 1,
    })
    wire.controls.fail({ command: 'findAndModify', cut: 'after' })
    expect(
      await rows.findOneAndUpdate({ _id: 1 }, { $inc: { n: 1 } }, { returnDocument: 'after' }),
    ).toMatchObject({ n: 2 })
    wire.controls.fail({ command: 'delete', cut: 'after' })
    expect(await rows.deleteOne({ _id: 3 })).toMatchObject({ deletedCount: 1 })
    wire.controls.fail({ command: 'commitTransaction', cut: 'after' })
    await wire.mongo.client.withSession((session) =>
      session.withTransaction(() => rows.insertOne({ _id: 4 }, { session })),
    )
    expect(await rows.find({}, { sort: { _id: 1 } }).toArray()).toEqual([
      { _id: 1, n: 2 },
      { _id: 2 },
      { _id: 4 },
    ])
    const events = await take(stream, 7)
    expect(events.map(({ operationType }) => operationType)).toEqual([
      'insert',
      'insert',
      'insert',
      'update',
      'update',
      'delete',
      'insert',
    ])
    expect(await stream.tryNext()).toBeNull()
    await stream.close()
  })

  test('of a stream is resumed by the driver when it is labelled or the cursor is lost, and else is final', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    await rows.insertOne({ _id: 0 })
    await take(stream, 1)
    const faults: (() => unknown)[] = [
      () => wire.controls.fail({ command: 'getMore', code: 91, labels: ['ResumableChangeStreamError'] }),
      () => wire.controls.fail({ command: 'getMore', cut: 'after' }),
      () => wire.controls.dropCursors(),
      () => wire.controls.cutConnections(),
    ]
    for (const [index, fault] of faults.entries()) {
      fault()
      await rows.insertOne({ _id: index + 1 })
      expect(await take(stream, 1)).toMatchObject([{ documentKey: { _id: index + 1 } }])
    }
    wire.controls.fail({ command: 'getMore', code: 2 })
    expect(await codeOf(take(stream, 1))).toBe(2)
  })

  test('can hold a command, or all replies, until the test goes on', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 1, v: 1 })
    const hold = wire.controls.hold('find', ({ target }) => target === 'rows')
    const found = rows.findOne({ _id: 1 })
    await hold.arrived
    await rows.updateOne({ _id: 1 }, { $set: { v: 2 } })
    hold.release()
    expect(await found).toEqual({ _id: 1, v: 2 })
    wire.controls.pauseReplies()
    let answered = false
    const ping = wire.mongo.client.db('admin').command({ ping: 1 })
    void ping.then(() => (answered = true))
    await waitFor('the ping is taken', () => wire.controls.commands('ping').length === 1)
    expect(answered).toBe(false)
    wire.controls.resumeReplies()
    await ping
  })

  test('shows on the clock, which can be held and moved', async (context) => {
    await using wire = await wireMongo(context)
    const { db } = setUp(wire.mongo)
    wire.controls.clock.freeze(1_700_000_000_000)
    wire.controls.clock.advance(1000)
    const late = await db.command({ insert: 'rows', documents: [{ _id: 1 }] })
    expect(late['operationTime'].t).toBeGreaterThan(1_700_000_000)
    wire.controls.clock.thaw()
    wire.controls.keepHistory(0)
    wire.controls.clock.advance(10_000)
    const readConcern = { level: 'snapshot', atClusterTime: late['operationTime'] }
    await db.command({ insert: 'rows', documents: [{ _id: 2 }] })
    expect(await codeOf(db.command({ find: 'rows', readConcern }))).toBe(239)
  })

  test('can be counted: connections, bytes, commands and finds', async (context) => {
    await using wire = await wireMongo(context)
    const client = new MongoClient(wire.mongo.uri, { appName: 'counted', maxPoolSize: 2 })
    const rows = client.db(wire.mongo.database).collection<Row>('rows')
    await rows.insertMany(Array.from({ length: 20 }, (_, n) => ({ _id: n, text: 'x'.repeat(1000) })))
    await rows.find({}, { min: { _id: 5 }, max: { _id: 9 }, hint: { _id: 1 } }).toArray()
    await Promise.all(Array.from({ length: 10 }, () => rows.findOne({ _id: 1 })))
    const mine = wire.controls.openConnections().filter(({ application }) => application === 'counted')
    // Two of the pool, and one or two that watch the server.
    expect(mine.length).toBeGreaterThanOrEqual(2)
    expect(mine.length).toBeLessThanOrEqual(4)
    expect(wire.controls.bytesSent('find')).toBeGreaterThan(14_000)
    expect(wire.controls.bytesSent('find')).toBeLessThan(20_000)
    expect(wire.controls.finds(`${wire.mongo.database}.rows`)[0]).toMatchObject({
      min: { _id: 5 },
      max: { _id: 9 },
    })
    expect(wire.controls.commands('find')).toHaveLength(11)
    await client.close()
    await waitFor('its connections are gone', () =>
      wire.controls.openConnections().every(({ application }) => application !== 'counted'),
    )
  })
})

describe('a sharded cluster', () => {
  test('gives one stream without what the migration of a chunk writes', async (context) => {
    await using wire = await wireMongo(context, { topology: 'sharded', shards: 2 })
    const { db, rows } = setUp(wire.mongo)
    await wire.mongo.client
      .db('admin')
      .command({ shardCollection: `${wire.mongo.database}.rows`, key: { k: 1 } })
    const stream = await opened(db.watch([], quick) as Stream)
    await rows.insertMany(Array.from({ length: 10 }, (_, n) => ({ _id: n, k: n })))
    expect(wire.controls.migrate(wire.mongo.database, 'rows', 1)).toBeGreaterThan(0)
    await rows.updateOne({ _id: 3 }, { $set: { v: 1 } })
    const events = (await take(stream, 11)) as Document[]
    expect(events[10]).toMatchObject({ operationType: 'update', documentKey: { k: 3, _id: 3 } })
    expect(Object.keys(events[10]!['documentKey'])).toEqual(['k', '_id'])
    expect(await rows.countDocuments()).toBe(10)
    await rows.updateOne({ _id: 3, k: 3 }, { $set: { k: 100 } })
    expect((await take(stream, 2)).map(({ operationType }) => operationType)).toEqual(['delete', 'insert'])
    await stream.close()
    const hello = await wire.mongo.client.db('admin').command({ hello: 1 })
    expect(hello).toMatchObject({ msg: 'isdbgrid', isWritablePrimary: true })
    expect(hello).not.toHaveProperty('setName')
  })

  test('logs the parts of a transaction on several shards with times of their own', async (context) => {
    await using wire = await wireMongo(context, { topology: 'sharded', shards: 2 })
    const { db, rows } = setUp(wire.mongo)
    await db.createCollection('rows')
    const stream = await opened(rows.watch([], quick) as Stream)
    await wire.mongo.client.withSession((session) =>
      session.withTransaction(() =>
        rows.insertMany(
          Array.from({ length: 8 }, (_, n) => ({ _id: n })),
          { session },
        ),
      ),
    )
    const events = (await take(stream, 8)) as Document[]
    expect(new Set(events.map(({ clusterTime }) => String(clusterTime))).size).toBe(2)
    expect(new Set(events.map(({ lsid, txnNumber }) => BSON.EJSON.stringify([lsid, txnNumber]))).size).toBe(1)
    await stream.close()
  })
})

describe('prepared replies', () => {
  test('are served to a stream as they are', async (context) => {
    await using wire = await wireMongo(context)
    const { db } = setUp(wire.mongo)
    const namespace = `${wire.mongo.database}.$cmd.aggregate`
    const batch = (first: number) =>
      Array.from({ length: 100 }, (_, n) =>
        Buffer.from(
          BSON.serialize({
            _id: { _data: (first + n).toString(16).padStart(8, '0') },
            operationType: 'insert',
            fullDocument: { _id: first + n, text: 'x'.repeat(250) },
            ns: { db: wire.mongo.database, coll: 'rows' },
            documentKey: { _id: first + n },
          }),
        ),
      )
    const token = markToken(1n << 32n, 2)
    const replies = Array.from({ length: 20 }, (_, n) =>
      cannedReply(namespace, batch(n * 100), token, 1n << 32n),
    )
    wire.controls.serveCanned(() => new CannedStream(replies, namespace, token, 1n << 32n))
    const stream = db.watch([], quick) as Stream
    const events = (await take(stream, 2000)) as Document[]
    expect(events.map((event) => event['documentKey']._id)).toEqual(Array.from({ length: 2000 }, (_, n) => n))
    expect(await stream.tryNext()).toBeNull()
    await stream.close()
  })
})
