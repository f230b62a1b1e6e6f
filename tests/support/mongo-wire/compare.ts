import { BSON } from 'mongodb'

import { Doc, isNumber, List, type Scalar, textOf, TYPE, type Value } from './value.ts'

const RANK: { readonly [type: number]: number } = {
  [TYPE.minKey]: -1,
  [TYPE.undefined]: 0,
  [TYPE.null]: 5,
  [TYPE.int32]: 10,
  [TYPE.int64]: 10,
  [TYPE.double]: 10,
  [TYPE.decimal]: 10,
  [TYPE.string]: 15,
  [TYPE.symbol]: 15,
  [TYPE.document]: 20,
  [TYPE.array]: 25,
  [TYPE.binary]: 30,
  [TYPE.objectId]: 35,
  [TYPE.bool]: 40,
  [TYPE.date]: 45,
  [TYPE.timestamp]: 47,
  [TYPE.regex]: 50,
  [TYPE.dbPointer]: 55,
  [TYPE.code]: 60,
  [TYPE.codeWithScope]: 65,
  [TYPE.maxKey]: 127,
}

/** Types that compare with each other have the same rank; ranks are in the order of an index. */
export function rankOf(value: Value): number {
  return RANK[value.type]!
}

/** The order of an index over values of all types: 1, 1.0 and Long(1) are the same. */
export function compareValues(left: Value, right: Value): number {
  const rank = rankOf(left) - rankOf(right)
  if (rank !== 0) return rank
  if (left instanceof Doc) return compareFields([...left.fields], [...(right as Doc).fields])
  if (left instanceof List) return compareLists(left.items, (right as List).items)
  const other = right as Scalar
  switch (left.type) {
    case TYPE.int32:
    case TYPE.int64:
    case TYPE.double:
    case TYPE.decimal:
      return compareNumbers(left, other)
    case TYPE.string:
    case TYPE.symbol:
    case TYPE.code:
      return Buffer.compare(left.bytes.subarray(4, -1), other.bytes.subarray(4, -1))
    case TYPE.date:
      return compare(left.bytes.readBigInt64LE(), other.bytes.readBigInt64LE())
    case TYPE.timestamp:
      return compare(left.bytes.readBigUInt64LE(), other.bytes.readBigUInt64LE())
    case TYPE.binary:
      return (
        left.bytes.readInt32LE() - other.bytes.readInt32LE() ||
        Buffer.compare(left.bytes.subarray(4), other.bytes.subarray(4))
      )
    default:
      return Buffer.compare(left.bytes, other.bytes)
  }
}

export function sameValue(left: Value, right: Value): boolean {
  return compareValues(left, right) === 0
}

/** Whether two values have the same types and bytes, so that writing one over the other changes nothing. */
export function identical(left: Value, right: Value): boolean {
  return left.type === right.type && left.bytes.equals(right.bytes)
}

/** A text that two values share exactly when they compare as equal. */
export function keyOf(value: Value): string {
  if (value instanceof Doc)
    return `{${[...value.fields].map(([name, field]) => `${JSON.stringify(name)}:${keyOf(field)}`).join(',')}}`
  if (value instanceof List) return `[${value.items.map(keyOf).join(',')}]`
  if (isNumber(value)) return `n${numberKey(value)}`
  const text = value.type === TYPE.code ? undefined : textOf(value)
  return text === undefined ? `${rankOf(value)}:${value.bytes.toString('hex')}` : JSON.stringify(text)
}

/** A number as a fraction, or one of those that is none. */
type Fraction = readonly [numerator: bigint, denominator: bigint]

function numberKey(value: Scalar): string {
  const special = specialOf(value)
  if (special !== null) return String(special)
  const [numerator, denominator] = fractionOf(value)
  const common = denominator === 1n ? 1n : divisor(numerator < 0n ? -numerator : numerator, denominator)
  return `${numerator / common}/${denominator / common}`
}

function compareNumbers(left: Scalar, right: Scalar): number {
  if (left.type !== TYPE.decimal && right.type !== TYPE.decimal) {
    const [a, b] = [plain(left), plain(right)]
    // Not a number sorts before all numbers, and equals itself.
    if (a !== a || b !== b) return Number(b !== b) - Number(a !== a)
    return compare(a, b)
  }
  const [a, b] = [specialOf(left), specialOf(right)]
  if (a !== null || b !== null) {
    if (a !== null && a !== a) return b !== null && b !== b ? 0 : -1
    if (b !== null && b !== b) return 1
    return compare(a ?? 0, b ?? 0)
  }
  const [x, y] = [fractionOf(left), fractionOf(right)]
  return compare(x[0] * y[1], y[0] * x[1])
}

function compare<T extends number | bigint>(left: T, right: T): number {
  // Numbers and bigints are compared exactly with each other.
  return left < right ? -1 : left > right ? 1 : 0
}

function plain(value: Scalar): number | bigint {
  if (value.type === TYPE.int32) return value.bytes.readInt32LE()
  return value.type === TYPE.double ? value.bytes.readDoubleLE() : value.bytes.readBigInt64LE()
}

/** NaN or an infinity. */
function specialOf(value: Scalar): number | null {
  if (value.type === TYPE.double) {
    const number = value.bytes.readDoubleLE()
    return Number.isFinite(number) ? null : number
  }
  if (value.type !== TYPE.decimal) return null
  const number = Number(new BSON.Decimal128(value.bytes).toString())
  if (Number.isNaN(number)) return Number.NaN
  // A finite decimal may exceed every double.
  const infinite = (value.bytes[15]! & 0x7c) === 0x78
  return infinite ? number : null
}

function fractionOf(value: Scalar): Fraction {
  if (value.type === TYPE.int32) return [BigInt(value.bytes.readInt32LE()), 1n]
  if (value.type === TYPE.int64) return [value.bytes.readBigInt64LE(), 1n]
  return value.type === TYPE.double ? fractionOfDouble(value.bytes.readDoubleLE()) : fractionOfDecimal(value)
}

function fractionOfDouble(value: number): Fraction {
  let denominator = 1n
  let scaled = value
  while (!Number.isInteger(scaled)) {
    scaled *= 2
    denominator *= 2n
  }
  return [BigInt(scaled), denominator]
}

function fractionOfDecimal(value: Scalar): Fraction {
  const [, sign, whole, part = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(
    new BSON.Decimal128(value.bytes).toString(),
  )!
  const digits = BigInt(`${sign}${whole}${part}`)
  const scale = Number(exponent) - part.length
  return scale >= 0 ? [digits * 10n ** BigInt(scale), 1n] : [digits, 10n ** BigInt(-scale)]
}

function divisor(left: bigint, right: bigint): bigint {
  let [a, b] = [left, right]
  while (b !== 0n) [a, b] = [b, a % b]
  return a === 0n ? 1n : a
}

function compareLists(left: readonly Value[], right: readonly Value[]): number {
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const order = compareValues(left[index]!, right[index]!)
    if (order !== 0) return order
  }
  return left.length - right.length
}

type Field = readonly [string, Value]

function compareFields(left: readonly Field[], right: readonly Field[]): number {
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const [name, value] = left[index]!
    const [otherName, other] = right[index]!
    const order =
      rankOf(value) - rankOf(other) ||
      Buffer.compare(Buffer.from(name), Buffer.from(otherName)) ||
      compareValues(value, other)
    if (order !== 0) return order
  }
  return left.length - right.length
}
