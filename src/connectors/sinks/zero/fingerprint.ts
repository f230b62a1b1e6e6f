/** Names for pieces of JSON that stay the same when the piece does. Pure. */
import { createHash } from 'node:crypto'
import type { Json } from '../../../core/position.ts'

/** 32 hex digits; equal for equal JSON, in whichever order its keys stand. */
export function fingerprint(json: Json): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(json)))
    .digest('hex')
    .slice(0, 32)
}

function sorted(json: Json): Json {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(sorted)
  // A list of pairs: an object would put keys that are numbers first, and could not have the key "__proto__".
  const entries = Object.entries(json).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { keys: entries.map(([key, value]) => [key, sorted(value)]) }
}
