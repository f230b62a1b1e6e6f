import type { Json } from '../../position.ts'

/** JSON text that does not depend on the order of keys. */
export function canonicalText(json: Json): string {
  return JSON.stringify(sorted(json))
}

function sorted(json: Json): Json {
  if (Array.isArray(json)) return json.map(sorted)
  if (typeof json !== 'object' || json === null) return json
  const entries = Object.entries(json).map(([key, value]) => [key, sorted(value)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}
