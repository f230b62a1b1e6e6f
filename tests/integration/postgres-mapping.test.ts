import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import type { PipelineDefinition } from '../../src/runtime/definition.ts'
import { checkPipeline } from '../../src/runtime/pipeline.ts'
import { verifyPipeline } from '../../src/runtime/verify/verify.ts'
import { type CliRun, startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'
import { dropSlots } from './postgres-fixture.ts'

const MAPPING = {
  open_orders: {
    collection: 'public.orders',
    filter: { state: 'open' },
    fields: { remark: 'note', id: 'id', amount: { path: 'total', type: 'text' } },
  },
  other_orders: {
    collection: 'public.orders',
    filter: { state: { $ne: 'open' } },
    fields: {
      id: { path: 'id', type: 'text' },
      cents: { expression: { $multiply: ['$total', 100] }, type: 'int64' },
      first: { path: 'extra.first', type: 'text' },
    },
  },
  everyone: { collection: 'people', exclude: ['secret'] },
}

let postgres: TestPostgres
let clickhouse: TestClickHouse
let client: pg.Client
let folder: string
let runs: CliRun[] = []
let definition: PipelineDefinition | null = null
let count = 0

beforeAll(async () => {
  postgres = await testPostgres('mapping')
  folder = mkdtempSync(join(tmpdir(), 'sluice-mapping-'))
  client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
})

beforeEach(async () => {
  clickhouse = await testClickHouse('mapping')
  await client.query(`
    DROP TABLE IF EXISTS orders, people;
    CREATE TABLE orders (id bigint PRIMARY KEY, state text, total numeric(12,2), note text, extra jsonb);
    ALTER TABLE orders REPLICA IDENTITY FULL;
    CREATE TABLE people (id int PRIMARY KEY, name text, secret text);
    INSERT INTO orders SELECT i, (ARRAY['open', 'paid', NULL])[i % 3 + 1], i / 100.0, 'n' || i, '{"first": "x"}'
      FROM generate_series(1, 500) i;
    INSERT INTO people SELECT i, 'p' || i, 'hidden' FROM generate_series(1, 20) i`)
})

afterEach(async () => {
  for (const run of runs) run.child.kill('SIGKILL')
  await Promise.all(runs.map((run) => run.done))
  runs = []
  await definition?.store.close()
  definition = null
  await dropSlots(postgres.url)
  await clickhouse[Symbol.asyncDispose]()
})

afterAll(async () => {
  await client?.end()
  await postgres?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** A pipeline whose mapping is a file, and its definition for verifying. */
async function pipeline(mapping: object, more = '') {
  const name = `${postgres.database}_${++count}`
  const config = join(folder, `${name}.yaml`)
  const tables = join(folder, `${name}.tables.json`)
  const change = (next: object): void => writeFileSync(tables, JSON.stringify(next, null, 1))
  change(mapping)
  const { url, database } = clickhouse
  writeFileSync(
    config,
    `
name: ${name}
source: { type: postgres, url: '${postgres.url}', heartbeat: 100ms, schemaPoll: 200ms }
sinks: { lake: { type: clickhouse, url: '${url}', database: ${database}, flushInterval: 20ms } }
mapping: { tables: { file: ${name}.tables.json }${more} }
checkpoint: { interval: 20ms }
`,
  )
  const built = async (): Promise<PipelineDefinition> => {
    await definition?.store.close()
    definition = await buildPipeline(await loadConfig(config))
    return definition
  }
  return {
    change,
    built,
    async start(): Promise<CliRun> {
      const run = startCli(['run', config])
      runs.push(run)
      const { store } = await built()
      await waitFor('the pipeline runs', async () => {
        expect(run.child.exitCode, run.stderr()).toBe(null)
        return (await store.peek(name)).runner?.pid === run.child.pid
      })
      return run
    },
    async verify() {
      return await verifyPipeline(await built(), { log: silent, timeoutMs: 30_000 })
    },
  }
}

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Runs what the test waits for against each side and compares, until they are equal. */
async function same(source: string, target: string): Promise<void> {
  let last: unknown = null
  await waitFor(`${target} shows what ${source} does`, async () => {
    const expected = (await client.query({ text: source, rowMode: 'array' })).rows.map(String).toSorted()
    const rows = await clickhouse.query<Record<string, unknown>>(target).catch(() => [])
    const actual = rows.map((row) => String(Object.values(row))).toSorted()
    last = {
      expected: expected.length,
      actual: actual.length,
      first: expected.find((row, at) => row !== actual[at]),
    }
    return JSON.stringify(expected) === JSON.stringify(actual)
  }).catch((error: unknown) => {
    throw new Error(`${String(error)} ${JSON.stringify(last)}\n${runs.map((run) => run.stderr()).join('\n')}`)
  })
}

const OPEN = `SELECT id::text, coalesce(note, '~') , total::text FROM orders WHERE state = 'open'`
const OPEN_HERE = `SELECT toString(id) AS a, ifNull(remark, '~') AS b, amount AS c FROM open_orders__current`
const OTHER = `SELECT id::text, (total * 100)::bigint::text, coalesce(extra->>'first', '~') FROM orders WHERE state IS DISTINCT FROM 'open'`
const OTHER_HERE = `SELECT id AS a, toString(cents) AS b, ifNull(first, '~') AS c FROM other_orders__current`

async function bothSame(): Promise<void> {
  await same(OPEN, OPEN_HERE)
  await same(OTHER, OTHER_HERE)
}

/** Transactions that move orders in and out of the filter, with long texts that stay in TOAST. */
async function load(random: ReturnType<typeof seeded>, transactions: number): Promise<void> {
  for (let done = 0; done < transactions; done++) {
    await client.query('BEGIN')
    for (let change = 0; change < 8; change++) {
      const id = 1 + random.below(700)
      const state = random.pick(['open', 'paid', 'sent'])
      switch (random.below(6)) {
        case 0:
          await client.query(
            `INSERT INTO orders VALUES ($1, $2, $3, $4, '{"first": "y"}') ON CONFLICT DO NOTHING`,
            [id, state, id / 100, 'long '.repeat(random.pick([1, 2000]))],
          )
          break
        case 1:
          await client.query('DELETE FROM orders WHERE id = $1', [id])
          break
        case 2:
          await client.query('UPDATE orders SET total = total + 1 WHERE id = $1', [id])
          break
        case 3:
          await client.query(
            'UPDATE orders SET id = $2 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM orders WHERE id = $2)',
            [id, id + 1000],
          )
          break
        default:
          await client.query('UPDATE orders SET state = $2 WHERE id = $1', [id, state])
      }
    }
    await client.query('COMMIT')
  }
}

describe('a mapped Postgres source', () => {
  it('gives ClickHouse the same by copy and by stream, through kills, and verify finds it equal', async () => {
    const one = await pipeline(MAPPING)
    let run = await one.start()
    await bothSame()
    const random = seeded('load of mapped tables')
    for (let round = 0; round < 3; round++) {
      await load(random, 15)
      run.child.kill('SIGKILL')
      await run.done
      await load(random, 15)
      run = await one.start()
      await load(random, 15)
    }
    await bothSame()
    await same(
      'SELECT id::text, name FROM people',
      'SELECT toString(id) AS a, name AS b FROM everyone__current',
    )
    const report = await one.verify()
    expect(report).toMatchObject({ equal: true, running: true })
    expect(report.tables.map(({ table }) => table)).toEqual([
      'public.open_orders',
      'public.other_orders',
      'public.everyone',
    ])
    const columns = await clickhouse.query<{ name: string }>('DESCRIBE TABLE everyone__current')
    expect(columns.map(({ name }) => name)).toEqual(['id', 'name'])
  })

  it('names the command for a table whose log does not tell old rows, before anything moves', async () => {
    await client.query('ALTER TABLE orders REPLICA IDENTITY DEFAULT')
    const one = await pipeline({
      ...MAPPING,
      wrong: { collection: 'people', fields: { id: 'id', nam: 'nmae' } },
    })
    const problems = await checkPipeline(await one.built(), { log: silent })
    expect(problems).toEqual([
      expect.objectContaining({
        code: 'postgres/identity-not-full',
        fix: expect.stringContaining('ALTER TABLE "public"."orders" REPLICA IDENTITY FULL') as string,
      }),
      expect.objectContaining({
        code: 'mapping/column-gone',
        message: expect.stringContaining('"name"') as string,
      }),
    ])
  })

  it('says nothing of tables that it does not read, also when the mapping has mistakes', async () => {
    await client.query('CREATE TABLE IF NOT EXISTS keyless (a int)')
    try {
      const gone = await pipeline({ everyone: { collection: 'people', exclude: ['secrt'] } })
      const problems = await checkPipeline(await gone.built(), { log: silent })
      expect(problems.map(({ code }) => code)).toEqual(['mapping/column-gone'])
      const missing = await pipeline({ everyone: { collection: 'peple' } })
      const others = await checkPipeline(await missing.built(), { log: silent })
      expect(others.map(({ code }) => code)).toEqual(['postgres/no-tables', 'mapping/table-missing'])
    } finally {
      await client.query('DROP TABLE keyless')
    }
  })

  it('follows a column that is added where the table has all columns', async () => {
    const one = await pipeline(MAPPING)
    const run = await one.start()
    await bothSame()
    await client.query(
      `ALTER TABLE people ADD COLUMN age int DEFAULT 7; UPDATE people SET age = 8 WHERE id = 1`,
    )
    await client.query(
      `ALTER TABLE orders ADD COLUMN weight int; UPDATE orders SET weight = 5, state = 'open' WHERE id < 9`,
    )
    await same(
      'SELECT id::text, name, age::text FROM people',
      'SELECT toString(id) AS a, name AS b, toString(age) AS c FROM everyone__current',
    )
    await bothSame()
    expect(run.child.exitCode).toBe(null)
  })

  it('is changed while it runs: copies again what a new column or filter needs, and refuses to drop', async () => {
    const one = await pipeline(MAPPING)
    const run = await one.start()
    await bothSame()
    await client.query(`UPDATE orders SET state = 'sent' WHERE id % 7 = 0`)
    one.change({
      ...MAPPING,
      open_orders: { ...MAPPING.open_orders, fields: { ...MAPPING.open_orders.fields, state: 'state' } },
      other_orders: { ...MAPPING.other_orders, filter: { state: 'sent' } },
      more: { collection: 'people', fields: { id: 'id', nick: 'name' } },
    })
    run.child.kill('SIGHUP')
    await client.query(`UPDATE orders SET state = 'open' WHERE id % 11 = 0`)
    await same(OPEN.replace(' FROM', ', state FROM'), OPEN_HERE.replace(' FROM', ', state AS d FROM'))
    await same(OTHER.replace(/WHERE.*/, `WHERE state = 'sent'`), OTHER_HERE)
    await same('SELECT id::text, name FROM people', 'SELECT toString(id) AS a, nick AS b FROM more__current')
    expect(run.stderr()).toContain('the mapping was changed: table public.more is added')
    one.change(MAPPING)
    run.child.kill('SIGHUP')
    await waitFor('the change is refused', () => run.stderr().includes('table public.more is dropped'))
    expect(run.stderr()).toContain('refused, the running one goes on')
    await client.query('DELETE FROM orders WHERE id < 50')
    await same(OPEN.replace(' FROM', ', state FROM'), OPEN_HERE.replace(' FROM', ', state AS d FROM'))
    expect(run.child.exitCode).toBe(null)
  })

  it('is changed between two runs, with what may be dropped', async () => {
    const one = await pipeline(MAPPING, ', breaking: apply')
    const run = await one.start()
    await bothSame()
    run.child.kill('SIGTERM')
    expect((await run.done).code).toBe(0)
    await client.query(`UPDATE orders SET state = 'open' WHERE id % 2 = 0`)
    one.change({
      open_orders: {
        ...MAPPING.open_orders,
        fields: { id: 'id', words: 'note', amount: { path: 'total', type: 'float64' } },
      },
    })
    await one.start()
    await same(
      `SELECT id::text, note, trim_scale(total)::text FROM orders WHERE state = 'open'`,
      'SELECT toString(id) AS a, words AS b, toString(amount) AS c FROM open_orders__current',
    )
    expect(await one.verify()).toMatchObject({ equal: true })
  })
})
