/**
 * Paths into documents, and the two ways of following them through arrays.
 *
 * - Conditions look at every value that a path may mean: through an array at all its elements that are objects, and
 *   where a name is a number also at the element of that place. Behind the path, the elements of an array count as well
 *   as the array.
 * - Expressions have one value: through an array, the array of what its objects have at the rest of the path. Numbers are
 *   names of fields.
 */
import { isIndex } from './document.ts'
import type { Path } from './mapping.ts'
import type { DocumentValue, LazyDocument } from './value.ts'

type Value = DocumentValue | undefined
type Fields = Pick<LazyDocument, 'field'>

export type ParsedPath =
  | { readonly path: Path; readonly reason: null }
  /** A clause without a full stop. */
  | { readonly path: null; readonly reason: string }

/** Of a reference to another document (`$ref`, `$id`, `$db`); no other name may begin with `$`. */
const REFERENCE = /^\$(ref|id|db)$/

/** `a.b.c`. */
export function parsePath(text: string): ParsedPath {
  const path = text.split('.')
  if (path.includes('')) return { path: null, reason: 'has an empty name between its points' }
  if (text.includes('\0')) return { path: null, reason: 'holds the character U+0000' }
  const command = path.some((name, index) => name.startsWith('$') && (index === 0 || !REFERENCE.test(name)))
  if (command) return { path: null, reason: 'has a name that begins with $' }
  return { path, reason: null }
}

/** Whether one of the values that the path may mean passes; `undefined` is a field that is missing. */
export type Search = (document: Fields, test: (value: Value) => boolean) => boolean

/** `elements`: behind the path, look at the elements of an array too. */
export function search(path: Path, elements: boolean): Search {
  if (path.length > 1) {
    return (document, test) => searchObject(document, path, 0, elements, test)
  }
  const name = path[0]!
  return elements
    ? (document, test) => searchLeaf(document.field(name), test)
    : (document, test) => test(document.field(name))
}

function searchLeaf(value: Value, test: (value: Value) => boolean): boolean {
  if (value === undefined || value.kind !== 'array') return test(value)
  for (const item of value.value) if (test(item)) return true
  return test(value)
}

function searchObject(
  object: Fields,
  path: Path,
  depth: number,
  elements: boolean,
  test: (value: Value) => boolean,
): boolean {
  const value = object.field(path[depth]!)
  if (depth === path.length - 1) return elements ? searchLeaf(value, test) : test(value)
  if (value?.kind === 'object') return searchObject(fieldsOf(value), path, depth + 1, elements, test)
  if (value?.kind === 'array') return searchArray(value.value, path, depth + 1, elements, test)
  return test(undefined)
}

/**
 * Elements that are neither objects nor meant by their place say nothing, not even that something is missing. The
 * element of a place stands for itself: its own elements are not looked at.
 */
function searchArray(
  items: readonly DocumentValue[],
  path: Path,
  depth: number,
  elements: boolean,
  test: (value: Value) => boolean,
): boolean {
  for (const item of items) {
    if (item.kind === 'object' && searchObject(fieldsOf(item), path, depth, elements, test)) return true
  }
  const name = path[depth]!
  const item = isIndex(name) ? items[Number(name)] : undefined
  if (item === undefined) return false
  if (depth === path.length - 1) return test(item)
  if (item.kind === 'object') return searchObject(fieldsOf(item), path, depth + 1, elements, test)
  return item.kind === 'array' && searchArray(item.value, path, depth + 1, elements, test)
}

function fieldsOf(object: Extract<DocumentValue, { kind: 'object' }>): Fields {
  return { field: (name) => object.value.get(name) }
}

/** The value at a path, as expressions see it. */
export function valueAt(document: Fields, path: Path): Value {
  return valueBehind(document.field(path[0]!), path, 1)
}

/** The same from a value on, at the names of the path from `depth` on. */
export function valueBehind(value: Value, path: Path, depth: number): Value {
  if (depth >= path.length || value === undefined) return value
  if (value.kind === 'object') return valueBehind(value.value.get(path[depth]!), path, depth + 1)
  if (value.kind !== 'array') return undefined
  const found: DocumentValue[] = []
  for (const item of value.value) {
    const inner = item.kind === 'object' ? valueBehind(item, path, depth) : undefined
    if (inner !== undefined) found.push(inner)
  }
  return { kind: 'array', value: found }
}

/**
 * What has to be read so that all of the paths can be followed, without paths inside others. Where a name may be the
 * place of an element, the path ends before it.
 */
export function pathsToRead(paths: Iterable<Path>): readonly Path[] {
  const cut = [...paths].map((path) => {
    const index = path.findIndex((name, place) => place > 0 && isIndex(name))
    return index === -1 ? path : path.slice(0, index)
  })
  const shortestFirst = cut.toSorted((a, b) => a.length - b.length)
  const kept: Path[] = []
  for (const path of shortestFirst) {
    if (!kept.some((other) => other.every((name, depth) => path[depth] === name))) kept.push(path)
  }
  return kept
}
