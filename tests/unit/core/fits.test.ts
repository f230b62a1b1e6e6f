import { describe, expect, it } from 'vitest'
import type { Value } from '../../../src/core/canonical.ts'
import { type ColumnType, describeType, parseType } from '../../../src/core/column-type.ts'
import { expected, fits } from '../../../src/core/fits.ts'

const int = (bits: 8 | 16 | 32 | 64, unsigned = false): ColumnType => ({ kind: 'int', bits, unsigned })
const float = (bits: 32 | 64): ColumnType => ({ kind: 'float', bits })
const decimal = (precision: number | null, scale: number | null): ColumnType => {
  return { kind: 'decimal', precision, scale }
}
const time = (digits: number, zoned: boolean): ColumnType => ({ kind: 'time', digits, zoned })
const timestamp = (digits: number, zoned: boolean): ColumnType => ({ kind: 'timestamp', digits, zoned })
const array = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })
const plain = (
  kind: 'bool' | 'text' | 'enum' | 'uuid' | 'json' | 'bytes' | 'date' | 'interval',
): ColumnType => {
  return { kind }
}

interface Examples {
  readonly type: ColumnType
  readonly fitting: readonly Value[]
  readonly others: readonly unknown[]
}

const examples: readonly Examples[] = [
  { type: plain('bool'), fitting: [true, false], others: [0, 1, 't', 'true'] },
  {
    type: int(8),
    fitting: [-128, 127, 0, '127', 5n],
    others: [128, -129, 1.5, '128', '1.0', ' 1', '+1', '01', '-0', -0, NaN, ''],
  },
  { type: int(16, true), fitting: [0, 65535, '65535'], others: [-1, 65536, '-1'] },
  {
    type: int(64),
    fitting: [2 ** 53 - 1, 2n ** 63n - 1n, -(2n ** 63n), '9223372036854775807', '-9223372036854775808'],
    // A number beyond 2^53 may have been another one before somebody made it a double.
    others: [2 ** 53, 2 ** 63, 2n ** 63n, '9223372036854775808', '123456789012345678901'],
  },
  { type: int(64, true), fitting: ['18446744073709551615', 2n ** 64n - 1n], others: [2n ** 64n, -1n] },
  {
    type: float(64),
    fitting: [0.1, -0, 1e308, NaN, -Infinity, '0.1', '1E5', '-Infinity', 'NaN'],
    others: ['1e400', 'one', '0x10', '', ' 1', 1n, true],
  },
  {
    type: float(32),
    fitting: [0.1, 0.10000000149011612, 16777216, 3.4e38, NaN, '0.1'],
    others: [0.123456789123, 16777217, 1e39, '1e39'],
  },
  {
    type: decimal(null, null),
    fitting: [
      0.1,
      5n,
      '0',
      '-1.50',
      '123456789012345678901234567890.0001',
      'NaN',
      'Infinity',
      '-Infinity',
      NaN,
    ],
    others: [1e21, 1e-7, '1e5', '1.', '.5', '01', '+1', '-0', '-0.00', -0, 'nan', ''],
  },
  {
    type: decimal(5, 2),
    fitting: ['999.99', '-999.9', '0.01', 12.5, 'NaN'],
    others: ['1000', '0.001', '1234.5', 'Infinity'],
  },
  { type: decimal(2, 2), fitting: ['0.99', '0'], others: ['1.00', '0.999'] },
  { type: decimal(2, -3), fitting: ['99000'], others: ['100000', '0.5'] },
  { type: plain('text'), fitting: ['', 'é', '😀'], others: [1, true, '\ud83d', new Date(0), {}] },
  { type: plain('enum'), fitting: ['open'], others: [1] },
  { type: { kind: 'other', name: 'inet' }, fitting: ['::1'], others: [1] },
  {
    type: plain('uuid'),
    fitting: ['123e4567-e89b-12d3-a456-426614174000'],
    others: ['123E4567-e89b-12d3-a456-426614174000', '123e4567e89b12d3a456426614174000', 'x'],
  },
  { type: plain('json'), fitting: ['{"a": 1.0}', 'null', '"x"'], others: ['{a: 1}', '', { a: 1 }, 1] },
  { type: plain('bytes'), fitting: [Uint8Array.of(0, 255)], others: ['00ff', [0, 255]] },
  {
    type: plain('date'),
    fitting: ['2024-02-29', '0001-01-01', '12024-12-31', '0001-02-29 BC', 'infinity', '-infinity'],
    others: [
      '2023-02-29',
      '1900-02-29',
      '0004-02-29 BC',
      '0000-01-01',
      '2024-13-01',
      '2024-04-31',
      '2024-1-1',
      '02024-01-01',
      '2024-01-01T00:00:00Z',
      new Date(0),
    ],
  },
  {
    type: time(3, false),
    fitting: ['00:00:00', '23:59:59.123', '24:00:00'],
    others: ['23:59:59.1234', '24:00:01', '23:60:00', '1:00:00', '10:00:00+00'],
  },
  {
    type: time(6, true),
    fitting: ['10:00:00+02', '10:00:00.5-03:30', '10:00:00+00:19:32'],
    others: ['10:00:00', '10:00:00Z'],
  },
  {
    type: timestamp(6, false),
    fitting: ['2024-02-29 23:59:59.123456', '0044-03-15 12:00:00 BC', 'infinity'],
    others: [
      '2024-02-29T23:59:59',
      '2024-02-30 00:00:00',
      '2024-02-29 24:00:00',
      '2024-02-29 00:00:00+00',
      '2024-02-29 00:00:00.1234567',
      '2024-02-29',
    ],
  },
  {
    type: timestamp(0, true),
    fitting: ['2024-02-29 00:00:00+00', '0044-03-15 12:00:00+00 BC'],
    others: ['2024-02-29 00:00:00', '2024-02-29 00:00:00+02', '2024-02-29 00:00:00.5+00'],
  },
  {
    type: plain('interval'),
    fitting: ['P1Y2M-3DT4H5M6.7S', 'PT0S', 'P2W', 'PT-0.5S'],
    others: ['P', 'PT', '1 day', 'P1S', ''],
  },
  { type: array(int(32)), fitting: [[], [1, null, '2']], others: [1, '{1}', [1.5], [[1]], [undefined]] },
  { type: array(plain('text'), 2), fitting: [[], [[], ['a', null]]], others: [['a'], [null], [[1]]] },
]

describe('a value', () => {
  it.each(examples.map((one) => [describeType(one.type), one] as const))(
    'of type %s',
    (_, { type, fitting, others }) => {
      expect(fitting.filter((value) => !fits(type, value))).toEqual([])
      expect(others.filter((value) => fits(type, value as Value))).toEqual([])
      expect(
        [null, undefined, Symbol.for('sluice.unchanged')].filter((value) => fits(type, value as Value)),
      ).toEqual([])
      expect(expected(type).length).toBeGreaterThan(3)
    },
  )
})

describe('the name of a type', () => {
  it.each(examples.map(({ type }) => type).filter(({ kind }) => kind !== 'other'))(
    'is read back: %o',
    (type) => {
      expect(parseType(describeType(type))).toEqual(type)
    },
  )

  it.each([
    '',
    'int',
    'int24',
    'Int64',
    'varchar',
    'decimal(10)',
    'timestamp',
    'timestamp(10)',
    'text ',
    'array of',
    'array of inet',
    'inet',
  ])('is refused: %j', (name) => {
    expect(parseType(name)).toBe(null)
  })
})
