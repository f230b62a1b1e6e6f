/** Values of every type of Postgres, for the tests that compare copy, stream and the server's own text. */
import type { TestPostgres } from './postgres.ts'

/** SQL type, what core calls it, and SQL expressions of values. NULL is added to each. */
export type TypeSample = readonly [type: string, logical: string, values: readonly string[]]

/** SQL that makes the types which the samples need besides the built-in ones. */
export const OWN_TYPES = `
  CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS hstore;
  CREATE TYPE mood AS ENUM ('sad', 'so "so"', 'it''s, ok');
  CREATE DOMAIN positive AS int CHECK (value > 0);
  CREATE DOMAIN very_positive AS positive CHECK (value > 10);
  CREATE DOMAIN cash AS money; CREATE DOMAIN blob AS bytea; CREATE DOMAIN ints AS int[];
  CREATE TYPE street AS (name text, number int)`

const ALL_CONTROLS = `(SELECT string_agg(chr(i), '') FROM generate_series(1, 160) i)`

const TYPES: readonly TypeSample[] = [
  ['bool', 'bool', ['true', 'false']],
  ['int2', 'int16', ['0', '-32768', '32767']],
  ['int4', 'int32', ['0', '-2147483648', '2147483647']],
  ['int8', 'int64', ['0', '-9223372036854775808', '9223372036854775807', '9007199254740993']],
  ['oid', 'uint32', ['0', '4294967295']],
  [
    'float4',
    'float32',
    [`'NaN'`, `'Infinity'`, `'-Infinity'`, `'-0'`, '1e-45', '3.4028235e38', '0.1', '16777217'],
  ],
  [
    'float8',
    'float64',
    [
      `'NaN'`,
      `'Infinity'`,
      `'-Infinity'`,
      `'-0'`,
      `'5e-324'`,
      '1.7976931348623157e308',
      '0.1',
      '1e20',
      '1e21',
      '0.30000000000000004',
    ],
  ],
  [
    'numeric',
    'decimal',
    [
      `'NaN'`,
      '0',
      '-0.00',
      '1.10',
      `'0.00000000000000000001'`,
      `('1' || repeat('0', 500))::numeric`,
      `'-123456789012345678901234567890.123456789'`,
    ],
  ],
  ['numeric(12,2)', 'decimal(12,2)', ['0', '-9999999999.99', '1.5']],
  ['numeric(3,0)', 'decimal(3,0)', ['999', '-1']],
  [
    'money',
    'decimal(19,2)',
    [`'0'`, `'-0.01'`, `'1234567.89'`, `'-92233720368547758.08'`, `'92233720368547758.07'`],
  ],
  [
    'text',
    'text',
    [
      `''`,
      `' '`,
      `E'\\\\N'`,
      `E'\\\\\\\\N'`,
      `'N'`,
      `E'a\\tb\\nc\\rd\\\\e'`,
      `E'\\\\.'`,
      `'🐘 ünïcödé 漢字'`,
      ALL_CONTROLS,
      `repeat('x', 100000)`,
      `'NULL'`,
    ],
  ],
  ['varchar(20)', 'text', [`''`, `'abc  '`]],
  ['char(5)', 'text', [`''`, `'ab'`]],
  ['name', 'text', [`'a name'`]],
  ['citext', 'text', [`'MiXed'`]],
  ['"char"', 'char', [`'x'`, `''`, `'\\'`]],
  [
    'bytea',
    'bytes',
    [
      `''`,
      `'\\x00'`,
      `'\\x5c780a0d09'`,
      `(SELECT decode(string_agg(lpad(to_hex(i), 2, '0'), ''), 'hex') FROM generate_series(0, 255) i)`,
      `decode(repeat('ab', 50000), 'hex')`,
    ],
  ],
  ['uuid', 'uuid', [`'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'`, `'00000000-0000-0000-0000-000000000000'`]],
  ['json', 'json', [`'{"b": 1,  "a": [1, 2, null], "b": "\\u00fc\\n"}'`, `'null'`, `'" "'`]],
  [
    'jsonb',
    'json',
    [`'{"b": 1,  "a": [1, 2.50, null], "c": "\\u00fc\\n\\\\"}'`, `'12345678901234567890.10'`],
  ],
  [
    'date',
    'date',
    [
      `'2024-02-29'`,
      `'infinity'`,
      `'-infinity'`,
      `'0044-03-15 BC'`,
      `'12345-06-07'`,
      `'5874897-12-31'`,
      `'4713-01-01 BC'`,
    ],
  ],
  ['time', 'time(6)', [`'00:00:00'`, `'24:00:00'`, `'12:34:56.789012'`, `'12:34:56.5'`]],
  ['time(3)', 'time(3)', [`'12:34:56.7895'`]],
  ['timetz', 'time(6) with time zone', [`'24:00:00+00'`, `'12:34:56.789+05:30'`, `'00:00:00-15:59:59'`]],
  [
    'timestamp',
    'timestamp(6)',
    [
      `'2024-02-29 12:34:56.789012'`,
      `'infinity'`,
      `'-infinity'`,
      `'0044-03-15 10:00:00 BC'`,
      `'12345-06-07 00:00:00.000001'`,
      `'294276-12-31 23:59:59.999999'`,
      `'4713-01-01 00:00:00 BC'`,
    ],
  ],
  ['timestamp(3)', 'timestamp(3)', [`'2024-02-29 12:34:56.7895'`]],
  [
    'timestamptz',
    'timestamp(6) with time zone',
    [
      `'2024-02-29 12:34:56.789012+05:30'`,
      `'infinity'`,
      `'-infinity'`,
      `'0044-03-15 10:00:00+00 BC'`,
      `'12345-06-07 00:00:00.000001-08'`,
      `'1900-01-01 00:00:00 Europe/Amsterdam'`,
    ],
  ],
  [
    'interval',
    'interval',
    [
      `'0'`,
      `'1 year 2 mons -3 days 04:05:06.7'`,
      `'-178000000 years'`,
      `'1 microsecond'`,
      `'-1 day 00:00:01'`,
      `'100 hours'`,
    ],
  ],
  ['bit(4)', 'bit', [`B'0101'`]],
  ['varbit', 'varbit', [`B''`, `B'101010101010101010101'`]],
  ['inet', 'inet', [`'192.168.0.1/24'`, `'::1'`, `'2001:db8::1/64'`]],
  ['cidr', 'cidr', [`'10.0.0.0/8'`, `'2001:db8::/32'`]],
  ['macaddr', 'macaddr', [`'08:00:2b:01:02:03'`]],
  ['macaddr8', 'macaddr8', [`'08:00:2b:01:02:03:04:05'`]],
  ['int4range', 'int4range', [`'[1,10)'`, `'empty'`, `'(,5]'`]],
  ['tstzrange', 'tstzrange', [`'["2024-01-01 00:00:00+02",infinity)'`]],
  ['numrange', 'numrange', [`'[1.10,2.200]'`]],
  ['tsvector', 'tsvector', [`'a:1 ''it''''s'':2,3A'`]],
  ['tsquery', 'tsquery', [`'a & !b'`]],
  ['xml', 'text', [`'<a b="c">d&amp;e</a>'`]],
  ['point', 'point', [`'(1.1,-2)'`]],
  ['line', 'line', [`'{1,2,3}'`]],
  ['lseg', 'lseg', [`'[(1,2),(3,4)]'`]],
  ['box', 'box', [`'(3,4),(1,2)'`]],
  ['path', 'path', [`'((1,2),(3,4))'`, `'[(1,2),(3,4)]'`]],
  ['polygon', 'polygon', [`'((1,2),(3,4))'`]],
  ['circle', 'circle', [`'<(1,2),3>'`]],
  ['pg_lsn', 'pg_lsn', [`'16/B374D848'`]],
  ['txid_snapshot', 'txid_snapshot', [`'10:20:10,14,15'`]],
  ['regclass', 'regclass', [`'pg_class'`]],
  ['mood', 'enum', [`'sad'`, `'so "so"'`, `'it''s, ok'`]],
  ['positive', 'int32', ['7']],
  ['very_positive', 'int32', ['70']],
  ['cash', 'decimal(19,2)', [`'-1234.50'`]],
  ['blob', 'bytes', [`'\\xdeadbeef'`]],
  ['ints', 'array of int32', [`'{1,NULL,3}'`]],
  ['street', 'street', [`ROW('Main "st", (x)\\', 5)`, 'ROW(NULL, NULL)', `ROW('', 1)`]],
  ['hstore', 'hstore', [`'"a"=>"1", "b"=>NULL, "c d"=>"\\"q\\""'`]],
  [
    'int4[]',
    'array of int32',
    [`'{}'`, `'{1,NULL,-3}'`, `'{{1,2},{3,4}}'`, `'[0:1]={7,8}'`, `'[-1:0][2:3]={{1,2},{3,4}}'`],
  ],
  ['int8[][]', 'array of array of int64', [`'{{9223372036854775807}}'`]],
  [
    'text[]',
    'array of text',
    [
      `ARRAY[NULL, 'NULL', 'null', '', ' ', 'a,b', '{}', '"', '\\', E'\\n\\t', '🐘']`,
      `ARRAY[['a','b'],['c',NULL]]`,
    ],
  ],
  ['bool[]', 'array of bool', [`'{t,f,NULL}'`]],
  ['float8[]', 'array of float64', [`'{NaN,Infinity,-0,5e-324}'`]],
  ['numeric(6,2)[]', 'array of decimal(6,2)', [`'{1.10,NaN,NULL}'`]],
  ['bytea[]', 'array of bytes', [`ARRAY['\\x00ff'::bytea, '', NULL]`]],
  ['money[]', 'money[]', [`'{1.50,-2}'`]],
  ['cash[]', 'cash[]', [`ARRAY['1.50'::money::cash, '-2000']`]],
  ['date[]', 'array of date', [`'{2024-02-29,infinity,"0044-03-15 BC"}'`]],
  [
    'timestamptz[]',
    'array of timestamp(6) with time zone',
    [`ARRAY['2024-02-29 12:00+02'::timestamptz, 'infinity']`],
  ],
  ['interval[]', 'array of interval', [`ARRAY['1 day 2 hours'::interval]`]],
  ['uuid[]', 'array of uuid', [`'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'`]],
  ['jsonb[]', 'array of json', [`ARRAY['{"a": [1, "x,y"]}'::jsonb, 'null']`]],
  ['mood[]', 'array of enum', [`ARRAY['sad', 'so "so"']::mood[]`]],
  ['positive[]', 'array of int32', [`'{1,2}'`]],
  ['point[]', 'point[]', [`ARRAY['(1,2)'::point]`]],
  ['box[]', 'box[]', [`ARRAY['(3,4),(1,2)'::box, '(1,1),(0,0)']`]],
  ['int4range[]', 'int4range[]', [`ARRAY['[1,5)'::int4range, 'empty']`]],
  ['street[]', 'street[]', [`ARRAY[ROW('a "b"', 1)::street, NULL]`]],
  ['int2vector', 'int2vector', [`'1 2 3'`]],
]

