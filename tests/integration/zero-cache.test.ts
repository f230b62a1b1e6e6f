/** Postgres through the pipeline into a real zero-cache and a real Zero client. */
import { boolean, createSchema, number, type Schema, string, table, type Transaction } from '@rocicorp/zero'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  createSamples,
  insertSamples,
  OWN_TYPES,
  type TypeSample,
  typesOfServer,
} from '../support/postgres-types.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroClient } from '../support/zero-client.ts'
import { untilEqual } from '../support/zero-equality.ts'
import { type Mutation, MutateServer, type Refusal } from '../support/zero-mutate-server.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { ZeroSubscriber, type ZeroTransaction } from '../support/zero-subscriber.ts'

const people = table('people')
  .columns({ id: number(), name: string(), note: string().optional(), age: number().optional() })
  .primaryKey('id')
const accounts = table('accounts').columns({ id: number(), balance: number() }).primaryKey('id')
const schema = createSchema({ enableLegacyQueries: true, tables: [people, accounts] })

const ALLOW = { row: { select: [['allow', { type: 'and', conditions: [] }]] } }
const allow = (...tables: string[]): string =>
  JSON.stringify({ tables: Object.fromEntries(tables.map((name) => [name, ALLOW])) })

let postgres: TestPostgres
let server: MutateServer
let pipeline: ZeroPipeline
let cache: ZeroCache
let client: ZeroClient
let folder: string
let permissions: string

beforeAll(async () => {
  postgres = await testPostgres('zero')
  await postgres.sql(`
    CREATE TABLE people (id int8 PRIMARY KEY, name text NOT NULL, note text, age int4);
    ALTER TABLE people ALTER note SET STORAGE EXTERNAL;
    INSERT INTO people SELECT i, 'person ' || i, repeat('n', 3000), i FROM generate_series(1, 50) i;
    CREATE TABLE accounts (id int4 PRIMARY KEY, balance int4 NOT NULL);
    INSERT INTO accounts VALUES (1, 500), (2, 500);
    CREATE SCHEMA zero_0;
    CREATE TABLE zero_0.clients ("clientGroupID" text, "clientID" text, "lastMutationID" int8 NOT NULL, "userID" text,
      PRIMARY KEY ("clientGroupID", "clientID"));
    CREATE TABLE zero_0.mutations ("clientGroupID" text, "clientID" text, "mutationID" int8, mutation json, result json,
      PRIMARY KEY ("clientGroupID", "clientID", "mutationID"));
    CREATE PUBLICATION everything FOR TABLES IN SCHEMA public, zero_0 WITH (publish_via_partition_root = true)`)
  server = await MutateServer.start(mutate)
  folder = mkdtempSync(join(tmpdir(), 'sluice-permissions-'))
  permissions = join(folder, 'permissions.json')
  writeFileSync(permissions, allow('people', 'accounts'))
  pipeline = await ZeroPipeline.make({
    name: postgres.database,
    source: postgres.url,
    tables: ['public.*', 'zero_0.*'],
    sourceOptions: { publication: 'everything' },
    sink: { permissions: { file: permissions } },
  })
  await pipeline.start()
  await pipeline.listening()
  cache = await ZeroCache.start({
    upstream: pipeline.url,
    supervised: true,
    env: { ZERO_MUTATE_URL: server.url },
  })
  await pipeline.until('zero-cache is ready', async () => {
    await cache.ready()
    return true
  })
  const mutators = {
    rename: async (tx: Transaction<Schema>, row: { id: number; name: string }) =>
      tx.mutate['people']!.update(row),
  }
  client = new ZeroClient({ url: cache.url, schema, mutators })
  await client.complete()
})

afterAll(async () => {
  await client?.[Symbol.asyncDispose]()
  await cache?.[Symbol.asyncDispose]()
  await pipeline?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
  await postgres?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(`${cache?.lastWords}\n${pipeline?.lastWords}`)
})

/** What an application's server does: data and the client's confirmation in one transaction. */
async function mutate({ clientGroupID, clientID, id, name, args }: Mutation): Promise<Refusal | void> {
  const { id: person, name: text } = args as { id: number; name: string }
  const confirmed = `INSERT INTO zero_0.clients VALUES ($1, $2, $3) ON CONFLICT ("clientGroupID", "clientID")
    DO UPDATE SET "lastMutationID" = excluded."lastMutationID"`
  if (name === 'rename' && text !== 'refused') {
    await postgres.sql(`WITH done AS (${confirmed}) UPDATE people SET name = $4 WHERE id = $5`, [
      clientGroupID,
      clientID,
      id,
      text,
      person,
    ])
    return
  }
  const refusal = { error: 'app', message: 'this name is not allowed' } as const
  await postgres.sql(
    `WITH done AS (${confirmed}) INSERT INTO zero_0.mutations VALUES ($1, $2, $3, NULL, $4)`,
    [clientGroupID, clientID, id, JSON.stringify(refusal)],
  )
  return refusal
}

