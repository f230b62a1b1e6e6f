import { isNumber } from './compare.ts'
import { isZero } from './numbers.ts'
import type { DocumentValue } from '../value.ts'

/** What conditions of expressions take for true: all but false, null, a missing value and zero. */
export function isTrue(value: DocumentValue | undefined): boolean {
  if (value === undefined || value.kind === 'null') return false
  if (value.kind === 'bool') return value.value
  return !isNumber(value) || !isZero(value)
}
