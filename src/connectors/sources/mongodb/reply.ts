/** Replies of `find`, `aggregate` and `getMore` as bytes: the `cursor` document and the documents of its batch. */
import { BSON, type Document } from 'mongodb'
import type { Arena } from '../../../core/packed-rows.ts'
import {
  BsonType,
  documentLast,
  eachElement,
  int32,
  int64,
  malformed,
  nameEnd,
  valueEnd,
} from './bson/bson.ts'

export interface CursorReply {
  readonly bytes: Arena
  /** 0 when the cursor is at its end. */
  readonly cursorId: bigint
  /** Where the documents begin, and one index behind the last. */
  readonly documents: readonly number[]
  /** The post-batch resume token, see `tokenText`; null where there is none. */
  readonly token: string | null
}

/** Reads the `cursor` field of a reply (MongoDB manual, "aggregate", "Output"). */
export function readReply(bytes: Arena): CursorReply {
  let cursorId = 0n
  let documents: readonly number[] = []
  let token: string | null = null
  eachElement(bytes, 0, bytes.length, (type, nameAt, nameStop, at) => {
    const name = bytes.latin1Slice(nameAt, nameStop)
    if (name === 'id' && type === BsonType.int64) cursorId = int64(bytes, at)
    else if ((name === 'nextBatch' || name === 'firstBatch') && type === BsonType.array) {
      documents = starts(bytes, at)
    } else if (name === 'postBatchResumeToken') token = tokenText(bytes, at)
  })
  return { bytes, cursorId, documents, token }
}

/** Type and name of its field. */
const TOKEN_HEAD = Uint8Array.of(BsonType.string, 0x5f, 0x64, 0x61, 0x74, 0x61, 0)

/**
 * A token document as text: its `_data`, hex digits; with more fields, the whole document in base64 behind a `;`. Null when it
 * has another form. Servers add `_typeBits` where a document key has other numbers than 32-bit ones.
 */
export function tokenText(bytes: Arena, at: number): string | null {
  const last = documentLast(bytes, at, bytes.length)
  for (let index = 0; index < TOKEN_HEAD.length; index++)
    if (bytes[at + 4 + index] !== TOKEN_HEAD[index]) return null
  const size = int32(bytes, at + 11)
  const end = at + 15 + size - 1
  if (size <= 0 || end >= last) return null
  const data = bytes.latin1Slice(at + 15, end)
  return end + 1 === last ? data : `${data};${bytes.toString('base64', at, last + 1)}`
}

/** The document of such a text, as the server gave it. */
export function tokenDocument(text: string): Document {
  const [data, whole] = text.split(';')
  return whole === undefined ? { _data: data } : BSON.deserialize(Buffer.from(whole, 'base64'))
}

function starts(bytes: Arena, at: number): readonly number[] {
  const last = documentLast(bytes, at, bytes.length)
  const found: number[] = []
  at += 4
  while (at < last) {
    if (bytes[at] !== BsonType.object) throw malformed('a batch holds what is no document')
    const value = nameEnd(bytes, at + 1, last) + 1
    found.push(value)
    at = valueEnd(bytes, BsonType.object, value, last)
  }
  return found
}
