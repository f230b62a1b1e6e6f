import { describe, expect, it } from 'vitest'
import { cellWriter } from '../../../src/connectors/sinks/clickhouse/cell-arrays.ts'
import {
  DOCUMENTED_TIMESTAMPS,
  WIDE_TIMESTAMPS,
} from '../../../src/connectors/sinks/clickhouse/cell-times.ts'
import { TableEncoder } from '../../../src/connectors/sinks/clickhouse/encoder.ts'
import { compileRow, looped, unrolled } from '../../../src/connectors/sinks/clickhouse/row-encoder.ts'
import { RowWriter } from '../../../src/connectors/sinks/clickhouse/row-writer.ts'
import type { TargetColumn } from '../../../src/connectors/sinks/clickhouse/target-column.ts'
import { parseType, targetType, type TypeOptions } from '../../../src/connectors/sinks/clickhouse/types.ts'
import type { RecordBatch } from '../../../src/core/batch.ts'
import { UNCHANGED } from '../../../src/core/canonical.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import type { Column, TableSchema } from '../../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../../src/core/value-batch.ts'

const OPTIONS: TypeOptions = { arrays: 'exact', dates: 'native' }
const META = { version: '_version', deleted: '_deleted' }

const int = (bits: 8 | 16 | 32 | 64, unsigned = false): ColumnType => ({ kind: 'int', bits, unsigned })
const text: ColumnType = { kind: 'text' }
const decimal = (precision: number, scale: number): ColumnType => ({ kind: 'decimal', precision, scale })
const timestamp = (digits: number): ColumnType => ({ kind: 'timestamp', digits, zoned: true })
const arrayOf = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })

/** RowBinary of one cell in hex. */
function cell(type: ColumnType, canonical: string | Uint8Array, range = WIDE_TIMESTAMPS): string {
  const bytes = Buffer.from(canonical as string)
  // Something before and behind, so that a writer that reads outside of its cell is seen.
  const arena = Buffer.concat([Buffer.from('9'), bytes, Buffer.from('9')]) as Arena
  const physical = parseType(targetType({ type, nullable: false }, false, OPTIONS))!
  const out = new RowWriter(64, Buffer.alloc(64))
  cellWriter(type, physical, range)(arena, 1, bytes.length, out)
  return out.bytes.toString('hex', 0, out.at)
}

const refusal = (type: ColumnType, canonical: string, range = WIDE_TIMESTAMPS): string => {
  try {
    return cell(type, canonical, range)
  } catch (error) {
    if (/\d{3}/.test(canonical)) expect(String(error)).not.toContain(canonical)
    return (error as { reason: string }).reason
  }
}

