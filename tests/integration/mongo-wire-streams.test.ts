import { BSON, Binary, Timestamp, type Document, type Long, type ResumeToken } from 'mongodb'
import { describe, expect, test } from 'vitest'

import { testMongo, type TestMongo } from '../support/mongo.ts'
import { codeOf, opened, take, wireMongo, type Row, type Stream } from './mongo-wire-fixture.ts'

const quick = { maxAwaitTimeMS: 50 }

function setUp(mongo: TestMongo, name = 'rows') {
  const db = mongo.client.db(mongo.database)
  return { db, rows: db.collection<Row>(name) }
}

const data = (token: ResumeToken) => (token as { _data: string })._data

describe('a change stream', () => {
  test('gives every change of its scope in the order of the log', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    const other = db.collection<Row>('other')
    const scopes = [rows.watch([], quick), db.watch([], quick), mongo.client.watch([], quick)] as Stream[]
    for (const stream of scopes) await opened(stream)
    await rows.insertOne({ _id: 1, a: 1 })
    await other.insertOne({ _id: 2 })
    await rows.updateOne({ _id: 1 }, { $set: { a: 2 }, $unset: { b: '' } })
    await rows.replaceOne({ _id: 1 }, { c: 1 })
    await rows.deleteOne({ _id: 1 })
    const [own, database, cluster] = await Promise.all([
      take(scopes[0]!, 4),
      take(scopes[1]!, 5),
      take(scopes[2]!, 5),
    ])
    expect(own!.map(({ operationType }) => operationType)).toEqual(['insert', 'update', 'replace', 'delete'])
    expect(database!.map(({ operationType }) => operationType)).toEqual([
      'insert',
      'insert',
      'update',
      'replace',
      'delete',
    ])
    expect(cluster!.map(({ _id }) => data(_id))).toEqual(database!.map(({ _id }) => data(_id)))
    const tokens = database!.map(({ _id }) => data(_id))
    expect(tokens.toSorted()).toEqual(tokens)
    for (const { _id, clusterTime } of database!) {
      const { t, i } = clusterTime!
      const time = Buffer.alloc(8)
      time.writeUInt32BE(t)
      time.writeUInt32BE(i, 4)
      expect(data(_id).slice(0, 18)).toBe(`82${time.toString('hex').toUpperCase()}`)
    }
    for (const stream of scopes) await stream.close()
  })

  test('goes on after any of its tokens, and from an operation time on, which is included', async () => {
    await using mongo = await testMongo()
    const { rows } = setUp(mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    for (let n = 0; n < 5; n++) await rows.insertOne({ _id: n })
    const events = await take(stream, 5)
    for (const [index, event] of events.slice(0, 4).entries()) {
      for (const option of ['resumeAfter', 'startAfter']) {
        await using resumed = rows.watch([], { ...quick, [option]: event._id }) as Stream
        expect((await take(resumed, 1))[0]!._id).toEqual(events[index + 1]!._id)
      }
      await using started = rows.watch([], { ...quick, startAtOperationTime: event.clusterTime! }) as Stream
      expect((await take(started, 1))[0]!._id).toEqual(event._id)
    }
    await stream.close()
  })

  test('filters and shapes events on the server, and refuses to lose their token', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    const pipeline = [
      { $match: { 'ns.coll': { $in: ['rows'] }, operationType: { $ne: 'delete' } } },
      { $project: { operationType: 1, 'fullDocument.a': 1, ns: 1 } },
      { $addFields: { seen: true } },
    ]
    const stream = await opened(db.watch(pipeline, quick) as Stream)
    await db.collection('other').insertOne({ a: 1 })
    await rows.insertOne({ _id: 1, a: 1, b: 2 })
    await rows.deleteOne({ _id: 1 })
    await rows.insertOne({ _id: 2, a: 2 })
    const [first, second] = await take(stream, 2)
    expect(first).toMatchObject({ operationType: 'insert', fullDocument: { a: 1 }, seen: true })
    expect(Object.keys(first!)).toEqual(['_id', 'operationType', 'fullDocument', 'ns', 'seen'])
    expect(second).toMatchObject({ fullDocument: { a: 2 } })
    await stream.close()
    const careless = await opened(db.watch([{ $project: { _id: 0 } }], quick) as Stream)
    await rows.insertOne({ _id: 3 })
    expect(await codeOf(take(careless, 1))).toBe(280)
    expect(await codeOf(opened(db.watch([{ $group: { _id: 1 } }] as Document[]) as Stream))).toBe(20)
  })

  test('has a token that moves on while only other collections are written', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    await rows.insertOne({ _id: 0 })
    const stream = await opened(rows.watch([], quick) as Stream)
    const before = data(stream.resumeToken)
    for (let n = 0; n < 3; n++) await db.collection('other').insertOne({})
    await expect
      .poll(async () => ((await stream.tryNext()) === null ? data(stream.resumeToken) : ''))
      .not.toBe(before)
    const mark = stream.resumeToken
    expect(data(mark) > before).toBe(true)
    await stream.close()
    await rows.insertOne({ _id: 1 })
    await using resumed = rows.watch([], { ...quick, resumeAfter: mark }) as Stream
    expect((await take(resumed, 1))[0]).toMatchObject({ documentKey: { _id: 1 } })
  })

  test('waits with its reply for the time it is told, or until there is an event', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    const session = mongo.client.startSession()
    const pipeline = [{ $changeStream: {} }]
    const { cursor } = await db.command({ aggregate: 1, pipeline, cursor: {} }, { session })
    const more = (maxTimeMS: number) =>
      db.command({ getMore: cursor.id, collection: '$cmd.aggregate', maxTimeMS }, { session })
    const empty = await more(40)
    expect(empty['cursor'].nextBatch).toEqual([])
    expect(empty['cursor'].postBatchResumeToken._data).toMatch(/^82[0-9A-F]+$/)
    const waiting = more(60_000)
    await rows.insertOne({ _id: 1 })
    expect((await waiting)['cursor'].nextBatch).toHaveLength(1)
    expect(await codeOf(db.command({ getMore: cursor.id, collection: '$cmd.aggregate' }))).toBe(50738)
    await session.endSession()
  })

  test('gives as many events at once as it is asked for, and its token is then that of the last one', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    const session = mongo.client.startSession()
    const { cursor } = await db.command(
      { aggregate: 1, pipeline: [{ $changeStream: {} }], cursor: {} },
      { session },
    )
    await rows.insertMany(Array.from({ length: 7 }, (_, n) => ({ _id: n })))
    await db.collection('last').insertOne({})
    const more = () =>
      db.command(
        { getMore: cursor.id, collection: '$cmd.aggregate', batchSize: 3, maxTimeMS: 50 },
        { session },
      )
    const batches = [await more(), await more(), await more()].map((reply) => reply['cursor'])
    expect(batches.map(({ nextBatch }) => nextBatch.length)).toEqual([3, 3, 2])
    for (const { nextBatch, postBatchResumeToken } of batches.slice(0, 2))
      expect(postBatchResumeToken).toEqual(nextBatch.at(-1)._id)
    await session.endSession()
  })

  test('ends with an invalidate when its collection goes, and can be started after it only', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    await rows.insertOne({ _id: 1 })
    const stream = await opened(rows.watch([], quick) as Stream)
    const whole = await opened(db.watch([], quick) as Stream)
    await rows.drop()
    const [drop, invalidate] = await take(stream, 2)
    expect(drop).toMatchObject({ operationType: 'drop', ns: { db: mongo.database, coll: 'rows' } })
    expect(Object.keys(invalidate!)).toEqual(['_id', 'operationType', 'clusterTime', 'wallTime'])
    await expect(stream.next()).rejects.toThrow('ChangeStream is closed')
    expect(await codeOf(opened(rows.watch([], { resumeAfter: invalidate!._id }) as Stream))).toBe(260)
    await rows.insertOne({ _id: 2 })
    await using again = rows.watch([], { ...quick, startAfter: invalidate!._id }) as Stream
    expect((await take(again, 1))[0]).toMatchObject({ operationType: 'insert', documentKey: { _id: 2 } })
    await using afterDrop = rows.watch([], { ...quick, resumeAfter: drop!._id }) as Stream
    expect((await take(afterDrop, 1))[0]!._id).toEqual(invalidate!._id)
    expect((await take(whole, 2)).map(({ operationType }) => operationType)).toEqual(['drop', 'insert'])
    await whole.close()
  })

  test('tells of renames, index builds, options and new collections when it is asked to', async () => {
    await using mongo = await testMongo()
    const { db } = setUp(mongo)
    const stream = await opened(db.watch([], { ...quick, showExpandedEvents: true }) as Stream)
    const plain = await opened(db.watch([], quick) as Stream)
    await db.createCollection('a')
    await db.collection('a').createIndex({ x: 1 })
    await db.command({ collMod: 'a', changeStreamPreAndPostImages: { enabled: true } })
    await db.collection('a').dropIndex('x_1')
    await db.createCollection('b')
    await db.collection('a').rename('b', { dropTarget: true })
    await db.dropDatabase()
    const events = await take(stream, 9)
    expect(events.map(({ operationType }) => operationType)).toEqual([
      'create',
      'createIndexes',
      'modify',
      'dropIndexes',
      'create',
      'rename',
      'drop',
      'dropDatabase',
      'invalidate',
    ])
    expect(events[5]).toMatchObject({
      ns: { coll: 'a' },
      to: { coll: 'b' },
      operationDescription: { to: { coll: 'b' }, dropTarget: (events[4] as Document)['collectionUUID'] },
    })
    for (const event of events.slice(0, 6))
      expect((event as Document)['collectionUUID']).toBeInstanceOf(Binary)
    expect((await take(plain, 4)).map(({ operationType }) => operationType)).toEqual([
      'rename',
      'drop',
      'dropDatabase',
      'invalidate',
    ])
  })

  test('describes updates by the paths that changed', async () => {
    await using mongo = await testMongo()
    const { rows } = setUp(mongo)
    await rows.insertMany([
      { _id: 1, scores: [], deep: { a: { b: 1 } } },
      { _id: 2, scores: [0.85, 0.94, 0.78], map: { '0': 'x' }, list: [{ '1': 1 }] },
    ])
    const stream = await opened(rows.watch([], { ...quick, showExpandedEvents: true }) as Stream)
    const updates: [number, Document | Document[]][] = [
      [1, { $push: { scores: 0.85 } }],
      [1, { $push: { scores: 0.94 } }],
      [1, { $pull: { scores: 0.94 } }],
      [1, { $set: { 'deep.a.c': 1, 'new.x.y': 1 }, $unset: { 'deep.a.b': '' } }],
      [2, [{ $set: { scores: [0.85, 0.94] } }]],
      [2, [{ $set: { scores: [0.85, 0.94, 0.78] } }]],
      [2, { $set: { 'map.0': 'y', 'list.0.1': 2 } }],
    ]
    for (const [_id, update] of updates) await rows.updateOne({ _id }, update)
    const descriptions = (await take(stream, updates.length)).map(
      (event) => (event as Document)['updateDescription'],
    )
    const empty = { updatedFields: {}, removedFields: [], truncatedArrays: [], disambiguatedPaths: {} }
    expect(descriptions).toEqual([
      { ...empty, updatedFields: { scores: [0.85] } },
      { ...empty, updatedFields: { 'scores.1': 0.94 } },
      { ...empty, updatedFields: { scores: [0.85] } },
      { ...empty, updatedFields: { 'deep.a.c': 1, new: { x: { y: 1 } } }, removedFields: ['deep.a.b'] },
      { ...empty, truncatedArrays: [{ field: 'scores', newSize: 2 }] },
      { ...empty, updatedFields: { 'scores.2': 0.78 } },
      {
        ...empty,
        updatedFields: { 'map.0': 'y', 'list.0.1': 2 },
        disambiguatedPaths: { 'map.0': ['map', '0'], 'list.0.1': ['list', 0, '1'] },
      },
    ])
    await stream.close()
  })

  test('shows images from when they are recorded', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    await rows.insertOne({ _id: 1, v: 0 })
    const options = {
      ...quick,
      fullDocument: 'whenAvailable',
      fullDocumentBeforeChange: 'whenAvailable',
    } as const
    const stream = await opened(rows.watch([], options) as Stream)
    await rows.updateOne({ _id: 1 }, { $set: { v: 1 } })
    await db.command({ collMod: 'rows', changeStreamPreAndPostImages: { enabled: true } })
    await rows.updateOne({ _id: 1 }, { $set: { v: 2 } })
    await rows.replaceOne({ _id: 1 }, { v: 3 })
    await rows.deleteOne({ _id: 1 })
    const events = (await take(stream, 4)) as Document[]
    expect(events.map((event) => [event['fullDocumentBeforeChange'], event['fullDocument']])).toEqual([
      [null, null],
      [
        { _id: 1, v: 1 },
        { _id: 1, v: 2 },
      ],
      [
        { _id: 1, v: 2 },
        { _id: 1, v: 3 },
      ],
      [{ _id: 1, v: 3 }, undefined],
    ])
    const strict = {
      ...quick,
      fullDocument: 'required',
      startAtOperationTime: events[0]!['clusterTime'],
    } as const
    await using failing = rows.watch([], strict) as Stream
    expect(await codeOf(take(failing, 1))).toBe(47)
    await stream.close()
  })

  test('looks documents up as they are at that moment, and gives null for those that are gone', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    await rows.insertMany([{ _id: 1 }, { _id: 2 }])
    const stream = await opened(rows.watch([], { ...quick, fullDocument: 'updateLookup' }) as Stream)
    const hold = wire.controls.hold('getMore')
    const events = take(stream, 2)
    await hold.arrived
    for (const _id of [1, 2]) await rows.updateOne({ _id }, { $set: { v: 1 } })
    await rows.updateOne({ _id: 1 }, { $set: { v: 2 } })
    await rows.deleteOne({ _id: 2 })
    hold.release()
    expect(((await events) as Document[]).map((event) => event['fullDocument'])).toEqual([
      { _id: 1, v: 2 },
      null,
    ])
    await stream.close()
  })

  test('loses images that have expired', async (context) => {
    await using wire = await wireMongo(context)
    const { db, rows } = setUp(wire.mongo)
    await db.createCollection('rows', { changeStreamPreAndPostImages: { enabled: true } })
    const options = { ...quick, fullDocumentBeforeChange: 'whenAvailable' } as const
    const stream = await opened(rows.watch([], options) as Stream)
    await rows.insertOne({ _id: 1 })
    await rows.deleteOne({ _id: 1 })
    wire.controls.expireImages()
    expect(((await take(stream, 2)) as Document[])[1]!['fullDocumentBeforeChange']).toBeNull()
    await stream.close()
  })

  test('splits events that are too large, and goes on within them', async (context) => {
    await using wire = await wireMongo(context, { limits: { event: 20_000 } })
    const { db, rows } = setUp(wire.mongo)
    await db.createCollection('rows', { changeStreamPreAndPostImages: { enabled: true } })
    const options = { ...quick, fullDocument: 'required', fullDocumentBeforeChange: 'required' } as const
    const stream = await opened(rows.watch([{ $changeStreamSplitLargeEvent: {} }], options) as Stream)
    const whole = await opened(rows.watch([], options) as Stream)
    await rows.insertOne({ _id: 1, text: 'a'.repeat(15_000) })
    await rows.updateOne({ _id: 1 }, { $set: { text: 'b'.repeat(15_000) } })
    await rows.insertOne({ _id: 2 })
    const events = (await take(stream, 5)) as Document[]
    const fragments = events.slice(1, 4)
    expect(fragments.map((event) => event['splitEvent'])).toEqual(
      [1, 2, 3].map((fragment) => ({ fragment, of: 3 })),
    )
    const merged: Document = Object.assign({}, ...fragments)
    expect(merged).toMatchObject({
      operationType: 'update',
      documentKey: { _id: 1 },
      fullDocument: { text: 'b'.repeat(15_000) },
      fullDocumentBeforeChange: { text: 'a'.repeat(15_000) },
    })
    const tokens = events.map(({ _id }) => _id._data as string)
    expect(tokens.toSorted()).toEqual(tokens)
    for (const [index, { _id }] of events.slice(0, 4).entries()) {
      await using resumed = rows.watch([{ $changeStreamSplitLargeEvent: {} }], {
        ...options,
        resumeAfter: _id,
      }) as Stream
      expect((await take(resumed, 1))[0]!._id).toEqual(events[index + 1]!['_id'])
    }
    expect(await codeOf(take(whole, 2))).toBe(10334)
    await stream.close()
  })

  test('cannot go on from before what the log still has, nor from a token that never was', async (context) => {
    await using wire = await wireMongo(context)
    const { rows } = setUp(wire.mongo)
    const stream = await opened(rows.watch([], quick) as Stream)
    await rows.insertOne({ _id: 1 })
    const [event] = await take(stream, 1)
    await stream.close()
    const forged = { _data: data(event!._id).replace(/5F696400/, '5F696401') }
    expect(await codeOf(opened(rows.watch([], { resumeAfter: forged }) as Stream))).toBe(280)
    wire.controls.cutLog()
    const failing = [
      { resumeAfter: event!._id },
      { startAtOperationTime: event!.clusterTime! },
      { startAtOperationTime: new Timestamp({ t: 1, i: 1 }) },
    ]
    for (const options of failing) {
      const error = (await opened(rows.watch([], options) as Stream).catch(
        (caught: unknown) => caught,
      )) as Document
      expect(error['code']).toBe(286)
      expect(error['errorLabels']).toContain('NonResumableChangeStreamError')
    }
  })

  test('is not to be had on a standalone server', async (context) => {
    await using wire = await wireMongo(context, { topology: 'standalone' })
    const { rows } = setUp(wire.mongo)
    expect(await codeOf(opened(rows.watch() as Stream))).toBe(40573)
  })
})

