/** MongoDB through a mapping and the pipeline into a real zero-cache and a real Zero client. */
import { boolean, createSchema, json, number, string, table } from '@rocicorp/zero'
import type { Db } from 'mongodb'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { testMongo, type TestMongo } from '../support/mongo.ts'
import { seeded } from '../support/random.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroClient, type ZeroRow } from '../support/zero-client.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { createWithImages, inTransaction } from './mongodb-fixture.ts'

const schema = createSchema({
  enableLegacyQueries: true,
  tables: [
    table('users')
      .columns({ id: string(), name: string(), joined: number().optional(), tags: json().optional() })
      .primaryKey('id'),
    table('direct').columns({ id: string(), text: string(), from: string() }).primaryKey('id'),
    table('channel').columns({ id: string(), text: string(), pinned: boolean().optional() }).primaryKey('id'),
    table('items').columns({ order: number(), sku: string(), quantity: number() }).primaryKey('order', 'sku'),
    table('accounts').columns({ id: number(), balance: number() }).primaryKey('id'),
  ],
})

/** In the formats of the earlier server, and our own for the array. */
const mappings = {
  users: {
    source: 'users',
    projection: { id: { $toString: '$_id' }, name: 1, joined: '$profile.joined', tags: 1 },
  },
  direct: {
    collection: 'messages',
    filter: { t: 'd' },
    fields: { id: '_id', text: 'text', from: 'author.name' },
  },
  channel: {
    collection: 'messages',
    filter: { t: { $in: ['c', 'p'] } },
    fields: { id: '_id', text: 'text', pinned: 'pinned' },
  },
  items: {
    collection: 'orders',
    unwind: 'items',
    fields: { order: '_id', sku: 'items.sku', quantity: 'items.quantity' },
  },
  accounts: { collection: 'accounts', fields: { id: '_id', balance: 'balance' } },
}

interface Message {
  readonly _id: string
  readonly t: 'd' | 'c' | 'p' | 'x'
  readonly text: string
  readonly author?: { readonly name: string }
  readonly pinned?: boolean
}

interface Order {
  readonly _id: number
  readonly items: readonly { readonly sku: string; readonly quantity: number }[]
}

interface Account {
  readonly _id: number
  readonly balance: number
}

let mongo: TestMongo
let folder: string
let db: Db
let pipeline: ZeroPipeline
let cache: ZeroCache
let client: ZeroClient

beforeAll(async () => {
  mongo = await testMongo({ purpose: 'zero' })
  db = mongo.client.db(mongo.database)
  for (const name of ['users', 'messages', 'orders', 'accounts']) await createWithImages(db, name)
  await db.collection('users').insertMany([
    {
      name: 'Ann',
      profile: { joined: new Date(1_700_000_000_000) },
      tags: ['a', { b: 1 }],
      password: 'hidden',
    },
    { name: 'Bob' },
  ])
  await db.collection<Message>('messages').insertMany([
    { _id: 'm1', t: 'd', text: 'hello', author: { name: 'Ann' } },
    { _id: 'm2', t: 'c', text: 'all', pinned: true },
  ])
  await db.collection<Order>('orders').insertOne({
    _id: 1,
    items: [
      { sku: 'a', quantity: 1 },
      { sku: 'b', quantity: 2 },
    ],
  })
  await db.collection<Account>('accounts').insertMany([
    { _id: 1, balance: 500 },
    { _id: 2, balance: 500 },
  ])
  folder = mkdtempSync(join(tmpdir(), 'sluice-zero-mongodb-'))
  const permissions = join(folder, 'permissions.json')
  const allow = { row: { select: [['allow', { type: 'and', conditions: [] }]] } }
  const tables = Object.fromEntries(Object.keys(mappings).map((name) => [name, allow]))
  writeFileSync(permissions, JSON.stringify({ tables }))
  pipeline = await ZeroPipeline.make({
    name: mongo.database,
    sink: { permissions: { file: permissions } },
    source: mongo.uri,
    sourceType: 'mongodb',
    sourceOptions: { database: mongo.database },
    options: {
      mapping: { schema: { inline: JSON.parse(JSON.stringify(schema)) }, tables: { inline: mappings } },
    },
  })
  pipeline.startCli()
  await pipeline.listening()
  cache = await ZeroCache.start({ upstream: pipeline.url, supervised: true })
  await pipeline.until('zero-cache is ready', async () => {
    await cache.ready()
    return true
  })
  client = new ZeroClient({ url: cache.url, schema })
  await client.complete()
})

afterAll(async () => {
  await client?.[Symbol.asyncDispose]()
  await cache?.[Symbol.asyncDispose]()
  await pipeline?.[Symbol.asyncDispose]()
  await mongo?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(`${cache?.lastWords}\n${pipeline?.lastWords}`)
})

function lines(rows: readonly ZeroRow[]): readonly string[] {
  return rows
    .map((row) => {
      const names = Object.keys(row).filter((name) => name !== '_0_version')
      return JSON.stringify(names.toSorted().map((name) => [name, row[name]]))
    })
    .toSorted()
}