/** Types and values of later servers. */
const SINCE_14: readonly TypeSample[] = [
  ['int4multirange', 'int4multirange', [`'{[1,3),[5,7)}'`, `'{}'`]],
  ['numeric(5,-2)', 'decimal(5,-2)', ['12300', '-100']],
  ['numeric(3,5)', 'decimal(3,5)', ['0.00123']],
  ['numeric', 'decimal', [`'Infinity'`, `'-Infinity'`]],
]
const SINCE_17: readonly TypeSample[] = [['interval', 'interval', [`'infinity'`, `'-infinity'`]]]

/** The samples that the server knows, by its version. */
export async function typesOfServer({ sql }: Pick<TestPostgres, 'sql'>): Promise<readonly TypeSample[]> {
  const [row] = await sql<{ version: number }>(`SELECT current_setting('server_version_num')::int AS version`)
  return [
    ...TYPES,
    ...(row!.version >= 150_000 ? SINCE_14 : []),
    ...(row!.version >= 170_000 ? SINCE_17 : []),
  ]
}

/** SQL that makes a table with the key `id` and a column per type. */
export function createSamples(table: string, types: readonly TypeSample[]): string {
  const columns = types.map(([type], index) => `c${index} ${type}`).join(', ')
  return `CREATE TABLE ${table} (id int PRIMARY KEY, ${columns})`
}

/** SQL that inserts all samples, with `id`s from `first` on; the last row has NULL in every column. */
export function insertSamples(table: string, types: readonly TypeSample[], first: number): string {
  const depth = Math.max(...types.map(([, , values]) => values.length)) + 1
  const rows = Array.from({ length: depth }, (_, row) => {
    const cells = types.map(([type, , values]) =>
      row < values.length ? `(${values[row]})::${type}` : 'NULL',
    )
    return `INSERT INTO ${table} VALUES (${first + row}, ${cells.join(', ')})`
  })
  return rows.join(';\n')
}