describe('a transaction', () => {
  test('is read as one state, seen by others after its commit, and logged with one time', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    await rows.insertMany([
      { _id: 1, v: 1 },
      { _id: 2, v: 1 },
    ])
    await db.createCollection('other')
    const stream = await opened(db.watch([], quick) as Stream)
    const session = mongo.client.startSession()
    session.startTransaction()
    await rows.updateOne({ _id: 1 }, { $set: { v: 2 } }, { session })
    await rows.insertOne({ _id: 3 }, { session })
    await db.collection<Row>('other').insertOne({ _id: 'x' }, { session })
    await rows.updateOne({ _id: 2 }, { $set: { v: 9 } })
    expect(await rows.find({}, { session, sort: { _id: 1 } }).toArray()).toEqual([
      { _id: 1, v: 2 },
      { _id: 2, v: 1 },
      { _id: 3 },
    ])
    expect(await rows.find({}, { sort: { _id: 1 } }).toArray()).toEqual([
      { _id: 1, v: 1 },
      { _id: 2, v: 9 },
    ])
    await session.commitTransaction()
    await session.endSession()
    await rows.insertOne({ _id: 4 })
    const events = (await take(stream, 5)) as Document[]
    expect(events.map(({ documentKey }) => documentKey._id)).toEqual([2, 1, 3, 'x', 4])
    const inside = events.slice(1, 4)
    expect(new Set(inside.map(({ clusterTime }) => String(clusterTime))).size).toBe(1)
    expect(new Set(inside.map(({ _id }) => _id._data)).size).toBe(3)
    for (const event of inside) {
      expect(Object.keys(event)).toEqual(expect.arrayContaining(['lsid', 'txnNumber']))
      expect(Object.keys(event['lsid'])).toEqual(['id', 'uid'])
    }
    expect(events[0]).not.toHaveProperty('lsid')
    expect(events[4]).not.toHaveProperty('txnNumber')
    await stream.close()
  })

  test('that meets the write of another fails with 112 and can be tried again', async () => {
    await using mongo = await testMongo()
    const { rows } = setUp(mongo)
    await rows.insertOne({ _id: 1, v: 0 })
    const sessions = [mongo.client.startSession(), mongo.client.startSession()]
    for (const session of sessions) session.startTransaction()
    await rows.updateOne({ _id: 1 }, { $inc: { v: 1 } }, { session: sessions[0]! })
    const failed = await rows
      .updateOne({ _id: 1 }, { $inc: { v: 1 } }, { session: sessions[1]! })
      .catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 112, errorLabels: ['TransientTransactionError'] })
    await sessions[0]!.commitTransaction()
    await sessions[1]!.abortTransaction()
    expect(await rows.findOne({ _id: 1 })).toEqual({ _id: 1, v: 1 })
    sessions[0]!.startTransaction()
    expect(await rows.findOne({ _id: 1 }, { session: sessions[0]! })).toEqual({ _id: 1, v: 1 })
    await rows.updateOne({ _id: 1 }, { $set: { w: 1 } })
    expect(await codeOf(rows.updateOne({ _id: 1 }, { $inc: { v: 1 } }, { session: sessions[0]! }))).toBe(112)
    await sessions[0]!.abortTransaction()
    await rows.updateOne({ _id: 1 }, { $unset: { w: '' } })
    const counters = Array.from({ length: 5 }, async () => {
      await mongo.client.withSession((session) =>
        session.withTransaction(() => rows.updateOne({ _id: 1 }, { $inc: { v: 1 } }, { session })),
      )
    })
    await Promise.all(counters)
    expect(await rows.findOne({ _id: 1 })).toEqual({ _id: 1, v: 6 })
    for (const session of sessions) await session.endSession()
  })

  test('that is aborted leaves nothing behind, and a plain write waits for one that holds its document', async () => {
    await using mongo = await testMongo()
    const { rows } = setUp(mongo)
    await rows.insertOne({ _id: 0 })
    const stream = await opened(rows.watch([], quick) as Stream)
    const session = mongo.client.startSession()
    session.startTransaction()
    await rows.insertOne({ _id: 1, from: 'transaction' }, { session })
    let written = false
    const waiting = rows.insertOne({ _id: 1, from: 'outside' }).then(() => (written = true))
    await rows.insertOne({ _id: 2 })
    expect(written).toBe(false)
    await session.abortTransaction()
    await waiting
    expect(await rows.findOne({ _id: 1 })).toEqual({ _id: 1, from: 'outside' })
    expect(await take(stream, 2)).toMatchObject([
      { fullDocument: { _id: 2 } },
      { fullDocument: { from: 'outside' } },
    ])
    await session.endSession()
    await stream.close()
  })

  test('reads a snapshot of the time it is told, also without a transaction', async () => {
    await using mongo = await testMongo()
    const { db, rows } = setUp(mongo)
    await rows.insertMany([{ _id: 1 }, { _id: 2 }])
    const session = mongo.client.startSession({ snapshot: true })
    expect(await rows.countDocuments({}, { session })).toBe(2)
    await rows.deleteOne({ _id: 1 })
    await rows.insertOne({ _id: 3 })
    expect((await rows.find({}, { session, sort: { _id: 1 } }).toArray()).map(({ _id }) => _id)).toEqual([
      1, 2,
    ])
    await session.endSession()
    const { operationTime } = await db.command({ ping: 1 })
    await rows.deleteMany({})
    const readConcern = { level: 'snapshot', atClusterTime: operationTime }
    const reply = await db.command({ find: 'rows', readConcern, sort: { _id: 1 } })
    expect(reply['cursor'].firstBatch).toEqual([{ _id: 2 }, { _id: 3 }])
    expect(String(reply['cursor'].atClusterTime)).toBe(String(operationTime))
    const majority = { level: 'majority', afterClusterTime: operationTime }
    expect((await db.command({ find: 'rows', readConcern: majority }))['cursor'].firstBatch).toEqual([])
  })

  test('is cut by the end of a batch, and by the size of an entry of the log, when the test wants it', async (context) => {
    await using wire = await wireMongo(context)
    const { db, rows } = setUp(wire.mongo)
    await db.createCollection('rows')
    wire.controls.limitBatches(2)
    const session = wire.mongo.client.startSession()
    const { cursor } = await db.command(
      { aggregate: 1, pipeline: [{ $changeStream: {} }], cursor: {} },
      { session },
    )
    const write = (from: number) =>
      wire.mongo.client.withSession((own) =>
        own.withTransaction(() =>
          rows.insertMany(
            [from, from + 1, from + 2].map((_id) => ({ _id })),
            { session: own },
          ),
        ),
      )
    await write(0)
    wire.controls.splitTransactions(2)
    await write(10)
    const batches: Document[][] = []
    while (batches.flat().length < 6) {
      const reply = await db.command(
        { getMore: cursor.id, collection: '$cmd.aggregate', maxTimeMS: 50 },
        { session },
      )
      batches.push(reply['cursor'].nextBatch)
    }
    expect(batches.map(({ length }) => length)).toEqual([2, 2, 2])
    const events = batches.flat()
    const times = events.map(({ clusterTime }) => String(clusterTime))
    expect(new Set(times.slice(0, 3)).size).toBe(1)
    expect(new Set(times.slice(3)).size).toBe(2)
    const [first, second] = [events.slice(0, 3), events.slice(3)].map(
      (group) => new Set(group.map(({ lsid, txnNumber }) => BSON.EJSON.stringify([lsid, txnNumber as Long]))),
    )
    expect([first!.size, second!.size]).toEqual([1, 1])
    await session.endSession()
  })

  test('is told from others by its session: one insert of many shares a time since 8.0', async (context) => {
    await using wire = await wireMongo(context, { version: '8.0' })
    const { rows } = setUp(wire.mongo)
    await rows.insertOne({ _id: 0 })
    const stream = await opened(rows.watch([], quick) as Stream)
    await rows.insertMany([{ _id: 1 }, { _id: 2 }, { _id: 3 }])
    await rows.insertOne({ _id: 4 })
    const events = (await take(stream, 4)) as Document[]
    expect(new Set(events.map(({ clusterTime }) => String(clusterTime))).size).toBe(2)
    expect(events.every((event) => !('lsid' in event))).toBe(true)
    await using resumed = rows.watch([], { ...quick, resumeAfter: events[1]!['_id'] }) as Stream
    expect((await take(resumed, 2)).map((event) => (event as Document)['documentKey']._id)).toEqual([3, 4])
    await stream.close()
  })
})
