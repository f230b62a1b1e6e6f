/**
 * Whole documents of updates whose collection stores no post-images: read after the event, many at once. What is read may
 * be newer than the event, or gone; then its own event follows.
 */
import { BSON, type MongoClient, type Timestamp } from 'mongodb'
import type { Arena } from '../../../core/packed-rows.ts'
import { documentLast, nameEnd, valueEnd } from './bson/bson.ts'
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

/**
 * The documents by `keyText` of what was asked for. Those that are gone are left out. Null when they hold more than `room`
 * bytes together. What is read is not older than the cluster time `after`, also behind an election.
 *
 * By `_id` alone, also on sharded collections: the rest of a document key is the shard key, which an update may change, and then
 * nothing would be found under the old one. Only tables whose rows are told apart by `_id` are read like this.
 */
export async function lookUp(
  client: MongoClient,
  collection: MappedCollection,
  keys: readonly DocumentKey[],
  after: Timestamp,
  room: number,
): Promise<ReadonlyMap<string, FoundDocument> | null> {
  const ids = [...new Map(keys.map((key) => [keyText(key), key])).values()].map(idOf)
  const projection = projectionOf(collection)
  const replies = findReplies(client, collection.database, {
    find: collection.name,
    filter: { _id: { $in: ids } },
    ...(projection === null ? {} : { projection }),
    readConcern: { level: 'majority', afterClusterTime: after },
    batchSize: 1000,
  })
  const found = new Map<string, FoundDocument>()
  for await (const { bytes, documents } of replies) {
    room -= bytes.length
    if (room < 0) return null
    for (const at of documents) found.set(keyText({ bytes, at }), { bytes, at })
  }
  return found
}

/** Equal for equal `_id`s, of a document or of its key. */
export function keyText({ bytes, at }: DocumentKey): string {
  return idText(bytes, at) ?? ''
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

function idOf({ bytes, at }: DocumentKey): unknown {
  const last = documentLast(bytes, at, bytes.length)
  // Every number keeps its type.
  return BSON.deserialize(bytes.subarray(at, last + 1), {
    promoteValues: false,
    promoteLongs: false,
    promoteBuffers: false,
  })['_id']
}
