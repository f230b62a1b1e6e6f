import type { DocumentValue } from '../../src/core/mapping/value.ts'
import type { Json } from '../../src/core/position.ts'

/** Extended JSON as the plain values that mingo works on. */
export function plain(json: Json): unknown {
  if (Array.isArray(json)) return json.map((item: Json) => plain(item))
  if (typeof json !== 'object' || json === null) return json
  const fields = json as { readonly [name: string]: Json }
  if (typeof fields['$date'] === 'string') return new Date(fields['$date'])
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)]))
}

/** A value as mingo would have it: one type of number. */
export function plainValue(value: DocumentValue | undefined): unknown {
  if (value === undefined) return undefined
  switch (value.kind) {
    case 'null':
      return null
    case 'long':
    case 'decimal':
      return Number(value.value)
    case 'date':
      return new Date(Number(value.value))
    case 'array':
      return value.value.map(plainValue)
    case 'object':
      return Object.fromEntries([...value.value].map(([name, inner]) => [name, plainValue(inner)]))
    case 'minKey':
    case 'maxKey':
      throw new Error(`mingo has no ${value.kind}`)
    default:
      return value.value
  }
}
