/**
 * Change events as bytes: one pass over each finds what is needed of it, as places in the reply. Shapes: MongoDB manual,
 * "Change Events". Nothing here makes an object per event.
 */
import type { Arena } from '../../../core/packed-rows.ts'
import { BsonType, documentLast, int32, malformed, nameEnd, valueEnd } from './bson/bson.ts'

export const EventKind = {
  insert: 1,
  update: 2,
  replace: 3,
  delete: 4,
  drop: 5,
  rename: 6,
  dropDatabase: 7,
  invalidate: 8,
  /** `create` and `modify`: the collection may store other images from now on. */
  options: 9,
  other: 10,
} as const
export type EventKind = (typeof EventKind)[keyof typeof EventKind]

/** Where the parts of one event lie; -1 stands for what it does not have. Used again for the next one. */
export class EventView {
  kind: EventKind = EventKind.other
  /** The resume token, a document. */
  tokenAt = -1
  seconds = 0
  counter = 0
  /** Documents. */
  nsAt = -1
  toAt = -1
  keyAt = -1
  afterAt = -1
  beforeAt = -1
  /** The session's id, a document; with `txnAt`, the number in it, the transaction. */
  lsidAt = -1
  txnAt = -1
  splitAt = -1

  read(bytes: Arena, at: number): void {
    const last = documentLast(bytes, at, bytes.length)
    this.kind = EventKind.other
    this.tokenAt = this.nsAt = this.toAt = this.keyAt = this.afterAt = this.beforeAt = -1
    this.lsidAt = this.txnAt = this.splitAt = -1
    this.seconds = this.counter = 0
    at += 4
    while (at < last) {
      const type = bytes[at]!
      const name = at + 1
      const nameStop = nameEnd(bytes, name, last)
      const value = nameStop + 1
      const end = valueEnd(bytes, type, value, last)
      // Names are told apart by length and first letter.
      switch (nameStop - name) {
        case 3:
          if (bytes[name] === 0x5f && type === BsonType.object) this.tokenAt = value
          break
        case 13:
          if (type === BsonType.string && bytes[name + 9] === 0x54) this.kind = kindOf(bytes, value)
          break
        case 11:
          if (type === BsonType.timestamp) {
            this.counter = int32(bytes, value) >>> 0
            this.seconds = int32(bytes, value + 4) >>> 0
          } else if (bytes[name] === 0x64 && type === BsonType.object) this.keyAt = value
          break
        case 12:
          if (bytes[name] === 0x66 && type === BsonType.object) this.afterAt = value
          break
        case 24:
          if (bytes[name] === 0x66 && type === BsonType.object) this.beforeAt = value
          break
        case 2:
          if (type !== BsonType.object) break
          if (bytes[name] === 0x6e) this.nsAt = value
          else if (bytes[name] === 0x74) this.toAt = value
          break
        case 4:
          if (bytes[name] === 0x6c && type === BsonType.object) this.lsidAt = value
          break
        case 9:
          if (bytes[name] === 0x74 && type === BsonType.int64) this.txnAt = value
          break
        case 10:
          if (bytes[name] === 0x73 && bytes[name + 5] === 0x45 && type === BsonType.object)
            this.splitAt = value
          break
        default:
          break
      }
      at = end
    }
    if (this.tokenAt < 0) throw malformed('an event has no resume token')
  }
}

/** `operationType` is told by its first letters. */
function kindOf(bytes: Arena, at: number): EventKind {
  const length = int32(bytes, at) - 1
  const [a, b, c] = [bytes[at + 4], bytes[at + 5], bytes[at + 6]]
  if (length === 6 && a === 0x69) return EventKind.insert
  if (length === 6 && a === 0x75) return EventKind.update
  if (length === 7 && a === 0x72 && b === 0x65 && c === 0x70) return EventKind.replace
  if (length === 6 && a === 0x64) return EventKind.delete
  if (length === 4 && a === 0x64) return EventKind.drop
  if (length === 6 && a === 0x72 && c === 0x6e) return EventKind.rename
  if (length === 12 && a === 0x64) return EventKind.dropDatabase
  if (length === 10 && a === 0x69 && b === 0x6e && c === 0x76) return EventKind.invalidate
  if (length === 6 && (a === 0x63 || a === 0x6d)) return EventKind.options
  return EventKind.other
}
