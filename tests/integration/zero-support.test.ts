/** What real zero-cache and a real Zero client make of what a change source sends: the facts that the sink relies on. */
import {
  boolean,
  createSchema,
  json,
  number,
  type Schema,
  string,
  table,
  type Transaction,
} from '@rocicorp/zero'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  createTable,
  insert,
  internalTables,
  ScriptedChangeSource,
} from '../support/scripted-change-source.ts'
import { testPostgres } from '../support/postgres.ts'
import { zeroDifferences } from '../support/zero-equality.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroClient } from '../support/zero-client.ts'
import { MutateServer } from '../support/zero-mutate-server.ts'

/** A column: type for zero-cache, element class, JSON of the cell as sent, value in a client. */
interface Fact {
  readonly dataType: string
  readonly elemPgTypeClass?: 'b' | 'e'
  readonly pgTypeClass?: 'b' | 'e'
  readonly zql: () =>
    | ReturnType<typeof number>
    | ReturnType<typeof json>
    | ReturnType<typeof string>
    | ReturnType<typeof boolean>
  readonly sent: unknown
  readonly seen: unknown
}
const array = (dataType: string, sent: unknown, seen = sent): Fact => ({
  dataType: `${dataType}[]`,
  elemPgTypeClass: 'b',
  zql: json,
  sent,
  seen,
})
const num = (dataType: string, sent: unknown, seen = sent): Fact => ({ dataType, zql: number, sent, seen })
const str = (dataType: string, sent: unknown, seen = sent): Fact => ({ dataType, zql: string, sent, seen })
const jsn = (dataType: string, sent: unknown, seen: unknown): Fact => ({ dataType, zql: json, sent, seen })

const FACTS: Readonly<Record<string, Fact>> = {
  bool_true: { dataType: 'bool', zql: boolean, sent: true, seen: true },
  bool_false: { dataType: 'boolean', zql: boolean, sent: false, seen: false },
  i2: num('int2', -32768),
  i4: num('int4', 2147483647),
  i8: num('int8', Number.MAX_SAFE_INTEGER),
  i8_min: num('int8', Number.MIN_SAFE_INTEGER),
  num_short: num('numeric', 1234.5678),
  num_long: num('numeric', 0.1234567890123456),
  f8: num('float8', 1.7976931348623157e308),
  f8_tiny: num('float8', 5e-324),
  f8_int: num('float8', 42),
  f8_exponent: num('float8', 1e21),
  // As a number, 1e20 would be written without an exponent by zero-cache, and read back as an integer that is too large.
  f8_as_text: num('float8', '1e+20', 1e20),
  f8_as_text_negative: num('float8', '-9.223372036854775808e18', -(2 ** 63)),
  f8_bigint: num('float8', 2 ** 62),
  f4: num('float4', 3.4028235e38),
  f4_as_text: num('float4', '1e+20', 1e20),
  txt: str('text', 'Grüße \u{1F600} \'x\' "y" \\ \n'),
  txt_nul: str('text', 'a\u0000b'),
  txt_digits: str('text', '007'),
  txt_empty: str('text', ''),
  varchar_digits: str('varchar', '1e3'),
  uuid: str('uuid', '6b1e0a3c-7f2d-4d3e-9d6c-0a1b2c3d4e5f'),
  date: num('date', Date.UTC(2024, 1, 29)),
  date_bc: num('date', -62198755200000),
  time: num('time', 86399999.999),
  ts: num('timestamp', 1700000000123.456),
  tstz: num('timestamptz', 1700000000123.457),
  tstz_whole: num('timestamptz', 1700000000000),
  enum_digits: { dataType: 'mood', pgTypeClass: 'e', zql: string, sent: '007', seen: '007' },
  jsonb_object: jsn('jsonb', '{"a": [1, "x", null, {"b": 1.5}]}', { a: [1, 'x', null, { b: 1.5 }] }),
  jsonb_string: jsn('jsonb', '"text"', 'text'),
  jsonb_digits: jsn('jsonb', '"007"', '007'),
  jsonb_int: jsn('jsonb', '42', 42),
  jsonb_float: jsn('jsonb', '0.1', 0.1),
  jsonb_big: jsn('jsonb', '12345678901234567890', 12345678901234567000),
  jsonb_safe: jsn('jsonb', '9007199254740991', 9007199254740991),
  jsonb_huge: jsn('jsonb', '1e300', 1e300),
  jsonb_true: jsn('jsonb', 'true', true),
  jsonb_null: jsn('jsonb', 'null', null),
  json_spaced: jsn('json', ' { "a" : 1 } ', { a: 1 }),
  json_null: jsn('json', null, null),
  texts: array('text', ['a', '007', '', null, 'x,y', '"q"', '{}']),
  varchars: array('varchar', ['1', '2']),
  ints: array('int4', [1, -2, null]),
  bigints: array('int8', [9007199254740991]),
  bools: array('bool', [true, false, null]),
  floats: array('float8', [0.1, 1e300]),
  stamps: array('timestamptz', [1700000000123.457]),
  jsonbs: array('jsonb', [{ a: 1 }, 'x', 1, null, [2]]),
  uuids: array('uuid', ['6b1e0a3c-7f2d-4d3e-9d6c-0a1b2c3d4e5f']),
  empty: array('text', []),
  empty_ints: array('int4', []),
  nested: array('int4', [
    [1, 2],
    [3, null],
  ]),
  nested_texts: array('text', [[['a'], ['b']]]),
  null_array: array('text', null),
  text_of_array: array('text', '["a","007",null]', ['a', '007', null]),
  text_of_ints: array('int4', '[1,2,null]', [1, 2, null]),
  text_of_one_int: array('int4', '[7]', [7]),
  text_of_nested: array('int4', '[[1,2],[3,4]]', [
    [1, 2],
    [3, 4],
  ]),
  enums: { dataType: 'mood[]', elemPgTypeClass: 'e', zql: json, sent: ['sad', '007'], seen: ['sad', '007'] },
}

