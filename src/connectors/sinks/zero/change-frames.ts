/** Messages of rows for consumers of the gateway, made from the packed cells. Pure. */
import type { FrameBuffer } from './frame-buffer.ts'
import { shownName } from './gateway-request.ts'
import type { TableView } from './publications.ts'
import { CellReader, NULL, type RecordReader, VALUE } from './record-reader.ts'
import { RecordOp, type TableVersion, type VersionColumn } from './table-version.ts'
import { zqlType } from './types.ts'

interface Name {
  /** `"name":`, with a comma before all but the first of the key. */
  readonly text: Buffer
  /** The cell holds JSON text in a JSON string: it is taken out. */
  readonly holdsJson: boolean
}

const NULL_TEXT = Buffer.from('null')
const cell = new CellReader()

/** Compiled for one table version and what is seen of it. */
export class ChangeFrames {
  readonly #view: TableView
  readonly #heads: Readonly<Record<'insert' | 'update' | 'delete', Buffer>>
  readonly #key: readonly Name[]
  /** By slot; null where nothing is seen. */
  readonly #slots: readonly (Name | null)[]
  /** JSON texts of slots that a stored row may end before. */
  readonly #missing: readonly Buffer[]

  constructor(version: TableVersion, view: TableView) {
    this.#view = view
    const table = JSON.stringify(shownName(version))
    const head = (type: string) => Buffer.from(`{"type":"${type}","table":${table},"key":{`)
    this.#heads = { insert: head('insert'), update: head('update'), delete: head('delete') }
    this.#key = version.key.map((column, index) => named(column, index === 0 ? '' : ','))
    this.#slots = version.slots.map((slot, index) =>
      slot !== null && view.slots.includes(index) ? named(slot, ',') : null,
    )
    this.#missing = version.slots.map((slot) => {
      if (slot === null || slot.missing === null) return NULL_TEXT
      const text = Buffer.from(slot.missing)
      return holdsJson(slot) ? takenOut(text, 0, text.length) : text
    })
  }

  get filtered(): boolean {
    return this.#view.bits !== null
  }

  /** True when a row that passed these filters is seen. */
  shows(mask: number): boolean {
    return this.#view.bits === null || (mask & this.#view.bits) !== 0
  }

  /**
   * Whether something of the change is seen, given the row filters that the row passed before and after. Where a row
   * begins or ceases to be seen, it comes or goes.
   */
  visible(op: RecordOp, before: number, after: number): RecordOp | null {
    const had = this.shows(before)
    if (this.shows(after)) return had || !this.filtered ? op : RecordOp.insert
    return had ? RecordOp.delete : null
  }

  /** One message. */
  record(record: RecordReader, op: RecordOp, out: FrameBuffer): void {
    const { bytes, keyStart, keyEnd, oldKeyStart, oldKeyEnd, cellsStart, cellsEnd } = record
    const moved = record.op === RecordOp.move && op !== RecordOp.insert
    const [from, to] = moved ? [oldKeyStart, oldKeyEnd] : [keyStart, keyEnd]
    if (op === RecordOp.delete) {
      this.#begin('delete', bytes, from, to, out)
      out.text('}')
    } else {
      this.#begin(op === RecordOp.insert ? 'insert' : 'update', bytes, from, to, out)
      out.text(',"row":{')
      this.#keyCells(bytes, keyStart, keyEnd, out)
      this.#cells(bytes, cellsStart, cellsEnd, !record.partial, out)
      out.text('}}')
    }
    out.end()
  }

  /** An insert of a row as it is stored. */
  stored(key: Uint8Array, cells: Uint8Array, out: FrameBuffer): void {
    this.#begin('insert', key, 0, key.length, out)
    out.text(',"row":{')
    this.#keyCells(key, 0, key.length, out)
    this.#cells(cells, 0, cells.length, true, out)
    out.text('}}')
    out.end()
  }

  #begin(
    type: 'insert' | 'update' | 'delete',
    bytes: Uint8Array,
    from: number,
    to: number,
    out: FrameBuffer,
  ): void {
    out.bytes(this.#heads[type])
    this.#keyCells(bytes, from, to, out)
    out.text('}')
  }

  #keyCells(bytes: Uint8Array, start: number, end: number, out: FrameBuffer): void {
    cell.reset(bytes, start, end)
    for (let index = 0; cell.next(); index++) write(this.#key[index]!, out)
  }

  /** Unchanged cells are left out: the consumer keeps what it has (law L7). */
  #cells(bytes: Uint8Array, start: number, end: number, whole: boolean, out: FrameBuffer): void {
    cell.reset(bytes, start, end)
    let slot = 0
    for (; cell.next(); slot++) {
      const name = this.#slots[slot]
      if (name !== undefined && name !== null) write(name, out)
    }
    if (!whole) return
    for (; slot < this.#slots.length; slot++) {
      const name = this.#slots[slot]!
      if (name === null) continue
      out.bytes(name.text)
      out.bytes(this.#missing[slot]!)
    }
  }
}

/** The cell where the cursor is. */
function write(name: Name, out: FrameBuffer): void {
  if (cell.state === NULL) {
    out.bytes(name.text)
    out.bytes(NULL_TEXT)
  } else if (cell.state === VALUE) {
    out.bytes(name.text)
    if (name.holdsJson) out.bytes(takenOut(cell.bytes, cell.start, cell.end))
    else out.bytes(cell.bytes, cell.start, cell.end)
  }
}

function named(column: VersionColumn, before: string): Name {
  return { text: Buffer.from(`${before}${JSON.stringify(column.name)}:`), holdsJson: holdsJson(column) }
}

function holdsJson(column: VersionColumn): boolean {
  return zqlType(column) === 'json' || column.encoding === 'float'
}

/** The text of a document as it was, so that no number loses a digit; on one line, as a message has to be. */
export function takenOut(bytes: Uint8Array, start: number, end: number): Buffer {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[start] !== QUOTE) return text.subarray(start, end)
  const document = JSON.parse(text.toString('utf8', start, end)) as string
  return Buffer.from(document.replace(/[\r\n]/g, ' '))
}

const QUOTE = 0x22
