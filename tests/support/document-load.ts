/** A random load of documents, the mapping of its collections, and what the tables must hold in the end. */
import type { ClickHouseClient } from '@clickhouse/client'
import { type ClientSession, type Collection, type Db, type Document, MongoClient, ObjectId } from 'mongodb'
import { setImmediate } from 'node:timers/promises'
import type { Json } from '../../src/core/position.ts'
import type { Random } from './random.ts'

/** A document as the load writes it. */
interface LoadDocument extends Document {
  readonly _id: string | number | ObjectId
}
type Id = LoadDocument['_id']
type Row = Readonly<Record<string, string | null>>

interface LoadTable {
  readonly name: string
  readonly mapping: { readonly [option: string]: Json }
  /** The rows of a document, by the rules of the mapping, in the words of ClickHouse's `toString`. */
  rows(document: Document): readonly Row[]
}

export interface LoadCollection {
  readonly name: string
  /** Stores pre- and post-images. */
  readonly images: boolean
  /** Is dropped now and then, and made anew. */
  readonly drops?: true
  id(number: number): Id
  fields(number: number, random: Random): Document
  readonly tables: readonly LoadTable[]
}

const DOCUMENTS = 40

let elements = 0

type Simple = string | number | ObjectId | null | undefined

function text(value: Simple): string | null {
  return value === undefined || value === null ? null : String(value)
}

function time(value: Date | undefined): string | null {
  return value === undefined ? null : value.toISOString().replace('T', ' ').replace('Z', '')
}

function note(random: Random): Document {
  if (random.chance(0.1)) return {}
  if (random.chance(0.1)) return { note: null }
  return {
    note: random
      .pick(['', 'x', 'ä🐘', '\\t', "'q'", '\t\n'])
      .repeat(random.below(random.chance(0.1) ? 2000 : 9)),
  }
}

const PLAIN = { n: { path: 'n', type: 'int64?' }, note: { path: 'note', type: 'text?' } } as const

/** One row per document, under its `_id`. */
function plain(name: string, type: string): LoadTable {
  return {
    name,
    mapping: { collection: name, fields: { id: { path: '_id', type }, ...PLAIN }, key: ['id'] },
    rows: ({ _id, n, note: words }) => [{ id: text(_id), n: text(n), note: text(words) }],
  }
}

const numbers = (number: number): number => number
const named = (number: number): string => `key-${number}`
const objectId = (number: number): ObjectId => new ObjectId(number.toString(16).padStart(24, 'a'))

function fields(_: number, random: Random): Document {
  return { n: random.below(1e9), unmapped: 'u'.repeat(random.below(200)), ...note(random) }
}

/** One arm of a union. */
function arm(name: string, kind: string): LoadTable {
  return {
    name,
    mapping: {
      collection: 'pets',
      filter: { kind, 'owner.left': { $ne: true } },
      fields: { id: { path: '_id', type: 'int64' }, owner: { path: 'owner.name', type: 'text?' }, ...PLAIN },
      key: ['id'],
    },
    rows: ({ _id, kind: actual, owner, n, note: words }) =>
      actual !== kind || owner?.left === true
        ? []
        : [{ id: text(_id), owner: text(owner?.name), n: text(n), note: text(words) }],
  }
}

function element(random: Random): Document {
  return {
    line: ++elements,
    sku: `sku ${random.below(20)}`,
    ...(random.chance(0.8) ? { count: random.below(9) } : {}),
  }
}

