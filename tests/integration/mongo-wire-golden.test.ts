import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { BSON, ObjectId, type Collection, type Db, type Document } from 'mongodb'
import { describe, expect, test } from 'vitest'

import { testMongo, type TestMongo } from '../support/mongo.ts'
import { Doc, List } from '../support/mongo-wire/value.ts'
import { typeName } from '../support/mongo-wire/type-names.ts'
import { wireMongo } from './mongo-wire-fixture.ts'

const FOLDER = join(import.meta.dirname, '../support/mongo-wire/golden')

interface Golden {
  readonly source: { readonly page: string; readonly section: string; readonly url: string }
  /** Whether the document has these fields only, in this order. */
  readonly exact: boolean
  readonly document: Document
}

function golden(name: string): Golden {
  const { document, ...rest } = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as Golden
  return { ...rest, document: BSON.EJSON.parse(JSON.stringify(document), { relaxed: false }) as Document }
}

/** Every path of a document with its type, in order; of an array the first element counts. */
function shapeOf(document: Document): string[] {
  const walk = (value: Doc, prefix: string): string[] =>
    [...value.fields].flatMap(([name, field]) => {
      const path = `${prefix}${name}`
      const inner = field instanceof Doc ? field : field instanceof List ? field.items[0] : undefined
      return [`${path}: ${typeName(field)}`, ...(inner instanceof Doc ? walk(inner, `${path}.`) : [])]
    })
  return walk(Doc.parse(Buffer.from(BSON.serialize(document))), '')
}

const byText = (left: string, right: string) => left.localeCompare(right)

interface Scene {
  readonly mongo: TestMongo
  readonly db: Db
  readonly rows: Collection
}

interface Shown {
  readonly name: string
  readonly options?: Document
  readonly stages?: readonly Document[]
  /** Watch the collection, and not the database. */
  readonly collection?: boolean
  prepare?(scene: Scene): Promise<unknown>
  act(scene: Scene): Promise<unknown>
}

const id = new ObjectId()
const alice = { _id: id, userName: 'alice123', name: 'Alice' }
const insert = ({ rows }: Scene) => rows.insertOne({ ...alice, phoneNumber: '1' })
const change = { $set: { email: 'alice@10gen.com' }, $unset: { phoneNumber: '' } }
const update = ({ rows }: Scene) => rows.updateOne({ _id: id }, change)
const expanded = { showExpandedEvents: true }

const EVENTS: readonly Shown[] = [
  { name: 'insert', act: ({ rows }) => rows.insertOne(alice) },
  { name: 'replace', prepare: insert, act: ({ rows }) => rows.replaceOne({ _id: id }, alice) },
  { name: 'update', prepare: insert, act: update },
  { name: 'update-lookup', prepare: insert, act: update, options: { fullDocument: 'updateLookup' } },
  {
    name: 'update-truncated',
    prepare: ({ rows }) => rows.insertOne({ _id: id, scores: [0.85, 0.94, 0.78] }),
    act: ({ rows }) => rows.updateOne({ _id: id }, [{ $addFields: { scores: [0.85, 0.94] } }]),
  },
  {
    name: 'update-expanded',
    options: expanded,
    prepare: ({ rows }) => rows.insertOne({ _id: id, residences: [{ '0': 'Oxford' }] }),
    act: ({ rows }) => rows.updateOne({ _id: id }, { $set: { 'residences.0.0': 'London' } }),
  },
  { name: 'delete', prepare: insert, act: ({ rows }) => rows.deleteOne({ _id: id }) },
  {
    name: 'images',
    options: { fullDocument: 'required', fullDocumentBeforeChange: 'required' },
    prepare: async (scene) => {
      await scene.db.createCollection('users', { changeStreamPreAndPostImages: { enabled: true } })
      await insert(scene)
    },
    act: update,
  },
  {
    name: 'transaction',
    prepare: ({ db }) => db.createCollection('users'),
    act: ({ mongo, rows }) =>
      mongo.client.withSession((session) =>
        session.withTransaction(() => rows.insertOne(alice, { session })),
      ),
  },
  { name: 'drop', prepare: insert, act: ({ rows }) => rows.drop() },
  { name: 'rename', prepare: insert, act: ({ rows }) => rows.rename('people') },
  { name: 'dropDatabase', prepare: insert, act: ({ db }) => db.dropDatabase() },
  { name: 'invalidate', collection: true, prepare: insert, act: ({ rows }) => rows.drop() },
  { name: 'create', options: expanded, act: ({ db }) => db.createCollection('names') },
  {
    name: 'createIndexes',
    options: expanded,
    prepare: insert,
    act: ({ rows }) => rows.createIndex({ name: 1 }),
  },
  {
    name: 'dropIndexes',
    options: expanded,
    prepare: ({ rows }) => rows.createIndex({ name: 1 }),
    act: ({ rows }) => rows.dropIndex('name_1'),
  },
  {
    name: 'modify',
    options: expanded,
    prepare: ({ rows }) => rows.createIndex({ age: 1 }),
    act: ({ db }) => db.command({ collMod: 'users', index: { name: 'age_1', hidden: true } }),
  },
]

