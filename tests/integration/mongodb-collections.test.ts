import { PositionLostError } from '../../src/core/error.ts'
import type { Json } from '../../src/core/position.ts'
import { describe, expect, it } from 'vitest'
import { line, type Mirror } from '../support/mirror.ts'
import { testMongo, type TestMongo } from '../support/mongo.ts'
import { seeded } from '../support/random.ts'
import {
  copyAndStop,
  createWithImages,
  mapped,
  resume,
  type SourceOptions,
  SourceRun,
} from './mongodb-fixture.ts'

const TABLES: Json = {
  a: { collection: 'a', fields: { id: { path: '_id', type: 'int64' } }, key: ['id'] },
  b: { collection: 'b', fields: { id: { path: '_id', type: 'int64' } }, key: ['id'] },
}

async function open(mappings: Json = TABLES): Promise<TestMongo & { readonly options: SourceOptions }> {
  const mongo = await testMongo()
  const options = { uri: mongo.uri, database: mongo.database, mapping: mapped(mappings) }
  return Object.assign(mongo, { options })
}

interface Numbered {
  readonly _id: number
}

function idsOf(mirror: Mirror, table: string): readonly string[] {
  return [...mirror.tables.get(`public.${table}`)!.rows.values()].map(({ id }) => id!).toSorted()
}

describe('a collection that is dropped', () => {
  it('empties its tables, and may come again', async () => {
    await using mongo = await open()
    const db = mongo.client.db(mongo.database)
    await db.collection<Numbered>('a').insertMany([{ _id: 1 }, { _id: 2 }])
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await db.collection<Numbered>('a').insertOne({ _id: 3 })
    await db.collection('a').drop()
    await db.collection<Numbered>('a').insertOne({ _id: 2 })
    await run.settled()
    expect(run.mirror.schemaChanges).toEqual(['truncate public.a'])
    expect(idsOf(run.mirror, 'a')).toEqual(['2'])
  })

  it('stops the pipeline when the config says so', async () => {
    await using mongo = await open()
    const db = mongo.client.db(mongo.database)
    await db.collection<Numbered>('a').insertOne({ _id: 1 })
    await using run = await SourceRun.start({ ...mongo.options, config: { drops: 'stop' } }, null)
    await run.settled()
    await db.collection('a').drop()
    expect(await run.failed()).toMatchObject({ code: 'mongodb/collection-dropped' })
    expect(idsOf(run.mirror, 'a')).toEqual(['1'])
  })

  it('goes with its database, and the stream goes on behind it', async () => {
    await using mongo = await open()
    const db = mongo.client.db(mongo.database)
    await db.collection<Numbered>('a').insertOne({ _id: 1 })
    await db.collection<Numbered>('b').insertOne({ _id: 1 })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await db.dropDatabase()
    await db.collection<Numbered>('b').insertOne({ _id: 5 })
    await run.until('the new document is there', () => idsOf(run.mirror, 'b').includes('5'))
    expect([idsOf(run.mirror, 'a'), idsOf(run.mirror, 'b')]).toEqual([[], ['5']])
    await db.collection<Numbered>('b').insertOne({ _id: 6 })
    await run.settled()
    const position = await run.stop()
    const mirror = await resume(mongo.options, position!, run.mirror)
    expect(idsOf(mirror, 'b')).toEqual(['5', '6'])
  })
})

describe('a collection that is renamed', () => {
  it('empties its tables', async () => {
    await using mongo = await open()
    const db = mongo.client.db(mongo.database)
    await db.collection<Numbered>('a').insertOne({ _id: 1 })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await db.collection('a').rename('elsewhere')
    await run.settled()
    expect(idsOf(run.mirror, 'a')).toEqual([])
  })

  it('to a mapped name is copied there, instead of what was there', async () => {
    await using mongo = await open()
    const db = mongo.client.db(mongo.database)
    await db.collection<Numbered>('a').insertMany([{ _id: 1 }, { _id: 2 }])
    await db.collection<Numbered>('b').insertMany([{ _id: 2 }, { _id: 9 }])
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    await db.collection('a').rename('b', { dropTarget: true })
    await db.collection<Numbered>('b').insertOne({ _id: 3 })
    await run.settled()
    expect([idsOf(run.mirror, 'a'), idsOf(run.mirror, 'b')]).toEqual([[], ['1', '2', '3']])
    await db.collection<Numbered>('b').deleteOne({ _id: 1 })
    await run.settled()
    expect(idsOf(run.mirror, 'b')).toEqual(['2', '3'])
  })
})

