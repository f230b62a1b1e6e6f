import { randomBytes } from 'node:crypto'
import { BSON, type ClientSession, type Db, type Document, type Filter, Int32, Long } from 'mongodb'
import { CAPABILITIES } from '../../src/connectors/sources/mongodb/capabilities.ts'
import { defaultUnits } from '../../src/connectors/sources/mongodb/config.ts'
import type { MongodbSource } from '../../src/connectors/sources/mongodb/source.ts'
import type { DocumentMapping } from '../../src/core/mapping/mapping.ts'
import type { Address } from '../../src/testkit/address.ts'
import type { KitChange, KitRow, KitType, KitValue, TextRow } from '../../src/testkit/change.ts'
import type {
  SourceBench,
  SourceHarness,
  SourceOptions,
  TypeSamples,
} from '../../src/testkit/source/harness.ts'
import { createWithImages, inTransaction, mapped, newSource } from '../integration/mongodb-fixture.ts'
import { testMongo, type TestMongo } from '../support/mongo.ts'
import { COLUMNS, type Sample, SAMPLES } from '../unit/mongodb/expectations.ts'

const REAL = 'The tests run against a real MongoDB, which they can'

/** `isReal`: what only the wire server lets tests do is left out. */
export function mongodbHarness(isReal: boolean): SourceHarness {
  return {
    capabilities: CAPABILITIES,
    waivers: {
      'checkpoint-releases':
        'An oplog keeps what its size and age allow: nothing can be released, and a source holds nothing back.',
      ...(isReal
        ? {
            'lost-history': `${REAL}not make forget its oplog.`,
            'leaves-no-connection': `${REAL}not ask whose connections it has without a role for it.`,
          }
        : {}),
    },
    open: openBench,
  }
}

async function openBench(): Promise<SourceBench> {
  const user = 'kit'
  const password = `secret-${randomBytes(12).toString('hex')}`
  const mongo = await testMongo({ purpose: 'kit', auth: { user, password } })
  if (mongo.kind === 'wire') return new MongodbBench(mongo, { user, password, database: 'admin' })
  const login = { user: mongo.database, password, database: mongo.database }
  await mongo.client
    .db(mongo.database)
    .command({ createUser: login.user, pwd: password, roles: [{ role: 'read', db: mongo.database }] })
  return new MongodbBench(mongo, login)
}

interface Login {
  readonly user: string
  readonly password: string
  readonly database: string
}

const TYPES: Readonly<Record<KitType, string>> = {
  int: 'int32',
  bigint: 'int64',
  text: 'text',
  'large-text': 'text',
}

interface BenchColumn {
  /** In documents. */
  readonly field: string
  readonly name: string
  readonly type: string
}

/** A table of the kit: a collection of the same name, and its mapping. */
interface BenchTable {
  readonly columns: readonly BenchColumn[]
  readonly key: readonly string[]
}

/** Tables of this name have the `_id` as their key; all others have a field, under whatever `_id`. */
const KEYED_BY_ID = 'b'

class MongodbBench implements SourceBench {
  readonly pipeline: string
  readonly tables = ['public.*']
  readonly secrets: readonly string[]
  readonly types: TypeSamples
  readonly address: Address
  readonly connections?: () => Promise<number>
  readonly loseHistory?: () => Promise<void>
  readonly #mongo: TestMongo
  readonly #db: Db
  readonly #login: Login
  readonly #wrong: Login
  readonly #tables = new Map<string, BenchTable>()
  readonly #collections = new Set<string>()
  readonly #writes = new Set<Promise<void>>()
  #alone: Promise<void> = Promise.resolve()
  #mapping: DocumentMapping = { tables: [], allowsBreaking: true }
  #sources = 0