/** Waits until the replica has all that the source has. */
function settled(...tables: string[]): Promise<void> {
  return untilEqual(postgres.url, cache, tables.length > 0 ? tables : ['people', 'accounts'])
}

function person(id: number) {
  return client.rows('people').find((row) => row['id'] === id)
}

function replicaVersion(): string {
  using replica = cache.replica()
  return replica.version()
}

function replicaTables(): readonly string[] {
  using replica = cache.replica()
  return replica.tables()
}

/** A client that follows one table. */
function clientOf(name: string, columns: Parameters<ReturnType<typeof table>['columns']>[0]): ZeroClient {
  const one = table(name).columns(columns).primaryKey('id')
  return new ZeroClient({
    url: cache.url,
    schema: createSchema({ enableLegacyQueries: true, tables: [one] }),
  })
}

describe('rows', () => {
  it('of the first copy are all there, in replica and client', async () => {
    await settled()
    expect(client.rows('people')).toHaveLength(50)
    expect(person(7)).toEqual({ id: 7, name: 'person 7', note: 'n'.repeat(3000), age: 7 })
    using replica = cache.replica()
    expect(replica.tables()).toEqual([
      'accounts',
      'people',
      'zero.permissions',
      'zero_0.clients',
      'zero_0.mutations',
    ])
  })

  it('change live: insert, update, delete', async () => {
    await postgres.sql(`INSERT INTO people VALUES (100, 'Ann', NULL, 30)`)
    await client.until('Ann is there', () => person(100) !== undefined)
    expect(person(100)).toEqual({ id: 100, name: 'Ann', note: null, age: 30 })
    await postgres.sql(`UPDATE people SET age = 31, note = 'x' WHERE id = 100`)
    await client.until('Ann is older', () => person(100)!['age'] === 31)
    expect(person(100)).toEqual({ id: 100, name: 'Ann', note: 'x', age: 31 })
    await postgres.sql(`DELETE FROM people WHERE id = 100`)
    await client.until('Ann is gone', () => person(100) === undefined)
    await settled()
  })

  it('keep a large value that an update leaves as it is, through a change of the key too', async () => {
    await postgres.sql(`UPDATE people SET age = 70 WHERE id = 7`)
    await client.until('7 is older', () => person(7)!['age'] === 70)
    expect(person(7)!['note']).toBe('n'.repeat(3000))
    await postgres.sql(`UPDATE people SET id = 107 WHERE id = 7`)
    await client.until('7 is 107', () => person(7) === undefined && person(107) !== undefined)
    expect(person(107)).toEqual({ id: 107, name: 'person 7', note: 'n'.repeat(3000), age: 70 })
    await postgres.sql(`BEGIN; UPDATE people SET id = 207 WHERE id = 107; UPDATE people SET id = 107 WHERE id = 8;
      UPDATE people SET id = 8 WHERE id = 207; COMMIT`)
    await client.until('two have changed places', () => person(8)?.['name'] === 'person 7')
    await settled()
  })

  it('are gone after a truncate, and those after it are there', async () => {
    await postgres.sql(`BEGIN; INSERT INTO people VALUES (300, 'before', NULL, 1); TRUNCATE people;
      INSERT INTO people VALUES (301, 'after', NULL, 1); COMMIT`)
    await client.until('one row is left', () => client.rows('people').length === 1)
    await settled()
    await postgres.sql(
      `INSERT INTO people SELECT i, 'person ' || i, repeat('n', 3000), i FROM generate_series(1, 50) i`,
    )
    await settled()
    await client.until('all are back', () => client.rows('people').length === 51)
    expect(person(301)).toEqual({ id: 301, name: 'after', note: null, age: 1 })
  })

  it('are never seen half way through a transaction (ZE-5)', async () => {
    const sums = new Set<number>()
    client.watch('accounts', (rows) => {
      sums.add(rows.reduce((sum, row) => sum + (row['balance'] as number), 0))
    })
    const source = new pg.Client({ connectionString: postgres.url })
    await source.connect()
    for (let round = 1; round <= 200; round++) {
      await source.query(`BEGIN; UPDATE accounts SET balance = balance - ${round} WHERE id = 1;
        UPDATE accounts SET balance = balance + ${round} WHERE id = 2; COMMIT`)
    }
    await source.end()
    const last = 500 - (200 * 201) / 2
    await client.until('the last transfer is there', () => client.rows('accounts')[0]!['balance'] === last)
    expect([...sums]).toEqual([1000])
    await settled()
  })
})

