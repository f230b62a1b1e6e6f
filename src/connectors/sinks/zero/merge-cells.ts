/** What becomes of a stored row when an update leaves cells out, and whether two rows are the same. Pure. */
import { InternalError } from '../../../core/error.ts'
import { CellReader, NULL, UNCHANGED, VALUE } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'
import type { Slot } from './table-version.ts'

const before = new CellReader()
const after = new CellReader()
const scratch = new RecordWriter()

/**
 * The cells `bytes[start, end)` with every unchanged one taken from the stored row `old`. Where `old` ends before the
 * slot, its `missing` counts. The result is the caller's own.
 */
export function mergeCells(
  old: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  slots: readonly (Pick<Slot, 'missing'> | null)[],
): Uint8Array {
  const out = scratch
  out.clear()
  before.reset(old)
  after.reset(bytes, start, end)
  // Neighbours that have the same origin are copied together.
  let runStart = start
  for (let slot = 0; after.next(); slot++) {
    const had = before.next()
    if (after.state !== UNCHANGED) continue
    out.copy(bytes, runStart, after.cellStart)
    runStart = after.end
    if (!had) out.cell(slots[slot]?.missing ?? null)
    else if (before.state === UNCHANGED)
      throw new InternalError('zero/partial-row', 'a stored row is not whole')
    else out.copy(old, before.cellStart, before.end)
  }
  out.copy(bytes, runStart, end)
  // A copy out of the pool of small buffers, which is cheaper than memory of its own.
  return Buffer.from(out.bytes.subarray(0, out.at))
}

/**
 * True when two complete rows show the same: cells of dropped columns do not count, and a row that ends early has what
 * `missing` says.
 */
export function sameCells(
  a: Uint8Array,
  b: Uint8Array,
  slots: readonly (Pick<Slot, 'missing'> | null)[],
): boolean {
  if (a.length === b.length && Buffer.compare(a, b) === 0) return true
  before.reset(a)
  after.reset(b)
  for (const slot of slots) {
    const hasA = before.next()
    const hasB = after.next()
    if (slot === null) continue
    if (hasA && hasB) {
      if (!sameRange(a, before.cellStart, before.end, b, after.cellStart, after.end)) return false
    } else if (hasA || hasB) {
      if (!isText(hasA ? before : after, slot.missing)) return false
    }
  }
  return true
}

function isText(cell: CellReader, text: string | null): boolean {
  if (text === null) return cell.state === NULL
  const bytes = Buffer.from(text)
  return cell.state === VALUE && sameRange(cell.bytes, cell.start, cell.end, bytes, 0, bytes.length)
}

function sameRange(
  a: Uint8Array,
  startA: number,
  endA: number,
  b: Uint8Array,
  startB: number,
  endB: number,
): boolean {
  const length = endA - startA
  if (length !== endB - startB) return false
  for (let i = 0; i < length; i++) if (a[startA + i] !== b[startB + i]) return false
  return true
}