/** The first event of that kind after the action, with the exact types of its values. */
async function eventOf(scene: Scene, shown: Shown): Promise<Document> {
  const { db, mongo } = scene
  await shown.prepare?.(scene)
  const session = mongo.client.startSession()
  const exact = { session, promoteValues: false }
  const target = shown.collection ? 'users' : 1
  const pipeline = [{ $changeStream: shown.options ?? {} }, ...(shown.stages ?? [])]
  const { cursor } = await db.command({ aggregate: target, pipeline, cursor: {} }, exact)
  await shown.act(scene)
  const collection = shown.collection ? 'users' : '$cmd.aggregate'
  try {
    for (;;) {
      const reply = await db.command({ getMore: cursor.id, collection, maxTimeMS: 1000 }, exact)
      const events = reply['cursor'].nextBatch as Document[]
      const kind = shown.name
        .replace(/-.*/, '')
        .replace(/images/, 'update')
        .replace(/transaction/, 'insert')
      const found = events.find((event) => event['operationType'] === kind || event['splitEvent'])
      if (found) return found
    }
  } finally {
    await session.endSession()
  }
}

function sceneOf(mongo: TestMongo): Scene {
  const db = mongo.client.db(mongo.database)
  return { mongo, db, rows: db.collection('users') }
}

describe('the server writes, as the documentation prints it,', () => {
  test.each(EVENTS.map((shown) => [shown.name, shown] as const))('the event %s', async (name, shown) => {
    await using mongo = await testMongo()
    const { document, exact } = golden(`event-${name}`)
    expect(exact).toBe(true)
    expect(shapeOf(await eventOf(sceneOf(mongo), shown))).toEqual(shapeOf(document))
  })

  test('the fragment of an event', async (context) => {
    await using wire = await wireMongo(context, { limits: { event: 20_000 } })
    const scene = sceneOf(wire.mongo)
    const big = (letter: string) => ({ ...alice, text: letter.repeat(15_000) })
    const fragment = await eventOf(scene, {
      name: 'fragment',
      stages: [{ $changeStreamSplitLargeEvent: {} }],
      options: { fullDocument: 'required', fullDocumentBeforeChange: 'required' },
      prepare: async ({ db, rows }) => {
        await db.createCollection('users', { changeStreamPreAndPostImages: { enabled: true } })
        await rows.insertOne(big('a'))
      },
      act: ({ rows }) => rows.updateOne({ _id: id }, { $set: { text: 'b'.repeat(15_000) } }),
    })
    const expected = shapeOf(golden('event-fragment').document)
    expect(shapeOf(fragment).slice(0, expected.length)).toEqual(expected)
  })

  test('what hello, getMore and failures answer', async (context) => {
    await using wire = await wireMongo(context)
    const { db, rows, mongo } = sceneOf(wire.mongo)
    const exact = { promoteValues: false }
    const hello = await db.command({ hello: 1 }, exact)
    expect(shapeOf(hello)).toEqual(expect.arrayContaining(shapeOf(golden('hello-primary').document)))
    expect(hello).not.toHaveProperty('topologyVersion')

    const session = mongo.client.startSession()
    const pipeline = [{ $changeStream: {} }]
    const opened = await db.command({ aggregate: 'users', pipeline, cursor: {} }, { session, ...exact })
    const getMore = { getMore: opened['cursor'].id, collection: 'users', maxTimeMS: 10 }
    const reply = await db.command(getMore, { session, ...exact })
    expect(shapeOf(reply).toSorted(byText)).toEqual(
      shapeOf(golden('reply-getMore').document).toSorted(byText),
    )
    await session.endSession()

    await rows.insertOne(alice)
    const duplicate = await db.command({ insert: 'users', documents: [alice] }, exact)
    expect(shapeOf(duplicate)).toEqual(
      expect.arrayContaining(shapeOf(golden('reply-duplicate-key').document)),
    )

    const { operationTime } = await db.command({ ping: 1 })
    wire.controls.cutLog()
    const lost = [{ $changeStream: { startAtOperationTime: operationTime } }]
    const error = await db
      .command({ aggregate: 'users', pipeline: lost, cursor: {} })
      .catch((caught: unknown) => caught)
    const { errorResponse } = error as { readonly errorResponse: Document }
    const { document } = golden('error-history-lost')
    expect(Object.keys(errorResponse)).toEqual([...Object.keys(document), '$clusterTime', 'operationTime'])
    expect(errorResponse).toMatchObject({
      code: 286,
      codeName: 'ChangeStreamHistoryLost',
      errorLabels: document['errorLabels'],
    })
  })

  test('and nothing that names no source', () => {
    const names = readdirSync(FOLDER).map((file) => file.replace('.json', ''))
    for (const name of names) {
      const { page, section, url } = golden(name).source
      expect([name, page, section, url.startsWith('https://')]).toEqual([
        name,
        expect.stringMatching(/\w/),
        expect.stringMatching(/\w/),
        true,
      ])
    }
    const events = EVENTS.map(({ name }) => `event-${name}`)
    const others = [
      'event-fragment',
      'hello-primary',
      'reply-getMore',
      'reply-duplicate-key',
      'error-history-lost',
    ]
    expect(names.toSorted()).toEqual([...events, ...others].toSorted())
  })
})
