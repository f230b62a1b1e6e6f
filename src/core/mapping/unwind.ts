import type { Path, Unwind } from './mapping.ts'
import type { DocumentValue, LazyDocument, ObjectValue } from './value.ts'

/**
 * What a document becomes by unwinding one array, in its order: one document per element, which stands in the place of
 * the array. The document itself is not changed, and what is not on the path is shared.
 *
 * - A value that is no array counts as one element without a number: the index field is null then.
 * - A missing, null or empty array has none; with `keepsEmpty` one, in which an empty array is missing.
 * - The path leads through objects only, not through other arrays.
 */
export function unwound(document: LazyDocument, unwind: Unwind): readonly LazyDocument[] {
  const value = valueOnPath(document, unwind.path)
  if (value === undefined || value.kind === 'null') {
    return unwind.keepsEmpty ? [new Unwound(document, unwind, value, NULL)] : []
  }
  if (value.kind !== 'array') return [new Unwound(document, unwind, value, NULL)]
  if (value.value.length === 0) {
    return unwind.keepsEmpty ? [new Unwound(document, unwind, undefined, NULL)] : []
  }
  return value.value.map(
    (item, index) => new Unwound(document, unwind, item, { kind: 'long', value: BigInt(index) }),
  )
}

const NULL: DocumentValue = { kind: 'null' }

class Unwound implements LazyDocument {
  readonly #document: LazyDocument
  readonly #unwind: Unwind
  readonly #element: DocumentValue | undefined
  readonly #index: DocumentValue
  /** The top-level field with the element inside, once it is asked for. */
  #field: DocumentValue | undefined | null = null

  constructor(
    document: LazyDocument,
    unwind: Unwind,
    element: DocumentValue | undefined,
    index: DocumentValue,
  ) {
    this.#document = document
    this.#unwind = unwind
    this.#element = element
    this.#index = index
  }

  field(name: string): DocumentValue | undefined {
    if (name === this.#unwind.indexField) return this.#index
    return name === this.#unwind.path[0] ? this.#replaced() : this.#document.field(name)
  }

  whole(): ObjectValue {
    const fields = new Map(this.#document.whole().value)
    put(fields, this.#unwind.path[0]!, this.#replaced())
    if (this.#unwind.indexField !== null) fields.set(this.#unwind.indexField, this.#index)
    return { kind: 'object', value: fields }
  }

  #replaced(): DocumentValue | undefined {
    if (this.#field === null) {
      const { path } = this.#unwind
      this.#field = replaced(this.#document.field(path[0]!), path, 1, this.#element)
    }
    return this.#field
  }
}

function valueOnPath(document: LazyDocument, path: Path): DocumentValue | undefined {
  let value = document.field(path[0]!)
  for (const name of path.slice(1)) {
    value = value?.kind === 'object' ? value.value.get(name) : undefined
  }
  return value
}

/** A copy along the path; where the path ends early nothing is added. */
function replaced(
  value: DocumentValue | undefined,
  path: Path,
  depth: number,
  element: DocumentValue | undefined,
): DocumentValue | undefined {
  if (depth === path.length) return element
  if (value?.kind !== 'object') return value
  const fields = new Map(value.value)
  put(fields, path[depth]!, replaced(fields.get(path[depth]!), path, depth + 1, element))
  return { kind: 'object', value: fields }
}

function put(fields: Map<string, DocumentValue>, name: string, value: DocumentValue | undefined): void {
  if (value === undefined) fields.delete(name)
  else fields.set(name, value)
}
