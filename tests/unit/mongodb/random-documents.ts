/** Random documents of all BSON types that the driver can write, with the values at the edges more often than others. */
import { BSON } from 'mongodb'
import type { Arena } from '../../../src/core/packed-rows.ts'
import type { Random } from '../../support/random.ts'

export type Fields = Record<string, unknown>

export const NAMES = ['a', 'b', 'c', 'ab', 'name', 'items', 'großer', 'x.y', '_id', '__proto__'] as const

export function randomDocument(random: Random, depth = 0): Fields {
  const fields: Fields = {}
  const count = random.below(depth === 0 ? 8 : 4)
  for (let index = 0; index < count; index++) {
    // Not by assignment: `__proto__` is a name as any other.
    Object.defineProperty(fields, random.pick(NAMES), {
      value: randomValue(random, depth + 1),
      enumerable: true,
      writable: true,
      configurable: true,
    })
  }
  return fields
}

export function randomValue(random: Random, depth: number): unknown {
  const kind = random.below(depth > 3 ? 16 : 19)
  switch (kind) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return new BSON.Int32(randomInt32(random))
    case 3:
      return BSON.Long.fromBigInt(randomInt64(random))
    case 4:
    case 5:
      return new BSON.Double(randomDouble(random))
    case 6:
      return randomDecimal(random)
    case 7:
    case 8:
      return randomText(random)
    case 9:
      return new Date(randomMs(random))
    case 10:
      return new BSON.ObjectId(randomBytes(random, 12))
    case 11:
      return new BSON.UUID(randomBytes(random, 16))
    case 12:
      return new BSON.Binary(randomBytes(random, random.below(20)), random.pick([0, 2, 3, 5, 128]))
    case 13:
      return new BSON.Timestamp({ t: randomInt32(random) >>> 0, i: randomInt32(random) >>> 0 })
    case 14:
      return random.pick([
        new BSON.BSONRegExp('^a"b\\n', 'im'),
        new BSON.Code('function () { return "x" }'),
        new BSON.Code('y', { y: new BSON.Int32(1), z: 'ü' }),
        new BSON.BSONSymbol('symb\u00f6l'),
      ])
    case 15:
      return random.pick([new BSON.MinKey(), new BSON.MaxKey()])
    case 16:
    case 17:
      return randomDocument(random, depth)
    default:
      return Array.from({ length: random.below(5) }, () => randomValue(random, depth + 1))
  }
}

export function randomInt32(random: Random): number {
  if (random.chance(0.3)) return random.pick([0, -1, 1, 2 ** 31 - 1, -(2 ** 31), 99, 100, 999_999_999, 1e9])
  return Math.trunc((random.next() - 0.5) * 2 ** (1 + random.below(32)))
}

export function randomInt64(random: Random): bigint {
  const edge = random.pick([
    0n,
    2n ** 53n,
    2n ** 31n,
    2n ** 63n - 1n,
    10n ** 9n,
    10n ** 18n,
    2n ** 60n,
    2n ** 32n,
  ])
  if (random.chance(0.3))
    return BigInt.asIntN(64, (edge + BigInt(random.below(3) - 1)) * (random.chance(0.5) ? 1n : -1n))
  const bits =
    BigInt(Math.floor(random.next() * 2 ** 32)) * 2n ** 32n + BigInt(Math.floor(random.next() * 2 ** 32))
  return BigInt.asIntN(64, bits) >> BigInt(random.below(64))
}

const doubleBytes = new DataView(new ArrayBuffer(8))

export function randomDouble(random: Random): number {
  switch (random.below(6)) {
    case 0:
      return random.pick([
        0,
        -0,
        NaN,
        Infinity,
        -Infinity,
        0.1,
        1e21,
        1e-7,
        5e-324,
        2 ** 53,
        2 ** 63,
        -1.5,
        1e300,
      ])
    case 1:
      return random.below(1_000_000) / 100
    case 2:
      return Math.round((random.next() - 0.5) * 2 ** random.below(64))
    case 3:
      return (random.next() - 0.5) * 10 ** (random.below(24) - 10)
    case 4:
      return Math.fround(random.next() * 1000)
    default:
      doubleBytes.setInt32(0, (random.next() - 0.5) * 2 ** 32)
      doubleBytes.setInt32(4, (random.next() - 0.5) * 2 ** 32)
      return doubleBytes.getFloat64(0)
  }
}

export function randomDecimal(random: Random): BSON.Decimal128 {
  if (random.chance(0.1))
    return BSON.Decimal128.fromString(random.pick(['NaN', 'Infinity', '-Infinity', '-0', '0E+10', '0.00']))
  const length = 1 + random.below(34)
  const digits = Array.from({ length }, () => (random.chance(0.3) ? 0 : random.below(10))).join('')
  const exponent = random.chance(0.2) ? random.pick([-6176, 6111, 0]) : random.below(50) - 30
  return BSON.Decimal128.fromString(`${random.chance(0.5) ? '-' : ''}${digits}E${exponent}`)
}

/** Of what JavaScript's dates hold. */
export function randomMs(random: Random): number {
  if (random.chance(0.2))
    return random.pick([0, -1, 1, 8.64e15, -8.64e15, -62135596800000, -62167219200000, 253402300800000])
  return Math.trunc((random.next() - 0.5) * 2 * 10 ** (1 + random.below(15)))
}

export function randomText(random: Random): string {
  const parts = [
    'a',
    'bc',
    ' ',
    '"',
    '\\',
    '{',
    ',',
    '\n',
    '\0',
    '\u001f',
    '\u007f',
    'é',
    '€',
    '😀',
    '\u2028',
    '\ufffd',
    'NULL',
    '\u00a0',
  ]
  const length = random.chance(0.1) ? 60 + random.below(200) : random.below(12)
  return Array.from({ length }, () => random.pick(parts)).join('')
}

export function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256))
}

/** The bytes of a document, somewhere inside of a larger buffer. */
export function bytesOf(fields: Fields): Arena {
  return Buffer.from(BSON.serialize(fields, { ignoreUndefined: false })) as Arena
}

/** The single value of a document `{v: value}`: its bytes and where they are. */
export function valueBytes(value: unknown): { bytes: Arena; type: number; at: number; end: number } {
  const bytes = bytesOf({ v: value })
  return { bytes, type: bytes[4]!, at: 7, end: bytes.length - 1 }
}

/** One element `v` with these bytes, for what the driver does not write. */
export function rawDocument(type: number, value: Uint8Array): Arena {
  const bytes = Buffer.concat([Buffer.alloc(4), Uint8Array.of(type, 0x76, 0), value, Buffer.alloc(1)])
  bytes.writeInt32LE(bytes.length)
  return bytes as Arena
}
