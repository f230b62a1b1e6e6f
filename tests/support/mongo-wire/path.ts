import { Doc, List, NULL, type Value } from './value.ts'

/** The value at a path, following documents and array indexes. */
export function getPath(value: Value | undefined, path: readonly string[]): Value | undefined {
  let at = value
  for (const segment of path) {
    if (at instanceof Doc) at = at.get(segment)
    else if (at instanceof List && isIndex(segment)) at = at.items[Number(segment)]
    else return undefined
  }
  return at
}

/** All values that a query path reaches: arrays on the way are entered; a missing one is `undefined`. */
export function* reach(
  value: Value | undefined,
  path: readonly string[],
  from = 0,
): Generator<Value | undefined> {
  const segment = path[from]
  if (segment === undefined) yield value
  else if (value instanceof Doc) yield* reach(value.get(segment), path, from + 1)
  else if (value instanceof List) {
    if (isIndex(segment) && Number(segment) < value.items.length)
      yield* reach(value.items[Number(segment)], path, from + 1)
    for (const item of value.items) if (item instanceof Doc) yield* reach(item, path, from)
  } else yield undefined
}

/** The value with another one at that path; documents are made where they are missing. */
export function setPath(value: Value | undefined, path: readonly string[], to: Value): Value {
  const [segment, ...rest] = path
  if (segment === undefined) return to
  if (value instanceof List) {
    const items = [...value.items]
    const index = Number(segment)
    while (items.length < index) items.push(NULL)
    items[index] = setPath(items[index], rest, to)
    return List.of(items)
  }
  const document = value instanceof Doc ? value : Doc.empty
  return document.with(segment, setPath(document.get(segment), rest, to))
}

/** The value without what is at that path; within an array, null is left in its place. */
export function removePath(value: Value, path: readonly string[]): Value {
  const [segment, ...rest] = path
  if (segment === undefined) return value
  if (value instanceof List) {
    const item = value.items[Number(segment)]
    if (item === undefined) return value
    return List.of(value.items.with(Number(segment), rest.length === 0 ? NULL : removePath(item, rest)))
  }
  if (!(value instanceof Doc)) return value
  const field = value.get(segment)
  if (field === undefined) return value
  return rest.length === 0 ? value.without(segment) : value.with(segment, removePath(field, rest))
}

export function isIndex(segment: string): boolean {
  return /^(0|[1-9]\d*)$/.test(segment)
}
