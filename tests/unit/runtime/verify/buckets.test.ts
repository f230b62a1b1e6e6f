import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Buckets, bucketsFor } from '../../../../src/runtime/verify/buckets.ts'

const hash = fc
  .tuple(fc.integer(), fc.integer(), fc.integer(), fc.integer())
  .map((parts) => Int32Array.from(parts))

describe('buckets', () => {
  it('are equal when both sides have the same rows, in any order', () => {
    fc.assert(
      fc.property(fc.array(hash, { maxLength: 200 }), fc.nat(), (rows, turn) => {
        const buckets = new Buckets(64)
        for (const row of rows) buckets.addSource(row)
        for (let at = 0; at < rows.length; at++) buckets.addSink(rows[(at + turn) % rows.length]!)
        expect([...buckets.differing(100)]).toEqual([])
      }),
    )
  })

  it('mark the bucket of a row that is missing, added or different', () => {
    fc.assert(
      fc.property(fc.array(hash, { minLength: 1, maxLength: 50 }), fc.nat(), hash, (rows, at, other) => {
        const victim = at % rows.length
        const changed = Int32Array.from(rows[victim]!)
        changed[2]! += 1
        const sinks = {
          missing: rows.filter((_, index) => index !== victim),
          extra: [...rows, other],
          different: rows.map((row, index) => (index === victim ? changed : row)),
        }
        for (const [kind, sink] of Object.entries(sinks)) {
          const buckets = new Buckets(64)
          for (const row of rows) buckets.addSource(row)
          for (const row of sink) buckets.addSink(row)
          const wanted = (kind === 'extra' ? other : rows[victim]!)[0]! & 63
          const [marked, ...more] = buckets.differing(1000)
          expect(more).toEqual([])
          expect([...marked!.keys()].filter((bucket) => marked![bucket] === 1)).toEqual([wanted])
        }
      }),
    )
  })

  it('come in groups that hold not much more rows than asked for, and leave none out', () => {
    const buckets = new Buckets(64)
    for (let row = 0; row < 640; row++) buckets.addSource(Int32Array.from([row, 0, 1, 1]))
    const groups = [...buckets.differing(100)]
    expect(groups).toHaveLength(7)
    expect(groups.reduce((sum, group) => sum + group.filter(Boolean).length, 0)).toBe(64)
  })

  it('are more for more rows, within limits', () => {
    expect([0, 1e3, 1e5, 1e6, 1e7, 1e9].map(bucketsFor)).toEqual([
      4096, 4096, 8192, 65_536, 1_048_576, 1_048_576,
    ])
  })
})
