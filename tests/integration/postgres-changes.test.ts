import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { parseLsn, versionAt } from '../../src/connectors/sources/postgres/position.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'
import { Mirror, stored, UNCHANGED_TEXT } from '../support/mirror.ts'
import {
  copyAndStop,
  dropSlots,
  lsnOf,
  readRows,
  resume,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgchanges')
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

function options(table: string, more: Partial<SourceOptions> = {}): SourceOptions {
  return {
    url: postgres.url,
    pipeline: `${postgres.database}_${table}`,
    tables: [`public.${table}`],
    ...more,
  }
}

async function expectEqual(mirror: Mirror, table: string): Promise<void> {
  expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
}

describe('rows of the stream', () => {
  it('keeps the order of a transaction, and brings begin and commit', async () => {
    await postgres.sql('CREATE TABLE orders (id int PRIMARY KEY, v text)')
    const { mirror, position } = await copyAndStop(options('orders'))
    await postgres.sql(
      `BEGIN; INSERT INTO orders VALUES (1, 'a'), (2, NULL); UPDATE orders SET v = 'b' WHERE id = 1; DELETE FROM orders WHERE id = 2; COMMIT`,
    )
    await resume(options('orders'), position, mirror)
    expect(mirror.history).toEqual([
      'begin',
      'insert public.orders {"id":"1","v":"a"}',
      'insert public.orders {"id":"2","v":null}',
      'update public.orders {"id":"1","v":"b"} before null',
      'delete public.orders {"id":"2"}',
      'commit',
    ])
    await expectEqual(mirror, 'orders')
  })

  it('shows nothing of a transaction that was rolled back, nor of a savepoint', async () => {
    await postgres.sql('CREATE TABLE rolled (id int PRIMARY KEY)')
    const { mirror, position } = await copyAndStop(options('rolled'))
    await postgres.sql('BEGIN; INSERT INTO rolled VALUES (1); ROLLBACK')
    await postgres.sql(
      'BEGIN; INSERT INTO rolled VALUES (2); SAVEPOINT s; INSERT INTO rolled VALUES (3); ROLLBACK TO s; COMMIT',
    )
    await resume(options('rolled'), position, mirror)
    expect(mirror.history.filter((entry) => entry.startsWith('insert'))).toEqual([
      'insert public.rolled {"id":"2"}',
    ])
  })

  it.each(['DEFAULT', 'FULL'])(
    'makes a key change with REPLICA IDENTITY %s the old key and the complete new row (PG-6)',
    async (identity) => {
      const table = `key_${identity.toLowerCase()}`
      await postgres.sql(
        `CREATE TABLE ${table} (id int PRIMARY KEY, v text, n int); ALTER TABLE ${table} REPLICA IDENTITY ${identity}; INSERT INTO ${table} VALUES (1, 'a', 7)`,
      )
      const { mirror, position } = await copyAndStop(options(table))
      await postgres.sql(`UPDATE ${table} SET id = 2; UPDATE ${table} SET id = 3, v = 'b'`)
      await resume(options(table), position, mirror)
      const before = identity === 'FULL' ? '{"id":"1","v":"a","n":"7"}' : '{"id":"1"}'
      expect(mirror.history[1]).toBe(`update public.${table} {"id":"2","v":"a","n":"7"} before ${before}`)
      await expectEqual(mirror, table)
      expect(mirror.rows(`public.${table}`)).toHaveLength(1)
    },
  )

  it('takes a replica identity index for the key of a table without a primary key', async () => {
    await postgres.sql(`CREATE TABLE by_index (a int NOT NULL, v text); CREATE UNIQUE INDEX by_index_a ON by_index (a);
      ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a; INSERT INTO by_index VALUES (1, 'x')`)
    const { mirror, position } = await copyAndStop(options('by_index'))
    await postgres.sql(
      `INSERT INTO by_index VALUES (2, 'y'); UPDATE by_index SET a = 3 WHERE a = 1; DELETE FROM by_index WHERE a = 2`,
    )
    await resume(options('by_index'), position, mirror)
    expect(mirror.rows('public.by_index')).toEqual(await readRows(postgres.url, 'by_index'))
  })
})

describe('a large value that an update leaves alone (PG-5)', () => {
  const big = `(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i)`

  it.each(['DEFAULT', 'FULL'])('keeps its value, with REPLICA IDENTITY %s', async (identity) => {
    const table = `toast_${identity.toLowerCase()}`
    await postgres.sql(`CREATE TABLE ${table} (id int PRIMARY KEY, n int, big text, small text);
      ALTER TABLE ${table} ALTER big SET STORAGE EXTERNAL; ALTER TABLE ${table} REPLICA IDENTITY ${identity};
      INSERT INTO ${table} VALUES (1, 1, ${big}, 's')`)
    const mirror = new Mirror()
    await using run = await SourceRun.start(options(table), null, mirror)
    await run.settled()
    // Insert and update in one transaction, then in two.
    await postgres.sql(
      `BEGIN; INSERT INTO ${table} VALUES (2, 1, ${big}, 's'); UPDATE ${table} SET n = 2 WHERE id = 2; COMMIT`,
    )
    await postgres.sql(`INSERT INTO ${table} VALUES (3, 1, ${big}, NULL)`)
    await postgres.sql(`UPDATE ${table} SET n = n + 1`)
    await run.settled()
    await expectEqual(mirror, table)
    // After a restart, also with a key change.
    const position = (await run.stop())!
    await postgres.sql(`UPDATE ${table} SET n = 9 WHERE id = 2; UPDATE ${table} SET id = 10 WHERE id = 3`)
    await resume(options(table), position, mirror)
    await expectEqual(mirror, table)
    const unchanged = mirror.history.filter((entry) => entry.includes(UNCHANGED_TEXT))
    expect(unchanged.length > 0).toBe(identity === 'DEFAULT')
  })
})

describe('TRUNCATE (PG-7)', () => {
  it('empties one table, several, and by CASCADE, in order with later inserts', async () => {
    await postgres.sql(`CREATE TABLE parent (id serial PRIMARY KEY, v int); CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
      CREATE TABLE other (id int PRIMARY KEY); INSERT INTO parent (v) VALUES (1), (2); INSERT INTO child VALUES (1, 1); INSERT INTO other VALUES (1)`)
    const three = { ...options('three'), tables: ['public.parent', 'public.child', 'public.other'] }
    const { mirror, position } = await copyAndStop(three)
    await postgres.sql(`TRUNCATE other; INSERT INTO other VALUES (2)`)
    await postgres.sql(
      `BEGIN; INSERT INTO other VALUES (3); TRUNCATE parent, other RESTART IDENTITY CASCADE; INSERT INTO parent (v) VALUES (3); INSERT INTO other VALUES (4); COMMIT`,
    )
    await resume(three, position, mirror)
    for (const table of ['parent', 'child', 'other']) await expectEqual(mirror, table)
    expect(mirror.rows('public.child')).toEqual([])
    expect(mirror.schemaChanges.filter((entry) => entry.startsWith('truncate')).sort()).toEqual([
      'truncate public.child',
      'truncate public.other',
      'truncate public.other',
      'truncate public.parent',
    ])
    // The second truncate lies inside its transaction.
    const start = mirror.history.lastIndexOf('begin')
    expect(mirror.history.slice(start).map((entry) => entry.split(' ')[0])).toEqual([
      'begin',
      'insert',
      'truncate',
      'truncate',
      'truncate',
      'insert',
      'insert',
      'commit',
    ])
  })

  it('does not need rows around it', async () => {
    await postgres.sql('CREATE TABLE lonely (id int PRIMARY KEY); INSERT INTO lonely VALUES (1)')
    const { mirror, position } = await copyAndStop(options('lonely'))
    await postgres.sql('TRUNCATE lonely')
    await resume(options('lonely'), position, mirror)
    expect(mirror.rows('public.lonely')).toEqual([])
    expect(mirror.history).toEqual(['begin', 'truncate public.lonely', 'commit'])
  })
})

describe('positions', () => {
  it('loses no transaction whose commit record begins exactly where the confirmed one ends', async () => {
    await postgres.sql('CREATE TABLE adjacent (id serial PRIMARY KEY)')
    const all = options('adjacent')
    let ends = 0n
    let found: SourcePosition | null = null
    const mirror = new Mirror()
    await using run = await SourceRun.start(all, null, mirror, (batch) => {
      for (const span of batch.origin === 'stream' ? batch.spans : []) {
        if (span.version === versionAt(ends) && found === null) found = before
        if (span.position === null) continue
        before = stored(span.position)
        ends = parseLsn(lsnOf(before))
      }
    })
    let before: SourcePosition | null = null
    const [a, b] = [new pg.Client(postgres.url), new pg.Client(postgres.url)]
    await Promise.all([a.connect(), b.connect()])
    // Other tests write too, so the two commit records are not always neighbours.
    for (let tries = 0; tries < 1000 && found === null; tries++) {
      await a.query('BEGIN; INSERT INTO adjacent DEFAULT VALUES')
      await b.query('BEGIN; INSERT INTO adjacent DEFAULT VALUES')
      await Promise.all([a.query('COMMIT'), b.query('COMMIT')])
      await run.settled()
    }
    await Promise.all([a.end(), b.end()])
    expect(found).not.toBeNull()
    await run.source.checkpoint(found!)
    await waitFor('the server has noted it', async () => {
      const [slot] = await postgres.sql<{ lsn: string }>(
        `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'sluice_${all.pipeline}'`,
      )
      return slot!.lsn === lsnOf(found!)
    })
    await run.stop()
    const from = mirror.positions.findIndex(({ position }) => position.order === found!.order)
    const rest = await resume(all, found!)
    expect(rest.history).toEqual(mirror.history.slice(mirror.positions[from]!.at))
    expect(rest.history.filter((entry) => entry.startsWith('insert')).length).toBeGreaterThan(0)
  })

  it('resumes from every commit with exactly the rest', async () => {
    await postgres.sql(
      'CREATE TABLE every (id int PRIMARY KEY, v text); CREATE TABLE every_other (id int PRIMARY KEY)',
    )
    const both = { ...options('every'), tables: ['public.every', 'public.every_other'] }
    const { position } = await copyAndStop(both)
    for (let i = 0; i < 12; i++) {
      await postgres.sql(
        `BEGIN; INSERT INTO every VALUES (${i}, 'v${i}'); INSERT INTO every_other VALUES (${i}); UPDATE every SET v = 'w' WHERE id = ${i - 1}; COMMIT`,
      )
      if (i % 5 === 4) await postgres.sql(`TRUNCATE every_other; DELETE FROM every WHERE id = ${i - 2}`)
    }
    const whole = await resume(both, position)
    const commits = whole.positions.filter(({ isCommit }) => isCommit)
    expect(commits.length).toBeGreaterThanOrEqual(14)
    for (const { position: from, at } of commits) {
      const rest = await resume(both, stored(from), mirrorWith(['every', 'every_other'], whole))
      expect(rest.history).toEqual(whole.history.slice(at))
    }
    const orders = whole.positions.map(({ position: { order } }) => order)
    expect(orders).toEqual([...orders].sort())
  })

  it('gives positions at commits and between transactions only', async () => {
    await postgres.sql('CREATE TABLE places (id int PRIMARY KEY, v text)')
    const { position } = await copyAndStop(options('places'))
    await postgres.sql(`INSERT INTO places SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i`)
    const whole = await resume(options('places'), position)
    for (const { at } of whole.positions) expect([undefined, 'commit']).toContain(whole.history[at - 1])
    expect(whole.batches).toBeGreaterThan(5)
  })

  it('gives a version that rises with the log, and above the copy', async () => {
    await postgres.sql(
      'CREATE TABLE versions (id int PRIMARY KEY, v int); INSERT INTO versions VALUES (1, 0)',
    )
    const versions: bigint[] = []
    await using run = await SourceRun.start(options('versions'), null, new Mirror(), (batch) => {
      for (const span of batch.spans) versions.push(span.version)
    })
    await run.settled()
    for (let i = 0; i < 5; i++) await postgres.sql('UPDATE versions SET v = v + 1')
    await run.settled()
    // A transaction may come in two batches.
    expect(new Set(versions).size).toBe(6)
    expect(versions).toEqual([...versions].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)))
  })
})

