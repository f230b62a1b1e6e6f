import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cellWriter, jsonText } from '../../../src/connectors/sinks/zero/cell-writers.ts'
import { CellRefused } from '../../../src/connectors/sinks/zero/cells.ts'
import { readCells } from '../../../src/connectors/sinks/zero/record-reader.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'
import type { ColumnEncoding } from '../../../src/connectors/sinks/zero/types.ts'
import { formatArray } from '../../../src/core/array-text.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'

/** JSON text of one value. */
function cell(encoding: ColumnEncoding, canonical: string | Uint8Array): string {
  const bytes = Buffer.from(canonical as string)
  // Something before and behind, so that a writer that reads outside of its cell is seen.
  const arena = Buffer.concat([Buffer.from('9'), bytes, Buffer.from('9')]) as Arena
  const out = new RecordWriter(8)
  out.reserve(1)
  out.bytes[out.at++] = 0
  cellWriter(encoding)(arena, 1, bytes.length, out)
  const cells = readCells(out.bytes, 0, out.at)
  expect(cells).toHaveLength(2)
  expect(cells[0]).toBe(null)
  return cells[1]!
}

/** The slug of the error, or `taken`. */
function refusal(encoding: ColumnEncoding, canonical: string): string {
  try {
    cell(encoding, canonical)
  } catch (error) {
    if (!(error instanceof CellRefused)) throw error
    const shown = error.message + error.fix
    if (/\d{3}/.test(canonical) && shown.includes(canonical))
      throw new Error('the message holds the value', { cause: error })
    return error.reason
  }
  return 'taken'
}

/** The JSON text, or why there is none. */
function outcome(encoding: ColumnEncoding, canonical: string): string {
  const slug = refusal(encoding, canonical)
  return slug === 'taken' ? cell(encoding, canonical) : slug
}

const wellFormed = fc.string({ unit: 'binary', maxLength: 300 }).filter((text) => text.isWellFormed())
/** Mostly what must be escaped. */
const awkward = fc.string({
  unit: fc.constantFrom('"', '\\', '\n', '\t', '\u0000', '\u001f', '\u007f', 'a', 'é', '😀', '\u2028'),
  maxLength: 400,
})
/** 2^43 milliseconds, from where on doubles are further apart than microseconds. */
const LONGEST_MICROS = 2n ** 43n * 1000n

