import { Binary, Double, Long, Timestamp } from 'mongodb'
import { beforeEach, describe, expect, it } from 'vitest'
import { line, Mirror } from '../support/mirror.ts'
import { needsWire, testMongo, type TestMongo, type TestMongoOptions } from '../support/mongo.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  copyAndStop,
  createWithImages,
  inTransaction,
  mapped,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

const PLAIN = {
  docs: {
    collection: 'docs',
    fields: { id: { path: '_id', type: 'json' }, n: { path: 'n', type: 'json?' } },
    key: ['id'],
  },
}

const FILTERED = { docs: { ...PLAIN.docs, filter: { on: true } } }

const UNWOUND = {
  items: {
    collection: 'docs',
    unwind: 'items',
    fields: { doc: { path: '_id', type: 'json' }, item: { path: 'items', type: 'int64' } },
    key: ['doc', 'item'],
  },
}

interface Doc {
  readonly _id: number | string | Binary | Double | Long
  readonly [name: string]: unknown
}

type Opened = TestMongo & { readonly options: SourceOptions }

async function open(
  mappings: Parameters<typeof mapped>[0],
  options: TestMongoOptions = {},
  config: SourceOptions['config'] = {},
): Promise<Opened> {
  const mongo = await testMongo({ wire: true, ...options })
  return Object.assign(mongo, {
    options: { uri: mongo.uri, database: mongo.database, mapping: mapped(mappings), config },
  })
}

function docsOf(mongo: TestMongo) {
  return mongo.client.db(mongo.database).collection<Doc>('docs')
}

async function storeImages(mongo: TestMongo, enabled: boolean): Promise<void> {
  await mongo.client
    .db(mongo.database)
    .command({ collMod: 'docs', changeStreamPreAndPostImages: { enabled } })
}

beforeEach(async ({ skip }) => {
  const why = await needsWire()
  if (why !== null) skip(why)
})

describe('a resume token', () => {
  it.each([Double.fromString('1.5'), Long.fromNumber(7), new Double(3), 'text', new Binary(Buffer.of(1))])(
    'is given back as it came, whatever the _id: %s',
    async (_id) => {
      await using mongo = await open(PLAIN)
      const { position, mirror } = await copyAndStop(mongo.options)
      await docsOf(mongo).insertOne({ _id, n: 1 })
      await resume(mongo.options, position, mirror)
      const commit = mirror.positions.findLast(({ isCommit }) => isCommit)!
      await docsOf(mongo).updateOne({ _id }, { $set: { n: 2 } })
      const again = await resume(mongo.options, JSON.parse(JSON.stringify(commit.position)), mirror)
      expect(again.history.filter((entry) => entry === 'commit')).toHaveLength(2)
    },
  )

  it('is not used with other stages than its own, also when a copy is broken off in between', async () => {
    await using mongo = await open(PLAIN)
    await docsOf(mongo).insertOne({ _id: 1, n: 1 })
    const { position, mirror } = await copyAndStop(mongo.options)
    await docsOf(mongo).insertOne({ _id: 2, n: 2 })
    await resume(mongo.options, position, mirror)
    const commit = mirror.positions.findLast(({ isCommit }) => isCommit)!.position
    const more = { ...PLAIN, others: { ...PLAIN.docs, collection: 'others' } }
    const options = { ...mongo.options, mapping: mapped(more) }
    // Ends at the first position of the copy.
    const run: SourceRun = await SourceRun.start(
      options,
      JSON.parse(JSON.stringify(commit)),
      mirror,
      (batch) => {
        if (batch.heartbeat !== null) run.abort()
      },
    )
    await run.until('the copy was broken off', () => run.ended)
    const half = (await run.stop())!
    mongo.controls!.forget()
    await resume(options, half, mirror)
    const opened = mongo.controls!.commands('aggregate').filter(({ target }) => target === null)
    expect(opened.length).toBeGreaterThan(0)
    for (const { body } of opened) {
      const [{ $changeStream }] = body['pipeline'] as [{ $changeStream: Record<string, unknown> }]
      expect(Object.keys($changeStream)).not.toContain('resumeAfter')
    }
    expect(mirror.rows('public.docs')).toHaveLength(2)
  })
})

