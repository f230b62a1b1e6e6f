import { describe, expect, it } from 'vitest'
import {
  type TypeOptions,
  zeroType,
  type ZqlType,
  zqlType,
} from '../../../src/connectors/sinks/zero/types.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { parseType } from '../../../src/core/column-type.ts'

const OPTIONS: TypeOptions = { bigints: 'number', decimals: 'exact' }
const type = (name: string): ColumnType => parseType(name) ?? { kind: 'other', name }

const shown = (name: string, options: Partial<TypeOptions> = {}, wanted?: ZqlType): string => {
  const found = zeroType(type(name), { ...OPTIONS, ...options }, wanted)
  if ('reason' in found) return found.reason
  expect(found.elemPgTypeClass).toBe(found.dataType.endsWith('[]') ? 'b' : undefined)
  if (wanted !== undefined) expect(zqlType(found)).toBe(wanted)
  return `${found.dataType} ${found.encoding}`
}

describe('the type of a column in Zero', () => {
  it.each([
    ['bool', 'boolean boolean'],
    ['int8', 'int4 integer'],
    ['uint16', 'int4 integer'],
    ['int32', 'int4 integer'],
    ['uint32', 'int8 integer'],
    ['int64', 'int8 integer'],
    ['uint64', 'int8 integer'],
    ['float32', 'float8 float'],
    ['float64', 'float8 float'],
    ['decimal(15,2)', 'numeric decimal'],
    ['decimal(16,2)', 'text string'],
    ['decimal(5,-3)', 'text string'],
    ['decimal', 'text string'],
    ['text', 'text string'],
    ['enum', 'text string'],
    ['uuid', 'text string'],
    ['interval', 'text string'],
    ['tsvector', 'text string'],
    ['bytes', 'text base64'],
    ['json', 'jsonb json'],
    ['date', 'date date'],
    ['time(6)', 'time time'],
    ['time(7)', 'text string'],
    ['time(0) with time zone', 'text string'],
    ['timestamp(6)', 'timestamp timestamp'],
    ['timestamp(3) with time zone', 'timestamptz timestamp'],
    ['timestamp(9)', 'text string'],
    ['array of int32', 'int4[] integer[]'],
    ['array of array of text', 'text[] string[]'],
    ['array of decimal', 'text[] string[]'],
    ['array of bytes', 'text[] base64[]'],
    ['array of json', 'jsonb json[]'],
  ])('%s is %s', (name, expected) => expect(shown(name)).toBe(expected))

  it('is text by option where numbers are not exact', () => {
    expect(shown('int64', { bigints: 'text' })).toBe('text string')
    expect(shown('uint64', { bigints: 'text' })).toBe('text string')
    expect(shown('uint32', { bigints: 'text' })).toBe('int8 integer')
    expect(shown('array of int64', { bigints: 'text' })).toBe('text[] string[]')
    expect(shown('decimal(5,2)', { decimals: 'text' })).toBe('text string')
  })

  it.each([
    ['int64', 'number', 'int8 integer'],
    ['decimal', 'number', 'numeric decimal'],
    ['decimal(40,2)', 'number', 'numeric decimal'],
    ['time(6) with time zone', 'number', 'timetz timetz'],
    ['timestamp(9)', 'number', 'timestamp timestamp'],
    ['bool', 'boolean', 'boolean boolean'],
    ['json', 'json', 'jsonb json'],
    ['array of int32', 'json', 'int4[] integer[]'],
    ['array of json', 'json', 'jsonb json[]'],
    ['json', 'string', 'text string'],
    ['bytes', 'string', 'text base64'],
    ['timestamp(6)', 'string', 'text string'],
    ['array of int32', 'string', 'text string'],
  ] as const)('%s, wanted as %s, is %s, whatever the options', (name, wanted, expected) => {
    expect(shown(name, { bigints: 'text', decimals: 'text' }, wanted)).toBe(expected)
  })

  it.each([
    ['text', 'number'],
    ['text', 'boolean'],
    ['text', 'json'],
    ['int8', 'boolean'],
    ['int32', 'json'],
    ['bool', 'number'],
    ['json', 'number'],
    ['array of int32', 'number'],
    ['interval', 'number'],
    ['uuid', 'number'],
  ] as const)('%s cannot be %s', (name, wanted) => {
    expect(shown(name, {}, wanted)).toMatch(`in the source, and a client's schema wants it as ${wanted}`)
  })

  it('says what a column could be instead', () => {
    expect(zeroType(type('date'), OPTIONS, 'json')).toMatchObject({
      fix: 'Declare it as number or string in the Zero schema.',
    })
    expect(zeroType(type('uuid'), OPTIONS, 'json')).toMatchObject({
      fix: 'Declare it as string in the Zero schema.',
    })
    expect(zeroType(type('array of date'), OPTIONS, 'number')).toMatchObject({
      fix: 'Declare it as json or string in the Zero schema.',
    })
  })
})
