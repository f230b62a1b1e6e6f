import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../../../src/core/error.ts'
import { compare, equal } from '../../../../src/core/mapping/values/compare.ts'
import {
  addDecimals,
  decimalOfDouble,
  decimalText,
  divideDecimals,
  multiplyDecimals,
  parseDecimal,
  type Rounding,
  toScale,
} from '../../../../src/core/mapping/values/decimal.ts'
import { fromExtendedJson } from '../../../../src/core/mapping/values/extended-json.ts'
import { isoText, isZone, momentIn, parseMoment } from '../../../../src/core/mapping/values/moment.ts'
import { parsePath, pathsToRead, valueAt } from '../../../../src/core/mapping/path.ts'
import { compilePattern } from '../../../../src/core/mapping/query/pattern.ts'
import type { DocumentValue } from '../../../../src/core/mapping/value.ts'
import type { Json } from '../../../../src/core/position.ts'
import { doc } from '../../../support/documents.ts'
import { type Random, seeded } from '../../../support/random.ts'

const value = fromExtendedJson
const HEX = '507f1f77bcf86cd799439011'

describe('the order of values', () => {
  /** "Comparison/Sort Order" of the manual, from the lowest on; what stands in one list is equal. */
  const ORDER: readonly (readonly Json[])[] = [
    [{ $minKey: 1 }],
    [null, { $undefined: true }],
    [{ $numberDouble: 'NaN' }, { $numberDecimal: 'NaN' }],
    [{ $numberDouble: '-Infinity' }, { $numberDecimal: '-Infinity' }],
    [{ $numberDecimal: `-1E+6000` }],
    [{ $numberLong: '-9223372036854775808' }, { $numberDouble: '-9223372036854775808' }],
    [{ $numberDouble: '-0.0' }, 0, { $numberLong: '0' }, { $numberDecimal: '0.00' }],
    [{ $numberDecimal: '0.1' }],
    // The double is 0.1000000000000000055...
    [{ $numberDouble: '0.1' }],
    [1, { $numberLong: '1' }, { $numberDouble: '1' }, { $numberDecimal: '1.0' }],
    [{ $numberLong: '9007199254740992' }, { $numberDouble: '9007199254740992' }],
    [{ $numberLong: '9007199254740993' }, { $numberDecimal: '9007199254740993' }],
    [{ $numberDecimal: '1E+6000' }],
    [{ $numberDouble: 'Infinity' }, { $numberDecimal: 'Infinity' }],
    ['', { $symbol: '' }],
    ['Z'],
    ['a', { $symbol: 'a' }],
    ['aa'],
    ['\u{ffff}'],
    ['\u{10000}'],
    [{}],
    // By the type of the value before its name.
    [{ b: 1 }],
    [{ a: 'x' }],
    [{ a: 'x', b: 1 }],
    [{ b: 'x' }],
    [[]],
    [[1, 2]],
    [[1, 2, 0]],
    [[2]],
    [{ $binary: { base64: '', subType: '00' } }],
    [{ $binary: { base64: '/w==', subType: '00' } }],
    [{ $binary: { base64: 'AA==', subType: '05' } }],
    [{ $binary: { base64: 'AAA=', subType: '00' } }],
    [{ $oid: HEX }],
    [{ $oid: 'ffffffffffffffffffffffff' }],
    [false],
    [true],
    [{ $date: '1969-12-31T23:59:59Z' }],
    [{ $date: '2020-01-01' }],
    [{ $timestamp: { t: 1, i: 2 } }],
    [{ $timestamp: { t: 2, i: 1 } }],
    [{ $regularExpression: { pattern: 'a', options: '' } }],
    [{ $regularExpression: { pattern: 'a', options: 'i' } }],
    [{ $code: 'x' }],
    [{ $maxKey: 1 }],
  ]

  it('is that of the manual', () => {
    const ranked = ORDER.flatMap((group, rank) => group.map((json) => ({ rank, json, value: value(json) })))
    for (const a of ranked) {
      for (const b of ranked) {
        const order = Math.sign(compare(a.value, b.value))
        expect(order, `${JSON.stringify(a.json)} and ${JSON.stringify(b.json)}`).toBe(
          Math.sign(a.rank - b.rank),
        )
      }
    }
  })

  it('puts what is missing between minKey and null', () => {
    expect(compare(undefined, value(null))).toBeLessThan(0)
    expect(compare(undefined, value({ $minKey: 1 }))).toBeGreaterThan(0)
    expect(compare(undefined, undefined)).toBe(0)
  })

  it('is exact and total for random numbers of all types', () => {
    const random = seeded('numbers')
    const numbers = Array.from({ length: 60 }, () => randomNumber(random))
    for (const a of numbers) {
      for (const b of numbers) {
        const [left, right] = scaled(a.exact, b.exact)
        expect(Math.sign(compare(a.value, b.value))).toBe(left < right ? -1 : left > right ? 1 : 0)
        expect(equal(a.value, b.value)).toBe(left === right)
      }
    }
  })
})