  constructor(mongo: TestMongo, login: Login) {
    this.#mongo = mongo
    this.#db = mongo.client.db(mongo.database)
    this.#login = login
    this.#wrong = { ...login, password: `wrong-${randomBytes(12).toString('hex')}` }
    this.secrets = [login.password, this.#wrong.password]
    this.pipeline = mongo.database
    const { host, port } = mongo.client.options.hosts[0]!
    this.address = { host: host!, port: port! }
    this.types = {
      tables: ['types'],
      create: () => this.#createTypes(),
      insert: (first) => this.#insertTypes(first),
    }
    const { controls } = mongo
    if (controls === null) return
    this.connections = async () =>
      controls.openConnections().filter(({ application }) => application === `sluice ${this.pipeline}`).length
    this.loseHistory = async () => controls.cutLog()
  }

  create({ through = this.address, wrongPassword = false }: SourceOptions = {}): MongodbSource {
    const { user, password, database } = wrongPassword ? this.#wrong : this.#login
    // A proxy is no member of the replica set.
    const query = `directConnection=true&authSource=${database}`
    return newSource({
      uri: `mongodb://${user}:${password}@${through.host}:${through.port}/?${query}`,
      database: this.#mongo.database,
      mapping: this.#mapping,
      config: { misfits: 'null', serverSelectionTimeout: 1000 },
      // Every second source gets small replies, which cut transactions.
      units: this.#sources++ % 2 === 0 ? defaultUnits : { eventsPerReply: 20, documentsPerReply: 20 },
    })
  }

  nameOf(table: string): string {
    return `public.${table}`
  }

  mapping(): DocumentMapping {
    return this.#mapping
  }

  /** Rows in one transaction; what a transaction cannot do alone, between them. */
  async apply(changes: readonly KitChange[]): Promise<void> {
    let rows: RowChange[] = []
    for (const change of changes) {
      if (isRowChange(change)) {
        rows.push(change)
        continue
      }
      if (rows.length > 0) await this.#write(rows)
      rows = []
      await this.#change(change)
    }
    if (rows.length > 0) await this.#write(rows)
  }

  async objects(): Promise<readonly string[]> {
    const found = await this.#db.listCollections({}, { nameOnly: true }).toArray()
    return found.map(({ name }) => name).filter((name) => !this.#collections.has(name))
  }

  async rows(table: string): Promise<readonly TextRow[]> {
    if (table === 'types') return this.#typesRows()
    const { columns } = this.#tables.get(table)!
    const documents = await this.#db.collection(table).find({}, { promoteValues: false }).toArray()
    return documents.map((document) =>
      Object.fromEntries(
        columns.map(({ name, field }) => [name, textOf(document[field] as Parameters<typeof textOf>[0])]),
      ),
    )
  }

  async unrelated(): Promise<void> {
    this.#collections.add('elsewhere')
    await this.#db.collection('elsewhere').insertOne({})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#mongo.kind === 'real') await this.#db.command({ dropUser: this.#login.user })
    await this.#mongo[Symbol.asyncDispose]()
  }

  /** Waits for those who need to be alone; others write at the same time. */
  async #write(changes: readonly RowChange[]): Promise<void> {
    for (let alone: unknown = null; alone !== this.#alone;) await (alone = this.#alone)
    const written = this.#rows(changes)
    this.#writes.add(written)
    await written.finally(() => this.#writes.delete(written))
  }

  async #rows(changes: readonly RowChange[]): Promise<void> {
    const [first] = changes
    // One document needs no transaction around it.
    if (changes.length === 1 && !this.#movesId(first!)) return this.#row(first!, undefined)
    await inTransaction(this.#mongo.client, async (session) => {
      for (const inserts of runsOfInserts(changes)) {
        if (inserts.length === 1) await this.#row(inserts[0]!, session)
        else await this.#insert(inserts as readonly Insert[], session)
      }
    })
  }

  async #insert(inserts: readonly Insert[], session: ClientSession): Promise<void> {
    const { table } = inserts[0]!
    const { columns } = this.#tables.get(table)!
    await this.#db.collection(table).insertMany(
      inserts.map(({ row }) => documentOf(columns, row)),
      { session },
    )
  }