const columns = Object.fromEntries(
  Object.entries(FACTS).map(([name, { dataType, elemPgTypeClass, pgTypeClass }]) => [
    name,
    {
      dataType,
      ...(elemPgTypeClass === undefined ? {} : { elemPgTypeClass }),
      ...(pgTypeClass === undefined ? {} : { pgTypeClass }),
    },
  ]),
)
const cells = Object.fromEntries(Object.entries(FACTS).map(([name, { sent }]) => [name, sent]))
const values = Object.fromEntries(Object.entries(FACTS).map(([name, { seen }]) => [name, seen]))

const schema = createSchema({
  enableLegacyQueries: true,
  tables: [
    table('facts')
      .columns({
        id: number(),
        ...Object.fromEntries(Object.entries(FACTS).map(([name, { zql }]) => [name, zql().optional()])),
      })
      .primaryKey('id'),
  ],
})

let source: ScriptedChangeSource
let cache: ZeroCache
let client: ZeroClient
let server: MutateServer

beforeAll(async () => {
  server = await MutateServer.start(async ({ clientGroupID, clientID, id, name, args }) => {
    const done = { clientGroupID, clientID, lastMutationID: id, userID: null }
    const clients = insert('clients', done, ['clientGroupID', 'clientID'], 'zero_0')
    if (name === 'add') return void source.send(insert('facts', { id: (args as { id: number }).id }), clients)
    const refusal = { error: 'app', message: 'no such thing' } as const
    const failed = {
      clientGroupID,
      clientID,
      mutationID: id,
      mutation: null,
      result: JSON.stringify(refusal),
    }
    const key = ['clientGroupID', 'clientID', 'mutationID']
    source.send(insert('mutations', failed, key, 'zero_0'), clients)
    return refusal
  })
  source = await ScriptedChangeSource.start([
    ...internalTables(['facts']),
    ...createTable('facts', { id: { dataType: 'int4' }, ...columns }, ['id']),
    insert('facts', { id: 1, ...cells }),
  ])
  cache = await ZeroCache.start({ upstream: source.url, env: { ZERO_MUTATE_URL: server.url } })
  await cache.ready()
  const mutators = {
    add: async (tx: Transaction<Schema>, row: { id: number }) => tx.mutate['facts']!.insert(row),
    refused: async () => {},
  }
  client = new ZeroClient({ url: cache.url, schema, mutators })
  await client.complete()
})
afterAll(async () => {
  await client?.[Symbol.asyncDispose]()
  await cache?.[Symbol.asyncDispose]()
  await source?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})
afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(cache.lastWords)
})

test('cells of the snapshot reach a client as values of their type', () => {
  expect(client.rows('facts')).toEqual([{ id: 1, ...values }])
})

test('cells of an insert and of an update reach a client as values of their type', async () => {
  const relation = { schema: 'public', name: 'facts', rowKey: { columns: ['id'] } }
  source.send(insert('facts', { id: 2, ...cells }), insert('facts', { id: 3 }))
  source.send({ tag: 'update', relation, key: null, new: { id: 3, ...cells } })
  await client.until('three rows, the last one filled', () => client.rows('facts')[2]?.['i2'] === -32768)
  expect(client.rows('facts').slice(1)).toEqual([
    { id: 2, ...values },
    { id: 3, ...values },
  ])
})

test("a custom mutator settles with the client's row that comes through the source", async () => {
  const { server: done } = client.mutate('add', { id: 4 })
  expect(await done).toEqual({ type: 'success' })
  expect(client.rows('facts')).toContainEqual(expect.objectContaining({ id: 4, txt: null }))
})

test('a custom mutator that the application refuses settles with its error', async () => {
  const { server: done } = client.mutate('refused', {})
  expect(await done).toMatchObject({ type: 'error', error: { type: 'app', message: 'no such thing' } })
})

const thing = (id: number) => insert('things', { id })
const things = createTable('things', { id: { dataType: 'int4' } }, ['id'])

test('zero-cache goes on after SIGSTOP, SIGKILL and SIGTERM where it was', async () => {
  await using scripted = await ScriptedChangeSource.start([...internalTables(['things']), ...things])
  await using other = await ZeroCache.start({ upstream: scripted.url })
  const has = (count: number): Promise<void> =>
    other.until(`${count} things`, () => {
      using replica = other.replica()
      return replica.rows('things').length === count
    })
  await other.ready()
  scripted.send(thing(1))
  await has(1)

  other.freeze()
  const second = scripted.send(thing(2))
  expect(scripted.acks).not.toContain(second)
  other.thaw()
  await has(2)
  await other.until('the second is confirmed', () => scripted.acks.includes(second))

  expect(await other.kill()).toEqual({ code: null, signal: 'SIGKILL' })
  scripted.send(thing(3))
  await other.restart()
  await has(3)
  expect(scripted.requests.at(-1)!.get('lastWatermark')).toBe(second)

  expect(await other.stop()).toEqual({ code: 0, signal: null })
  scripted.send(thing(4))
  await other.restart()
  await has(4)
  using replica = other.replica()
  expect(replica.rows('things')).toEqual([{ id: 1n }, { id: 2n }, { id: 3n }, { id: 4n }])
  expect(replica.columns('things')).toEqual([{ name: 'id', type: 'int4', notNull: true }])
  expect(replica.tables()).toEqual(['things', 'zero.permissions', 'zero_0.clients', 'zero_0.mutations'])
  expect(replica.indexes()).toContainEqual({ name: 'things_key', table: 'things', unique: true })
  expect([replica.version(), replica.watermark()]).toEqual(['01', '05'])
})

