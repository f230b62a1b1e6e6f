import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatTime,
  isDone,
  ORDINAL_LIMIT,
  parseTime,
  type Place,
  placeAt,
  placeOf,
  readResume,
  snapshotVersion,
  StreamPosition,
  type Surroundings,
  timeOfToken,
  versionAt,
  withDone,
} from '../../../src/connectors/sources/mongodb/position.ts'

const surroundings: Surroundings = { stages: 's', cluster: 'rs0', tables: {}, copies: {}, wholeFrom: '' }
const at = (seconds: number, counter: number): bigint => (BigInt(seconds) << 32n) | BigInt(counter)

const times = fc.record({
  seconds: fc.integer({ min: 1_300_000_000, max: 3_000_000_000 }),
  counter: fc.integer({ min: 0, max: (1 << 20) - 1 }),
})

describe('a row version', () => {
  it('rises with cluster times, and with the rows of one', () => {
    fc.assert(
      fc.property(times, times, fc.integer({ min: 0, max: ORDINAL_LIMIT }), (a, b, ordinal) => {
        const [first, second] = [versionAt(a.seconds, a.counter), versionAt(b.seconds, b.counter)]
        const isEarlier = at(a.seconds, a.counter) < at(b.seconds, b.counter)
        expect(!isEarlier || first + BigInt(ordinal) < second).toBe(true)
      }),
    )
  })

  it('of a copy lies above all that is in it, and below what comes later', () => {
    const time = at(1_700_000_000, 7)
    expect(snapshotVersion(time)).toBe(versionAt(1_700_000_000, 7) + BigInt(ORDINAL_LIMIT))
    expect(snapshotVersion(time) < versionAt(1_700_000_000, 8)).toBe(true)
    expect(snapshotVersion(at(1_700_000_000, (1 << 20) - 1)) < versionAt(1_700_000_001, 0)).toBe(true)
  })

  it('fits into 64 bits for the next fifty years', () => {
    expect(snapshotVersion(at(3_400_000_000, (1 << 20) - 1)) < 1n << 64n).toBe(true)
    // Seconds since 2010 in the upper 31 bits, the counter in the 20 behind.
    for (const [seconds, counter] of [
      [1_262_304_000, 0],
      [1_700_000_000, 7],
      [1_262_304_000 + 2 ** 31 - 1, 2 ** 20 - 1],
    ] as const) {
      const expected = ((BigInt(seconds - 1_262_304_000) << 20n) | BigInt(counter)) << 13n
      expect(versionAt(seconds, counter)).toBe(expected)
    }
    expect(() => versionAt(1_000_000_000, 1)).toThrow(/clock|cluster time/)
    expect(() => versionAt(1_262_304_000 + 2 ** 31, 1)).toThrow(/cluster time/)
    expect(() => versionAt(1_700_000_000, 1 << 20)).toThrow(/cluster time/)
  })
})

describe('a position', () => {
  const place = (changes: Partial<Place>): Place => ({
    ...placeAt(at(1_700_000_000, 5)),
    token: '82aa',
    events: 2,
    rows: 3,
    ...changes,
  })
  const order = (changes: Partial<Place>): string => new StreamPosition(place(changes), surroundings).order

  it('sorts as the stream goes on', () => {
    const sorted = [
      order({ counter: 4, isBehind: true, step: 9 }),
      order({ events: 1 }),
      order({ events: 1, step: 1 }),
      order({ events: 2 }),
      order({ events: 2, isBehind: true }),
      order({ events: 2, isBehind: true, step: 1 }),
      order({ counter: 6, events: 0 }),
      order({ seconds: 1_700_000_001, counter: 0 }),
    ]
    expect(sorted.toSorted()).toEqual(sorted)
    expect(new Set(sorted).size).toBe(sorted.length)
  })

  it('comes back from a store as it was', () => {
    fc.assert(
      fc.property(
        times,
        fc.nat(1000),
        fc.nat(1000),
        fc.boolean(),
        fc.boolean(),
        fc.nat(99),
        (time, events, rows, isBehind, invalidated, step) => {
          const original: Place = { ...time, token: '82bb', events, rows, isBehind, invalidated, step }
          const stored = JSON.parse(JSON.stringify(new StreamPosition(original, surroundings)))
          expect(placeOf(stored)).toEqual(original)
        },
      ),
    )
  })

  it('is partial up to the end of a copy, that time itself included', () => {
    const until = { ...surroundings, wholeFrom: formatTime(at(1_700_000_000, 5)) }
    const partial = (changes: Partial<Place>): boolean =>
      new StreamPosition(place(changes), until).partial === true
    expect(partial({ counter: 4, isBehind: true })).toBe(true)
    expect(partial({})).toBe(true)
    expect(partial({ isBehind: true })).toBe(false)
    expect(partial({ counter: 6 })).toBe(false)
    expect(new StreamPosition(place({ counter: 9 }), { ...until, wholeFrom: null }).partial).toBe(true)
  })

  it('of another source is refused', () => {
    expect(() => readResume({ order: '0', resume: { lsn: '0/0', tables: {} } })).toThrow(
      /not written by a mongodb source/,
    )
  })
})

describe('a resume token', () => {
  it('tells its cluster time when it looks as expected', () => {
    expect(timeOfToken('826543210F0000000A2B0429296E1404')).toBe('6543210f0000000a')
    expect(timeOfToken('something else')).toBeNull()
    expect(formatTime(parseTime('6543210f0000000a'))).toBe('6543210f0000000a')
  })
})

describe('ranges that are done', () => {
  it('are kept as bits', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(300)), (indexes) => {
        const done = indexes.reduce(withDone, '')
        const found = Array.from({ length: 301 }, (_, index) => index).filter((index) => isDone(done, index))
        expect(found).toEqual(indexes.toSorted((a, b) => a - b))
        expect(done).toMatch(/^[0-9a-f]*$/)
      }),
    )
  })
})