describe('mutators', () => {
  it('settle when their confirmation comes through the source (ZE-8)', async () => {
    const { client: here, server: there } = client.mutate('rename', { id: 1, name: 'renamed' })
    await here
    expect(person(1)!['name']).toBe('renamed')
    expect(await there).toEqual({ type: 'success' })
    await settled('people', 'zero_0.clients')
    expect(person(1)!['name']).toBe('renamed')
  })

  it('settle with the error of the application, and what was shown meanwhile is taken back', async () => {
    const { server: there } = client.mutate('rename', { id: 2, name: 'refused' })
    expect(await there).toMatchObject({ type: 'error', error: { message: 'this name is not allowed' } })
    await client.until('the old name is back', () => person(2)!['name'] === 'person 2')
    await settled('zero_0.clients', 'zero_0.mutations')
  })
})

describe('types', () => {
  const INFINITE = /NaN|infinity/i
  const FAR = /5874897|294276|12345-06-07 00:00:00\.000001/
  /** Values that Zero cannot keep; the sink refuses them. */
  const isRefused = (type: string, value: string): boolean => {
    if (/^(date|timestamp|float)/.test(type) || type === 'numeric(6,2)[]')
      return INFINITE.test(value) || FAR.test(value)
    if (type.startsWith('int8')) return /\d{16}/.test(value)
    return value.includes(']=')
  }

  it('of every kind arrive as the server itself writes them, by copy, insert and update', async () => {
    await postgres.sql(OWN_TYPES)
    const types = (await typesOfServer(postgres)).map(([type, logical, values]): TypeSample => [
      type,
      logical,
      values.filter((value) => !isRefused(type, value)),
    ])
    await postgres.sql(`${createSamples('samples', types)}; ${insertSamples('samples', types, 1)}`)
    await settled('samples')
    await postgres.sql(insertSamples('samples', types, 1001))
    await settled('samples')
    const assignments = types.map((_, index) => `c${index} = other.c${index}`).join(', ')
    await postgres.sql(
      `UPDATE samples SET ${assignments} FROM samples other WHERE samples.id < 100 AND other.id = 1000 + samples.id % 10`,
    )
    await settled('samples')
    using replica = cache.replica()
    expect(replica.rows('samples').length).toBeGreaterThan(10)
  })
})

describe('schema changes', () => {
  it('of columns reach a client without a new sync (ZE-10)', async () => {
    await postgres.sql(`CREATE TABLE things (id int4 PRIMARY KEY, label text, size int4);
      INSERT INTO things SELECT i, 'thing ' || i, i FROM generate_series(1, 20) i`)
    writeFileSync(permissions, allow('people', 'accounts', 'things'))
    await settled('things')
    const version = replicaVersion()
    const columns = { id: number(), label: string().optional() }
    await using before = clientOf('things', columns)
    await before.until('its rows are there', () => before.rows('things').length === 20)

    await postgres.sql(`ALTER TABLE things ADD COLUMN ready bool NOT NULL DEFAULT true;
      ALTER TABLE things ADD COLUMN code text DEFAULT md5(random()::text);
      INSERT INTO things (id, label) VALUES (21, 'later')`)
    await settled('things')
    await before.until('the later row is there', () => before.rows('things').length === 21)
    await using after = clientOf('things', { ...columns, ready: boolean(), code: string().optional() })
    await after.complete()
    expect(after.rows('things')[0]).toMatchObject({ id: 1, label: 'thing 1', ready: true })

    await postgres.sql(
      `ALTER TABLE things RENAME COLUMN size TO weight; UPDATE things SET weight = weight + 1`,
    )
    await settled('things')
    await postgres.sql(`ALTER TABLE things ALTER COLUMN weight TYPE text USING 'w' || weight`)
    await settled('things')
    await postgres.sql(`ALTER TABLE things DROP COLUMN code; ALTER TABLE things DROP COLUMN weight;
      UPDATE things SET label = 'last' WHERE id = 1`)
    await settled('things')
    await before.until('the last label is there', () => before.rows('things')[0]!['label'] === 'last')
    expect(before.updatesNeeded).toEqual([])
    expect(before.statesLost).toBe(0)
    expect(replicaVersion()).toBe(version)
  })

  it('of tables reach a client without a new sync', async () => {
    const version = replicaVersion()
    await postgres.sql(
      `CREATE TABLE fresh (id int4 PRIMARY KEY, label text); INSERT INTO fresh VALUES (1, 'one')`,
    )
    writeFileSync(permissions, allow('people', 'accounts', 'things', 'fresh', 'renamed'))
    await settled('fresh')
    await using before = clientOf('fresh', { id: number(), label: string().optional() })
    await before.until('its row is there', () => before.rows('fresh').length === 1)
    expect(before.rows('fresh')).toEqual([{ id: 1, label: 'one' }])

    await postgres.sql(`ALTER TABLE fresh RENAME TO renamed; INSERT INTO renamed VALUES (2, 'two')`)
    await settled('renamed')
    await using after = clientOf('renamed', { id: number(), label: string().optional() })
    await after.until('its rows are there', () => after.rows('renamed').length === 2)
    expect(after.updatesNeeded).toEqual([])

    await postgres.sql(`DROP TABLE renamed; UPDATE people SET age = 99 WHERE id = 3`)
    await client.until('what comes after is there', () => person(3)!['age'] === 99)
    await cache.until('the table is gone', () => !replicaTables().includes('renamed'))
    expect(replicaVersion()).toBe(version)
    expect(client.updatesNeeded).toEqual([])
  })
})

