import { describe, expect, it } from 'vitest'
import type { RecordBatch } from '../../../src/core/batch.ts'
import { ReplayFilter } from '../../../src/runtime/replay-filter.ts'
import {
  at,
  copied,
  copiedChunk,
  heartbeat,
  idsOf,
  schemaChange,
  transaction,
  transactions,
} from '../../support/batches.ts'

describe('a lane whose sink is ahead of the start', () => {
  it('leaves out what the sink has, and nothing else', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(filter.apply(transaction(2, 1)).batches).toEqual([])
    expect(filter.apply(heartbeat(3)).batches).toEqual([])
    expect(filter.apply(transactions([4, 1], [5, 2])).batches).toEqual([])
    const next = transaction(6, 3)
    expect(filter.apply(next)).toEqual({ batches: [next], repeatsFrom: null })
    expect(filter.skipping).toBe(false)
  })

  it('cuts a batch that the sink has in part', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const { batches, repeatsFrom } = filter.apply(transactions([4, 1, 2], [5, 3], [6, 4, 5], [-7, 6]))
    const rest = batches[0]!
    expect(idsOf(rest)).toEqual([4, 5, 6])
    expect(rest.rowCount).toBe(3)
    expect(rest.spans.map(({ id, firstRow, endRow }) => [id, firstRow, endRow])).toEqual([
      ['6', 0, 2],
      ['7', 2, 3],
    ])
    expect(rest.position).toEqual(at(6))
    expect(rest.endsInTransaction).toBe(true)
    expect(repeatsFrom).toBeNull()
  })

  it('repeats a transaction whose commit is not in sight, and everything after it', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const { batches, repeatsFrom } = filter.apply(transactions([2, 1], [-3, 2]))
    expect([batches.map(idsOf), repeatsFrom]).toEqual([[[2]], at(2)])
    expect(passed(filter, transaction(4, 3))).toEqual([3])
  })

  it.each(['truncate', 'change-key'] as const)('repeats from a %s on, which it cannot place', (kind) => {
    const filter = new ReplayFilter(at(5), at(1))
    const change = schemaChange(kind)
    expect(filter.apply(change)).toEqual({ batches: [change], repeatsFrom: at(1) })
    expect(passed(filter, transaction(2, 1))).toEqual([1])
  })

  it('skips a change that is placed before what it has', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(filter.apply(schemaChange('truncate', 'stream', at(2))).batches).toEqual([])
  })

  it('holds announcements back until there is something new, as the sink may know a newer shape', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const announcements = (['create-table', 'drop-table'] as const).map((kind) => schemaChange(kind))
    for (const announcement of announcements) expect(filter.apply(announcement).batches).toEqual([])
    expect(filter.apply(transaction(2, 1)).batches).toEqual([])
    const next = transaction(6, 1)
    expect(filter.apply(next).batches).toEqual([...announcements, next])
  })

  it('repeats once a copy begins', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const copy = copied(1, 2)
    expect(filter.apply(copy)).toEqual({ batches: [copy], repeatsFrom: at(1) })
    expect(filter.skipping).toBe(false)
  })

  it('does not skip a finished chunk by its position: chunks may come in another order', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const chunk = copiedChunk(2, 1)
    expect(filter.apply(chunk)).toEqual({ batches: [chunk], repeatsFrom: at(1) })
  })

  it('skips nothing when everything is copied again', () => {
    const filter = new ReplayFilter(at(5), null)
    expect(passed(filter, transaction(2, 1))).toEqual([1])
  })
})

function passed(filter: ReplayFilter, batch: RecordBatch): unknown[] {
  return filter.apply(batch).batches.flatMap(idsOf)
}
