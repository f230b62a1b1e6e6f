import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ClickHouseConfig } from '../../src/connectors/sinks/clickhouse/config.ts'
import { ClickHouseReader } from '../../src/connectors/sinks/clickhouse/reader.ts'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import { versionAt } from '../../src/connectors/sources/postgres/position.ts'
import { PostgresReader } from '../../src/connectors/sources/postgres/reader.ts'
import type { KeyRange, PackedKeys, RowReader, SourceSnapshot } from '../../src/core/row-reader.ts'
import { addKey, noKeys, WHOLE_TABLE } from '../../src/core/row-reader.ts'
import { RowView } from '../../src/core/row-view.ts'
import { selectTables } from '../../src/core/selection.ts'
import { type TableSchema, tableName } from '../../src/core/table.ts'
import { packRows, type ValueRow } from '../../src/core/value-batch.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import { startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { store, transaction } from './clickhouse-fixture.ts'
import { dropSlots } from './postgres-fixture.ts'

/** What `verify` reads with: both sides must mean the same by a range and by a key. */

let postgres: TestPostgres
let clickhouse: TestClickHouse
let folder: string

beforeAll(async () => {
  postgres = await testPostgres('readers')
  clickhouse = await testClickHouse('readers')
  folder = mkdtempSync(join(tmpdir(), 'sluice-readers-'))
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Copies tables to ClickHouse, and gives readers of both sides. */
async function readers(name: string, tables: readonly string[], sink = '') {
  const file = join(folder, `${name}.yaml`)
  const pipeline = `${postgres.database}_${name}`
  writeFileSync(
    file,
    `
name: ${pipeline}
source: { type: postgres, url: '${postgres.url}' }
tables: ${JSON.stringify(tables)}
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: ${clickhouse.database} ${sink} } }
`,
  )
  const run = startCli(['run', file, '--once'])
  expect((await run.done).code, run.stderr()).toBe(0)
  const config = await loadConfig(file)
  const context = { pipeline, log: quiet, now: Date.now, run: 0, tables: selectTables(tables) }
  const options = config.sinks[0]!.options as ClickHouseConfig
  return {
    source: await PostgresReader.open(config.source.options as PostgresConfig, context, 2),
    sink: await ClickHouseReader.open(options, context),
    config: options,
    context,
  }
}

function tableOf(snapshot: SourceSnapshot, name: string): TableSchema {
  return snapshot.tables.find((table) => tableName(table) === `public.${name}`)!
}

/** The first cell of every row, as text. */
async function firstCells(
  reader: RowReader,
  table: TableSchema,
  range: KeyRange,
): Promise<readonly string[]> {
  const found: string[] = []
  await reader.scan(table, range, (rows) => {
    for (let row = 0; row < rows.rowCount; row++)
      found.push(Buffer.from(new RowView(table, rows, rows.newImage[row]!).bytes(0)).toString('latin1'))
  })
  return found.toSorted()
}

async function foundCells(
  reader: RowReader,
  table: TableSchema,
  keys: PackedKeys,
): Promise<readonly string[]> {
  const found: string[] = []
  await reader.find(table, keys, (rows) => {
    for (let row = 0; row < rows.rowCount; row++)
      found.push(Buffer.from(new RowView(table, rows, rows.newImage[row]!).bytes(0)).toString('latin1'))
  })
  return found.toSorted()
}

function keysOf(table: TableSchema, rows: readonly ValueRow[]): PackedKeys {
  const keys = noKeys()
  const packed = packRows(
    table,
    rows.map((row) => Object.fromEntries(table.columns.map(({ name }) => [name, row[name] ?? null]))),
  )
  for (let row = 0; row < packed.rowCount; row++) addKey(keys, table, packed, row)
  return keys
}

const MANY = 1500

/** Type of the key and SQL of its values: `MANY` in a row, and strange ones. */
const CUT: readonly (readonly [type: string, many: string, odd: readonly string[]])[] = [
  ['int2', 'i - 700', ['-32768', '32767']],
  ['int8', 'i * 1000003', ['-9223372036854775808', '9223372036854775807', '-1', '0']],
  ['oid', 'i', ['0', '4294967295']],
  ['date', `date '1969-01-01' + i`, [`'1900-01-01'`, `'2299-12-31'`]],
  [
    'timestamp(3)',
    `timestamp '1969-12-31 23:59:00' + i * interval '0.1 s'`,
    [`'0001-01-01'`, `'9999-12-31 23:59:59.999'`],
  ],
  ['timestamptz', `timestamptz '1969-12-31 23:59:59.9+00' + i * interval '1 us'`, [`'1900-01-01+00'`]],
  [
    'text COLLATE "C"',
    `chr(33 + i % 90) || i`,
    [`''`, `' '`, `E'\\u0001'`, `'ÿ'`, `'Ä'`, `'ä'`, `'🐘'`, `E'a\\\\''"'`],
  ],
  ['varchar(30) COLLATE "POSIX"', `chr(33 + i % 90) || i`, [`''`, `'é'`, `E'\\t'`]],
]

/** Keys whose order the servers do not share, or that are not worth it. */
const UNCUT: readonly (readonly [type: string, many: string])[] = [
  ['uuid', 'md5(i::text)::uuid'],
  ['text COLLATE "en-x-icu"', `'k' || i`],
  ['bytea', `decode(md5(i::text), 'hex')`],
  ['numeric(12,3)', 'i / 7.0'],
  ['char(10) COLLATE "C"', `i::text`],
  ['float8', 'i / 7.0'],
  ['inet', `'10.0.0.0'::inet + i`],
]

describe('key ranges', () => {
  it('hold the same rows on both sides, and every row once, for all keys that are cut', async () => {
    for (const [index, [type, many, odd]] of CUT.entries()) {
      await postgres.sql(`
        CREATE TABLE cut_${index} (id ${type} PRIMARY KEY, filler text);
        INSERT INTO cut_${index} SELECT ${many}, repeat('x', 50) FROM generate_series(1, ${MANY}) i;
        ${odd.map((value) => `INSERT INTO cut_${index} VALUES (${value}) ON CONFLICT DO NOTHING;`).join(' ')}`)
    }
    const { source, sink } = await readers('cut', ['public.cut_*'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    for (const [index, [type]] of CUT.entries()) {
      const table = tableOf(snapshot, `cut_${index}`)
      expect((await sink.describe(table)).hasRanges, type).toBe(true)
      const ranges = await snapshot.ranges(table)
      expect(ranges.length, type).toBeGreaterThan(3)
      expect([ranges[0]!.from, ranges.at(-1)!.to], type).toEqual([null, null])
      const all: string[] = []
      for (const range of ranges) {
        const rows = await firstCells(snapshot, table, range)
        expect(await firstCells(sink, table, range), `${type} ${JSON.stringify(range)}`).toEqual(rows)
        expect(rows.length, `${type} ${JSON.stringify(range)}`).toBeLessThan(MANY / 2)
        all.push(...rows)
      }
      const whole = await firstCells(snapshot, table, WHOLE_TABLE)
      expect(all.toSorted(), type).toEqual(whole)
      expect(new Set(whole).size, type).toBe(whole.length)
    }
  })

  it('are not made of keys that the servers sort in different ways', async () => {
    for (const [index, [type, many]] of UNCUT.entries()) {
      await postgres.sql(`
        CREATE TABLE uncut_${index} (id ${type} PRIMARY KEY, filler text);
        INSERT INTO uncut_${index} SELECT ${many}, repeat('x', 50) FROM generate_series(1, ${MANY}) i`)
    }
    const { source, sink } = await readers('uncut', ['public.uncut_*'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    for (const [index, [type]] of UNCUT.entries()) {
      const table = tableOf(snapshot, `uncut_${index}`)
      const { hasRanges } = await sink.describe(table)
      const ranges = hasRanges ? await snapshot.ranges(table) : [WHOLE_TABLE]
      expect(ranges, type).toEqual([WHOLE_TABLE])
    }
  })

  it('cut a partitioned table, and find its rows', async () => {
    await postgres.sql(`
      CREATE TABLE parted (id int8 PRIMARY KEY, filler text) PARTITION BY RANGE (id);
      CREATE TABLE parted_a PARTITION OF parted FOR VALUES FROM (0) TO (1000);
      CREATE TABLE parted_b PARTITION OF parted FOR VALUES FROM (1000) TO (9000);
      INSERT INTO parted SELECT i, repeat('x', 50) FROM generate_series(1, ${MANY}) i`)
    const { source, sink } = await readers('parted', ['public.parted'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'parted')
    const ranges = await snapshot.ranges(table)
    expect(ranges.length).toBeGreaterThan(3)
    const rows = await Promise.all(ranges.map((range) => firstCells(snapshot, table, range)))
    expect(rows.flat()).toHaveLength(MANY)
    const keys = keysOf(table, [{ id: 1 }, { id: 1200 }, { id: 8000 }])
    expect(await foundCells(snapshot, table, keys)).toEqual(['1', '1200'])
    await postgres.sql('TRUNCATE parted_b')
    await expect(snapshot.find(table, keys, () => {})).rejects.toMatchObject({
      code: 'postgres/table-rewritten',
      retryable: true,
    })
  })
})

describe('rows by key', () => {
  it('are found on both sides, in any number; keys that cannot be there are absent', async () => {
    await postgres.sql(`
      CREATE TABLE found (a text, b int4, v text, PRIMARY KEY (a, b));
      INSERT INTO found SELECT 'key ''\\ "' || i || E'\\t', i, 'v' FROM generate_series(1, 10000) i`)
    const { source, sink } = await readers('found', ['public.found'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'found')
    const rows = Array.from({ length: 12_000 }, (_, i) => ({ a: `key '\\ "${i}\t`, b: i }))
    const strange = [
      { a: 'a\0b', b: 1 },
      { a: `key '\\ "5\t`, b: 6 },
    ]
    const keys = keysOf(table, [...rows, ...strange])
    const expected = await firstCells(snapshot, table, WHOLE_TABLE)
    expect(await foundCells(snapshot, table, keys)).toEqual(expected)
    expect(await foundCells(sink, table, keys)).toEqual(expected)
  })

  it('are found when they are floats, moments, decimals, bytes and so on', async () => {
    const kinds: readonly (readonly [string, readonly string[]])[] = [
      ['float8', [`'NaN'`, '0.1', '1e300', `'-Infinity'`, '5e-324', '123456789.12345679']],
      ['float4', ['0.1', '16777216', '1e-45']],
      ['numeric(20,5)', ['0', '-1.5', '99999999.99999']],
      ['numeric', ['1.10', `'NaN'`, '1e30']],
      ['timestamptz', [`'2024-02-29 12:00:00.000001+00'`, `'1969-12-31 23:59:59.999999+00'`]],
      ['date', [`'1969-12-31'`]],
      ['bytea', [`'\\x00ff5c27'`, `''`]],
      ['uuid', [`'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`]],
      ['bool', ['true', 'false']],
      ['interval', [`'1 day 2 hours'`]],
      ['timetz', [`'12:00:00+05:30'`]],
    ]
    for (const [index, [type, values]] of kinds.entries())
      await postgres.sql(
        `CREATE TABLE kind_${index} (id ${type} PRIMARY KEY); INSERT INTO kind_${index} VALUES ${values.map((value) => `(${value})`).join(', ')}`,
      )
    const { source, sink } = await readers('kinds', ['public.kind_*'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    for (const [index, [type, values]] of kinds.entries()) {
      const table = tableOf(snapshot, `kind_${index}`)
      const keys = noKeys()
      await snapshot.scan(table, WHOLE_TABLE, (rows) => {
        for (let row = 0; row < rows.rowCount; row++) addKey(keys, table, rows, row)
      })
      expect(keys.rowCount).toBe(values.length)
      expect(await foundCells(snapshot, table, keys), type).toHaveLength(values.length)
      expect(await foundCells(sink, table, keys), type).toHaveLength(values.length)
      expect(new Set(await sink.stamps(table, keys)).has(''), type).toBe(false)
    }
  })

  it('have a stamp that tells of every write, deletions too', async () => {
    await postgres.sql(
      `CREATE TABLE stamped (id int4 PRIMARY KEY, v text); INSERT INTO stamped VALUES (1, 'a'), (2, 'b')`,
    )
    const { source, sink } = await readers('stamped', ['public.stamped'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'stamped')
    const keys = keysOf(table, [{ id: 1 }, { id: 2 }, { id: 3 }])
    const before = await sink.stamps(table, keys)
    expect(before[2]).toBe('')
    expect(await sink.stamps(table, keys)).toEqual(before)
    const later = BigInt(before[0]!) + 5n
    await clickhouse.command(
      `INSERT INTO stamped (id, v, _version, _deleted) VALUES (1, 'a', ${later}, 0), (2, '', ${later}, 1), (3, '', ${later}, 1)`,
    )
    expect(await sink.stamps(table, keys)).toEqual([String(later), String(later), String(later)])
    expect(await foundCells(sink, table, keys)).toEqual(['1'])
  })
})

describe('a snapshot', () => {
  it('holds no lock on a table after it was read', async () => {
    await postgres.sql(
      `CREATE TABLE unlocked (id int4 PRIMARY KEY, v text); INSERT INTO unlocked VALUES (1, 'a')`,
    )
    const { source, sink } = await readers('unlocked', ['public.unlocked'])
    await using _sink = sink
    for (const exact of [false, true]) {
      await using snapshot = await source.snapshot(exact)
      const table = tableOf(snapshot, 'unlocked')
      await snapshot.ranges(table)
      await snapshot.scan(table, WHOLE_TABLE, () => {})
      await snapshot.find(table, keysOf(table, [{ id: 1 }]), () => {})
      const locks = await postgres.sql(`SELECT 1 FROM pg_locks WHERE relation = 'unlocked'::regclass`)
      expect(locks).toEqual([])
    }
  })

  it('shows one moment to all its connections, and says where in the log that is', async () => {
    await postgres.sql(`CREATE TABLE moment (id int4 PRIMARY KEY); INSERT INTO moment VALUES (1)`)
    const { source, sink } = await readers('moment', ['public.moment'])
    await using _sink = sink
    for (const exact of [false, true]) {
      // Not flushed yet when the snapshot is taken.
      await postgres.sql(
        'SET synchronous_commit = off; DELETE FROM moment WHERE id = 2; DELETE FROM moment WHERE id = 3',
      )
      await postgres.sql('SET synchronous_commit = off; INSERT INTO moment VALUES (2)')
      await using snapshot = await source.snapshot(exact)
      const table = tableOf(snapshot, 'moment')
      await postgres.sql('INSERT INTO moment VALUES (3)')
      const [later] = await postgres.sql<{ order: string }>(
        `SELECT lpad(to_hex((pg_current_wal_insert_lsn() - '0/0')::int8), 16, '0') AS order`,
      )
      const reads = Array.from({ length: 3 }, () => firstCells(snapshot, table, WHOLE_TABLE))
      expect(await Promise.all(reads)).toEqual(Array(3).fill(['1', '2']))
      expect(snapshot.position.order < later!.order).toBe(true)
      const lsn = BigInt(`0x${snapshot.position.order.slice(0, 16)}`)
      expect(snapshot.version).toBe(exact ? versionAt(lsn) - 1n : null)
    }
  })

  it('tells apart what will pass: a table that was emptied, changed or dropped meanwhile', async () => {
    await postgres.sql(`
      CREATE TABLE emptied (id int4 PRIMARY KEY, v text); INSERT INTO emptied VALUES (1, 'a');
      CREATE TABLE changed (id int4 PRIMARY KEY, v text); CREATE TABLE dropped (id int4 PRIMARY KEY)`)
    const { source, sink } = await readers('passing', ['public.emptied', 'public.changed', 'public.dropped'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    await postgres.sql(
      'TRUNCATE emptied; INSERT INTO emptied VALUES (1); ALTER TABLE changed DROP COLUMN v; DROP TABLE dropped',
    )
    for (const [name, code] of [
      ['emptied', 'table-rewritten'],
      ['changed', 'table-changed'],
      ['dropped', 'table-changed'],
    ] as const) {
      const table = tableOf(snapshot, name)
      const find = snapshot.find(table, keysOf(table, [{ id: 1 }]), () => {})
      await expect(find, name).rejects.toMatchObject({ code: `postgres/${code}`, retryable: true })
    }
  })

  it('ends a read when the consumer throws, and can be read again', async () => {
    await postgres.sql(
      `CREATE TABLE again (id int4 PRIMARY KEY, v text); INSERT INTO again SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i`,
    )
    const { source, sink } = await readers('again', ['public.again'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'again')
    for (const reader of [snapshot, sink]) {
      let batches = 0
      const stop = (): void => {
        if (++batches === 2) throw new RangeError('enough')
      }
      await expect(reader.scan(table, WHOLE_TABLE, stop)).rejects.toThrow('enough')
      expect(batches).toBe(2)
      expect(await firstCells(reader, table, WHOLE_TABLE)).toHaveLength(5000)
    }
  })
})

describe('a table of ClickHouse that is taken as it stands', () => {
  it('takes rows, and nothing is changed; refused when it is not what the source has', async () => {
    await postgres.sql(`CREATE TABLE taken (id int4 PRIMARY KEY, v text)`)
    const { source, sink: reader, config, context } = await readers('taken', ['public.taken'])
    await using _reader = reader
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'taken')
    const sink = new ClickHouseSink(config)
    await sink.connect(context)
    try {
      await clickhouse.command('DROP VIEW taken__current')
      const shape = await clickhouse.query(`SHOW CREATE TABLE taken`)
      await sink.attachTable(table)
      const batch = transaction(1, (tx) => tx.insert(table, { id: 1, v: 'a' }))
      await store(sink, batch)
      expect(await foundCells(reader, table, keysOf(table, [{ id: 1 }]))).toEqual(['1'])
      expect(await clickhouse.query(`SHOW CREATE TABLE taken`)).toEqual(shape)
      expect(await clickhouse.query("SHOW TABLES LIKE 'taken%'")).toEqual([{ name: 'taken' }])

      const column = { ...table.columns[1]!, id: '9', name: 'later' }
      await expect(sink.attachTable({ ...table, columns: [...table.columns, column] })).rejects.toMatchObject(
        {
          code: 'clickhouse/target-changed',
        },
      )
      await expect(sink.attachTable({ ...table, name: 'nowhere' })).rejects.toMatchObject({
        code: 'clickhouse/table-missing',
      })
      await clickhouse.command(`ALTER TABLE taken MODIFY COMMENT 'mine'`)
      await expect(sink.attachTable(table)).rejects.toMatchObject({ code: 'clickhouse/foreign-table' })
    } finally {
      await sink.disconnect()
    }
  })
})

describe('the reader of ClickHouse', () => {
  it('says that it will pass when a table is changed between a look and a read', async () => {
    await postgres.sql(`CREATE TABLE shifting (id int4 PRIMARY KEY, v text)`)
    const { source, sink } = await readers('shifting', ['public.shifting'])
    await using _sink = sink
    await using snapshot = await source.snapshot(false)
    const table = tableOf(snapshot, 'shifting')
    expect((await sink.describe(table)).problems).toEqual([])
    await clickhouse.command('DROP VIEW shifting__current')
    await clickhouse.command('ALTER TABLE shifting RENAME COLUMN v TO w')
    await expect(sink.scan(table, WHOLE_TABLE, () => {})).rejects.toMatchObject({
      code: 'clickhouse/table-changed',
      retryable: true,
    })
    // Found again by its id.
    expect((await sink.describe(table)).problems).toEqual([])
    await sink.scan(table, WHOLE_TABLE, () => {})
    await clickhouse.command('DROP TABLE shifting')
    await expect(sink.scan(table, WHOLE_TABLE, () => {})).rejects.toMatchObject({
      code: 'clickhouse/table-changed',
    })
  })
})