describe('permissions', () => {
  it('that are changed in the file count at once, without a new sync (ZE-9)', async () => {
    const version = replicaVersion()
    await postgres.sql(
      `CREATE TABLE secrets (id int4 PRIMARY KEY, label text); INSERT INTO secrets VALUES (1, 'x')`,
    )
    await settled('secrets')
    await using reader = clientOf('secrets', { id: number(), label: string().optional() })
    await reader.complete()
    expect(reader.rows('secrets')).toEqual([])
    writeFileSync(permissions, allow('people', 'accounts', 'secrets'))
    await reader.until('the secret is seen', () => reader.rows('secrets').length === 1)
    writeFileSync(permissions, allow('people', 'accounts'))
    await reader.until('the secret is hidden again', () => reader.rows('secrets').length === 0)
    expect(replicaVersion()).toBe(version)
  })
})

describe('subscribers', () => {
  it('at different positions receive complete streams (ZE-12)', async () => {
    await using first = await ZeroSubscriber.connect({ url: pipeline.url })
    await first.until('a snapshot', () => first.transactions.length === 1)
    const version = first.watermark!
    const from = (lastWatermark: string) =>
      ZeroSubscriber.connect({ url: pipeline.url, after: { lastWatermark, replicaVersion: version } })
    await using early = await from(version)
    for (let step = 1; step <= 50; step++) await postgres.sql(`UPDATE people SET age = ${step} WHERE id = 4`)
    const agesOf = ({ changes }: ZeroTransaction): readonly number[] =>
      changes.flatMap((change) => (change['new'] as { age?: number } | undefined)?.age ?? [])
    const ages = ({ transactions }: ZeroSubscriber): readonly number[] => transactions.flatMap(agesOf)
    await early.until('50 changes', () => ages(early).length === 50)
    const half = early.transactions.find((transaction) => agesOf(transaction).includes(25))!
    await using late = await from(half.watermark)
    await late.until('25 changes', () => ages(late).length === 25)
    await postgres.sql(`UPDATE people SET age = 51 WHERE id = 4`)
    await early.until('the last change', () => ages(early).at(-1) === 51)
    await late.until('the last change', () => ages(late).at(-1) === 51)
    expect(ages(early)).toEqual(Array.from({ length: 51 }, (_, index) => index + 1))
    expect(ages(late)).toEqual(Array.from({ length: 26 }, (_, index) => index + 26))
  })

  it('with a watermark that is unknown are told to begin anew', async () => {
    const version = replicaVersion()
    for (const lastWatermark of ['00', '01', `z${'z'.repeat(35)}`, 'not a watermark']) {
      await using stranger = await ZeroSubscriber.connect({
        url: pipeline.url,
        after: { lastWatermark, replicaVersion: version },
      })
      await stranger.until(`an answer to ${lastWatermark}`, () => stranger.others.length > 0)
      expect(stranger.others[0]!.slice(0, 2)).toMatchObject(['control', { tag: 'reset-required' }])
    }
  })
})

describe('a lost change log', () => {
  it('is made again from the source, and zero-cache begins anew and ends equal (ZE-4)', async () => {
    const before = replicaVersion()
    await pipeline.stop()
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${pipeline.logFile}${suffix}`, { force: true })
    await postgres.sql(`UPDATE people SET age = 1000 WHERE id = 5; DELETE FROM people WHERE id = 6`)
    await pipeline.start()
    await cache.until('zero-cache has begun anew', () => cache.exits.some(({ code }) => code === 14))
    await settled('people', 'accounts', 'things', 'zero_0.clients')
    expect(replicaVersion() > before).toBe(true)
    await client.until(
      'the client has what is new',
      () => person(5)!['age'] === 1000 && person(6) === undefined,
    )
    expect(client.statesLost).toBe(0)
  })
})
