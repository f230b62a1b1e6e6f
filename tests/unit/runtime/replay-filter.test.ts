import { describe, expect, it } from 'vitest'
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
    expect(filter.apply(transaction(2, 1))).toBeNull()
    expect(filter.apply(heartbeat(3))).toBeNull()
    expect(filter.apply(transactions([4, 1], [5, 2]))).toBeNull()
    const next = transaction(6, 3)
    expect(filter.apply(next)).toBe(next)
    expect(filter.skipping).toBe(false)
  })

  it('cuts a batch that the sink has in part', () => {
    const filter = new ReplayFilter(at(5), at(1))
    const rest = filter.apply(transactions([4, 1, 2], [5, 3], [6, 4, 5], [-7, 6]))!
    expect(idsOf(rest)).toEqual([4, 5, 6])
    expect(rest.rowCount).toBe(3)
    expect(rest.spans.map(({ id, firstRow, endRow }) => [id, firstRow, endRow])).toEqual([
      ['6', 0, 2],
      ['7', 2, 3],
    ])
    expect(rest.position).toEqual(at(6))
    expect(rest.endsInTransaction).toBe(true)
  })

  it('passes a transaction whose commit is not in sight, and everything after it', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(idsOf(filter.apply(transactions([2, 1], [-3, 2])))).toEqual([2])
    expect(idsOf(filter.apply(transaction(4, 3)))).toEqual([3])
  })

  it.each(['truncate', 'change-key'] as const)('does not skip after a %s, which it cannot place', (kind) => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(filter.apply(schemaChange(kind))).not.toBeNull()
    expect(idsOf(filter.apply(transaction(2, 1)))).toEqual([1])
  })

  it('skips a change that is placed before what it has', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(filter.apply(schemaChange('truncate', 'stream', at(2)))).toBeNull()
  })

  it('passes announcements and goes on skipping', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(filter.apply(schemaChange('create-table'))).not.toBeNull()
    expect(filter.apply(transaction(2, 1))).toBeNull()
  })

  it('does not skip once a copy begins', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(idsOf(filter.apply(copied(1, 2)))).toEqual([1, 2])
    expect(filter.skipping).toBe(false)
  })

  it('does not skip a finished chunk by its position: chunks may come in another order', () => {
    const filter = new ReplayFilter(at(5), at(1))
    expect(idsOf(filter.apply(copiedChunk(2, 1)))).toEqual([1])
  })

  it('skips nothing when everything is copied again', () => {
    const filter = new ReplayFilter(at(5), null)
    expect(idsOf(filter.apply(transaction(2, 1)))).toEqual([1])
  })
})