describe('an update without images of a document that is gone since', () => {
  it('leaves no row of a filtered table behind', async () => {
    await using mongo = await open(FILTERED, {}, { withoutPreImage: 'delete' })
    await docsOf(mongo).insertOne({ _id: 1, on: true })
    const { position, mirror } = await copyAndStop(mongo.options)
    expect(mirror.rows('public.docs')).toHaveLength(1)
    await docsOf(mongo).updateOne({ _id: 1 }, { $set: { on: false } })
    await storeImages(mongo, true)
    await docsOf(mongo).deleteOne({ _id: 1 })
    await resume(mongo.options, position, mirror)
    expect(mirror.rows('public.docs')).toEqual([])
  })

  it('stops where rows of elements would stay', async () => {
    await using mongo = await open(UNWOUND)
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    await docsOf(mongo).insertOne({ _id: 1, items: [1, 2] })
    const { position, mirror } = await copyAndStop(mongo.options)
    await docsOf(mongo).updateOne({ _id: 1 }, { $pull: { items: 2 } } as never)
    // As if they had been off for that change.
    mongo.controls!.expireImages()
    await docsOf(mongo).deleteOne({ _id: 1 })
    await using run = await SourceRun.start(mongo.options, position, mirror)
    expect((await run.failed()).code).toBe('mongodb/pre-image-missing')
  })
})

describe('a look-up', () => {
  it('reads nothing older than its event', async () => {
    await using mongo = await open(PLAIN)
    await docsOf(mongo).insertOne({ _id: 1, n: 1 })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    mongo.controls!.forget()
    await docsOf(mongo).updateOne({ _id: 1 }, { $set: { n: 2 } })
    await run.settled()
    const [find] = mongo.controls!.commands('find')
    const { afterClusterTime } = find!.body['readConcern'] as { afterClusterTime: Timestamp }
    const order = run.mirror.positions.findLast(({ isCommit }) => isCommit)!.position.order
    expect(new Timestamp(BigInt(`0x${order.slice(0, 16)}`)).equals(afterClusterTime)).toBe(true)
  })

  it('asks for fewer documents at a time when they are large', { timeout: 60_000 }, async () => {
    await using mongo = await open({
      docs: { ...PLAIN.docs, fields: { ...PLAIN.docs.fields, text: { path: 'text', type: 'text?' } } },
    })
    const text = 'x'.repeat(1 << 20)
    await docsOf(mongo).insertMany(Array.from({ length: 40 }, (_, _id) => ({ _id, text })))
    const { position, mirror } = await copyAndStop(mongo.options)
    await docsOf(mongo).updateMany({}, { $set: { n: 1 } })
    mongo.controls!.forget()
    await resume(mongo.options, position, mirror)
    const sizes = mongo
      .controls!.finds()
      .map(({ filter }) => (filter as { _id: { $in: unknown[] } })._id.$in.length)
    expect(sizes[0]).toBe(40)
    expect(Math.max(...sizes.slice(1))).toBeLessThanOrEqual(16)
    expect(mirror.rows('public.docs').every((row) => row.includes('["n","1"]'))).toBe(true)
  })
})

describe('a transaction', () => {
  it('is one transaction when a reply ends before a large event of it', async () => {
    await using mongo = await open(PLAIN, { limits: { reply: 8_000, event: 100_000 } })
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await inTransaction(mongo.client, async (session) => {
      await docsOf(mongo).insertOne({ _id: 1, n: 'x' }, { session })
      await docsOf(mongo).insertOne({ _id: 2, n: 'x'.repeat(9_000) }, { session })
      await docsOf(mongo).insertOne({ _id: 3, n: 'x' }, { session })
    })
    await run.until('all rows are there', () => run.mirror.rows('public.docs').length === 3)
    await run.settled()
    expect(run.mirror.history.filter((entry) => /^(begin|commit)$/.test(entry))).toEqual(['begin', 'commit'])
  })

  it('is one transaction when one of its events comes in fragments', async () => {
    await using mongo = await open(FILTERED, { limits: { reply: 3_000, event: 10_000 } })
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    await docsOf(mongo).insertOne({ _id: 1, on: true, n: 'x'.repeat(7_000) })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await inTransaction(mongo.client, async (session) => {
      await docsOf(mongo).insertOne({ _id: 2, on: true }, { session })
      await docsOf(mongo).updateOne({ _id: 1 }, { $set: { n: 'y'.repeat(7_000) } }, { session })
      await docsOf(mongo).insertOne({ _id: 3, on: true }, { session })
    })
    await run.settled()
    expect(run.mirror.history.filter((entry) => /^(begin|commit)$/.test(entry))).toEqual(['begin', 'commit'])
    expect(run.mirror.history).toHaveLength(5)
  })
})