const ITEMS: Json = {
  items: {
    collection: 'orders',
    unwind: { path: 'items' },
    fields: {
      order: { path: '_id', type: 'int64' },
      item: { path: 'items.id', type: 'int64' },
      n: { path: 'items.n', type: 'int64?' },
    },
    key: ['order', 'item'],
  },
}

interface Order {
  readonly _id: number
  readonly items?: readonly { readonly id: number; readonly n: number }[]
}

describe('an unwound array', () => {
  it('is equal after random edits, and only what changed is sent', { timeout: 60_000 }, async () => {
    const random = seeded('edits of arrays')
    await using mongo = await open(ITEMS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'orders')
    const orders = db.collection<Order>('orders')
    const fresh = (): Order['items'] =>
      Array.from({ length: random.below(6) }, (_, at) => ({
        id: at * 3 + random.below(3),
        n: random.below(5),
      }))
    for (let id = 0; id < 5; id++) await orders.insertOne({ _id: id, items: fresh()! })
    await using run = await SourceRun.start(mongo.options, null)
    await run.settled()
    const expected = async (): Promise<readonly string[]> =>
      (await orders.find().toArray())
        .flatMap(({ _id, items = [] }) =>
          items.map(({ id, n }) => line({ order: String(_id), item: String(id), n: String(n) })),
        )
        .toSorted()
    for (let step = 0; step < 120; step++) {
      const _id = random.below(6)
      const items = [...((await orders.findOne({ _id }))?.items ?? [])]
      const kind = random.below(7)
      if (kind === 0) await orders.deleteOne({ _id })
      else if (kind === 1) await orders.replaceOne({ _id }, { items: fresh()! }, { upsert: true })
      else if (kind === 2) await orders.updateOne({ _id }, { $unset: { items: 1 } })
      else if (kind === 3) await orders.updateOne({ _id }, { $set: { items: items.toReversed() } })
      else if (kind === 4 && items.length > 0)
        await orders.updateOne(
          { _id },
          { $set: { [`items.${random.below(items.length)}.n`]: random.below(9) } },
        )
      else if (kind === 5 && items.length > 0)
        await orders.updateOne({ _id }, { $pull: { items: { id: random.pick(items).id } } })
      else await orders.updateOne({ _id }, { $push: { items: { id: 100 + step, n: 0 } } })
      if (step % 10 !== 9) continue
      await run.settled()
      expect(run.mirror.rows('public.items')).toEqual(await expected())
    }
    const before = run.mirror.history.length
    await orders.replaceOne(
      { _id: 77 },
      { items: Array.from({ length: 200 }, (_, id) => ({ id, n: 0 })) },
      { upsert: true },
    )
    await run.settled()
    await orders.updateOne({ _id: 77 }, { $set: { 'items.150.n': 1 } })
    await orders.updateOne({ _id: 77 }, { $pull: { items: { id: 3 } } })
    await run.settled()
    expect(run.mirror.history.slice(before + 202)).toEqual([
      'begin',
      'update public.items {"order":"77","item":"150","n":"1"} before null',
      'commit',
      'begin',
      'delete public.items {"order":"77","item":"3","n":"0"}',
      'commit',
    ])
  })

  it('stops at a change that does not say what was before', async () => {
    await using mongo = await open(ITEMS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'orders')
    const orders = db.collection<Order>('orders')
    await orders.insertOne({ _id: 1, items: [{ id: 1, n: 1 }] })
    const { position } = await copyAndStop(mongo.options)
    await db.command({ collMod: 'orders', changeStreamPreAndPostImages: { enabled: false } })
    await using run = await SourceRun.start(mongo.options, position)
    expect(await run.failed()).toMatchObject({
      code: 'mongodb/images',
      fix: expect.stringContaining('collMod'),
    })
    await db.command({ collMod: 'orders', changeStreamPreAndPostImages: { enabled: true } })
  })

  it('names its history lost when images are missing that were never stored', async () => {
    await using mongo = await open(ITEMS)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'orders')
    const orders = db.collection<Order>('orders')
    await orders.insertOne({ _id: 1, items: [{ id: 1, n: 1 }] })
    const { position } = await copyAndStop(mongo.options)
    await db.command({ collMod: 'orders', changeStreamPreAndPostImages: { enabled: false } })
    await orders.updateOne({ _id: 1 }, { $set: { items: [] } })
    await db.command({ collMod: 'orders', changeStreamPreAndPostImages: { enabled: true } })
    await using run = await SourceRun.start(mongo.options, position)
    const error = await run.failed()
    expect(error).toBeInstanceOf(PositionLostError)
    expect(error.code).toBe('mongodb/pre-image-missing')
  })
})

