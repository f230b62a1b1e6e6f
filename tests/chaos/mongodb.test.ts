import { BSON } from 'mongodb'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Json } from '../../src/core/position.ts'
import { createWithImages } from '../integration/mongodb-fixture.ts'
import { createLoadCollections, DocumentLoad, LOAD } from '../support/document-load.ts'
import { MongoPipeline } from '../support/mongo-pipeline.ts'
import { needsWire, testMongo } from '../support/mongo.ts'
import { seeded } from '../support/random.ts'

const ROUNDS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 6)

/** Everything is in the tables: for the test's own eyes, and for `sluice verify`, which also finds what is not right. */
async function isEqual(pipeline: MongoPipeline, seed: number): Promise<void> {
  const last = await pipeline.command('run', '--once')
  expect(last.code, last.stderr()).toBe(0)
  expect((await pipeline.differences()).slice(0, 20), `seed ${seed}`).toEqual([])
  const verified = await pipeline.command('verify', '--json')
  expect(verified.code, verified.stdout() + verified.stderr()).toBe(0)
  const { tables } = JSON.parse(verified.stdout()) as {
    tables: { table: string; source: { rows: number } | number }[]
  }
  const names = LOAD.flatMap((collection) => collection.tables.map(({ name }) => `public.${name}`))
  expect(tables.map(({ table }) => table).toSorted()).toEqual(names.toSorted())
}

it(
  `is equal after ${ROUNDS} rounds of random load and SIGKILL at random moments`,
  { timeout: 300_000 },
  async () => {
    const random = seeded('kill test of MongoDB')
    await using mongo = await testMongo({ purpose: 'kill' })
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database })
    await createLoadCollections(pipeline.db, random)
    const load = new DocumentLoad(mongo.uri, mongo.database, random)
    load.start(3)
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        const run = pipeline.start()
        // The first ones are killed while they copy, every second one later while it streams.
        if (round % 2 === 0)
          await run.until('it streams', () => run.log.some(({ message }) => message === 'streaming'))
        // A moment, not a condition: where the process is killed is what is random here.
        await Promise.race([delay(random.below(2000)), run.done])
        expect(run.exit, `round ${round} ended by itself:\n${run.lastWords}`).toBe(null)
        await run.kill()
      }
    } finally {
      await load.stop()
    }
    expect(load.commits).toBeGreaterThan(ROUNDS)
    expect(load.transactions).toBeGreaterThan(ROUNDS)
    await isEqual(pipeline, random.seed)

    await pipeline.clickhouse.command(
      `ALTER TABLE order_items UPDATE sku = 'wrong' WHERE line = (SELECT max(line) FROM order_items__current) SETTINGS mutations_sync = 2`,
    )
    const verified = await pipeline.command('verify', '--json')
    expect(verified.code, verified.stdout() + verified.stderr()).toBe(4)
  },
)

it(
  'is equal after step-downs and restarts of every member of three, under load, and nobody did anything',
  { timeout: 120_000 },
  async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    const random = seeded('elections of MongoDB')
    await using mongo = await testMongo({ purpose: 'elections', members: 3 })
    const controls = mongo.controls!
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database })
    await createLoadCollections(pipeline.db, random)
    const load = new DocumentLoad(mongo.uri, mongo.database, random)
    load.start(3)
    const run = pipeline.start()
    const goesOn = async (): Promise<void> => {
      const { commits } = load
      const position = await pipeline.position()
      await run.until('load and pipeline go on', async () => {
        const now = await pipeline.position()
        return load.commits > commits + 5 && now !== null && now > (position ?? '')
      })
    }
    try {
      await run.until('it streams', () => run.log.some(({ message }) => message === 'copy finished'))
      await goesOn()
      const stopped: boolean[] = []
      for (let member = 0; member < 3; member++) {
        stopped.push(controls.primary === member)
        await controls.stopMember(member)
        await goesOn()
        await controls.startMember(member)
      }
      expect(stopped).toContain(true)
      for (let times = 0; times < 2; times++) {
        controls.stepDown()
        await goesOn()
      }
      // Once more, while a process starts.
      await run.kill()
      const again = pipeline.start()
      await delay(300 + random.below(500))
      await controls.restartMember(controls.primary)
      expect(again.exit).toBe(null)
    } finally {
      await load.stop()
    }
    await pipeline.untilEqual()
    expect(await pipeline.run.stop()).toEqual({ code: 0, signal: null })
    expect(run.codes()).toContainEqual(
      expect.stringMatching(/^mongodb\/(not-primary|connection-lost|interrupted|unreachable)$/),
    )
    await isEqual(pipeline, random.seed)
  },
)

const NOTES: Json = {
  notes: {
    collection: 'notes',
    fields: { id: { path: '_id', type: 'int64' }, text: { path: 'text', type: 'text?' } },
    key: ['id'],
  },
}

async function notes(pipeline: MongoPipeline): Promise<readonly string[]> {
  const rows = await pipeline.clickhouse.query<{ id: string }>('SELECT id FROM notes__current ORDER BY id')
  return rows.map(({ id }) => id)
}

