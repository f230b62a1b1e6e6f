import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Decimal128, type Document, Double, Int32, Long, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseReader } from '../../src/connectors/sinks/clickhouse/reader.ts'
import type { Json } from '../../src/core/position.ts'
import {
  addKey,
  type KeyRange,
  noKeys,
  type PackedKeys,
  type RowReader,
  type SourceReader,
  WHOLE_TABLE,
} from '../../src/core/row-reader.ts'
import { RowView } from '../../src/core/row-view.ts'
import { type TableSchema, tableName } from '../../src/core/table.ts'
import { packRows } from '../../src/core/value-batch.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import { startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { testMongo, type TestMongo } from '../support/mongo.ts'
import { contextOf, createWithImages, mapped, newSource } from './mongodb-fixture.ts'

/** What `verify` reads MongoDB with: both sides must mean the same by a range and by a key. */

let mongo: TestMongo
let clickhouse: TestClickHouse
let folder: string

beforeAll(async () => {
  mongo = await testMongo({ purpose: 'reader' })
  clickhouse = await testClickHouse('mongo_reader')
  folder = mkdtempSync(join(tmpdir(), 'sluice-mongo-reader-'))
})

afterAll(async () => {
  await mongo?.[Symbol.asyncDispose]()
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

async function open(mappings: Json): Promise<SourceReader> {
  const options = { uri: mongo.uri, database: mongo.database, mapping: mapped(mappings) }
  return newSource(options).openReader(contextOf(options))
}

async function copied(name: string, mappings: Json): Promise<ClickHouseReader> {
  const file = join(folder, `${name}.yaml`)
  writeFileSync(
    file,
    `
name: ${mongo.database}_${name}
source: { type: mongodb, url: '${mongo.uri}', database: ${mongo.database} }
mapping: { tables: { inline: ${JSON.stringify(mappings)} } }
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: ${clickhouse.database} } }
`,
  )
  const run = startCli(['run', file, '--once'])
  expect((await run.done).code, run.stderr()).toBe(0)
  const { sinks } = await loadConfig(file)
  const context = contextOf({ mapping: mapped(mappings), uri: mongo.uri, database: mongo.database })
  const pipeline = `${mongo.database}_${name}`
  return ClickHouseReader.open(sinks[0]!.options as ClickHouseConfig, { ...context, pipeline })
}

/** The first cell of every row, as text. */
async function cellsOf(
  read: (out: Parameters<RowReader['scan']>[2]) => Promise<void>,
  table: TableSchema,
): Promise<readonly string[]> {
  const found: string[] = []
  await read((rows) => {
    for (let row = 0; row < rows.rowCount; row++)
      found.push(Buffer.from(new RowView(table, rows, rows.newImage[row]!).bytes(0)).toString())
  })
  return found.toSorted()
}

const scanned = (reader: RowReader, table: TableSchema, range: KeyRange): Promise<readonly string[]> =>
  cellsOf((out) => reader.scan(table, range, out), table)

function keysOf(table: TableSchema, values: readonly (string | bigint | number)[]): PackedKeys {
  const keys = noKeys()
  const [column] = table.key
  const { name } = table.columns[column!]!
  const packed = packRows(
    table,
    values.map((value) =>
      Object.fromEntries(table.columns.map((one) => [one.name, one.name === name ? value : null])),
    ),
  )
  for (let row = 0; row < packed.rowCount; row++) addKey(keys, table, packed, row)
  return keys
}

function byId(collection: string, type: string): Readonly<Record<string, Json>> {
  return {
    [collection]: {
      collection,
      fields: { id: { path: '_id', type }, filler: { path: 'filler', type: 'text?' } },
      key: ['id'],
    },
  }
}

const MANY = 1500
const filler = 'x'.repeat(300)
const many = (id: (index: number) => unknown): unknown[] =>
  Array.from({ length: MANY }, (_, index) => id(index))

interface AnyId extends Document {
  readonly _id: unknown
}

async function fill(name: string, ids: readonly unknown[]): Promise<void> {
  await mongo.client
    .db(mongo.database)
    .collection<AnyId>(name)
    .insertMany(ids.map((_id) => ({ _id, filler })))
}

/** `_id`s that are cut into ranges, strange ones among them. */
const CUT: readonly (readonly [type: string, ids: readonly unknown[]])[] = [
  [
    'int64',
    [
      ...many((index) => (index % 2 === 0 ? new Int32(index - 700) : Long.fromNumber(index * 1_000_003))),
      Long.MIN_VALUE,
      Long.MAX_VALUE,
      new Double(5_000_000_001),
      Decimal128.fromString('7000000000'),
    ],
  ],
  [
    'text',
    [
      ...many((index) => `${String.fromCodePoint(33 + (index % 90))}${index}`),
      '',
      ' ',
      '\u0001',
      'ÿ',
      'Ä',
      'ä',
      '🐘',
      '\uffff',
      `a\\'"`,
    ],
  ],
  ['text', many((index) => new ObjectId(((index * 7919) % 100_003).toString(16).padStart(24, '0')))],
]

/** Whose order the servers do not share. */
const UNCUT: readonly (readonly [type: string, ids: readonly unknown[]])[] = [
  [
    'json',
    [1, 'a', new ObjectId(), new Date(0), Long.MAX_VALUE, Decimal128.fromString('0.1'), new Double(1e21)],
  ],
  ['float64', [1, 2.5, new Double(1e21), Long.fromNumber(-5)]],
  ['timestamp(3) with time zone', [new Date(0), new Date('2024-02-29T12:00:00.123Z')]],
]

describe('ranges of _ids', () => {
  it('hold the same rows on both sides, and every row once', { timeout: 60_000 }, async () => {
    const mappings: Json = Object.assign(
      {},
      ...CUT.map(([type], index) => byId(`cut_${index}`, type)),
    ) as Json
    for (const [index, [, ids]] of CUT.entries()) await fill(`cut_${index}`, ids)
    await using sink = await copied('cut', mappings)
    await using source = await open(mappings)
    await using snapshot = await source.snapshot(true)
    for (const [index, [type, ids]] of CUT.entries()) {
      const table = snapshot.tables.find((one) => tableName(one) === `public.cut_${index}`)!
      expect(snapshot.rowCount(table)).toBe(ids.length)
      expect((await sink.describe(table)).hasRanges, type).toBe(true)
      const ranges = await snapshot.ranges(table)
      expect(ranges.length, type).toBeGreaterThan(3)
      expect([ranges[0]!.from, ranges.at(-1)!.to], type).toEqual([null, null])
      const all: string[] = []
      for (const range of ranges) {
        const rows = await scanned(snapshot, table, range)
        expect(await scanned(sink, table, range), `${type} ${JSON.stringify(range)}`).toEqual(rows)
        all.push(...rows)
      }
      const whole = await scanned(snapshot, table, WHOLE_TABLE)
      expect(whole).toHaveLength(ids.length)
      expect(all.toSorted(), type).toEqual(whole)
    }
  })

  it('are not made where the order is not the same everywhere, and every row is found by its key', async () => {
    const mappings: Json = Object.assign(
      {},
      ...UNCUT.map(([type], index) => byId(`uncut_${index}`, type)),
    ) as Json
    for (const [index, [, ids]] of UNCUT.entries()) await fill(`uncut_${index}`, ids)
    await using sink = await copied('uncut', mappings)
    await using source = await open(mappings)
    await using snapshot = await source.snapshot(true)
    for (const [index, [type, ids]] of UNCUT.entries()) {
      const table = snapshot.tables.find((one) => tableName(one) === `public.uncut_${index}`)!
      expect(await snapshot.ranges(table), type).toEqual([WHOLE_TABLE])
      const whole = await scanned(snapshot, table, WHOLE_TABLE)
      expect(whole).toHaveLength(ids.length)
      expect(await scanned(sink, table, WHOLE_TABLE), type).toEqual(whole)
      const keys = noKeys()
      await snapshot.scan(table, WHOLE_TABLE, (rows) => {
        for (let row = 0; row < rows.rowCount; row++) addKey(keys, table, rows, row)
      })
      expect(await cellsOf((out) => snapshot.find(table, keys, out), table), type).toEqual(whole)
    }
  })
})

describe('rows by key', () => {
  it('are found in any number; keys that cannot be there are absent', async () => {
    const mappings = { ...byId('found', 'text'), ...byId('found_ids', 'text') }
    const ids = many((index) => `key '\\ "${index}\t`) as readonly string[]
    await fill('found', [...ids, '00112233445566778899aabb', '12', 'true'])
    await fill('found_ids', [
      new ObjectId('00112233445566778899aabb'),
      new ObjectId('00112233445566778899aabc'),
    ])
    await using source = await open(mappings)
    await using snapshot = await source.snapshot(true)
    const [table, other] = snapshot.tables
    const find = (of: TableSchema, keys: readonly string[]): Promise<readonly string[]> =>
      cellsOf((out) => snapshot.find(of, keysOf(of, keys), out), of)
    const wanted = [...ids.slice(0, 1200), '00112233445566778899aabb', '12']
    expect(await find(table!, [...wanted, 'nobody', 'a\0b', '13'])).toEqual(wanted.toSorted())
    expect(await find(other!, ['00112233445566778899aabb', '12'])).toEqual(['00112233445566778899aabb'])
  })

  it('are found where the key is none of the _id, in tables with filters and unwound arrays', async () => {
    const db = mongo.client.db(mongo.database)
    await createWithImages(db, 'nested')
    const items = [{ sku: 'a' }, { sku: 'b' }]
    await db.collection<AnyId>('nested').insertMany([
      { _id: 1, on: true, items },
      { _id: 2, on: false, items },
      { _id: 3, on: true, items: [{ sku: 'c' }] },
    ])
    await using source = await open({
      items: {
        collection: 'nested',
        filter: { on: true },
        unwind: 'items',
        fields: { sku: { path: 'items.sku', type: 'text' }, id: { path: '_id', type: 'int64' } },
        key: ['sku', 'id'],
      },
    })
    await using snapshot = await source.snapshot(true)
    const [table] = snapshot.tables
    expect(await scanned(snapshot, table!, WHOLE_TABLE)).toEqual(['a', 'b', 'c'])
    const keys = noKeys()
    const packed = packRows(table!, [{ sku: 'b', id: 1n }])
    addKey(keys, table!, packed, 0)
    expect(await cellsOf((out) => snapshot.find(table!, keys, out), table!)).toContain('b')
  })
})

it('shows all tables as of one moment', async () => {
  const mappings: Json = {
    ...(byId('moment_a', 'int64') as object),
    ...(byId('moment_b', 'int64') as object),
  }
  await fill('moment_a', [1])
  await fill('moment_b', [1])
  await using source = await open(mappings)
  await using snapshot = await source.snapshot(true)
  await mongo.client.db(mongo.database).collection<AnyId>('moment_b').deleteMany({})
  await fill('moment_b', [2])
  const tables = snapshot.tables.map((table) => scanned(snapshot, table, WHOLE_TABLE))
  expect(await Promise.all(tables)).toEqual([['1'], ['1']])
  await using later = await source.snapshot(true)
  expect(later.position.order > snapshot.position.order).toBe(true)
  expect(later.version! > snapshot.version!).toBe(true)
  expect(await scanned(later, later.tables[1]!, WHOLE_TABLE)).toEqual(['2'])
})
