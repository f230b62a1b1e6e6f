import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergeCells, sameCells } from '../../../src/connectors/sinks/zero/merge-cells.ts'
import { readCells, UNCHANGED } from '../../../src/connectors/sinks/zero/record-reader.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'

type Cell = string | null | undefined

function bytesOf(cells: readonly Cell[]): Uint8Array {
  const out = new RecordWriter(1)
  for (const cell of cells) {
    out.reserve(1)
    if (cell === undefined) out.bytes[out.at++] = UNCHANGED
    else out.cell(cell)
  }
  return out.take()
}

const slotsOf = (missing: readonly (string | null)[]): { missing: string | null }[] =>
  missing.map((text) => ({ missing: text }))
const value = fc.oneof(
  fc.constant(null),
  fc.string({ maxLength: 200 }).map((text) => JSON.stringify(text)),
  fc.integer().map(String),
  fc.integer({ min: 100, max: 140 }).map((size) => `"${'é'.repeat(size)}"`),
)
const row = fc.array(fc.record({ old: value, next: fc.option(value, { nil: undefined }), missing: value }), {
  maxLength: 9,
})

describe('mergeCells', () => {
  it('takes every unchanged cell from the old row, or from what rows without the slot have', () => {
    fc.assert(
      fc.property(row, fc.nat(9), fc.nat(5), (cells, oldLength, before) => {
        const old = bytesOf(cells.slice(0, oldLength).map((cell) => cell.old))
        const partial = bytesOf(cells.map(({ next }) => next))
        const around = Buffer.concat([Buffer.alloc(before, 9), partial, Buffer.alloc(3, 9)])
        const merged = mergeCells(
          old,
          around,
          before,
          before + partial.length,
          slotsOf(cells.map(({ missing }) => missing)),
        )
        expect(readCells(merged)).toEqual(
          cells.map((cell, slot) => {
            if (cell.next !== undefined) return cell.next
            return slot < oldLength ? cell.old : cell.missing
          }),
        )
        // The same bytes as a row that was whole from the start.
        expect(Buffer.from(merged).equals(bytesOf(readCells(merged)))).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('gives bytes that stay when it is called again', () => {
    const first = mergeCells(bytesOf(['1']), bytesOf([undefined]), 0, 1, [null])
    mergeCells(bytesOf(['2']), bytesOf([undefined]), 0, 1, [null])
    expect(readCells(first)).toEqual(['1'])
  })

  it('refuses an old row that is not whole', () => {
    const partial = bytesOf([undefined])
    expect(() => mergeCells(partial, partial, 0, 1, [null])).toThrow(/not whole/)
  })
})

describe('sameCells', () => {
  it('tells whether a client sees a difference', () => {
    const slots = [{ missing: null }, null, { missing: '"x"' }, { missing: null }]
    const same = (a: readonly Cell[], b: readonly Cell[]): boolean => {
      const both = [sameCells(bytesOf(a), bytesOf(b), slots), sameCells(bytesOf(b), bytesOf(a), slots)]
      expect(both[0]).toBe(both[1])
      return both[0]!
    }
    expect(same(['1', null, '"x"', null], ['1', null, '"x"', null])).toBe(true)
    // The column of the second slot was dropped.
    expect(same(['1', '5', '"x"', null], ['1', null, '"x"', null])).toBe(true)
    expect(same(['1', '5'], ['1', null, '"x"', null])).toBe(true)
    expect(same(['1'], ['1', null, '"y"', null])).toBe(false)
    expect(same(['1'], ['1', null, null, null])).toBe(false)
    expect(same(['1'], ['1', null, '"x"', '0'])).toBe(false)
    expect(same(['1', null, '"x"'], ['2', null, '"x"'])).toBe(false)
    expect(same([null], ['0'])).toBe(false)
    expect(same(['12'], ['1'])).toBe(false)
  })
})
