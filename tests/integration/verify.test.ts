import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { PostgresSource } from '../../src/connectors/sources/postgres/source.ts'
import { thisProcess } from '../../src/runtime/checkpoint/owner.ts'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import type { PipelineDefinition } from '../../src/runtime/definition.ts'
import type { VerifyOptions } from '../../src/runtime/verify/comparison.ts'
import { repairPipeline } from '../../src/runtime/verify/repair.ts'
import type { TableReport, VerifyReport } from '../../src/runtime/verify/report.ts'
import { verifyPipeline } from '../../src/runtime/verify/verify.ts'
import { type CliRun, startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { createSamples, insertSamples, OWN_TYPES, typesOfServer } from '../support/postgres-types.ts'
import { seeded } from '../support/random.ts'
import { createLoadTables, RandomLoad } from '../support/random-load.ts'
import { waitFor } from '../support/wait-for.ts'
import { dropSlots } from './postgres-fixture.ts'

/** Heap pages of a key range, so that small tables have several. */
const PAGES = 4

let postgres: TestPostgres
let clickhouse: TestClickHouse
let folder: string
let pipelines: { readonly definition: PipelineDefinition; readonly runs: CliRun[] }[] = []

beforeAll(async () => {
  postgres = await testPostgres('verify')
  clickhouse = await testClickHouse('verify')
  folder = mkdtempSync(join(tmpdir(), 'sluice-verify-'))
})

afterEach(async () => {
  for (const { definition, runs } of pipelines) {
    for (const run of runs) run.child.kill('SIGKILL')
    await Promise.all(runs.map((run) => run.done))
    await definition.store.close()
  }
  pipelines = []
  await dropSlots(postgres.url)
})

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const lines: string[] = []
const note = (message: string): void => void lines.push(message)
const log = { debug: note, info: note, warn: note, error: note }

interface Pipeline {
  /** Path of the config. */
  readonly config: string
  readonly definition: PipelineDefinition
  /** Starts it in a process of its own; resolves when that has the lease. */
  start(): Promise<CliRun>
  /** Copies and ends. */
  once(): Promise<void>
  verify(options?: Partial<VerifyOptions>): Promise<VerifyReport>
  repair(options?: Partial<VerifyOptions>): Promise<VerifyReport>
}

async function pipeline(name: string, tables: readonly string[], sink = ''): Promise<Pipeline> {
  const config = join(folder, `${name}.yaml`)
  writeFileSync(
    config,
    `
name: ${postgres.database}_${name}
source: { type: postgres, url: '${postgres.url}', heartbeat: 200ms, schemaPoll: 500ms }
tables: ${JSON.stringify(tables)}
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: ${clickhouse.database}, flushInterval: 50ms ${sink} } }
checkpoint: { interval: 50ms }
`,
  )
  const loaded = await loadConfig(config)
  const built = await buildPipeline(loaded)
  const create = () =>
    new PostgresSource(loaded.source.options as PostgresConfig, { pagesPerKeyRange: PAGES })
  const definition = { ...built, source: { ...built.source, create } }
  const runs: CliRun[] = []
  pipelines.push({ definition, runs })
  const start = (...flags: readonly string[]): CliRun => {
    const run = startCli(['run', config, ...flags])
    runs.push(run)
    return run
  }
  return {
    config,
    definition,
    async start() {
      const run = start()
      await waitFor('the pipeline runs', async () => {
        expect(run.child.exitCode, run.stderr()).toBe(null)
        return (await definition.store.peek(definition.name)).runner?.pid === run.child.pid
      })
      return run
    },
    async once() {
      const run = start('--once')
      expect((await run.done).code, run.stderr()).toBe(0)
    },
    verify: (options) => verifyPipeline(definition, { log, ...options }),
    repair: (options) => repairPipeline(definition, { log, ...options }),
  }
}

function reportOf(report: VerifyReport, table: string): TableReport {
  return report.tables.find((one) => one.table === `public.${table}`)!
}

/** How the rows of a table are told apart, and what a row that was added has as key. */
interface KeyKind {
  readonly name: string
  readonly columns: string
  /** SQL of the key for row `i`. */
  readonly key: string
  /** SQL of ClickHouse that makes the key of a row another one. */
  readonly other: string
  readonly hasRanges: boolean
}

const KEYS: readonly KeyKind[] = [
  { name: 'k_int', columns: 'id int8', key: 'i * 7 - 9000', other: 'id + 1 AS id', hasRanges: true },
  {
    name: 'k_text_c',
    columns: 'id text COLLATE "C"',
    key: `(ARRAY['ä','Z','a','~',' ','É'])[i % 6 + 1] || i`,
    other: `concat(id, '!') AS id`,
    hasRanges: true,
  },
  {
    name: 'k_text',
    columns: 'id text COLLATE "en-x-icu"',
    key: `(ARRAY['ä','Z','a','~',' ','É'])[i % 6 + 1] || i || E'\\\\''"'`,
    other: `concat(id, '!') AS id`,
    hasRanges: false,
  },
  {
    name: 'k_uuid',
    columns: 'id uuid',
    key: 'md5(i::text)::uuid',
    other: 'generateUUIDv4() AS id',
    hasRanges: false,
  },
  {
    name: 'k_moment',
    columns: 'id timestamptz',
    key: `timestamptz '1969-12-30' + i * interval '97.000003 s'`,
    other: 'addMicroseconds(id, 1) AS id',
    hasRanges: true,
  },
  {
    name: 'k_composite',
    columns: 'region int2, id text',
    key: `(i % 5)::int2, 'row ' || i`,
    other: `concat(id, '!') AS id`,
    hasRanges: true,
  },
  {
    name: 'k_decimal',
    columns: 'id numeric(10,2)',
    key: 'i * 1.25 - 900',
    other: 'id + 0.01 AS id',
    hasRanges: false,
  },
  {
    name: 'k_bytes',
    columns: 'id bytea',
    key: `decode(md5(i::text), 'hex')`,
    other: `concat(id, 'x') AS id`,
    hasRanges: false,
  },
]
const ROWS = 2000

function keyColumns({ columns }: KeyKind): string {
  return columns
    .split(', ')
    .map((column) => column.split(' ')[0])
    .join(', ')
}

async function createKeyTables(): Promise<void> {
  for (const kind of KEYS) {
    await postgres.sql(`
      CREATE TABLE ${kind.name} (${kind.columns}, v text, n int4, at timestamptz, PRIMARY KEY (${keyColumns(kind)}));
      INSERT INTO ${kind.name} SELECT ${kind.key}, 'value ' || i, i, timestamptz '2024-01-01' + i * interval '1.000001 s'
        FROM generate_series(1, ${ROWS}) i`)
  }
}

/** Breaks five rows of a table, each in another way. */
async function plant(table: string, other: string): Promise<void> {
  await clickhouse.command(`INSERT INTO ${table} SELECT * REPLACE (${other}) FROM ${table} WHERE n = 40`)
  await clickhouse.command(`ALTER TABLE ${table} DELETE WHERE n = 10, UPDATE v = 'changed' WHERE n = 20,
    UPDATE v = NULL WHERE n = 30, UPDATE at = addMicroseconds(at, 1) WHERE n = ${ROWS} SETTINGS mutations_sync = 2`)
}

describe('verify and repair', () => {
  it('find rows that are missing, added, changed, NULL or a microsecond off by any kind of key, and mend them', async () => {
    await createKeyTables()
    const keys = await pipeline('keys', ['public.k_*'])
    const run = await keys.start()
    expect(await keys.verify()).toMatchObject({ equal: true, running: true, rows: ROWS * KEYS.length })
    for (const { name, other } of KEYS) await plant(name, other)
    const found = await keys.verify()
    expect(found.equal).toBe(false)
    for (const { name, hasRanges } of KEYS) {
      const table = reportOf(found, name)
      expect(table, name).toMatchObject({
        equal: false,
        rows: ROWS,
        missing: 1,
        extra: 1,
        different: 3,
        unsettled: 0,
        columns: ['v', 'at'],
        problems: [],
      })
      expect(table.ranges.of > 1, name).toBe(hasRanges)
      expect(table.ranges.compared).toBe(table.ranges.of)
    }
    const repaired = await keys.repair()
    expect(repaired).toMatchObject({ equal: true, running: true })
    for (const { name } of KEYS) expect(reportOf(repaired, name).repaired, name).toBe(5)
    expect(await keys.verify()).toMatchObject({ equal: true })
    expect(run.child.exitCode, run.stderr()).toBe(null)
  })

  it('have nothing to say about values of any type that were replicated', async () => {
    await postgres.sql(OWN_TYPES)
    const types = await typesOfServer(postgres)
    await postgres.sql(`${createSamples('wide', types)}; ${insertSamples('wide', types, 0)}`)
    const wide = await pipeline('wide', ['public.wide'], ', dates: text, arrays: text')
    await wide.once()
    const report = await wide.verify({ showValues: true })
    expect(reportOf(report, 'wide')).toMatchObject({ equal: true, examples: [] })
    // The same rows again, by the stream.
    const run = await wide.start()
    await postgres.sql(
      `BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM wide; DELETE FROM wide; INSERT INTO wide SELECT * FROM kept; COMMIT`,
    )
    expect(await wide.verify()).toMatchObject({ equal: true, running: true })
    expect(run.child.exitCode, run.stderr()).toBe(null)
  })

  it('have nothing to say about values that ClickHouse keeps in its own types, or in the form that was chosen', async () => {
    await postgres.sql(`
      CREATE TABLE own (id int4 PRIMARY KEY, d date, t timestamp(3), z timestamptz, f4 float4, f8 float8, n numeric(30,10), m money,
        b bool, u uuid, ints int4[], texts text[] NOT NULL, floats float8[] NOT NULL, moments timestamptz[] NOT NULL, raws bytea[] NOT NULL,
        grid numeric(6,2)[][] NOT NULL);
      INSERT INTO own VALUES
        (1, '1900-01-01', '0001-01-01 00:00:00.001', '9999-12-31 23:59:59.999999+00', '1e-45', '5e-324', -0.5, '-0.01', true,
         'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{1,NULL}', ARRAY['', 'NULL', 'a"b', E'\\\\', ' x ', 'ü,{}', NULL, E'\\u00a0'], '{NaN,1e+20,-0}',
         '{"2024-02-29 12:00:00.5+02",NULL}', ARRAY['\\x00ff'::bytea, ''], '{{1.10,2},{NULL,-0.01}}'),
        (2, '2299-12-31', '1969-12-31 23:59:59.999', '2255-06-01 00:00:00.999999+00', '3.4028235e38', '-Infinity', 12345678901234567890.0123456789, '0',
         false, '00000000-0000-0000-0000-000000000000', '{}', '{}', '{}', '{}', '{}', '{}'),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{x}', '{0.1}', '{1970-01-01 00:00:00+00}', '{}', '{{0.00}}')`)
    for (const [name, options] of [
      ['own_exact', ''],
      ['own_native', ', arrays: native, defaultNamespace: other'],
    ] as const) {
      const own = await pipeline(name, ['public.own'], options)
      await own.once()
      expect(reportOf(await own.verify({ showValues: true }), 'own'), name).toMatchObject({
        equal: true,
        examples: [],
      })
    }
  })

  it('find what is wrong while the database is changed at random, and nothing else', async () => {
    const random = seeded('verify under load')
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    try {
      const tables = await createLoadTables(client, 4)
      await client.query(
        `CREATE TABLE calm (id int8 PRIMARY KEY, v text); INSERT INTO calm SELECT i, 'v' || i FROM generate_series(1, 500) i`,
      )
      const live = await pipeline('load', ['public.load_*', 'public.calm'])
      const run = await live.start()
      expect(await live.verify()).toMatchObject({ equal: true, running: true })
      const load = new RandomLoad(postgres.url, tables, random, {
        schemaChanges: 0,
        truncates: 0.003,
        pauseMs: 50,
      })
      load.start(3)
      try {
        for (let round = 0; round < 3; round++) {
          const report = await live.verify()
          expect(report, `seed ${random.seed}: ${JSON.stringify(report)} ${run.stderr()}`).toMatchObject({
            equal: true,
            running: true,
          })
        }
        await clickhouse.command(
          `ALTER TABLE calm UPDATE v = 'wrong' WHERE id = 77 SETTINGS mutations_sync = 2`,
        )
        const report = await live.verify()
        expect(
          report.tables.filter(({ equal }) => !equal),
          `seed ${random.seed}`,
        ).toEqual([expect.objectContaining({ table: 'public.calm', different: 1, columns: ['v'] })])
        expect(await live.repair(), `seed ${random.seed}`).toMatchObject({ equal: true, running: true })
      } finally {
        await load.stop()
      }
      expect(load.commits).toBeGreaterThan(50)
      expect(run.child.exitCode, run.stderr()).toBe(null)
    } finally {
      await client.end()
    }
  })

  it('follow schema changes, copies of a table that they cause, and a table that is emptied', async () => {
    await postgres.sql(
      `CREATE TABLE shape (id int4 PRIMARY KEY, v text); INSERT INTO shape SELECT i, 'v' || i FROM generate_series(1, 300) i`,
    )
    const shape = await pipeline('shape', ['public.shape'])
    const run = await shape.start()
    for (const change of [
      `ALTER TABLE shape ADD COLUMN n int4 DEFAULT 5; UPDATE shape SET n = id WHERE id < 10`,
      `ALTER TABLE shape ALTER COLUMN n TYPE text USING 'was ' || n`,
      `ALTER TABLE shape RENAME COLUMN v TO w; ALTER TABLE shape ADD COLUMN at timestamptz DEFAULT clock_timestamp()`,
      `ALTER TABLE shape DROP COLUMN n`,
      `TRUNCATE shape; INSERT INTO shape (id, w) VALUES (1, 'first')`,
    ]) {
      await postgres.sql(change)
      expect(await shape.verify(), `${change}: ${run.stderr()}`).toMatchObject({ equal: true, running: true })
    }
    expect(run.child.exitCode, run.stderr()).toBe(null)
  })

  it('never call a row different only because it changes all the time', async () => {
    await postgres.sql(
      `CREATE TABLE hot (id int4 PRIMARY KEY, n int8, ok bool); INSERT INTO hot SELECT i, 0, false FROM generate_series(1, 3) i`,
    )
    const hot = await pipeline('hot', ['public.hot'])
    const run = await hot.start()
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    let isOver = false
    // One row counts, one goes back and forth, one comes and goes.
    const changing = (async () => {
      for (let n = 1; !isOver; n++)
        await client.query(
          `UPDATE hot SET n = ${n} WHERE id = 1; UPDATE hot SET ok = NOT ok WHERE id = 2; ${n % 2 === 0 ? 'INSERT INTO hot VALUES (3, 0, false)' : 'DELETE FROM hot WHERE id = 3'}`,
        )
    })()
    try {
      for (let round = 0; round < 4; round++) {
        const table = reportOf(await hot.verify(), 'hot')
        expect(table).toMatchObject({ missing: 0, extra: 0, different: 0, problems: [] })
      }
    } finally {
      isOver = true
      await changing
      await client.end()
    }
    expect(await hot.verify()).toMatchObject({ equal: true })
    expect(run.child.exitCode, run.stderr()).toBe(null)
  })

  it('write rows again beside the running pipeline without undoing what it writes meanwhile', async () => {
    await postgres.sql(
      `CREATE TABLE beside (id int4 PRIMARY KEY, v text); INSERT INTO beside VALUES (1, 'one'), (2, 'two'), (3, 'three')`,
    )
    const beside = await pipeline('beside', ['public.beside'])
    await beside.start()
    expect(await beside.verify()).toMatchObject({ equal: true, running: true })
    await clickhouse.command(`ALTER TABLE beside UPDATE v = 'wrong' WHERE true SETTINGS mutations_sync = 2`)
    const [lake] = beside.definition.sinks
    let writes = 0
    const create = () => {
      const sink = lake!.create()
      const write = sink.writeBatch.bind(sink)
      // The rows that are to be written are read; the source goes on, and the pipeline with it.
      sink.writeBatch = async (batch, context) => {
        if (writes++ === 0) {
          await postgres.sql(`UPDATE beside SET v = 'newer' WHERE id = 2; DELETE FROM beside WHERE id = 3`)
          await waitFor('the pipeline has written it', async () => {
            const rows = await clickhouse.query<{ id: number; v: string }>(
              'SELECT * FROM beside__current ORDER BY id',
            )
            return rows.length === 2 && rows[1]!.v === 'newer'
          })
        }
        return write(batch, context)
      }
      return sink
    }
    const definition = { ...beside.definition, sinks: [{ ...lake!, create }] }
    expect(await repairPipeline(definition, { log })).toMatchObject({
      equal: true,
      running: true,
      tables: [{ repaired: 3 }],
    })
    expect(writes).toBe(1)
    expect(await clickhouse.query('SELECT * FROM beside__current ORDER BY id')).toEqual([
      { id: 1, v: 'one' },
      { id: 2, v: 'newer' },
    ])
  })

  it('repair what a stopped pipeline left, and the pipeline goes on from there', async () => {
    await postgres.sql(
      `CREATE TABLE resting (id int4 PRIMARY KEY, v text); INSERT INTO resting SELECT i, 'v' || i FROM generate_series(1, 100) i`,
    )
    const resting = await pipeline('resting', ['public.resting'])
    await resting.once()
    await postgres.sql(
      `UPDATE resting SET v = 'later' WHERE id < 10; DELETE FROM resting WHERE id = 50; INSERT INTO resting VALUES (200, 'new')`,
    )
    expect(reportOf(await resting.verify(), 'resting')).toMatchObject({ different: 9, extra: 1, missing: 1 })
    expect(await resting.repair()).toMatchObject({ equal: true, running: false })
    await postgres.sql(`UPDATE resting SET v = 'last' WHERE id = 5; INSERT INTO resting VALUES (50, 'back')`)
    await resting.start()
    expect(await resting.verify({ timeoutMs: 30_000 })).toMatchObject({ rows: 101 })
    await waitFor('the pipeline has come up', async () => (await resting.verify()).equal)
  })

  it('report a table and a column that ClickHouse does not have, and a table of somebody else', async () => {
    await postgres.sql(`
      CREATE TABLE gone (id int4 PRIMARY KEY); CREATE TABLE short (id int4 PRIMARY KEY, v text); CREATE TABLE foreign_one (id int4 PRIMARY KEY)`)
    const broken = await pipeline('broken', ['public.gone', 'public.short', 'public.foreign_one'])
    await broken.once()
    const { database } = clickhouse
    await clickhouse.command('DROP TABLE gone')
    await clickhouse.command('DROP VIEW short__current')
    await clickhouse.command('ALTER TABLE short DROP COLUMN v')
    await clickhouse.command(`ALTER TABLE foreign_one MODIFY COMMENT 'mine'`)
    const report = await broken.verify()
    expect(report.equal).toBe(false)
    expect(Object.fromEntries(report.tables.map(({ table, problems }) => [table, problems]))).toEqual({
      'public.foreign_one': [`the table ${database}.foreign_one was not made by Sluice`],
      'public.gone': [`the table ${database}.gone does not exist`],
      'public.short': [`column "v" is missing in ${database}.short`],
    })
    expect(await broken.repair()).toMatchObject({ equal: false })
  })
})

describe('the command line', () => {
  const SECRETS = /hidden|4711|\+00/

  async function sluice(
    ...args: readonly string[]
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const run = startCli(args)
    const { code } = await run.done
    const text = run.stdout() + run.stderr()
    expect(text).not.toContain(new URL(postgres.url).password)
    return { code, stdout: run.stdout(), stderr: run.stderr() }
  }

  it('compares and repairs, with exit codes, and shows values only when asked to', async () => {
    await postgres.sql(`
      CREATE TABLE cli_a (id int8 PRIMARY KEY, note text, at timestamptz);
      INSERT INTO cli_a SELECT 4711000 + i, 'hidden ' || i, timestamptz '2024-01-01' + i * interval '1 s' FROM generate_series(1, 50) i;
      CREATE TABLE cli_b (id int4 PRIMARY KEY); INSERT INTO cli_b VALUES (1)`)
    const cli = await pipeline('cli', ['public.cli_*'])
    await cli.once()
    const equal = await sluice('verify', cli.config)
    expect(equal).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^equal: 51 rows in 2 tables compared in \d+\.\d s\n$/),
    })
    expect(equal.stderr).toContain('nobody runs this pipeline')

    await plantInto('cli_a')
    const differs = await sluice('verify', cli.config)
    expect(differs.code).toBe(4)
    expect(differs.stdout).toMatch(/public\.cli_a +50 +1 +1 +2 +0 +note, at\n/)
    expect(differs.stdout).toMatch(/not equal: 4 rows differ in 1 of 2 tables/)
    expect(differs.stdout + differs.stderr).not.toMatch(SECRETS)

    const json = await sluice('verify', cli.config, '--json', '--tables', 'public.cli_a,!public.cli_b')
    expect(json.code).toBe(4)
    expect(json.stdout).not.toMatch(SECRETS)
    expect(JSON.parse(json.stdout)).toMatchObject({
      equal: false,
      sink: 'lake',
      tables: [{ table: 'public.cli_a', missing: 1 }],
    })
    expect(json.stdout.trim().split('\n')).toHaveLength(1)

    const shown = await sluice('verify', cli.config, '--show-values')
    expect(shown.stdout).toContain(
      `public.cli_a: different id="4711020"; note: source "hidden 20", sink "changed"`,
    )

    const repaired = await sluice('repair', cli.config)
    expect(repaired.code).toBe(0)
    expect(repaired.stdout).toMatch(/^equal: 51 rows/m)
    expect(repaired.stdout + repaired.stderr).not.toMatch(SECRETS)
    expect(await sluice('verify', cli.config, '--sample', '50%')).toMatchObject({ code: 0 })
  })

  it.each([
    [
      ['--tables', 'public.cly_a'],
      2,
      'no table of the pipeline is called public.cly_a, did you mean public.cli_a?',
    ],
    [['--sink', 'lak'], 2, 'the pipeline has no sink "lak", did you mean "lake"?'],
    [['--sample', 'half'], 2, '--sample must be a part of the whole'],
    [['--smple', '5%'], 2, 'unknown option --smple, did you mean --sample?'],
  ])('answers %j with exit code %i', async (options, code, message) => {
    const { config } = await pipeline('options', ['public.cli_*'])
    const answer = await sluice('verify', config, ...options)
    expect(answer).toMatchObject({ code, stdout: '' })
    expect(answer.stderr).toContain(message)
    expect(answer.stderr).toContain('  fix: ')
  })

  it('says so when a server is not there, refuses the password, or the pipeline does not keep up', async () => {
    const own = await pipeline('servers', ['public.cli_*'])
    const written = readFileSync(own.config, 'utf8')
    let files = 0
    const changed = (from: string | RegExp, to: string): string => {
      const file = join(folder, `changed-${++files}.yaml`)
      writeFileSync(file, written.replace(from, to))
      return file
    }
    const gone = new URL(postgres.url)
    gone.port = '1'
    const refused = new URL(postgres.url)
    refused.password = 'a wrong secret'
    for (const [file, code, error] of [
      [changed(postgres.url, gone.href), 1, 'postgres/unreachable'],
      [changed(clickhouse.url, 'http://127.0.0.1:1'), 1, 'clickhouse/connection'],
      [changed(postgres.url, refused.href), 3, 'postgres/auth'],
    ] as const) {
      const answer = await sluice('verify', file, '--timeout', '1s')
      expect(answer, error).toMatchObject({ code, stderr: expect.stringContaining(`code: ${error}`) })
      expect(answer.stderr).not.toContain('a wrong secret')
    }
    // Somebody runs it, and it has no position yet.
    const lease = await own.definition.store.acquire(own.definition.name, thisProcess())
    for (const command of ['verify', 'repair']) {
      const answer = await sluice(command, own.config, '--timeout', '1s', '--json')
      expect(answer.code).toBe(1)
      expect(answer.stderr).toContain('has not written everything up to position')
      expect(JSON.parse(answer.stdout)).toMatchObject({ event: 'error', code: 'verify/behind' })
    }
    await own.definition.store.release(lease)
  })

  async function plantInto(name: string): Promise<void> {
    await clickhouse.command(
      `INSERT INTO ${name} SELECT * REPLACE (id + 1000 AS id) FROM ${name} WHERE note = 'hidden 40'`,
    )
    await clickhouse.command(`ALTER TABLE ${name} DELETE WHERE id = 4711010, UPDATE note = 'changed' WHERE id = 4711020,
      UPDATE note = 'changed', at = addMicroseconds(at, 1) WHERE id = 4711030 SETTINGS mutations_sync = 2`)
  }
})
