import { describe, expect, it } from 'vitest'
import { cellWriter } from '../../../src/connectors/sinks/clickhouse/cell-arrays.ts'
import { cellReader, SLACK } from '../../../src/connectors/sinks/clickhouse/cell-readers.ts'
import { WIDE_TIMESTAMPS } from '../../../src/connectors/sinks/clickhouse/cell-times.ts'
import { TableEncoder } from '../../../src/connectors/sinks/clickhouse/encoder.ts'
import { RowDecoder } from '../../../src/connectors/sinks/clickhouse/row-decoder.ts'
import { RowWriter } from '../../../src/connectors/sinks/clickhouse/row-writer.ts'
import type { TargetColumn } from '../../../src/connectors/sinks/clickhouse/target-column.ts'
import { parseType } from '../../../src/connectors/sinks/clickhouse/types.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import type { Column, TableSchema } from '../../../src/core/table.ts'
import { packRows, type ValueRow } from '../../../src/core/value-batch.ts'

const text: ColumnType = { kind: 'text' }
const decimal = (precision: number, scale: number): ColumnType => ({ kind: 'decimal', precision, scale })
const timestamp = (digits: number, zoned = true): ColumnType => ({ kind: 'timestamp', digits, zoned })
const arrayOf = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })

/** Writes the canonical text into the ClickHouse type and reads it back. */
function roundTrip(type: ColumnType, target: string, canonical: string): string {
  const physical = parseType(target)!
  const bytes = Buffer.from(canonical) as Arena
  const written = new RowWriter(64)
  cellWriter(type, physical, WIDE_TIMESTAMPS)(bytes, 0, bytes.length, written)
  const out = new RowWriter(SLACK)
  out.reserve(0)
  const read = cellReader(type, physical)
  expect(read(written.bytes, 0, written.at, out)).toBe(written.at)
  // Whatever is missing at the end is noticed.
  for (let end = 0; end < written.at; end++) {
    const short = new RowWriter(SLACK)
    short.reserve(0)
    expect(read(written.bytes, 0, end, short)).toBe(-1)
  }
  return out.bytes.toString('utf8', 0, out.at)
}

