import { describe, expect, it } from 'vitest'
import { Mirror, stored } from '../support/mirror.ts'
import { needsWire, testMongo } from '../support/mongo.ts'
import { seeded } from '../support/random.ts'
import {
  copyAndStop,
  createWithImages,
  inTransaction,
  mapped,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

const mapping = mapped({
  numbers: {
    collection: 'numbers',
    fields: { id: { path: '_id', type: 'int64' }, n: { path: 'n', type: 'int64?' } },
    key: ['id'],
  },
})

interface Numbered {
  readonly _id: number
  readonly n: number
}

describe('a sharded cluster', () => {
  it('is followed while chunks move between its shards', { timeout: 60_000 }, async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    const random = seeded('a sharded cluster')
    await using mongo = await testMongo({
      wire: true,
      topology: 'sharded',
      shards: 2,
      members: 2,
      noopMs: 20,
    })
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'numbers')
    const collection = db.collection<Numbered>('numbers')
    await collection.insertMany(Array.from({ length: 200 }, (_, id) => ({ _id: id, n: 0 })))
    const options: SourceOptions = {
      uri: mongo.uri,
      database: mongo.database,
      mapping,
      config: { copyRange: 512 },
    }
    const mirror = new Mirror()
    let from = null
    for (let round = 0; round < 4; round++) {
      const run: SourceRun = await SourceRun.start(options, from, mirror)
      for (let step = 0; step < 40; step++) {
        const _id = random.below(220)
        if (step % 10 === 0)
          mongo.controls!.migrate(mongo.database, 'numbers', random.below(2), () => random.chance(0.3))
        if (random.chance(0.3)) await collection.deleteOne({ _id })
        else await collection.updateOne({ _id }, { $inc: { n: 1 } }, { upsert: true })
      }
      await inTransaction(mongo.client, async (session) => {
        await collection.updateMany({ _id: { $lt: 5 } }, { $inc: { n: 100 } }, { session })
      })
      await run.settled()
      const position = (await run.stop())!
      from = stored(position)
      const expected = (await collection.find().toArray()).map(({ _id, n }) => `${_id} ${n}`).toSorted()
      const rows = [...mirror.tables.get('public.numbers')!.rows.values()]
        .map(({ id, n }) => `${id} ${n}`)
        .toSorted()
      expect(rows).toEqual(expected)
    }
  })

  it('is read through one mongos, where the cursors are', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({
      wire: true,
      topology: 'sharded',
      shards: 2,
      members: 3,
      noopMs: 20,
    })
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await collection.insertOne({ _id: 1, n: 1 })
    const options: SourceOptions = { uri: mongo.uri, database: mongo.database, mapping }
    const { position, mirror } = await copyAndStop(options)
    await collection.insertOne({ _id: 2, n: 2 })
    await resume(options, position, mirror)
    expect(mirror.tables.get('public.numbers')!.rows.size).toBe(2)
    const cursors = mongo
      .controls!.connections()
      .filter(({ application, sentBy }) => application.startsWith('sluice') && sentBy.has('getMore'))
    expect(cursors.length).toBeGreaterThan(0)
  })

  it('is not whole before all shards are behind the end of the copy', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({ wire: true, topology: 'sharded', shards: 2, noopMs: 1e9 })
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await collection.insertOne({ _id: 1, n: 1 })
    const options: SourceOptions = { uri: mongo.uri, database: mongo.database, mapping }
    await using run = await SourceRun.start(options, null)
    // Replies without events, at the very time at which the copy ended: another shard may still have one of then.
    await run.until('several replies came', () => mongo.controls!.commands('getMore').length > 3)
    expect(run.mirror.positions.every(({ position }) => position.partial === true)).toBe(true)
    mongo.controls!.writeNoop()
    await run.until('the copy is whole', () => run.source.currentPosition()?.partial !== true)
  })
})