test('a snapshot that zero-cache cannot take ends it, and its supervisor starts it again', async () => {
  await using scripted = await ScriptedChangeSource.start(things)
  await using other = await ZeroCache.start({ upstream: scripted.url, supervised: true })
  await other.until('two ends', () => other.exits.length >= 2)
  expect(other.exits[0]).toEqual({ code: 255, signal: null })
  expect(other.output).toMatch(/Upstream is missing the .*zero_0.clients/)
})

test('the comparison with a replica finds every kind of difference, and none where there is none', async () => {
  // Type in Postgres, value there, type in Zero, cell, and a wrong cell.
  const kinds: readonly (readonly [string, string, string, unknown, unknown])[] = [
    ['float8', '0.1', 'float8', 0.1, 0.2],
    ['numeric(12,2)', '12.50', 'numeric', 12.5, '12,5'],
    ['numeric', '1.23456789012345678901', 'text', '1.23456789012345678901', '1.2'],
    ['text', "'1'", 'text', '1', '01'],
    ['char(4)', "'ab'", 'text', 'ab  ', 'ab'],
    ['bool', 'true', 'boolean', true, false],
    ['date', "'2024-02-29'", 'date', 1709164800000, 1],
    ['timestamptz', "'2023-11-14 22:13:20.123457Z'", 'timestamptz', 1700000000123.457, '2023'],
    ['time', "'23:59:59.5'", 'time', 86399500, 86399501],
    ['jsonb', `'{"a": 1.0}'`, 'jsonb', '{"a": 1.0}', '{"a":1}'],
    ['text[]', `'{"x y",NULL}'`, 'text[]', ['x y', null], ['x y', 'null']],
    ['timestamp[]', "'{2023-11-14 22:13:20.5}'", 'timestamp[]', [1700000000500], [1]],
    ['bytea', String.raw`'\x00ff'`, 'text', 'AP8=', 'AP9='],
  ]
  const values = kinds.map(([, value]) => value).join(', ')
  const nulls = kinds.map(() => 'NULL').join(', ')
  await using postgres = await testPostgres('oracle')
  await postgres.sql(
    `CREATE TABLE kinds (id int8 PRIMARY KEY, ${kinds.map(([type], index) => `c${index} ${type}`).join(', ')});
     INSERT INTO kinds VALUES (1, ${values}), (2, ${nulls}), (9007199254740991, ${values})`,
  )
  const specs = kinds.map(([, , dataType], index) => [
    `c${index}`,
    { dataType, ...(dataType.endsWith('[]') ? { elemPgTypeClass: 'b' as const } : {}) },
  ])
  const right = Object.fromEntries(kinds.map(([, , , cell], index) => [`c${index}`, cell]))
  const rows = [{ id: 1, ...right }, { id: 2 }, { id: Number.MAX_SAFE_INTEGER, ...right }]
  await using scripted = await ScriptedChangeSource.start([
    ...internalTables(['kinds']),
    ...createTable('kinds', { id: { dataType: 'int8' }, ...Object.fromEntries(specs) }, ['id']),
    ...rows.map((row) => insert('kinds', row)),
  ])
  await using other = await ZeroCache.start({ upstream: scripted.url })
  await other.ready()
  const differences = async (): Promise<readonly string[]> => {
    using replica = other.replica()
    return await zeroDifferences(postgres.url, replica, ['kinds'])
  }
  expect(await differences()).toEqual([])
  for (const [index, [type, , , , wrong]] of kinds.entries()) {
    scripted.send(insert('kinds', { id: 1, ...right, [`c${index}`]: wrong }))
    await other.until(`a wrong ${type} is found`, async () => (await differences()).length === 2)
    scripted.send(insert('kinds', { id: 1, ...right }))
    await other.until(`a right ${type} is none`, async () => (await differences()).length === 0)
  }
  scripted.send(insert('kinds', { id: 3 }))
  await other.until('a row too much is found', async () => (await differences()).length === 1)
})
