import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { Decimal } from '../../../src/connectors/sources/mongodb/bson/cell-decimal.ts'
import { putInt32, putInt64, putUint32 } from '../../../src/connectors/sources/mongodb/bson/cell-digits.ts'
import {
  putDouble,
  putPlainDouble,
  putSingle,
} from '../../../src/connectors/sources/mongodb/bson/cell-numbers.ts'
import {
  putBase64,
  putHex,
  putUtf8,
  putUuid,
} from '../../../src/connectors/sources/mongodb/bson/cell-text.ts'
import { putDate, putIso, putTimestamp } from '../../../src/connectors/sources/mongodb/bson/cell-times.ts'
import { decimal128 } from '../../../src/connectors/sources/mongodb/bson/decimal128.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { seeded } from '../../support/random.ts'
import {
  randomBytes,
  randomDecimal,
  randomDouble,
  randomInt32,
  randomInt64,
  randomMs,
  randomText,
} from './random-documents.ts'

const ROUNDS = 5000

/** What is written with enough room. */
function written(write: (out: CellArena) => unknown): string {
  const out = new CellArena(0)
  out.reserve(64)
  write(out)
  return out.arena.utf8Slice(0, out.used)
}

function int64Bytes(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return bytes
}

describe('whole numbers as text', () => {
  const random = seeded('whole numbers')

  it('are the digits of every 32-bit integer', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = randomInt32(random)
      expect(written((out) => putInt32(out, value))).toBe(String(value))
      expect(written((out) => putUint32(out, value >>> 0))).toBe(String(value >>> 0))
    }
  })

  it('are the digits of every 64-bit integer', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = randomInt64(random)
      expect(written((out) => putInt64(out, int64Bytes(value), 0))).toBe(String(value))
    }
    const least = -(2n ** 63n)
    expect(written((out) => putInt64(out, int64Bytes(least), 0))).toBe(String(least))
  })
})

describe('doubles as text', () => {
  const random = seeded('doubles')

  it('are what String says', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = randomDouble(random)
      expect(written((out) => putDouble(out, value))).toBe(Object.is(value, -0) ? '-0' : String(value))
    }
  })

  it('have no exponent as plain digits, and read back equal', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = randomDouble(random)
      const text = written((out) => putPlainDouble(out, value, false))
      expect(Number(text)).toBe(value)
      if (!Number.isFinite(value)) continue
      expect(text).toMatch(/^-?(0|[1-9]\d*)(\.\d+)?$/)
      expect(text).toBe(digitsOf(value) ?? text)
    }
    expect(written((out) => putPlainDouble(out, -0, true))).toBe('0')
    expect(written((out) => putPlainDouble(out, 1e-7, false))).toBe('0.0000001')
    expect(written((out) => putPlainDouble(out, 1e23, false))).toBe('99999999999999991611392')
  })

  it('of 32 bits have the shortest form that reads back equal', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = Math.fround(randomDouble(random))
      const text = written((out) => putSingle(out, value))
      expect(Math.fround(Number(text))).toBe(value)
      expect(text.length).toBeLessThanOrEqual(Object.is(value, -0) ? 2 : String(value).length)
    }
    expect(written((out) => putSingle(out, Math.fround(0.1)))).toBe('0.1')
  })
})

describe('a Decimal128', () => {
  const random = seeded('decimals')
  const decimal = new Decimal()

  it('reads as what the driver reads, in the form with exponents', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const value = randomDecimal(random)
      expect(written((out) => decimal.read(value.bytes, 0).putScientific(out))).toBe(value.toString())
    }
  })

  it('is plain digits of the same value, which make the same Decimal128 again', () => {
    for (let round = 0; round < 500; round++) {
      const value = randomDecimal(random)
      const text = written((out) => decimal.read(value.bytes, 0).put(out))
      expect(text).toBe(decimal.toString())
      expect(text).toMatch(/^(-?(0|[1-9]\d*)(\.\d+)?|NaN|-?Infinity)$/)
      const normal = decimal.special ?? decimal.normalize().toString()
      const again = decimal.read(decimal128(text), 0)
      expect(again.special ?? again.normalize().toString()).toBe(normal)
      expect(normal).toBe(Number.isFinite(Number(text)) || text.length > 300 ? plain(value.toString()) : text)
    }
  })

  it('keeps the zeros behind the point', () => {
    const text = (source: string) =>
      written((out) => decimal.read(BSON.Decimal128.fromString(source).bytes, 0).put(out))
    expect(text('1.10')).toBe('1.10')
    expect(text('1E+3')).toBe('1000')
    expect(text('0.00')).toBe('0.00')
    expect(text('-0')).toBe('-0')
    expect(text('0E+3')).toBe('0')
    expect(text('12E-5')).toBe('0.00012')
  })

  it('is a zero when its digits are not canonical', () => {
    const bytes = new Uint8Array(16).fill(0xff, 0, 14)
    bytes[14] = 0xff
    bytes[15] = 0x6f
    expect(decimal.read(bytes, 0).isZero).toBe(true)
  })
})

/** What is known of plain digits from other sides; null for numbers that have an exponent as text. */
function digitsOf(value: number): string | null {
  if (Number.isInteger(value) && value !== 0) return BigInt(value).toString()
  if (Object.is(value, -0)) return '-0'
  return String(value).includes('e') ? null : String(value)
}

/** Without exponent, and without zeros behind the point. */
function plain(scientific: string): string {
  const [, sign, whole = '', part = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]\d+))?$/.exec(scientific) ?? []
  const value = BigInt(whole + part)
  const shift = Number(exponent) - part.length
  if (value === 0n) return '0'
  const digits = value.toString()
  if (shift >= 0) return `${sign}${digits}${'0'.repeat(shift)}`
  const padded = digits.padStart(1 - shift, '0')
  let length = padded.length
  while (length > padded.length + shift && padded[length - 1] === '0') length--
  const behind = padded.slice(shift, length)
  return `${sign}${padded.slice(0, shift)}${behind === '' ? '' : `.${behind}`}`
}

