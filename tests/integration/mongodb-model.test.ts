/** Random histories: whatever is written, killed, dropped or remapped meanwhile, tables end as their documents are. */
import type { Collection, Db, MongoClient } from 'mongodb'
import { expect, it } from 'vitest'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { CoreError } from '../../src/core/error.ts'
import type { DocumentMapping } from '../../src/core/mapping/mapping.ts'
import { Op } from '../../src/core/packed-rows.ts'
import type { Json } from '../../src/core/position.ts'
import { tableName } from '../../src/core/table.ts'
import { line, Mirror, stored, type TextRow } from '../support/mirror.ts'
import type { Controls } from '../support/mongo-wire/controls.ts'
import { needsWire, testMongo, type TestMongo } from '../support/mongo.ts'
import { type Random, seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'
import { createWithImages, inTransaction, mapped, SourceRun, type SourceOptions } from './mongodb-fixture.ts'

const ROUNDS = Number(process.env['SLUICE_MODEL_ROUNDS'] ?? 12)

interface Doc {
  readonly _id: number
  readonly [name: string]: unknown
}

const N = { path: 'n', type: 'int64?' }
const ID = { path: '_id', type: 'int64' }

/** Collections that may lose their images at any time, and those whose tables need them. */
const LOOSE = ['plain', 'filtered']
const STRICT = ['union', 'unwound', 'keyed']

function mappingOf(variant: number): DocumentMapping {
  const fields = { id: ID, n: N }
  const more = variant % 2 === 1 ? { tag: { path: 'tag', type: 'text?' } } : {}
  const bound = variant < 2 ? 5 : 3
  return mapped(
    {
      plain: { collection: 'plain', fields: { ...fields, ...more }, key: ['id'] },
      filtered: { collection: 'filtered', filter: { n: { $lt: bound } }, fields, key: ['id'] },
      left: { collection: 'union', filter: { tag: 'l' }, fields, key: ['id'] },
      right: { collection: 'union', filter: { tag: 'r' }, fields: { ...fields, ...more }, key: ['id'] },
      items: {
        collection: 'unwound',
        unwind: 'items',
        fields: {
          id: ID,
          item: { path: 'items.id', type: 'int64' },
          v: { path: 'items.v', type: 'int64?' },
          n: N,
        },
        key: ['id', 'item'],
      },
      codes: { collection: 'keyed', fields: { code: { path: 'code', type: 'int64' }, n: N }, key: ['code'] },
      ...(variant === 3 ? { again: { collection: 'unwound', fields, key: ['id'] } } : {}),
    } as Json,
    true,
  )
}

/** What the tables have to be, from the documents. */
async function expected(db: Db, variant: number): Promise<Record<string, readonly string[]>> {
  const text = (value: unknown): string | null =>
    value === undefined || value === null ? null : `${value as number | string}`
  const all = async (name: string): Promise<Doc[]> => db.collection<Doc>(name).find().toArray()
  const lines = (rows: readonly TextRow[]): readonly string[] => rows.map(line).toSorted()
  const row = ({ _id, n }: Doc): TextRow => ({ id: text(_id), n: text(n) })
  const wide = (doc: Doc): TextRow => (variant % 2 === 1 ? { ...row(doc), tag: text(doc['tag']) } : row(doc))
  const [plain, filtered, union, unwound, keyed] = await Promise.all([...LOOSE, ...STRICT].map(all))
  const bound = variant < 2 ? 5 : 3
  return {
    'public.plain': lines(plain!.map(wide)),
    'public.filtered': lines(filtered!.filter(({ n }) => typeof n === 'number' && n < bound).map(row)),
    'public.left': lines(union!.filter(({ tag }) => tag === 'l').map(row)),
    'public.right': lines(union!.filter(({ tag }) => tag === 'r').map(wide)),
    'public.items': lines(
      unwound!.flatMap((doc) =>
        (doc['items'] as { id: number; v: number }[]).map(({ id, v }) => ({
          ...row(doc),
          item: text(id),
          v: text(v),
        })),
      ),
    ),
    'public.codes': lines(keyed!.map(({ code, n }) => ({ code: text(code), n: text(n) }))),
    ...(variant === 3 ? { 'public.again': lines(unwound!.map(row)) } : {}),
  }
}

/** What stays when the row with the highest version of each key wins, as in a ReplacingMergeTree. */
class Versions {
  readonly #tables = new Map<
    string,
    Map<string, { readonly version: bigint; readonly row: TextRow | null }>
  >()

  apply(batch: RecordBatch): void {
    const { schemaChange } = batch
    if (schemaChange !== null && schemaChange.change.kind !== 'create-table') {
      // A copy follows wherever columns or rules change.
      if (/^(truncate|drop-table)$/.test(schemaChange.change.kind))
        this.#tables.delete(tableName(schemaChange.table))
      return
    }
    const { rows } = batch
    if (rows === null) return
    for (const { firstRow, endRow, version, ordinalLimit, firstOrdinal } of batch.spans) {
      for (let at = firstRow; at < endRow; at++) {
        const ordinal = Math.min(firstOrdinal + at - firstRow, ordinalLimit)
        const record = batch.record(at)
        if (record._tag !== 'Insert' && record._tag !== 'Update' && record._tag !== 'Delete') continue
        const view = record._tag === 'Delete' ? record.before : record.after
        const cells = record.table.columns.map(({ name }, index): [string, string | null] => {
          const isNull = view.state(index) < 0
          return [name, isNull ? null : Buffer.from(view.bytes(index)).toString()]
        })
        const key = JSON.stringify(record.table.key.map((index) => cells[index]![1]))
        const row = rows.op[at] === Op.delete ? null : Object.fromEntries(cells)
        this.#put(tableName(record.table), key, version + BigInt(ordinal), row)
      }
    }
  }

  /** Of the columns that the table has by now. */
  rows(table: string, columns: readonly string[]): readonly string[] {
    const known = [...(this.#tables.get(table)?.values() ?? [])].flatMap(({ row }) =>
      row === null ? [] : [row],
    )
    return known.map((row) => line(Object.fromEntries(columns.map((name) => [name, row[name]!])))).toSorted()
  }

  #put(table: string, key: string, version: bigint, row: TextRow | null): void {
    let known = this.#tables.get(table)
    if (known === undefined) this.#tables.set(table, (known = new Map()))
    if ((known.get(key)?.version ?? -1n) <= version) known.set(key, { version, row })
  }
}

async function write(random: Random, db: Db, client: MongoClient): Promise<void> {
  const names = [...LOOSE, ...STRICT]
  const one = async (session?: ReturnType<MongoClient['startSession']>): Promise<void> => {
    const name = random.pick(names)
    await change(random, db.collection<Doc>(name), name, session === undefined ? {} : { session })
  }
  const dice = random.next()
  if (dice < 0.15) {
    const count = 1 + random.below(8)
    await inTransaction(client, async (session) => {
      for (let step = 0; step < count; step++) await one(session)
    })
  } else if (dice < 0.2) {
    const enabled = random.chance(0.5)
    const name = random.pick(LOOSE)
    await db.command({ collMod: name, changeStreamPreAndPostImages: { enabled } }).catch(() => {})
  } else if (dice < 0.22) {
    await db.collection(random.pick(LOOSE)).drop()
  } else if (dice < 0.24) {
    const other = db.collection<Doc>('other')
    await other.insertMany([1, 2, 3].map((_id) => ({ _id, n: random.below(9) })))
    await other.rename(random.pick(LOOSE), { dropTarget: true }).catch(() => other.drop())
  } else await one()
}

/** What passes by itself: the attempt fails and another one follows, or the stream is opened again. */
function disturb(random: Random, controls: Controls): void {
  const isSluice = ({ application }: { readonly application: string }): boolean =>
    application.startsWith('sluice')
  const command = random.pick(['getMore', 'find', 'aggregate'])
  const kind = random.below(4)
  if (kind === 0) controls.dropCursors()
  else if (kind === 1) controls.cutConnections(isSluice)
  else if (kind === 2) controls.fail({ command, where: isSluice, code: random.pick([11600, 189, 43]) })
  else controls.fail({ command, where: isSluice, cut: random.pick(['before', 'after'] as const) })
}

async function change(
  random: Random,
  collection: Collection<Doc>,
  name: string,
  options: object,
): Promise<void> {
  const _id = random.below(12)
  const n = random.below(9)
  const tag = random.pick(['l', 'r', 'none'])
  const items = Array.from({ length: random.below(5) }, (_, at) => ({
    id: at * 2 + random.below(2),
    v: random.below(4),
  }))
  // Never two documents with one code at a time: a document has those of its own.
  const own = { code: _id * 3 + random.below(3) }
  const document = { n, tag, items, ...(name === 'keyed' ? own : {}) }
  const kind = random.below(10)
  if (kind < 2) await collection.deleteOne({ _id }, options)
  else if (kind < 4) await collection.replaceOne({ _id }, document, { ...options, upsert: true })
  else if (kind < 6) await collection.updateOne({ _id }, { $set: document }, { ...options, upsert: true })
  else if (kind < 8) await collection.updateOne({ _id }, { $set: { n } }, options)
  else if (kind < 9) await collection.updateMany({ n: { $lt: 4 } }, { $set: { n } }, options)
  else await collection.updateOne({ _id }, { $set: { tag, items } }, options)
}

async function round(
  mongo: TestMongo,
  random: Random,
  number: number,
): Promise<{ readonly found: unknown; readonly wanted: unknown }> {
  const database = `${mongo.database}_${number}`
  const db = mongo.client.db(database)
  for (const name of STRICT) await createWithImages(db, name)
  for (const name of LOOSE) {
    if (random.chance(0.5)) await createWithImages(db, name)
    else await db.createCollection(name)
  }
  for (let step = random.below(40); step > 0; step--) await write(random, db, mongo.client)
  const mirror = new Mirror()
  const versions = new Versions()
  let variant = random.below(4)
  let from = null
  let runs = 2 + random.below(4)
  for (let index = 0; index < runs; index++) {
    if (index > 0 && random.chance(0.2)) variant = random.below(4)
    const options: SourceOptions = {
      uri: mongo.uri,
      database,
      mapping: mappingOf(variant),
      config: {
        withoutPreImage: 'delete',
        copyRange: random.pick([64, 256, 4096]),
        copyWorkers: 1 + random.below(3),
        heartbeat: 5,
      },
      units: {
        eventsPerReply: random.pick([1, 3, 1000]),
        documentsPerReply: random.pick([1, 3, 1000]),
        lookUps: random.pick([1, 4, 500]),
        batchBytes: random.pick([1, 300, 1 << 20]),
      },
    }
    mongo.controls!.limitBatches(random.pick([1, 2, 1000]))
    mongo.controls!.splitTransactions(random.pick([1, 3, null]))
    const isLast = index === runs - 1
    let left = isLast ? Number.POSITIVE_INFINITY : 1 + random.below(30)
    const first = mirror.positions.length
    let last = ''
    let running: SourceRun | null = null
    const run = await SourceRun.start(options, from, mirror, (batch) => {
      versions.apply(batch)
      const order = batch.position?.order
      if (order !== undefined && order < last) throw new Error(`positions fall from ${last} to ${order}`)
      last = order ?? last
      if (--left <= 0) running?.abort()
    }).catch((error: CoreError) => {
      if (error.retryable) return null
      throw error
    })
    if (run === null) {
      runs++
      continue
    }
    running = run
    if (left <= 0) run.abort()
    for (let step = random.below(15); step > 0 && !run.ended; step--) {
      if (random.chance(0.04)) disturb(random, mongo.controls!)
      await write(random, db, mongo.client)
    }
    if (isLast || random.chance(0.5)) {
      await waitFor('all is there or the run is killed', async () => {
        if (left <= 0 || run.ended) return true
        const position = run.source.currentPosition()
        const head = await run.source.headPosition().catch(() => null)
        return position !== null && head !== null && position.order >= head.order && position.partial !== true
      })
    }
    await run.stop()
    // A collection that is dropped while it is copied, for example: the runtime starts again.
    if (run.failure?.retryable === false) throw run.failure
    if (isLast && run.failure !== null) runs++
    const positions = mirror.positions.slice(first).map(({ position }) => position)
    // What the sink has may be later than what the store has.
    if (positions.length > 0) from = stored(random.chance(0.5) ? positions.at(-1)! : random.pick(positions))
  }
  const rows = await expected(db, variant)
  await db.dropDatabase()
  const found = Object.keys(rows).map((table) => ({
    [table]: mirror.rows(table),
    versions: versions.rows(table, mirror.columns(table)),
  }))
  return {
    found,
    wanted: Object.entries(rows).map(([table, lines]) => ({ [table]: lines, versions: lines })),
  }
}

it('ends equal to the documents, whatever happened on the way', { timeout: 3_600_000 }, async ({ skip }) => {
  const why = await needsWire()
  if (why !== null) skip(why)
  const random = seeded('a random history of documents')
  let mongo = await testMongo({ wire: true })
  for (let number = 0; number < ROUNDS; number++) {
    if (number % 25 === 24) {
      await mongo[Symbol.asyncDispose]()
      mongo = await testMongo({ wire: true })
    }
    const { found, wanted } = await round(mongo, random, number)
    expect(found, `tables of round ${number}`).toEqual(wanted)
    mongo.controls!.release()
  }
  await mongo[Symbol.asyncDispose]()
})
