import {
  BSON,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
  type Document,
  type MongoBulkWriteError,
} from 'mongodb'
import { describe, expect, test } from 'vitest'

import { testMongo } from '../support/mongo.ts'
import { codeOf, type Row } from './mongo-wire-fixture.ts'

describe('documents', () => {
  test('keep the exact type, order and bytes of every value', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('types')
    const document = {
      _id: new ObjectId(),
      double: new Double(1),
      int: new Int32(1),
      long: Long.fromString('9007199254740993'),
      decimal: Decimal128.fromString('1.00'),
      negativeZero: new Double(-0),
      nan: new Double(Number.NaN),
      date: new Date(-1),
      uuid: new UUID(),
      timestamp: new Timestamp({ t: 1, i: 2 }),
      regex: new BSON.BSONRegExp('^a', 'i'),
      code: new BSON.Code('x', { y: 1 }),
      min: new MinKey(),
      max: new MaxKey(),
      nested: { b: 1, a: [null, { c: [] }] },
      text: 'a\0b',
      empty: new BSON.Binary(Buffer.alloc(0), 5),
    }
    await rows.insertOne(document)
    const raw = (await rows.findOne({}, { raw: true })) as unknown as Buffer
    expect(Buffer.from(raw).equals(Buffer.from(BSON.serialize(document)))).toBe(true)
    await rows.updateOne({}, { $set: { text: 'new' } })
    const updated = (await rows.findOne({}, { raw: true })) as unknown as Buffer
    expect(Buffer.from(updated).equals(Buffer.from(BSON.serialize({ ...document, text: 'new' })))).toBe(true)
  })

  test('have one _id of a value whatever its numeric type, and the second insert fails with 11000', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('ids')
    await rows.insertMany([{ _id: 1 }, { _id: '1' }, { _id: { a: 1 } as never }, { _id: new Double(1.5) }])
    for (const same of [
      new Double(1),
      Long.fromNumber(1),
      Decimal128.fromString('1.0'),
      '1',
      { a: Long.ONE },
    ])
      expect(await codeOf(rows.insertOne({ _id: same as never }))).toBe(11000)
    expect(await codeOf(rows.insertOne({ _id: Decimal128.fromString('1.50') }))).toBe(11000)
    const failed = rows.insertMany([{ _id: 2 }, { _id: 2 }, { _id: 3 }], { ordered: false })
    const error = (await failed.catch((caught: unknown) => caught)) as MongoBulkWriteError
    expect(error.insertedCount).toBe(2)
    expect(error.writeErrors).toMatchObject([{ index: 1, code: 11000 }])
    expect(await rows.countDocuments()).toBe(6)
  })

  test('are found by comparison within a type, by path into arrays, and by logical operators', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('queries')
    await rows.insertMany([
      {
        _id: 1,
        n: 5,
        tags: ['a', 'b'],
        items: [
          { k: 1, v: 'x' },
          { k: 2, v: 'y' },
        ],
      },
      { _id: 2, n: Long.fromNumber(7), tags: [], when: new Date(10) },
      { _id: 3, n: '6', tags: 'a', nothing: null },
    ])
    const ids = async (filter: Document) =>
      (await rows.find(filter, { projection: { _id: 1 }, sort: { _id: 1 } }).toArray()).map(({ _id }) => _id)
    expect(await ids({ n: { $gt: 4 } })).toEqual([1, 2])
    expect(await ids({ tags: 'a' })).toEqual([1, 3])
    expect(await ids({ 'items.k': 2 })).toEqual([1])
    expect(await ids({ items: { $elemMatch: { k: 1, v: 'y' } } })).toEqual([])
    expect(await ids({ nothing: null })).toEqual([1, 2, 3])
    expect(await ids({ nothing: { $exists: true } })).toEqual([3])
    expect(await ids({ $or: [{ n: { $type: 'string' } }, { when: { $lte: new Date(10) } }] })).toEqual([2, 3])
    expect(await ids({ n: { $in: [5, '6'] }, _id: { $ne: 3 } })).toEqual([1])
    expect(await ids({ tags: { $size: 0 } })).toEqual([2])
    expect(await ids({ n: { $not: { $gt: 5 } } })).toEqual([1, 3])
    expect(await ids({ $expr: { $eq: [{ $type: '$n' }, 'long'] } })).toEqual([2])
    expect(await ids({ n: /^6/ })).toEqual([3])
    expect(await codeOf(rows.find({ n: { $nope: 1 } }).toArray())).toBe(2)
  })

  test('are updated by operators, replacements, pipelines and upserts', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('updates')
    await rows.insertOne({ _id: 1, n: new Int32(2 ** 31 - 1), list: [1, 2, 3], deep: { a: 1 } })
    await rows.updateOne({ _id: 1 }, {
      $inc: { n: 1 },
      $push: { list: { $each: [9, 4], $sort: 1 } },
    } as Document)
    await rows.updateOne({ _id: 1 }, { $unset: { 'deep.a': '' }, $set: { 'deep.b.c': 1 }, $min: { low: 3 } })
    const [row] = await rows.find({}, { promoteValues: false }).toArray()
    expect(row!['n']).toEqual(Long.fromNumber(2 ** 31))
    expect(BSON.EJSON.stringify(row!['list'])).toBe('[1,2,3,4,9]')
    expect(BSON.EJSON.stringify(row!['deep'])).toBe('{"b":{"c":1}}')
    const filters = { arrayFilters: [{ big: { $gt: 3 } }] }
    await rows.updateOne({ _id: 1 }, { $mul: { 'list.$[big]': 10 } } as Document, filters)
    await rows.updateOne({ list: 2 }, { $set: { 'list.$': 20 } } as Document)
    expect((await rows.findOne({ _id: 1 }))!['list']).toEqual([1, 20, 3, 40, 90])
    await rows.updateOne({ _id: 1 }, [{ $set: { sum: { $add: ['$low', 1] } } }, { $unset: 'n' }])
    expect(await rows.findOne({ _id: 1 })).toEqual({
      _id: 1,
      list: [1, 20, 3, 40, 90],
      deep: { b: { c: 1 } },
      low: 3,
      sum: 4,
    })
    const upsert = await rows.updateOne({ _id: 7, 'a.b': 1 }, { $setOnInsert: { c: 2 } }, { upsert: true })
    expect(upsert.upsertedId).toBe(7)
    expect(await rows.findOne({ _id: 7 })).toEqual({ _id: 7, a: { b: 1 }, c: 2 })
    expect(await rows.updateMany({}, { $set: { all: true } })).toMatchObject({
      matchedCount: 2,
      modifiedCount: 2,
    })
    expect(await rows.updateMany({}, { $set: { all: true } })).toMatchObject({
      matchedCount: 2,
      modifiedCount: 0,
    })
    expect(await codeOf(rows.updateOne({ _id: 1 }, { $set: { _id: 2 } } as Document))).toBe(66)
    const found = await rows.findOneAndUpdate({ _id: 7 }, { $inc: { c: 1 } }, { returnDocument: 'after' })
    expect(found).toMatchObject({ c: 3 })
    expect(await rows.findOneAndDelete({ _id: 7 })).toMatchObject({ _id: 7 })
    expect(await rows.deleteMany({})).toMatchObject({ deletedCount: 1 })
  })

  test('are read by ranges of _id in the order of all types', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('ranges')
    const ids = [
      new MinKey(),
      null,
      -3,
      Long.fromNumber(1),
      new Double(1.5),
      Decimal128.fromString('2'),
      'a',
      'b',
      { a: 1 },
      new BSON.Binary(Buffer.from('x')),
      new ObjectId('000000000000000000000001'),
      false,
      true,
      new Date(0),
      new Timestamp({ t: 1, i: 1 }),
      new MaxKey(),
    ]
    // The driver would give a document without an _id, or with null for one, an _id of its own.
    const documents = ids.map((_id, place) => ({ _id, place })).toReversed()
    await mongo.client.db(mongo.database).command({ insert: 'ranges', documents })
    const places = async (options: Document) =>
      (await rows.find({}, { hint: { _id: 1 }, batchSize: 3, ...options }).toArray()).map(
        ({ place }) => place,
      )
    expect(await places({})).toEqual(ids.keys().toArray())
    expect(await places({ min: { _id: 1 }, max: { _id: 'b' } })).toEqual([3, 4, 5, 6])
    expect(await places({ min: { _id: new Double(1.5) }, limit: 2 })).toEqual([4, 5])
    expect(await places({ max: { _id: null } })).toEqual([0])
    expect(await places({ hint: { _id: -1 }, limit: 2 })).toEqual([15, 14])
    const sorted = await rows.find({}, { sort: { _id: 1 }, batchSize: 4 }).toArray()
    expect(sorted.map(({ place }) => place)).toEqual(ids.keys().toArray())
  })

  test('are read in batches by a cursor that is gone after the last one', async () => {
    await using mongo = await testMongo()
    const db = mongo.client.db(mongo.database)
    await db.collection<Row>('rows').insertMany([{ _id: 1 }, { _id: 2 }, { _id: 3 }])
    const session = mongo.client.startSession()
    const { cursor } = await db.command({ find: 'rows', batchSize: 2 }, { session })
    expect(cursor.firstBatch).toHaveLength(2)
    const getMore = { getMore: cursor.id, collection: 'rows' }
    expect(await codeOf(db.command({ ...getMore, maxTimeMS: 10 }, { session }))).toBe(2)
    const last = await db.command(getMore, { session })
    expect(last['cursor']).toMatchObject({ nextBatch: [{ _id: 3 }] })
    expect(Number(last['cursor'].id)).toBe(0)
    expect(await codeOf(db.command(getMore, { session }))).toBe(43)
    const whole = await db.command({ find: 'rows', batchSize: 2, limit: 2 })
    expect(Number(whole['cursor'].id)).toBe(0)
    await session.endSession()
  })

  test('are refused with commands that have an unknown field', async () => {
    await using mongo = await testMongo()
    const db = mongo.client.db(mongo.database)
    expect(await codeOf(db.command({ find: 'rows', nope: 1 }))).toBe(40415)
    expect(await codeOf(db.command({ aggregate: 'rows', pipeline: [] }))).toBe(9)
    expect(await codeOf(db.command({ nope: 1 }))).toBe(59)
  })

  test('of views and time series are there to be read, and listed as what they are', async () => {
    await using mongo = await testMongo()
    const db = mongo.client.db(mongo.database)
    await db.collection<Row>('base').insertMany([
      { _id: 1, v: 1 },
      { _id: 2, v: 2 },
    ])
    await db.createCollection('view', { viewOn: 'base', pipeline: [{ $match: { v: 2 } }] })
    await db.createCollection('series', { timeseries: { timeField: 't' } })
    await db.createCollection('capped', { capped: true, size: 4096 })
    expect(await db.collection('view').find().toArray()).toEqual([{ _id: 2, v: 2 }])
    expect(await codeOf(db.collection('view').insertOne({ v: 1 }))).toBe(166)
    expect(await codeOf(db.collection('view').watch().tryNext())).toBe(166)
    const listed = await db.listCollections({ name: { $in: ['base', 'view', 'series', 'capped'] } }).toArray()
    const kinds = listed.map((found) => [found.name, found.type, Object.keys((found as Document)['options'])])
    expect(kinds.toSorted((left, right) => String(left).localeCompare(String(right)))).toEqual([
      ['base', 'collection', []],
      ['capped', 'collection', ['capped', 'size']],
      ['series', 'timeseries', ['timeseries']],
      ['view', 'view', ['viewOn', 'pipeline']],
    ])
  })

  test('are grouped, counted, sampled and projected', async () => {
    await using mongo = await testMongo()
    const rows = mongo.client.db(mongo.database).collection<Row>('pipeline')
    await rows.insertMany(
      Array.from({ length: 300 }, (_, n) => ({ _id: n, even: n % 2 === 0, inner: { n } })),
    )
    expect(
      await rows.aggregate([{ $group: { _id: '$even', n: { $sum: 1 } } }, { $sort: { _id: 1 } }]).toArray(),
    ).toEqual([
      { _id: false, n: 150 },
      { _id: true, n: 150 },
    ])
    expect(await rows.aggregate([{ $sample: { size: 7 } }]).toArray()).toHaveLength(7)
    expect(await rows.aggregate([{ $match: { even: true } }, { $count: 'n' }]).toArray()).toEqual([
      { n: 150 },
    ])
    const [statistics] = await rows.aggregate([{ $collStats: { storageStats: {}, count: {} } }]).toArray()
    expect(statistics).toMatchObject({ count: 300, storageStats: { count: 300 } })
    expect(await rows.find({ _id: 3 }, { projection: { 'inner.n': 1, _id: 0 } }).toArray()).toEqual([
      { inner: { n: 3 } },
    ])
    expect(await rows.find({ _id: 3 }, { projection: { inner: 0 } }).toArray()).toEqual([
      { _id: 3, even: false },
    ])
    expect((await rows.find({}, { skip: 10, limit: 150 }).toArray()).map(({ _id }) => _id)).toHaveLength(150)
  })
})
