import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { CopyDecoder } from '../../../src/connectors/sources/postgres/copy-decoder.ts'
import { ORDINAL_LIMIT, versionAt } from '../../../src/connectors/sources/postgres/position.ts'
import { Stop } from '../../../src/connectors/sources/postgres/frames.ts'
import { Conversion } from '../../../src/connectors/sources/postgres/types.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import type { TableSchema } from '../../../src/core/table.ts'
import type { Value } from '../../../src/core/canonical.ts'
import { decodedTable } from './messages.ts'

function schemaOf(types: readonly ColumnType[]): TableSchema {
  return decodedTable('t', { columns: types.map((type, index) => ({ name: `c${index}`, type })) }).schema
}

function texts(count: number): readonly ColumnType[] {
  return Array.from({ length: count }, () => ({ kind: 'text' }))
}

function decode(
  lines: readonly (string | Buffer)[],
  types: readonly ColumnType[],
  conversions: readonly number[] | null = null,
): readonly (readonly Value[])[] {
  const decoder = new CopyDecoder(
    schemaOf(types),
    conversions === null ? null : Uint8Array.from(conversions),
    0x10n,
  )
  const parts = lines.map((line) => Buffer.from(line))
  const arena = Buffer.concat(parts) as Arena
  let at = 0
  for (const part of parts) {
    expect(decoder.copyData(arena, at, at + part.length)).toBe(Stop.no)
    at += part.length
  }
  return [...decoder.take(arena)].map((record) => {
    if (record._tag !== 'Insert' || record.origin !== 'snapshot') throw new Error('not a row of a copy')
    return types.map((_, index) => record.after.value(index))
  })
}

/** COPY's own writing of a text, from its documentation. */
function escaped(text: string | null): string {
  if (text === null) return '\\N'
  const letters: Record<string, string> = {
    '\b': 'b',
    '\f': 'f',
    '\n': 'n',
    '\r': 'r',
    '\t': 't',
    '\v': 'v',
    '\\': '\\',
  }
  return text.replace(/[\b\f\n\r\t\v\\]/g, (char) => `\\${letters[char]!}`)
}

describe('COPY text', () => {
  it('reads columns, NULL and the texts that look like it', () => {
    expect(decode(['a\t\\N\t\\\\N\tN\t\n'], texts(5))).toEqual([['a', null, '\\N', 'N', '']])
  })

  it('reads every escape', () => {
    expect(decode(['\\b\\f\\n\\r\\t\\v\\\\\tx\\ty\\\\\\n\n'], texts(2))).toEqual([
      ['\b\f\n\r\t\v\\', 'x\ty\\\n'],
    ])
  })

  it('reads lines whose columns are empty, also the only one', () => {
    expect(decode(['\t\t\n'], texts(3))).toEqual([['', '', '']])
    expect(decode(['\n', '\\N\n', 'x\n'], texts(1))).toEqual([[''], [null], ['x']])
  })

  it('keeps bytes above ASCII and other control characters', () => {
    expect(decode(['é🐘\u0001\u007f\u0080\n'], texts(1))).toEqual([['é🐘\u0001\u007f\u0080']])
  })

  it('converts bytes and money; the backslash of bytea is an escaped one', () => {
    const types: ColumnType[] = [
      { kind: 'bytes' },
      { kind: 'decimal', precision: 19, scale: 2 },
      { kind: 'bytes' },
    ]
    const line = '\\\\x00ff5c\t-$1,234.50\t\\N\n'
    expect(decode([line], types, [Conversion.hexBytes, Conversion.money, Conversion.hexBytes])).toEqual([
      [Uint8Array.of(0, 255, 92), '-1234.50', null],
    ])
    expect(
      decode(['\\\\x\t$0.00\t\\\\x0a\n'], types, [
        Conversion.hexBytes,
        Conversion.money,
        Conversion.hexBytes,
      ]),
    ).toEqual([[new Uint8Array(), '0.00', Uint8Array.of(10)]])
  })

  it('reads back whatever COPY can write (property)', () => {
    const cell = fc.oneof(
      fc.constant(null),
      fc.string({
        unit: fc.constantFrom('\\', '\n', '\t', '\r', '\b', '\f', '\v', 'N', 'n', 't', '.', '🐘', 'é', ''),
      }),
      fc.string({ unit: 'binary' }),
    )
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 4 })
          .chain((width) =>
            fc.array(fc.array(cell, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 5 }),
          ),
        (rows) => {
          const lines = rows.map((row) => `${row.map(escaped).join('\t')}\n`)
          expect(decode(lines, texts(rows[0]!.length))).toEqual(rows)
        },
      ),
    )
  })

  it.each([
    ['fewer', 'a\n'],
    ['more', 'a\tb\tc\n'],
    ['no', '\n'],
  ])('refuses a line with %s columns', (_, line) => {
    expect(() => decode([line], texts(2))).toThrow(
      expect.objectContaining({ code: 'postgres/copy-width' }) as Error,
    )
  })

  it('gives batches without positions, whose version is above earlier commits and below later ones', () => {
    const decoder = new CopyDecoder(schemaOf(texts(1)), null, 0x100n)
    const arena = Buffer.from('x\n') as Arena
    decoder.copyData(arena, 0, 2)
    expect(decoder.hasRows).toBe(true)
    const batch = decoder.take(arena)
    expect(decoder.hasRows).toBe(false)
    expect(batch).toMatchObject({ origin: 'snapshot', position: null, endsInTransaction: false })
    const version = batch.spans[0]!.version
    expect(version < versionAt(0x100n)).toBe(true)
    // Whatever the transaction before may reach; at a tie the copy, which comes later, wins.
    expect(version >= versionAt(0x100n - 32n) + BigInt(ORDINAL_LIMIT)).toBe(true)
  })
})
