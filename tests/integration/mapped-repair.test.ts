import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Decimal128, type Document, Long, ObjectId } from 'mongodb'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import type { PipelineDefinition } from '../../src/runtime/definition.ts'
import { repairPipeline } from '../../src/runtime/verify/repair.ts'
import type { TableReport, VerifyReport } from '../../src/runtime/verify/report.ts'
import { verifyPipeline } from '../../src/runtime/verify/verify.ts'
import { type CliRun, startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { testMongo, type TestMongo } from '../support/mongo.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'
import { createWithImages } from './mongodb-fixture.ts'
import { dropSlots } from './postgres-fixture.ts'

/** `verify` and `repair` of tables that a mapping makes: what is damaged by hand in ClickHouse is found and mended. */

let clickhouse: TestClickHouse
let folder: string
let open: { readonly definition: PipelineDefinition; readonly run: CliRun }[] = []

beforeAll(async () => {
  clickhouse = await testClickHouse('mapped_repair')
  folder = mkdtempSync(join(tmpdir(), 'sluice-mapped-repair-'))
})

afterEach(async () => {
  for (const { run } of open) run.child.kill('SIGKILL')
  await Promise.all(open.map(({ run }) => run.done))
  await Promise.all(open.map(({ definition }) => definition.store.close()))
  open = []
})

afterAll(async () => {
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

interface Running {
  readonly run: CliRun
  verify(): Promise<VerifyReport>
  repair(): Promise<VerifyReport>
}

/** Runs a pipeline in a process of its own. */
async function start(name: string, source: object, tables: object): Promise<Running> {
  const file = join(folder, `${name}.yaml`)
  const { url, database } = clickhouse
  const config = {
    name,
    source,
    mapping: { tables: { inline: tables } },
    sinks: { lake: { type: 'clickhouse', url, database, flushInterval: '20ms' } },
    checkpoint: { interval: '20ms' },
  }
  writeFileSync(file, JSON.stringify(config))
  const definition = await buildPipeline(await loadConfig(file))
  const run = startCli(['run', file])
  open.push({ definition, run })
  await waitFor('the pipeline runs', async () => {
    expect(run.child.exitCode, run.stderr()).toBe(null)
    return (await definition.store.peek(name)).runner?.pid === run.child.pid
  })
  return {
    run,
    verify: () => verifyPipeline(definition, { log: silent, timeoutMs: 30_000 }),
    repair: () => repairPipeline(definition, { log: silent, timeoutMs: 30_000 }),
  }
}

function reportOf(report: VerifyReport, table: string): TableReport {
  return report.tables.find((one) => one.table === `public.${table}`)!
}

/** Takes rows away, changes cells, and adds a row that nobody has. */
async function damage(table: string, gone: string, changed: string, added: string): Promise<void> {
  await clickhouse.command(`INSERT INTO ${table} SELECT * REPLACE (${added}) FROM ${table} LIMIT 1`)
  const [set, where] = changed.split(' IF ')
  await clickhouse.command(
    `ALTER TABLE ${table} DELETE WHERE ${gone}, UPDATE ${set} WHERE ${where} SETTINGS mutations_sync = 2`,
  )
}

interface Damage {
  readonly table: string
  readonly gone: string
  readonly changed: string
  readonly added: string
  readonly column: string
}

/** Damages every table, and expects that exactly this is found, and mended. */
async function foundAndMended(one: Running, damages: readonly Damage[]): Promise<void> {
  expect(await one.verify()).toMatchObject({ equal: true, running: true })
  for (const { table, gone, changed, added } of damages) await damage(table, gone, changed, added)
  const found = await one.verify()
  for (const { table, column } of damages) {
    expect(reportOf(found, table), table).toMatchObject({
      equal: false,
      missing: 1,
      extra: 1,
      different: 1,
      unsettled: 0,
      columns: [column],
      problems: [],
    })
  }
  const repaired = await one.repair()
  expect(repaired).toMatchObject({ equal: true, running: true })
  for (const { table } of damages) expect(reportOf(repaired, table).repaired, table).toBe(3)
  expect(await one.verify()).toMatchObject({ equal: true })
  expect(one.run.child.exitCode, one.run.stderr()).toBe(null)
}

describe('from MongoDB', () => {
  let mongo: TestMongo

  beforeAll(async () => {
    mongo = await testMongo({ purpose: 'repair' })
  })

  afterAll(async () => {
    await mongo?.[Symbol.asyncDispose]()
  })

  interface AnyId extends Document {
    readonly _id: unknown
  }

  interface Order {
    readonly _id: number
    readonly status: string
    readonly items: readonly { readonly sku: string; readonly count: number }[]
  }

  interface Room {
    readonly _id: string
    readonly t: string
    readonly name: string
    readonly price: Decimal128
  }

  it('elements, unions, renamed columns and json keys are mended beside the running pipeline', async () => {
    const db = mongo.client.db(mongo.database)
    for (const name of ['orders', 'rooms', 'things']) await createWithImages(db, name)
    const orders = db.collection<Order>('orders')
    await orders.insertMany(
      Array.from({ length: 200 }, (_, id) => ({
        _id: id,
        status: id % 5 === 0 ? 'draft' : 'open',
        items: Array.from({ length: id % 4 }, (__, n) => ({ sku: `s${n}`, count: n * 10 + id })),
      })),
    )
    await db.collection<Room>('rooms').insertMany(
      Array.from({ length: 200 }, (_, id) => ({
        _id: `r${id}`,
        t: ['d', 'c', 'x'][id % 3]!,
        name: `name ${id}`,
        price: Decimal128.fromString(`${id}.50`),
      })),
    )
    const ids = [1, 'one', new ObjectId(), Long.MAX_VALUE, { a: 1, b: [null] }, new Date(0), true]
    await db
      .collection<AnyId>('things')
      .insertMany(ids.map((_id, n) => ({ _id, body: { n, nested: [n, { at: new Date(n) }] } })))
    const one = await start(
      mongo.database,
      { type: 'mongodb', url: mongo.uri, database: mongo.database, heartbeat: '100ms' },
      {
        lines: {
          collection: 'orders',
          filter: { status: 'open' },
          unwind: { path: 'items', index: 'place' },
          fields: {
            order_id: { path: '_id', type: 'int64' },
            nr: { path: 'place', type: 'int32' },
            sku: { path: 'items.sku', type: 'text' },
            quantity: { path: 'items.count', type: 'int32?' },
          },
          key: ['order_id', 'nr'],
        },
        ...Object.fromEntries(
          [
            ['direct', 'd'],
            ['channel', 'c'],
          ].map(([table, t]) => [
            table,
            {
              collection: 'rooms',
              filter: { t },
              fields: {
                room: { path: '_id', type: 'text' },
                title: { path: 'name', type: 'text?' },
                cost: { path: 'price', type: 'decimal(12,2)?' },
              },
              key: ['room'],
            },
          ]),
        ),
        things: {
          fields: { id: { path: '_id', type: 'json' }, content: { path: 'body', type: 'json?' } },
          key: ['id'],
        },
      },
    )
    await db.collection<Room>('rooms').updateOne({ _id: 'r0' }, { $set: { t: 'c' } })
    await orders.updateOne({ _id: 6 }, { $push: { items: { sku: 'late', count: 1 } } } as never)
    await foundAndMended(one, [
      {
        table: 'lines',
        gone: 'order_id = 3 AND nr = 1',
        changed: `quantity = -1 IF order_id = 7 AND nr = 2`,
        added: 'toInt64(5) AS order_id',
        column: 'quantity',
      },
      {
        table: 'direct',
        gone: `room = 'r3'`,
        changed: `cost = cost + 0.01 IF room = 'r6'`,
        added: `'r1' AS room`,
        column: 'cost',
      },
      {
        table: 'channel',
        gone: `room = 'r0'`,
        changed: `title = NULL IF room = 'r4'`,
        added: `'r3' AS room`,
        column: 'title',
      },
      {
        table: 'things',
        gone: `toString(id) = '"one"'`,
        changed: `content = '{}' IF toString(id) = '1'`,
        added: `'"nobody"' AS id`,
        column: 'content',
      },
    ])
    // What is mended is no newer than what happens afterwards.
    await orders.updateOne({ _id: 3 }, { $set: { items: [] } })
    await db.collection<Room>('rooms').updateOne({ _id: 'r4' }, { $set: { t: 'd' } })
    expect(await one.verify()).toMatchObject({ equal: true })
  })
})

describe('from Postgres', () => {
  let postgres: TestPostgres

  beforeAll(async () => {
    postgres = await testPostgres('mapped_repair')
  })

  afterAll(async () => {
    if (postgres !== undefined) await dropSlots(postgres.url)
    await postgres?.[Symbol.asyncDispose]()
  })

  it('renamed, filtered and cast tables are mended beside the running pipeline', async () => {
    await postgres.sql(`
      CREATE TABLE orders (id bigint PRIMARY KEY, state text, total numeric(12,2), note text);
      ALTER TABLE orders REPLICA IDENTITY FULL;
      INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'open' ELSE 'paid' END, i / 100.0, 'n' || i
        FROM generate_series(1, 500) i`)
    const one = await start(
      postgres.database,
      { type: 'postgres', url: postgres.url, heartbeat: '100ms' },
      {
        open_orders: {
          collection: 'orders',
          filter: { state: 'open' },
          fields: { number: { path: 'id', type: 'text' }, remark: 'note', total: 'total' },
        },
        paid_orders: {
          collection: 'orders',
          filter: { state: 'paid' },
          fields: {
            id: 'id',
            cents: { expression: { $multiply: ['$total', 100] }, type: 'int64' },
          },
        },
      },
    )
    await postgres.sql(`UPDATE orders SET state = 'open' WHERE id = 1`)
    await foundAndMended(one, [
      {
        table: 'open_orders',
        gone: `number = '1'`,
        changed: `remark = 'other' IF number = '4'`,
        added: `'3' AS number`,
        column: 'remark',
      },
      {
        table: 'paid_orders',
        gone: 'id = 5',
        changed: 'cents = cents + 1 IF id = 7',
        added: 'toInt64(2) AS id',
        column: 'cents',
      },
    ])
    await postgres.sql(
      `UPDATE orders SET state = 'paid' WHERE id = 4; UPDATE orders SET total = 9 WHERE id = 7`,
    )
    expect(await one.verify()).toMatchObject({ equal: true })
  })
})
