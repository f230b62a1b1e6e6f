import { describe, expect, it } from 'vitest'
import type { CdcRecord } from '../../src/core/record.ts'
import { line, Mirror, stored } from '../support/mirror.ts'
import { needsWire, testMongo, type TestMongo, type TestMongoOptions } from '../support/mongo.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  contextOf,
  copyAndStop,
  createWithImages,
  inTransaction,
  mapped,
  newSource,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

const NUMBERS = {
  numbers: {
    collection: 'numbers',
    fields: { id: { path: '_id', type: 'int64' }, n: { path: 'n', type: 'int64?' } },
    key: ['id'],
  },
}

interface Numbered {
  readonly _id: number
  readonly n?: number
}

async function open(
  mappings: Parameters<typeof mapped>[0] = NUMBERS,
  options: TestMongoOptions = {},
): Promise<TestMongo & { readonly options: SourceOptions }> {
  const mongo = await testMongo(options)
  return Object.assign(mongo, {
    options: { uri: mongo.uri, database: mongo.database, mapping: mapped(mappings) },
  })
}

/** The rows as `{id: n}`. */
function numbers(mirror: Mirror): Record<string, string | null> {
  const rows = [...(mirror.tables.get('public.numbers')?.rows.values() ?? [])]
  return Object.fromEntries(rows.map(({ id, n }) => [id, n ?? null]))
}

describe('an update without a stored post-image', () => {
  it('is looked up, and says so', async () => {
    await using mongo = await open()
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await collection.insertMany([
      { _id: 1, n: 1 },
      { _id: 2, n: 2 },
    ])
    const records: CdcRecord[] = []
    await using run = await SourceRun.start(
      mongo.options,
      null,
      new Mirror(),
      (batch) => void records.push(...batch),
    )
    await run.settled()
    await collection.updateOne({ _id: 1 }, { $set: { n: 10 } })
    await collection.insertOne({ _id: 3, n: 3 })
    await run.settled()
    expect(numbers(run.mirror)).toEqual({ 1: '10', 2: '2', 3: '3' })
    const commits = records.filter((record) => record._tag === 'Commit')
    expect(commits.map(({ lookedUp }) => lookedUp)).toEqual([true, undefined])
  })

  it('takes what is newer, and comes to the same end', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open()
    const { controls } = mongo
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await collection.insertMany([
      { _id: 1, n: 1 },
      { _id: 2, n: 1 },
      { _id: 3, n: 1 },
    ])
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    const hold = controls!.hold('find', ({ application }) => application.startsWith('sluice'))
    await collection.updateOne({ _id: 1 }, { $set: { n: 2 } })
    await hold.arrived
    await collection.updateOne({ _id: 1 }, { $set: { n: 3 } })
    // Gone when it is looked up, and there again later.
    await collection.updateOne({ _id: 2 }, { $set: { n: 2 } })
    await collection.deleteOne({ _id: 2 })
    await collection.updateOne({ _id: 3 }, { $set: { n: 2 } })
    await collection.deleteOne({ _id: 3 })
    await collection.insertOne({ _id: 3, n: 7 })
    hold.release()
    await run.settled()
    expect(numbers(run.mirror)).toEqual({ 1: '3', 3: '7' })
  })

  it('is looked up together with others', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open()
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await collection.insertMany(Array.from({ length: 500 }, (_, id) => ({ _id: id, n: 0 })))
    const { position } = await copyAndStop(mongo.options)
    await collection.updateMany({}, { $inc: { n: 1 } })
    mongo.controls!.forget()
    const mirror = await resume(mongo.options, position).catch((error: unknown) => error)
    expect(mirror).toBeInstanceOf(Mirror)
    expect(mongo.controls!.finds(`${mongo.database}.numbers`).length).toBeLessThanOrEqual(3)
  })
})

