import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  copyPosition,
  copyStep,
  formatLsn,
  halves,
  ORDINAL_LIMIT,
  parseLsn,
  readResume,
  type Resume,
  snapshotVersion,
  type StoredTable,
  streamPosition,
  versionAt,
} from '../../../src/connectors/sources/postgres/position.ts'
import { comparePositions, type Json } from '../../../src/core/position.ts'

const lsn = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

function at(place: bigint) {
  const [high, low] = halves(place)
  return streamPosition(high, low, '1', {})
}

describe('LSNs', () => {
  it('are read and written as the server writes them', () => {
    expect(parseLsn('16/B374D848')).toBe(0x16b374d848n)
    expect(formatLsn(0x16b374d848n)).toBe('16/B374D848')
    expect(parseLsn('0/0')).toBe(0n)
    expect(parseLsn('ffffffff/ffffffff')).toBe(2n ** 64n - 1n)
  })

  it('come back (property)', () => {
    fc.assert(
      fc.property(lsn, (place) => {
        expect(parseLsn(formatLsn(place))).toBe(place)
      }),
    )
  })

  it.each(['', '1', '1/', '/1', '1/2/3', 'g/1', '123456789/1', ' 0/1'])('refuses %j', (text) => {
    expect(() => parseLsn(text)).toThrow(expect.objectContaining({ code: 'postgres/lsn' }) as Error)
  })
})

describe('positions', () => {
  it('sort as LSNs do (property)', () => {
    fc.assert(
      fc.property(lsn, lsn, (a, b) => {
        expect(Math.sign(comparePositions(at(a), at(b)))).toBe(a < b ? -1 : a > b ? 1 : 0)
      }),
    )
  })

  it('of a copy come after the place where it streams from, and before everything later (property)', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 63n }),
        fc.integer({ min: 1, max: 2 ** 31 }),
        fc.integer({ min: 1, max: 2 ** 31 }),
        (place, one, two) => {
          const copy = copyPosition(place, one, '1', {})
          expect(comparePositions(at(place), copy)).toBeLessThan(0)
          expect(comparePositions(copy, at(place + 1n))).toBeLessThan(0)
          expect(Math.sign(comparePositions(copy, copyPosition(place, two, '1', {})))).toBe(
            Math.sign(one - two),
          )
          expect(copyStep(copy)).toBe(one)
          expect(copyStep(at(place))).toBe(0)
        },
      ),
    )
  })

  it('survive a checkpoint store', () => {
    const position = copyPosition(0x16b374d848n, 3, '777', {})
    const back = JSON.parse(JSON.stringify(position)) as typeof position
    expect(back).toEqual({
      order: '00000016b374d848.00000003',
      resume: { lsn: '16/B374D848', system: '777', tables: {} },
    })
    expect(readResume(back)).toEqual({ lsn: '16/B374D848', system: '777', tables: {} })
    expect(copyStep(back)).toBe(3)
  })

  it('are partial until the log is at the latest copy, and while a table has to be copied', () => {
    const table = (copiedAt: string | null) => ({ copiedAt }) as StoredTable
    const partial = (place: bigint, tables: Resume['tables']) => {
      const [high, low] = halves(place)
      return streamPosition(high, low, '1', tables).partial
    }
    expect(partial(0n, {})).toBeUndefined()
    const copied = { a: table('1/20'), b: table('0/30') }
    expect(partial(0x10000001fn, copied)).toBe(true)
    expect(partial(0x100000020n, copied)).toBeUndefined()
    expect(partial(0x200000000n, copied)).toBeUndefined()
    expect(partial(0x200000000n, { ...copied, c: table(null) })).toBe(true)
    expect(copyPosition(0x100000020n, 1, '1', copied).partial).toBeUndefined()
    expect(copyPosition(0x30n, 1, '1', copied).partial).toBe(true)
  })

  it('keep that they are partial in a checkpoint store', () => {
    const tables = { a: { copiedAt: '0/20' } as StoredTable }
    const back = (place: bigint) => JSON.parse(JSON.stringify(copyPosition(place, 3, '7', tables))) as unknown
    expect(back(0x10n)).toHaveProperty('partial', true)
    expect(back(0x20n)).not.toHaveProperty('partial')
  })

  it.each<Json>([
    null,
    7,
    'x',
    {},
    { lsn: 5, tables: {} },
    { lsn: '0/1' },
    { lsn: '0/1', tables: null },
    { file: 'binlog.1', offset: 4 },
  ])('refuse what another source wrote: %j', (resume) => {
    expect(() => readResume({ order: '1', resume })).toThrow(
      expect.objectContaining({ code: 'postgres/position', fix: expect.any(String) }) as Error,
    )
  })
})

describe('versions', () => {
  it('of a transaction end before those of the next, and a copy lies between', () => {
    // A commit record takes at least 32 bytes.
    const [first, second] = [0x1000n, 0x1020n]
    expect(versionAt(first) + BigInt(ORDINAL_LIMIT) < versionAt(second)).toBe(true)
    expect(versionAt(first) + BigInt(ORDINAL_LIMIT) <= snapshotVersion(second)).toBe(true)
    expect(snapshotVersion(second) < versionAt(second)).toBe(true)
  })

  it('fit into 64 bits up to 4 PiB of WAL, and stop there instead of beginning anew', () => {
    expect(versionAt((1n << 52n) - 1n) < 1n << 64n).toBe(true)
    expect(() => versionAt(1n << 52n)).toThrow(/beyond what row versions can express/)
  })
})
