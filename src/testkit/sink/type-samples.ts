/** Values of every column type that a sink must keep exactly or refuse by name. */
import { type Value, valueToText } from '../../core/canonical.ts'
import { type ColumnType, describeType } from '../../core/column-type.ts'
import { arrayOf, bool, bytes, decimal, float, int, text, time, timestamp } from './cells.ts'

export interface TypeSample {
  readonly type: ColumnType
  /** `describeType` of it, for messages. */
  readonly name: string
  /** Ordinary values and the ends of the range; canonical text where they are text. */
  readonly values: readonly Value[]
  /** Values that many systems cannot keep. */
  readonly extremes: readonly Value[]
}

function sample(type: ColumnType, values: readonly Value[], extremes: readonly Value[] = []): TypeSample {
  return { type, name: describeType(type), values, extremes }
}

const integers = ([8, 16, 32, 64] as const).flatMap((bits) =>
  [false, true].map((unsigned) => {
    const [min, max] = unsigned
      ? [0n, (1n << BigInt(bits)) - 1n]
      : [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]
    const exact = bits === 64 ? [9007199254740993n] : []
    return sample(
      int(bits, unsigned),
      [min, max, 0n, 1n, min + 1n, max - 1n, max / 2n, ...exact].map((value) =>
        bits === 64 ? value : Number(value),
      ),
    )
  }),
)

const floats = [
  sample(
    float(32),
    [0, 1, -1.5, 0.1, 16777216, 3.4028235e38, -3.4028235e38, 1.1754944e-38],
    ['-0', '1e-45', 'NaN', 'Infinity', '-Infinity'],
  ),
  sample(
    float(64),
    [0, 1, -1.5, 0.1, 123456789.12345679, 1e21, 1e300, Number.MAX_VALUE, -Number.MAX_VALUE],
    [-0, Number.MIN_VALUE, Number.NaN, Infinity, -Infinity],
  ),
]

const nines = (count: number): string => '9'.repeat(count)
const decimals = [
  sample(
    decimal(12, 2),
    ['0.00', '0.01', '-0.01', '9999999999.99', '-9999999999.99', '1.50', '7'],
    ['NaN', 'Infinity', '-Infinity'],
  ),
  sample(decimal(1, 0), ['0', '9', '-9']),
  sample(decimal(5, 5), ['0.00001', '-0.99999', '0']),
  sample(decimal(9, 0), [nines(9), `-${nines(9)}`]),
  sample(decimal(10, 0), [nines(10), `-${nines(10)}`]),
  sample(decimal(18, 4), [`${nines(14)}.${nines(4)}`, `-${nines(14)}.${nines(4)}`]),
  sample(decimal(38, 10), [`${nines(28)}.${nines(10)}`, `-0.${'0'.repeat(9)}1`]),
  sample(decimal(76, 38), [`-${nines(38)}.${nines(38)}`, `0.${'0'.repeat(37)}1`]),
  sample(decimal(76, 0), [nines(76), `-${nines(76)}`]),
  sample(decimal(100, 20), [`${nines(80)}.${nines(20)}`, '1.5']),
  sample(decimal(5, -2), ['12300', '-9999900']),
  sample(decimal(null, null), [`${nines(120)}.${nines(60)}`, '-0.1', '1.500'], ['NaN']),
]

/** Letters that fold into each other, what other languages escape, and what ends a string in some of them. */
const words = [
  '',
  ' ',
  'a',
  'A',
  'a ',
  ' a',
  '\0',
  'a\0b',
  'NULL',
  '\\N',
  '\\',
  '"',
  "'",
  `it's "x" \`y\``,
  '{a,"b"}',
  'a,b;c\td\r\ne',
  'é',
  'e\u0301',
  '\u{1F600}\u{10FFFF}',
  '\u202Eabc',
  '\uFEFF',
  '%s $1 ${x} {{y}}',
  'x'.repeat(70_000),
]
const texts = [
  sample(text, words),
  sample({ kind: 'enum' }, ['new', 'with space', "it's", 'ÄÖ', '']),
  sample({ kind: 'other', name: 'tsvector' }, [`'a':1 'b':2A`, '', 'x\ny']),
  sample({ kind: 'interval' }, ['P1Y2M-3DT4H5M6.7S', 'PT0S', 'P-1M', 'PT-0.000001S', 'P10000Y']),
  sample({ kind: 'json' }, [
    '{"a": [1, null, "x\\u00e9", {}], "b": {"c": ""}}',
    'null',
    '"text"',
    '[]',
    '123456789.123456790.12345678901234567890',
    'true',
  ]),
]

const all = Uint8Array.from({ length: 256 }, (_, value) => value)
const others = [
  sample(bool, [true, false]),
  sample(bytes, [
    new Uint8Array(0),
    all,
    Uint8Array.of(0),
    Uint8Array.of(0xff, 0xfe, 0x80),
    Buffer.from('text'),
  ]),
  sample({ kind: 'uuid' }, [
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  ]),
]