it(
  'ends with the exit code for lost positions when the oplog has gone round while it was down, and reads nothing',
  { timeout: 60_000 },
  async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({ purpose: 'rolled' })
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database, mapping: NOTES })
    const documents = pipeline.db.collection<{ _id: number }>('notes')
    await documents.insertOne({ _id: 1 })
    expect((await pipeline.command('run', '--once')).code).toBe(0)
    await documents.insertOne({ _id: 2 })
    mongo.controls!.cutLog()
    await documents.insertOne({ _id: 3 })
    for (let times = 0; times < 2; times++) {
      const ended = await pipeline.command('run')
      expect(ended.code, ended.stderr()).toBe(5)
      expect(ended.stderr()).toContain('code: mongodb/history-lost')
    }
    expect(await notes(pipeline)).toEqual(['1'])
  },
)

it(
  'resumes after its own collections were silent until the oplog had gone round',
  { timeout: 60_000 },
  async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({ purpose: 'idle' })
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database, mapping: NOTES })
    const documents = pipeline.db.collection<{ _id: number }>('notes')
    await documents.insertOne({ _id: 1 })
    const run = pipeline.start()
    await run.until('the copy is there', async () => (await notes(pipeline).catch(() => [])).length === 1)
    const before = await pipeline.position()
    const { log } = mongo.cluster!.store
    const place = log.end
    const others = Array.from({ length: 200 }, (_, _id) => ({ _id, text: 'x'.repeat(200) }))
    await pipeline.db.collection<{ _id: number }>('others').insertMany(others)
    await pipeline.db.collection('others').updateMany({}, { $set: { text: 'y' } })
    const end = log.newest!
    const head = end.time.toString(16).padStart(16, '0')
    await run.until('the position moves on', async () => ((await pipeline.position()) ?? '') >= head)
    await run.kill()
    // All that there was at the last event of its own, and more.
    log.cut(log.end - 1)
    expect(log.start).toBeGreaterThan(place)
    expect((before ?? '') < head).toBe(true)
    await documents.insertOne({ _id: 2 })
    const ended = await pipeline.command('run', '--once')
    expect(ended.code, ended.stderr()).toBe(0)
    expect(await notes(pipeline)).toEqual(['1', '2'])
  },
)

it(
  'takes less than a twentieth of the bytes of all events when most of them are of other collections',
  { timeout: 60_000 },
  async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    await using mongo = await testMongo({ purpose: 'traffic' })
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database, mapping: NOTES })
    const documents = pipeline.db.collection<{ _id: number }>('notes')
    await documents.insertOne({ _id: 0 })
    const run = pipeline.start()
    await run.until('the copy is there', async () => (await notes(pipeline).catch(() => [])).length === 1)
    const received = (): number =>
      mongo
        .controls!.connections()
        .filter(({ application }) => application === `sluice ${pipeline.name}`)
        .reduce((sum, { sent }) => sum + sent, 0)
    const before = received()
    let bytes = 0
    const write = async (
      name: string,
      document: { _id: number; text?: string; body: string },
    ): Promise<void> => {
      bytes += BSON.calculateObjectSize(document)
      await pipeline.db.collection<typeof document>(name).insertOne(document)
    }
    for (let _id = 1; _id <= 20; _id++) {
      // Of what is mapped, most is in fields that no column asks for.
      await write('notes', { _id, text: `note ${_id}`, body: 'b'.repeat(20_000) })
      for (let other = 0; other < 20; other++)
        await write('others', { _id: _id * 100 + other, body: 'o'.repeat(5_000) })
    }
    await run.until('all of it is there', async () => (await notes(pipeline)).length === 21)
    const share = (received() - before) / bytes
    expect(share, `${received() - before} of ${bytes} bytes`).toBeLessThan(0.05)
  },
)

it(
  'goes on through an event that is larger than a document may be',
  { timeout: 60_000 },
  async ({ skip }) => {
    const why = await needsWire()
    if (why !== null) skip(why)
    const fields = { id: { path: '_id', type: 'int64' }, text: { path: 'text', type: 'text?' } }
    const mapping: Json = {
      notes: { collection: 'notes', filter: { hidden: { $ne: true } }, fields, key: ['id'] },
    }
    const limits = { event: 400_000, document: 16_777_216, reply: 16_777_216 }
    await using mongo = await testMongo({ purpose: 'large', limits })
    await using pipeline = await MongoPipeline.make(mongo, { name: mongo.database, mapping })
    await createWithImages(pipeline.db, 'notes')
    const documents = pipeline.db.collection<{ _id: number; text?: string }>('notes')
    await documents.insertOne({ _id: 1, text: 'a'.repeat(300_000) })
    const run = pipeline.start()
    await run.until('the copy is there', async () => (await notes(pipeline).catch(() => [])).length === 1)
    await documents.updateOne({ _id: 1 }, { $set: { text: 'b'.repeat(300_000) } })
    await documents.insertOne({ _id: 2 })
    await run.until('it has gone on', async () => (await notes(pipeline)).length === 2)
    const [row] = await pipeline.clickhouse.query<{ size: string; first: string }>(
      `SELECT toString(length(text)) AS size, left(text, 1) AS first FROM notes__current WHERE id = 1`,
    )
    expect(row).toEqual({ size: '300000', first: 'b' })
    // What a server says that cannot cut events.
    mongo.controls!.fail({ command: 'getMore', code: 10_334 })
    expect(await run.done).toEqual({ code: 1, signal: null })
    expect(run.lastWords).toContain('code: mongodb/event-too-large')
  },
)
