/**
 * The order of values, as MongoDB's manual gives it ("Comparison/Sort Order"): first by type, where all numbers are one
 * type, then by value. Numbers compare by what they are exactly, so that the double 0.1 and the decimal 0.1 differ.
 */
import { compareText } from '../../text-order.ts'
import { compareDecimals, type Decimal, decimalOfDouble, parseDecimal } from './decimal.ts'
import type { DocumentValue, DocumentValueKind } from '../value.ts'

export type NumberValue = Extract<DocumentValue, { kind: 'int' | 'long' | 'double' | 'decimal' }>

/** Types that compare as one have one rank. A missing field comes before null, and is equal to it in queries only. */
const RANKS: Readonly<Record<DocumentValueKind, number>> = {
  minKey: 0,
  null: 2,
  int: 3,
  long: 3,
  double: 3,
  decimal: 3,
  symbol: 4,
  string: 4,
  object: 5,
  array: 6,
  binary: 7,
  objectId: 8,
  bool: 9,
  date: 10,
  timestamp: 11,
  regex: 12,
  code: 13,
  maxKey: 14,
}
const MISSING = 1

/** Place of the value's type in the order; equal for types that compare by value. */
export function rankOf(value: DocumentValue | undefined): number {
  return value === undefined ? MISSING : RANKS[value.kind]
}

export function isNumber(value: DocumentValue | undefined): value is NumberValue {
  return value !== undefined && RANKS[value.kind] === RANKS.int
}

export function isNaNValue(value: DocumentValue): boolean {
  return value.kind === 'double'
    ? Number.isNaN(value.value)
    : value.kind === 'decimal' && value.value === 'NaN'
}

/** Whether they are the same value; the number 1 is the same in every number type. */
export function equal(a: DocumentValue | undefined, b: DocumentValue | undefined): boolean {
  return compare(a, b) === 0
}

/** Below 0, 0 or above 0. `undefined` is a missing field: below null. */
export function compare(a: DocumentValue | undefined, b: DocumentValue | undefined): number {
  if (a === undefined || b === undefined) return rankOf(a) - rankOf(b)
  const rank = RANKS[a.kind] - RANKS[b.kind]
  return rank === 0 ? compareWithin(a, b) : rank
}

function compareWithin(a: DocumentValue, b: DocumentValue): number {
  switch (a.kind) {
    case 'minKey':
    case 'maxKey':
    case 'null':
      return 0
    case 'int':
    case 'long':
    case 'double':
    case 'decimal':
      return compareNumbers(a, b as NumberValue)
    case 'string':
    case 'symbol':
      return compareText(a.value, (b as { readonly value: string }).value)
    case 'code':
      return compareText(a.value, (b as typeof a).value)
    case 'bool':
      return Number(a.value) - Number((b as typeof a).value)
    case 'objectId':
      return plain(a.value, (b as typeof a).value)
    case 'date':
    case 'timestamp':
      return plain(a.value, (b as typeof a).value)
    case 'binary':
      return compareBinaries(a, b as typeof a)
    case 'regex':
      return compareText(a.value, (b as typeof a).value) || compareText(a.options, (b as typeof a).options)
    case 'array':
      return compareArrays(a.value, (b as typeof a).value)
    case 'object':
      return compareObjects(a.value, (b as typeof a).value)
  }
}

/** By exact value; NaN is equal to itself and below all others, -0 is 0. */
function compareNumbers(a: NumberValue, b: NumberValue): number {
  if (a.kind === 'decimal' || b.kind === 'decimal') return compareWithDecimal(a, b)
  if (a.value < b.value) return -1
  if (a.value > b.value) return 1
  // JavaScript compares a bigint and a number exactly; only NaN is neither above, below nor equal.
  return Number(isNaNValue(b)) - Number(isNaNValue(a))
}

function compareWithDecimal(a: NumberValue, b: NumberValue): number {
  const left = exact(a)
  const right = exact(b)
  if (typeof left === 'object' && typeof right === 'object') return compareDecimals(left, right)
  return compareNumbers(double(left), double(right))
}

/** A number stands for NaN and the infinities. */
function exact(value: NumberValue): Decimal | number {
  switch (value.kind) {
    case 'int':
      return { digits: BigInt(value.value), scale: 0 }
    case 'long':
      return { digits: value.value, scale: 0 }
    case 'double':
      return Number.isFinite(value.value) ? decimalOfDouble(value.value) : value.value
    case 'decimal':
      return parseDecimal(value.value) ?? Number(value.value)
  }
}

/** Beside NaN or an infinity, every other number is as good as 0. */
function double(value: Decimal | number): NumberValue {
  return { kind: 'double', value: typeof value === 'number' ? value : 0 }
}

type Binary = Extract<DocumentValue, { kind: 'binary' }>

function compareBinaries(a: Binary, b: Binary): number {
  return a.value.length - b.value.length || a.subtype - b.subtype || Buffer.compare(a.value, b.value)
}

function compareArrays(a: readonly DocumentValue[], b: readonly DocumentValue[]): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const order = compare(a[i], b[i])
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** Field by field as they stand: type, then name, then value. */
function compareObjects(
  a: ReadonlyMap<string, DocumentValue>,
  b: ReadonlyMap<string, DocumentValue>,
): number {
  const others = b.entries()
  for (const [name, value] of a) {
    const other = others.next()
    if (other.done === true) return 1
    const order =
      RANKS[value.kind] - RANKS[other.value[1].kind] ||
      compareText(name, other.value[0]) ||
      compare(value, other.value[1])
    if (order !== 0) return order
  }
  return others.next().done === true ? 0 : -1
}

function plain<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}