export const LOAD: readonly LoadCollection[] = [
  {
    name: 'pets',
    images: true,
    id: numbers,
    fields: (number, random) => ({
      ...fields(number, random),
      kind: random.pick(['cat', 'dog', 'fish']),
      owner: { name: `owner ${random.below(9)}`, left: random.chance(0.2) },
    }),
    tables: [arm('cats', 'cat'), arm('dogs', 'dog')],
  },
  {
    name: 'orders',
    images: true,
    id: objectId,
    fields: (number, random) => ({
      ...fields(number, random),
      ...(random.chance(0.1)
        ? {}
        : { items: Array.from({ length: random.below(6) }, () => element(random)) }),
    }),
    tables: [
      plain('orders', 'text'),
      {
        name: 'order_items',
        mapping: {
          collection: 'orders',
          unwind: 'items',
          fields: {
            order_id: { path: '_id', type: 'text' },
            line: { path: 'items.line', type: 'int64' },
            sku: { path: 'items.sku', type: 'text' },
            count: { path: 'items.count', type: 'int32?' },
          },
          key: ['order_id', 'line'],
        },
        rows: ({ _id, items = [] }) =>
          (items as Document[]).map(({ line, sku, count }) => {
            return { order_id: text(_id), line: text(line), sku: text(sku), count: text(count) }
          }),
      },
    ],
  },
  { name: 'things', images: false, id: objectId, fields, tables: [plain('things', 'text')] },
  { name: 'words', images: false, id: named, fields, tables: [plain('words', 'text')] },
  {
    name: 'coded',
    images: true,
    id: numbers,
    fields: (number, random) => ({ ...fields(number, random), code: `${number}-${random.below(4)}` }),
    tables: [
      {
        name: 'coded',
        mapping: {
          collection: 'coded',
          fields: { code: { path: 'code', type: 'text' }, ...PLAIN },
          key: ['code'],
        },
        rows: ({ code, n, note: words }) => [{ code: text(code), n: text(n), note: text(words) }],
      },
    ],
  },
  {
    name: 'active',
    images: true,
    id: numbers,
    fields: (number, random) => ({
      ...fields(number, random),
      tags: random.pick([['on'], ['on', 'x'], ['x'], []]),
    }),
    tables: [
      {
        name: 'active',
        mapping: {
          collection: 'active',
          filter: { $or: [{ tags: 'on' }, { n: { $lt: 1e8 } }] },
          fields: { id: { path: '_id', type: 'int64' }, tags: { path: 'tags', type: 'json?' }, ...PLAIN },
          key: ['id'],
        },
        rows: ({ _id, tags, n, note: words }) =>
          tags.includes('on') || n < 1e8
            ? [{ id: text(_id), tags: JSON.stringify(tags), n: text(n), note: text(words) }]
            : [],
      },
    ],
  },
  {
    name: 'tenants',
    images: true,
    id: named,
    fields: (number, random) => ({ ...fields(number, random), tenant: random.below(3), n: number }),
    tables: [
      {
        name: 'tenants',
        mapping: {
          collection: 'tenants',
          fields: {
            tenant: { path: 'tenant', type: 'int32' },
            n: { path: 'n', type: 'int64' },
            note: PLAIN.note,
          },
          key: ['tenant', 'n'],
        },
        rows: ({ tenant, n, note: words }) => [{ tenant: text(tenant), n: text(n), note: text(words) }],
      },
    ],
  },
  {
    name: 'sums',
    images: false,
    id: numbers,
    fields: (number, random) => ({
      ...fields(number, random),
      count: random.below(100),
      price: random.below(1000),
      at: new Date(Date.UTC(2020, 0, 1) + random.below(1e11)),
    }),
    tables: [
      {
        name: 'sums',
        mapping: {
          collection: 'sums',
          fields: {
            id: { path: '_id', type: 'int64' },
            total: { expression: { $multiply: ['$count', '$price'] }, type: 'int64?' },
            at: { path: 'at', type: 'timestamp(3) with time zone?' },
            ...PLAIN,
          },
          key: ['id'],
        },
        rows: ({ _id, count, price, at, n, note: words }) => [
          { id: text(_id), total: text(count * price), at: time(at), n: text(n), note: text(words) },
        ],
      },
    ],
  },
  {
    name: 'large',
    images: true,
    id: numbers,
    fields: (number, random) => ({ ...fields(number, random), note: 'l'.repeat(random.below(20_000)) }),
    tables: [plain('large', 'int64')],
  },
  { name: 'gone', images: false, drops: true, id: numbers, fields, tables: [plain('gone', 'int64')] },
]

/** As a user writes it into the config. */
export function loadMapping(collections: readonly LoadCollection[] = LOAD): Json {
  return Object.fromEntries(
    collections.flatMap(({ tables }) => tables.map(({ name, mapping }) => [name, mapping])),
  )
}

/** Makes the collections, with some documents. */
export async function createLoadCollections(
  db: Db,
  random: Random,
  collections: readonly LoadCollection[] = LOAD,
): Promise<void> {
  for (const { name, images, id, fields: make } of collections) {
    await db.createCollection(name, images ? { changeStreamPreAndPostImages: { enabled: true } } : {})
    const some = Array.from({ length: DOCUMENTS / 2 }, (_, number) => ({
      _id: id(number * 2),
      ...make(number * 2, random),
    }))
    await db.collection<LoadDocument>(name).insertMany(some)
  }
}

/**
 * Random writes of several clients until stopped: inserts, updates, replaces, deletes and transactions over several
 * collections, some of which roll back. A write that fails because the server goes away is left, as whether it was
 * applied shows in the documents.
 */
export class DocumentLoad {
  readonly #uri: string
  readonly #database: string
  readonly #random: Random
  #stopped = false
  #workers: Promise<void>[] = []
  #failure: Error | undefined
  /** Writes and transactions that were committed. */
  commits = 0
  transactions = 0
  /** Writes that met a server which went away. */
  failed = 0

  constructor(uri: string, database: string, random: Random) {
    this.#uri = uri
    this.#database = database
    this.#random = random
  }

  start(clients: number): void {
    this.#workers = Array.from({ length: clients }, () =>
      this.#work().catch((error: Error) => void (this.#failure ??= error)),
    )
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
    if (this.#failure !== undefined) throw this.#failure
  }

