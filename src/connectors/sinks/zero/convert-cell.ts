import { jsonText } from './cell-writers.ts'
import { type ColumnEncoding, EXACT_DIGITS } from './types.ts'

const INTEGER = /^-?(?:0|[1-9]\d*)$/
const DECIMAL = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

/**
 * The JSON text that a stored value has under another encoding: the one that the encoder would write for the same value
 * of the source. Null when the text does not tell it, or when the value has none there.
 */
export function convertCell(from: ColumnEncoding, to: ColumnEncoding, json: Uint8Array): Uint8Array | null {
  if (from === to) return json
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString()
  const converted = convertText(from, to, text)
  if (converted === null) return null
  return converted === text ? json : Buffer.from(converted)
}

function convertText(from: ColumnEncoding, to: ColumnEncoding, json: string): string | null {
  const canonical = canonicalText(from, json)
  if (canonical === null) return null
  switch (to) {
    case 'string':
      return JSON.stringify(canonical)
    case 'json':
      return from === 'string' && isJson(canonical) ? json : null
    case 'boolean':
      return canonical === 't' || canonical === 'f' ? String(canonical === 't') : null
    case 'integer':
      return INTEGER.test(canonical) && Number.isSafeInteger(Number(canonical)) ? canonical : null
    case 'decimal':
      return DECIMAL.test(canonical) && canonical.replace(/\D/g, '').length <= EXACT_DIGITS ? canonical : null
    case 'float':
      return NUMBER.test(canonical) && Number.isFinite(Number(canonical))
        ? jsonText('float', canonical)
        : null
    default:
      return null
  }
}

/** The source's text, where the JSON text still tells it; of base64 and times it could be had, but never is needed. */
function canonicalText(encoding: ColumnEncoding, json: string): string | null {
  switch (encoding) {
    case 'boolean':
      return json === 'true' ? 't' : 'f'
    case 'integer':
    case 'decimal':
      return json
    case 'float':
      return json.startsWith('"') ? (JSON.parse(json) as string) : json
    case 'string':
    case 'json':
      return JSON.parse(json) as string
    default:
      return null
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
