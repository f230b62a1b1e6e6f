/**
 * Events that the server cut into fragments because they were too large for one reply (MongoDB manual,
 * "$changeStreamSplitLargeEvent"): each holds some of the event's fields whole, and `splitEvent: {fragment, of}`.
 */
import { ConnectionError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import { BsonType, documentLast, eachElement, int32 } from './bson/bson.ts'

/** Puts fragments together. */
export class SplitEvent {
  readonly #parts: Buffer[] = []
  #of = 0

  /** True between the first and the last fragment. */
  get isOpen(): boolean {
    return this.#parts.length > 0
  }

  /** Forgets the fragments so far: the stream begins anew before them. */
  clear(): void {
    this.#parts.length = 0
  }

  /** Takes the fragment at `at`; gives the whole event with the last one. Its token is the last fragment's. */
  add(bytes: Arena, at: number, splitAt: number): Arena | null {
    const { fragment, of } = readSplit(bytes, splitAt)
    if (fragment !== this.#parts.length + 1 || (this.isOpen && of !== this.#of)) {
      throw new ConnectionError('mongodb/fragment-missing', 'a part of a large event is missing', {
        fix: 'Nothing to do: the stream is opened again before the event.',
      })
    }
    this.#of = of
    const isLast = fragment === of
    const elements: Buffer[] = []
    eachElement(bytes, at, bytes.length, (_type, nameAt, nameStop, _value, end) => {
      const name = bytes.latin1Slice(nameAt, nameStop)
      if (name === 'splitEvent' || (name === '_id' && !isLast)) return
      elements.push(bytes.subarray(nameAt - 1, end))
    })
    this.#parts.push(Buffer.concat(elements))
    if (!isLast) return null
    const size = this.#parts.reduce((sum, part) => sum + part.length, 0) + 5
    const head = Buffer.alloc(4)
    head.writeInt32LE(size)
    const whole = Buffer.concat([head, ...this.#parts, Buffer.alloc(1)])
    this.#parts.length = 0
    return whole as Arena
  }
}

function readSplit(bytes: Arena, at: number): { readonly fragment: number; readonly of: number } {
  let fragment = 0
  let of = 0
  documentLast(bytes, at, bytes.length)
  eachElement(bytes, at, bytes.length, (type, nameAt, nameStop, value) => {
    if (type !== BsonType.int32) return
    if (nameStop - nameAt === 2) of = int32(bytes, value)
    else fragment = int32(bytes, value)
  })
  return { fragment, of }
}
