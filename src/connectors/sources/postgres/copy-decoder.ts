/**
 * COPY text rows to packed rows. The text format: columns separated by tabs, `\N` is NULL, a backslash escapes
 * (PostgreSQL documentation, COPY, "Text Format"). One CopyData message is one row. Unescaped text is that of the
 * type's output function, the same as in the stream, so both paths share types and conversions. Pure.
 */
import { RecordBatch } from '../../../core/batch.ts'
import { InternalError } from '../../../core/error.ts'
import { type Arena, CellState, Op, PackedRows } from '../../../core/packed-rows.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { convertCell } from './cells.ts'
import { snapshotVersion } from './position.ts'
import { Conversion } from './types.ts'
import { type FrameConsumer, Stop } from './frames.ts'

const TAB = 0x09
const NEWLINE = 0x0a
const BACKSLASH = 0x5c

export class CopyDecoder implements FrameConsumer {
  readonly #schema: TableSchema
  readonly #conversions: Uint8Array | null
  readonly #version: bigint
  #rows = new PackedRows(Buffer.alloc(0), 1024, 8192)
  /** Rows taken so far. */
  rowsTaken = 0

  /** `lsn` is that of the snapshot which is copied. */
  constructor(schema: TableSchema, conversions: Uint8Array | null, lsn: bigint) {
    this.#schema = schema
    this.#conversions = conversions
    this.#version = snapshotVersion(lsn)
  }

  get hasRows(): boolean {
    return this.#rows.rowCount > 0
  }

  copyData(arena: Arena, start: number, end: number): Stop {
    const rows = this.#rows
    const count = this.#schema.columns.length
    rows.reserveCells(count)
    const first = rows.cellCount
    rows.cellCount = first + count
    const cells = rows.cells
    const conversions = this.#conversions
    // The line ends with a newline.
    const last = arena[end - 1] === NEWLINE ? end - 1 : end
    let at = start
    for (let column = 0, cell = first * 2; column < count; column++, cell += 2) {
      const from = at
      let escaped = false
      for (; at < last; at++) {
        const byte = arena[at]!
        if (byte === TAB) break
        if (byte === BACKSLASH) {
          escaped = true
          at++
        }
      }
      if (escaped && at === from + 2 && arena[from + 1] === 0x4e) {
        cells[cell] = 0
        cells[cell + 1] = CellState.null
      } else {
        const length = escaped ? unescape(arena, from, at) : at - from
        cells[cell] = from
        cells[cell + 1] =
          conversions === null || conversions[column] === Conversion.none
            ? length
            : convertCell(conversions[column] as Conversion, arena, from, length)
      }
      at++
    }
    // After the last column `at` stands behind the newline; otherwise the line has more or fewer columns.
    if (at !== last + 1) {
      throw new InternalError(
        'postgres/copy-width',
        `a copied row of ${tableName(this.#schema)} has not ${count} columns`,
      )
    }
    rows.addRow(Op.insert, 0, first, -1)
    return Stop.no
  }

  take(arena: Arena): RecordBatch {
    const rows = this.#rows
    rows.arena = arena
    this.#rows = new PackedRows(arena, rows.rowCount, rows.cellCount)
    this.rowsTaken += rows.rowCount
    return RecordBatch.ofRows(
      'snapshot',
      [this.#schema],
      rows,
      [
        {
          id: '',
          firstRow: 0,
          endRow: rows.rowCount,
          begins: false,
          position: null,
          commitTimeMs: null,
          version: this.#version,
          ordinalLimit: 0,
          firstOrdinal: 0,
        },
      ],
      null,
    )
  }

  attend(): Promise<void> {
    return Promise.resolve()
  }
}

/** Resolves escapes in place and returns the new length. COPY writes \b \f \n \r \t \v and `\` before anything else. */
function unescape(arena: Arena, from: number, end: number): number {
  let to = from
  for (let at = from; at < end; at++) {
    let byte = arena[at]!
    if (byte === BACKSLASH) {
      byte = arena[++at]!
      if (byte === 0x6e) byte = 0x0a
      else if (byte === 0x74) byte = 0x09
      else if (byte === 0x72) byte = 0x0d
      else if (byte === 0x62) byte = 0x08
      else if (byte === 0x66) byte = 0x0c
      else if (byte === 0x76) byte = 0x0b
    }
    arena[to++] = byte
  }
  return to - from
}
