import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonText } from '../../../src/connectors/sinks/zero/cell-writers.ts'
import { convertCell } from '../../../src/connectors/sinks/zero/convert-cell.ts'
import { RowConverter } from '../../../src/connectors/sinks/zero/convert-rows.ts'
import { readCells } from '../../../src/connectors/sinks/zero/record-reader.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'
import type { Slot, TableVersion } from '../../../src/connectors/sinks/zero/table-version.ts'
import type { ColumnEncoding } from '../../../src/connectors/sinks/zero/types.ts'

const convert = (from: ColumnEncoding, to: ColumnEncoding, json: string): string | null => {
  const around = Buffer.from(`9${json}9`)
  const converted = convertCell(from, to, around.subarray(1, around.length - 1))
  return converted && Buffer.from(converted).toString()
}

describe('a stored value under another encoding', () => {
  it.each([
    ['integer', 'string', '42', '"42"'],
    ['decimal', 'string', '1.50', '"1.50"'],
    ['float', 'string', '-1.5e-7', '"-1.5e-7"'],
    ['boolean', 'string', 'true', '"t"'],
    ['json', 'string', '"{\\"a\\": 1.0}"', '"{\\"a\\": 1.0}"'],
    ['string', 'json', '"{\\"a\\": 1.0}"', '"{\\"a\\": 1.0}"'],
    ['string', 'json', '"{"', null],
    ['string', 'integer', '"42"', '42'],
    ['string', 'integer', '" 42"', null],
    ['string', 'integer', '"042"', null],
    ['string', 'integer', '"9007199254740993"', null],
    ['string', 'decimal', '"-0.50"', '-0.50'],
    ['string', 'decimal', '"1234567890123456"', null],
    ['string', 'float', '"1e400"', null],
    ['string', 'boolean', '"f"', 'false'],
    ['string', 'boolean', '"false"', null],
    ['integer', 'decimal', '-7', '-7'],
    ['integer', 'float', '7', '7'],
    ['float', 'integer', '1.5', null],
    ['decimal', 'float', '1.50', '1.50'],
    ['timestamp', 'string', '1000', null],
    ['string', 'timestamp', '"1970-01-01 00:00:00"', null],
    ['base64', 'string', '"AP8="', null],
    ['integer[]', 'string', '[1]', null],
    ['timestamp', 'timestamp', '1.5', '1.5'],
  ] as const)('%s to %s: %s is %s', (from, to, json, expected) =>
    expect(convert(from, to, json)).toBe(expected),
  )

  it('is what the encoder writes for it, or nothing', () => {
    const encodings = ['boolean', 'integer', 'decimal', 'float', 'string', 'json'] as const
    const written = (encoding: ColumnEncoding, text: string): string | null => {
      try {
        return jsonText(encoding, text)
      } catch {
        return null
      }
    }
    const text = fc.oneof(
      fc.integer().map(String),
      fc.maxSafeInteger().map(String),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      fc.constantFrom('t', 'f', '1.50', '{"a":1}', '9007199254740993', '0.1', ''),
      fc.string(),
    )
    fc.assert(
      fc.property(
        text,
        fc.constantFrom(...encodings),
        fc.constantFrom(...encodings),
        (canonical, from, to) => {
          const before = written(from, canonical)
          if (before === null) return
          const after = convert(from, to, before)
          expect([null, written(to, canonical)]).toContain(after)
        },
      ),
      { numRuns: 2000 },
    )
  })
})

const column = (id: string, encoding: ColumnEncoding = 'string') => ({
  id,
  name: `c${id}`,
  dataType: 'text',
  notNull: false,
  encoding,
})
const slot = (id: string, encoding: ColumnEncoding = 'string', missing: string | null = null): Slot => ({
  ...column(id, encoding),
  missing,
})
const version = (key: TableVersion['key'], slots: TableVersion['slots']): TableVersion => ({
  source: 's.t',
  schema: 'public',
  name: 't',
  key,
  slots,
})
const cells = (texts: readonly (string | null)[]): Uint8Array => {
  const out = new RecordWriter()
  for (const text of texts) out.cell(text)
  return out.take()
}

describe('a stored row under another version', () => {
  const from = version(
    [column('k1'), column('k2', 'integer')],
    [slot('a'), null, slot('b', 'integer'), slot('c', 'integer', '5')],
  )

  function converted(to: TableVersion, key: readonly string[], row: readonly (string | null)[]) {
    const result = new RowConverter(from, to).convert(cells(key), cells(row))
    return result && [readCells(result.key), readCells(result.cells)]
  }

  it('has each cell where the column is by then, in its new form', () => {
    const to = version(
      [column('b', 'string'), column('k2', 'integer')],
      [slot('c', 'string'), slot('k1'), null, slot('new', 'integer', '1'), slot('a')],
    )
    expect(converted(to, ['"x"', '2'], ['"aa"', null, '3', '4'])).toEqual([
      ['"3"', '2'],
      ['"4"', '"x"', null, '1', '"aa"'],
    ])
    // It ends before c.
    expect(converted(to, ['"x"', '2'], [null, '9', '3'])).toEqual([
      ['"3"', '2'],
      ['"5"', '"x"', null, '1', null],
    ])
  })

  it('is impossible where a value has no form, or a key would be NULL', () => {
    expect(converted(version([column('b', 'integer')], []), ['"x"', '2'], ['"aa"', null, null])).toBe(null)
    expect(converted(version([column('k1', 'integer')], []), ['"x"', '2'], [])).toBe(null)
    expect(converted(version([column('new')], []), ['"x"', '2'], [])).toBe(null)
    expect(converted(version([column('k1')], [slot('a', 'integer')]), ['"x"', '2'], ['"aa"'])).toBe(null)
    expect(converted(version([column('k1')], [slot('a', 'integer')]), ['"x"', '2'], ['"12"'])).toEqual([
      ['"x"'],
      ['12'],
    ])
  })
})
