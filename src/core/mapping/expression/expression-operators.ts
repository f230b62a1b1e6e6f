import { ARITHMETIC } from './expression-arithmetic.ts'
import { ARRAYS } from './expression-arrays.ts'
import type { Operator } from './expression-place.ts'
import { CONVERSIONS } from './expression-conversions.ts'
import { DATES } from './expression-dates.ts'
import { LOGIC } from './expression-logic.ts'
import { OBJECTS } from './expression-objects.ts'
import { TEXTS } from './expression-texts.ts'

export const OPERATORS: Readonly<Record<string, Operator>> = {
  ...LOGIC,
  ...CONVERSIONS,
  ...ARITHMETIC,
  ...TEXTS,
  ...ARRAYS,
  ...OBJECTS,
  ...DATES,
}
