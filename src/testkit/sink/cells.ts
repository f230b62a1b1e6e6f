import { formatArray, parseArray } from '../../core/array-text.ts'
import { UNCHANGED, type Value, valueToText } from '../../core/canonical.ts'
import type { ColumnType } from '../../core/column-type.ts'
import type { Column, TableSchema } from '../../core/table.ts'
import type { TextRow } from '../change.ts'

export const bool: ColumnType = { kind: 'bool' }
export const text: ColumnType = { kind: 'text' }
export const bytes: ColumnType = { kind: 'bytes' }
export const int = (bits: 8 | 16 | 32 | 64, unsigned = false): ColumnType => ({ kind: 'int', bits, unsigned })
export const float = (bits: 32 | 64): ColumnType => ({ kind: 'float', bits })
export const decimal = (precision: number | null, scale: number | null): ColumnType => ({
  kind: 'decimal',
  precision,
  scale,
})
export const time = (digits: number, zoned: boolean): ColumnType => ({ kind: 'time', digits, zoned })
export const timestamp = (digits: number, zoned: boolean): ColumnType => ({
  kind: 'timestamp',
  digits,
  zoned,
})
export const arrayOf = (of: ColumnType, dimensions = 1): ColumnType => ({ kind: 'array', of, dimensions })

export function column(id: string, name: string, type: ColumnType, nullable = false): Column {
  return { id, name, type, nullable, native: '' }
}

/** A table of `public` whose key is its first column, unless told otherwise. */
export function table(
  name: string,
  columns: readonly Column[],
  more: Partial<TableSchema> = {},
): TableSchema {
  return { namespace: 'public', name, columns, key: [0], version: 1, ...more }
}

/** Canonical text of a value as an oracle gives it: null for NULL, bytes as `\x` and hex digits. */
export function textOf(type: ColumnType, value: Value): string | null {
  if (value === undefined || value === UNCHANGED) throw new TypeError('not a value that a reader could see')
  return value === null ? null : valueToText(type, value)
}

/** One text per value, for comparing: what a server may show in several ways becomes one of them. */
export function plainText(type: ColumnType, shown: string): string {
  switch (type.kind) {
    case 'float':
      return plainFloat(type.bits, shown)
    case 'decimal':
      return plainDecimal(shown)
    case 'time':
    case 'timestamp':
      return shown.replace(/(\.\d*?)0+(?!\d)/, '$1').replace(/\.(?!\d)/, '')
    case 'array':
      return plainArray(type.of, shown)
    case 'bool':
    case 'int':
    case 'text':
    case 'enum':
    case 'uuid':
    case 'json':
    case 'bytes':
    case 'date':
    case 'interval':
    case 'other':
      return shown
  }
}

/** The key of a row as text: the same for rows that have the same key. */
export function keyOf(schema: TableSchema, row: TextRow): string {
  const cells = schema.key.map((index) => {
    const { name, type } = schema.columns[index]!
    const shown = row[name]
    return shown === undefined || shown === null ? String(shown) : plainText(type, shown)
  })
  return JSON.stringify(cells)
}

function plainFloat(bits: 32 | 64, shown: string): string {
  const value = bits === 32 ? Math.fround(Number(shown)) : Number(shown)
  return Object.is(value, -0) ? '-0' : String(value)
}

function plainDecimal(shown: string): string {
  const digits = /^(-?)0*(\d+?)(?:\.(\d*?)0*)?$/.exec(shown)
  if (digits === null) return shown
  const [, sign, whole, fraction = ''] = digits
  const plain = fraction === '' ? whole! : `${whole}.${fraction}`
  return plain === '0' ? plain : `${sign}${plain}`
}

function plainArray(of: ColumnType, shown: string): string {
  try {
    return formatArray(
      parseArray(shown, (element) => plainText(of, element)),
      (element) => element as string,
    )
  } catch {
    // Custom bounds: kept as text, or not at all.
    return shown
  }
}
