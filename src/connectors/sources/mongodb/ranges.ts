/** Ranges of `_id` that together are a collection, whatever types its `_id`s have. */
import { BSON, type Document, type MongoClient } from 'mongodb'
import type { MappedCollection } from './collections.ts'
import { isAnswer } from './errors.ts'

export interface CollectionSize {
  /** Estimates; 0 when nothing is known. */
  readonly documents: number
  readonly bytes: number
}

/** Samples per range: the ranges come out about as large as each other. */
const SAMPLES = 10
/** MongoDB source, `document_source_sample_from_random_cursor.cpp`. */
const NO_NEW_SAMPLE = 28799

/** Counts and bytes as the server keeps them (manual, "$collStats"); on a sharded cluster of all shards. */
export async function collectionSize(
  client: MongoClient,
  { database, name }: MappedCollection,
): Promise<CollectionSize> {
  const pipeline = [
    { $collStats: { storageStats: {} } },
    { $project: { 'storageStats.count': 1, 'storageStats.size': 1 } },
  ]
  const shards = await client
    .db(database)
    .collection(name)
    .aggregate(pipeline)
    .toArray()
    .catch((error: unknown): Document[] => {
      // Not there yet, or not allowed: one range is right too.
      if (isAnswer(error)) return []
      throw error
    })
  const sum = (field: 'count' | 'size'): number =>
    shards.reduce((total, { storageStats }) => total + Number(storageStats?.[field] ?? 0), 0)
  return { documents: sum('count'), bytes: sum('size') }
}

/**
 * `_id`s that cut the collection into about `count` ranges, in the order of the index on `_id`, each as a BSON document
 * `{_id}` in base64.
 */
export async function rangeBounds(
  client: MongoClient,
  { database, name }: MappedCollection,
  count: number,
): Promise<readonly string[]> {
  if (count < 2) return []
  const samples = await client
    .db(database)
    .collection(name)
    .aggregate([{ $sample: { size: count * SAMPLES } }, { $project: { _id: 1 } }, { $sort: { _id: 1 } }], {
      raw: true,
      readConcern: { level: 'majority' },
    })
    .toArray()
    .catch((error: unknown): Document[] => {
      // Now and then a sample finds no document that it has not had yet; one range is right too.
      if ((error as { code?: unknown }).code === NO_NEW_SAMPLE) return []
      throw error
    })
  const bounds = samples
    .filter((_, index) => index > 0 && index % SAMPLES === 0)
    .map((document) => Buffer.from(document as unknown as Uint8Array).toString('base64'))
  return [...new Set(bounds)]
}

/**
 * The part of a `find` that reads one range by the index on `_id`: `min` is in it, `max` is not, and both mean places in
 * the order of all types (manual, "cursor.min()").
 */
export function rangeOf(bounds: readonly string[], index: number): Document {
  const from = bounds[index - 1]
  const to = bounds[index]
  return {
    hint: { _id: 1 },
    ...(from === undefined ? {} : { min: parseBound(from) }),
    ...(to === undefined ? {} : { max: parseBound(to) }),
  }
}

function parseBound(text: string): Document {
  return BSON.deserialize(Buffer.from(text, 'base64'), {
    promoteValues: false,
    promoteLongs: false,
    promoteBuffers: false,
  })
}
