import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import type { SourcePosition } from '../../src/core/position.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { type Mirror } from '../support/mirror.ts'
import {
  copyAndStop,
  dropSlots,
  readRows,
  resume,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

/** Schema changes (PG-9): applied after the last row that precedes them, before the first that needs them (law L9). */

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgschema')
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

async function copied(
  table: string,
  definition: string,
  rows: string,
): Promise<{ mirror: Mirror; position: SourcePosition }> {
  await postgres.sql(`CREATE TABLE ${table} (${definition}); INSERT INTO ${table} VALUES ${rows}`)
  return copyAndStop(options(table))
}

async function expectEqual(mirror: Mirror, table: string): Promise<void> {
  expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
}

interface Case {
  readonly name: string
  readonly ddl: string
  /** Schema changes that are announced, when the stream tells them one by one. */
  readonly changes?: readonly string[]
  /** The table is copied once more. */
  readonly again: boolean
}

const CASES: readonly Case[] = [
  { name: 'add', ddl: 'ADD COLUMN x int', changes: ['add-column'], again: false },
  {
    name: 'add_constant',
    ddl: `ADD COLUMN x text NOT NULL DEFAULT 'a,"b" \\ {c}'`,
    changes: ['add-column'],
    again: false,
  },
  {
    name: 'add_array_constant',
    ddl: `ADD COLUMN x int[] DEFAULT '{{1,2},{3,NULL}}', ADD COLUMN y text[] DEFAULT '{}'`,
    changes: ['add-column', 'add-column'],
    again: false,
  },
  {
    name: 'add_constants',
    ddl: `ADD COLUMN x bytea DEFAULT '\\x00ff', ADD COLUMN y timestamptz DEFAULT '2024-01-02 03:04:05.6+05', ADD COLUMN z money DEFAULT 1234.5`,
    again: false,
  },
  { name: 'add_volatile', ddl: 'ADD COLUMN x float8 DEFAULT random()', again: true },
  {
    name: 'add_volatile_dropped',
    ddl: 'ADD COLUMN x uuid DEFAULT gen_random_uuid(); ALTER TABLE %t ALTER x DROP DEFAULT',
    again: true,
  },
  {
    name: 'add_behind_dropped',
    ddl: 'ADD COLUMN y int; ALTER TABLE %t DROP COLUMN y; ALTER TABLE %t ADD COLUMN x int',
    again: true,
  },
  {
    name: 'add_twice',
    ddl: `ADD COLUMN x int; ALTER TABLE %t ADD COLUMN y text DEFAULT 'y'`,
    changes: ['add-column', 'add-column'],
    again: false,
  },
  { name: 'add_serial', ddl: 'ADD COLUMN x bigserial', again: true },
  { name: 'add_identity', ddl: 'ADD COLUMN x int GENERATED ALWAYS AS IDENTITY', again: true },
  { name: 'add_default_later', ddl: 'ADD COLUMN x int, ALTER x SET DEFAULT 5', again: true },
  {
    name: 'add_generated',
    ddl: 'ADD COLUMN x int GENERATED ALWAYS AS (id * 2) STORED',
    changes: [],
    again: false,
  },
  {
    name: 'add_then_drop',
    ddl: 'ADD COLUMN x int; INSERT INTO %t (id, x) VALUES (500, 1); ALTER TABLE %t DROP COLUMN x',
    again: true,
  },
  { name: 'drop_one', ddl: 'DROP COLUMN v', changes: ['drop-column'], again: false },
  { name: 'drop_and_add', ddl: 'DROP COLUMN v, ADD COLUMN v text', again: true },
  { name: 'drop_and_add_constant', ddl: `DROP COLUMN v, ADD COLUMN v text DEFAULT 'again'`, again: true },
  { name: 'rename', ddl: 'RENAME v TO renamed', changes: ['rename-column'], again: false },
  { name: 'retype_int', ddl: 'ALTER n TYPE bigint', changes: ['alter-column'], again: true },
  { name: 'retype_using', ddl: `ALTER v TYPE varchar(50) USING upper(v)`, again: true },
  { name: 'retype_same', ddl: `ALTER n TYPE int USING n * 2`, again: true },
  { name: 'retype_wider', ddl: 'ALTER w TYPE varchar(40)', changes: [], again: false },
  { name: 'retype_to_text', ddl: 'ALTER n TYPE text', changes: ['alter-column'], again: true },
  { name: 'retype_scale', ddl: 'ALTER m TYPE numeric(10,1)', changes: ['alter-column'], again: true },
]

describe.each(['while it runs', 'while it is down', 'while it is down, and again at once'] as const)(
  'ALTER TABLE %s',
  (when) => {
    it.each(CASES)('$name', async ({ name, ddl, changes, again }) => {
      const table = `${name}_${when.length}`
      const definition = `id int PRIMARY KEY, v text, n int, w varchar(20), m numeric(10,2)`
      await postgres.sql(
        `CREATE TABLE ${table} (${definition}); INSERT INTO ${table} VALUES (1, 'a', 10, 'w', 1.25), (2, NULL, NULL, NULL, NULL)`,
      )
      const write = async (id: number): Promise<void> => {
        await postgres.sql(
          `INSERT INTO ${table} (id) VALUES (${id}); UPDATE ${table} SET id = ${id + 1000} WHERE id = ${id}; INSERT INTO ${table} (id) VALUES (${id})`,
        )
      }
      const alter = (): Promise<unknown> =>
        postgres.sql(`ALTER TABLE ${table} ${ddl.replaceAll('%t', table)}`)
      await using first = await SourceRun.start(options(table), null)
      const { mirror } = first
      await first.settled()
      const before = mirror.copied.get(`public.${table}`)!
      let last = first
      if (when === 'while it runs') {
        await write(10)
        await alter()
        await write(20)
      } else {
        await write(10)
        await first.settled()
        const position = (await first.stop())!
        await write(15)
        await alter()
        if (when === 'while it is down') await write(20)
        last = await SourceRun.start(options(table), position, mirror)
      }
      await using run = last
      const columns = (
        await postgres.sql<{ name: string }>(
          `SELECT attname AS name FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
        )
      ).map((column) => column.name)
      if (again)
        await run.until('the table is copied again', () => mirror.copied.get(`public.${table}`)! > before)
      await run.until(
        'the new schema has arrived',
        () => mirror.columns(`public.${table}`).join() === columns.join(),
      )
      await write(30)
      await run.settled()
      expect(mirror.rows(`public.${table}`)).toEqual(
        await readRows(postgres.url, table, columns.map((column) => `"${column}"`).join(', ')),
      )
      expect(mirror.copied.get(`public.${table}`)! > before).toBe(again)
      const kinds = mirror.schemaChanges.map((entry) => entry.split(' ')[0])
      expect(kinds).toEqual(changes ?? kinds)
    })
  },
)

describe('columns that change places', () => {
  it.each([
    ['swap', 'RENAME a TO t; ALTER TABLE %t RENAME b TO a; ALTER TABLE %t RENAME t TO b'],
    ['shift', 'RENAME b TO c; ALTER TABLE %t RENAME a TO b'],
    ['give', 'RENAME a TO c; ALTER TABLE %t ADD COLUMN a int'],
    ['take', 'DROP COLUMN a; ALTER TABLE %t RENAME b TO a'],
  ])('%s', async (name, ddl) => {
    const table = `places_${name}`
    const { mirror, position } = await copied(
      table,
      'id int PRIMARY KEY, a int, b int',
      '(1, 10, 20), (2, 11, 21)',
    )
    await postgres.sql(
      `INSERT INTO ${table} VALUES (3, 12, 22); ALTER TABLE ${table} ${ddl.replaceAll('%t', table)}; INSERT INTO ${table} (id) VALUES (4)`,
    )
    await using run = await SourceRun.start(options(table), position, mirror)
    await run.settled()
    await run.until(
      'it is equal',
      async () =>
        JSON.stringify(mirror.rows(`public.${table}`)) ===
        JSON.stringify(await readRows(postgres.url, table)),
    )
    await postgres.sql(`UPDATE ${table} SET id = id + 10`)
    await run.settled()
    expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
  })
})

describe('constraints', () => {
  it('allows NULL with the first row that has one, as dropping NOT NULL leaves no trace in the log', async () => {
    const { mirror, position } = await copied(
      'loosened',
      'id int PRIMARY KEY, a int NOT NULL, b text NOT NULL',
      `(1, 1, 'x')`,
    )
    await postgres.sql(`ALTER TABLE loosened ALTER a DROP NOT NULL, ALTER b DROP NOT NULL;
      BEGIN; INSERT INTO loosened VALUES (2, NULL, 'y'); UPDATE loosened SET a = NULL, b = NULL WHERE id = 1; COMMIT; INSERT INTO loosened VALUES (3, NULL, NULL)`)
    await resume(options('loosened'), position, mirror)
    await expectEqual(mirror, 'loosened')
    expect(mirror.schemaChanges).toEqual(['alter-column public.loosened', 'alter-column public.loosened'])
    expect(mirror.tables.get('public.loosened')!.schema.columns.map(({ nullable }) => nullable)).toEqual([
      false,
      true,
      true,
    ])
    // Known from now on, also after a restart.
    expect(mirror.history.slice(0, 3)).toEqual([
      'begin',
      'alter-column public.loosened',
      'insert public.loosened {"id":"2","a":null,"b":"y"}',
    ])
  })

  it('copies the table again when its key changes', async () => {
    const { mirror, position } = await copied(
      'rekeyed',
      'id int PRIMARY KEY, a int NOT NULL',
      '(1, 10), (2, 20)',
    )
    await postgres.sql(
      `ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey, ADD PRIMARY KEY (a); INSERT INTO rekeyed VALUES (1, 30)`,
    )
    await using run = await SourceRun.start(options('rekeyed'), position, mirror)
    await run.until('it is copied again', () => mirror.copied.get('public.rekeyed') === 5)
    await postgres.sql('UPDATE rekeyed SET id = 7 WHERE a = 30')
    await run.settled()
    await expectEqual(mirror, 'rekeyed')
    expect(mirror.tables.get('public.rekeyed')!.schema.key).toEqual([1])
  })

  it('notices a change of REPLICA IDENTITY and needs nothing for it', async () => {
    const { mirror, position } = await copied('identity', 'id int PRIMARY KEY, a int', '(1, 10), (2, 20)')
    await postgres.sql(
      `UPDATE identity SET a = 11 WHERE id = 1; ALTER TABLE identity REPLICA IDENTITY FULL; UPDATE identity SET a = 12 WHERE id = 1; UPDATE identity SET id = 3 WHERE id = 2`,
    )
    await resume(options('identity'), position, mirror)
    await expectEqual(mirror, 'identity')
    expect(mirror.schemaChanges).toEqual([])
  })
})

describe('a table that goes away', () => {
  /** A source over all tables of that beginning, with one that stays. */
  async function tablesOf(name: string, ...tables: readonly string[]) {
    for (const table of [...tables, 'stays'])
      await postgres.sql(`CREATE TABLE ${name}_${table} (id int PRIMARY KEY, v text);
        INSERT INTO ${name}_${table} VALUES (1, 'a')`)
    const all = options(name, { tables: [`public.${name}_*`] })
    return { all, ...(await copyAndStop(all)) }
  }

  it('is told after its last row when it is dropped, and not again', async () => {
    const { all, mirror, position } = await tablesOf('dropped', 'goes')
    await using run = await SourceRun.start(all, position, mirror)
    await postgres.sql(`INSERT INTO dropped_stays VALUES (7, 'x')`)
    await run.until('it streams', () => mirror.rows('public.dropped_stays').length === 2)
    await postgres.sql(`INSERT INTO dropped_goes VALUES (2, 'b'); DROP TABLE dropped_goes`)
    await run.until('it is told', () => mirror.schemaChanges.length > 0)
    expect(mirror.history.slice(-4)).toEqual([
      'begin',
      'insert public.dropped_goes {"id":"2","v":"b"}',
      'commit',
      'drop-table public.dropped_goes',
    ])
    await postgres.sql(`INSERT INTO dropped_stays VALUES (2, 'b')`)
    await run.settled()
    const later = (await run.stop())!
    await resume(all, later, mirror)
    expect(mirror.schemaChanges).toEqual(['drop-table public.dropped_goes'])
    expect([...mirror.tables.keys()]).toEqual(['public.dropped_stays'])
  })

  it('is told at the start when it was dropped meanwhile, as often as its position is used; no row of it comes', async () => {
    const { all, mirror, position } = await tablesOf('meanwhile', 'goes')
    await postgres.sql(`INSERT INTO meanwhile_goes VALUES (2, 'b'); DROP TABLE meanwhile_goes;
      INSERT INTO meanwhile_stays VALUES (2, 'b')`)
    for (let times = 0; times < 2; times++) {
      mirror.schemaChanges.length = 0
      await resume(all, position, mirror)
      expect(mirror.schemaChanges).toEqual(['drop-table public.meanwhile_goes'])
    }
    expect(mirror.history.filter((entry) => entry.startsWith('insert public.meanwhile_goes'))).toEqual([])
    expect([...mirror.tables.keys()]).toEqual(['public.meanwhile_stays'])
    await expectEqual(mirror, 'meanwhile_stays')
  })

  it.each([
    { name: 'moved', how: 'written to in the transaction that renames it', writes: true },
    { name: 'shifted', how: 'when nobody writes to it', writes: false },
  ])('is told when it has another name, under which it is copied: $how', async ({ name, writes }) => {
    const { all, mirror, position } = await tablesOf(name, 'goes')
    await using run = await SourceRun.start(all, position, mirror)
    await run.settled()
    await postgres.sql(`BEGIN; INSERT INTO ${name}_goes VALUES (2, 'b'); ALTER TABLE ${name}_goes RENAME TO ${name}_comes;
      ${writes ? `INSERT INTO ${name}_comes VALUES (3, 'c');` : ''} COMMIT`)
    await run.until('it is copied', () => mirror.rows(`public.${name}_comes`).length === (writes ? 3 : 2))
    await run.until('the old name is gone', () => !mirror.tables.has(`public.${name}_goes`))
    expect(mirror.schemaChanges).toEqual([`drop-table public.${name}_goes`])
    await run.settled()
    await expectEqual(mirror, `${name}_comes`)
  })

  it('is told when two have changed their names, and both are copied again', async () => {
    const { all, mirror, position } = await tablesOf('swapped', 'one', 'two')
    await using run = await SourceRun.start(all, position, mirror)
    await run.settled()
    await postgres.sql(`BEGIN; ALTER TABLE swapped_one RENAME TO swapped_aside; ALTER TABLE swapped_two RENAME TO swapped_one;
      ALTER TABLE swapped_aside RENAME TO swapped_two; COMMIT;
      UPDATE swapped_one SET v = 'was two'; UPDATE swapped_two SET v = 'was one'`)
    for (const [table, v] of [
      ['one', 'was two'],
      ['two', 'was one'],
    ] as const)
      await run.until('the rows are there', () => mirror.rows(`public.swapped_${table}`).join().includes(v))
    expect(mirror.schemaChanges.toSorted()).toEqual([
      'drop-table public.swapped_one',
      'drop-table public.swapped_two',
    ])
    await run.settled()
    await expectEqual(mirror, 'swapped_one')
    await expectEqual(mirror, 'swapped_two')
  })

  it('is told when it is selected no longer', async () => {
    const { all, mirror, position } = await tablesOf('unwanted', 'goes')
    const less = { ...all, tables: ['public.unwanted_*', '!public.unwanted_goes'] }
    await using run = await SourceRun.start(less, position, mirror)
    await run.until('it is told', () => mirror.schemaChanges.length > 0)
    expect(mirror.schemaChanges).toEqual(['drop-table public.unwanted_goes'])
  })

  it('is told and copied when another comes under its name, in the stream and at a start', async () => {
    const { all, mirror, position } = await tablesOf('again', 'running', 'down')
    const makeAgain = (table: string): string =>
      `DROP TABLE ${table}; CREATE TABLE ${table} (v text, id text PRIMARY KEY); INSERT INTO ${table} VALUES ('x', 'y');
       ALTER PUBLICATION sluice_${all.pipeline} ADD TABLE ${table}; INSERT INTO ${table} VALUES ('x', 'z')`
    const run = await SourceRun.start(all, position, mirror)
    await run.settled()
    await postgres.sql(makeAgain('again_running'))
    await run.until('it is copied', () => mirror.rows('public.again_running').length === 2)
    await run.settled()
    const later = (await run.stop())!
    await postgres.sql(makeAgain('again_down'))
    await resume(all, later, mirror)
    expect(mirror.schemaChanges).toEqual(['drop-table public.again_running', 'drop-table public.again_down'])
    await expectEqual(mirror, 'again_running')
    await expectEqual(mirror, 'again_down')
  })
})

describe('changes under load (PG-9)', () => {
  it('gives an equal table after a dozen of them, with a writer at work and restarts in between', async () => {
    await postgres.sql(
      `CREATE TABLE loaded (id serial PRIMARY KEY, v text); INSERT INTO loaded (v) SELECT 'x' FROM generate_series(1, 500)`,
    )
    const stop = new AbortController()
    const writer = (async () => {
      const client = new pg.Client(postgres.url)
      client.on('error', () => {})
      await client.connect()
      while (!stop.signal.aborted) {
        await client.query(
          `INSERT INTO loaded DEFAULT VALUES; UPDATE loaded SET id = -id WHERE id IN (SELECT id FROM loaded ORDER BY random() LIMIT 2)`,
        )
      }
      await client.end()
    })()
    const all = options('loaded')
    let run = await SourceRun.start(all, null)
    const { mirror } = run
    const steps = [
      'ADD COLUMN a int DEFAULT 1',
      'ADD COLUMN b float8 DEFAULT random()',
      'RENAME v TO w',
      'DROP COLUMN a',
      `ADD COLUMN a text DEFAULT 'n'`,
      'ALTER a TYPE varchar(10)',
      'DROP COLUMN b, ADD COLUMN b int',
      'RENAME w TO v',
      'ALTER id TYPE bigint',
      `ADD COLUMN c int[] DEFAULT '{1}'`,
      'DROP COLUMN a',
    ]
    for (const [index, step] of steps.entries()) {
      const length = mirror.history.length
      await postgres.sql(`ALTER TABLE loaded ${step}`)
      await run.until('rows come', () => mirror.history.length > length + 20)
      if (index % 3 !== 2) continue
      const position = await run.stop()
      run = await SourceRun.start(all, position, mirror)
    }
    stop.abort()
    await writer
    await run.settled()
    await run.until(
      'it is equal',
      async () =>
        JSON.stringify(mirror.rows('public.loaded')) ===
        JSON.stringify(await readRows(postgres.url, 'loaded')),
    )
    await run.stop()
    expect(mirror.rows('public.loaded')).toEqual(await readRows(postgres.url, 'loaded'))
  })
})
