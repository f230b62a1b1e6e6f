/**
 * The canonical text of an array: a brace list, `{1,NULL,"a \"b\""}`. Elements are separated by `,`; an element is
 * quoted when it is empty, equals `NULL` in any case, or holds white space, a comma, a brace, a quote or a backslash;
 * inside quotes `\` escapes the next character; an unquoted NULL is NULL. A nested list is a further dimension. A
 * prefix such as `[0:1]=` gives bounds that do not start at 1; it has no form as a JS array and is refused.
 */
import { PoisonRecordError } from './error.ts'

type Nested<T> = T | null | readonly Nested<T>[]

const NEEDS_QUOTES = /^$|^null$|[\s,{}"\\]/i

/** Canonical text of a (nested) JS array. */
export function formatArray<T>(values: readonly T[], element: (value: T) => string): string {
  const parts = values.map((value) => {
    if (value === null) return 'NULL'
    if (Array.isArray(value)) return formatArray(value as readonly T[], element)
    const text = element(value)
    return NEEDS_QUOTES.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : text
  })
  return `{${parts.join(',')}}`
}

/** The (nested) JS array of canonical text. Throws `PoisonRecordError` when the text is not a plain brace list. */
export function parseArray<T>(text: string, element: (text: string) => T): Nested<T>[] {
  let at = 0
  const list = (): Nested<T>[] => {
    const out: Nested<T>[] = []
    at++
    if (text[at] === '}') {
      at++
      return out
    }
    for (;;) {
      out.push(item())
      const end = text[at++]
      if (end === '}') return out
      if (end !== ',') throw malformed()
    }
  }
  const item = (): Nested<T> => {
    if (text[at] === '{') return list()
    if (text[at] === '"') return element(quoted())
    const start = at
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++
    const bare = text.slice(start, at)
    return bare === 'NULL' ? null : element(bare)
  }
  const quoted = (): string => {
    let out = ''
    for (at++; at < text.length; at++) {
      const char = text[at]
      if (char === '"') {
        at++
        return out
      }
      if (char === '\\') at++
      out += text[at] ?? ''
    }
    throw malformed()
  }
  if (text[0] !== '{') throw malformed()
  const value = list()
  if (at !== text.length) throw malformed()
  return value
}

function malformed(): PoisonRecordError {
  return new PoisonRecordError(
    'core/array-text',
    'an array value is not a plain list (custom bounds, or malformed text)',
    {
      fix: 'Carry the column as text.',
    },
  )
}
