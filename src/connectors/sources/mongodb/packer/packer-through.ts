/** What a path finds behind an array: the array of what the objects in it have at the rest of the path. */
import type { Arena } from '../../../../core/packed-rows.ts'
import type { Path } from '../../../../core/mapping/mapping.ts'
import { BsonType, DEPTH_MAX, documentLast, malformed, nameEnd, valueEnd } from '../bson/bson.ts'
import type { BsonWriter } from '../bson/bson-writer.ts'

const names = new Map<string, Buffer>()

/** Writes the array that the names of `path` from `depth` on find in the array at `at`. */
export function putThrough(
  out: BsonWriter,
  bytes: Arena,
  at: number,
  limit: number,
  path: Path,
  depth: number,
  nesting = 0,
): void {
  if (nesting > DEPTH_MAX) throw malformed('it is nested too deeply')
  const last = documentLast(bytes, at, limit)
  const start = out.begin()
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const value = nameEnd(bytes, at + 1, last) + 1
    const end = valueEnd(bytes, type, value, last)
    // Elements that are no objects, other arrays too, have no fields.
    if (type === BsonType.object) putInside(out, bytes, value, end, path, depth, nesting)
    at = end
  }
  out.end(start)
}

/** Adds what the path finds in an object as an element; nothing when it is missing. */
function putInside(
  out: BsonWriter,
  bytes: Arena,
  at: number,
  limit: number,
  path: Path,
  depth: number,
  nesting: number,
): void {
  const last = documentLast(bytes, at, limit)
  const wanted = nameBytes(path[depth]!)
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const name = nameEnd(bytes, at + 1, last)
    const end = valueEnd(bytes, type, name + 1, last)
    if (name - at - 1 === wanted.length && bytes.compare(wanted, 0, wanted.length, at + 1, name) === 0) {
      if (depth === path.length - 1) return out.copy(type, bytes, name + 1, end)
      if (type === BsonType.object) return putInside(out, bytes, name + 1, end, path, depth + 1, nesting)
      if (type !== BsonType.array) return
      const element = out.element('')
      out.bytes[element] = type
      return putThrough(out, bytes, name + 1, end, path, depth + 1, nesting + 1)
    }
    at = end
  }
}

function nameBytes(name: string): Buffer {
  let bytes = names.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(name)
    names.set(name, bytes)
  }
  return bytes
}
