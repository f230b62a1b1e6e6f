import type { PackedRows } from '../../core/packed-rows.ts'
import {
  addKey,
  copyKey,
  type KeyRange,
  noKeys,
  type PackedKeys,
  type RowReader,
  type SinkReader,
  type SourceSnapshot,
} from '../../core/row-reader.ts'
import type { TableSchema } from '../../core/table.ts'
import { Buckets, bucketsFor } from './buckets.ts'
import { idOf, type RowHasher } from './row-hash.ts'

/** Rows of one side that are held at once while a difference is looked for, and suspects of one range. */
const HELD_ROWS = 500_000

export interface RangeComparison {
  readonly snapshot: SourceSnapshot
  readonly sink: SinkReader
  readonly table: TableSchema
  readonly range: KeyRange
  /** A new one for every reader: they work at the same time. */
  hasher(): RowHasher
  /** Estimated rows of the range. */
  readonly rows: number
  /** Called for every batch of either side; throws to end the comparison. `rows` are new ones of the source. */
  onBatch(rows: number): void
}

export interface RangeOutcome {
  /** Rows of the source. */
  readonly rows: number
  /** Keys of the rows that are not the same on both sides. */
  readonly suspects: PackedKeys
}

/** Gets the hash of a row, see `RowHasher.result`. */
type Visit = (hash: Int32Array, rows: PackedRows, row: number) => void

/**
 * Reads both sides at the same time, each at its own pace. When they differ, reads them again and keeps what falls into
 * the buckets that differ. The sides are not of one moment, so what is found is only suspected.
 */
export async function compareRange(request: RangeComparison): Promise<RangeOutcome> {
  const { snapshot, sink } = request
  const buckets = new Buckets(bucketsFor(request.rows))
  const failed = { side: false }
  const check = (rows: number): void => {
    if (failed.side) throw new Error('the other side failed')
    request.onBatch(rows)
  }
  const ended = await Promise.allSettled([
    read(request, snapshot, check, (hash) => buckets.addSource(hash)).catch(failing(failed)),
    read(
      request,
      sink,
      () => check(0),
      (hash) => buckets.addSink(hash),
    ).catch(failing(failed)),
  ])
  for (const end of ended) if (end.status === 'rejected') throw end.reason
  const suspects = noKeys()
  for (const group of buckets.differing(HELD_ROWS)) {
    await collect(request, group, suspects)
    if (suspects.rowCount >= HELD_ROWS) break
  }
  return { rows: buckets.sourceRows, suspects }
}

/** Only the first failure is one; it ends the other side, which is waited for. */
function failing(failed: { side: boolean }): (error: unknown) => void {
  return (error) => {
    if (failed.side) return
    failed.side = true
    throw error
  }
}

async function read(
  { table, range, hasher }: RangeComparison,
  reader: RowReader,
  check: (rows: number) => void,
  visit: Visit,
): Promise<void> {
  const hashing = hasher()
  await reader.scan(table, range, (rows) => {
    check(rows.rowCount)
    for (let row = 0; row < rows.rowCount; row++) {
      hashing.hash(rows, rows.newImage[row]!)
      visit(hashing.result, rows, row)
    }
  })
}

/** Adds the keys of rows in these buckets that are not the same on both sides. */
async function collect(request: RangeComparison, group: Uint8Array, suspects: PackedKeys): Promise<void> {
  const { table, snapshot, sink } = request
  const mask = group.length - 1
  const check = (): void => request.onBatch(0)
  const held = noKeys()
  const hashes: number[] = []
  /** By the row's id its place in `held`. */
  const places = new Map<number, number>()
  await read(request, snapshot, check, (hash, rows, row) => {
    if (group[hash[0]! & mask] === 0) return
    places.set(idOf(hash), held.rowCount)
    addKey(held, table, rows, row)
    hashes.push(hash[2]!, hash[3]!)
  })
  await read(request, sink, check, (hash, rows, row) => {
    if (group[hash[0]! & mask] === 0) return
    const id = idOf(hash)
    const place = places.get(id)
    if (place === undefined) {
      if (suspects.rowCount < HELD_ROWS) addKey(suspects, table, rows, row)
    } else if (hashes[place * 2] === hash[2] && hashes[place * 2 + 1] === hash[3]) places.delete(id)
  })
  for (const place of places.values()) copyKey(suspects, table, held, place)
}
