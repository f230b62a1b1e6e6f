/**
 * What every BSON type becomes in every type of column: the written rule, which `cell.test.ts` executes and
 * `expectations.md` of the connector shows. A column that is not named is a misfit. Cells of bytes are shown as hex.
 *
 * `key` columns are those of a primary key, where equal numbers are equal text.
 */
import { BSON } from 'mongodb'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { rawDocument, valueBytes } from './random-documents.ts'

export const COLUMNS = [
  'bool',
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
  'float32',
  'float64',
  'float64 (key)',
  'decimal',
  'decimal (key)',
  'decimal(5,2)',
  'text',
  'text (key)',
  'enum',
  'other',
  'uuid',
  'bytes',
  'date',
  'time(3)',
  'timestamp(0)',
  'timestamp(3)',
  'timestamp(3) with time zone',
  'interval',
  'array of text',
  'array of int64',
  'array of array of int64',
  'json',
  'json (extended)',
  'json (key)',
] as const
export type ColumnName = (typeof COLUMNS)[number]

export interface Sample {
  /** A name of `BsonType`. */
  readonly type: keyof typeof BsonType
  /** How people write it. */
  readonly value: string
  readonly bytes: Arena
  readonly cells: Cells
}

type Cells = Readonly<Partial<Record<ColumnName, string>>>

const { Binary, Code, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID } = BSON

/** The same text in several columns. */
function same(text: string, ...columns: readonly ColumnName[]): Cells {
  return Object.fromEntries(columns.map((column) => [column, text]))
}

const INTS_FROM_8 = ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'] as const
const DOUBLES = ['float64', 'float64 (key)'] as const
const DECIMALS = ['decimal', 'decimal (key)'] as const
const TEXTS = ['text', 'text (key)'] as const
const STRINGS = ['text', 'text (key)', 'enum', 'other'] as const
const NUMBER_JSON = ['json', 'json (key)'] as const
const TYPED_JSON = ['json (extended)', 'json (key)'] as const
const ANY_JSON = ['json', 'json (extended)', 'json (key)'] as const

function sample(type: Sample['type'], value: string, of: unknown, ...cells: readonly Cells[]): Sample {
  const { bytes, type: code } = valueBytes(of)
  if (code !== BsonType[type]) throw new Error(`the driver writes ${value} as another type`)
  return { type, value, bytes, cells: Object.assign({}, ...cells) as Cells }
}

function raw(type: Sample['type'], value: string, bytes: Uint8Array, ...cells: readonly Cells[]): Sample {
  return {
    type,
    value,
    bytes: rawDocument(BsonType[type], bytes),
    cells: Object.assign({}, ...cells) as Cells,
  }
}

const ID = '65f0c1d2e3a4b5c6d7e8f901'
const UUID_TEXT = '00112233-4455-6677-8899-aabbccddeeff'
const UUID_HEX = UUID_TEXT.replaceAll('-', '')
const LEAST = '-9223372036854775808'
const BIG = '9007199254740993'

function ms(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes
}