describe('text as JSON', () => {
  it('is what JSON.stringify gives, byte for byte', () => {
    fc.assert(
      fc.property(
        fc.oneof(wellFormed, awkward),
        fc.constantFrom('string', 'json' as const),
        (text, encoding) => {
          expect(cell(encoding, text)).toBe(JSON.stringify(text))
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('of every length around those where the length needs another byte, or another way is taken', () => {
    const lengths = [
      0, 1, 120, 121, 122, 123, 124, 125, 126, 127, 128, 4094, 4095, 4096, 4097, 4098, 16378, 16379, 16380,
      16381, 16384, 2097147, 2097148, 2097149,
    ]
    for (const length of lengths) {
      for (const text of [
        'a'.repeat(length),
        `${'"'.repeat(Math.min(length, 50))}${'b'.repeat(Math.max(0, length - 50))}`,
      ]) {
        expect(cell('string', text) === JSON.stringify(text), String(length)).toBe(true)
      }
    }
    for (const length of [20, 21, 22, 2728, 2729, 2730, 4096, 4097]) {
      const text = '\u0001'.repeat(length)
      expect(cell('string', text)).toBe(JSON.stringify(text))
    }
  })

  it('holds bytes as base64', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(cell('base64', bytes)).toBe(`"${Buffer.from(bytes).toString('base64')}"`)
      }),
    )
  })
})

describe('numbers as JSON', () => {
  it.each(['0', '-1', '42', '-2147483648', '999999999999999', '9007199254740991', '-9007199254740991'])(
    'keeps the integer %s',
    (text) => expect(cell('integer', text)).toBe(text),
  )

  it.each([
    '9007199254740992',
    '-9007199254740992',
    '9999999999999999',
    '10000000000000000',
    '-9223372036854775808',
    '18446744073709551615',
  ])('refuses the integer %s, which a client cannot read', (text) => {
    expect(refusal('integer', text)).toBe('value-unsafe')
  })

  it('takes exactly the integers that a double counts', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n }), (value) => {
        const isSafe = value < 2n ** 53n && value > -(2n ** 53n)
        expect(outcome('integer', String(value))).toBe(isSafe ? String(value) : 'value-unsafe')
      }),
    )
  })

  it.each([
    '0.1',
    '-12.30',
    '123456789012345',
    '0.000000000000001',
    '99999999999.9999',
    '1.50000000000000000',
    '0',
    '0.00',
    '-0.5',
  ])('keeps the decimal %s digit by digit', (text) => expect(cell('decimal', text)).toBe(text))

  it.each([
    '1234567890123456.7',
    '0.1234567890123456',
    '9007199254740993',
    '100000000000000000000',
    '9007199254740991.5',
    `0.${'0'.repeat(400)}1`,
  ])('refuses the decimal %s, whose digits a double loses', (text) =>
    expect(refusal('decimal', text)).toBe('value-unsafe'),
  )

  it('takes exactly the decimals that a double keeps and a client can read', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.stringMatching(/^(0|[1-9]\d{0,17})$/),
        fc.oneof(fc.stringMatching(/^\d{0,18}$/), fc.stringMatching(/^\d?0{0,9}$/)),
        (minus, whole, part) => {
          const text = `${minus ? '-' : ''}${whole}${part === '' ? '' : `.${part}`}`
          const all = BigInt(whole + part)
          const digits = String(all).replace(/0+$/, '').length
          const isWhole = all % 10n ** BigInt(part.length) === 0n
          const isNear = all <= BigInt(Number.MAX_SAFE_INTEGER) * 10n ** BigInt(part.length)
          // What is shorter than that is not looked at: a double has 15 digits.
          const taken = (digits <= 15 || isWhole) && isNear
          expect(outcome('decimal', text)).toBe(taken ? text : 'value-unsafe')
        },
      ),
      { numRuns: 1000 },
    )
  })

  // zero-cache would write them without an exponent, and read integers that its database does not take.
  it.each([
    '1e+20',
    '-1e+20',
    '1e20',
    '9223372036854775808',
    '-9.223372036854776e+18',
    '999999999999999900000',
    '1.5e+19',
  ])('writes the float %s in quotes', (text) => expect(cell('float', text)).toBe(`"${text}"`))

  it('refuses a document that is a number beyond all doubles', () => {
    expect(refusal('json', '1e400')).toBe('value-unsafe')
    expect(refusal('json', ` -1${'0'.repeat(310)}`)).toBe('value-unsafe')
    expect(cell('json', '[1e400]')).toBe('"[1e400]"')
    expect(cell('json', '1e300')).toBe('"1e300"')
    expect(cell('json', 'false')).toBe('"false"')
  })

  it('keeps every finite float', () => {
    const isHuge = (text: string): boolean =>
      Math.abs(Number(text)) >= 2 ** 63 && Math.abs(Number(text)) < 1e21

    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = Object.is(value, -0) ? '-0' : String(value)
        expect(cell('float', text)).toBe(isHuge(text) ? `"${text}"` : text)
        expect(JSON.parse(text)).toBe(value)
      }),
    )
    expect(cell('float', '1e+21')).toBe('1e+21')
    expect(cell('float', '9223372036854774784')).toBe('9223372036854774784')
    expect(cell('float[]', '{1e+20}')).toBe('[1e+20]')
    expect(cell('float', '-2.5E-07')).toBe('-2.5E-07')
  })

  it.each([
    ['float', 'NaN'],
    ['float', 'Infinity'],
    ['float', '-Infinity'],
    ['decimal', 'NaN'],
    ['decimal', '-Infinity'],
    ['date', 'infinity'],
    ['date', '-infinity'],
    ['timestamp', 'infinity'],
    ['timestamp', '-infinity'],
  ] as const)('refuses %s %s', (encoding, text) => expect(refusal(encoding, text)).toBe('not-finite'))

  it.each([
    ['integer', ''],
    ['integer', '-'],
    ['integer', '+1'],
    ['integer', '1.0'],
    ['integer', '01'],
    ['integer', '12345678901234567x'],
    ['decimal', ''],
    ['decimal', '-'],
    ['decimal', '.5'],
    ['decimal', '5.'],
    ['decimal', '1.2.3'],
    ['decimal', '1e3'],
    ['decimal', '00.5'],
    ['float', ''],
    ['float', '1.'],
    ['float', '.5'],
    ['float', '1e'],
    ['float', '1x'],
    ['float', '01'],
    ['float', '--1'],
    ['boolean', 'true'],
    ['boolean', ''],
    ['date', '2020-02-30'],
    ['date', '2100-02-29'],
    ['date', '0000-01-01'],
    ['date', '20-01-01'],
    ['date', '2020-1-01'],
    ['date', '2020-01-01x'],
    ['timestamp', '2020-01-01'],
    ['timestamp', '2020-01-01T00:00:00'],
    ['timestamp', '2020-01-01 24:00:00'],
    ['timestamp', '2020-01-01 00:00:60'],
    ['timestamp', '2020-01-01 00:00:00.'],
    ['timestamp', '2020-01-01 00:00:00+01'],
    ['time', '24:00:01'],
    ['time', '1:00:00'],
    ['time', '10:00:00+02'],
    ['timetz', '10:00:00'],
    ['timetz', '10:00:00+2'],
    ['integer[]', '{1,2'],
    ['integer[]', '{1}}'],
    ['integer[]', '{1,}'],
    ['integer[]', '{,1}'],
    ['integer[]', '{1{2}}'],
    ['integer[]', '{{1}{2}}'],
    ['string[]', '{"a}'],
    ['string[]', '{"a"b}'],
    ['base64[]', '{"\\\\x0"}'],
  ] as const)('refuses %s "%s", which is not canonical', (encoding, text) => {
    expect(refusal(encoding, text)).toBe('malformed')
  })

  it('has true and false', () => {
    expect([cell('boolean', 't'), cell('boolean', 'f')]).toEqual(['true', 'false'])
  })
})