describe('a date as text', () => {
  const random = seeded('dates')

  it('is what toISOString says, for every date that JavaScript has', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const ms = randomMs(random)
      expect(written((out) => putIso(out, int64Bytes(BigInt(ms)), 0))).toBe(new Date(ms).toISOString())
    }
  })

  it('has zones, fractions and years before Christ as canonical text', () => {
    const timestamp = (ms: number | bigint, digits = 3, zoned = true) =>
      written((out) => expect(putTimestamp(out, int64Bytes(BigInt(ms)), 0, digits, zoned)).toBe(true))
    expect(timestamp(0)).toBe('1970-01-01 00:00:00+00')
    expect(timestamp(-1)).toBe('1969-12-31 23:59:59.999+00')
    expect(timestamp(120, 2, false)).toBe('1970-01-01 00:00:00.12')
    expect(timestamp(Date.UTC(12024, 1, 29))).toBe('12024-02-29 00:00:00+00')
    expect(timestamp(-62135596800000)).toBe('0001-01-01 00:00:00+00')
    expect(timestamp(-62135596800001)).toBe('0001-12-31 23:59:59.999+00 BC')
    expect(timestamp(2n ** 63n - 1n)).toBe('292278994-08-17 07:12:55.807+00')
    expect(timestamp(-(2n ** 63n))).toBe('292275056-05-16 16:47:04.192+00 BC')
    expect(written((out) => putIso(out, int64Bytes(-(2n ** 63n)), 0))).toBe('-292275055-05-16T16:47:04.192Z')
  })

  it('does not fit where digits would be lost', () => {
    const fits = (ms: number, digits: number) =>
      putTimestamp(new CellArena(64), int64Bytes(BigInt(ms)), 0, digits, true)
    expect([fits(1230, 2), fits(1234, 2), fits(2000, 0), fits(2100, 0)]).toEqual([true, false, true, false])
    const day = (ms: number) => putDate(new CellArena(64), int64Bytes(BigInt(ms)), 0)
    expect([day(86_400_000), day(86_400_001)]).toEqual([true, false])
  })

  it('knows the last millisecond of a day, as far as doubles count them', () => {
    const last = 104_249_991 * 86_400_000 - 1
    for (const ms of [last, -last, 86_399_999, 8.64e15 - 86_400_001]) {
      const clock = new Date(((ms % 86_400_000) + 86_400_000) % 86_400_000).toISOString().slice(11)
      expect(written((out) => putIso(out, int64Bytes(BigInt(ms)), 0)).endsWith(`T${clock}`)).toBe(true)
    }
  })

  it('agrees with Date about every field', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const ms = randomMs(random)
      const text = written((out) => putTimestamp(out, int64Bytes(BigInt(ms)), 0, 3, true))
      const [, year, rest, clock, before] = /^(\d+)(-\d\d-\d\d) (\S+)\+00( BC)?$/.exec(text)!
      const astronomical = before === undefined ? Number(year) : 1 - Number(year)
      const iso = new Date(ms).toISOString()
      expect(Number(iso.slice(0, iso.indexOf('-', 1)))).toBe(astronomical)
      const [, isoRest, isoClock] = /(-\d\d-\d\d)T(\S+)Z$/.exec(iso)!
      expect(rest).toBe(isoRest)
      expect(clock).toBe(
        isoClock!.replace(/\.?0+$/, (zeros) =>
          zeros.startsWith('.') || isoClock!.includes('.') ? '' : zeros,
        ),
      )
    }
  })
})

describe('text and bytes', () => {
  const random = seeded('texts')

  it('are copied when they are UTF-8, and refused when they are not, as TextDecoder does', () => {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = Buffer.from(randomText(random)) as Arena
      if (random.chance(0.5) && bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256)
      const out = new CellArena(0)
      let expected: string | null = null
      try {
        expected = decoder.decode(bytes)
      } catch {
        // Not UTF-8.
      }
      const good = putUtf8(out, bytes, 0, bytes.length)
      expect(good).toBe(expected !== null)
      expect(good ? out.arena.utf8Slice(0, out.used) : null).toBe(expected)
    }
  })

  it('are refused whatever is wrong with a character', () => {
    const broken = [
      '80',
      'c080',
      'c1bf',
      'e08080',
      'eda080',
      'edbfbf',
      'f0808080',
      'f4908080',
      'f5808080',
      'c3',
      'e282',
      'f09f98',
      'e28261',
      'ff',
    ]
    for (const hex of broken) {
      for (const text of [hex, `61${hex}62`, '61'.repeat(200) + hex]) {
        const bytes = Buffer.from(text, 'hex') as Arena
        expect(putUtf8(new CellArena(0), bytes, 0, bytes.length), text).toBe(false)
      }
    }
  })

  it('are hex, UUID and base64 as Node writes them', () => {
    for (let round = 0; round < 2000; round++) {
      const bytes = randomBytes(random, random.below(40))
      expect(written((out) => putHex(out, bytes, 0, bytes.length))).toBe(Buffer.from(bytes).toString('hex'))
      expect(written((out) => putBase64(out, bytes, 0, bytes.length))).toBe(
        Buffer.from(bytes).toString('base64'),
      )
      const uuid = randomBytes(random, 16)
      expect(written((out) => putUuid(out, uuid, 0))).toBe(new BSON.UUID(uuid).toHexString(true))
    }
  })
})