interface Exact {
  readonly digits: bigint
  readonly scale: number
}

function randomNumber(random: Random): { readonly value: DocumentValue; readonly exact: Exact } {
  const whole = BigInt(random.below(2 ** 31)) * BigInt(random.below(2 ** 31)) - 2n ** 61n
  const small = random.below(5) - 2
  switch (random.below(4)) {
    case 0:
      return { value: { kind: 'int', value: small }, exact: { digits: BigInt(small), scale: 0 } }
    case 1: {
      const digits = random.chance(0.5) ? whole : BigInt(small)
      return { value: { kind: 'long', value: digits }, exact: { digits, scale: 0 } }
    }
    case 2: {
      // Halves and quarters: binary fractions whose decimals are known.
      const quarters = random.chance(0.5) ? small : Number(whole)
      return {
        value: { kind: 'double', value: quarters / 4 },
        exact: { digits: BigInt(quarters) * 25n, scale: 2 },
      }
    }
    default: {
      const exact = { digits: random.chance(0.5) ? whole : BigInt(small), scale: random.below(4) }
      return { value: { kind: 'decimal', value: decimalText(exact) }, exact }
    }
  }
}

function scaled(a: Exact, b: Exact): readonly [bigint, bigint] {
  const scale = Math.max(a.scale, b.scale)
  return [a.digits * 10n ** BigInt(scale - a.scale), b.digits * 10n ** BigInt(scale - b.scale)]
}

describe('decimals', () => {
  const d = (text: string): Exact => parseDecimal(text)!

  it.each([
    ['1E+3', '1000'],
    ['-1.50', '-1.50'],
    ['1e-3', '0.001'],
    ['.5', '0.5'],
    ['-0.0', '0.0'],
  ])('writes %s as %s', (text, plain) => {
    expect(decimalText(d(text))).toBe(plain)
  })

  it.each(['', '.', 'x', '1.2.3', 'NaN', '0x1', '1e', ' 1'])('takes %j for no number', (text) => {
    expect(parseDecimal(text)).toBeNull()
  })

  it('knows what a double is exactly', () => {
    expect(decimalText(decimalOfDouble(0.1))).toBe(
      '0.1000000000000000055511151231257827021181583404541015625',
    )
    expect(Number(decimalText(decimalOfDouble(Number.MIN_VALUE)))).toBe(Number.MIN_VALUE)
    expect(Number(decimalText(decimalOfDouble(Number.MAX_VALUE)))).toBe(Number.MAX_VALUE)
  })

  it.each<readonly [string, number, Rounding, string]>([
    ['2.5', 0, 'half-even', '2'],
    ['3.5', 0, 'half-even', '4'],
    ['-2.5', 0, 'half-even', '-2'],
    ['2.51', 0, 'half-even', '3'],
    ['-2.1', 0, 'floor', '-3'],
    ['-2.1', 0, 'ceil', '-2'],
    ['-2.9', 0, 'truncate', '-2'],
    ['1250', -2, 'half-even', '1200'],
    ['1.5', 3, 'half-even', '1.500'],
  ])('rounds %s to %i places by %s: %s', (text, scale, rounding, expected) => {
    expect(decimalText(toScale(d(text), scale, rounding))).toBe(expected)
  })

  it('rounds results to 34 digits, half to even, as IEEE 754 does', () => {
    const nines = '9'.repeat(34)
    expect(decimalText(addDecimals(d(nines), d('1')))).toBe(`1${'0'.repeat(34)}`)
    expect(decimalText(addDecimals(d(`${nines.slice(1)}8`), d('0.5')))).toBe(`${nines.slice(1)}8`)
    expect(decimalText(multiplyDecimals(d(nines), d(nines)))).toBe(`${'9'.repeat(33)}8${'0'.repeat(34)}`)
    expect(decimalText(divideDecimals(d('-1'), d('7')))).toBe('-0.1428571428571428571428571428571429')
    expect(decimalText(divideDecimals(d('1'), d('8')))).toBe('0.125')
    expect(decimalText(divideDecimals(d('100'), d('0.1')))).toBe('1000')
  })
})

