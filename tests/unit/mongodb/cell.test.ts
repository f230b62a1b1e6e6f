import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { cellConverter } from '../../../src/connectors/sources/mongodb/bson/cell.ts'
import { DocumentPacker } from '../../../src/connectors/sources/mongodb/packer/packer.ts'
import { PackTarget } from '../../../src/connectors/sources/mongodb/packer/packer-target.ts'
import { formatArray, parseArray } from '../../../src/core/array-text.ts'
import { textToValue, valueToBytes } from '../../../src/core/canonical.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { fits } from '../../../src/core/fits.ts'
import type { PoisonRecordError } from '../../../src/core/error.ts'
import { seeded } from '../../support/random.ts'
import { COLUMNS, type ColumnName, SAMPLES } from './expectations.ts'
import { expectationsTable } from './expectations-table.ts'
import { mappingOf, typeOf } from './mappings.ts'
import { randomText, randomValue, rawDocument, valueBytes } from './random-documents.ts'
import { textCell } from './slow-rows.ts'

const TABLE = new URL('../../../src/connectors/sources/mongodb/expectations.md', import.meta.url)

const SUFFIX = / \((key|extended)\)$/

function isKey(column: ColumnName): boolean {
  return column.endsWith(' (key)')
}

function columnType(column: ColumnName): ColumnType {
  return typeOf(column.replace(SUFFIX, ''))
}

/** The cell as the expectations write it. */
function cellOf(document: (typeof SAMPLES)[number]['bytes'], column: ColumnName): string {
  const type = columnType(column)
  const mapping = mappingOf({
    columns: [{ name: 'v', type: column.replace(SUFFIX, '') }],
    key: isKey(column) ? ['v'] : [],
  })
  const json = column === 'json (extended)' ? 'extended' : 'plain'
  const packer = new DocumentPacker(mapping, { json, misfits: 'stop' })
  const target = new PackTarget(0, 0, 0)
  try {
    packer.pack(document, 0, target)
  } catch (error) {
    const { code, message } = error as PoisonRecordError
    if (code !== 'mongodb/misfit') return code
    return message.includes('is missing or null') ? 'NULL' : 'misfit'
  }
  const text = textCell(target.rows, 0)
  if (text === null) return 'NULL'
  return type.kind === 'bytes'
    ? `\\x${Buffer.from(text, 'latin1').toString('hex')}`
    : Buffer.from(text, 'latin1').toString()
}

describe('the table of expectations', () => {
  it('has every BSON type', () => {
    expect(new Set(SAMPLES.map(({ type }) => type))).toEqual(new Set(Object.keys(BsonType)))
  })

  for (const { type, value, bytes, cells } of SAMPLES) {
    it(`holds for ${type} ${value.replaceAll('\0', '')}`, () => {
      const expected = Object.fromEntries(COLUMNS.map((column) => [column, cells[column] ?? 'misfit']))
      expect(Object.fromEntries(COLUMNS.map((column) => [column, cellOf(bytes, column)]))).toEqual(expected)
    })
  }

  it('is what the documentation shows', () => {
    if (process.env['SLUICE_WRITE_EXPECTATIONS'] === '1') writeFileSync(TABLE, expectationsTable())
    expect(readFileSync(TABLE, 'utf8')).toBe(expectationsTable())
  })
})

describe('a cell', () => {
  const random = seeded('cells')

  it('is canonical in every column that takes the value: it is its own value, and fits its type', () => {
    let taken = 0
    for (let round = 0; round < 1500; round++) {
      const { bytes, type: from, at, end } = valueBytes(randomValue(random, 2))
      if (from === BsonType.null) continue
      for (const column of COLUMNS) {
        const type = columnType(column)
        const out = new CellArena(0)
        const convert = cellConverter(
          type,
          column === 'json (extended)' ? 'extended' : 'plain',
          isKey(column),
        )
        if (!convert(out, bytes, from, at, end)) continue
        taken++
        const cell = out.arena.subarray(0, out.used)
        if (type.kind === 'bytes') continue
        const value = textToValue(type, cell.toString())
        expect([...valueToBytes(type, value)], `${column} ${cell.toString()}`).toEqual([...cell])
        expect(fits(type, value), `${column} ${cell.toString()}`).toBe(true)
      }
    }
    expect(taken).toBeGreaterThan(4000)
  })

  it('of an array is what formatArray says', () => {
    const convert = cellConverter(typeOf('array of text'), 'plain', false)
    for (let round = 0; round < 2000; round++) {
      const items = Array.from({ length: random.below(6) }, () =>
        random.chance(0.1) ? null : randomText(random),
      )
      if (random.chance(0.1))
        items.push(
          random.pick([
            'null',
            'NULL',
            'Null',
            'NULLs',
            '\u3000',
            '\ufeff',
            '\u2003',
            '\u1680',
            '\u202f',
            '\u205f',
            '\u2029',
            '\u0085',
            '\u200b',
            'ﬁ',
            'é',
          ]),
        )
      const { bytes, type, at, end } = valueBytes(items)
      const out = new CellArena(0)
      expect(convert(out, bytes, type, at, end)).toBe(true)
      const text = out.arena.utf8Slice(0, out.used)
      expect(text).toBe(formatArray(items, (item) => item ?? 'never'))
      expect(parseArray(text, (item) => item)).toEqual(items)
    }
  })

  it('of bytes in an array is hex', () => {
    const { bytes, type, at, end } = valueBytes([Buffer.from('hi'), null])
    const out = new CellArena(0)
    expect(cellConverter(typeOf('array of bytes'), 'plain', false)(out, bytes, type, at, end)).toBe(true)
    expect(out.arena.utf8Slice(0, out.used)).toBe('{"\\\\x6869",NULL}')
  })

  it('is never text that is not UTF-8', () => {
    const broken = rawDocument(BsonType.string, Buffer.from('02000000ff00', 'hex'))
    const list = rawDocument(BsonType.array, broken)
    const takes = (name: string, bytes: typeof list) => {
      const convert = cellConverter(typeOf(name), 'plain', false)
      return convert(new CellArena(0), bytes, bytes[4]!, 7, bytes.length - 1)
    }
    for (const name of ['text', 'enum', 'other', 'json']) expect(takes(name, broken), name).toBe(false)
    for (const name of ['json', 'array of text']) expect(takes(name, list), name).toBe(false)
  })
})
