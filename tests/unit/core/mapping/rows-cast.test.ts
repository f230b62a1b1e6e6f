import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ColumnType, describeType, parseType } from '../../../../src/core/column-type.ts'
import { fits } from '../../../../src/core/fits.ts'
import { formatMoment, parseMoment } from '../../../../src/core/mapping/rows/row-moments.ts'
import { castOf, momentText, plainDigits } from '../../../../src/core/mapping/rows/rows-cast.ts'
import { cellValue, cellWriter } from '../../../../src/core/mapping/rows/rows-value.ts'
import type { DocumentValue } from '../../../../src/core/mapping/value.ts'

const MISFIT = null

const cellText = (type: ColumnType, value: DocumentValue): string | null => cellWriter(type)(value)

/** from, to, canonical text, what becomes of it. */
const CASTS: readonly (readonly [string, string, string, string | null])[] = [
  ['int32', 'int64', '-7', '-7'],
  ['int64', 'int32', '2147483647', '2147483647'],
  ['int64', 'int32', '2147483648', MISFIT],
  ['int32', 'uint8', '-1', MISFIT],
  ['int64', 'float64', '9007199254740992', '9007199254740992'],
  ['int64', 'float64', '9007199254740993', MISFIT],
  ['int64', 'float32', '16777217', MISFIT],
  ['int64', 'decimal(5,2)', '999', '999'],
  ['int64', 'decimal(5,2)', '1000', MISFIT],
  ['int32', 'bool', '1', 't'],
  ['int32', 'bool', '2', MISFIT],
  ['int32', 'text', '5', '5'],
  ['int64', 'json', '9223372036854775807', '9223372036854775807'],
  ['float64', 'int32', '3', '3'],
  ['float64', 'int32', '3.5', MISFIT],
  ['float64', 'int32', '-0', '0'],
  ['float64', 'int64', '1e+21', MISFIT],
  ['float64', 'decimal', '1e+21', '1000000000000000000000'],
  ['float64', 'decimal(4,3)', '1e-7', MISFIT],
  ['float64', 'decimal(9,8)', '1e-7', '0.0000001'],
  ['float64', 'decimal(9,8)', 'NaN', 'NaN'],
  ['float64', 'float32', '0.1', '0.1'],
  ['float64', 'float32', '0.1234567891', MISFIT],
  ['float32', 'float64', '0.1', '0.1'],
  ['float64', 'text', '1.5e-7', '0.00000015'],
  ['float64', 'json', 'NaN', '"NaN"'],
  ['decimal(12,2)', 'float64', '10.50', '10.5'],
  ['decimal', 'float64', '0.1', '0.1'],
  ['decimal', 'float64', '123456789012345678.9', MISFIT],
  ['decimal', 'int32', '12.00', '12'],
  ['decimal', 'int32', '12.01', MISFIT],
  ['decimal', 'decimal(5,1)', '12.300', '12.3'],
  ['decimal', 'decimal(5,1)', '12.34', MISFIT],
  ['decimal', 'decimal(5,1)', '-0.0', '0'],
  ['decimal', 'text', '12.30', '12.30'],
  ['bool', 'text', 't', 'true'],
  ['bool', 'int32', 'f', '0'],
  ['bool', 'json', 't', 'true'],
  ['text', 'int32', '12', '12'],
  ['text', 'int32', ' 12', MISFIT],
  ['text', 'int32', '', MISFIT],
  ['text', 'float64', '1.5', '1.5'],
  ['text', 'float64', '0x10', MISFIT],
  ['text', 'bool', 'true', 't'],
  ['text', 'bool', 'yes', MISFIT],
  ['text', 'uuid', '00112233-4455-6677-8899-aabbccddeeff', '00112233-4455-6677-8899-aabbccddeeff'],
  ['text', 'uuid', '00112233-4455-6677-8899-AABBCCDDEEFF', MISFIT],
  ['text', 'json', '{"a":1}', '"{\\"a\\":1}"'],
  ['text', 'date', '2024-02-30', MISFIT],
  ['text', 'bytes', '\\xff00', '\\xff00'],
  ['bytes', 'text', '\\x00ff', '\\x00ff'],
  ['bytes', 'json', '\\x00ff', '"AP8="'],
  ['bytes', 'uuid', '\\x00112233445566778899aabbccddeeff', '00112233-4455-6677-8899-aabbccddeeff'],
  ['bytes', 'uuid', '\\x00', MISFIT],
  ['uuid', 'bytes', '00112233-4455-6677-8899-aabbccddeeff', '\\x00112233445566778899aabbccddeeff'],
  ['date', 'timestamp(6)', '2024-02-29', '2024-02-29 00:00:00'],
  ['date', 'timestamp(6) with time zone', '0044-03-15 BC', '0044-03-15 00:00:00+00 BC'],
  ['date', 'timestamp(6)', 'infinity', 'infinity'],
  ['date', 'int64', '1970-01-02', '86400000'],
  ['timestamp(6)', 'date', '2024-02-29 00:00:00', '2024-02-29'],
  ['timestamp(6)', 'date', '2024-02-29 00:00:01', MISFIT],
  ['timestamp(6) with time zone', 'timestamp(3)', '2024-02-29 23:59:59.123+00', '2024-02-29 23:59:59.123'],
  ['timestamp(6) with time zone', 'timestamp(3) with time zone', '2024-02-29 23:59:59.1234+00', MISFIT],
  [
    'timestamp(6)',
    'timestamp(3) with time zone',
    '2024-02-29 23:59:59.1+00 BC',
    '2024-02-29 23:59:59.1+00 BC',
  ],
  ['timestamp(3) with time zone', 'int64', '1969-12-31 23:59:59.999+00', '-1'],
  ['timestamp(6) with time zone', 'int64', '2024-02-29 23:59:59.000001+00', MISFIT],
  ['timestamp(6) with time zone', 'float64', '2024-02-29 23:59:59.5+00', '1709251199500'],
  ['timestamp(6)', 'int64', 'infinity', MISFIT],
  ['timestamp(6)', 'text', '2024-02-29 23:59:59.5', '2024-02-29 23:59:59.5'],
  ['time(6)', 'time(0)', '10:00:00.000', '10:00:00'],
  ['time(6)', 'time(0)', '10:00:00.5', MISFIT],
  ['array of int32', 'json', '{1,NULL,{2,3}}', '[1,null,[2,3]]'],
  ['array of text', 'json', '{a,"b\\"c"}', '["a","b\\"c"]'],
  ['array of int32', 'text', '{1,2}', '{1,2}'],
]