describe('an event that is too large', () => {
  it('is named, and is no lost position', async () => {
    await using mongo = await open(FILTERED, { version: '6.0', limits: { event: 10_000 } })
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    await docsOf(mongo).insertOne({ _id: 1, on: true, n: 'x' })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    mongo.controls!.fail({ command: 'getMore', code: 10334, labels: ['NonResumableChangeStreamError'] })
    expect((await run.failed()).code).toBe('mongodb/event-too-large')
  })
})

describe('an abort', () => {
  it.each(['aggregate', 'find', 'getMore'])(
    'is not kept waiting by a server that does not answer: %s',
    async (command) => {
      await using mongo = await open(PLAIN)
      await docsOf(mongo).insertOne({ _id: 1, n: 1 })
      await using run = await SourceRun.start(mongo.options, null, new Mirror(), () => {})
      const held = mongo.controls!.hold(command, ({ application }) => application.startsWith('sluice'))
      await held.arrived
      run.abort()
      await waitFor('the stream has ended', () => run.ended)
      expect(run.failure).toBeNull()
      held.release()
    },
  )
})

describe('a copy that fails', () => {
  it('hands nothing over any more', async () => {
    await using mongo = await open(PLAIN, {}, { copyRange: 512, copyWorkers: 2 })
    await docsOf(mongo).insertMany(Array.from({ length: 400 }, (_, _id) => ({ _id, n: 'x'.repeat(50) })))
    const isCopy = ({ target }: { readonly target: string | null }): boolean => target === 'docs'
    const held = mongo.controls!.hold('getMore', ({ body }) => body['batchSize'] === 2)
    // Of the two ranges that are read at first, the other one fails.
    mongo.controls!.fail({ command: 'find', where: isCopy, skip: 1, code: 11600 })
    let late = 0
    let hasEnded = (): boolean => false
    await using run = await SourceRun.start(
      { ...mongo.options, units: { documentsPerReply: 2 } },
      null,
      new Mirror(),
      () => void (late += hasEnded() ? 1 : 0),
    )
    hasEnded = () => run.ended
    await held.arrived
    await run.until('the other range was asked for', () => mongo.controls!.commands('find').length >= 2)
    for (let turns = 0; turns < 5; turns++) await mongo.client.db('admin').command({ ping: 1 })
    held.release()
    expect((await run.failed()).code).toBe('mongodb/not-primary')
    const batches = mongo.controls!.commands('getMore').length
    for (let turns = 0; turns < 5; turns++) await mongo.client.db('admin').command({ ping: 1 })
    expect(late).toBe(0)
    expect(mongo.controls!.commands('getMore')).toHaveLength(batches)
  })
})