export const SAMPLES: readonly Sample[] = [
  sample('bool', 'true', true, { bool: 't' }, same('true', ...TEXTS, ...ANY_JSON)),
  sample('bool', 'false', false, { bool: 'f' }, same('false', ...TEXTS, ...ANY_JSON)),

  sample(
    'int32',
    '7',
    new Int32(7),
    same('7', ...INTS_FROM_8, 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberInt":"7"}' },
  ),
  sample(
    'int32',
    '-129',
    new Int32(-129),
    same(
      '-129',
      'int16',
      'int32',
      'int64',
      'float32',
      ...DOUBLES,
      ...DECIMALS,
      'decimal(5,2)',
      ...TEXTS,
      ...NUMBER_JSON,
    ),
    { 'json (extended)': '{"$numberInt":"-129"}' },
  ),
  sample(
    'int32',
    '16777217',
    new Int32(16_777_217),
    same('16777217', 'int32', 'int64', 'uint32', 'uint64', ...DOUBLES, ...DECIMALS, ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberInt":"16777217"}' },
  ),

  sample(
    'int64',
    'Long(7)',
    Long.fromNumber(7),
    same('7', ...INTS_FROM_8, 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberLong":"7"}' },
  ),
  sample(
    'int64',
    'Long(4294967295)',
    Long.fromNumber(4294967295),
    same('4294967295', 'int64', 'uint32', 'uint64', ...DOUBLES, ...DECIMALS, ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberLong":"4294967295"}' },
  ),
  sample(
    'int64',
    `Long(${BIG})`,
    Long.fromString(BIG),
    same(BIG, 'int64', 'uint64', ...DECIMALS, ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': `{"$numberLong":"${BIG}"}` },
  ),
  sample(
    'int64',
    `Long(${LEAST})`,
    Long.fromString(LEAST),
    same(LEAST, 'int64', ...DECIMALS, ...TEXTS, ...NUMBER_JSON),
    // A power of two is exact as a double, and its shortest text is this one.
    same('-9223372036854776000', ...DOUBLES),
    { float32: '-9223372000000000000', 'json (extended)': `{"$numberLong":"${LEAST}"}` },
  ),

  sample(
    'double',
    '7.0',
    new Double(7),
    same('7', ...INTS_FROM_8, 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberDouble":"7.0"}' },
  ),
  sample(
    'double',
    '0.1',
    new Double(0.1),
    same('0.1', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberDouble":"0.1"}' },
  ),
  sample(
    'double',
    '0.125',
    new Double(0.125),
    same('0.125', 'float32', ...DOUBLES, ...DECIMALS, ...TEXTS, ...NUMBER_JSON),
    { 'json (extended)': '{"$numberDouble":"0.125"}' },
  ),
  sample(
    'double',
    '1e21',
    new Double(1e21),
    same('1e+21', ...DOUBLES, 'json'),
    same('1000000000000000000000', ...DECIMALS, ...TEXTS, 'json (key)'),
    { 'json (extended)': '{"$numberDouble":"1e+21"}' },
  ),
  sample(
    'double',
    '2^60',
    new Double(2 ** 60),
    same('1152921504606846976', 'int64', 'uint64', ...DECIMALS, ...TEXTS, 'json (key)'),
    same('1152921504606847000', ...DOUBLES, 'json'),
    { float32: '1152921500000000000', 'json (extended)': '{"$numberDouble":"1152921504606846976.0"}' },
  ),
  sample(
    'double',
    '-0.0',
    new Double(-0),
    same('0', ...INTS_FROM_8, 'float64 (key)', ...DECIMALS, 'decimal(5,2)', 'text (key)', 'json (key)'),
    same('-0', 'float32', 'float64', 'text', 'json'),
    { 'json (extended)': '{"$numberDouble":"-0.0"}' },
  ),
  sample(
    'double',
    'NaN',
    new Double(Number.NaN),
    same('NaN', 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS),
    { json: '"NaN"' },
    same('{"$numberDouble":"NaN"}', ...TYPED_JSON),
  ),
  sample(
    'double',
    '-Infinity',
    new Double(-Infinity),
    same('-Infinity', 'float32', ...DOUBLES, ...DECIMALS, ...TEXTS),
    { json: '"-Infinity"' },
    same('{"$numberDouble":"-Infinity"}', ...TYPED_JSON),
  ),

  sample(
    'decimal128',
    'Decimal128(1.50)',
    Decimal128.fromString('1.50'),
    same('1.50', 'decimal', 'decimal(5,2)', 'text'),
    same('1.5', 'float32', ...DOUBLES, 'decimal (key)', 'text (key)', 'json (key)'),
    { json: '"1.50"', 'json (extended)': '{"$numberDecimal":"1.50"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(12.3000)',
    Decimal128.fromString('12.3000'),
    same('12.3000', 'decimal', 'text'),
    same('12.3', ...DOUBLES, 'decimal (key)', 'text (key)', 'json (key)'),
    { 'decimal(5,2)': '12.30', json: '"12.3000"', 'json (extended)': '{"$numberDecimal":"12.3000"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(1E+3)',
    Decimal128.fromString('1E+3'),
    same(
      '1000',
      'int16',
      'int32',
      'int64',
      'uint16',
      'uint32',
      'uint64',
      'float32',
      ...DOUBLES,
      ...DECIMALS,
      ...TEXTS,
      'json (key)',
    ),
    { json: '"1000"', 'json (extended)': '{"$numberDecimal":"1E+3"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(7.00)',
    Decimal128.fromString('7.00'),
    same('7', ...INTS_FROM_8, 'float32', ...DOUBLES, 'decimal (key)', 'text (key)', 'json (key)'),
    same('7.00', 'decimal', 'decimal(5,2)', 'text'),
    { json: '"7.00"', 'json (extended)': '{"$numberDecimal":"7.00"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(0.1234567890123456789)',
    Decimal128.fromString('0.1234567890123456789'),
    same('0.1234567890123456789', ...DECIMALS, ...TEXTS, 'json (key)'),
    { json: '"0.1234567890123456789"', 'json (extended)': '{"$numberDecimal":"0.1234567890123456789"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(-0)',
    Decimal128.fromString('-0'),
    same('0', ...INTS_FROM_8, 'float64 (key)', ...DECIMALS, 'decimal(5,2)', 'text (key)', 'json (key)'),
    same('-0', 'float32', 'float64', 'text'),
    { json: '"-0"', 'json (extended)': '{"$numberDecimal":"-0"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(NaN)',
    Decimal128.fromString('NaN'),
    same('NaN', 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)', ...TEXTS),
    { json: '"NaN"', 'json (extended)': '{"$numberDecimal":"NaN"}', 'json (key)': '{"$numberDouble":"NaN"}' },
  ),
  sample(
    'decimal128',
    'Decimal128(Infinity)',
    Decimal128.fromString('Infinity'),
    same('Infinity', 'float32', ...DOUBLES, ...DECIMALS, ...TEXTS),
    {
      json: '"Infinity"',
      'json (extended)': '{"$numberDecimal":"Infinity"}',
      'json (key)': '{"$numberDouble":"Infinity"}',
    },
  ),

  sample('string', '"été"', 'été', same('été', ...STRINGS), same('"été"', ...ANY_JSON)),
  sample('string', '"12"', '12', same('12', ...STRINGS), same('"12"', ...ANY_JSON)),
  sample(
    'string',
    `"${UUID_TEXT}"`,
    UUID_TEXT,
    same(UUID_TEXT, ...STRINGS),
    same(`"${UUID_TEXT}"`, ...ANY_JSON),
  ),
  sample(
    'string',
    '"2024-02-29"',
    '2024-02-29',
    same('2024-02-29', ...STRINGS),
    same('"2024-02-29"', ...ANY_JSON),
  ),
  sample('string', '"a\\u0000b"', 'a\0b', same('a\0b', ...STRINGS), same('"a\\u0000b"', ...ANY_JSON)),
  sample('string', '""', '', same('', ...STRINGS), same('""', ...ANY_JSON)),
  raw('string', 'not UTF-8', Buffer.from('02000000ff00', 'hex')),
  sample(
    'symbol',
    'Symbol("s")',
    new BSON.BSONSymbol('s'),
    same('s', ...STRINGS),
    { json: '"s"' },
    same('{"$symbol":"s"}', ...TYPED_JSON),
  ),
  sample('code', 'Code("f()")', new Code('f()'), same('f()', ...TEXTS), same('{"$code":"f()"}', ...ANY_JSON)),
  sample(
    'codeWithScope',
    'Code("y", {y: 1})',
    new Code('y', { y: new Int32(1) }),
    same('{"$code":"y","$scope":{"y":1}}', ...NUMBER_JSON),
    { 'json (extended)': '{"$code":"y","$scope":{"y":{"$numberInt":"1"}}}' },
  ),

  sample(
    'objectId',
    `ObjectId("${ID}")`,
    new ObjectId(ID),
    same(ID, ...TEXTS),
    { bytes: `\\x${ID}`, json: `"${ID}"` },
    same(`{"$oid":"${ID}"}`, ...TYPED_JSON),
  ),
  sample(
    'binary',
    `UUID("${UUID_TEXT}")`,
    new UUID(UUID_TEXT),
    same(UUID_TEXT, ...TEXTS, 'uuid'),
    { bytes: `\\x${UUID_HEX}`, json: `"${UUID_TEXT}"` },
    same('{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}', ...TYPED_JSON),
  ),
  sample(
    'binary',
    'BinData(0, "aGk=")',
    new Binary(Buffer.from('hi')),
    same('aGk=', ...TEXTS),
    { bytes: '\\x6869', json: '"aGk="' },
    same('{"$binary":{"base64":"aGk=","subType":"00"}}', ...TYPED_JSON),
  ),
  sample(
    'binary',
    'BinData(2, "aGk=")',
    new Binary(Buffer.from('hi'), 2),
    same('aGk=', ...TEXTS),
    { bytes: '\\x6869', json: '"aGk="' },
    same('{"$binary":{"base64":"aGk=","subType":"02"}}', ...TYPED_JSON),
  ),
  sample(
    'binary',
    'BinData(3, 16 bytes)',
    new Binary(Buffer.from(UUID_HEX, 'hex'), 3),
    same('ABEiM0RVZneImaq7zN3u/w==', ...TEXTS),
    { bytes: `\\x${UUID_HEX}`, json: '"ABEiM0RVZneImaq7zN3u/w=="' },
    same('{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"03"}}', ...TYPED_JSON),
  ),
  sample(
    'binary',
    'BinData(4, 2 bytes)',
    new Binary(Buffer.from('hi'), 4),
    same('aGk=', ...TEXTS),
    { bytes: '\\x6869', json: '"aGk="' },
    same('{"$binary":{"base64":"aGk=","subType":"04"}}', ...TYPED_JSON),
  ),

  sample(
    'date',
    'ISODate("2024-02-29T12:34:56.780Z")',
    new Date('2024-02-29T12:34:56.780Z'),
    same('1709210096780', 'int64', 'uint64', ...DOUBLES, ...DECIMALS),
    same('2024-02-29T12:34:56.780Z', ...TEXTS),
    { 'timestamp(3)': '2024-02-29 12:34:56.78', json: '"2024-02-29T12:34:56.780Z"' },
    { 'timestamp(3) with time zone': '2024-02-29 12:34:56.78+00' },
    same('{"$date":{"$numberLong":"1709210096780"}}', ...TYPED_JSON),
  ),
  sample(
    'date',
    'ISODate("1970-01-01T00:00:00Z")',
    new Date(0),
    same('0', ...INTS_FROM_8, 'float32', ...DOUBLES, ...DECIMALS, 'decimal(5,2)'),
    same('1970-01-01T00:00:00.000Z', ...TEXTS),
    same('1970-01-01 00:00:00', 'timestamp(0)', 'timestamp(3)'),
    { date: '1970-01-01', 'timestamp(3) with time zone': '1970-01-01 00:00:00+00' },
    { json: '"1970-01-01T00:00:00.000Z"' },
    same('{"$date":{"$numberLong":"0"}}', ...TYPED_JSON),
  ),
  sample(
    'date',
    'ISODate("-000043-03-15T00:00:00Z")',
    new Date('-000043-03-15T00:00:00Z'),
    same('-63517824000000', 'int64', ...DOUBLES, ...DECIMALS),
    same('-000043-03-15T00:00:00.000Z', ...TEXTS),
    same('0044-03-15 00:00:00 BC', 'timestamp(0)', 'timestamp(3)'),
    { date: '0044-03-15 BC', 'timestamp(3) with time zone': '0044-03-15 00:00:00+00 BC' },
    { json: '"-000043-03-15T00:00:00.000Z"' },
    same('{"$date":{"$numberLong":"-63517824000000"}}', ...TYPED_JSON),
  ),
  raw(
    'date',
    'the last date of BSON',
    ms(2n ** 63n - 1n),
    same('9223372036854775807', 'int64', 'uint64', ...DECIMALS),
    same('+292278994-08-17T07:12:55.807Z', ...TEXTS),
    { 'timestamp(3)': '292278994-08-17 07:12:55.807', json: '"+292278994-08-17T07:12:55.807Z"' },
    { 'timestamp(3) with time zone': '292278994-08-17 07:12:55.807+00' },
    same('{"$date":{"$numberLong":"9223372036854775807"}}', ...TYPED_JSON),
  ),

  sample(
    'array',
    '["a b", null, ""]',
    ['a b', null, ''],
    { 'array of text': '{"a b",NULL,""}' },
    same('["a b",null,""]', ...ANY_JSON),
  ),
  sample(
    'array',
    '[1, 2.0]',
    [new Int32(1), new Double(2)],
    same('{1,2}', 'array of text', 'array of int64'),
    same('[1,2]', ...NUMBER_JSON),
    { 'json (extended)': '[{"$numberInt":"1"},{"$numberDouble":"2.0"}]' },
  ),
  sample(
    'array',
    '[1, "a"]',
    [new Int32(1), 'a'],
    { 'array of text': '{1,a}' },
    same('[1,"a"]', ...NUMBER_JSON),
    { 'json (extended)': '[{"$numberInt":"1"},"a"]' },
  ),
  sample(
    'array',
    '[[1], [2, null]]',
    [[new Int32(1)], [new Int32(2), null]],
    { 'array of array of int64': '{{1},{2,NULL}}' },
    same('[[1],[2,null]]', ...NUMBER_JSON),
    { 'json (extended)': '[[{"$numberInt":"1"}],[{"$numberInt":"2"},null]]' },
  ),
  sample(
    'array',
    '[]',
    [],
    same('{}', 'array of text', 'array of int64', 'array of array of int64'),
    same('[]', ...ANY_JSON),
  ),
  sample(
    'object',
    '{a: {b: null}, c: 1}',
    { a: { b: null }, c: new Int32(1) },
    same('{"a":{"b":null},"c":1}', ...NUMBER_JSON),
    { 'json (extended)': '{"a":{"b":null},"c":{"$numberInt":"1"}}' },
  ),

  sample(
    'timestamp',
    'Timestamp(5, 1)',
    new Timestamp({ t: 5, i: 1 }),
    same('{"$timestamp":{"t":5,"i":1}}', ...ANY_JSON),
  ),
  sample(
    'regex',
    '/a.b/i',
    new BSON.BSONRegExp('a.b', 'i'),
    same('{"$regularExpression":{"pattern":"a.b","options":"i"}}', ...ANY_JSON),
  ),
  raw(
    'dbPointer',
    'DBPointer("c", ObjectId(...))',
    Buffer.concat([Buffer.from('020000006300', 'hex'), Buffer.from(ID, 'hex')]),
    same(`{"$dbPointer":{"$ref":"c","$id":{"$oid":"${ID}"}}}`, ...ANY_JSON),
  ),
  sample('minKey', 'MinKey', new MinKey(), same('{"$minKey":1}', ...ANY_JSON)),
  sample('maxKey', 'MaxKey', new MaxKey(), same('{"$maxKey":1}', ...ANY_JSON)),

  // NULL in every column that may be NULL; inside of json it is `null`.
  sample('null', 'null', null, same('NULL', ...COLUMNS)),
  raw('undefined', 'undefined', new Uint8Array(), same('NULL', ...COLUMNS)),
]
