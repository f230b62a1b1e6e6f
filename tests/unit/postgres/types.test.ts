import { describe, expect, it } from 'vitest'

import {
  baseOid,
  columnType,
  Conversion,
  conversionOf,
  nativeName,
  type PgType,
  type PgTypes,
} from '../../../src/connectors/sources/postgres/types.ts'
import { describeType } from '../../../src/core/column-type.ts'

function type(oid: number, name: string, more: Partial<PgType> = {}): [number, PgType] {
  return [oid, { oid, name, kind: 'b', element: 0, base: 0, baseModifier: -1, dimensions: 0, ...more }]
}

const TYPES: PgTypes = new Map([
  type(25, 'text'),
  type(790, 'money'),
  type(17, 'bytea'),
  type(1700, 'numeric'),
  type(1043, 'varchar'),
  type(600, 'point'),
  type(142, 'xml'),
  type(1007, '_int4', { element: 23 }),
  type(791, '_money', { element: 790 }),
  type(1231, '_numeric', { element: 1700 }),
  type(1001, '_bytea', { element: 17 }),
  type(1017, '_point', { element: 600 }),
  type(9001, 'mood', { kind: 'e' }),
  type(9002, '_mood', { element: 9001 }),
  type(9003, 'price', { kind: 'd', base: 1700, baseModifier: ((12 << 16) | 2) + 4 }),
  type(9004, 'low_price', { kind: 'd', base: 9003 }),
  type(9005, 'cash', { kind: 'd', base: 790 }),
  type(9006, '_cash', { element: 9005 }),
  type(9007, 'matrix', { kind: 'd', base: 1007, dimensions: 2 }),
  type(9008, 'blob', { kind: 'd', base: 17 }),
  type(9009, 'street', { kind: 'c' }),
  type(9010, '_price', { element: 9003 }),
  type(9011, 'citext'),
  type(9012, 'int4range', { kind: 'r' }),
])

function named(oid: number, modifier = -1, dimensions = 0): string {
  return describeType(columnType(TYPES, oid, modifier, dimensions))
}

describe('types', () => {
  it.each([
    ['numeric(12,2)', ((12 << 16) | 2) + 4, 'decimal(12,2)'],
    ['numeric(1000,0)', (1000 << 16) + 4, 'decimal(1000,0)'],
    ['numeric(5,-2)', ((5 << 16) | (-2 & 0x7ff)) + 4, 'decimal(5,-2)'],
    ['numeric(3,-1000)', ((3 << 16) | (-1000 & 0x7ff)) + 4, 'decimal(3,-1000)'],
    ['numeric(3,5)', ((3 << 16) | 5) + 4, 'decimal(3,5)'],
  ])('reads precision and scale of %s', (native, modifier, logical) => {
    expect(named(1700, modifier)).toBe(logical)
    expect(nativeName(TYPES, 1700, modifier)).toBe(native)
  })

  it.each([
    ['an enum', 9001, 'enum'],
    ['a domain', 9003, 'decimal(12,2)'],
    ['a domain over a domain', 9004, 'decimal(12,2)'],
    ['a domain over an array, with its dimensions', 9007, 'array of array of int32'],
    ['a composite', 9009, 'street'],
    ['a range', 9012, 'int4range'],
    ['an extension text', 9011, 'text'],
    ['an array of an enum', 9002, 'array of enum'],
    ['an array of a domain', 9010, 'array of decimal(12,2)'],
    ['an array of bytes', 1001, 'array of bytes'],
    // Elements are not converted, so what would need it stays text.
    ['an array of money', 791, 'money[]'],
    ['an array of a domain over money', 9006, 'cash[]'],
    ['an array of a type that core does not know', 1017, 'point[]'],
    ['an unknown type', 4711, 'type 4711'],
  ])('maps %s', (_, oid, logical) => {
    expect(named(oid)).toBe(logical)
  })

  it('gives an array its declared dimensions, at least one', () => {
    expect([named(1007, -1, 0), named(1007, -1, 1), named(1007, -1, 3)]).toEqual([
      'array of int32',
      'array of int32',
      'array of array of array of int32',
    ])
    expect(named(1231, ((6 << 16) | 2) + 4, 1)).toBe('array of decimal(6,2)')
  })

  it('reads the digits of time types', () => {
    expect([named(1114), named(1114, 3), named(1184, 0), named(1083), named(1266, 2)]).toEqual([
      'timestamp(6)',
      'timestamp(3)',
      'timestamp(0) with time zone',
      'time(6)',
      'time(2) with time zone',
    ])
  })

  it('converts bytes and money, by domain too, and nothing else', () => {
    const conversion = (oid: number): Conversion =>
      conversionOf(columnType(TYPES, oid, -1, 0), baseOid(TYPES, oid))
    expect([17, 9008].map(conversion)).toEqual([Conversion.hexBytes, Conversion.hexBytes])
    expect([790, 9005].map(conversion)).toEqual([Conversion.money, Conversion.money])
    expect([25, 1700, 9003, 1001, 791, 9006, 600].map(conversion)).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  it('names types as SQL does', () => {
    expect(nativeName(TYPES, 1043, 24)).toBe('varchar(20)')
    expect(nativeName(TYPES, 1231, ((6 << 16) | 2) + 4)).toBe('numeric(6,2)[]')
    expect(nativeName(TYPES, 4711, -1)).toBe('type 4711')
  })
})
