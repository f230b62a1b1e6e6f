/** Replies of `find`, `aggregate` and `getMore` as bytes: the `cursor` document and the documents of its batch. */
import type { Arena } from '../../../core/packed-rows.ts'
import { BsonType, documentLast, eachElement, int32, int64, malformed, nameEnd, valueEnd } from './bson.ts'

export interface CursorReply {
  readonly bytes: Arena
  /** 0 when the cursor is at its end. */
  readonly cursorId: bigint
  /** Where the documents begin, and one index behind the last. */
  readonly documents: readonly number[]
  /** `_data` of the post-batch resume token; null where there is none. */
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
    } else if (name === 'postBatchResumeToken') token = tokenData(bytes, at)
  })
  return { bytes, cursorId, documents, token }
}

/** Type and name of its field. */
const TOKEN_HEAD = Uint8Array.of(BsonType.string, 0x5f, 0x64, 0x61, 0x74, 0x61, 0)

/** `_data` of a token document, hex digits; null when it has another form. */
export function tokenData(bytes: Arena, at: number): string | null {
  const last = documentLast(bytes, at, bytes.length)
  // {_data: <text>} is all that a token is (MongoDB manual, "Resume Tokens").
  for (let index = 0; index < TOKEN_HEAD.length; index++)
    if (bytes[at + 4 + index] !== TOKEN_HEAD[index]) return null
  const size = int32(bytes, at + 11)
  const end = at + 15 + size - 1
  return size > 0 && end < last ? bytes.latin1Slice(at + 15, end) : null
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