/** What the tables hold, made from the documents by hand. */
async function expected(): Promise<Record<string, readonly string[]>> {
  const users = await db.collection('users').find().toArray()
  const messages = await db.collection<Message>('messages').find().toArray()
  const orders = await db.collection<Order>('orders').find().toArray()
  const accounts = await db.collection<Account>('accounts').find().toArray()
  return {
    users: lines(
      users.map(({ _id, name, profile, tags = null }) => ({
        id: _id.toHexString(),
        name,
        joined: profile?.joined?.getTime() ?? null,
        tags,
      })),
    ),
    direct: lines(
      messages
        .filter(({ t }) => t === 'd')
        .map(({ _id: id, text, author }) => ({ id, text, from: author?.name })),
    ),
    channel: lines(
      messages
        .filter(({ t }) => t === 'c' || t === 'p')
        .map(({ _id: id, text, pinned = null }) => ({ id, text, pinned })),
    ),
    items: lines(orders.flatMap(({ _id: order, items }) => items.map((item) => ({ order, ...item })))),
    accounts: lines(accounts.map(({ _id: id, balance }) => ({ id, balance }))),
  }
}

async function untilEqual(): Promise<void> {
  let differences = ''
  await client
    .until(
      'the client has what the documents say',
      async () => {
        const wanted = await expected()
        const have = Object.fromEntries(Object.keys(wanted).map((name) => [name, lines(client.rows(name))]))
        differences = JSON.stringify({ wanted, have }, null, 1)
        return JSON.stringify(wanted) === JSON.stringify(have)
      },
      60_000,
    )
    .catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${differences.slice(0, 5000)}\n${pipeline.lastWords}`, {
        cause: error,
      })
    })
}

describe('MongoDB under Zero', () => {
  it('shows mapped documents, of every kind of table', async () => {
    await untilEqual()
    expect(client.rows('users').find(({ name }) => name === 'Ann')).toMatchObject({
      joined: 1_700_000_000_000,
      tags: ['a', { b: 1 }],
    })
    expect(client.rows('items')).toHaveLength(2)
  })

  it('follows changes live: moves between tables, elements, documents', async () => {
    const messages = db.collection<Message>('messages')
    await messages.updateOne({ _id: 'm1' }, { $set: { t: 'c' } })
    await messages.insertOne({ _id: 'm3', t: 'p', text: 'private' })
    await db
      .collection<Order>('orders')
      .updateOne({ _id: 1 }, { $push: { items: { sku: 'c', quantity: 9 } } } as never)
    await db.collection<Order>('orders').updateOne({ _id: 1 }, { $pull: { items: { sku: 'a' } } } as never)
    await db
      .collection('users')
      .updateOne({ name: 'Bob' }, { $set: { name: 'Bobby', 'profile.joined': new Date(5) } })
    await untilEqual()
    expect(client.rows('direct')).toEqual([])
  })

  it('never shows a part of a transaction of several documents', async () => {
    const sums = new Set<number>()
    client.watch(
      'accounts',
      (rows) => void sums.add(rows.reduce((sum, row) => sum + Number(row['balance']), 0)),
    )
    const accounts = db.collection<Account>('accounts')
    for (let round = 0; round < 20; round++) {
      await inTransaction(mongo.client, async (session) => {
        await accounts.updateOne({ _id: 1 }, { $inc: { balance: -10 } }, { session })
        await accounts.updateOne({ _id: 2 }, { $inc: { balance: 10 } }, { session })
      })
    }
    await untilEqual()
    expect([...sums]).toEqual([1000])
  })

  it('is equal after kills of the pipeline under load', { timeout: 180_000 }, async () => {
    const random = seeded('MongoDB under Zero')
    let isOver = false
    let next = 100
    let changes = 0
    const messages = db.collection<Message>('messages')
    const orders = db.collection<Order>('orders')
    const change = async (): Promise<void> => {
      const _id = `m${random.below(40)}`
      const t = random.pick(['d', 'c', 'p', 'x'] as const)
      const order = random.below(10)
      switch (random.below(6)) {
        case 0:
          await messages.deleteOne({ _id })
          return
        case 1:
          await messages.updateOne(
            { _id },
            { $set: { t, author: { name: `n${next++}` }, text: `t${next}` } },
            { upsert: true },
          )
          return
        case 2:
          await messages.replaceOne(
            { _id },
            { t, text: `r${next++}`, author: { name: 'x' } },
            { upsert: true },
          )
          return
        case 3:
          await orders.updateOne(
            { _id: order },
            { $push: { items: { sku: `s${next++}`, quantity: next } } } as never,
            { upsert: true },
          )
          return
        case 4:
          await orders.updateOne({ _id: order }, { $pop: { items: -1 } } as never)
          return
        default:
          await inTransaction(mongo.client, async (session) => {
            await messages.updateOne(
              { _id },
              { $set: { t, text: `in ${next++}`, author: { name: 'y' } } },
              { session, upsert: true },
            )
            await orders.replaceOne(
              { _id: order },
              { items: [{ sku: 'one', quantity: next }] },
              { session, upsert: true },
            )
          })
      }
    }
    const writer = (async () => {
      while (!isOver) {
        await change()
        changes++
      }
    })()
    const rounds = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 5)
    for (let round = 0; round < rounds; round++) {
      // At any moment: while it starts, and while it follows.
      const until = changes + 50 + random.below(2000)
      await pipeline.until('more was changed', () => changes >= until)
      await pipeline.kill()
      pipeline.startCli()
    }
    isOver = true
    await writer
    await untilEqual()
    const [sample] = client.rows('items')
    expect(sample).toBeDefined()
  })
})
