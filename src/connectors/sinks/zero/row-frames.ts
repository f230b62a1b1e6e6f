/** Messages of rows, made from the packed cells without reading them. Pure. */
import type { FrameBuffer } from './frame-buffer.ts'
import { relation } from './messages.ts'
import type { ZeroName } from './names.ts'
import type { TableView } from './publications.ts'
import { CellReader, NULL, type RecordReader, VALUE } from './record-reader.ts'
import { RecordOp, type TableVersion } from './table-version.ts'

const NULL_TEXT = Buffer.from('null')
const cell = new CellReader()

/** What happens to a row for one subscriber; null when it does not see it. */
export type VisibleOp = RecordOp | null

/** Compiled for one table version and what a subscriber sees of it. */
export class RowFrames {
  readonly #view: TableView
  readonly #insert: Buffer
  readonly #update: Buffer
  readonly #move: Buffer
  readonly #delete: Buffer
  /** `"name":` of the key columns, with a comma before all but the first. */
  readonly #keyNames: readonly Buffer[]
  /** `,"name":` by slot; null where the subscriber sees nothing. */
  readonly #slotNames: readonly (Buffer | null)[]
  /** JSON texts of slots that a stored row may end before. */
  readonly #missing: readonly Buffer[]

  constructor(version: TableVersion, view: TableView, name: ZeroName) {
    this.#view = view
    const seen = new Set(view.slots)
    const of = JSON.stringify(relation(name, version.key))
    const head = (tag: string, after: string): Buffer =>
      Buffer.from(`["data",{"tag":"${tag}","relation":${of},${after}{`)
    this.#insert = head('insert', '"new":')
    this.#update = head('update', '"key":null,"new":')
    this.#move = head('update', '"key":')
    this.#delete = head('delete', '"key":')
    this.#keyNames = version.key.map((column, index) =>
      Buffer.from(`${index === 0 ? '' : ','}${JSON.stringify(column.name)}:`),
    )
    this.#slotNames = version.slots.map((slot, index) =>
      slot === null || !seen.has(index) ? null : Buffer.from(`,${JSON.stringify(slot.name)}:`),
    )
    this.#missing = version.slots.map((slot) =>
      slot === null || slot.missing === null ? NULL_TEXT : Buffer.from(slot.missing),
    )
  }

  /** What a record is to this subscriber, given the row filters that the row passed before and after. */
  visible(op: RecordOp, before: number, after: number): VisibleOp {
    const { bits } = this.#view
    if (bits === null) return op
    const had = (before & bits) !== 0
    const has = (after & bits) !== 0
    if (has) return had ? op : RecordOp.insert
    return had ? RecordOp.delete : null
  }

  get filtered(): boolean {
    return this.#view.bits !== null
  }

  /** True when a row that passed these filters is seen. */
  shows(mask: number): boolean {
    return this.#view.bits === null || (mask & this.#view.bits) !== 0
  }

  /** One message. Where a row stops being seen, it is deleted by the key that it had. */
  record(record: RecordReader, op: RecordOp, out: FrameBuffer): void {
    const { bytes } = record
    switch (op) {
      case RecordOp.insert:
        return this.#row(this.#insert, record, out)
      case RecordOp.update:
        return this.#row(this.#update, record, out)
      case RecordOp.move:
        out.bytes(this.#move)
        this.#key(bytes, record.oldKeyStart, record.oldKeyEnd, out)
        out.text('},"new":{')
        return this.#cells(record, out)
      case RecordOp.delete:
        out.bytes(this.#delete)
        if (record.op === RecordOp.move) this.#key(bytes, record.oldKeyStart, record.oldKeyEnd, out)
        else this.#key(bytes, record.keyStart, record.keyEnd, out)
        out.text('}}]')
        return out.end()
    }
  }

  /** An insert of a row as it is stored. */
  stored(key: Uint8Array, cells: Uint8Array, out: FrameBuffer): void {
    out.bytes(this.#insert)
    this.#key(key, 0, key.length, out)
    this.#others(cells, 0, cells.length, true, out)
    out.text('}}]')
    out.end()
  }

  #row(head: Buffer, record: RecordReader, out: FrameBuffer): void {
    out.bytes(head)
    this.#cells(record, out)
  }

  #cells(record: RecordReader, out: FrameBuffer): void {
    const { bytes, keyStart, keyEnd, cellsStart, cellsEnd } = record
    this.#key(bytes, keyStart, keyEnd, out)
    this.#others(bytes, cellsStart, cellsEnd, !record.partial, out)
    out.text('}}]')
    out.end()
  }

  #key(bytes: Uint8Array, start: number, end: number, out: FrameBuffer): void {
    cell.reset(bytes, start, end)
    for (let index = 0; cell.next(); index++) {
      out.bytes(this.#keyNames[index]!)
      out.bytes(bytes, cell.start, cell.end)
    }
  }

  /** Unchanged cells are left out: the replica keeps what it has. */
  #others(bytes: Uint8Array, start: number, end: number, whole: boolean, out: FrameBuffer): void {
    const names = this.#slotNames
    cell.reset(bytes, start, end)
    let slot = 0
    for (; cell.next(); slot++) {
      const name = names[slot]
      if (name === null || name === undefined) continue
      if (cell.state === VALUE) {
        out.bytes(name)
        out.bytes(bytes, cell.start, cell.end)
      } else if (cell.state === NULL) {
        out.bytes(name)
        out.bytes(NULL_TEXT)
      }
    }
    if (!whole) return
    for (; slot < names.length; slot++) {
      const name = names[slot]
      if (name === null || name === undefined) continue
      out.bytes(name)
      out.bytes(this.#missing[slot]!)
    }
  }
}
