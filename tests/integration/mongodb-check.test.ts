import type { MongoClient } from 'mongodb'
import { describe, expect, it } from 'vitest'
import type { MongodbConfig } from '../../src/connectors/sources/mongodb/config.ts'
import type { Problem } from '../../src/core/error.ts'
import type { Json } from '../../src/core/position.ts'
import { freePort } from '../support/free-port.ts'
import { needsWire, testMongo, type TestMongoOptions } from '../support/mongo.ts'
import { contextOf, createWithImages, mapped, newSource, type SourceOptions } from './mongodb-fixture.ts'

const PLAIN: Json = { a: { collection: 'a', fields: { id: { path: '_id', type: 'text' } }, key: ['id'] } }
const OTHER_KEY: Json = { a: { fields: { id: { path: 'id', type: 'int64' } }, key: ['id'] } }
const FILTERED: Json = {
  a: { collection: 'a', filter: { t: 1 }, fields: { id: { path: '_id', type: 'text' } }, key: ['id'] },
}
const UNWOUND: Json = {
  a: {
    collection: 'a',
    unwind: 'items',
    fields: { id: { path: '_id', type: 'text' }, item: { path: 'items.id', type: 'text' } },
    key: ['id', 'item'],
  },
}

async function check(options: SourceOptions): Promise<readonly Problem[]> {
  const source = newSource(options)
  try {
    return await source.validate(contextOf(options))
  } finally {
    await source.disconnect()
  }
}

async function problems(
  mappings: Json,
  make: (client: MongoClient, database: string) => Promise<unknown>,
  config: Partial<MongodbConfig> = {},
): Promise<readonly string[]> {
  await using mongo = await testMongo()
  await make(mongo.client, mongo.database)
  const found = await check({ uri: mongo.uri, database: mongo.database, mapping: mapped(mappings), config })
  return found.map(({ severity, code, fix }) => `${severity} ${code} ${fix.replaceAll(mongo.database, 'DB')}`)
}

const plain = (client: MongoClient, database: string): Promise<unknown> =>
  client.db(database).createCollection('a')
const stored = (client: MongoClient, database: string): Promise<unknown> =>
  createWithImages(client.db(database), 'a')

describe('the check', () => {
  it('finds nothing wrong where everything is right', async () => {
    expect(await problems(PLAIN, stored)).toEqual([])
    expect(await problems(UNWOUND, stored, { images: 'stored' })).toEqual([])
  })

  it('says which command makes a collection store images', async () => {
    const command =
      'Run db.getSiblingDB("DB").runCommand({collMod: "a", changeStreamPreAndPostImages: {enabled: true}})'
    expect(await problems(UNWOUND, plain)).toEqual([`error mongodb/images ${command}.`])
    expect(await problems(FILTERED, plain)).toEqual([
      `error mongodb/images ${command}, or set source.withoutPreImage: delete.`,
    ])
    expect(await problems(PLAIN, plain, { images: 'stored' })).toEqual([
      `error mongodb/images ${command}, or set source.images: auto.`,
    ])
    expect(await problems(OTHER_KEY, plain)).toEqual([
      `error mongodb/images ${command}, or make the key of _id, as with fields: {id: _id}.`,
    ])
    const [made] = (await problems(UNWOUND, async () => {})).slice(1)
    expect(made).toBe(
      'error mongodb/images Run db.getSiblingDB("DB").createCollection("a", {changeStreamPreAndPostImages: {enabled: true}}).',
    )
  })

  it('warns of look-ups and of collections that are not there', async () => {
    const look = await problems(PLAIN, plain)
    expect(look).toHaveLength(1)
    expect(look[0]).toMatch(/^warning mongodb\/look-up .*collMod/)
    expect(await problems(FILTERED, plain, { withoutPreImage: 'delete' })).toHaveLength(1)
    expect((await problems(PLAIN, async () => {})).map((line) => line.split(' ', 2).join(' '))).toEqual([
      'warning mongodb/collection-missing',
    ])
  })

  it('refuses views', async () => {
    const found = await problems(PLAIN, (client, database) =>
      client.db(database).createCollection('a', { viewOn: 'b', pipeline: [] }),
    )
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(/^error mongodb\/not-a-collection/)
  })

  const standalone: TestMongoOptions = { wire: true, topology: 'standalone' }

  it.each(['', '?replicaSet=rs0'])(
    'refuses a server without a replica set at once, also with %j',
    async (suffix) => {
      await using mongo = await testMongo(standalone)
      const options = {
        uri: `${new URL(mongo.uri).origin === 'null' ? mongo.uri.replace(/\/?(\?.*)?$/, '/') : mongo.uri}${suffix}`,
        database: mongo.database,
        mapping: mapped(PLAIN),
      }
      const found = await check(options).catch((error: unknown) => [error as Problem])
      expect(found.map(({ code }) => code)).toEqual(['mongodb/replica-set-needed'])
      expect(found[0]!.fix).toContain('rs.initiate()')
    },
  )

  it('refuses a wrong password, without saying it', async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({ wire: true, auth: { user: 'sluice', password: 'right' } })
    const uri = mongo.uri.replace('right', 'not-this-one')
    const failure = check({ uri, database: mongo.database, mapping: mapped(PLAIN) })
    await expect(failure).rejects.toMatchObject({ code: 'mongodb/auth', retryable: false })
    await expect(failure).rejects.not.toThrow(/not-this-one/)
  })

  it('names what cannot be reached, and an address that is none', async () => {
    const mapping = mapped(PLAIN)
    const uri = `mongodb://sluice:pass-word@127.0.0.1:${await freePort()}/x?replicaSet=rs0`
    const unreachable = check({ uri, database: 'x', mapping, config: { serverSelectionTimeout: 200 } })
    await expect(unreachable).rejects.toMatchObject({ code: 'mongodb/unreachable', retryable: true })
    const none = check({ uri: 'postgres://sluice:pass-word@x', database: 'x', mapping })
    await expect(none).rejects.toMatchObject({ code: 'mongodb/url', retryable: false })
    await expect(none).rejects.not.toThrow(/pass-word/)
  })

  it('says when no table of the mapping is selected', async () => {
    await using mongo = await testMongo()
    const options = { uri: mongo.uri, database: mongo.database, mapping: mapped(PLAIN), tables: ['public.b'] }
    await expect(check(options)).rejects.toMatchObject({ code: 'mongodb/no-tables' })
  })

  it('refuses servers before 6.0', async () => {
    const { checkServer } = await import('../../src/connectors/sources/mongodb/check.ts')
    const facts = { version: [5, 0, 9], isReplicaSet: true, isSharded: false, cluster: 'rs0' } as const
    expect(checkServer(facts).map(({ code }) => code)).toEqual(['mongodb/version'])
  })
})