  async #work(): Promise<void> {
    const client = new MongoClient(this.#uri, { serverSelectionTimeoutMS: 10_000, maxPoolSize: 2 })
    try {
      while (!this.#stopped) {
        try {
          const db = client.db(this.#database)
          if (!this.#random.chance(0.3)) await write(db, this.#random.pick(LOAD), this.#random)
          else if (await transaction(client, db, this.#random, LOAD)) this.transactions++
          this.commits++
        } catch (error) {
          if (!isPassing(error)) throw error
          this.failed++
        }
        // The server may be in this process: nobody else would have a turn.
        await setImmediate()
      }
    } finally {
      await client.close()
    }
  }
}

/** A few writes and transactions, one after the other, made again when the server goes away meanwhile. */
export async function stepOf(
  client: MongoClient,
  database: string,
  random: Random,
  collections: readonly LoadCollection[],
): Promise<void> {
  const db = client.db(database)
  for (let writes = 0; writes < 6; writes++) {
    try {
      if (random.chance(0.3)) await transaction(client, db, random, collections)
      else await write(db, random.pick(collections), random)
    } catch (error) {
      if (!isPassing(error)) throw error
    }
  }
}

/** True when it was committed. */
async function transaction(
  client: MongoClient,
  db: Db,
  random: Random,
  collections: readonly LoadCollection[],
): Promise<boolean> {
  const members = collections.filter(({ drops }) => drops === undefined)
  const count = random.chance(0.1) ? 60 : 2 + random.below(5)
  const session = client.startSession()
  try {
    session.startTransaction()
    for (let writes = 0; writes < count; writes++) await write(db, random.pick(members), random, session)
    if (random.chance(0.1)) {
      await session.abortTransaction()
      return false
    }
    await session.commitTransaction()
    return true
  } finally {
    await session.endSession()
  }
}

async function write(
  db: Db,
  { id, fields: make, name, drops }: LoadCollection,
  random: Random,
  session?: ClientSession,
): Promise<void> {
  const options = session === undefined ? {} : { session }
  if (drops && random.chance(0.02)) return void (await db.collection(name).drop())
  const documents: Collection<LoadDocument> = db.collection(name)
  const number = random.below(DOCUMENTS)
  const _id = id(number)
  const kind = random.next()
  if (kind < 0.15) return void (await documents.deleteOne({ _id }, options))
  if (kind < 0.45)
    return void (await documents.replaceOne({ _id }, make(number, random), { ...options, upsert: true }))
  if (kind < 0.55 && name === 'orders') {
    await documents.updateOne({ _id }, { $push: { items: element(random) } } as Document, options)
    return
  }
  if (kind < 0.65 && name === 'orders') {
    const sku = `sku ${random.below(20)}`
    await documents.updateOne({ _id }, { $pull: { items: { sku } } } as Document, options)
    return
  }
  if (kind < 0.7 && session === undefined) {
    await documents.insertOne({ _id, ...make(number, random) })
    return
  }
  const entries = Object.entries(make(number, random)).filter(() => random.chance(0.6))
  const update = entries.length === 0 ? { $unset: { note: '' } } : { $set: Object.fromEntries(entries) }
  await documents.updateOne({ _id }, update, options)
}

/** Elections, lost connections, and writes that met each other. */
function isPassing(error: unknown): boolean {
  const { name, code, hasErrorLabel } = error as Error & {
    readonly code?: number | string
    hasErrorLabel?(label: string): boolean
  }
  if (/^Mongo(Network|ServerSelection|NotConnected|PoolCleared|WriteConcern)/.test(name)) return true
  if ([91, 112, 11_000, 'EPIPE', 'ECONNRESET', 189, 251, 10_107, 11_600, 11_602, 13_435].includes(code ?? 0))
    return true
  return ['TransientTransactionError', 'RetryableWriteError', 'UnknownTransactionCommitResult'].some(
    (label) => hasErrorLabel?.call(error, label) === true,
  )
}

/** What differs between the documents and the tables in ClickHouse; both are read without any code of the pipeline. */
export async function documentDifferences(
  db: Db,
  target: ClickHouseClient,
  collections: readonly LoadCollection[],
): Promise<readonly string[]> {
  const found: string[] = []
  for (const collection of collections) {
    const documents = await db.collection(collection.name).find().toArray()
    for (const table of collection.tables) {
      const expected = linesOf(documents.flatMap((document) => table.rows(document)))
      const columns = Object.keys(table.mapping['fields'] as object)
      const result = await target.query({
        query: `SELECT ${columns.map((name) => `toString(\`${name}\`) AS \`_${name}\``).join(', ')} FROM \`${table.name}__current\``,
        format: 'JSONEachRow',
      })
      const rows = (await result.json<Row>()).map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name.slice(1), value])),
      )
      const actual = linesOf(rows)
      found.push(
        ...[...expected]
          .filter((line) => !actual.has(line))
          .map((line) => `${table.name}: missing ${line.slice(0, 300)}`),
        ...[...actual]
          .filter((line) => !expected.has(line))
          .map((line) => `${table.name}: extra ${line.slice(0, 300)}`),
      )
      if (rows.length !== actual.size) found.push(`${table.name}: rows twice`)
    }
  }
  return found
}

function linesOf(rows: readonly Row[]): ReadonlySet<string> {
  return new Set(rows.map((row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))))
}
