import { closest } from '../../closest.ts'
import type { Json } from '../../position.ts'
import type { MappingMistake } from '../mistake.ts'
import type { JsonPath, MappingDocument, Place, PlacedMistake } from '../normalized.ts'

export type JsonObject = { readonly [key: string]: Json }

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

export function isList(json: Json | undefined): json is readonly Json[] {
  return Array.isArray(json)
}

/** `; did you mean "x"?`, or nothing. */
export function orNearest(name: string, names: readonly string[]): string {
  const near = closest(name, names)
  return near === null || near === name ? '' : `; did you mean "${near}"?`
}

/** One of the documents while it is read. Collects everything that is wrong, so that a user sees it at once. */
export class Reading {
  readonly document: MappingDocument
  readonly mistakes: PlacedMistake[]

  constructor(document: MappingDocument, mistakes: PlacedMistake[] = []) {
    this.document = document
    this.mistakes = mistakes
  }

  place(path: JsonPath): Place {
    return { document: this.document, path }
  }

  /** Gives null, as what could not be read. */
  wrong(path: JsonPath, reason: string): null {
    this.mistakes.push({ document: this.document, path, reason })
    return null
  }

  /** Mistakes of a part whose paths begin there. */
  within(path: JsonPath, mistakes: readonly MappingMistake[]): null {
    for (const mistake of mistakes) this.wrong([...path, ...mistake.path], mistake.reason)
    return null
  }

  object(json: Json | undefined, path: JsonPath): JsonObject | null {
    return isObject(json) ? json : this.wrong(path, json === undefined ? 'is missing' : 'must be an object')
  }

  list(json: Json | undefined, path: JsonPath): readonly Json[] | null {
    return isList(json) ? json : this.wrong(path, json === undefined ? 'is missing' : 'must be a list')
  }

  text(json: Json | undefined, path: JsonPath): string | null {
    if (typeof json === 'string' && json !== '') return json
    return this.wrong(path, json === undefined ? 'is missing' : 'must be text')
  }

  /** Null when it is left out or no text. */
  optionalText(json: Json | undefined, path: JsonPath): string | null {
    return json === undefined ? null : this.text(json, path)
  }

  optionalBoolean(json: Json | undefined, path: JsonPath): boolean | null {
    if (json === undefined || typeof json === 'boolean') return json ?? null
    return this.wrong(path, 'must be true or false')
  }

  /** A key that nobody reads would do nothing, and whoever wrote it thinks otherwise. */
  onlyKeys(object: JsonObject, known: readonly string[], path: JsonPath): void {
    for (const key of Object.keys(object)) {
      if (known.includes(key)) continue
      this.wrong([...path, key], `is unknown here${orNearest(key, known)}; there are ${known.join(', ')}`)
    }
  }
}

/** `orders`, or `shop.orders`: the namespace is up to the first point. */
export function splitName(name: string): { readonly namespace: string | null; readonly name: string } {
  const point = name.indexOf('.')
  if (point <= 0 || point === name.length - 1) return { namespace: null, name }
  return { namespace: name.slice(0, point), name: name.slice(point + 1) }
}