describe('rows', () => {
  it.each(['truncate', 'drop-table', 'drop-column'])(
    'are there again for who goes back to the mapping before, in the middle of the change (%s)',
    async (kind) => {
      const others = { ...PLAIN.docs, collection: 'others' }
      const whole = mapped({ ...PLAIN, others })
      await using mongo = await open(PLAIN)
      await docsOf(mongo).insertMany([1, 2, 3].map((_id) => ({ _id, n: _id })))
      const before = { ...mongo.options, mapping: whole }
      const { position, mirror } = await copyAndStop(before)
      const { id } = PLAIN.docs.fields
      const next = {
        truncate: { ...FILTERED, others },
        'drop-table': { others },
        'drop-column': { docs: { ...PLAIN.docs, fields: { id } }, others },
      }[kind]!
      const after = {
        ...mongo.options,
        mapping: mapped(next, true),
        config: { withoutPreImage: 'delete' as const },
      }
      const run: SourceRun = await SourceRun.start(after, position, mirror, (batch) => {
        if (batch.schemaChange?.change.kind === kind) throw new Error('killed')
      })
      await waitFor('the source has ended', () => run.ended)
      const half = (await run.stop())!
      expect(half.partial).toBe(true)
      await resume(before, half, mirror)
      expect(mirror.rows('public.docs')).toEqual(
        [1, 2, 3].map((n) => line({ id: `${n}`, n: `${n}` })).toSorted(),
      )
    },
  )

  it('are equal when a position of another time is resumed in a mapping that changed', async () => {
    await using mongo = await open(FILTERED)
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    const { position, mirror } = await copyAndStop(mongo.options)
    await docsOf(mongo).insertMany([1, 2, 3].map((_id) => ({ _id, on: _id !== 2, n: _id })))
    await resume(mongo.options, position, mirror)
    const all = { ...mongo.options, mapping: mapped(PLAIN) }
    const from = mirror.position!
    await docsOf(mongo).updateOne({ _id: 1 }, { $set: { n: 9 } })
    await resume(all, from, mirror)
    expect(mirror.rows('public.docs')).toEqual(
      [
        { id: '1', n: '9' },
        { id: '2', n: '2' },
        { id: '3', n: '3' },
      ]
        .map(line)
        .toSorted(),
    )
  })
})

describe('a collection', () => {
  it('that was made and dropped while nobody looked stops nothing', async () => {
    await using mongo = await open(UNWOUND)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'docs')
    const { position, mirror } = await copyAndStop(mongo.options)
    await docsOf(mongo).drop()
    await createWithImages(db, 'docs')
    await docsOf(mongo).insertOne({ _id: 1, items: [1, 2] })
    await docsOf(mongo).drop()
    await resume(mongo.options, position, mirror)
    expect(mirror.rows('public.items')).toEqual([])
    expect(mirror.history.filter((entry) => entry.startsWith('insert'))).toHaveLength(2)
  })
})

describe('a cursor', () => {
  it('that is gone again and again is a failure that passes', async () => {
    await using mongo = await open(PLAIN)
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    mongo.controls!.fail({ command: 'getMore', code: 43, times: 1e6 })
    const error = await run.failed()
    expect(error).toMatchObject({ code: 'mongodb/interrupted', retryable: true })
  })

  it('that is gone between the fragments of an event goes on before it', async () => {
    await using mongo = await open(FILTERED, { limits: { reply: 3_000, event: 10_000 } })
    await createWithImages(mongo.client.db(mongo.database), 'docs')
    await docsOf(mongo).insertOne({ _id: 1, on: true, n: 'x'.repeat(7_000) })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    const held = mongo.controls!.hold('getMore', ({ body }) => body['maxTimeMS'] === 20)
    await held.arrived
    await docsOf(mongo).updateOne({ _id: 1 }, { $set: { n: 'y'.repeat(7_000) } })
    // The first fragment comes with this command, the second one is asked for in vain.
    mongo.controls!.fail({ command: 'getMore', code: 43, skip: 1 })
    held.release()
    await run.until('the update came', () => run.mirror.rows('public.docs')[0]!.includes('yyy'))
    expect(run.failure).toBeNull()
  })
})

describe('a sharded collection', () => {
  it('is looked up by _id alone: an update may have changed the shard key', async () => {
    await using mongo = await open(PLAIN, { topology: 'sharded', shards: 2, noopMs: 20 })
    const admin = mongo.client.db('admin')
    await docsOf(mongo).insertOne({ _id: 1, place: { city: 'a' }, n: 1 })
    await admin.command({ shardCollection: `${mongo.database}.docs`, key: { 'place.city': 1 } })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    mongo.controls!.forget()
    await docsOf(mongo).updateOne({ _id: 1 }, { $set: { n: 2 } })
    await run.settled()
    expect(run.mirror.rows('public.docs')).toEqual([line({ id: '1', n: '2' })])
    expect(mongo.controls!.finds(`${mongo.database}.docs`).map(({ filter }) => filter)).toEqual([
      { _id: { $in: [1] } },
    ])
  })
})
