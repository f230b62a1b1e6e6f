import { Binary, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID } from 'mongodb'
import { describe, expect, it } from 'vitest'
import type { SourcePosition } from '../../src/core/position.ts'
import { isDone } from '../../src/connectors/sources/mongodb/position.ts'
import { Mirror, stored } from '../support/mirror.ts'
import { needsWire, testMongo } from '../support/mongo.ts'
import { seeded } from '../support/random.ts'
import {
  copyAndStop,
  createWithImages,
  mapped,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

/** Keys of every type that an `_id` can have, as JSON, which tells them apart. */
const THINGS = mapped({
  things: {
    collection: 'things',
    fields: { id: { path: '_id', type: 'json' }, n: { path: 'n', type: 'int64?' } },
    key: ['id'],
  },
})

interface Thing {
  readonly _id: unknown
  readonly n: number
  readonly filler?: string
}

function ids(count: number): readonly unknown[] {
  const day = 86_400_000
  const makers: readonly ((index: number) => unknown)[] = [
    (index) => new Int32(index),
    (index) => Long.fromBigInt((1n << 60n) + BigInt(index)),
    (index) => new Double(index + 0.5),
    (index) => Decimal128.fromString(`1E+${100 + index}`),
    (index) => `text ${index}`,
    (index) => ({ a: new Int32(index), b: 'x' }),
    (index) => new Binary(Buffer.from([1, 2, index & 255, index >> 8])),
    () => new UUID(),
    () => new ObjectId(),
    (index) => new Date(index * day),
    (index) => new Timestamp({ t: 1_700_000_000, i: index }),
  ]
  const some = Array.from({ length: count }, (_, index) => makers[index % makers.length]!(index))
  return [new MinKey(), false, true, ...some, new MaxKey()]
}

async function things() {
  const mongo = await testMongo()
  const collection = mongo.client.db(mongo.database).collection<Thing>('things')
  await createWithImages(mongo.client.db(mongo.database), 'things')
  const options: SourceOptions = {
    uri: mongo.uri,
    database: mongo.database,
    mapping: THINGS,
    config: { copyRange: 4096 },
    units: { documentsPerReply: 7, batchBytes: 512 },
  }
  return Object.assign(mongo, { collection, options })
}

/** What is in the collection: how many documents there are of each value. */
async function counts(mongo: Awaited<ReturnType<typeof things>>): Promise<Map<string, number>> {
  const all = new Map<string, number>()
  for await (const { n } of mongo.collection.find()) all.set(String(n), (all.get(String(n)) ?? 0) + 1)
  return all
}

function countsOf(mirror: Mirror): Map<string, number> {
  const all = new Map<string, number>()
  for (const { n } of mirror.tables.get('public.things')!.rows.values())
    all.set(String(n), (all.get(String(n)) ?? 0) + 1)
  return all
}

describe('the copy', () => {
  it('has every document, whatever type its _id has', async () => {
    await using mongo = await things()
    const all = ids(600)
    await mongo.collection.insertMany(all.map((_id, n) => ({ _id, n, filler: 'x'.repeat(200) })) as never)
    const { mirror } = await copyAndStop(mongo.options)
    expect(mirror.copied.get('public.things')).toBe(all.length)
    expect(mirror.tables.get('public.things')!.rows.size).toBe(all.length)
    expect(countsOf(mirror)).toEqual(await counts(mongo))
    // A real server does not say how it was read.
    const ranges = mongo.controls
      ?.finds(`${mongo.database}.things`)
      .filter(({ min, max }) => min !== undefined || max !== undefined).length
    expect(ranges ?? Infinity).toBeGreaterThan(10)
  })

  it('goes on where it was broken off, and reads no finished range again', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await things()
    const all = ids(400)
    await mongo.collection.insertMany(all.map((_id, n) => ({ _id, n, filler: 'x'.repeat(200) })) as never)
    const mirror = new Mirror()
    let from: SourcePosition | null = null
    for (let kill = 0; kill < 3; kill++) {
      let told = 0
      const run: SourceRun = await SourceRun.start(mongo.options, from, mirror, (batch) => {
        if (batch.heartbeat !== null && ++told > 4) run.abort()
      })
      await run.until('it was killed', () => run.ended)
      await run.stop()
      from = stored(run.source.currentPosition()!)
      expect(from.partial).toBe(true)
    }
    mongo.controls!.forget()
    const resumeCopies = (from!.resume as { copies: Record<string, { done: string; bounds: string[] }> })
      .copies
    const [copy] = Object.values(resumeCopies)
    const done = Array.from(copy!.bounds, (_, index) => isDone(copy!.done, index)).filter(Boolean).length
    expect(done).toBeGreaterThan(3)
    await resume(mongo.options, from!, mirror)
    const finds = mongo.controls!.finds(`${mongo.database}.things`)
    expect(finds).toHaveLength(copy!.bounds.length + 1 - done)
    expect(mirror.tables.get('public.things')!.rows.size).toBe(all.length)
  })

  it('is equal after changes meanwhile and kills, and says when', { timeout: 60_000 }, async () => {
    const random = seeded('a copy under load')
    const integer = (below: number): number => random.below(below)
    for (let round = 0; round < 6; round++) {
      await using mongo = await things()
      const all = [...ids(250)]
      await mongo.collection.insertMany(all.map((_id, n) => ({ _id, n, filler: 'x'.repeat(100) })) as never)
      const mirror = new Mirror()
      let from: SourcePosition | null = null
      let n = 1000
      let isOver = false
      const change = async (): Promise<void> => {
        const _id = all[integer(all.length)] as never
        const kind = integer(4)
        if (kind === 0) await mongo.collection.deleteOne({ _id })
        else if (kind === 1) await mongo.collection.updateOne({ _id }, { $set: { n: n++ } })
        else if (kind === 2) await mongo.collection.replaceOne({ _id }, { n: n++ }, { upsert: true })
        else {
          const fresh = new ObjectId()
          all.push(fresh)
          await mongo.collection.insertOne({ _id: fresh, n: n++ })
        }
      }
      const writer = (async () => {
        while (!isOver) await change()
      })()
      for (let kill = 0; kill < 4; kill++) {
        const limit = 1 + integer(12)
        let told = 0
        const run: SourceRun = await SourceRun.start(mongo.options, from, mirror, (batch) => {
          if (batch.position !== null && ++told >= limit) run.abort()
        })
        await run.until('it was killed', () => run.ended)
        await run.stop()
        from = run.source.currentPosition() === null ? null : stored(run.source.currentPosition()!)
      }
      isOver = true
      await writer
      await using run = await SourceRun.start(mongo.options, from, mirror)
      await run.settled()
      const expected = await mongo.collection.find().toArray()
      expect(mirror.tables.get('public.things')!.rows.size).toBe(expected.length)
      expect(countsOf(mirror)).toEqual(await counts(mongo))
    }
  })

  it('calls no position whole before the stream is behind its end', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await things()
    await mongo.collection.insertMany(ids(100).map((_id, n) => ({ _id, n })) as never)
    const hold = mongo.controls!.hold('getMore', ({ body }) => body['collection'] === '$cmd.aggregate')
    await using run = await SourceRun.start(mongo.options, null)
    await run.until('everything is copied', () => run.mirror.copied.get('public.things') === 104)
    await hold.arrived
    expect(run.mirror.positions.every(({ position }) => position.partial === true)).toBe(true)
    hold.release()
    await run.settled()
    expect(run.mirror.position?.partial).toBeUndefined()
  })

  it('keeps to the connections that it may have', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await things()
    await mongo.collection.insertMany(
      ids(500).map((_id, n) => ({ _id, n, filler: 'x'.repeat(200) })) as never,
    )
    let most = 0
    const options = { ...mongo.options, config: { copyRange: 2048, copyWorkers: 16, connections: 4 } }
    await using run = await SourceRun.start(options, null, new Mirror(), () => {
      const open = mongo
        .controls!.openConnections()
        .filter(({ application }) => application.startsWith('sluice'))
      // The one that watches the server's state takes no commands of ours.
      most = Math.max(
        most,
        open.filter(({ sentBy }) => sentBy.has('find') || sentBy.has('getMore') || sentBy.has('aggregate'))
          .length,
      )
    })
    await run.settled()
    expect(run.mirror.tables.get('public.things')!.rows.size).toBe(504)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(4)
    expect(
      mongo.controls!.openConnections().filter(({ application }) => application.startsWith('sluice')).length,
    ).toBeLessThanOrEqual(5)
  })

  it('refuses keys that a text column cannot tell apart', async () => {
    await using mongo = await testMongo()
    const collection = mongo.client.db(mongo.database).collection<{ _id: unknown }>('things')
    const mapping = mapped({
      things: { collection: 'things', fields: { id: { path: '_id', type: 'text' } }, key: ['id'] },
    })
    await collection.insertMany([{ _id: '1' }] as never)
    const options = { uri: mongo.uri, database: mongo.database, mapping }
    const { position } = await copyAndStop(options)
    await collection.insertOne({ _id: 1 } as never)
    const later = await SourceRun.start(options, position)
    expect(await later.failed()).toMatchObject({ code: 'mongodb/mixed-keys' })
    await later.stop()
    const first = await SourceRun.start(options, null)
    expect(await first.failed()).toMatchObject({ code: 'mongodb/mixed-keys' })
    await first.stop()
  })
})
