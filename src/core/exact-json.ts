import { PoisonRecordError } from './error.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })
/** Any decimal of 15 digits comes back from a double as it was; others need a closer look, which they do not get here. */
const SURELY_EXACT = /^-?[\d.]{1,15}$/

/**
 * JSON that holds cells. A number that a double may not hold stays the text that it is (`9007199254740993`, `1e400`);
 * `fits` takes text for numbers as well, so no cell changes on its way. Throws `PoisonRecordError` for what is not JSON
 * in UTF-8, without a word of what is in it.
 */
export function parseJson(json: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof json === 'string' ? json : utf8.decode(json), exact)
  } catch {
    throw new PoisonRecordError('core/not-json', 'what should be JSON is not, or is not UTF-8', {
      fix: 'Look at it where it was written: messages leave out what they are about.',
    })
  }
}

function exact(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number') return value
  const source = context!.source!
  // 0.0000001 would become 1e-7, which is no decimal.
  return SURELY_EXACT.test(source) && !String(value).includes('e') ? value : source
}
