import { describe, expect, it } from 'vitest'
import { endOfRecord } from '../../../src/connectors/sources/postgres/reader.ts'

describe('the end of the WAL', () => {
  it.each([
    [0x2000018n, 0x2000000n],
    // The header of the first page of a segment is longer.
    [0x3000028n, 0x3000000n],
    [0x2000000n, 0x2000000n],
    [0x2000040n, 0x2000040n],
    [0x2001fffn, 0x2001fffn],
  ])('is where a record can end, not behind a page header: %i', (insert, end) => {
    expect(endOfRecord(insert, 8192n)).toBe(end)
  })
})
