/**
 * Arithmetic of MongoDB's number types: the result has the wider type of the two (int, long, double, decimal). An int
 * that does not fit becomes long, a long that does not fit double.
 *
 * A double that is not whole has no one decimal value, so that it is refused beside a decimal.
 */
import type { NumberValue } from './compare.ts'
import {
  addDecimals,
  type Decimal,
  decimalText,
  divideDecimals,
  fitsDecimal128,
  multiplyDecimals,
  negated,
  parseDecimal,
  remainderOfDecimals,
} from './decimal.ts'

/** Throws, for what cannot be computed. */
export type Fail = (reason: string) => never

interface Operation {
  integers(a: bigint, b: bigint): bigint
  doubles(a: number, b: number): number
  decimals(a: Decimal, b: Decimal): Decimal
}

const ADD: Operation = { integers: (a, b) => a + b, doubles: (a, b) => a + b, decimals: addDecimals }
const SUBTRACT: Operation = {
  integers: (a, b) => a - b,
  doubles: (a, b) => a - b,
  decimals: (a, b) => addDecimals(a, negated(b)),
}
const MULTIPLY: Operation = {
  integers: (a, b) => a * b,
  doubles: (a, b) => a * b,
  decimals: multiplyDecimals,
}
const DIVIDE: Operation = { integers: (a, b) => a / b, doubles: (a, b) => a / b, decimals: divideDecimals }
const REMAINDER: Operation = {
  integers: (a, b) => a % b,
  doubles: (a, b) => a % b,
  decimals: remainderOfDecimals,
}

export function add(a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  return computed(ADD, a, b, fail)
}

export function subtract(a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  return computed(SUBTRACT, a, b, fail)
}

export function multiply(a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  return computed(MULTIPLY, a, b, fail)
}

/** A double, or a decimal when one of them is. */
export function divide(a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  if (isZero(b)) return fail('has the divisor 0')
  if (a.kind === 'decimal' || b.kind === 'decimal') return withDecimals(DIVIDE, a, b, fail)
  return { kind: 'double', value: Number(a.value) / Number(b.value) }
}

/** With the sign of `a`. */
export function remainder(a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  if (isZero(b)) return fail('has the divisor 0')
  return computed(REMAINDER, a, b, fail)
}

export function isZero(value: NumberValue): boolean {
  return value.kind === 'decimal' ? /^-?[0.]+$/.test(value.value) : Number(value.value) === 0
}

/** An int or a long, or a double when it is beyond both. */
export function integer(value: bigint, isLong: boolean): NumberValue {
  if (!isLong && BigInt.asIntN(32, value) === value) return { kind: 'int', value: Number(value) }
  if (BigInt.asIntN(64, value) === value) return { kind: 'long', value }
  return { kind: 'double', value: Number(value) }
}

export function decimal(value: Decimal, fail: Fail): NumberValue {
  if (!fitsDecimal128(value)) return fail('has a result beyond 34 digits and an exponent of 6144')
  return { kind: 'decimal', value: decimalText(value) }
}

/** Null for what is not whole or not finite. */
export function wholeNumber(value: NumberValue): bigint | null {
  if (value.kind !== 'decimal') return Number.isInteger(Number(value.value)) ? BigInt(value.value) : null
  const match = /^(-?\d+)(?:\.0*)?$/.exec(value.value)
  return match === null ? null : BigInt(match[1]!)
}

/** Null for NaN and the infinities, and for a double that is not whole. */
function exactDecimal(value: NumberValue): Decimal | null {
  if (value.kind === 'decimal') return parseDecimal(value.value)
  const isWhole = value.kind !== 'double' || Number.isInteger(value.value)
  return isWhole ? { digits: BigInt(value.value), scale: 0 } : null
}

function computed(operation: Operation, a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  if (a.kind === 'decimal' || b.kind === 'decimal') return withDecimals(operation, a, b, fail)
  if (a.kind === 'double' || b.kind === 'double') {
    return { kind: 'double', value: operation.doubles(Number(a.value), Number(b.value)) }
  }
  if (a.kind === 'int' && b.kind === 'int') {
    const value = operation.doubles(a.value, b.value)
    // -0 is no integer.
    if (Number.isSafeInteger(value) && (value | 0) === value) return { kind: 'int', value: value | 0 }
  }
  const isLong = a.kind === 'long' || b.kind === 'long'
  return integer(operation.integers(BigInt(a.value), BigInt(b.value)), isLong)
}

function withDecimals(operation: Operation, a: NumberValue, b: NumberValue, fail: Fail): NumberValue {
  const left = exactDecimal(a)
  const right = exactDecimal(b)
  if (left !== null && right !== null) return decimal(operation.decimals(left, right), fail)
  if (isBroken(a) || isBroken(b)) {
    return fail('has a decimal and a double that is not whole; convert one of them, $toDecimal or $toDouble')
  }
  if (operation === REMAINDER && left !== null && b.value !== 'NaN' && !Number.isNaN(b.value)) {
    // Of an infinite divisor, all remains.
    return decimal(left, fail)
  }
  // With NaN or an infinity, doubles give what decimals would; only the signs of the others matter.
  const value = operation.doubles(sized(a), sized(b))
  return { kind: 'decimal', value: String(Object.is(value, -0) ? 0 : value) }
}

function isBroken(value: NumberValue): boolean {
  return value.kind === 'double' && Number.isFinite(value.value) && !Number.isInteger(value.value)
}

/** A number with the same sign that is no infinity unless it is one. */
function sized(value: NumberValue): number {
  if (value.kind === 'double') return value.value
  const exact = exactDecimal(value)
  if (exact === null) return Number(value.value)
  return exact.digits === 0n ? 0 : exact.digits < 0n ? -1 : 1
}
