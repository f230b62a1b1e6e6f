import { BSON } from 'mongodb'

import { CommandError } from './errors.ts'
import {
  type Doc,
  double,
  int32,
  int64,
  isNumber,
  longOf,
  numberOf,
  type Scalar,
  TYPE,
  type Value,
  valueOf,
} from './value.ts'

/** The sum of `$inc`: the wider type of both, int64 where int32 overflows. */
export function addNumbers(old: Value | undefined, by: Value, path: string): Value {
  if (!isNumber(by)) throw new CommandError(14, `Cannot increment with non-numeric argument: {${path}: ...}`)
  if (old === undefined) return by
  return combine(
    old,
    by,
    path,
    (a, b) => a + b,
    (a, b) => a + b,
  )
}

/** The product of `$mul`; a missing number counts as zero. */
export function multiplyNumbers(old: Value | undefined, by: Value, path: string): Value {
  if (!isNumber(by)) throw new CommandError(14, `Cannot multiply with non-numeric argument: {${path}: ...}`)
  return combine(
    old ?? int32(0),
    by,
    path,
    (a, b) => a * b,
    (a, b) => a * b,
  )
}

/** `$bit` with `and`, `or` and `xor`. */
export function numericBits(old: Value | undefined, operations: Doc): Value {
  let value: Value = old ?? int32(0)
  for (const [name, operand] of operations.fields) {
    const [a, b] = [longOf(value)!, longOf(operand)!]
    const result = name === 'and' ? a & b : name === 'or' ? a | b : a ^ b
    value = value.type === TYPE.int32 && operand.type === TYPE.int32 ? int32(Number(result)) : int64(result)
  }
  return value
}

function combine(
  left: Value,
  right: Value,
  path: string,
  exact: (a: bigint, b: bigint) => bigint,
  inexact: (a: number, b: number) => number,
): Value {
  if (!isNumber(left))
    throw new CommandError(
      14,
      `Cannot apply to a value of non-numeric type: the field '${path}' has another type`,
    )
  const types = [left.type, right.type]
  if (types.includes(TYPE.decimal)) return decimals(left as Scalar, right as Scalar, exact)
  if (types.includes(TYPE.double)) return double(inexact(numberOf(left)!, numberOf(right)!))
  const result = exact(longOf(left)!, longOf(right)!)
  const narrow = !types.includes(TYPE.int64) && result >= -(2n ** 31n) && result < 2n ** 31n
  if (narrow) return int32(Number(result))
  if (BigInt.asIntN(64, result) !== result)
    throw new CommandError(
      2,
      `Failed to apply the operation to the current value of '${path}': it would overflow`,
    )
  return int64(result)
}

/** Sums keep the greater scale, products add the scales up, as the standard has it. */
function decimals(left: Scalar, right: Scalar, exact: (a: bigint, b: bigint) => bigint): Value {
  const [a, b] = [digitsOf(left), digitsOf(right)]
  const product = exact(2n, 3n) === 6n
  const scale = product ? a.scale + b.scale : Math.max(a.scale, b.scale)
  const grown = (number: { digits: bigint; scale: number }) =>
    number.digits * 10n ** BigInt(scale - number.scale)
  const result = product ? a.digits * b.digits : exact(grown(a), grown(b))
  return valueOf(BSON.Decimal128.fromString(`${result}E${-scale}`))
}

function digitsOf(value: Scalar): { digits: bigint; scale: number } {
  const text =
    value.type === TYPE.decimal ? new BSON.Decimal128(value.bytes).toString() : String(plain(value))
  const [, sign, whole, part = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[Ee]([+-]?\d+))?$/.exec(text)!
  return { digits: BigInt(`${sign}${whole}${part}`), scale: part.length - Number(exponent) }
}

function plain(value: Scalar): number | bigint {
  return value.type === TYPE.double ? numberOf(value)! : longOf(value)!
}