describe('Extended JSON', () => {
  it.each<readonly [Json, string, unknown]>([
    [{ $oid: HEX.toUpperCase() }, 'objectId', HEX],
    [5, 'int', 5],
    [2147483648, 'long', 2147483648n],
    [0.5, 'double', 0.5],
    [{ $numberInt: '5' }, 'int', 5],
    [{ $numberLong: '-9223372036854775808' }, 'long', -9223372036854775808n],
    [{ $numberDouble: '-Infinity' }, 'double', -Infinity],
    [{ $numberDecimal: '1.10' }, 'decimal', '1.10'],
    [{ $date: '2012-12-24T12:15:30.501+02:00' }, 'date', 1356344130501n],
    [{ $date: { $numberLong: '-1' } }, 'date', -1n],
    [{ $timestamp: { t: 1, i: 2 } }, 'timestamp', 4294967298n],
    [{ $symbol: 's' }, 'symbol', 's'],
    [{ $code: 'c' }, 'code', 'c'],
    [
      { $uuid: '00112233-4455-6677-8899-aabbccddeeff' },
      'binary',
      new Uint8Array(Buffer.from('00112233445566778899aabbccddeeff', 'hex')),
    ],
    [{ $binary: { base64: '/w==', subType: '80' } }, 'binary', new Uint8Array([255])],
    [{ $regularExpression: { pattern: 'p', options: 'xi' } }, 'regex', 'p'],
  ])('%j is of the type %s', (json, kind, expected) => {
    expect(value(json)).toMatchObject({ kind, value: expected })
  })

  it('is read as the driver reads it', () => {
    const document: Json = {
      i: 1,
      l: { $numberLong: '9007199254740993' },
      d: { $numberDouble: '1.5' },
      n: { $numberDecimal: '1.10' },
      o: { $oid: HEX },
      t: { $date: '2020-01-02T03:04:05.678Z' },
      u: { $uuid: '00112233-4455-6677-8899-aabbccddeeff' },
      a: [null, true, 'x', { b: { $minKey: 1 } }],
    }
    const read = BSON.EJSON.parse(JSON.stringify(document), { relaxed: false, useBigInt64: true }) as Record<
      string,
      { toString(): string }
    >
    const fields = (value(document) as { value: ReadonlyMap<string, { value: { toString(): string } }> })
      .value
    for (const name of ['i', 'l', 'd', 'n', 'o']) {
      expect(fields.get(name)!.value.toString()).toBe(read[name]!.toString())
    }
    expect(fields.get('t')!.value).toBe(BigInt((read['t'] as unknown as Date).getTime()))
    expect(Buffer.from(fields.get('u')!.value as Uint8Array)).toEqual((read['u'] as BSON.UUID).buffer)
  })

  it.each<Json>([
    { $oid: 'x' },
    { $date: 'Friday' },
    { $date: '2020-02-30' },
    { $numberInt: '2147483648' },
    { $numberLong: '9223372036854775808' },
    { $numberDouble: '' },
    { $numberDecimal: 'x' },
    { $numberDecimal: '1E+7000' },
    { $binary: 'AA==' },
    { $uuid: '00' },
    { $timestamp: { t: -1, i: 0 } },
    { $oid: HEX, more: 1 },
    { a: { $unknown: 1 } },
    2 ** 53,
  ])('refuses %j', (json) => {
    expect(() => value(json)).toThrow(ConfigError)
  })
})

describe('moments', () => {
  it.each([
    ['2018-03-20', 1521504000000n],
    ['2018-03-20 11:00:06 +0500', 1521525606000n],
    ['2018-03-20T11:00:06.1239Z', 1521543606123n],
    ['0001-01-01', -62135596800000n],
    ['2018-03-20T25:00', null],
    ['2018-13-01', null],
    ['20180320', null],
  ])('reads %s as %s', (text, expected) => {
    expect(parseMoment(text)).toBe(expected)
  })

  it('knows the hour of every zone, also of negative years of the calendar, and where it ends', () => {
    const summer = parseMoment('2020-07-01T00:30:00Z')!
    expect(momentIn(summer, 'Asia/Kolkata')).toMatchObject({ hour: 6, minute: 0, offset: 330 })
    expect(momentIn(summer, 'America/New_York')).toMatchObject({ month: 6, day: 30, hour: 20, offset: -240 })
    expect(momentIn(parseMoment('0000-01-01')!, 'UTC')).toMatchObject({
      year: 0,
      month: 1,
      dayOfYear: 1,
      weekday: 6,
    })
    expect(momentIn(253402300800000n, 'UTC')).toBeNull()
    expect(isoText(-62167219200001n)).toBeNull()
    expect(['UTC', 'Z', '+05', '-0530', '+04:45', 'Europe/Berlin'].map(isZone)).not.toContain(false)
    expect(['Mars/Base', '+5', '', '+05:30:10'].map(isZone)).not.toContain(true)
  })
})

