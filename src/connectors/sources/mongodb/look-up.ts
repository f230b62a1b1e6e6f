/**
 * Whole documents of updates whose collection stores no post-images: read after the event, many at once. What is read may
 * be newer than the event, or gone; then its own event follows.
 */
import { BSON, type Document, type MongoClient } from 'mongodb'
import type { Arena } from '../../../core/packed-rows.ts'
import { documentLast, nameEnd, valueEnd } from './bson.ts'
import { type MappedCollection, projectionOf } from './collections.ts'
import { findReplies } from './commands.ts'

/** A document in a reply. */
export interface FoundDocument {
  readonly bytes: Arena
  readonly at: number
}

/** The `documentKey` of an event, in its reply. */
export interface DocumentKey {
  readonly bytes: Arena
  readonly at: number
}

/** The documents by `keyText` of what was asked for. Those that are gone are left out. */
export async function lookUp(
  client: MongoClient,
  collection: MappedCollection,
  keys: readonly DocumentKey[],
): Promise<ReadonlyMap<string, FoundDocument>> {
  const found = new Map<string, FoundDocument>()
  const simple = keys.filter(isIdOnly)
  if (simple.length > 0) {
    const ids = [...new Map(simple.map((key) => [keyText(key), key])).values()].map(idOf)
    for await (const document of read(client, collection, { _id: { $in: ids } })) {
      found.set(idText(document.bytes, document.at)!, document)
    }
  }
  // With a shard key besides, _id may not be unique: each document by its own key.
  for (const key of keys) {
    if (isIdOnly(key)) continue
    for await (const document of read(client, collection, filterOf(key))) found.set(keyText(key), document)
  }
  return found
}

/** Equal for equal keys. */
export function keyText(key: DocumentKey): string {
  if (isIdOnly(key)) return idText(key.bytes, key.at)!
  return key.bytes.latin1Slice(key.at, documentLast(key.bytes, key.at, key.bytes.length))
}

async function* read(
  client: MongoClient,
  collection: MappedCollection,
  filter: Document,
): AsyncGenerator<FoundDocument> {
  const projection = projectionOf(collection)
  const replies = findReplies(client, collection.database, {
    find: collection.name,
    filter,
    ...(projection === null ? {} : { projection }),
    readConcern: { level: 'majority' },
    batchSize: 1000,
  })
  for await (const { bytes, documents } of replies) for (const at of documents) yield { bytes, at }
}

/** True for `{_id: ...}` alone. */
function isIdOnly({ bytes, at }: DocumentKey): boolean {
  const last = documentLast(bytes, at, bytes.length)
  const name = nameEnd(bytes, at + 5, last)
  return bytes.latin1Slice(at + 5, name) === '_id' && valueEnd(bytes, bytes[at + 4]!, name + 1, last) === last
}

/** Type and bytes of a document's `_id`. */
function idText(bytes: Arena, at: number): string | null {
  const last = documentLast(bytes, at, bytes.length)
  at += 4
  while (at < last) {
    const type = bytes[at]!
    const name = nameEnd(bytes, at + 1, last)
    const end = valueEnd(bytes, type, name + 1, last)
    if (name - at === 4 && bytes[at + 1] === 0x5f && bytes[at + 2] === 0x69 && bytes[at + 3] === 0x64)
      return bytes.latin1Slice(at, at + 1) + bytes.latin1Slice(name, end)
    at = end
  }
  return null
}

function filterOf({ bytes, at }: DocumentKey): Document {
  const last = documentLast(bytes, at, bytes.length)
  // Every number keeps its type.
  return BSON.deserialize(bytes.subarray(at, last + 1), {
    promoteValues: false,
    promoteLongs: false,
    promoteBuffers: false,
  })
}

function idOf(key: DocumentKey): unknown {
  return filterOf(key)['_id']
}
