import type { Arena } from '../../../core/packed-rows.ts'
import type { RecordWriter } from './record-writer.ts'

/**
 * Writes one value: canonical bytes `arena[offset, offset + length)` become a cell of JSON text at `out`. Throws
 * `CellRefused` when Zero cannot keep the value; whatever was written then is taken back by the caller.
 */
export type CellWriter = (arena: Arena, offset: number, length: number, out: RecordWriter) => void

/** Why a cell is not written: the slug of the error's code. */
export type RefusalReason =
  | 'value-unsafe'
  | 'not-finite'
  | 'malformed'
  | 'array-bounds'
  | 'null-key'
  | 'absent-cell'
  | 'unchanged-cell'

/** Thrown by cell writers, which know neither table nor column; `encoder.ts` adds them. Never holds the value. */
export class CellRefused extends Error {
  readonly reason: RefusalReason
  readonly fix: string

  constructor(reason: RefusalReason, message: string, fix: string) {
    super(message)
    this.name = 'CellRefused'
    this.reason = reason
    this.fix = fix
  }
}

export const AS_TEXT =
  "Name the column in the sink's option `textColumns`, which carries it as text, and copy the table again."

export function malformed(what: string): CellRefused {
  return new CellRefused(
    'malformed',
    `is not the canonical text of ${what}`,
    'This is a bug of the source connector; please report it with the type of the column.',
  )
}