describe('several tables of one collection', () => {
  const ROOMS = {
    direct: {
      collection: 'rooms',
      filter: { t: 'd' },
      fields: { id: { path: '_id', type: 'text' }, n: { path: 'n', type: 'int64?' } },
      key: ['id'],
    },
    channels: {
      collection: 'rooms',
      filter: { t: { $in: ['c', 'p'] } },
      fields: { id: { path: '_id', type: 'text' } },
      key: ['id'],
    },
  }

  async function moves(withoutPreImage: 'refuse' | 'delete', images: boolean): Promise<readonly string[]> {
    await using mongo = await open(ROOMS)
    const db = mongo.client.db(mongo.database)
    if (images) await createWithImages(db, 'rooms')
    else await db.createCollection('rooms')
    const rooms = db.collection<{ _id: string; t: string; n?: number }>('rooms')
    await rooms.insertOne({ _id: 'a', t: 'd', n: 1 })
    await using run = await SourceRun.start({ ...mongo.options, config: { withoutPreImage } }, null)
    await run.settled()
    await rooms.updateOne({ _id: 'a' }, { $set: { t: 'c' } })
    await rooms.updateOne({ _id: 'a' }, { $set: { topic: 'x' } })
    await rooms.updateOne({ _id: 'a' }, { $set: { t: 'l' } })
    await rooms.deleteOne({ _id: 'a' })
    await rooms.insertOne({ _id: 'b', t: 'p' })
    await run.settled()
    expect(run.mirror.rows('public.direct')).toEqual([])
    expect(run.mirror.rows('public.channels')).toEqual([line({ id: 'b' })])
    return run.mirror.history
  }

  it('lose and get a document that moves between them in one transaction', async () => {
    expect(await moves('refuse', true)).toEqual([
      'begin',
      'delete public.direct {"id":"a","n":"1"}',
      'insert public.channels {"id":"a"}',
      'commit',
      'begin',
      'delete public.channels {"id":"a"}',
      'commit',
      'begin',
      'insert public.channels {"id":"b"}',
      'commit',
    ])
  })

  it('end equal without pre-images too, by deletes of what may not be there', async () => {
    const history = await moves('delete', false)
    expect(history.filter((entry) => entry.startsWith('delete public.direct')).length).toBeGreaterThan(1)
  })
})

describe('a transaction', () => {
  it('that a reply cuts is one transaction', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open(NUMBERS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'numbers')
    const spans: boolean[] = []
    await using run = await SourceRun.start(
      { ...mongo.options, units: { eventsPerReply: 3 } },
      null,
      new Mirror(),
      (batch) =>
        void (batch.origin === 'stream' && batch.rows !== null && spans.push(batch.endsInTransaction)),
    )
    await run.settled()
    await inTransaction(mongo.client, async (session) => {
      for (let id = 1; id <= 10; id++)
        await db.collection<Numbered>('numbers').insertOne({ _id: id, n: id }, { session })
    })
    await db.collection<Numbered>('numbers').insertOne({ _id: 11 })
    await run.settled()
    expect(run.mirror.history.filter((entry) => entry === 'begin' || entry === 'commit')).toEqual([
      'begin',
      'commit',
      'begin',
      'commit',
    ])
    expect(run.mirror.history.indexOf('commit')).toBe(11)
    expect(spans).toContain(true)
    // None of the positions lies inside of it.
    for (const { at, isCommit } of run.mirror.positions) expect(isCommit || at === 0 || at >= 12).toBe(true)
  })

  it('that the log holds in several entries is one transaction, with versions that rise', async ({
    skip,
  }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open(NUMBERS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'numbers')
    const versions: bigint[] = []
    await using run = await SourceRun.start(mongo.options, null, new Mirror(), (batch) => {
      for (const { version, firstOrdinal, firstRow, endRow } of batch.origin === 'stream' ? batch.spans : [])
        for (let row = firstRow; row < endRow; row++)
          versions.push(version + BigInt(firstOrdinal + row - firstRow))
    })
    await run.settled()
    mongo.controls!.splitTransactions(3)
    await inTransaction(mongo.client, async (session) => {
      for (let n = 1; n <= 10; n++) {
        await db
          .collection<Numbered>('numbers')
          .updateOne({ _id: 1 }, { $set: { n } }, { session, upsert: true })
      }
    })
    await run.settled()
    expect(run.mirror.history.filter((entry) => entry === 'begin' || entry === 'commit')).toEqual([
      'begin',
      'commit',
    ])
    expect(run.mirror.history).toHaveLength(12)
    expect(numbers(run.mirror)).toEqual({ 1: '10' })
    expect(versions.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(versions)
    expect(new Set(versions).size).toBe(10)
  })

  it('that ends exactly with a full reply ends with the next one', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open(NUMBERS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'numbers')
    await using run = await SourceRun.start({ ...mongo.options, units: { eventsPerReply: 3 } }, null)
    await run.settled()
    await inTransaction(mongo.client, async (session) => {
      for (let id = 1; id <= 3; id++)
        await db.collection<Numbered>('numbers').insertOne({ _id: id }, { session })
    })
    await run.settled()
    expect(run.mirror.history).toHaveLength(5)
    expect(run.mirror.history.at(-1)).toBe('commit')
  })
})

