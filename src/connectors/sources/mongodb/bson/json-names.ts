/** Tells a field's name from one that stood before it in the same document, which is rare. */
import type { Arena } from '../../../../core/packed-rows.ts'
import { nameEnd, valueEnd } from './bson.ts'

/** Whether an element between `first` and the one at `at`, whose name ends at `end`, has the same name. */
export function stoodBefore(bytes: Arena, first: number, at: number, end: number, last: number): boolean {
  for (let index = first; index < at;) {
    const name = nameEnd(bytes, index + 1, last)
    if (name - index === end - at && bytes.compare(bytes, at + 1, end, index + 1, name) === 0) return true
    index = valueEnd(bytes, bytes[index]!, name + 1, last)
  }
  return false
}

/** The names of the elements between `first` and the one at `at`. */
export function namesBefore(bytes: Arena, first: number, at: number, last: number): Set<string> {
  const names = new Set<string>()
  for (let index = first; index < at;) {
    const name = nameEnd(bytes, index + 1, last)
    names.add(nameText(bytes, index, name))
    index = valueEnd(bytes, bytes[index]!, name + 1, last)
  }
  return names
}

/** Of the element at `at`; byte by byte, as it is only compared. */
export function nameText(bytes: Arena, at: number, end: number): string {
  return bytes.latin1Slice(at + 1, end)
}