  async #row(change: RowChange, session: ClientSession | undefined): Promise<void> {
    const { columns } = this.#tables.get(change.table)!
    const collection = this.#db.collection(change.table)
    const options = session === undefined ? {} : { session }
    switch (change.kind) {
      case 'insert': {
        await collection.insertOne(documentOf(columns, change.row), options)
        return
      }
      case 'delete':
        await collection.deleteOne(documentOf(columns, change.key) as Filter<Document>, options)
        return
      case 'update': {
        const filter = documentOf(columns, change.key) as Filter<Document>
        const set = documentOf(columns, change.set)
        if (!this.#movesId(change)) {
          await collection.updateOne(filter, { $set: set }, options)
          return
        }
        const found = await collection.findOneAndDelete(filter, { ...options, promoteValues: false })
        if (found !== null) await collection.insertOne({ ...found, ...set }, options)
      }
    }
  }

  /** An `_id` cannot change. */
  #movesId(change: RowChange): boolean {
    return change.kind === 'update' && change.table === KEYED_BY_ID && 'id' in change.set
  }

  #change(change: TableChange): Promise<void> {
    const before = this.#alone
    const changed = (async () => {
      await before
      await Promise.allSettled(this.#writes)
      await this.#changeTable(change)
    })()
    this.#alone = changed.catch(() => {})
    return changed
  }

  async #changeTable(change: TableChange): Promise<void> {
    const { table } = change
    const { columns, key } = this.#tables.get(table) ?? { columns: [], key: [] }
    const set = (to: Partial<BenchTable>): void => this.#map(table, { columns, key, ...to })
    switch (change.kind) {
      case 'truncate':
        await this.#db.collection(table).drop()
        await createWithImages(this.#db, table)
        return
      case 'create-table':
        await createWithImages(this.#db, table)
        this.#collections.add(table)
        return set({ columns: change.columns.map((column) => newColumn(table, column)), key: change.key })
      case 'drop-table':
        await this.#db.collection(table).drop()
        return this.#map(table, null)
      case 'add-column': {
        const column = newColumn(table, change.column)
        // The documents first: an application is as new as that before somebody asks for the field.
        if (change.default !== undefined) {
          const filled = { $set: { [column.field]: bsonOf(column.type, change.default) } }
          await this.#db.collection(table).updateMany({}, filled)
        }
        return set({ columns: [...columns, column] })
      }
      case 'drop-column':
        return set({ columns: columns.filter(({ name }) => name !== change.column) })
      case 'rename-column':
        return set({
          columns: columns.map((one) => (one.name === change.from ? { ...one, name: change.to } : one)),
        })
      case 'alter-column':
        return set({
          columns: columns.map((one) =>
            one.name === change.column ? { ...one, type: TYPES[change.type] } : one,
          ),
        })
      case 'change-key':
        return set({ key: change.key })
    }
  }

  /** What a user writes into the mapping. */
  #map(name: string, table: BenchTable | null): void {
    if (table === null) this.#tables.delete(name)
    else this.#tables.set(name, table)
    const mappings = [...this.#tables].map(([collection, { columns, key }]) => {
      const fields = columns.map((column) => {
        const type = key.includes(column.name) ? column.type : `${column.type}?`
        return [column.name, { path: column.field, type }] as const
      })
      return [collection, { collection, fields: Object.fromEntries(fields), key }] as const
    })
    this.#mapping = mapped(Object.fromEntries(mappings), true)
  }

  async #createTypes(): Promise<void> {
    await createWithImages(this.#db, 'types')
    this.#collections.add('types')
    const columns = TYPE_COLUMNS.map((type, index) => ({ name: `c${index}`, field: `c${index}`, type }))
    this.#map('types', { columns: [{ name: 'id', field: '_id', type: 'int32' }, ...columns], key: ['id'] })
  }

  /** A document per value, which has it once for every type of column. */
  async #insertTypes(first: number): Promise<void> {
    const documents = WRITABLE.map(({ bytes }, index) => {
      const { v } = BSON.deserialize(bytes, EXACT)
      const fields = TYPE_COLUMNS.map((_, column) => [`c${column}`, v] as const)
      return { _id: new Int32(first + index), sample: index, ...Object.fromEntries(fields) }
    })
    await this.#db.collection<Document>('types').insertMany(documents as Document[])
  }

  /** What the server has must be a sample, and what that becomes is written in the table of expectations. */
  async #typesRows(): Promise<readonly TextRow[]> {
    const documents = await this.#db.collection('types').find({}, EXACT).toArray()
    return documents.map((document) => {
      const { cells, bytes, value } = WRITABLE[Number(document['sample'])]!
      const row = TYPE_COLUMNS.map((type, column) => {
        if (!bytes.equals(BSON.serialize({ v: document[`c${column}`] })))
          throw new Error(`the server has something else than ${value}`)
        const cell = cells[type] ?? 'NULL'
        return [`c${column}`, cell === 'NULL' ? null : cell] as const
      })
      return { id: String(document['_id']), ...Object.fromEntries(row) }
    })
  }
}

type RowChange = Extract<KitChange, { kind: 'insert' | 'update' | 'delete' }>
type TableChange = Exclude<KitChange, RowChange>

type Insert = Extract<KitChange, { kind: 'insert' }>

/** Inserts into a table that follow each other together, everything else alone. */
function runsOfInserts(changes: readonly RowChange[]): readonly (readonly RowChange[])[] {
  const runs: RowChange[][] = []
  for (const change of changes) {
    const last = runs.at(-1)
    const [first] = last ?? []
    const joins = change.kind === 'insert' && first?.kind === 'insert' && first.table === change.table
    // Whoever takes them sends them all at once.
    if (joins && last!.length < 50) last!.push(change)
    else runs.push([change])
  }
  return runs
}

function isRowChange(change: KitChange): change is RowChange {
  return change.kind === 'insert' || change.kind === 'update' || change.kind === 'delete'
}

function newColumn(table: string, { name, type }: { name: string; type: KitType }): BenchColumn {
  return { name, type: TYPES[type], field: table === KEYED_BY_ID && name === 'id' ? '_id' : name }
}

function documentOf(columns: readonly BenchColumn[], row: KitRow): Document {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      const { field, type } = columns.find((column) => column.name === name)!
      return [field, bsonOf(type, value)]
    }),
  )
}

function bsonOf(type: string, value: KitValue): unknown {
  if (value === null || typeof value === 'string') return value
  return type === 'int32' ? new Int32(Number(value)) : Long.fromBigInt(BigInt(value))
}

function textOf(value: string | Int32 | Long | null | undefined): string | null {
  return value === null || value === undefined ? null : String(value)
}

const EXACT = { promoteValues: false, bsonRegExp: true } as const

const TYPE_COLUMNS = COLUMNS.filter((column) => !column.includes(' (') && column !== 'other')

/** The driver writes no values of types that are gone from BSON, and no text that is none. */
const WRITABLE: readonly Sample[] = SAMPLES.filter(({ bytes, type }) => {
  if (type === 'undefined' || type === 'dbPointer') return false
  try {
    return bytes.equals(BSON.serialize(BSON.deserialize(bytes, EXACT)))
  } catch {
    return false
  }
})