describe('a mapping that changed', () => {
  const fields = {
    id: { path: '_id', type: 'int64' },
    n: { path: 'n', type: 'int64?' },
    t: { path: 't', type: 'text?' },
  }
  const table = (more: object): Json => ({ a: { collection: 'a', fields, key: ['id'], ...more } }) as never

  async function change(before: Json, after: Json, allowsBreaking = false) {
    const mongo = await open(before)
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'a')
    await db.collection<Numbered>('a').insertMany([
      { _id: 1, n: 1, t: 'x', more: 5 },
      { _id: 2, n: 2, t: 'y' },
    ] as never)
    const { mirror, position } = await copyAndStop(mongo.options)
    await db.collection<Numbered>('a').updateOne({ _id: 2 }, { $set: { n: 20 } } as never)
    const run = await SourceRun.start(
      { ...mongo.options, mapping: mapped(after, allowsBreaking) },
      position,
      mirror,
    )
    return {
      run,
      async [Symbol.asyncDispose]() {
        await run.stop()
        await mongo[Symbol.asyncDispose]()
      },
    }
  }

  it('renames columns without a copy', async () => {
    const { n, ...others } = fields
    await using changed = await change(table({}), table({ fields: { ...others, number: n } }))
    await changed.run.settled()
    expect(changed.run.mirror.schemaChanges).toEqual(['rename-column public.a'])
    expect(changed.run.mirror.rows('public.a')).toEqual(
      [line({ id: '1', number: '1', t: 'x' }), line({ id: '2', number: '20', t: 'y' })].toSorted(),
    )
  })

  it('gets new columns with what is in the documents, and new tables', async () => {
    const more = { ...fields, more: { path: 'more', type: 'int64?' } }
    const after = {
      ...(table({ fields: more }) as object),
      twice: { collection: 'a', fields, key: ['id'] },
    } as never
    await using changed = await change(table({}), after)
    await changed.run.settled()
    expect(changed.run.mirror.rows('public.a')).toEqual(
      [
        line({ id: '1', n: '1', t: 'x', more: '5' }),
        line({ id: '2', n: '20', t: 'y', more: null }),
      ].toSorted(),
    )
    expect(changed.run.mirror.rows('public.twice')).toHaveLength(2)
  })

  it('is refused when it takes something away, unless that is allowed', async () => {
    const { t: _t, ...less } = fields
    await using refused = await change(table({}), table({ fields: less }))
    const error = await refused.run.failed()
    expect(error).toMatchObject({ code: 'mapping/breaking' })
    expect(error.message).toContain('column "t"')
    await using allowed = await change(table({}), table({ fields: less }), true)
    await allowed.run.settled()
    expect(allowed.run.mirror.schemaChanges).toEqual(['drop-column public.a'])
  })

  it('copies again what another filter shows', async () => {
    await using changed = await change(table({}), table({ filter: { n: { $gt: 5 } } }))
    await changed.run.settled()
    expect(changed.run.mirror.rows('public.a')).toEqual([line({ id: '2', n: '20', t: 'y' })])
  })
})
