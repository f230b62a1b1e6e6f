import { CommandError } from './errors.ts'
import type { LogEntry } from './log.ts'
import { eventToken } from './token.ts'
import { doc, Doc, type Value } from './value.ts'

/** Room for the token and the number of a fragment. */
const HEAD = 1024

/** The fragments of an event that is too large for one document: each takes whole fields, the small ones first. */
export function splitEvent(event: Doc, entry: LogEntry, version: 1 | 2, limit: number): readonly Doc[] {
  const fields = [...event.fields].filter(([name]) => name !== '_id')
  const ordered = fields.toSorted(([, left], [, right]) => left.bytes.length - right.bytes.length)
  const groups: [string, Value][][] = [[]]
  let size = HEAD
  for (const [name, value] of ordered) {
    const length = name.length + 2 + value.bytes.length
    if (HEAD + length > limit)
      throw new CommandError(
        10334,
        `Splitting change event failed: the field ${name} does not fit into one fragment`,
        ['NonResumableChangeStreamError'],
      )
    if (size + length > limit) {
      groups.push([])
      size = HEAD
    }
    groups.at(-1)!.push([name, value])
    size += length
  }
  const fromInvalidate = false
  return groups.map((group, index) =>
    Doc.of([
      ['_id', eventToken(entry, version, entry.kind, fromInvalidate, index)],
      ['splitEvent', doc({ fragment: index + 1, of: groups.length })],
      ...group,
    ]),
  )
}
