/** Tables of Postgres that a mapping renames, filters and casts, as zero-cache gets them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { ZeroModel } from '../support/zero-model.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { ZeroSubscriber } from '../support/zero-subscriber.ts'
import { dropSlots } from './postgres-fixture.ts'

const MAPPING = {
  open_issues: {
    collection: 'public.issues',
    filter: { state: 'open' },
    fields: {
      number: { path: 'id', type: 'text' },
      title: 'name',
      hours: { path: 'spent', type: 'float64' },
    },
  },
  closed_issues: {
    collection: 'public.issues',
    filter: { state: { $ne: 'open' } },
    fields: { id: 'id', minutes: { expression: { $multiply: ['$spent', 60] }, type: 'int32' } },
  },
  people: { collection: 'public.users', exclude: ['password'] },
}

/** What each table holds, as the mapping says it in SQL. */
const EXPECTED: Readonly<Record<keyof typeof MAPPING, string>> = {
  open_issues: `SELECT id::text AS number, name AS title, spent::float8 AS hours FROM issues WHERE state = 'open'`,
  closed_issues: `SELECT id::int4 AS id, (spent * 60)::int4 AS minutes FROM issues WHERE state IS DISTINCT FROM 'open'`,
  people: 'SELECT id, nick FROM users',
}

let postgres: TestPostgres
let pipeline: ZeroPipeline
let subscriber: ZeroSubscriber
let model: ZeroModel
/** Of the snapshot. */
let replicaVersion: string

beforeAll(async () => {
  postgres = await testPostgres('zero_mapped')
  await postgres.sql(`
    CREATE TABLE issues (id bigint PRIMARY KEY, state text, name text, spent numeric(8,2));
    ALTER TABLE issues REPLICA IDENTITY FULL;
    CREATE TABLE users (id int PRIMARY KEY, nick text, password text);
    CREATE TABLE other (id int PRIMARY KEY);
    INSERT INTO issues SELECT i, (ARRAY['open', 'done', NULL])[i % 3 + 1], 'issue ' || i, i * 0.25 FROM generate_series(1, 100) i;
    INSERT INTO users SELECT i, 'nick ' || i, 'hidden' FROM generate_series(1, 10) i`)
  pipeline = await ZeroPipeline.make({
    name: postgres.database,
    source: postgres.url,
    options: { mapping: { tables: { inline: MAPPING } } },
  })
  pipeline.startCli()
  await pipeline.listening()
  subscriber = await ZeroSubscriber.connect({ url: pipeline.url })
  model = new ZeroModel()
})

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(pipeline?.lastWords)
})

afterAll(async () => {
  await subscriber?.[Symbol.asyncDispose]()
  await pipeline?.[Symbol.asyncDispose]()
  if (postgres !== undefined) await dropSlots(postgres.url)
  await postgres?.[Symbol.asyncDispose]()
})

function lines(rows: readonly Readonly<Record<string, unknown>>[]): readonly string[] {
  return rows
    .map((row) => JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1))))
    .toSorted()
}

/** Connects as zero-cache does after a snapshot, and after it was cut off. */
async function goOn(): Promise<void> {
  await subscriber[Symbol.asyncDispose]()
  model.follow(subscriber.transactions)
  const after = { lastWatermark: model.watermark, replicaVersion }
  subscriber = await ZeroSubscriber.connect({ url: pipeline.url, after })
}

/** Waits until the subscriber has what the mapping says. */
async function untilEqual(): Promise<void> {
  let differences: unknown = null
  const equal = async (): Promise<boolean> => {
    if (subscriber.failure !== null) throw subscriber.failure
    model.follow(subscriber.transactions)
    const tables = Object.entries(EXPECTED)
    if (tables.some(([table]) => !model.tables.includes(table))) return false
    const wanted = await Promise.all(tables.map(async ([, text]) => lines(await postgres.sql(text, []))))
    const have = tables.map(([table]) => lines(model.rows(table)))
    differences = wanted.map((rows, at) => ({
      missing: rows.filter((row) => !have[at]!.includes(row)).slice(0, 3),
      extra: have[at]!.filter((row) => !rows.includes(row)).slice(0, 3),
    }))
    return JSON.stringify(wanted) === JSON.stringify(have)
  }
  await pipeline.until('the subscriber has what the mapping says', equal).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}\n${JSON.stringify(differences, null, 1)}`, { cause: error })
  })
}

describe('a mapped Postgres source under Zero', () => {
  it('shows the tables of the mapping, and nothing else', async () => {
    await untilEqual()
    expect(model.tables.filter((name) => !name.startsWith('zero'))).toEqual(Object.keys(MAPPING).toSorted())
    expect(model.columns('people')).not.toContain('password')
    expect(JSON.stringify(subscriber.transactions)).not.toContain('hidden')
    replicaVersion = model.watermark
    await goOn()
  })

  it('moves a row from table to table in the transaction that changed it', async () => {
    const before = subscriber.transactions.length
    await postgres.sql(
      `UPDATE issues SET state = 'done' WHERE id = 3; UPDATE users SET nick = 'new' WHERE id = 1`,
    )
    await untilEqual()
    const moves = subscriber.transactions
      .slice(before)
      .map(({ changes }) => changes.map(({ tag, relation }) => [tag, (relation as { name: string }).name]))
      .filter((changes) => changes.length > 0)
    expect(moves).toEqual([
      [
        ['delete', 'open_issues'],
        ['insert', 'closed_issues'],
        ['update', 'people'],
      ],
    ])
  })

  it('goes on where it was after kills under load', { timeout: 180_000 }, async () => {
    const random = seeded('mapped Postgres under Zero')
    for (let round = 0; round < 3; round++) {
      for (let change = 0; change < 40; change++) {
        const id = 1 + random.below(130)
        const state = random.pick(['open', 'done', 'later'])
        const statement = random.pick([
          `UPDATE issues SET state = '${state}' WHERE id = ${id}`,
          `UPDATE issues SET spent = spent + 1, name = name || '+' WHERE id = ${id}`,
          `DELETE FROM issues WHERE id = ${id}`,
          `INSERT INTO issues VALUES (${id}, '${state}', 'again', 1) ON CONFLICT DO NOTHING`,
          `UPDATE issues SET id = id + 1000 WHERE id = ${id}`,
        ])
        await postgres.sql(statement)
        if (change !== 20) continue
        await pipeline.kill()
        pipeline.startCli()
        await pipeline.listening()
        await goOn()
      }
      await untilEqual()
    }
    expect(model.rows('closed_issues').some(({ id }) => Number(id) > 1000)).toBe(true)
  })
})
