import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { readServer } from '../../src/connectors/sources/postgres/catalog.ts'
import { openClient } from '../../src/connectors/sources/postgres/session.ts'
import { createSlot } from '../../src/connectors/sources/postgres/slot.ts'
import { SnapshotCopy } from '../../src/connectors/sources/postgres/snapshot.ts'
import type { CoreError } from '../../src/core/error.ts'
import { armFailpoints } from '../../src/core/failpoint.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'
import { Mirror, stored } from '../support/mirror.ts'
import {
  copyAndStop,
  dropSlots,
  readRows,
  resume,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgcopy')
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

function options(name: string, tables: readonly string[], more: Partial<SourceOptions> = {}): SourceOptions {
  return {
    url: postgres.url,
    pipeline: `${postgres.database}_${name}`,
    tables: tables.map((table) => `public.${table}`),
    ...more,
  }
}

/** Connections of the pipeline on the server. */
async function connections(name: string): Promise<number> {
  const rows = await postgres.sql(
    `SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice ${postgres.database}_${name}'`,
  )
  return rows.length
}

describe('the first copy', () => {
  it('and the stream give the table as it is at the end, with writers at work all the time (PG-1)', async () => {
    const random = seeded('copy under load')
    await postgres.sql(`
      CREATE TABLE busy (id int PRIMARY KEY, v int, pad text);
      CREATE TABLE calm (id int PRIMARY KEY, v int);
      INSERT INTO busy SELECT i, 0, repeat(md5(i::text), 10) FROM generate_series(1, 4000) i;
      INSERT INTO calm SELECT i, 0 FROM generate_series(1, 1000) i`)
    const stop = new AbortController()
    const writer = async (number: number): Promise<void> => {
      const client = new pg.Client(postgres.url)
      await client.connect()
      for (let turn = 0; !stop.signal.aborted; turn++) {
        const id = 1 + random.below(6000)
        const busy = random.pick([
          `INSERT INTO busy VALUES (${id}, ${turn}, repeat('n', 300)) ON CONFLICT (id) DO UPDATE SET v = busy.v + 1`,
          `UPDATE busy SET v = v + 1 WHERE id BETWEEN ${id} AND ${id + 5}`,
          `DELETE FROM busy WHERE id = ${id}`,
          `UPDATE busy SET id = id + 100000 WHERE id = ${id}`,
        ])
        const end = random.chance(0.1) ? 'ROLLBACK' : 'COMMIT'
        await client
          .query(
            `BEGIN; ${busy}; UPDATE calm SET v = v + ${number} WHERE id = ${1 + random.below(1000)}; ${end}`,
          )
          .catch(async (error: pg.DatabaseError) => {
            // Two writers at the same rows.
            if (error.code !== '40P01' && error.code !== '23505') throw error
            await client.query('ROLLBACK')
          })
      }
      await client.end()
    }
    const writers = [1, 2, 3].map(writer)
    const mirror = new Mirror()
    // 1 table of about 200 pages in ranges of 7.
    await using run = await SourceRun.start(
      options('busy', ['busy', 'calm'], { pagesPerRange: 7 }),
      null,
      mirror,
    )
    await run.until(
      'the copy is over and the stream runs',
      () => mirror.history.filter((entry) => entry === 'commit').length > 200,
    )
    stop.abort()
    await Promise.all(writers)
    await run.settled()
    expect(mirror.copied.get('public.busy')).toBeGreaterThan(1000)
    expect(mirror.rows('public.busy')).toEqual(await readRows(postgres.url, 'busy'))
    expect(mirror.rows('public.calm')).toEqual(await readRows(postgres.url, 'calm'))
  })

  it('is that of one moment, for all tables and connections: what is committed later comes by the stream', async () => {
    await postgres.sql(
      `CREATE TABLE left_side (id int PRIMARY KEY, v int); CREATE TABLE right_side (id int PRIMARY KEY, v int);
       INSERT INTO left_side SELECT i, 100 FROM generate_series(1, 2000) i; INSERT INTO right_side SELECT i, 0 FROM generate_series(1, 2000) i`,
    )
    const mirror = new Mirror()
    const copiedValues: string[] = []
    let begun = false
    let moved = false
    await using run = await SourceRun.start(
      options('moment', ['left_side', 'right_side'], { pagesPerRange: 2, config: { copyWorkers: 3 } }),
      null,
      mirror,
      async (batch) => {
        for (const record of batch)
          if (record._tag === 'Insert' && record.origin === 'snapshot')
            copiedValues.push(String(record.after.get('v')))
        if (begun) return
        // The tables are announced when the snapshot is taken, and before the first row is read.
        begun = true
        await postgres.sql('BEGIN; UPDATE left_side SET v = v - 10; UPDATE right_side SET v = v + 10; COMMIT')
        moved = true
      },
    )
    await run.until('the values have moved', () => moved)
    await run.settled()
    expect(new Set(copiedValues)).toEqual(new Set(['100', '0']))
    expect(mirror.history.filter((entry) => entry.startsWith('update'))).toHaveLength(4000)
    for (const table of ['left_side', 'right_side'])
      expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
  })

  it('reads every page exactly once, also of an empty table and of a table that was vacuumed', async () => {
    await postgres.sql(`CREATE TABLE none (id int PRIMARY KEY); CREATE TABLE holes (id int PRIMARY KEY, pad text);
      INSERT INTO holes SELECT i, repeat('x', 500) FROM generate_series(1, 3000) i; DELETE FROM holes WHERE id % 3 > 0`)
    await postgres.sql('VACUUM holes')
    const { mirror } = await copyAndStop(options('holes', ['none', 'holes'], { pagesPerRange: 2 }))
    expect(mirror.copied.get('public.holes')).toBe(1000)
    expect(mirror.rows('public.holes')).toEqual(await readRows(postgres.url, 'holes'))
    expect(mirror.rows('public.none')).toEqual([])
  })

  it('leaves the rows of children by inheritance to the children', async () => {
    await postgres.sql(`CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived (PRIMARY KEY (id)) INHERITS (base);
      INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2)`)
    const { mirror } = await copyAndStop(options('inherit', ['base', 'derived']))
    expect(mirror.rows('public.base')).toEqual(['[["id","1"]]'])
    expect(mirror.rows('public.derived')).toEqual(['[["id","2"]]'])
  })

  it('gives a partitioned table as one, also when rows move between partitions (PG-8)', async () => {
    await postgres.sql(`CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
      CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (100); CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (100) TO (200);
      INSERT INTO parts VALUES (1, 'a'), (150, 'b')`)
    const partitioned = options('parts', ['parts*'])
    const { mirror, position } = await copyAndStop(partitioned)
    await postgres.sql(
      `UPDATE parts SET id = 101 WHERE id = 1; CREATE TABLE parts_c PARTITION OF parts FOR VALUES FROM (200) TO (300); INSERT INTO parts VALUES (250, 'c')`,
    )
    await resume(partitioned, position, mirror)
    expect(mirror.rows('public.parts')).toEqual(await readRows(postgres.url, 'parts'))
    expect([...mirror.tables.keys()]).toEqual(['public.parts'])
  })

  it('copies and streams what the publication lets through: rows and columns (PG-17)', async () => {
    await postgres.sql(
      `CREATE TABLE filtered (id int PRIMARY KEY, v int, secret text); INSERT INTO filtered VALUES (1, 5, 's'), (2, 50, 's')`,
    )
    const [server] = await postgres.sql<{ version: number }>(
      `SELECT current_setting('server_version_num')::int AS version`,
    )
    if (server!.version < 150_000) return
    await postgres.sql(
      `CREATE PUBLICATION ${postgres.database}_filtered FOR TABLE filtered (id, v) WHERE (v > 10)`,
    )
    await postgres.sql('ALTER TABLE filtered REPLICA IDENTITY FULL').catch(() => {})
    await postgres.sql('ALTER TABLE filtered REPLICA IDENTITY DEFAULT')
    const some = options('filtered', ['filtered'], {
      config: { publication: `${postgres.database}_filtered` },
    })
    const { mirror, position } = await copyAndStop(some)
    await postgres.sql(`INSERT INTO filtered VALUES (3, 1, 's'), (4, 99, 's')`)
    await resume(some, position, mirror)
    expect(mirror.rows('public.filtered')).toEqual(
      await readRows(postgres.url, 'filtered WHERE v > 10', 'id, v'),
    )
  })

  it('fails, and gives no subset, when row-level security hides rows (PG-21)', async () => {
    const role = `${postgres.database}_rls`
    await postgres.sql(`CREATE TABLE guarded (id int PRIMARY KEY, owner text); INSERT INTO guarded VALUES (1, 'a'), (2, 'b');
      CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'p'; GRANT SELECT ON guarded TO ${role};
      ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY only_a ON guarded FOR SELECT USING (owner = 'a');
      CREATE PUBLICATION ${role} FOR TABLE guarded`)
    const url = new URL(postgres.url)
    url.username = role
    url.password = 'p'
    const guarded = options('rls', ['guarded'], { url: url.href, config: { publication: role } })
    const run = await SourceRun.start(guarded, null)
    const failure = await run.failed()
    await run.source.disconnect()
    expect(failure).toMatchObject({
      code: 'postgres/permission',
      retryable: false,
      fix: expect.stringContaining('BYPASSRLS'),
    })
    expect(run.mirror.rows('public.guarded')).toEqual([])
    await postgres.sql(`ALTER ROLE ${role} BYPASSRLS`)
    const { mirror } = await copyAndStop(guarded)
    expect(mirror.rows('public.guarded')).toHaveLength(2)
    await postgres.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
})

describe('a copy that is interrupted', () => {
  const names = ['part_a', 'part_b', 'part_c']

  it('goes on with the tables that are not finished, as often as it takes, and positions never go back', async () => {
    await postgres.sql(
      names
        .map(
          (name) =>
            `CREATE TABLE ${name} (id int PRIMARY KEY, v text); INSERT INTO ${name} SELECT i, 'x' FROM generate_series(1, 500) i`,
        )
        .join(';'),
    )
    const all = options('parts_resume', names, { config: { copyWorkers: 1 } })
    const target = new Mirror()
    let position: SourcePosition | null = null
    const orders: string[] = []
    for (let finished = 1; finished <= 3; finished++) {
      const before = new Map(target.copied)
      const held = new Promise<void>(() => {})
      const run: SourceRun = await SourceRun.start(all, position, target, (batch) => {
        if (batch.heartbeat === null || !batch.position!.order.startsWith(orders[0]?.slice(0, 16) ?? ''))
          return
        if (batch.position!.order.endsWith('.00000000')) return
        // One table more is finished: here the process is killed.
        position = stored(batch.position!)
        orders.push(position.order)
        return held
      })
      await run.until('one table more is finished', () => orders.length === finished)
      run.abort()
      await run.source.disconnect()
      // Something changes in finished and unfinished tables.
      for (const name of names)
        await postgres.sql(
          `UPDATE ${name} SET v = 'after ${finished}' WHERE id % 7 = ${finished}; INSERT INTO ${name} VALUES (${1000 + finished}, 'new'); DELETE FROM ${name} WHERE id = ${finished}`,
        )
      const earlier = names.slice(0, finished - 1).map((name) => `public.${name}`)
      expect(earlier.map((name) => target.copied.get(name))).toEqual(earlier.map((name) => before.get(name)))
    }
    expect(orders).toEqual([...orders].sort())
    expect(new Set(orders).size).toBe(3)
    await resume(all, position!, target)
    for (const name of names)
      expect(target.rows(`public.${name}`)).toEqual(await readRows(postgres.url, name))
    expect(target.copied.get('public.part_a')).toBe(500)
  })

  it('starts again when nothing was finished, with the slot that is there', async () => {
    await postgres.sql(
      `CREATE TABLE again (id int PRIMARY KEY, pad text); INSERT INTO again SELECT i, repeat('x', 400) FROM generate_series(1, 5000) i`,
    )
    const all = options('again', ['again'], { pagesPerRange: 10 })
    const target = new Mirror()
    const first = await SourceRun.start(all, null, target, (batch) =>
      batch.rowCount > 0 ? new Promise<void>(() => {}) : undefined,
    )
    await first.until('the copy has begun', () => target.copied.size > 0)
    await first.source.disconnect()
    await postgres.sql(`DELETE FROM again WHERE id <= 100; INSERT INTO again VALUES (99999, 'late')`)
    await using second = await SourceRun.start(all, null, target)
    await second.settled()
    expect(target.rows('public.again')).toEqual(await readRows(postgres.url, 'again'))
    const slots = await postgres.sql(
      `SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'sluice_${postgres.database}_again%'`,
    )
    expect(slots).toHaveLength(1)
  })

  it('stops at once when asked to, and leaves no connection behind', async () => {
    await postgres.sql(
      `CREATE TABLE slow (id int PRIMARY KEY, pad text); INSERT INTO slow SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i`,
    )
    const run = await SourceRun.start(options('slow', ['slow']), null, new Mirror(), (batch) =>
      batch.rowCount > 0 ? new Promise((resolve) => setImmediate(resolve)) : undefined,
    )
    await run.until('the copy has begun', () => run.mirror.copied.size > 0)
    run.abort()
    await run.done
    expect(run.failure).toBeNull()
    await run.source.disconnect()
    await waitFor('all connections are closed', async () => (await connections('slow')) === 0)
  })

  it('stops at once while the making of the slot waits for an open transaction, and makes none', async () => {
    await postgres.sql('CREATE TABLE waiting (id int PRIMARY KEY)')
    const writer = new pg.Client(postgres.url)
    await writer.connect()
    await writer.query('BEGIN; INSERT INTO waiting VALUES (1)')
    const run = await SourceRun.start(options('waiting', ['waiting']), null)
    await run.until('the slot is being made', async () => {
      const rows = await postgres.sql(
        `SELECT 1 FROM pg_stat_activity WHERE application_name = 'sluice ${postgres.database}_waiting' AND query LIKE 'CREATE_REPLICATION_SLOT%' AND wait_event_type = 'Lock'`,
      )
      return rows.length > 0
    })
    run.abort()
    await run.done
    expect(run.failure).toBeNull()
    await run.source.disconnect()
    await writer.query('ROLLBACK')
    await writer.end()
    await waitFor('all connections are closed', async () => (await connections('waiting')) === 0)
    expect(
      await postgres.sql(
        `SELECT 1 FROM pg_replication_slots WHERE slot_name = 'sluice_${postgres.database}_waiting'`,
      ),
    ).toEqual([])
  })

  it('says so when a transaction stays open for longer than lockTimeout', async () => {
    await postgres.sql('CREATE TABLE locked (id int PRIMARY KEY)')
    const writer = new pg.Client(postgres.url)
    await writer.connect()
    await writer.query('BEGIN; INSERT INTO locked VALUES (1)')
    const run = await SourceRun.start(options('locked', ['locked'], { config: { lockTimeout: 200 } }), null)
    expect(await run.failed()).toMatchObject({
      code: 'postgres/lock-timeout',
      retryable: true,
      fix: expect.stringMatching(/transaction/),
    })
    await run.source.disconnect()
    await writer.end()
  })

  it('makes way for a schema change that waits for a table, instead of waiting for each other for ever', async () => {
    await postgres.sql('CREATE TABLE wanted (id int PRIMARY KEY, v int); INSERT INTO wanted VALUES (1, 1)')
    const pipeline = options('wanted', ['wanted'])
    let altered: Promise<unknown> = Promise.resolve()
    // The copy has locked the table and will read it on another connection; in between, somebody asks for it.
    armFailpoints(async (point) => {
      if (point !== 'snapshot-plan') return
      altered = postgres.sql('ALTER TABLE wanted ADD COLUMN w int DEFAULT 7')
      await waitFor('the ALTER waits', async () => {
        const waiting = await postgres.sql(
          `SELECT 1 FROM pg_locks WHERE relation = 'wanted'::regclass AND NOT granted`,
        )
        return waiting.length > 0
      })
    })
    try {
      const run = await SourceRun.start(pipeline, null)
      expect(await run.failed()).toMatchObject({ code: 'postgres/table-locked', retryable: true })
      await run.source.disconnect()
    } finally {
      armFailpoints(null)
    }
    await altered
    const { mirror } = await copyAndStop(pipeline)
    expect(mirror.rows('public.wanted')).toEqual(await readRows(postgres.url, 'wanted'))
    expect(mirror.columns('public.wanted')).toEqual(['id', 'v', 'w'])
  })

  it('may start again when the connection that holds the snapshot is lost', async () => {
    await postgres.sql('CREATE TABLE loose (id int PRIMARY KEY); INSERT INTO loose VALUES (1)')
    const pipeline = options('loose', ['loose'])
    armFailpoints(async (point) => {
      if (point !== 'snapshot-plan') return
      await postgres.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'sluice ${pipeline.pipeline}' AND backend_type = 'walsender'`,
      )
      await waitFor('its connection is gone', async () => (await connections('loose')) === 1)
    })
    try {
      const run = await SourceRun.start(pipeline, null)
      expect(await run.failed()).toMatchObject({ code: 'postgres/connection-lost', retryable: true })
      await run.source.disconnect()
    } finally {
      armFailpoints(null)
    }
    const { mirror } = await copyAndStop(pipeline)
    expect(mirror.rows('public.loose')).toEqual(await readRows(postgres.url, 'loose'))
  })

  it.each([
    ['a column is renamed', 'ALTER TABLE moving RENAME v TO w', 'postgres/table-changed'],
    ['a type is changed', 'ALTER TABLE moving ALTER v TYPE bigint', 'postgres/table-rewritten'],
    ['it is truncated', 'TRUNCATE moving', 'postgres/table-rewritten'],
    ['a column is added', 'ALTER TABLE moving ADD COLUMN w int DEFAULT 1', null],
  ])("starts again when a table is not the snapshot's any more: %s", async (_, ddl, code) => {
    await postgres.sql(
      'DROP TABLE IF EXISTS moving; CREATE TABLE moving (id int PRIMARY KEY, v int); INSERT INTO moving VALUES (1, 1)',
    )
    const publication = `${postgres.database}_moving`
    await postgres.sql(
      `DROP PUBLICATION IF EXISTS ${publication}; CREATE PUBLICATION ${publication} FOR TABLE moving`,
    )
    const replication = await openClient(postgres.url, 'test', true)
    const clients: pg.Client[] = [replication]
    const open = async (): Promise<pg.Client> => {
      clients.push(await openClient(postgres.url, 'test'))
      return clients.at(-1)!
    }
    try {
      const snapshot = await createSlot(replication, publication, { temporary: true, lockTimeoutMs: 10_000 })
      // Between the snapshot and the locks.
      await postgres.sql(ddl)
      const mirror = new Mirror()
      const copy = new SnapshotCopy({
        replication,
        snapshot,
        publication,
        selection: selectTables(['public.moving']),
        serverVersion: (await readServer(replication)).version,
        system: '1',
        streamFrom: snapshot.lsn,
        known: {},
        workers: 1,
        pagesPerRange: 8192,
        nextStep: () => 1,
        open,
        out: { signal: new AbortController().signal, write: (batch) => mirror.apply(batch) },
        now: () => 0,
      })
      const outcome = await copy.run().then(
        () => null,
        (error: unknown) => error as CoreError,
      )
      expect(outcome?.code ?? null).toBe(code)
      expect(outcome?.retryable ?? null).toBe(code === null ? null : true)
      // Without an error it is the table as of the snapshot.
      const rows = code === null ? await readRows(postgres.url, 'moving', 'id, v') : []
      expect(mirror.rows('public.moving')).toEqual(rows)
    } finally {
      await Promise.all(clients.map((client) => client.end()))
    }
  })
})

describe('the set of tables', () => {
  it('is read again at every start: a table that comes back is copied again', async () => {
    await postgres.sql(
      'CREATE TABLE stays (id int PRIMARY KEY); CREATE TABLE leaves (id int PRIMARY KEY); INSERT INTO leaves VALUES (1)',
    )
    const both = options('set', ['stays', 'leaves'])
    const { mirror, position } = await copyAndStop(both)
    // For a while only one is wanted.
    await using one = await SourceRun.start({ ...both, tables: ['public.stays'] }, position, mirror)
    await postgres.sql('INSERT INTO stays VALUES (1); INSERT INTO leaves VALUES (2)')
    await one.settled()
    const later = (await one.stop())!
    await postgres.sql('INSERT INTO stays VALUES (2)')
    await resume(both, later, mirror)
    expect(mirror.rows('public.leaves')).toEqual(await readRows(postgres.url, 'leaves'))
    expect(mirror.rows('public.stays')).toEqual(await readRows(postgres.url, 'stays'))
  })

  it('copies a table that was dropped and made again under its name', async () => {
    await postgres.sql('CREATE TABLE reborn (id int PRIMARY KEY); INSERT INTO reborn VALUES (1)')
    const all = options('reborn', ['reborn'])
    const { mirror, position } = await copyAndStop(all)
    await postgres.sql(`DROP TABLE reborn; CREATE TABLE reborn (id int PRIMARY KEY, v text); INSERT INTO reborn VALUES (2, 'b');
      ALTER PUBLICATION sluice_${all.pipeline} ADD TABLE reborn`)
    await resume(all, position, mirror)
    expect(mirror.rows('public.reborn')).toEqual(await readRows(postgres.url, 'reborn'))
  })

  it('takes up a table that is added to the publication while it runs, written to or not', async () => {
    await postgres.sql('CREATE TABLE old_one (id int PRIMARY KEY)')
    const all = options('grow', ['old_one', 'new_*'])
    const mirror = new Mirror()
    await using run = await SourceRun.start(all, null, mirror)
    await run.settled()
    await postgres.sql(
      `CREATE TABLE new_quiet (id int PRIMARY KEY); INSERT INTO new_quiet VALUES (1); ALTER PUBLICATION sluice_${all.pipeline} ADD TABLE new_quiet`,
    )
    await run.until('it is copied', () => mirror.copied.get('public.new_quiet') === 1)
    await postgres.sql(`CREATE TABLE new_busy (id int PRIMARY KEY); INSERT INTO new_busy VALUES (1); ALTER PUBLICATION sluice_${all.pipeline} ADD TABLE new_busy;
      INSERT INTO new_busy VALUES (2); INSERT INTO old_one VALUES (1); UPDATE new_quiet SET id = 7`)
    await run.until('it is copied', () => mirror.rows('public.new_busy').length === 2)
    await run.settled()
    for (const table of ['old_one', 'new_quiet', 'new_busy'])
      expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
  })
})