describe('a cell of RowBinary', () => {
  it.each<[ColumnType, string, string]>([
    [{ kind: 'int', bits: 64, unsigned: false }, 'Int64', '-9223372036854775808'],
    [{ kind: 'int', bits: 64, unsigned: false }, 'Int64', '9007199254740993'],
    [{ kind: 'int', bits: 64, unsigned: false }, 'Int64', '-9007199254740992'],
    [{ kind: 'int', bits: 64, unsigned: false }, 'Int64', '1000000000'],
    [{ kind: 'int', bits: 64, unsigned: true }, 'UInt64', '18446744073709551615'],
    [{ kind: 'int', bits: 32, unsigned: false }, 'Int32', '-2147483648'],
    [{ kind: 'int', bits: 32, unsigned: true }, 'UInt32', '4294967295'],
    [{ kind: 'int', bits: 16, unsigned: false }, 'Int16', '-1'],
    [{ kind: 'int', bits: 8, unsigned: false }, 'Int8', '-128'],
    [{ kind: 'int', bits: 8, unsigned: false }, 'Int64', '100'],
    [{ kind: 'float', bits: 32 }, 'Float32', '0.1'],
    [{ kind: 'float', bits: 32 }, 'Float32', '1e-45'],
    [{ kind: 'float', bits: 64 }, 'Float64', '-0'],
    [{ kind: 'float', bits: 64 }, 'Float64', '5e-324'],
    [decimal(9, 2), 'Decimal(9, 2)', '-0.05'],
    [decimal(9, 2), 'Decimal(9, 2)', '1.50'],
    [decimal(9, 0), 'Decimal(9, 0)', '999999999'],
    [decimal(9, 9), 'Decimal(9, 9)', '0.000000001'],
    [decimal(18, 6), 'Decimal(18, 6)', '-999999999999.999999'],
    [decimal(38, 10), 'Decimal(38, 10)', '-1234567890123456789012345678.0000000001'],
    [decimal(76, 76), 'Decimal(76, 76)', `0.${'0'.repeat(75)}7`],
    [decimal(9, 2), 'Decimal(12, 5)', '1.50'],
    [timestamp(6), "DateTime64(6, 'UTC')", '2024-02-29 12:34:56.789012+00'],
    [timestamp(6, false), "DateTime64(6, 'UTC')", '0001-01-01 00:00:00.000001'],
    [timestamp(3), "DateTime64(9, 'UTC')", '2024-02-29 12:34:56.7+00'],
    [timestamp(0), "DateTime64(0, 'UTC')", '9999-12-31 23:59:59+00'],
    // The last microsecond of a second whose quotient as a double rounds up.
    [timestamp(6), "DateTime64(6, 'UTC')", '2255-01-01 00:00:00.999999+00'],
    [timestamp(6), "DateTime64(6, 'UTC')", '2250-07-15 13:11:29.999999+00'],
    [{ kind: 'date' }, 'Date32', '1900-01-01'],
    [{ kind: 'date' }, 'Date32', '2000-02-29'],
    [{ kind: 'uuid' }, 'UUID', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    [text, 'String', 'ü'.repeat(100)],
    [{ kind: 'enum' }, 'LowCardinality(String)', 'sad'],
    [arrayOf(text), 'Array(Nullable(String))', '{a,"","NULL",NULL,"a b","\\"","\\\\","{",ü}'],
    [arrayOf(text), 'Array(Nullable(String))', '{}'],
    [arrayOf({ kind: 'bytes' }), 'Array(Nullable(String))', '{"\\\\x00ff","\\\\x",NULL}'],
    [arrayOf(decimal(6, 2), 2), 'Array(Array(Nullable(Decimal(6, 2))))', '{{1.10,NULL},{-0.01}}'],
    [arrayOf(timestamp(6)), "Array(Nullable(DateTime64(6, 'UTC')))", '{"2024-01-01 00:00:00+00"}'],
    [arrayOf({ kind: 'bool' }), 'Array(Nullable(Bool))', '{t,f,NULL}'],
  ])('%o in %s: %s', (type, target, canonical) => {
    expect(roundTrip(type, target, canonical)).toBe(canonical)
  })

  it('keeps every microsecond of a second far from 1970', () => {
    for (const second of [
      '1677-09-22 00:00:00',
      '1969-12-31 23:59:59',
      '2106-02-07 06:28:16',
      '2242-03-16 12:56:32',
      '2254-12-31 23:59:59',
    ]) {
      for (const part of ['000001', '499999', '5', '999998', '999999']) {
        const canonical = `${second}.${part}+00`
        expect(roundTrip(timestamp(6), "DateTime64(6, 'UTC')", canonical)).toBe(canonical)
      }
    }
  })
})

describe('rows of RowBinary', () => {
  const columns = (
    [
      ['id', { kind: 'int', bits: 64, unsigned: false }, 'Int64'],
      ['note', text, 'Nullable(String)'],
      ['list', arrayOf(text), 'Array(Nullable(String))'],
      ['at', timestamp(6), "Nullable(DateTime64(6, 'UTC'))"],
    ] as const
  ).map(([name, type, target], index): TargetColumn => {
    const source: Column = { id: String(index), name, type, nullable: index > 0, native: '' }
    return { source, name, type: target, physical: parseType(target)!, onNull: 'null' }
  })
  const table: TableSchema = {
    namespace: 'public',
    name: 't',
    columns: columns.map(({ source }) => source),
    key: [0],
    version: 1,
  }
  const values: readonly ValueRow[] = Array.from({ length: 300 }, (_, id) => ({
    id,
    note: id % 3 === 0 ? null : 'n'.repeat(id),
    list: id % 2 === 0 ? [] : ['a b', null, 'x'.repeat(id)],
    at:
      id % 5 === 0
        ? null
        : `2024-01-01 00:00:00.${String(id).padStart(6, '0')}+00`.replace(/0+\+/, '+').replace('.+', '+'),
  }))

  function encoded(): Buffer {
    const rows = packRows(table, values)
    const encoder = new TableEncoder(
      table,
      columns,
      { version: '_version', deleted: '_deleted' },
      WIDE_TIMESTAMPS,
    )
    const parts = values.map((_, row) => {
      const out = new RowWriter(encoder.slack)
      encoder.encode(rows, row, 0, 0, out)
      // Without version and deleted mark.
      return Buffer.from(out.bytes.subarray(0, out.at - 9))
    })
    return Buffer.concat(parts)
  }

  it.each([1, 2, 7, 100, 4096, 10 ** 9])('are whole when they come in chunks of %i bytes', async (size) => {
    const bytes = encoded()
    const found: unknown[] = []
    const wanted = packRows(table, values)
    const texts = (rows: typeof wanted, row: number): unknown =>
      columns.map((_, index) => {
        const cell = (rows.newImage[row]! + index) * 2
        const length = rows.cells[cell + 1]!
        const start = rows.cells[cell]!
        return length < 0 ? length : rows.arena.toString('utf8', start, start + length)
      })
    const decoder = new RowDecoder(columns, (rows) => {
      for (let row = 0; row < rows.rowCount; row++) found.push(texts(rows, row))
    })
    for (let at = 0; at < bytes.length; at += size) await decoder.take(bytes.subarray(at, at + size))
    expect(await decoder.end()).toBe(true)
    expect(found).toEqual(values.map((_, row) => texts(wanted, row)))
  })

  it('are whole when one of them is much larger than a chunk', async () => {
    const large: ValueRow = { id: 1, note: 'x'.repeat(8 * 1024 * 1024), list: ['y'], at: null }
    const rows = packRows(table, [large, ...values])
    const encoder = new TableEncoder(
      table,
      columns,
      { version: '_version', deleted: '_deleted' },
      WIDE_TIMESTAMPS,
    )
    const bytes = Buffer.concat(
      Array.from({ length: rows.rowCount }, (_, row) => {
        const out = new RowWriter(encoder.slack)
        encoder.encode(rows, row, 0, 0, out)
        return Buffer.from(out.bytes.subarray(0, out.at - 9))
      }),
    )
    let count = 0
    let length = 0
    const decoder = new RowDecoder(columns, (found) => {
      if (count === 0) length = found.cells[3]!
      count += found.rowCount
    })
    for (let at = 0; at < bytes.length; at += 65_536) await decoder.take(bytes.subarray(at, at + 65_536))
    expect(await decoder.end()).toBe(true)
    expect({ count, length }).toEqual({ count: values.length + 1, length: 8 * 1024 * 1024 })
  })

  it('leave something over when the end is cut off', async () => {
    const bytes = encoded()
    const decoder = new RowDecoder(columns, () => {})
    await decoder.take(bytes.subarray(0, -1))
    expect(await decoder.end()).toBe(false)
  })
})