describe('the stream', () => {
  it('moves on while only other collections change', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open()
    const { position } = await copyAndStop(mongo.options)
    const other = mongo.client.db(mongo.database).collection('other')
    let later = position
    {
      await using run = await SourceRun.start(mongo.options, position)
      for (let n = 0; n < 5; n++) await other.insertOne({ n })
      await run.settled()
      later = (await run.stop())!
    }
    expect(later.order > position.order).toBe(true)
    mongo.controls!.cutLog()
    await using old = await SourceRun.start(mongo.options, position)
    expect((await old.failed()).code).toBe('mongodb/history-lost')
    // Also when nothing is wanted any more, as when there is nothing new for a run that ends at the end.
    const source = newSource(mongo.options)
    await source.connect(contextOf(mongo.options))
    const unwanted = source.stream({ signal: AbortSignal.abort(), write: () => {} }, position)
    await expect(unwanted).rejects.toMatchObject({ code: 'mongodb/history-lost' })
    await source.disconnect()
    await mongo.client.db(mongo.database).collection<Numbered>('numbers').insertOne({ _id: 1 })
  })

  it('goes on after its cursor was forgotten', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open()
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await collection.insertOne({ _id: 1 })
    await run.settled()
    mongo.controls!.dropCursors()
    await collection.insertOne({ _id: 2 })
    await run.settled()
    expect(Object.keys(numbers(run.mirror))).toEqual(['1', '2'])
    expect(run.mirror.history.filter((entry) => entry.startsWith('insert'))).toHaveLength(2)
  })

  it('puts events together that the server had to cut', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open(
      {
        big: {
          collection: 'big',
          filter: { on: true },
          fields: { id: { path: '_id', type: 'int64' }, text: { path: 'text', type: 'text?' } },
          key: ['id'],
        },
      },
      { limits: { event: 20_000 } },
    )
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'big')
    const big = db.collection<{ _id: number; text: string; on: boolean }>('big')
    await big.insertOne({ _id: 1, text: 'a'.repeat(15_000), on: true })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    const images = { fullDocument: 'required', fullDocumentBeforeChange: 'required' } as const
    const watched = big.watch([{ $changeStreamSplitLargeEvent: {} }], images)
    const first = watched.next()
    await waitFor('the stream is open', () => watched.resumeToken !== null)
    await big.updateOne({ _id: 1 }, { $set: { text: 'b'.repeat(15_000) } })
    expect(await first).toHaveProperty('splitEvent')
    await watched.close()
    await big.insertOne({ _id: 2, text: 'c', on: true })
    await run.settled()
    expect(run.mirror.rows('public.big').map((row) => row.length)).toEqual([15_024, 25])
  })

  it.each(['before', 'after'] as const)(
    'is cut %s a getMore and fails with something that passes',
    async (cut) => {
      if ((await needsWire()) !== null) return
      await using mongo = await open()
      const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
      await using run = await SourceRun.start(mongo.options, null)
      await run.settled()
      mongo.controls!.fail({ command: 'getMore', cut })
      await collection.insertOne({ _id: 1 })
      const failure = await run.failed()
      expect(failure).toMatchObject({ code: 'mongodb/connection-lost', retryable: true })
      const again = await resume(mongo.options, stored(run.source.currentPosition()!), run.mirror)
      expect(numbers(again)).toEqual({ 1: null })
    },
  )

  it('survives elections: its failure passes, and nothing is missing afterwards', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await open(NUMBERS, { members: 3, electionMs: 50 })
    const collection = mongo.client.db(mongo.database).collection<Numbered>('numbers')
    const mirror = new Mirror()
    const failures: boolean[] = []
    let from = (await copyAndStop(mongo.options, mirror)).position
    for (let round = 0; round < 4; round++) {
      const run = await SourceRun.start(mongo.options, from, mirror)
      await collection.insertOne({ _id: round * 2 })
      mongo.controls!.stepDown()
      await collection.insertOne({ _id: round * 2 + 1 })
      await waitFor(
        'the source fails or goes on',
        () => run.ended || Object.keys(numbers(mirror)).length === round * 2 + 2,
      )
      failures.push(run.failure?.retryable ?? true)
      from = (await run.stop()) ?? from
    }
    expect(failures).toEqual([true, true, true, true])
    await resume(mongo.options, from, mirror)
    expect(Object.keys(numbers(mirror))).toHaveLength(8)
  })
})
