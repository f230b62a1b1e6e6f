import { closest } from '../../closest.ts'
import type { Json } from '../../position.ts'

export type JsonObject = { readonly [key: string]: Json }

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isJsonList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

/** A reason for a mistake: the name is none of those that there are. */
export function unknownName(what: string, name: string, known: readonly string[]): string {
  const near = closest(name, known)
  return near === null
    ? `unknown ${what}; known: ${known.join(', ')}`
    : `unknown ${what}, did you mean "${near}"?`
}

/** A property of its own, so that `constructor` is none. */
export function own<Value>(of: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(of, name) ? of[name] : undefined
}
