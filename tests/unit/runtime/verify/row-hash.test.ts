import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ColumnType } from '../../../../src/core/column-type.ts'
import { addKey, noKeys } from '../../../../src/core/row-reader.ts'
import type { Column, TableSchema } from '../../../../src/core/table.ts'
import { packRows, type ValueRow } from '../../../../src/core/value-batch.ts'
import { idOf, RowHasher } from '../../../../src/runtime/verify/row-hash.ts'

const text: ColumnType = { kind: 'text' }
const arrayOf = (of: ColumnType): ColumnType => ({ kind: 'array', of, dimensions: 1 })

function tableOf(types: readonly ColumnType[], key: readonly number[] = [0]): TableSchema {
  const columns = types.map((type, index): Column => ({
    id: String(index),
    name: `c${index}`,
    type,
    nullable: true,
    native: '',
  }))
  return { namespace: 'public', name: 't', columns, key, version: 1 }
}

/** The hash of one row of texts, as four numbers. */
function hashOf(
  types: readonly ColumnType[],
  values: readonly (string | null)[],
  nullAs: readonly (string | null)[] = [],
): readonly number[] {
  const table = tableOf(types)
  const row: ValueRow = Object.fromEntries(values.map((value, index) => [`c${index}`, value]))
  const hasher = new RowHasher(table, nullAs)
  hasher.hash(packRows(table, [row]), 0)
  return [...hasher.result]
}

describe('the hash of a row', () => {
  it.each<[string, ColumnType, string, string]>([
    ['a float by its bits', { kind: 'float', bits: 64 }, '1e+20', '100000000000000000000'],
    ['a 32-bit float by its bits', { kind: 'float', bits: 32 }, '0.1', '0.10000000149011612'],
    ['a decimal without the zeros at its end', { kind: 'decimal', precision: 9, scale: 3 }, '1.500', '1.5'],
    ['a decimal without its fraction', { kind: 'decimal', precision: 9, scale: 3 }, '10.000', '10'],
    [
      'a moment without the zeros of its fraction',
      { kind: 'timestamp', digits: 3, zoned: true },
      '2024-01-01 00:00:00.500+00',
      '2024-01-01 00:00:00.5+00',
    ],
    [
      'a moment without its fraction',
      { kind: 'timestamp', digits: 3, zoned: true },
      '2024-01-01 00:00:00.000+00',
      '2024-01-01 00:00:00+00',
    ],
    ['an array by its elements', arrayOf(text), '{a b,"c",NULL}', '{"a b",c,NULL}'],
    [
      'the elements by their type',
      arrayOf({ kind: 'float', bits: 64 }),
      '{1e+20,-0}',
      '{100000000000000000000,-0}',
    ],
  ])('takes %s', (_, type, one, other) => {
    expect(hashOf([text, type], ['k', one])).toEqual(hashOf([text, type], ['k', other]))
  })

  it.each<[string, ColumnType, string | null, string | null]>([
    ['NULL from an empty text', text, null, ''],
    ['NULL from the word', text, null, 'NULL'],
    [
      'one microsecond',
      { kind: 'timestamp', digits: 6, zoned: false },
      '2024-01-01 00:00:00',
      '2024-01-01 00:00:00.000001',
    ],
    ['10 from 100', { kind: 'decimal', precision: 9, scale: 0 }, '10', '100'],
    ['0 from -0 in a float', { kind: 'float', bits: 64 }, '0', '-0'],
    ['NaN from infinity', { kind: 'float', bits: 64 }, 'NaN', 'Infinity'],
    [
      '1.0 from 1.00 where the digits may be meant',
      { kind: 'decimal', precision: null, scale: null },
      '1.0',
      '1.00',
    ],
    ['NULL from the word in an array', arrayOf(text), '{NULL}', '{"NULL"}'],
    ['one element from two', arrayOf(text), '{"a,b"}', '{a,b}'],
    ['nothing from an empty text in an array', arrayOf(text), '{}', '{""}'],
    ['one list from two', arrayOf(text), '{{a},{b}}', '{{a,b}}'],
    ['letters', text, 'a', 'A'],
    ['a zero byte', text, 'a', 'a\0'],
  ])('tells %s', (_, type, one, other) => {
    expect(hashOf([text, type], ['k', one]).slice(2)).not.toEqual(hashOf([text, type], ['k', other]).slice(2))
  })

  it('knows in which column a value is, and where it ends', () => {
    const types = [text, text, text]
    const rows = [
      ['k', 'a', 'b'],
      ['k', 'b', 'a'],
      ['k', 'ab', ''],
      ['k', '', 'ab'],
      ['k', null, 'ab'],
      ['k', 'ab', null],
    ]
    expect(new Set(rows.map((row) => hashOf(types, row).join())).size).toBe(rows.length)
  })

  it('takes NULL for what the sink made of it, by the choice of the user', () => {
    const types = [text, arrayOf(text)]
    expect(hashOf(types, ['k', null], [null, '{}'])).toEqual(hashOf(types, ['k', '{}'], [null, '{}']))
    expect(hashOf(types, ['k', null])).not.toEqual(hashOf(types, ['k', '{}']))
  })

  it('gives a key by itself the same id as in its row, in whatever order the key is', () => {
    const table = tableOf([text, text, text], [2, 0])
    const rows = packRows(table, [{ c0: 'a', c1: 'b', c2: 'c' }])
    const hasher = new RowHasher(table)
    hasher.hash(rows, 0)
    const id = idOf(hasher.result)
    const keys = noKeys()
    addKey(keys, table, rows, 0)
    expect(hasher.keyId(keys, 0)).toBe(id)
  })

  it('does not meet another hash by accident', () => {
    const table = tableOf([{ kind: 'int', bits: 32, unsigned: false }, text])
    const hasher = new RowHasher(table)
    const rows = packRows(
      table,
      Array.from({ length: 100_000 }, (_, id) => ({ c0: id, c1: `name ${id % 7}` })),
    )
    const seen = new Set<string>()
    for (let row = 0; row < rows.rowCount; row++) {
      hasher.hash(rows, rows.newImage[row]!)
      seen.add(`${hasher.result[2]}/${hasher.result[3]}`)
    }
    expect(seen.size).toBe(rows.rowCount)
  })

  it('changes about half of its bits with any bit of a value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 30 }), fc.nat(), (bytes, at) => {
        const table = tableOf([text, { kind: 'bytes' }])
        const changed = Uint8Array.from(bytes)
        changed[at % bytes.length]! ^= 1 << (at % 8)
        const hasher = new RowHasher(table)
        const rows = packRows(table, [
          { c0: 'k', c1: bytes },
          { c0: 'k', c1: changed },
        ])
        hasher.hash(rows, rows.newImage[0]!)
        const [, , a, b] = hasher.result
        hasher.hash(rows, rows.newImage[1]!)
        const bits = (value: number): number => (value >>> 0).toString(2).replaceAll('0', '').length
        const different = bits(a! ^ hasher.result[2]!) + bits(b! ^ hasher.result[3]!)
        expect(different).toBeGreaterThan(8)
        expect(different).toBeLessThan(56)
      }),
      { numRuns: 2000 },
    )
  })
})