describe('back-pressure', () => {
  it('passes a transaction that is larger than any buffer in pieces, and holds while the writer waits', async () => {
    await postgres.sql('CREATE TABLE large (id int PRIMARY KEY, v text)')
    const { mirror, position } = await copyAndStop(options('large'))
    await postgres.sql(
      `INSERT INTO large SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i`,
    )
    let waiting = 0
    let most = 0
    await using run = await SourceRun.start(options('large'), position, mirror, async (batch) => {
      waiting += batch.byteSize
      most = Math.max(most, waiting)
      await new Promise((resolve) => setImmediate(resolve))
      waiting -= batch.byteSize
    })
    await run.settled()
    expect(mirror.history.filter((entry) => entry === 'commit')).toHaveLength(1)
    await expectEqual(mirror, 'large')
    // 20 MB went through with at most two arenas in flight.
    expect(most).toBeLessThan(3_000_000)
  })

  it('ends soon when it is stopped while the writer holds it', async () => {
    await postgres.sql('CREATE TABLE stuck (id int PRIMARY KEY, v text)')
    const { position } = await copyAndStop(options('stuck'))
    await postgres.sql(`INSERT INTO stuck SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i`)
    const never = new Promise<void>(() => {})
    await using run = await SourceRun.start(options('stuck'), position, new Mirror(), (batch) =>
      batch.rowCount > 0 ? never : undefined,
    )
    await run.until('rows arrive', () => run.mirror.history.length > 0)
    await run.stop()
    expect(run.failure).toBeNull()
    const left = await postgres.sql(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice ${postgres.database}_stuck' AND state <> 'idle'`,
    )
    expect(left.length).toBeLessThanOrEqual(1)
  })
})

/** A mirror that knows the tables, as a sink does after a restart; unchanged cells are not at stake here. */
function mirrorWith(tables: readonly string[], like: Mirror): Mirror {
  const mirror = new Mirror()
  for (const table of tables) {
    const { schema } = like.tables.get(`public.${table}`)!
    mirror.tables.set(`public.${table}`, { schema, rows: new Map() })
  }
  return mirror
}
