/** Tests of single values against operands that are known, as fast as the operand's type allows. */
import { compareText } from '../../text-order.ts'
import { compare, equal, isNaNValue, isNumber, rankOf } from './compare.ts'
import { never, type Test } from '../query/condition.ts'
import type { DocumentValue } from '../value.ts'

/** Whether a value is equal; null is equal to a missing field too. */
export function equalTo(operand: DocumentValue): Test {
  switch (operand.kind) {
    case 'null':
      return (value) => value === undefined || value.kind === 'null'
    case 'string':
    case 'symbol': {
      const text = operand.value
      return (value) =>
        value !== undefined && (value.kind === 'string' || value.kind === 'symbol') && value.value === text
    }
    case 'objectId': {
      const hex = operand.value
      return (value) => value?.kind === 'objectId' && value.value === hex
    }
    case 'bool': {
      const bool = operand.value
      return (value) => value?.kind === 'bool' && value.value === bool
    }
    case 'int':
    case 'double': {
      const number = operand.value
      return (value) =>
        value?.kind === 'int' || value?.kind === 'double'
          ? value.value === number || equal(value, operand)
          : isNumber(value) && equal(value, operand)
    }
    default:
      return (value) => value !== undefined && equal(value, operand)
  }
}

/** Whether a value is equal to one of many. */
export function equalToOneOf(operands: readonly DocumentValue[]): Test {
  const texts = new Set<string>()
  const hexes = new Set<string>()
  const others: Test[] = []
  for (const operand of operands) {
    if (operand.kind === 'string' || operand.kind === 'symbol') texts.add(operand.value)
    else if (operand.kind === 'objectId') hexes.add(operand.value)
    else others.push(equalTo(operand))
  }
  return (value) => {
    if (value?.kind === 'string' || value?.kind === 'symbol') return texts.has(value.value)
    if (value?.kind === 'objectId') return hexes.has(value.value)
    return others.some((test) => test(value))
  }
}

export type Range = '$gt' | '$gte' | '$lt' | '$lte'

const ACCEPTS: Readonly<Record<Range, (order: number) => boolean>> = {
  $gt: (order) => order > 0,
  $gte: (order) => order >= 0,
  $lt: (order) => order < 0,
  $lte: (order) => order <= 0,
}

/**
 * Whether a value of the operand's own type is above or below it. Null is only equal to itself (and to a missing field),
 * NaN only to itself; every type is between `minKey` and `maxKey`.
 */
export function inRange(range: Range, operand: DocumentValue): Test {
  const accepts = ACCEPTS[range]
  const acceptsEqual = accepts(0)
  if (operand.kind === 'minKey' || operand.kind === 'maxKey')
    return (value) => accepts(compare(value, operand))
  if (operand.kind === 'null') return acceptsEqual ? equalTo(operand) : never
  if (isNaNValue(operand)) return acceptsEqual ? equalTo(operand) : never
  if (operand.kind === 'string') {
    const text = operand.value
    return (value) =>
      (value?.kind === 'string' || value?.kind === 'symbol') && accepts(compareText(value.value, text))
  }
  if (operand.kind === 'int' || operand.kind === 'double') {
    const number = operand.value
    return (value) => {
      if (value?.kind !== 'int' && value?.kind !== 'double') {
        return isNumber(value) && !isNaNValue(value) && accepts(compare(value, operand))
      }
      if (value.value === number) return acceptsEqual
      return value.value < number ? accepts(-1) : value.value > number && accepts(1)
    }
  }
  const rank = rankOf(operand)
  return (value) =>
    value !== undefined && rankOf(value) === rank && !isNaNValue(value) && accepts(compare(value, operand))
}