const IMPOSSIBLE: readonly (readonly [string, string])[] = [
  ['json', 'int32'],
  ['interval', 'int64'],
  ['array of int32', 'array of text'],
  ['date', 'bool'],
  ['uuid', 'int64'],
  ['time(6)', 'timestamp(6)'],
  ['bool', 'date'],
  ['timestamp(6)', 'float32'],
]

describe('a cast', () => {
  it.each(CASTS)('%s to %s: %s is %s', (from, to, text, expected) => {
    const cast = castOf(parseType(from)!, parseType(to)!)
    if (cast === null) throw new Error('there is no such cast')
    expect(cast === 'same' ? text : cast(text)).toBe(expected)
  })

  it.each(IMPOSSIBLE)('from %s to %s there is none', (from, to) => {
    expect(castOf(parseType(from)!, parseType(to)!)).toBe(null)
  })

  it('gives nothing that does not fit its type, whatever the text', () => {
    const names = [
      'bool',
      'int16',
      'int64',
      'float32',
      'float64',
      'decimal(6,2)',
      'text',
      'uuid',
      'date',
      'time(3)',
      'timestamp(3)',
      'json',
    ]
    const types = names.map((name) => parseType(name)!)
    const texts = fc.oneof(
      fc.constantFrom(
        't',
        'f',
        'NaN',
        '-Infinity',
        '0',
        '-0',
        '1e3',
        '0001',
        '{}',
        'infinity',
        '2024-01-01',
        '10:00:00',
      ),
      fc.double().map(String),
      fc.bigInt(-(2n ** 65n), 2n ** 65n).map(String),
      fc.string(),
    )
    fc.assert(
      fc.property(fc.constantFrom(...types), texts, (to, text) => {
        const cast = castOf({ kind: 'text' }, to)!
        const converted = cast === 'same' ? text : cast(text)
        if (converted === null) return
        const value = to.kind === 'bool' ? converted === 't' : converted
        expect(fits(to, value), `${describeType(to)}: ${converted}`).toBe(true)
      }),
    )
  })

  it('writes plain digits of the same number', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = plainDigits(String(value))
        expect(text).toMatch(/^-?(0|[1-9]\d*)(\.\d+)?$/)
        expect(Number(text)).toBe(value === 0 ? 0 : value)
      }),
    )
  })
})

