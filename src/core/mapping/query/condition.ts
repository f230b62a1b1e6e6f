/** What operators of one field come to, before it is known where the value is from. */
import type { Search } from '../path.ts'
import type { DocumentValue, LazyDocument } from '../value.ts'

/** A test of one value; `undefined` is a missing field. */
export type Test = (value: DocumentValue | undefined) => boolean
/** A test of a document. */
export type Match = (document: LazyDocument) => boolean

export type Condition =
  /** One of the values at the path passes. `elements`: those inside an array at its end, too. */
  | { readonly kind: 'some'; readonly elements: boolean; readonly test: Test }
  | { readonly kind: 'not'; readonly condition: Condition }
  /** All conditions hold, each maybe because of another value. */
  | { readonly kind: 'all'; readonly conditions: readonly Condition[] }

export const never = (): boolean => false
export const always = (): boolean => true

/** Ways to the values of a path. */
export interface PathSearch {
  readonly values: Search
  /** With the elements of an array at the end. */
  readonly elements: Search
}

export function matchAt(path: PathSearch, condition: Condition): Match {
  switch (condition.kind) {
    case 'some': {
      const find = condition.elements ? path.elements : path.values
      const { test } = condition
      return (document) => find(document, test)
    }
    case 'not': {
      const match = matchAt(path, condition.condition)
      return (document) => !match(document)
    }
    case 'all':
      return allOf(condition.conditions.map((part) => matchAt(path, part)))
  }
}

/** The condition on one element of an array, inside of which nothing is looked for. */
export function testOf(condition: Condition): Test {
  switch (condition.kind) {
    case 'some':
      return condition.test
    case 'not': {
      const test = testOf(condition.condition)
      return (value) => !test(value)
    }
    case 'all':
      return allOf(condition.conditions.map(testOf))
  }
}

export function allOf<Of>(parts: readonly ((of: Of) => boolean)[]): (of: Of) => boolean {
  const [first, second] = parts
  if (first === undefined) return always
  if (second === undefined) return first
  return parts.length === 2 ? (of) => first(of) && second(of) : (of) => parts.every((part) => part(of))
}
