import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Progress } from '../../../src/runtime/progress.ts'
import { at } from '../../support/batches.ts'

describe('progress', () => {
  it('is where the slowest lane is, and never moves back', () => {
    const step = fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 50 }))
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const told: number[] = []
        const progress = new Progress([null, null, null], (position) => told.push(Number(position.resume)))
        const lanes = [0, 0, 0]
        for (const [lane, number] of steps) {
          progress.advance(lane, at(number))
          lanes[lane] = Math.max(lanes[lane]!, number)
          expect(progress.durable?.resume ?? 0).toBe(Math.min(...lanes))
        }
        expect(told).toEqual([...new Set(told)].sort((a, b) => a - b))
      }),
    )
  })

  it('starts where the lane that has least starts', () => {
    expect(new Progress([at(3), at(2)], () => {}).durable).toEqual(at(2))
    expect(new Progress([at(3), null], () => {}).durable).toBeNull()
  })
})
