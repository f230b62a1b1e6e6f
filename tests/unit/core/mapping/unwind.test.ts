import { describe, expect, it } from 'vitest'
import { fromExtendedJson } from '../../../../src/core/mapping/values/extended-json.ts'
import type { Unwind } from '../../../../src/core/mapping/mapping.ts'
import { unwound } from '../../../../src/core/mapping/unwind.ts'
import type { Json } from '../../../../src/core/position.ts'
import { doc } from '../../../support/documents.ts'

function unwind(json: Json, path: string, more: Partial<Unwind> = {}): unknown {
  const unwinding = { path: path.split('.'), indexField: null, keepsEmpty: false, ...more }
  return unwound(doc(json), unwinding).map((document) => document.whole())
}

const values = (...documents: readonly Json[]): unknown => documents.map((json) => fromExtendedJson(json))
const long = (value: number): Json => ({ $numberLong: String(value) })

describe('unwinding', () => {
  it('gives one document per element, with the element in the place of the array', () => {
    expect(unwind({ _id: 1, sizes: ['S', 'M'], x: 0 }, 'sizes')).toEqual(
      values({ _id: 1, sizes: 'S', x: 0 }, { _id: 1, sizes: 'M', x: 0 }),
    )
  })

  it('takes what is no array for one element, without a number', () => {
    expect(unwind({ sizes: 'M' }, 'sizes', { indexField: 'i' })).toEqual(values({ sizes: 'M', i: null }))
  })

  it.each<readonly [Json, string]>([
    [{}, 'sizes'],
    [{ sizes: null }, 'sizes'],
    [{ sizes: [] }, 'sizes'],
    [{ sizes: { a: 1 } }, 'sizes.b'],
  ])('has nothing for %j', (json, path) => {
    expect(unwind(json, path)).toEqual([])
  })

  it('keeps documents without elements where that is wished', () => {
    const keep = { keepsEmpty: true, indexField: 'i' }
    expect(unwind({ x: 1 }, 'sizes', keep)).toEqual(values({ x: 1, i: null }))
    expect(unwind({ x: 1, sizes: null }, 'sizes', keep)).toEqual(values({ x: 1, sizes: null, i: null }))
    expect(unwind({ x: 1, sizes: [] }, 'sizes', keep)).toEqual(values({ x: 1, i: null }))
    expect(unwind({ x: 1, a: 2 }, 'a.b', keep)).toEqual(values({ x: 1, a: 2, i: null }))
  })

  it('counts from 0, as a long', () => {
    expect(unwind({ a: [5, null, [6]] }, 'a', { indexField: 'i' })).toEqual(
      values({ a: 5, i: long(0) }, { a: null, i: long(1) }, { a: [6], i: long(2) }),
    )
  })

  it('copies along a nested path and leaves the document as it was', () => {
    const json = { a: { b: { c: [1, 2] }, d: 3 }, e: 4 }
    const document = doc(json)
    const rows = unwound(document, { path: ['a', 'b', 'c'], indexField: null, keepsEmpty: false })
    expect(rows.map((row) => row.whole())).toEqual(
      values({ a: { b: { c: 1 }, d: 3 }, e: 4 }, { a: { b: { c: 2 }, d: 3 }, e: 4 }),
    )
    expect(rows.map((row) => row.field('a'))).toEqual(values({ b: { c: 1 }, d: 3 }, { b: { c: 2 }, d: 3 }))
    expect(document.whole()).toEqual(fromExtendedJson(json))
  })

  it('does not look for arrays inside of other arrays', () => {
    expect(unwind({ a: [{ b: [1, 2] }] }, 'a.b')).toEqual([])
  })

  it('goes inside what was unwound before', () => {
    const [first] = unwound(doc({ a: [{ b: [1, 2] }] }), { path: ['a'], indexField: 'i', keepsEmpty: false })
    const rows = unwound(first!, { path: ['a', 'b'], indexField: 'j', keepsEmpty: false })
    expect(rows.map((row) => row.whole())).toEqual(
      values({ a: { b: 1 }, i: long(0), j: long(0) }, { a: { b: 2 }, i: long(0), j: long(1) }),
    )
    expect(rows.map((row) => row.field('i'))).toEqual(values(long(0), long(0)))
  })
})