/** The exact number that decimal text of milliseconds says, in microseconds. */
function microsOf(text: string): bigint {
  const [, minus, whole, part = ''] = /^(-?)(\d+)(?:\.(\d{1,3}))?$/.exec(text)!
  const value = BigInt(whole!) * 1000n + BigInt(part.padEnd(3, '0'))
  return minus === '-' ? -value : value
}

/** `YYYY-MM-DD HH:MM:SS[.f]`, and ` BC` by itself; by the calendar of JS. */
function momentText(micros: bigint): readonly [moment: string, era: string] {
  const rest = ((micros % 1000n) + 1000n) % 1000n
  const [, year, tail] = /^([+-]?\d+)-(.*)Z$/.exec(new Date(Number((micros - rest) / 1000n)).toISOString())!
  const number = Number(year)
  const shown = String(number > 0 ? number : 1 - number).padStart(4, '0')
  const clock = `${tail!.replace('T', ' ')}${String(rest).padStart(3, '0')}`.replace(/\.?0+$/, (zeros) =>
    zeros.startsWith('.') ? '' : zeros.replace(/0+$/, ''),
  )
  return [`${shown}-${clock.length < 14 ? clock.padEnd(14, '0') : clock}`, number > 0 ? '' : ' BC']
}

describe('moments as milliseconds', () => {
  it.each([
    ['date', '1970-01-01', '0'],
    ['date', '1969-12-31', '-86400000'],
    ['date', '2024-02-29', '1709164800000'],
    ['date', '0001-01-01', '-62135596800000'],
    ['date', '0001-12-31 BC', '-62135683200000'],
    ['date', '0044-03-15 BC', '-63517824000000'],
    ['date', '12345-01-01', '327403382400000'],
    ['timestamp', '1970-01-01 00:00:00.000001', '0.001'],
    ['timestamp', '1969-12-31 23:59:59.999999+00', '-0.001'],
    ['timestamp', '1969-12-31 23:59:59.5', '-500'],
    ['timestamp', '2024-05-06 12:34:56.123456+00', '1714998896123.456'],
    ['timestamp', '2024-05-06 12:34:56.1234567000', 'value-unsafe'],
    ['timestamp', '2024-05-06 12:34:56.1234560000', '1714998896123.456'],
    ['timestamp', '9999-12-31 23:59:59.999', '253402300799999'],
    ['timestamp', '9999-12-31 23:59:59.999999', 'value-unsafe'],
    ['timestamp', '0044-03-15 12:00:00+00 BC', '-63517780800000'],
    ['time', '00:00:00', '0'],
    ['time', '23:59:59.999999', '86399999.999'],
    ['time', '24:00:00', '86400000'],
    ['timetz', '10:30:00.5+02', '30600500'],
    ['timetz', '01:00:00+05:30', '70200000'],
    ['timetz', '23:00:00.000001-03:00:01', '7201000.001'],
  ] as const)('%s %s is %s', (encoding, text, expected) => {
    expect(outcome(encoding, text)).toBe(expected)
  })

  it('says every timestamp that a double tells apart by its microsecond, exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -LONGEST_MICROS, max: LONGEST_MICROS }), fc.boolean(), (micros, zoned) => {
        const [moment, era] = momentText(micros)
        const text = cell('timestamp', `${moment}${zoned ? '+00' : ''}${era}`)
        expect(microsOf(text)).toBe(micros)
        // What zero-cache reads is nearest to it.
        expect(microsOf((JSON.parse(text) as number).toFixed(3))).toBe(micros)
        expect(text).toBe(text.replace(/(\.\d*?)0+$/, '$1'))
      }),
      { numRuns: 2000 },
    )
  })

  it('takes the last microsecond that is exact, and refuses the next', () => {
    for (const sign of [1n, -1n]) {
      const [moment, era] = momentText(sign * LONGEST_MICROS)
      expect(microsOf(cell('timestamp', moment + era))).toBe(sign * LONGEST_MICROS)
      const [next, nextEra] = momentText(sign * (LONGEST_MICROS + 1n))
      expect(refusal('timestamp', next + nextEra)).toBe('value-unsafe')
    }
  })

  it('says whole milliseconds as far as the calendar of JS reaches', () => {
    const limit = 8_640_000_000_000_000n
    fc.assert(
      fc.property(fc.bigInt({ min: -limit, max: limit }), (milliseconds) => {
        const [moment, era] = momentText(milliseconds * 1000n)
        expect(cell('timestamp', moment + era)).toBe(String(milliseconds))
        const day = new Date(Number(milliseconds)).setUTCHours(0, 0, 0, 0)
        expect(cell('date', moment.replace(/ .*/, '') + era)).toBe(String(day))
      }),
    )
    expect(refusal('date', '5874897-12-31')).toBe('value-unsafe')
  })

  it('says every microsecond of a day', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 86_399_999_999n }), (micros) => {
        const [moment] = momentText(micros)
        expect(microsOf(cell('time', moment.slice(11)))).toBe(micros)
      }),
    )
  })
})

