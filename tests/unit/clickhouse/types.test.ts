import { describe, expect, it } from 'vitest'
import {
  asNullable,
  canHold,
  convertsExactly,
  parseType,
  targetType,
} from '../../../src/connectors/sinks/clickhouse/types.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'

const int32: ColumnType = { kind: 'int', bits: 32, unsigned: false }
const text: ColumnType = { kind: 'text' }
const arrayOf = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })
const exact = { arrays: 'exact', dates: 'native' } as const

const target = (type: ColumnType, nullable = false, options: Parameters<typeof targetType>[2] = exact) =>
  targetType({ type, nullable }, false, options)

describe('the ClickHouse type of a source column', () => {
  it.each([
    [{ kind: 'bool' }, 'Bool'],
    [{ kind: 'int', bits: 8, unsigned: true }, 'UInt8'],
    [{ kind: 'int', bits: 64, unsigned: false }, 'Int64'],
    [{ kind: 'float', bits: 32 }, 'Float32'],
    [{ kind: 'decimal', precision: 76, scale: 76 }, 'Decimal(76, 76)'],
    [{ kind: 'decimal', precision: 77, scale: 0 }, 'String'],
    [{ kind: 'decimal', precision: 5, scale: -2 }, 'String'],
    [{ kind: 'decimal', precision: 2, scale: 5 }, 'String'],
    [{ kind: 'decimal', precision: null, scale: null }, 'String'],
    [{ kind: 'enum' }, 'LowCardinality(String)'],
    [{ kind: 'uuid' }, 'UUID'],
    [{ kind: 'json' }, 'String'],
    [{ kind: 'bytes' }, 'String'],
    [{ kind: 'date' }, 'Date32'],
    [{ kind: 'timestamp', digits: 6, zoned: false }, "DateTime64(6, 'UTC')"],
    [{ kind: 'time', digits: 6, zoned: false }, 'String'],
    [{ kind: 'interval' }, 'String'],
    [{ kind: 'other', name: 'tsvector' }, 'String'],
    [arrayOf(int32), 'Array(Nullable(Int32))'],
    [arrayOf({ kind: 'enum' }, 2), 'Array(Array(Nullable(String)))'],
  ] satisfies [ColumnType, string][])('%o: %s', (type, name) => {
    expect(target(type)).toBe(name)
    // What the server gives back can be read and written.
    expect(canHold(type, parseType(name)!)).toBe(true)
  })

  it('is nullable where the column is, and never in a key', () => {
    expect(target(int32, true)).toBe('Nullable(Int32)')
    expect(target({ kind: 'enum' }, true)).toBe('LowCardinality(Nullable(String))')
    expect(targetType({ type: int32, nullable: true }, true, exact)).toBe('Int32')
  })

  it('follows the options', () => {
    expect(target(arrayOf(text), true)).toBe('Nullable(String)')
    expect(target(arrayOf(text), true, { ...exact, arrays: 'native' })).toBe('Array(Nullable(String))')
    expect(target(arrayOf(text), false, { ...exact, arrays: 'text' })).toBe('String')
    expect(target({ kind: 'date' }, true, { ...exact, dates: 'text' })).toBe('Nullable(String)')
    expect(target(arrayOf({ kind: 'date' }), false, { ...exact, dates: 'text' })).toBe(
      'Array(Nullable(String))',
    )
  })
})

describe('physical types', () => {
  it('reads the types that the sink makes, and no others', () => {
    expect(parseType('LowCardinality(Nullable(String))')).toMatchObject({
      nullable: true,
      lowCardinality: true,
    })
    expect(parseType('Array(Array(Nullable(Decimal(10, 2))))')).toMatchObject({
      kind: 'array',
      of: { kind: 'array' },
    })
    for (const other of [
      'FixedString(3)',
      'Map(String, String)',
      "Enum8('a' = 1)",
      'DateTime',
      'JSON',
      'Nullable(Tuple(Int8))',
    ]) {
      expect(parseType(other), other).toBeNull()
    }
  })

  it('knows which columns keep every value of a type', () => {
    const holds = (type: ColumnType, name: string) => canHold(type, parseType(name)!)
    expect(holds(int32, 'Int64')).toBe(true)
    expect(holds(int32, 'UInt64')).toBe(false)
    expect(holds({ kind: 'int', bits: 32, unsigned: true }, 'Int64')).toBe(true)
    expect(holds({ kind: 'int', bits: 64, unsigned: true }, 'Int64')).toBe(false)
    expect(holds(int32, 'String')).toBe(true)
    expect(holds(text, 'Int32')).toBe(false)
    expect(holds({ kind: 'decimal', precision: 10, scale: 2 }, 'Decimal(12, 4)')).toBe(true)
    expect(holds({ kind: 'decimal', precision: 10, scale: 2 }, 'Decimal(12, 5)')).toBe(false)
    expect(holds({ kind: 'decimal', precision: null, scale: null }, 'Decimal(76, 10)')).toBe(false)
    expect(holds({ kind: 'timestamp', digits: 6, zoned: true }, "DateTime64(3, 'UTC')")).toBe(false)
    expect(holds({ kind: 'float', bits: 64 }, 'Float32')).toBe(false)
    expect(holds(arrayOf(int32, 2), 'Array(Nullable(Int32))')).toBe(false)
    expect(holds(arrayOf(int32), 'Array(Int32)')).toBe(false)
  })

  it('knows which conversions of the server give what the sink would write', () => {
    const converts = (from: string, to: string) => convertsExactly(parseType(from)!, parseType(to)!)
    const yes = [
      ['Int32', 'Int64'],
      ['Int64', 'Nullable(Int32)'],
      ['Int32', 'String'],
      ['UUID', 'Nullable(String)'],
      ['Float32', 'Float64'],
      ['Decimal(10, 2)', 'Decimal(12, 4)'],
      ["DateTime64(3, 'UTC')", "DateTime64(6, 'UTC')"],
      ['LowCardinality(String)', 'String'],
    ] as const
    const no = [
      ['Nullable(Int32)', 'Int64'],
      ['String', 'Int32'],
      ['Bool', 'String'],
      ['Decimal(10, 2)', 'String'],
      ["DateTime64(6, 'UTC')", 'String'],
      ['Decimal(12, 4)', 'Decimal(12, 2)'],
      ["DateTime64(6, 'UTC')", "DateTime64(3, 'UTC')"],
      ['Date32', "DateTime64(3, 'UTC')"],
      ['Array(Nullable(Int32))', 'String'],
      ['Int32', 'Bool'],
    ] as const
    for (const [from, to] of yes) expect(converts(from, to), `${from} to ${to}`).toBe(true)
    for (const [from, to] of no) expect(converts(from, to), `${from} to ${to}`).toBe(false)
  })

  it('makes a type nullable once', () => {
    expect(asNullable('Int32')).toBe('Nullable(Int32)')
    expect(asNullable('Nullable(Int32)')).toBe('Nullable(Int32)')
    expect(asNullable('LowCardinality(String)')).toBe('LowCardinality(Nullable(String))')
    expect(asNullable('LowCardinality(Nullable(String))')).toBe('LowCardinality(Nullable(String))')
  })
})