describe('a moment', () => {
  it('is the same after being written and read, and what Date says of it', () => {
    fc.assert(
      fc.property(fc.bigInt(-210_000_000_000_000n, 9_000_000_000_000_000n), (milliseconds) => {
        expect(parseMoment(momentText(milliseconds))).toEqual({ milliseconds, nanoseconds: 0 })
        const year = new Date(Number(milliseconds)).getUTCFullYear()
        if (year < 1 || year > 9999 || Number.isNaN(year)) return
        const { day } = formatMoment(milliseconds)
        expect(day).toBe(new Date(Number(milliseconds)).toISOString().slice(0, 10))
      }),
    )
  })
})

describe('a cell as a value', () => {
  it.each([
    ['int32', '7', { kind: 'int', value: 7 }],
    ['int64', '9223372036854775807', { kind: 'long', value: 9223372036854775807n }],
    ['uint64', '18446744073709551615', { kind: 'decimal', value: '18446744073709551615' }],
    ['decimal(12,2)', '1.50', { kind: 'decimal', value: '1.50' }],
    ['float64', 'NaN', { kind: 'double', value: Number.NaN }],
    ['bool', 'f', { kind: 'bool', value: false }],
    [
      'uuid',
      '00112233-4455-6677-8899-aabbccddeeff',
      { kind: 'string', value: '00112233-4455-6677-8899-aabbccddeeff' },
    ],
    ['timestamp(6) with time zone', '1970-01-01 00:00:01.0019+00', { kind: 'date', value: 1001n }],
    ['date', '-infinity', { kind: 'date', value: -(2n ** 63n) }],
    ['bytes', '\\x00ff', { kind: 'binary', value: Uint8Array.of(0, 255), subtype: 0 }],
    ['array of int32', '{1,NULL}', { kind: 'array', value: [{ kind: 'int', value: 1 }, { kind: 'null' }] }],
    ['json', '9007199254740993', { kind: 'long', value: 9007199254740993n }],
    ['json', '1.10', { kind: 'double', value: 1.1 }],
    ['json', '0.12345678901234567890', { kind: 'decimal', value: '0.12345678901234567890' }],
    [
      'json',
      '{"__proto__":[true]}',
      {
        kind: 'object',
        value: new Map([['__proto__', { kind: 'array', value: [{ kind: 'bool', value: true }] }]]),
      },
    ],
  ] as const)('%s %s', (type, text, expected) => {
    expect(cellValue(parseType(type)!, text)).toEqual(expected)
  })

  it('comes back as the cell that it was', () => {
    const cells = [
      ['int64', '-9223372036854775808'],
      ['float64', '1.5'],
      ['decimal', '1.50'],
      ['timestamp(3) with time zone', '2024-02-29 23:59:59.5+00'],
      ['timestamp(3)', 'infinity'],
      ['date', '0044-03-15 BC'],
      ['bytes', '\\x00ff'],
      ['json', '{"a":[1,9007199254740993,null,"x"]}'],
    ] as const
    for (const [name, text] of cells) {
      const type = parseType(name)!
      expect(Number(cellText(type, cellValue(type, text))) || cellText(type, cellValue(type, text))).toEqual(
        Number(text) || text,
      )
    }
  })

  it('is no cell of a type that does not hold it', () => {
    expect(cellText({ kind: 'int', bits: 32, unsigned: false }, { kind: 'string', value: '12' })).toBe(null)
    expect(cellText({ kind: 'text' }, { kind: 'minKey' })).toBe(null)
    expect(cellText({ kind: 'bool' }, { kind: 'object', value: new Map() })).toBe(null)
  })
})