type Nested<T> = T | null | Nested<T>[]

const nested = <T>(element: fc.Arbitrary<T>): fc.Arbitrary<Nested<T>[]> => {
  const item = fc.option(element, { nil: null })
  return fc.oneof(
    fc.array(item, { maxLength: 6 }),
    fc.array(fc.array(item, { maxLength: 4 }), { maxLength: 4 }),
  ) as fc.Arbitrary<Nested<T>[]>
}

describe('arrays as JSON', () => {
  it('are arrays of what their elements are, nested as they are, with nulls', () => {
    const text = fc.oneof(wellFormed, fc.constantFrom('NULL', 'null', '', ',', '{}', '"', '\\', ' '))
    fc.assert(
      fc.property(nested(text), (values) => {
        expect(JSON.parse(cell('string[]', formatArray(values, String)))).toEqual(values)
      }),
    )
    fc.assert(
      fc.property(nested(fc.integer()), (values) => {
        expect(JSON.parse(cell('integer[]', formatArray(values, String)))).toEqual(values)
      }),
    )
    fc.assert(
      fc.property(nested(fc.uint8Array({ maxLength: 20 })), (values) => {
        const canonical = formatArray(
          values,
          (bytes) => `\\x${Buffer.from(bytes as Uint8Array).toString('hex')}`,
        )
        const base64 = (value: Nested<Uint8Array>): unknown =>
          value instanceof Uint8Array
            ? Buffer.from(value).toString('base64')
            : Array.isArray(value)
              ? value.map(base64)
              : value
        expect(JSON.parse(cell('base64[]', canonical))).toEqual(base64(values))
      }),
    )
  })

  it('of JSON are a string that holds the text of the array, each element as it was written', () => {
    fc.assert(
      fc.property(nested(fc.json()), (values) => {
        const inner = JSON.parse(cell('json[]', formatArray(values, String))) as string
        const parsed = (value: Nested<string>): unknown =>
          typeof value === 'string' ? JSON.parse(value) : Array.isArray(value) ? value.map(parsed) : value
        expect(JSON.parse(inner)).toEqual(parsed(values))
      }),
    )
    expect(cell('json[]', '{"{\\"a\\": 1.10}",NULL,3}')).toBe(String.raw`"[{\"a\": 1.10},null,3]"`)
  })

  it.each([
    ['boolean[]', '{t,f,NULL}', '[true,false,null]'],
    ['decimal[]', '{{1.50,2},{NULL,-3}}', '[[1.50,2],[null,-3]]'],
    ['timestamp[]', '{"1970-01-01 00:00:01+00"}', '[1000]'],
    ['date[]', '{1970-01-02}', '[86400000]'],
    ['string[]', '{}', '[]'],
    ['string[]', '{"NULL",null}', '["NULL","null"]'],
    ['string[]', '{{},{}}', '[[],[]]'],
  ] as const)('%s %s is %s', (encoding, text, expected) => expect(cell(encoding, text)).toBe(expected))

  it('refuse an element that would be refused alone, and bounds that do not start at 1', () => {
    expect(refusal('integer[]', '{1,9007199254740993}')).toBe('value-unsafe')
    expect(refusal('float[]', '{NaN}')).toBe('not-finite')
    expect(refusal('integer[]', '[0:1]={1,2}')).toBe('array-bounds')
  })

  it('may be longer than the first size of any buffer', () => {
    const values = Array.from({ length: 30_000 }, (_, index) => `value "${index}"`)
    expect(JSON.parse(cell('string[]', formatArray(values, String)))).toEqual(values)
    const long = 'x"'.repeat(50_000)
    expect(JSON.parse(cell('string[]', formatArray([long], String)))).toEqual([long])
  })
})

describe('jsonText', () => {
  it('gives the text for a single value, of bytes from their hex form', () => {
    expect(jsonText('integer', '42')).toBe('42')
    expect(jsonText('string', 'é"')).toBe('"é\\""')
    expect(jsonText('base64', '\\x00ff')).toBe('"AP8="')
  })

  it('names an encoding that it does not know', () => {
    expect(() => jsonText('geometry' as ColumnEncoding, '')).toThrow(/"geometry"/)
    expect(() => jsonText('toString' as ColumnEncoding, '')).toThrow(/"toString"/)
  })
})
