import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CoreError, PoisonRecordError } from '../../../src/core/error.ts'
import { parseJson } from '../../../src/core/exact-json.ts'
import { fits } from '../../../src/core/fits.ts'

describe('JSON that holds cells', () => {
  it('keeps numbers that a double holds, and the text of all others (L8)', () => {
    expect(
      parseJson(
        '{"a": 1, "b": [-0.25, true, null, "1"], "c": 9007199254740993, "d": 1e400, "e": 0.1234567890123456789}',
      ),
    ).toEqual({
      a: 1,
      b: [-0.25, true, null, '1'],
      c: '9007199254740993',
      d: '1e400',
      e: '0.1234567890123456789',
    })
  })

  it('changes no decimal and no float, however long', () => {
    const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,30})\.\d{1,30}$|^0\.0{1,12}\d$|^[1-9]\d{0,11}\.\d\d$/)
    fc.assert(
      fc.property(digits, (text) => {
        const value = parseJson(text)
        // The same number, up to zeros at its end.
        const kept = Object.is(value, -0) ? '-0' : String(value)
        expect(plain(kept)).toBe(plain(text))
      }),
    )
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (float) => {
        const value = parseJson(JSON.stringify(float)) as number | string
        expect(Number(value)).toBe(Object.is(float, -0) ? 0 : float)
        expect(fits({ kind: 'float', bits: 64 }, value)).toBe(true)
      }),
    )
  })

  it('reads UTF-8', () => {
    expect(parseJson(Buffer.from('"é\\u00e9"'))).toBe('éé')
  })

  it.each(['', '{', 'kit-cell', '{"a": kit-cell}'])('refuses %j without saying what it is', (text) => {
    const error = thrown(() => parseJson(text))
    expect(error).toBeInstanceOf(PoisonRecordError)
    expect(JSON.stringify([error.message, error.fix, error.cause])).not.toContain('kit')
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(thrown(() => parseJson(Buffer.from('"\xff"', 'latin1')))).toMatchObject({ code: 'core/not-json' })
  })
})

/** Without zeros that say nothing. */
function plain(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

function thrown(run: () => unknown): CoreError {
  try {
    run()
  } catch (error) {
    return error as CoreError
  }
  throw new Error('nothing was thrown')
}