describe('cells as RowBinary', () => {
  it.each([
    [int(8), '-128', '80'],
    [int(8), '127', '7f'],
    [int(8, true), '255', 'ff'],
    [int(16), '-2', 'feff'],
    [int(16, true), '65535', 'ffff'],
    [int(32), '-2147483648', '00000080'],
    [int(32, true), '4294967295', 'ffffffff'],
    [int(64), '0', '0000000000000000'],
    [int(64), '-1', 'ffffffffffffffff'],
    [int(64), '4294967296', '0000000001000000'],
    [int(64), '-4294967296', '00000000ffffffff'],
    [int(64), '999999999999999', 'ff7fc6a47e8d0300'],
    [int(64), '9007199254740993', '0100000000002000'],
    [int(64), '9223372036854775807', 'ffffffffffffff7f'],
    [int(64), '-9223372036854775808', '0000000000000080'],
    [int(64, true), '18446744073709551615', 'ffffffffffffffff'],
    [int(64, true), '10000000000000000000', '0000e8890423c78a'],
  ])('%o %s', (type, canonical, hex) => {
    expect(cell(type, canonical)).toBe(hex)
  })

  it.each([
    [int(8), '128'],
    [int(8), '-129'],
    [int(8, true), '256'],
    [int(8, true), '-1'],
    [int(16), '32768'],
    [int(32), '2147483648'],
    [int(32), '-2147483649'],
    [int(32), '99999999999'],
    [int(32, true), '4294967296'],
    [int(64), '9223372036854775808'],
    [int(64), '-9223372036854775809'],
    [int(64), '18446744073709551616'],
    [int(64), '99999999999999999999'],
    [int(64, true), '-1'],
    [int(64, true), '18446744073709551616'],
    [int(64, true), '100000000000000000000'],
  ])('refuses an integer that would wrap: %o %s', (type, canonical) => {
    expect(refusal(type, canonical)).toBe('out-of-range')
  })

  it.each([
    [int(32), ''],
    [int(32), '-'],
    [int(32), '1e3'],
    [int(64), '12345678901234567x'],
    [decimal(9, 2), ''],
    [decimal(9, 2), '1,0'],
    [decimal(38, 3), '1.2.3'],
    [{ kind: 'bool' }, 'true'],
    [{ kind: 'uuid' }, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd38000g'],
    [{ kind: 'uuid' }, 'a0eebc999c0b4ef8bb6d6bb9bd380000'],
    [{ kind: 'date' }, '2020-02-30'],
    [{ kind: 'date' }, '2100-02-29'],
    [timestamp(0), '2020-01-01 24:00:00'],
    [arrayOf(int(32)), '{1,2'],
    [arrayOf(int(32)), '{1}}'],
  ] as const)('refuses what is not canonical: %o %s', (type, canonical) => {
    expect(refusal(type, canonical)).toBe('malformed')
  })

  it('writes floats by their bits', () => {
    expect(cell({ kind: 'float', bits: 64 }, '0.1')).toBe('9a9999999999b93f')
    expect(cell({ kind: 'float', bits: 64 }, '-0')).toBe('0000000000000080')
    expect(cell({ kind: 'float', bits: 64 }, '5e-324')).toBe('0100000000000000')
    expect(cell({ kind: 'float', bits: 64 }, '-Infinity')).toBe('000000000000f0ff')
    expect(cell({ kind: 'float', bits: 32 }, '0.1')).toBe('cdcccc3d')
    expect(cell({ kind: 'float', bits: 32 }, 'NaN')).toBe('0000c07f')
    expect(refusal({ kind: 'float', bits: 32 }, '1e39')).toBe('out-of-range')
    expect(refusal({ kind: 'float', bits: 64 }, '1x')).toBe('malformed')
  })

  it('writes decimals as integers of 4, 8, 16 and 32 bytes', () => {
    expect(cell(decimal(9, 2), '-12.30')).toBe('32fbffff')
    expect(cell(decimal(9, 2), '7')).toBe('bc020000')
    expect(cell(decimal(9, 0), '999999999')).toBe('ffc99a3b')
    expect(cell(decimal(18, 6), '1.5')).toBe('60e3160000000000')
    expect(cell(decimal(18, 18), '0.999999999999999999')).toBe('ffff63a7b3b6e00d')
    expect(cell(decimal(18, 0), '-999999999999999999')).toBe('01009c584c491ff2')
    expect(cell(decimal(38, 1), '-0.1')).toBe('f'.repeat(32))
    expect(cell(decimal(76, 0), '256')).toBe(`0001${'0'.repeat(60)}`)
    // Zeros behind the scale lose nothing.
    expect(cell(decimal(9, 2), '1.500')).toBe(cell(decimal(9, 2), '1.50'))
  })

  it.each([
    [decimal(9, 2), '10000000.00'],
    [decimal(9, 2), '1.005'],
    [decimal(10, 2), '100000000'],
    [decimal(18, 0), '1000000000000000000'],
    [decimal(38, 2), `1${'0'.repeat(36)}`],
    [decimal(9, 2), 'NaN'],
    [decimal(76, 2), '-Infinity'],
  ])('refuses a decimal that would be cut: %o %s', (type, canonical) => {
    expect(refusal(type, canonical)).toBe('out-of-range')
  })

  it('writes UUIDs as two little-endian halves', () => {
    expect(cell({ kind: 'uuid' }, '00010203-0405-0607-0809-0a0b0c0d0e0f')).toBe(
      '07060504030201000f0e0d0c0b0a0908',
    )
  })

  it('writes days since 1970 and refuses what a Date32 cannot keep', () => {
    expect(cell({ kind: 'date' }, '1970-01-02')).toBe('01000000')
    expect(cell({ kind: 'date' }, '1900-01-01')).toBe('219cffff')
    expect(cell({ kind: 'date' }, '2299-12-31')).toBe('d1d60100')
    for (const day of ['1899-12-31', '2300-01-01', 'infinity', '-infinity', '0044-03-15 BC', '10000-01-01']) {
      expect(refusal({ kind: 'date' }, day)).toBe('out-of-range')
    }
  })

  it('writes ticks since 1970 and refuses what the server would clamp', () => {
    expect(cell(timestamp(6), '1970-01-01 00:00:01.5+00')).toBe('60e3160000000000')
    expect(cell(timestamp(0), '1969-12-31 23:59:59+00')).toBe('ffffffffffffffff')
    expect(cell(timestamp(3), '1969-12-31 23:59:59.999')).toBe('ffffffffffffffff')
    expect(cell(timestamp(9), '2262-04-11 23:47:14.999999999+00')).toBe('ff5d7291ffffff7f')
    const late = ['2262-04-11 23:47:17+00', '1600-01-01 00:00:00+00']
    for (const value of late) expect(refusal(timestamp(9), value)).toBe('out-of-range')
    const odd = ['infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '10000-01-01 00:00:00+00']
    for (const value of odd) expect(refusal(timestamp(6), value)).toBe('out-of-range')
    expect(refusal(timestamp(3), '2020-01-01 00:00:00.0001+00')).toBe('out-of-range')
    expect(refusal(timestamp(6), '1899-12-31 23:59:59+00', DOCUMENTED_TIMESTAMPS)).toBe('out-of-range')
    expect(refusal(timestamp(6), '2300-01-01 00:00:00+00', DOCUMENTED_TIMESTAMPS)).toBe('out-of-range')
  })

  it('writes text and bytes as they are, with their length', () => {
    expect(cell(text, 'é')).toBe('02c3a9')
    expect(cell(text, '')).toBe('00')
    expect(cell(text, 'x'.repeat(300))).toBe(`ac02${'78'.repeat(300)}`)
    expect(cell({ kind: 'bytes' }, Uint8Array.from([0, 255]))).toBe('0200ff')
  })

  it('writes arrays with their counts, nested per dimension', () => {
    expect(cell(arrayOf(int(8)), '{}')).toBe('00')
    expect(cell(arrayOf(int(8)), '{1,NULL,-1}')).toBe('03' + '0001' + '01' + '00ff')
    expect(cell(arrayOf(text), '{"a,}\\"\\\\","NULL",NULL,""}')).toBe(
      `04${'0005612c7d225c'}${'00044e554c4c'}01${'0000'}`,
    )
    expect(cell(arrayOf(int(8), 2), '{{1,2},{3,NULL}}')).toBe('02' + '0200010002' + '02000301')
    expect(cell(arrayOf({ kind: 'bytes' }), '{"\\\\x00ff","\\\\x"}')).toBe('02' + '000200ff' + '0000')
    for (const value of ['[0:1]={1,2}', '{{1},{2}}', 'NULL']) {
      expect(refusal(arrayOf(int(8)), value)).toBe('array-shape')
    }
    expect(refusal(arrayOf(int(8), 2), '{1,2}')).toBe('array-shape')
    expect(refusal(arrayOf(int(8)), '{300}')).toBe('out-of-range')
  })

  it('grows its buffer in the middle of a long array', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => index)
    const hex = cell(arrayOf(int(32)), `{${many.join(',')}}`)
    expect(hex.slice(0, 4)).toBe('904e')
    expect(hex.slice(-10)).toBe('000f270000')
    expect(hex).toHaveLength(4 + 10_000 * 10)
  })
})

