import { describe, expect, it } from 'vitest'
import { Subscribers, type SubscriberState } from '../../../src/connectors/sinks/zero/subscribers.ts'

function subscribers(...stored: readonly Omit<SubscriberState, 'tables'>[]) {
  const clock = { now: 1000 }
  return {
    known: new Subscribers(
      stored.map((one) => ({ ...one, tables: null })),
      () => clock.now,
    ),
    clock,
  }
}
const one = {}
const two = {}

describe('what everybody has', () => {
  it('is the head when nobody is known', () => {
    expect(subscribers().known.acked(50)).toBe(50)
  })

  it('is what the one has that is furthest behind', () => {
    const { known } = subscribers()
    known.advance('a', one, 10)
    known.advance('b', two, 20)
    expect(known.acked(50)).toBe(10)
    known.advance('a', one, 30)
    expect(known.acked(50)).toBe(20)
  })

  it('is never more than the head, whatever a subscriber says', () => {
    const { known } = subscribers()
    known.advance('a', one, Number.MAX_SAFE_INTEGER)
    expect(known.acked(50)).toBe(50)
  })

  it('counts those that are away, also from before a restart', () => {
    const { known } = subscribers({ id: 'stored', acked: 5, seen: 900 })
    expect(known.acked(50)).toBe(5)
    known.advance('a', one, 10)
    known.leave('a', one)
    known.advance('stored', two, 40)
    expect(known.acked(50)).toBe(10)
  })

  it('counts the slower of two that call themselves the same, until it leaves', () => {
    const { known } = subscribers()
    known.advance('a', one, 10)
    known.advance('a', two, 30)
    expect(known.acked(50)).toBe(10)
    known.leave('a', one)
    expect(known.acked(50)).toBe(30)
    known.leave('a', two)
    expect(known.acked(50)).toBe(30)
  })

  it('goes back with a subscriber that resumes from before', () => {
    const { known } = subscribers()
    known.advance('a', one, 30)
    known.leave('a', one)
    known.advance('a', two, 10)
    expect(known.acked(50)).toBe(10)
  })
})

describe('a subscriber that is away', () => {
  it('is forgotten after its time; one that is connected never is', () => {
    const { known, clock } = subscribers({ id: 'old', acked: 5, seen: 100 })
    known.advance('here', one, 10)
    known.advance('left', two, 10)
    clock.now = 2000
    known.leave('left', two)
    expect(known.forgetBefore(1500)).toEqual(['old'])
    clock.now = 4000
    expect(known.forgetBefore(3000)).toEqual(['left'])
    expect(known.acked(50)).toBe(10)
  })

  it('that nobody knows leaves without a trace', () => {
    const { known } = subscribers()
    known.leave('a', one)
    expect(known.takeChanged()).toEqual([])
  })
})

describe('what has to be stored', () => {
  it('is told once', () => {
    const { known } = subscribers({ id: 'stored', acked: 5, seen: 900 })
    known.advance('a', one, 10)
    expect(known.takeChanged()).toEqual([{ id: 'a', acked: 10, seen: 1000, tables: null }])
    expect(known.takeChanged()).toEqual([])
    known.advance('stored', two, 6)
    expect(known.takeChanged()).toEqual([{ id: 'stored', acked: 6, seen: 1000, tables: null }])
  })
})