describe('paths', () => {
  it('are names between points', () => {
    expect(parsePath('a.b.0')).toEqual({ path: ['a', 'b', '0'], reason: null })
    expect(parsePath('ref.$id').path).toEqual(['ref', '$id'])
    expect(['', 'a.', '.a', 'a..b', '$a', 'a.$b', 'a\0'].map((text) => parsePath(text).path)).toEqual(
      Array(7).fill(null),
    )
  })

  it('lead through arrays to the array of what is there', () => {
    const document = doc({ a: [{ b: { c: 1 } }, 5, { b: [{ c: 2 }, {}] }, { d: 3 }], e: { f: null } })
    expect(valueAt(document, ['a', 'b', 'c'])).toEqual(value([1, [2]]))
    expect(valueAt(document, ['e', 'f'])).toEqual(value(null))
    expect(valueAt(document, ['e', 'f', 'g'])).toBeUndefined()
    expect(valueAt(document, ['a', '0'])).toEqual(value([]))
  })

  it('are read once, up to where a number may be a place', () => {
    expect(pathsToRead([['a', 'b'], ['a'], ['c', '0', 'd'], ['c', 'e'], ['0', 'f']])).toEqual([
      ['a'],
      ['c'],
      ['0', 'f'],
    ])
  })
})

describe('regular expressions', () => {
  const SUBJECTS = [
    '',
    '\n',
    'a',
    'a\n',
    'a\nb',
    'a\r',
    'A',
    'a.b',
    'a b',
    'a\u2028b',
    '\u00a0',
    'é',
    '{1}',
    'x]y',
    'a+b',
    '12',
    '😀',
  ]

  it.each<readonly [pattern: string, options: string, matching: readonly string[]]>([
    ['^a$', '', ['a', 'a\n']],
    ['^a$', 'm', ['a', 'a\n', 'a\nb']],
    [String.raw`\Aa\z`, '', ['a']],
    [String.raw`\Aa\Z`, 'i', ['a', 'a\n', 'A']],
    ['^.$', '', ['a', 'A', '\u00a0', 'é', '😀', 'a\n']],
    ['^..$', '', ['a\r', '12']],
    ['^.{3}$', 's', ['a\nb', 'a.b', 'a b', 'a\u2028b', '{1}', 'x]y', 'a+b']],
    [String.raw`\s`, '', ['\n', 'a\n', 'a\nb', 'a\r', 'a b']],
    [String.raw`^[^\s]$`, '', ['a', 'a\n', 'A', '\u00a0', 'é', '😀']],
    [String.raw`^[\S]$`, '', ['a', 'a\n', 'A', '\u00a0', 'é', '😀']],
    [String.raw`\Qa.b\E`, '', ['a.b']],
    [String.raw`a\.b`, '', ['a.b']],
    ['a b # a comment', 'x', []],
    ['a[ ]b # a comment', 'x', ['a b']],
    ['(?i)^a$', '', ['a', 'a\n', 'A']],
    ['(?P<x>a)(?P=x)|é', '', ['é']],
    ['[[:upper:][:digit:]]', '', ['A', '{1}', '12']],
    ['[[:punct:]]', '', ['a.b', '{1}', 'x]y', 'a+b']],
    [String.raw`\{1}`, '', ['{1}']],
    ['[]x]y', '', ['x]y']],
    ['x]y', '', ['x]y']],
    [String.raw`a[+\-]b`, '', ['a+b']],
    [String.raw`\x{1F600}|\x41`, '', ['A', '😀']],
    [String.raw`^\R$`, '', ['\n']],
    ['É', 'i', ['é']],
  ])('%s with %j', (pattern, options, matching) => {
    const { test } = compilePattern(pattern, options)
    expect(SUBJECTS.filter((subject) => test!(subject))).toEqual(
      SUBJECTS.filter((subject) => matching.includes(subject)),
    )
  })

  it.each([
    'a++',
    '(?>a)',
    '(?|a)',
    '(?(1)a)',
    '(?R)',
    '(?#x)',
    String.raw`\Ka`,
    String.raw`\G`,
    String.raw`\C`,
    String.raw`\pL`,
    'a(?i)b',
    '(',
    '[a',
    'a{2}+',
    '[[:^alpha:]]',
    String.raw`\1`,
    '*',
    'b\\',
  ])('refuses %s and does not repeat it', (pattern) => {
    const { test, reason } = compilePattern(pattern, '')
    expect(test).toBeNull()
    expect(reason).toMatch(/^(has|is|ends) /)
  })

  it('refuses options that there are not', () => {
    expect(compilePattern('a', 'g').reason).toBe('has an option that is none of i, m, s, x, u')
  })
})