function column(id: string, type: ColumnType, nullable = false): Column {
  return { id, name: id, type, nullable, native: '' }
}

function targets(schema: TableSchema): readonly TargetColumn[] {
  return schema.columns.map((source, index) => {
    const isKey = schema.key.includes(index)
    const type = targetType(source, isKey, OPTIONS)
    const physical = parseType(type)!
    const nullable = physical.kind === 'scalar' && physical.nullable
    return { source, name: source.name, type, physical, onNull: nullable ? 'null' : 'refuse' }
  })
}

const schema: TableSchema = {
  namespace: 'public',
  name: 't',
  columns: [
    column('id', int(16)),
    column('note', text, true),
    column('n', int(8)),
    column('list', arrayOf(int(8))),
  ],
  key: [0],
  version: 1,
}
const encoder = new TableEncoder(schema, targets(schema), META, WIDE_TIMESTAMPS)

function batch(fill: (tx: ValueBatchBuilder) => void): RecordBatch {
  const tx = new ValueBatchBuilder('stream')
  tx.begin({ id: '1', commitTimeMs: 0, version: 1n })
  fill(tx)
  tx.commit({ order: '1', resume: null })
  return tx.take()!
}

/** What is written for the first row, in hex, without the version. */
function encoded(fill: (tx: ValueBatchBuilder) => void): string {
  const out = new RowWriter(encoder.slack)
  encoder.encode(batch(fill).rows!, 0, 1, 2, out)
  return out.bytes.toString('hex', 0, out.at)
}

