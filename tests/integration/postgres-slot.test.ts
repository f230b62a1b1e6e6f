import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { type PostgresServer, startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import { MemorySink } from '../../src/connectors/sinks/memory/sink.ts'
import { MemoryTarget } from '../../src/connectors/sinks/memory/target.ts'
import { ConnectionError, type CoreError, PositionLostError } from '../../src/core/error.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { MemoryCheckpointStore } from '../../src/runtime/checkpoint/memory.ts'
import type { PipelineResult } from '../../src/runtime/definition.ts'
import { runPipeline } from '../../src/runtime/pipeline.ts'
import { FaultySink, type Faults } from '../support/faulty-sink.ts'
import { recordingLog } from '../support/memory-pipeline.ts'
import { createDatabase, sql } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { waitFor } from '../support/wait-for.ts'
import { Mirror, stored } from '../support/mirror.ts'
import {
  contextOf,
  copyAndStop,
  lsnOf,
  newSource,
  readRows,
  resume,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

/** What becomes of slot and position, on a server of this file's own: it is killed, and its clock is fast. */

let server: PostgresServer
const log = join(tmpdir(), `sluice-postgres-slot-${process.pid}.log`)

beforeAll(async () => {
  server = await startPostgres({
    log,
    settings: {
      wal_sender_timeout: '2s',
      log_statement: 'ddl',
      log_line_prefix: '%u ',
      autovacuum: 'off',
      max_replication_slots: '60',
      max_wal_senders: '60',
    },
  })
})

afterAll(async () => {
  await server?.stop()
  rmSync(log, { force: true })
})

/** A database, and the options of a source on it. */
async function database(name: string): Promise<SourceOptions> {
  const url = await createDatabase(server.url, name)
  await sql(
    url,
    'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE unrelated (id serial PRIMARY KEY, v text)',
  )
  return { url, pipeline: name, tables: ['public.t'] }
}

interface SlotState {
  readonly lsn: string
  readonly active: boolean
}

async function slotOf(options: SourceOptions): Promise<SlotState | null> {
  const [slot] = await sql<{ lsn: string; active: boolean }>(
    server.url,
    `SELECT lpad(split_part(confirmed_flush_lsn::text, '/', 1), 8, '0') || lpad(split_part(confirmed_flush_lsn::text, '/', 2), 8, '0') AS lsn, active
     FROM pg_replication_slots WHERE slot_name = 'sluice_${options.pipeline}'`,
  )
  return slot ?? null
}

/** A pipeline into a memory sink that fails on command. */
class Pipeline {
  readonly target: MemoryTarget
  readonly log = recordingLog()
  readonly result: Promise<PipelineResult>
  readonly #stop = new AbortController()
  readonly #options: SourceOptions

  constructor(options: SourceOptions, store: MemoryCheckpointStore, faults: Faults = {}) {
    this.#options = options
    this.target = MemoryTarget.named(options.pipeline)
    this.result = runPipeline(
      {
        name: options.pipeline,
        tables: options.tables!,
        source: { type: 'postgres', create: () => newSource(options) },
        sinks: [
          {
            name: 'memory',
            type: 'memory',
            create: () =>
              new FaultySink(
                new MemorySink({ target: options.pipeline, durable: 'flush', flushInterval: 5 }),
                faults,
              ),
          },
        ],
        store,
        // So small that reading is held as soon as the sink does not take rows.
        limits: { checkpointIntervalMs: 5, bufferBytes: 50_000 },
      },
      { signal: this.#stop.signal, log: this.log, random: () => 1 },
    )
    this.result.catch(() => {})
  }

  async untilEqual(): Promise<void> {
    const expected = await readRows(this.#options.url, 't')
    await Promise.race([
      this.result.then(() => Promise.reject(new Error('the pipeline has ended'))),
      waitFor('the target is equal', () => {
        const rows = this.target.rows('public.t').map(({ id, v }) =>
          JSON.stringify([
            ['id', String(id as number)],
            ['v', v],
          ]),
        )
        return JSON.stringify(rows.sort()) === JSON.stringify(expected)
      }),
    ])
  }

  async stop(): Promise<PipelineResult> {
    this.#stop.abort()
    return this.result
  }
}

describe('the slot', () => {
  it('survives stop, network cut, a crash of the server and a restart, with the same or a later position (PG-2)', async () => {
    const options = await database('survives')
    const store = new MemoryCheckpointStore()
    let pipeline = new Pipeline(options, store)
    const positions: string[] = []
    let row = 0
    const insertAndCompare = async (): Promise<void> => {
      await sql(options.url, `INSERT INTO t VALUES (${++row}, 'x'), (${++row}, NULL)`)
      await pipeline.untilEqual()
      positions.push((await slotOf(options))!.lsn)
    }
    await pipeline.untilEqual()
    await insertAndCompare()
    // Stop and start.
    await pipeline.stop()
    positions.push((await slotOf(options))!.lsn)
    pipeline = new Pipeline(options, store)
    await insertAndCompare()
    // The network.
    await sql(server.url, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active`)
    await insertAndCompare()
    await sql(
      server.url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice survives'`,
    )
    await insertAndCompare()
    // A crash; the server may have forgotten the last confirmations, never more than the pipeline stored.
    await server.kill()
    await server.restart()
    await insertAndCompare()
    // A clean restart.
    await server.restart()
    await insertAndCompare()
    expect((await pipeline.stop()).drained).toBe(true)
    expect(positions).toEqual([...positions].sort())
    expect((await slotOf(options))!.active).toBe(false)
  })

  it('stays active and unmoved while the sink refuses every write for three times wal_sender_timeout (PG-3)', async () => {
    const options = await database('refuses')
    let refusing = false
    const faults: Faults = {
      before: (call) => {
        if (refusing && (call === 'write' || call === 'flush'))
          throw new ConnectionError('test/refused', 'refused')
      },
    }
    const pipeline = new Pipeline(options, new MemoryCheckpointStore(), faults)
    await pipeline.untilEqual()
    await sql(options.url, `INSERT INTO t VALUES (1, 'before')`)
    await pipeline.untilEqual()
    refusing = true
    await sql(options.url, `INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(2, 20000) i`)
    await waitFor('the sink refuses', () => pipeline.log.lines.some(({ code }) => code === 'test/refused'))
    const held = (await slotOf(options))!
    const [{ pid, start }] = (await sql<{ pid: number; start: string }>(
      server.url,
      `SELECT active_pid AS pid, now()::text AS start FROM pg_replication_slots WHERE slot_name = 'sluice_refuses'`,
    )) as [{ pid: number; start: string }]
    await waitFor('7 seconds have passed on the server', async () => {
      expect(await slotOf(options)).toEqual({ lsn: held.lsn, active: true })
      const [row] = await sql<{ over: boolean }>(
        server.url,
        `SELECT now() > '${start}'::timestamptz + interval '7 seconds' AS over`,
      )
      return row!.over
    })
    const [now] = await sql<{ pid: number }>(
      server.url,
      `SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = 'sluice_refuses'`,
    )
    expect(now!.pid).toBe(pid)
    refusing = false
    await pipeline.untilEqual()
    await waitFor('the position moves on', async () => (await slotOf(options))!.lsn > held.lsn)
    await pipeline.stop()
  })

  it('moves on with unrelated traffic only, and no row is lost by a kill in that time (PG-4)', async () => {
    const random = seeded('unrelated traffic')
    const options = await database('idle')
    const mirror = new Mirror()
    let position: SourcePosition | null = null
    for (let round = 0; round < 6; round++) {
      const run: SourceRun = await SourceRun.start(options, position, mirror)
      if (round === 0) await run.settled()
      const before = (await slotOf(options))!.lsn
      await sql(
        options.url,
        `INSERT INTO unrelated (v) SELECT repeat('x', 100) FROM generate_series(1, 2000)`,
      )
      await run.settled()
      position = stored(run.source.currentPosition()!)
      await run.source.checkpoint(position)
      await run.until('the server may forget', async () => (await slotOf(options))!.lsn > before)
      // Now rows of ours among the others, and the end at any moment: nothing after `position` is stored.
      const writes = sql(
        options.url,
        `INSERT INTO t VALUES (${round}, 'r'); INSERT INTO unrelated (v) VALUES ('y'); UPDATE t SET v = v || ${round} WHERE id = ${random.below(round + 1)}`,
      )
      const moment = random.below(4)
      await run.until(
        'a random moment',
        () => mirror.history.length % 4 === moment || mirror.history.at(-1) === 'commit',
      )
      await run.source.disconnect()
      run.abort()
      await writes
    }
    await resume(options, position!, mirror)
    expect(mirror.rows('public.t')).toEqual(await readRows(options.url, 't'))
    expect(mirror.rows('public.t')).toHaveLength(6)
  })

  it('and the rows survive connections that are cut at any moment: copy, catch-up, stream, schema change (PG-1)', async () => {
    const random = seeded('cut connections')
    const base = await database('cut')
    const options: SourceOptions = {
      ...base,
      config: { catchUp: 'auto', catchUpThreshold: 1 },
      pagesPerRange: 5,
    }
    await sql(base.url, `INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 3000) i`)
    const mirror = new Mirror()
    let position: SourcePosition | null = null
    for (let round = 1; round <= 30; round++) {
      await sql(
        base.url,
        `INSERT INTO t VALUES (${10_000 + round}, 'r'); UPDATE t SET v = '${round}' WHERE id % 50 = ${round}; DELETE FROM t WHERE id = ${round}`,
      )
      if (round % 10 === 0)
        await sql(
          base.url,
          `ALTER TABLE t ALTER v TYPE ${round === 20 ? 'text' : 'varchar(300)'} USING v || '!'`,
        )
      const enough = mirror.batches + random.below(30)
      const run: SourceRun | CoreError = await SourceRun.start(options, position, mirror).catch(
        (error: unknown) => error as CoreError,
      )
      const which = random.pick([
        'true',
        `backend_type = 'walsender'`,
        `query LIKE 'COPY%'`,
        'random() < 0.5',
      ])
      const cut = (): Promise<unknown> =>
        sql(
          server.url,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice cut' AND ${which}`,
        )
      if (run instanceof SourceRun) {
        await waitFor(
          'it has done something',
          async () => run.ended || mirror.batches >= enough || (await run.isSettled()),
        )
        await cut()
        // It may be over before it notices.
        await waitFor('it ends or goes on', async () => run.ended || (await run.isSettled()))
        await run.stop()
        position = run.source.currentPosition() === null ? null : stored(run.source.currentPosition()!)
      }
      const failure = run instanceof SourceRun ? run.failure : run
      expect(failure === null || (failure instanceof ConnectionError && failure.retryable)).toBe(true)
    }
    await using last = await SourceRun.start(options, position, mirror)
    await last.settled()
    expect(mirror.rows('public.t')).toEqual(await readRows(base.url, 't'))
  })

  it('notices while it runs that a table left the publication, and copies it when it comes back', async () => {
    const options = await database('left')
    await sql(options.url, `INSERT INTO t VALUES (1, 'a'); CREATE TABLE stays (id int PRIMARY KEY)`)
    const { mirror, position } = await copyAndStop(options)
    await using run = await SourceRun.start(options, position, mirror)
    await waitFor('it streams', async () => (await slotOf(options))!.active)
    await sql(options.url, `ALTER PUBLICATION sluice_${options.pipeline} DROP TABLE t; UPDATE t SET v = 'b'`)
    await run.until('it says so', () => mirror.schemaChanges.includes('drop-table public.t'))
    await sql(options.url, `ALTER PUBLICATION sluice_${options.pipeline} ADD TABLE t`)
    await run.until('it is copied', () => mirror.rows('public.t').length === 1)
    expect(mirror.rows('public.t')).toEqual(await readRows(options.url, 't'))
  })

  it('copies a table again that was out of the publication for a moment, written to later or not', async () => {
    const options = { ...(await database('blink')), tables: ['public.t', 'public.u'] }
    await sql(
      options.url,
      `CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1, 'a')`,
    )
    const { mirror, position } = await copyAndStop(options)
    await using run = await SourceRun.start(options, position, mirror)
    await waitFor('it streams', async () => (await slotOf(options))!.active)
    for (const table of ['t', 'u'])
      await sql(
        options.url,
        `BEGIN; ALTER PUBLICATION sluice_${options.pipeline} DROP TABLE ${table}; UPDATE ${table} SET v = 'b';
         ALTER PUBLICATION sluice_${options.pipeline} ADD TABLE ${table}; COMMIT`,
      )
    await sql(options.url, `INSERT INTO u VALUES (2, 'c')`)
    for (const table of ['t', 'u']) {
      const wanted = await readRows(options.url, table)
      await run.until('it is equal', () => mirror.rows(`public.${table}`).join() === wanted.join())
      expect(mirror.copied.get(`public.${table}`)).toBeGreaterThan(1)
    }
    expect(mirror.schemaChanges).toEqual([])
  })

  it('notices while it runs that the publication is gone (law L3)', async () => {
    const options = await database('dropped')
    const { position } = await copyAndStop(options)
    await using run = await SourceRun.start(options, position)
    await waitFor('it streams', async () => (await slotOf(options))!.active)
    await sql(options.url, `DROP PUBLICATION sluice_${options.pipeline}`)
    expect(await run.failed()).toBeInstanceOf(PositionLostError)
    expect(run.failure).toMatchObject({ code: 'postgres/publication-missing' })
  })

  it('is removed by teardown only, with the publication that was derived', async () => {
    const options = await database('teardown')
    await copyAndStop(options)
    expect(await slotOf(options)).not.toBeNull()
    const source = newSource(options)
    await source.connect(contextOf(options))
    await source.teardown()
    await source.disconnect()
    expect(await slotOf(options)).toBeNull()
    expect(await sql(options.url, 'SELECT 1 FROM pg_publication')).toEqual([])
    expect(await sql(options.url, 'SELECT 1 FROM t')).toEqual([])
  })

  it('is waited for when the connection before is not gone yet', async () => {
    const options = await database('taken')
    const { position } = await copyAndStop(options)
    await using first = await SourceRun.start(options, position)
    await waitFor('the slot is in use', async () => (await slotOf(options))!.active)
    await using second = await SourceRun.start(options, position)
    expect(await second.failed()).toMatchObject({ code: 'postgres/slot-active', retryable: true })
    expect(first.failure).toBeNull()
  })
})

describe('a position that is lost stops the start with the next step (PG-13)', () => {
  async function failure(
    options: SourceOptions,
    position: SourcePosition,
  ): Promise<{ code: string; fix: string | undefined }> {
    const run = await SourceRun.start(options, position)
    const error = await run.failed()
    await run.source.disconnect()
    expect(error).toBeInstanceOf(PositionLostError)
    expect(error.retryable).toBe(false)
    expect(run.mirror.history).toEqual([])
    return error as { code: string; fix: string | undefined }
  }

  it('when the slot is gone', async () => {
    const options = await database('gone')
    const { position } = await copyAndStop(options)
    await sql(options.url, `SELECT pg_drop_replication_slot('sluice_gone'); INSERT INTO t VALUES (1, 'lost')`)
    expect(await failure(options, position)).toMatchObject({
      code: 'postgres/slot-missing',
      fix: expect.stringMatching(/remove the checkpoint/),
    })
    expect(await slotOf(options)).toBeNull()
  })

  it('when the server has removed the WAL', async () => {
    const options = await database('wal')
    const { position } = await copyAndStop(options)
    await sql(server.url, `ALTER SYSTEM SET max_slot_wal_keep_size = '20MB'`)
    await sql(server.url, 'SELECT pg_reload_conf()')
    for (let i = 0; i < 5; i++)
      await sql(options.url, `INSERT INTO t VALUES (${i}, 'x'); SELECT pg_switch_wal()`)
    await sql(options.url, 'CHECKPOINT')
    await sql(server.url, 'ALTER SYSTEM RESET max_slot_wal_keep_size')
    await sql(server.url, 'SELECT pg_reload_conf()')
    const status = await sql(
      options.url,
      `SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'sluice_wal'`,
    )
    expect(status).toEqual([{ wal_status: 'lost' }])
    const lost = {
      code: 'postgres/slot-lost',
      fix: expect.stringMatching(/pg_drop_replication_slot.*max_slot_wal_keep_size.*remove the checkpoint/),
    }
    expect(await failure(options, position)).toMatchObject(lost)
    // Also when there is no position: the slot would never stream again.
    const run = await SourceRun.start(options, null)
    expect(await run.failed()).toMatchObject(lost)
    await run.source.disconnect()
  })

  it('when the slot is ahead of it', async () => {
    const options = await database('ahead')
    const { position } = await copyAndStop(options)
    await sql(options.url, `INSERT INTO t VALUES (1, 'x')`)
    await sql(options.url, `SELECT pg_replication_slot_advance('sluice_ahead', pg_current_wal_lsn())`)
    expect(await failure(options, position)).toMatchObject({
      code: 'postgres/slot-ahead',
      fix: expect.stringMatching(/remove the checkpoint/),
    })
  })

  it('when it is the position of another cluster', async () => {
    const options = await database('cluster')
    const { position } = await copyAndStop(options)
    const other = { ...position, resume: { ...(position.resume as object), system: '1' } } as SourcePosition
    expect(await failure(options, other)).toMatchObject({
      code: 'postgres/other-cluster',
      fix: expect.stringMatching(/remove the checkpoint/),
    })
  })

  it('when the publication is gone', async () => {
    const options = await database('unpublished')
    const { position } = await copyAndStop(options)
    await sql(options.url, 'DROP PUBLICATION sluice_unpublished')
    expect(await failure(options, position)).toMatchObject({
      code: 'postgres/publication-missing',
      fix: expect.stringMatching(/remove the checkpoint/),
    })
  })

  it('but not when the server only forgot that it may forget more', async () => {
    const options = await database('older')
    const { position } = await copyAndStop(options)
    await sql(options.url, `INSERT INTO t VALUES (1, 'x')`)
    const run = await SourceRun.start(options, position)
    await run.settled()
    const later = (await run.stop())!
    expect((await slotOf(options))!.lsn < later.order).toBe(true)
    const rest = await resume(options, later)
    expect(rest.history).toEqual([])
    expect(lsnOf(later)).not.toBe(lsnOf(position))
  })
})

describe('a role with REPLICATION and SELECT only, on a publication and slot that are there', () => {
  it('copies and streams, and executes no DDL (PG-15)', async () => {
    const admin = await database('minimal')
    await sql(
      admin.url,
      `CREATE ROLE minimal LOGIN REPLICATION PASSWORD 'p'; GRANT SELECT ON t TO minimal; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
       INSERT INTO t VALUES (1, 'a'); CREATE PUBLICATION made FOR TABLE t;
       CREATE TABLE ddl (tag text);
       CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO ddl VALUES (tg_tag); END $$;
       CREATE EVENT TRIGGER note ON ddl_command_start EXECUTE FUNCTION note()`,
    )
    await sql(admin.url, `SELECT pg_create_logical_replication_slot('made', 'pgoutput')`)
    const url = new URL(admin.url)
    url.username = 'minimal'
    url.password = 'p'
    const options: SourceOptions = { ...admin, url: url.href, config: { slot: 'made', publication: 'made' } }
    const source = newSource(options)
    expect(await source.validate(contextOf(options))).toEqual([])
    const { mirror, position } = await copyAndStop(options)
    await sql(admin.url, `INSERT INTO t VALUES (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1`)
    await resume(options, position, mirror)
    await sql(admin.url, `INSERT INTO t VALUES (3, 'd')`)
    await resume({ ...options, config: { ...options.config, catchUp: 'auto' } }, position, mirror)
    expect(mirror.rows('public.t')).toEqual(await readRows(admin.url, 't'))
    expect(await sql(admin.url, 'SELECT * FROM ddl')).toEqual([])
    const statements = readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('minimal ') && /statement: /.test(line))
    expect(statements).toEqual([])
    // The trap works.
    const client = new pg.Client(admin.url)
    await client.connect()
    await client.query('CREATE TABLE noticed ()')
    await client.end()
    expect(await sql(admin.url, 'SELECT * FROM ddl')).toEqual([{ tag: 'CREATE TABLE' }])
    expect(readFileSync(log, 'utf8')).toContain('statement: CREATE TABLE noticed')
  })
})
