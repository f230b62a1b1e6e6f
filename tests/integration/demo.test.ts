import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { compareTable, type TableVerdict } from '../../src/cli/demo/compare.ts'
import { readZeroTables } from '../../src/cli/demo/zero-columns.ts'
import { type ClientRow, compareWithClient } from '../../src/cli/demo/zero-compare.ts'
import { testClickHouse, type TestClickHouse } from '../support/clickhouse.ts'
import { testPostgres, type TestPostgres } from '../support/postgres.ts'
import { processesIn } from '../support/process-tree.ts'
import { waitFor } from '../support/wait-for.ts'

const small = ['--seconds', '4', '--rows', '5000', '--json']

/** The temporary folder of all demos here. */
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-it-'))
  // As root, the Postgres of the demo runs as another user.
  chmodSync(folder, 0o711)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('sluice demo', () => {
  it('replicates under load, survives a kill, finds both sides equal and leaves nothing behind', async () => {
    const demo = startDemo(...small)
    expect(await demo.ended).toBe(0)
    const result = JSON.parse(demo.stdout().trimEnd().split('\n').at(-1)!) as Record<string, unknown>
    expect(result).toEqual({
      rowsCopied: expect.toSatisfy((rows: number) => rows >= 5000),
      changes: expect.toSatisfy((changes: number) => changes > 1000),
      changesPerSecond: expect.toSatisfy((rate: number) => rate > 0),
      lagMs: { p50: expect.any(Number), p99: expect.any(Number) },
      kills: 1,
      tables: expect.arrayContaining([{ table: 'public.documents', rows: expect.any(Number), equal: true }]),
      equal: true,
    })
    expect(demo.stderr()).toMatch(/Killed the replicating process \(SIGKILL, pid \d+\)/)
    expect(demo.stderr()).toMatch(/EQUAL: all [\d,]+ rows of 8 tables/)
    expectNothingLeft()
  })

  it('finds a row that the sink has lost, and ends with exit code 4', async () => {
    const demo = startDemo(...small)
    await demo.says(/Started it again/)
    const port = /ClickHouse +\S+ +127\.0\.0\.1:(\d+)/.exec(demo.stderr())![1]!
    // It may have ended already.
    const ask = (query: string): Promise<string> =>
      fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: query }).then(
        (answer) => answer.text(),
        () => '',
      )
    let ended: number | null | undefined
    void demo.ended.then((code) => (ended = code))
    // The load never touches this table. Whenever the row is there: a process that was killed before its first checkpoint
    // copies the table again.
    const row = `FROM shop.currencies WHERE code = 'EUR'`
    await waitFor(
      'the demo ends',
      async () => {
        if ((await ask(`SELECT count() ${row}`)).trim() === '1') await ask(`DELETE ${row}`)
        return ended !== undefined
      },
      60_000,
    )
    expect(ended).toBe(4)
    const result = JSON.parse(demo.stdout()) as {
      readonly equal: boolean
      readonly tables: readonly object[]
    }
    expect(result.equal).toBe(false)
    expect(result.tables).toContainEqual({ table: 'public.currencies', rows: 4, equal: false })
    expect(demo.stderr()).toContain('rows: 1 missing in ClickHouse\n    missing: code=EUR\n')
    expectNothingLeft()
  })

  it.each([
    ['SIGINT', /every change follows/, 130],
    ['SIGTERM', /Starting a Postgres/, 143],
  ] as const)('leaves nothing behind after %s when it has said %s', async (signal, words, code) => {
    const demo = startDemo(...small)
    await demo.says(words)
    demo.child.kill(signal)
    expect(await demo.ended).toBe(code)
    expect(demo.stdout()).toBe('')
    expectNothingLeft()
  })

  it.each([
    ['chdb', 'clickhouse', /The ClickHouse library is not installed for .*\n {2}fix: Install it with `npm/],
    [
      '@rocicorp/zero',
      'zero',
      /Rocicorp Zero is not installed.\n {2}fix: Install it with `npm install @roci/,
    ],
  ])('ends with exit code 3 when %s is missing', async (missing, sink, message) => {
    const hook = `import { registerHooks } from 'node:module'
      registerHooks({ resolve(name, context, next) {
        if (name.startsWith('${missing}')) throw new Error('not here')
        return next(name, context)
      } })`
    const demo = startDemo(...small, '--sink', sink, {
      nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(hook)}`],
    })
    expect(await demo.ended).toBe(3)
    expect(demo.stderr()).toMatch(message)
    expectNothingLeft()
  })

  it.each([
    [['--second', '5'], 'unknown option --second, did you mean --seconds?'],
    [['--rows', 'many'], '--rows must be a whole number from 1000 to 100000000'],
    [['--rows'], '--rows needs a value'],
    [['--keep=1'], '--keep takes no value'],
    [['--sink', 'kafka'], '--sink must be clickhouse or zero'],
    [['--sink', 'zero', '--rows', '50001'], '--rows must be a whole number from 1000 to 50000'],
    [['fast'], 'demo does not take "fast"'],
  ])('answers %j with exit code 2 and what is right', async (args, message) => {
    const demo = startDemo(...args)
    expect(await demo.ended).toBe(2)
    expect(demo.stderr().split('\n')[0]).toBe(`error: ${message}`)
  })

  it('has help', async () => {
    const demo = startDemo('--help')
    expect(await demo.ended).toBe(0)
    expect(demo.stdout()).toMatch(/--seconds <n> .*\n.*--rows <n>/)
  })
})

describe('sluice demo --sink zero', () => {
  it('shows a Zero client that sees every row and change, through a kill', async () => {
    const demo = startDemo(...small, '--sink', 'zero')
    expect(await demo.ended).toBe(0)
    const result = JSON.parse(demo.stdout().trimEnd().split('\n').at(-1)!) as Record<string, unknown>
    expect(result).toEqual({
      rowsCopied: expect.toSatisfy((rows: number) => rows >= 5000),
      changes: expect.toSatisfy((changes: number) => changes > 500),
      changesPerSecond: expect.toSatisfy((rate: number) => rate > 0),
      lagMs: { p50: expect.any(Number), p99: expect.any(Number) },
      kills: 1,
      tables: expect.arrayContaining([{ table: 'public.documents', rows: expect.any(Number), equal: true }]),
      equal: true,
    })
    expect(demo.stderr()).toMatch(/The Zero client has all of them too: [\d,]+ rows/)
    expect(demo.stderr()).toMatch(/A new Zero client, which knows the new column, has all of them/)
    expect(demo.stderr()).toMatch(/Killed the replicating process \(SIGKILL, pid \d+\)/)
    expect(demo.stderr()).toMatch(/ +Postgres +client +updates.*\n +customers +[\d,]+ +[\d,]+ /)
    expect(demo.stderr()).toMatch(/EQUAL: all [\d,]+ rows of 8 tables/)
    expectNothingLeft()
  })

  it.each([
    ['SIGTERM', /Starting a zero-cache/, 143],
    ['SIGINT', /The Zero client has all of them/, 130],
  ] as const)('leaves nothing behind after %s when it has said %s', async (signal, words, code) => {
    const demo = startDemo(...small, '--sink', 'zero')
    await demo.says(words)
    demo.child.kill(signal)
    expect(await demo.ended).toBe(code)
    expectNothingLeft()
  })

  it('ends zero-cache also when it is killed itself', async () => {
    const demo = startDemo(...small, '--sink', 'zero')
    await demo.says(/zero-cache \(pid \d+\) has all rows/)
    demo.child.kill('SIGKILL')
    await demo.ended
    await waitFor('all processes have ended', () => processesIn(folder).length === 0, 30_000)
    expect(processesIn(folder)).toEqual([])
    for (const name of readdirSync(folder).filter((one) => one.startsWith('sluice-demo')))
      rmSync(join(folder, name), { recursive: true })
  })
})

describe('the comparison of a table with the rows of a Zero client', () => {
  let postgres: TestPostgres
  let source: pg.Client
  beforeAll(async () => {
    postgres = await testPostgres('compare_zero')
    source = new pg.Client({ connectionString: postgres.url })
    await source.connect()
  })
  afterAll(async () => {
    await source?.end()
    await postgres?.[Symbol.asyncDispose]()
  })

  const compare = async (table: string, rows: readonly ClientRow[]): Promise<TableVerdict> =>
    compareWithClient(source, (await readZeroTables(source, [table]))[0]!, rows)

  it('takes the same values of every type for equal, and finds each that is not', async () => {
    const kinds: readonly (readonly [string, string, unknown, unknown])[] = [
      ['boolean', 'true', true, false],
      ['smallint', '-32768', -32768, '-32768'],
      ['bigint', '9007199254740991', 9007199254740991, 9007199254740990],
      ['numeric(12,2)', '5.00', 5, '5.00'],
      [
        'numeric',
        '123456789012345678901234567890.5',
        '123456789012345678901234567890.5',
        1.2345678901234568e29,
      ],
      ['real', '0.1', 0.1, 0.10000000149011612],
      ['double precision', '1e-300', 1e-300, 0],
      ['text', `'zoë "x" \\'`, 'zoë "x" \\', ''],
      ['uuid', `'61f0c404-5cb3-11e7-907b-a6006ad3dba0'`, '61f0c404-5cb3-11e7-907b-a6006ad3dba0', ''],
      ['bytea', `'\\x00ff'`, 'AP8=', 'AP9='],
      ['date', `'1950-01-02'`, Date.UTC(1950, 0, 2), '1950-01-02'],
      ['time', `'08:00:00.5'`, 28_800_500, 28_800_000],
      ['timestamp(3)', `'2024-01-02 03:04:05.678'`, Date.UTC(2024, 0, 2, 3, 4, 5, 678), 0],
      ['timestamptz', `'2023-11-14 22:13:20.123457Z'`, 1700000000123.457, 1700000000123],
      ['interval', `'1 year 2 months 3.5 seconds'`, 'P1Y2MT3.5S', '1 year'],
      [
        'jsonb',
        `'{"b": [1, null], "a": {"x": 1.0}}'`,
        { a: { x: 1 }, b: [1, null] },
        { a: { x: 1 }, b: [1] },
      ],
      ['text[]', `ARRAY['a,b', NULL, '']`, ['a,b', null, ''], ['a,b', 'null', '']],
      ['smallint[]', `'{}'`, [], null],
      ['daterange', `'[2024-01-01,2024-02-01)'`, '[2024-01-01,2024-02-01)', null],
      ['varchar(8)', 'NULL', null, undefined],
    ]
    const columns = kinds.map(([type], at) => `c${at} ${type}`).join(', ')
    await postgres.sql(`CREATE TABLE kinds (id int PRIMARY KEY, ${columns});
      INSERT INTO kinds VALUES (1, ${kinds.map(([, value]) => value).join(', ')}), (2${', NULL'.repeat(kinds.length)})`)
    const right = Object.fromEntries(kinds.map(([, , value], at) => [`c${at}`, value]))
    const nulls = Object.fromEntries(kinds.map((_, at) => [`c${at}`, null]))
    const second = { id: 2, ...nulls }
    expect(await compare('kinds', [{ id: 1, ...right }, second])).toMatchObject({ equal: true, rows: 2 })
    for (const [at, [, , , wrong]] of kinds.entries()) {
      expect(await compare('kinds', [{ id: 1, ...right, [`c${at}`]: wrong }, second])).toMatchObject({
        equal: false,
        different: 1,
        examples: [{ kind: 'different', key: 'id=1', columns: [`c${at}`] }],
      })
    }
  })

  it('finds every row that is missing, unexpected or there twice', async () => {
    await postgres.sql(`CREATE TABLE pairs (k text, n int, PRIMARY KEY (n, k));
      INSERT INTO pairs SELECT 'key ' || i % 7, i FROM generate_series(1, 12000) i`)
    const rows = Array.from({ length: 12_000 }, (_, at) => ({ k: `key ${(at + 1) % 7}`, n: at + 1 }))
    expect(await compare('pairs', rows)).toMatchObject({ equal: true, rows: 12_000 })
    expect(await compare('pairs', [...rows.slice(1), rows[5]!, { k: 'x', n: 0 }])).toEqual({
      table: 'public.pairs',
      equal: false,
      rows: 12_000,
      missing: 1,
      unexpected: 2,
      different: 0,
      columns: [],
      examples: [
        { kind: 'unexpected', key: 'n=6, k=key 6', columns: [] },
        { kind: 'missing', key: 'n=1, k=key 1', columns: [] },
        { kind: 'unexpected', key: 'n=0, k=x', columns: [] },
      ],
    })
  })
})

describe('the comparison of two tables', () => {
  let postgres: TestPostgres
  let clickhouse: TestClickHouse
  let source: pg.Client
  beforeAll(async () => {
    postgres = await testPostgres('compare')
    clickhouse = await testClickHouse('compare')
    source = new pg.Client({ connectionString: postgres.url })
    await source.connect()
  })
  afterAll(async () => {
    await source?.end()
    await clickhouse?.[Symbol.asyncDispose]()
    await postgres?.[Symbol.asyncDispose]()
  })

  const compare = (table: string): Promise<TableVerdict> =>
    compareTable(source, clickhouse.client, {
      schema: 'public',
      table,
      database: clickhouse.database,
      view: table,
    })

  it('takes the same values of every type for equal', async () => {
    await postgres.sql(`
      CREATE TYPE colour AS ENUM ('red', 'blue');
      CREATE TABLE typed (
        id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, n numeric(10,3), n0 numeric, f4 real,
        f8 double precision, t text, u uuid, by bytea, d date, ts timestamp(3), tz timestamptz, ti time, iv interval,
        j jsonb, e colour, a int[] NOT NULL, ta text[] NOT NULL, na int[]
      );
      INSERT INTO typed VALUES
        (1, true, -32768, 2147483647, -0.500, 1.50, -1.5, 'NaN', 'zoë "x"', '61f0c404-5cb3-11e7-907b-a6006ad3dba0',
         '\\x00ff', '1950-01-02', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05.678901+01', '08:09:10.5', '1 year 3 days',
         '{"a": [1, null]}', 'blue', '{1,NULL,-3}', ARRAY['a,b', NULL, ''], '{1,2}'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, '-0', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '{}', NULL)`)
    await clickhouse.command(`
      CREATE TABLE typed (
        id Int64, b Nullable(Bool), i2 Nullable(Int16), i4 Nullable(Int32), n Nullable(Decimal(10, 3)),
        n0 Nullable(String), f4 Nullable(Float32), f8 Nullable(Float64), t Nullable(String), u Nullable(UUID),
        by Nullable(String), d Nullable(Date32), ts Nullable(DateTime64(3, 'UTC')), tz Nullable(DateTime64(6, 'UTC')),
        ti Nullable(String), iv Nullable(String), j Nullable(String), e LowCardinality(Nullable(String)),
        a Array(Nullable(Int32)), ta Array(Nullable(String)), na Nullable(String)
      ) ORDER BY id`)
    await clickhouse.command(`
      INSERT INTO typed VALUES
        (1, true, -32768, 2147483647, -0.5, '1.50', -1.5, nan, 'zoë "x"', '61f0c404-5cb3-11e7-907b-a6006ad3dba0',
         unhex('00ff'), '1950-01-02', '2024-01-02 03:04:05.678', '2024-01-02 02:04:05.678901', '08:09:10.5', 'P1Y3D',
         '{"a": [1, null]}', 'blue', [1, NULL, -3], ['a,b', NULL, ''], '{1,2}'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, -0., '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, [], [], NULL)`)
    expect(await compare('typed')).toEqual({
      table: 'public.typed',
      equal: true,
      rows: 2,
      missing: 0,
      unexpected: 0,
      different: 0,
      columns: [],
      examples: [],
    })
  })

  it('finds every row that is missing, unexpected or different, and the columns that differ', async () => {
    await postgres.sql(`
      CREATE TABLE pairs (k text, n int, v text, w numeric(8,2), PRIMARY KEY (k, n));
      INSERT INTO pairs SELECT 'ключ 𝒳 ' || i % 7, i, 'v' || i, i FROM generate_series(1, 25000) i`)
    await clickhouse.command(
      'CREATE TABLE pairs (k String, n Int32, v Nullable(String), w Nullable(Decimal(8, 2))) ORDER BY n',
    )
    await clickhouse.command(
      `INSERT INTO pairs SELECT concat('ключ 𝒳 ', toString(number % 7)), number, concat('v', toString(number)), number
       FROM numbers(1, 25000)`,
    )
    expect(await compare('pairs')).toMatchObject({ equal: true, rows: 25_000 })
    await clickhouse.command('DELETE FROM pairs WHERE n = 700')
    await clickhouse.command(`INSERT INTO pairs VALUES ('z', 1, NULL, NULL)`)
    await clickhouse.command(
      `ALTER TABLE pairs UPDATE v = NULL, w = 0 WHERE n = 14 SETTINGS mutations_sync = 1`,
    )
    expect(await compare('pairs')).toEqual({
      table: 'public.pairs',
      equal: false,
      rows: 25_000,
      missing: 1,
      unexpected: 1,
      different: 1,
      columns: [],
      examples: [
        { kind: 'unexpected', key: 'k=z, n=1', columns: [] },
        { kind: 'different', key: 'k=ключ 𝒳 0, n=14', columns: ['v', 'w'] },
        { kind: 'missing', key: 'k=ключ 𝒳 0, n=700', columns: [] },
      ],
    })
  })

  it('finds a row that is there twice', async () => {
    await postgres.sql('CREATE TABLE twice (id int PRIMARY KEY); INSERT INTO twice VALUES (1), (2)')
    await clickhouse.command('CREATE TABLE twice (id Int32) ORDER BY id')
    await clickhouse.command('INSERT INTO twice VALUES (1), (1), (2)')
    expect(await compare('twice')).toMatchObject({ equal: false, unexpected: 1, missing: 0 })
  })

  it('does not take other types, columns or a missing table for equal', async () => {
    await postgres.sql('CREATE TABLE shape (id int PRIMARY KEY, price numeric(10,2), gone text)')
    await clickhouse.command('CREATE TABLE shape (id Int32, price Float64, extra String) ORDER BY id')
    expect(await compare('shape')).toMatchObject({
      equal: false,
      columns: [
        'column price is Float64 instead of Decimal(10, 2)',
        'column gone is missing',
        'column extra is not in the source',
      ],
    })
    await postgres.sql('CREATE TABLE nowhere (id int PRIMARY KEY)')
    expect(await compare('nowhere')).toMatchObject({
      equal: false,
      columns: [`ClickHouse has no ${clickhouse.database}.nowhere`],
    })
  })
})

interface Demo {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  stdout(): string
  stderr(): string
  says(words: RegExp): Promise<void>
}

function startDemo(...args: readonly (string | { readonly nodeArgs: readonly string[] })[]): Demo {
  const given = args.filter((arg) => typeof arg === 'string')
  const nodeArgs = args.flatMap((arg) => (typeof arg === 'string' ? [] : arg.nodeArgs))
  const child = spawn(process.execPath, [...nodeArgs, resolve('src/cli/main.ts'), 'demo', ...given], {
    env: { ...process.env, TMPDIR: folder },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  let isOver = false
  const ended = once(child, 'close').then(([code]) => {
    isOver = true
    return code as number | null
  })
  return {
    child,
    ended,
    stdout: () => out,
    stderr: () => err,
    says: async (words) => {
      await waitFor(`the demo says ${words}`, () => isOver || words.test(err), 100_000)
      if (!words.test(err)) throw new Error(`The demo ended early:\n${err}`)
    },
  }
}

/** No folder of a demo, and no process that works in one or has one in its arguments. */
function expectNothingLeft(): void {
  expect(readdirSync(folder).filter((name) => name.startsWith('sluice-demo'))).toEqual([])
  expect(processesIn(folder)).toEqual([])
}
