/**
 * Items of a chunk as they cross threads: numbers. As objects, a transaction of one row would cost more on its way to
 * the thread that writes than to be written. Pure.
 */
import type { ChunkItem } from './log-messages.ts'

/** End, commit time and flags of each item; NaN where the source does not say when. */
const FIELDS = 3
const STREAM = 1
const COMMIT = 2
const PARTIAL = 4
const ORDER = 8

export interface PackedItems {
  readonly numbers: Float64Array
  /** Of the items that have one, in their order. */
  readonly orders: readonly string[]
}

export function packItems(items: readonly ChunkItem[]): PackedItems {
  const numbers = new Float64Array(items.length * FIELDS)
  const orders: string[] = []
  for (const [index, { end, origin, commit }] of items.entries()) {
    const at = index * FIELDS
    let flags = origin === 'stream' ? STREAM : 0
    if (commit !== null) {
      flags |= COMMIT
      if (commit.partial) flags |= PARTIAL
      if (commit.order !== '') {
        flags |= ORDER
        orders.push(commit.order)
      }
    }
    numbers[at] = end
    numbers[at + 1] = commit?.timeMs ?? NaN
    numbers[at + 2] = flags
  }
  return { numbers, orders }
}

export function* unpackItems({ numbers, orders }: PackedItems): Generator<ChunkItem, void> {
  let order = 0
  for (let at = 0; at < numbers.length; at += FIELDS) {
    const flags = numbers[at + 2]!
    const timeMs = numbers[at + 1]!
    yield {
      end: numbers[at]!,
      origin: (flags & STREAM) === 0 ? 'snapshot' : 'stream',
      commit:
        (flags & COMMIT) === 0
          ? null
          : {
              timeMs: Number.isNaN(timeMs) ? null : timeMs,
              order: (flags & ORDER) === 0 ? '' : orders[order++]!,
              partial: (flags & PARTIAL) !== 0,
            },
    }
  }
}
