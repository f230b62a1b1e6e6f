import type { DocumentValue, LazyDocument, ObjectValue } from './value.ts'

/** An object that is read as a document. */
export function documentOf(object: ObjectValue): LazyDocument {
  return { field: (name) => object.value.get(name), whole: () => object }
}

/** An array that is read as a document, as `$elemMatch` does: its fields are called 0, 1, and so on. */
export function documentOfArray(items: readonly DocumentValue[]): LazyDocument {
  return {
    field: (name) => (isIndex(name) ? items[Number(name)] : undefined),
    whole: () => ({ kind: 'object', value: new Map(items.map((item, index) => [String(index), item])) }),
  }
}

/** A name that may stand for the place of an element: digits without zeros in front. */
export function isIndex(name: string): boolean {
  return /^(0|[1-9]\d{0,8})$/.test(name)
}
