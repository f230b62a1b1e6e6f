import {
  versionFromLexi,
  versionToLexi,
} from '../../../node_modules/@rocicorp/zero/out/zero-cache/src/types/lexi-version.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromLexi, toLexi } from '../../../src/connectors/sinks/zero/lexi-version.ts'

/** As zero-cache's documentation and its protocol show them. */
const VECTORS: readonly (readonly [bigint, string])[] = [
  [0n, '00'],
  [10n, '0a'],
  [35n, '0z'],
  [36n, '110'],
  [1_000_000_000_000_001n, '99ugxnorjlt'],
  [36n ** 36n - 1n, `z${'z'.repeat(36)}`],
]
const versions = fc.bigInt({ min: 0n, max: 36n ** 36n - 1n })

describe('a LexiVersion', () => {
  it.each(VECTORS)('of %d is %s, and back', (version, text) => {
    expect(toLexi(version)).toBe(text)
    expect(fromLexi(text)).toBe(version)
  })

  it('is what zero-cache makes of the number, and zero-cache reads it so', () => {
    fc.assert(
      fc.property(versions, (version) => {
        expect(toLexi(version)).toBe(versionToLexi(version))
        expect(versionFromLexi(toLexi(version))).toBe(version)
      }),
    )
  })

  it('sorts as text as the numbers do', () => {
    fc.assert(
      fc.property(versions, versions, (a, b) => {
        expect(toLexi(a) < toLexi(b)).toBe(a < b)
      }),
    )
  })

  it('survives the way there and back', () => {
    fc.assert(
      fc.property(versions, (version) => {
        expect(fromLexi(toLexi(version))).toBe(version)
      }),
    )
  })
})

describe('a text that is no LexiVersion', () => {
  it.each([
    '',
    '0',
    'a',
    '1a',
    '01a',
    '0A',
    '1AA',
    '10a',
    '05.01',
    '0-',
    ' 0a',
    '0a ',
    '0a\n',
    '2000',
    `z${'z'.repeat(37)}`,
    'é0',
  ])('%j has no number', (text) => expect(fromLexi(text)).toBeNull())

  it('never becomes a number whose LexiVersion is another text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('0', '1', '2', '3', '9', 'a', 'b', 'z', '.', 'A', ' ') }),
        (text) => {
          const version = fromLexi(text)
          expect(version === null ? text : toLexi(version)).toBe(text)
        },
      ),
    )
  })
})
