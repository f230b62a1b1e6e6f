import { createHash } from 'node:crypto'
import type { Json } from '../position.ts'
import { canonicalText } from './values/canonical-json.ts'

/** The same for the same JSON, another one for other JSON. */
export function fingerprintOf(json: Json): string {
  return createHash('sha256').update(canonicalText(json)).digest('hex').slice(0, 32)
}