const VERSION = '0200000001000000'
const ROW: ValueRow = { id: 1, note: 'n', n: 2, list: [] }

describe('rows as RowBinary', () => {
  it('writes cells, version and deleted mark', () => {
    expect(encoded((tx) => tx.insert(schema, ROW))).toBe(`0100${'00016e'}02${'00'}${VERSION}00`)
    expect(encoded((tx) => tx.insert(schema, { ...ROW, note: null }))).toBe(
      `0100${'01'}02${'00'}${VERSION}00`,
    )
  })

  it('writes a deleted row as its key and defaults', () => {
    expect(encoded((tx) => tx.delete(schema, { id: 258 }))).toBe(`0201${'01'}00${'00'}${VERSION}01`)
    expect(encoded((tx) => tx.delete(schema, { ...ROW, id: 258 }))).toBe(`0201${'01'}00${'00'}${VERSION}01`)
  })

  it('writes a changed key as a deleted row and a new row of the same version', () => {
    expect(encoded((tx) => tx.update(schema, ROW, { id: 9 }))).toBe(
      `0900${'01'}00${'00'}${VERSION}01` + `0100${'00016e'}02${'00'}${VERSION}00`,
    )
    expect(encoded((tx) => tx.update(schema, ROW, ROW))).toBe(`0100${'00016e'}02${'00'}${VERSION}00`)
  })

  it('writes nothing of a row whose unchanged cells it does not know', () => {
    expect(encoded((tx) => tx.update(schema, { ...ROW, n: UNCHANGED }))).toBe('')
    expect(encoded((tx) => tx.update(schema, { ...ROW, n: UNCHANGED }, { id: 9 }))).toBe('')
  })

  it('says which column is at fault, and takes back what was written', () => {
    const out = new RowWriter(encoder.slack)
    const attempt = (row: ValueRow) => {
      const { rows } = batch((tx) => tx.insert(schema, row))
      try {
        return encoder.encode(rows!, 0, 0, 0, out)
      } catch (error) {
        return error
      }
    }
    expect(attempt({ ...ROW, n: 1000 })).toMatchObject({
      name: 'PoisonRecordError',
      code: 'clickhouse/out-of-range',
      message: 'a value of column "n" of public.t is outside the range of the ClickHouse column',
    })
    expect(attempt({ ...ROW, n: null })).toMatchObject({ code: 'clickhouse/null-refused' })
    expect(attempt({ ...ROW, list: null })).toMatchObject({
      code: 'clickhouse/null-refused',
      fix: expect.stringContaining('arrays'),
    })
    expect(attempt({ id: 1, n: 1, list: [] })).toMatchObject({
      code: 'clickhouse/absent-cell',
      message: expect.stringContaining('"note"'),
    })
    expect(attempt({ ...ROW, id: null })).toMatchObject({ message: expect.stringContaining('"id"') })
    expect(out.at).toBe(0)
    const { rows } = batch((tx) => tx.delete(schema, { n: 1 }))
    expect(() => encoder.encode(rows!, 0, 0, 0, out)).toThrow('"id"')
  })

  it('gives the same bytes where the process forbids making code from text', () => {
    const columns = targets(schema)
    const writers = columns.map(({ source, physical }) => cellWriter(source.type, physical, WIDE_TIMESTAMPS))
    const { rows } = batch((tx) => {
      tx.insert(schema, ROW)
      tx.insert(schema, { ...ROW, note: null, list: [1, null] })
      tx.update(schema, { ...ROW, list: UNCHANGED })
    })
    const results = [unrolled, looped, compileRow].map((compile) => {
      const out = new RowWriter(encoder.slack)
      const encode = compile(columns, writers)
      const complete = [0, 1, 2].map((row) => encode(rows!.cells, rows!.arena, rows!.newImage[row]! * 2, out))
      return [complete, out.bytes.toString('hex', 0, out.at)]
    })
    expect(results[0]).toEqual(results[1])
    expect(results[0]).toEqual(results[2])
    expect(results[0]![0]).toEqual([true, true, false])
  })

  it('begins with the names and types of the columns', () => {
    const names = ['id', 'note', 'n', 'list', '_version', '_deleted']
    const types = ['Int16', 'Nullable(String)', 'Int8', 'Array(Nullable(Int8))', 'UInt64', 'UInt8']
    const counted = [...names, ...types].map((value) => String.fromCharCode(value.length) + value)
    expect(encoder.header.toString('latin1')).toBe(`\x06${counted.join('')}`)
  })
})