const dates = [
  sample(
    { kind: 'date' },
    ['1970-01-01', '1969-12-31', '2024-02-29', '1900-03-01', '2038-01-19'],
    [
      '1899-12-31',
      '2300-01-01',
      '0001-01-01',
      '9999-12-31',
      '20000-01-01',
      '0044-03-15 BC',
      'infinity',
      '-infinity',
    ],
  ),
]

/** A full fraction, the smallest one, and one that ends in zeros. */
const fractions = (digits: number): readonly string[] =>
  digits === 0 ? [''] : [`.${nines(digits)}`, `.${'1'.padStart(digits, '0')}`, '.5']

const times = [0, 3, 6, 9].flatMap((digits) => {
  const clocks = ['00:00:00', ...fractions(digits).map((part) => `23:59:59${part}`)]
  return [
    sample(time(digits, false), [...clocks, '24:00:00']),
    sample(time(digits, true), [
      ...clocks.map((clock) => `${clock}+05:30`),
      '12:00:00-15:59:59',
      '12:00:00+00',
    ]),
  ]
})

const timestamps = Array.from({ length: 10 }, (_, digits) => digits).flatMap((digits) =>
  [false, true].map((zoned) => {
    const zone = zoned ? '+00' : ''
    const days = ['1970-01-01', '1969-12-31', '2024-02-29', '1999-12-31']
    const moments = days.flatMap((day) => fractions(digits).map((part) => `${day} 23:59:59${part}`))
    // Once is enough: the range does not depend on the zone, and on the digits only where there are many.
    const isTried = (digits === 6 && zoned) || (digits === 9 && !zoned)
    const far = [
      '0001-01-01 00:00:00',
      '1677-09-21 00:12:43',
      '1900-01-01 00:00:00',
      '2299-12-31 23:59:59',
      '9999-12-31 23:59:59',
      '20000-01-01 00:00:00',
    ]
    const extremes = [
      ...far.map((moment) => moment + zone),
      `0044-03-15 12:00:00${zone} BC`,
      'infinity',
      '-infinity',
    ]
    return sample(
      timestamp(digits, zoned),
      ['1970-01-01 00:00:00', ...moments].map((moment) => (moment.includes('+') ? moment : moment + zone)),
      isTried ? extremes : [],
    )
  }),
)

const arrays = [
  sample(arrayOf(int(32)), [[], [0], [1, null, -2147483648], [null]], ['{{1},{2}}', '[0:1]={1,2}']),
  sample(
    arrayOf(int(64), 2),
    [
      [],
      [
        [1n, null],
        [9223372036854775807n, 2n],
      ],
    ],
    ['{1}'],
  ),
  sample(arrayOf(text), [[], [''], [null, 'NULL', 'null'], words.slice(0, -1)]),
  sample(arrayOf(text, 3), [
    [
      [
        ['a,b', '{'],
        ['"', '\\'],
      ],
    ],
  ]),
  sample(arrayOf(bytes), [[new Uint8Array(0), all, null]]),
  sample(arrayOf(bool), [[true, null, false]]),
  sample(arrayOf(float(64)), [['0.1', '-2.5']], [['0.1', 'NaN', '-Infinity', '-0']]),
  sample(arrayOf(decimal(20, 5)), [['1.50000', `-${nines(15)}.${nines(5)}`]]),
  sample(arrayOf({ kind: 'date' }), [['2024-02-29', null]]),
  sample(arrayOf(timestamp(6, true)), [['2024-02-29 23:59:59.999999+00', null]]),
  sample(arrayOf({ kind: 'uuid' }), [['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']]),
  sample(arrayOf({ kind: 'json' }), [['{"a": ["x, \\"y\\""]}', 'null']]),
  sample(arrayOf({ kind: 'enum' }), [['new', '', 'with space']]),
]

export const typeSamples: readonly TypeSample[] = [
  ...others,
  ...integers,
  ...floats,
  ...decimals,
  ...texts,
  ...dates,
  ...times,
  ...timestamps,
  ...arrays,
]

/** Types whose values can tell rows apart, with values that differ. */
export const keySamples: readonly TypeSample[] = [
  bool,
  int(8, true),
  int(64),
  int(64, true),
  decimal(12, 2),
  decimal(76, 0),
  decimal(null, null),
  float(64),
  text,
  bytes,
  { kind: 'enum' } as const,
  { kind: 'uuid' } as const,
  { kind: 'date' } as const,
  time(6, false),
  timestamp(6, true),
  timestamp(3, false),
  { kind: 'other', name: 'tsvector' } as const,
].map((type) => {
  const found = typeSamples.find(({ name }) => name === describeType(type))!
  // Keys have their limits: no server indexes text of this length.
  return { ...found, values: found.values.filter((value) => valueToText(type, value).length <= 1000) }
})
