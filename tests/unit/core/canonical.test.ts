import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatArray, parseArray } from '../../../src/core/array-text.ts'
import { textToValue, type Value, valueToBytes, valueToText } from '../../../src/core/canonical.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { PoisonRecordError } from '../../../src/core/error.ts'
import { at } from '../../support/batches.ts'
import { ValueBatchBuilder } from '../../../src/core/value-batch.ts'
import { column } from '../../support/memory-pipeline.ts'

const int = (bits: 8 | 16 | 32 | 64): ColumnType => ({ kind: 'int', bits, unsigned: false })
const text: ColumnType = { kind: 'text' }
const decimal: ColumnType = { kind: 'decimal', precision: null, scale: null }
const bytes: ColumnType = { kind: 'bytes' }

/** Types with values of each. */
const typed: fc.Arbitrary<readonly [ColumnType, Value]> = fc.oneof(
  fc.boolean().map((value) => [{ kind: 'bool' }, value] as const),
  fc.integer().map((value) => [int(32), value] as const),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => [int(64), value] as const),
  fc.double().map((value) => [{ kind: 'float', bits: 64 }, value] as const),
  fc.string({ unit: 'grapheme' }).map((value) => [text, value] as const),
  fc
    .constantFrom('0', '-1.50', '123456789012345678901234567890.0001', 'NaN')
    .map((value) => [decimal, value] as const),
  fc.uint8Array({ maxLength: 40 }).map((value) => [bytes, value] as const),
  fc.json().map((value) => [{ kind: 'json' }, value] as const),
)

describe('a canonical value', () => {
  it('reads back equal through a batch, for every type (L8)', () => {
    fc.assert(
      fc.property(typed, ([type, value]) => {
        const schema = { namespace: 'n', name: 't', columns: [column('c', type)], key: [], version: 0 }
        const builder = new ValueBatchBuilder('stream')
        builder.begin({ id: '1', commitTimeMs: null, version: 0n })
        builder.insert(schema, { c: value })
        builder.commit(at(1))
        const row = builder.take()!.record(0)
        expect(row._tag === 'Insert' && row.after.value(0)).toEqual(value)
      }),
    )
  })

  it.each([
    [int(64), 9007199254740993n, '9007199254740993'],
    [int(64), -(2n ** 63n), '-9223372036854775808'],
    [{ kind: 'float', bits: 64 }, -0, '-0'],
    [{ kind: 'float', bits: 64 }, 1e300, '1e+300'],
    [{ kind: 'float', bits: 64 }, -Infinity, '-Infinity'],
    [{ kind: 'float', bits: 64 }, NaN, 'NaN'],
    [{ kind: 'bool' }, true, 't'],
    [decimal, 0.1, '0.1'],
    [bytes, Uint8Array.of(0, 255), '\\x00ff'],
  ] as const)('of type %o: %s is %s', (type: ColumnType, value: Value, canonical) => {
    expect(valueToText(type, value)).toBe(canonical)
  })

  it('of bytes is the raw bytes', () => {
    expect(valueToBytes(bytes, Uint8Array.of(1, 2))).toEqual(Uint8Array.of(1, 2))
  })

  it('is refused where a number cannot hold a decimal', () => {
    expect(() => valueToText(decimal, 1e25)).toThrow('must be given as a string')
  })

  it('is refused for what is no value, without printing it (L14)', () => {
    expect(() => valueToText(text, undefined)).toThrow('a undefined is not a value of type text')
    expect(() => valueToText(int(32), { secret: 1 } as never)).toThrow(/^a object is not a value/)
  })
})

describe('array text', () => {
  const element = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('', 'NULL', 'null', 'a,b', '{}', '"', '\\', ' '),
  )

  it('reads back equal', () => {
    const list = fc.array(fc.option(element))
    fc.assert(
      fc.property(list, (values) => {
        expect(parseArray(formatArray(values, String), String)).toEqual(values)
      }),
    )
  })

  it('reads back equal with several dimensions and typed elements', () => {
    const type: ColumnType = { kind: 'array', of: int(64), dimensions: 2 }
    const value = [
      [1n, null],
      [-5n, 2n ** 62n],
    ]
    expect(valueToText(type, value)).toBe('{{1,NULL},{-5,4611686018427387904}}')
    expect(textToValue(type, '{{1,NULL},{-5,4611686018427387904}}')).toEqual(value)
  })

  it('carries bytes as hex', () => {
    const type: ColumnType = { kind: 'array', of: bytes, dimensions: 1 }
    expect(textToValue(type, valueToText(type, [Uint8Array.of(0, 255)]))).toEqual([Uint8Array.of(0, 255)])
  })

  it.each(['', '1', '[0:1]={1,2}', '{1', '{1}}', '{"a}', '{"a"b}'])('refuses %j', (malformed) => {
    expect(() => parseArray(malformed, String)).toThrow(PoisonRecordError)
  })
})
