/**
 * Change events to packed rows, and their transactions. Pure: bytes in, rows out.
 *
 * Events of a transaction carry the same `lsid` and `txnNumber` and stand together (a large one may have several cluster
 * times, and others may share one of them: manual, "Change Events"), but nothing says which is the last one: whoever reads the replies knows when no more can come, and calls `endTransaction`. Every other event
 * is a transaction of its own.
 */
import { RecordBatch, type TransactionSpan } from '../../../core/batch.ts'
import { PositionLostError } from '../../../core/error.ts'
import { type Arena, Op } from '../../../core/packed-rows.ts'
import type { SourcePosition } from '../../../core/position.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { documentLast } from './bson/bson.ts'
import { EventKind, type EventView } from './events.ts'
import type { FedCollection, FedTable } from './fed-table.ts'
import { PackTarget } from './packer/packer-target.ts'
import {
  ORDINAL_LIMIT,
  type Place,
  type StoredTable,
  StreamPosition,
  type Surroundings,
  versionAt,
} from './position.ts'
import { tokenText } from './reply.ts'
import type { FoundDocument } from './look-up.ts'

/** A place that moves. */
type Moving<T> = { -readonly [Key in keyof T]: T[Key] }

export class EventDecoder {
  /** What positions say besides the place, from the next commit on. */
  surroundings: Surroundings
  readonly #place: Moving<Place>
  readonly #target = new PackTarget()
  #tables: TableSchema[] = []
  #batch = 0
  #spans: TransactionSpan[] = []
  #position: SourcePosition | null = null
  // The open transaction; a single event is one for the time of its rows.
  #transaction: string | null = null
  /** A span of it was closed, so that the next one continues. */
  #begun = false
  #lookedUp = false
  #firstRow = 0
  /** Version of the current cluster time. */
  #version = 0n
  readonly #isSharded: boolean

  /** On a sharded cluster more of a time may follow behind a transaction. */
  constructor(surroundings: Surroundings, place: Place, isSharded = false) {
    this.#isSharded = isSharded
    this.surroundings = surroundings
    this.#place = { ...place }
    if (place.seconds > 0) this.#version = versionAt(place.seconds, place.counter)
  }

  /** Where the stream is. */
  get place(): Place {
    return { ...this.#place }
  }

  get hasRows(): boolean {
    return this.#target.rows.rowCount > 0 || this.#spans.length > 0
  }

  get inTransaction(): boolean {
    return this.#transaction !== null
  }

  /** Bytes that the rows since the last `take` hold. */
  get bytes(): number {
    return this.#target.used + this.#target.rows.cellCount * 8
  }

  /** True when the event belongs to the transaction that is open, perhaps at a later cluster time. */
  continues(view: EventView, bytes: Arena): boolean {
    return this.#transaction !== null && transactionOf(view, bytes) === this.#transaction
  }

  /**
   * Takes an insert, update, replace or delete. `found` is what a look-up gave for an update without a post-image. Whoever
   * calls has ended an open transaction that this is not a part of.
   */
  take(view: EventView, bytes: Arena, collection: FedCollection, found: FoundDocument | null): void {
    const transaction = view.txnAt < 0 ? null : transactionOf(view, bytes)
    // Row versions are those of a cluster time, so a span is too.
    if (this.#transaction !== null && !this.#isAt(view)) this.#closeSpan(null)
    this.#enter(view, bytes)
    if (transaction !== null && this.#transaction === null) {
      this.#transaction = transaction
      this.#begun = false
      this.#lookedUp = false
    }
    const before = this.#target.rows.rowCount
    if (transaction === null) {
      this.#firstRow = before
      this.#lookedUp = false
    }
    const fullAt = view.afterAt >= 0 ? view.afterAt : (found?.at ?? -1)
    const full = view.afterAt >= 0 ? bytes : (found?.bytes ?? bytes)
    if (view.kind === EventKind.update && view.afterAt < 0) this.#lookedUp = true
    for (const table of collection.tables) {
      if (!table.takes(view.seconds, view.counter)) continue
      this.#apply(table, view, bytes, full, fullAt)
      if (table.hasNewKeys) this.#noteKeys(table)
    }
    this.#place.rows += this.#target.rows.rowCount - before
    if (transaction === null && this.#target.rows.rowCount > before) {
      this.#transaction = SINGLE
      this.#begun = false
      this.endTransaction()
    }
  }

  /** An event that has no rows. */
  pass(view: EventView, bytes: Arena): void {
    this.#enter(view, bytes)
    this.#place.invalidated = view.kind === EventKind.invalidate
  }

  /** Nothing more of the open transaction can come. */
  endTransaction(): void {
    if (this.#transaction === null) return
    if (this.#begun || this.#target.rows.rowCount > this.#firstRow) {
      this.#place.isBehind ||= this.#transaction !== SINGLE && !this.#isSharded
      const position = new StreamPosition(this.place, this.surroundings)
      this.#closeSpan(position)
      this.#position = position
    }
    this.#transaction = null
  }

  /** The server has nothing more for us up to this token's time; with `isBehind`, and nothing of that time itself. */
  reach(token: string, seconds: number, counter: number, isBehind: boolean): void {
    const place = this.#place
    if (seconds < place.seconds || (seconds === place.seconds && counter < place.counter)) return
    if (seconds > place.seconds || counter > place.counter) {
      Object.assign(place, { seconds, counter, events: 0, rows: 0, isBehind: false, step: 0 })
      this.#version = versionAt(seconds, counter)
    }
    if (isBehind && !place.isBehind) {
      place.isBehind = true
      place.step = 0
    }
    // The reply with an invalidate event has that event's token.
    if (token === place.token) return
    place.token = token
    place.invalidated = false
  }

  get order(): string {
    return new StreamPosition(this.place, this.surroundings).order
  }

  /** The place as a position that is none of a commit; behind the one with this `order`, when there is one. */
  position(last: string | null): SourcePosition {
    if (this.order === last) this.#place.step++
    return new StreamPosition(this.place, this.surroundings)
  }

  /** All rows since the last call. */
  cut(): RecordBatch {
    if (this.#transaction !== null) this.#closeSpan(null)
    const batch = RecordBatch.ofRows('stream', this.#tables, this.#target.take(), this.#spans, this.#position)
    this.#tables = []
    this.#batch++
    this.#spans = []
    this.#position = null
    this.#firstRow = 0
    return batch
  }

  #isAt({ seconds, counter }: EventView): boolean {
    return seconds === this.#place.seconds && counter === this.#place.counter
  }

  #enter(view: EventView, bytes: Arena): void {
    const place = this.#place
    if (!this.#isAt(view)) {
      place.seconds = view.seconds
      place.counter = view.counter
      place.events = 0
      place.rows = 0
      place.isBehind = false
      place.step = 0
      this.#version = versionAt(view.seconds, view.counter)
    }
    place.events++
    // Seen before, where the stream was opened at a time and not at a token: positions rise all the same.
    place.step = place.isBehind ? place.step + 1 : 0
    place.token = tokenText(bytes, view.tokenAt)
    place.invalidated = false
  }

  #apply(table: FedTable, view: EventView, bytes: Arena, full: Arena, fullAt: number): void {
    const { packer } = table
    const target = this.#target
    const index = this.#tableIndex(table)
    switch (view.kind) {
      case EventKind.insert:
        return table.insert(target, index, packer.pack(full, fullAt, target))
      case EventKind.delete:
        if (view.beforeAt >= 0 && !table.isPlain)
          return table.difference(target, index, packer.pack(bytes, view.beforeAt, target), 0)
        this.#requireKey(table)
        return target.rows.addRow(Op.delete, index, -1, packer.packKey(bytes, view.keyAt, target))
      case EventKind.update:
      case EventKind.replace:
        break
      default:
        return
    }
    if (!table.isPlain && view.beforeAt >= 0) {
      const before = packer.pack(bytes, view.beforeAt, target)
      // Without a document it was deleted since: that event follows, but it knows only the rows that were there last.
      const after = fullAt < 0 ? 0 : packer.pack(full, fullAt, target)
      return table.difference(target, index, before, after)
    }
    this.#requireKey(table)
    // Deleted since. That event follows, but when it has a pre-image a filter may hide the row that is there now.
    if (fullAt < 0 && table.isPlain) return
    if (fullAt >= 0 && packer.pack(full, fullAt, target) > 0) {
      target.rows.addRow(Op.update, index, target.rows.cellCount - table.width, -1)
      return
    }
    // Perhaps it matched before: what is not there is deleted once more, which harms nobody.
    target.rows.addRow(Op.delete, index, -1, packer.packKey(bytes, view.keyAt, target))
  }

  #requireKey(table: FedTable): void {
    if (table.isKeyedById) return
    throw new PositionLostError(
      'mongodb/pre-image-missing',
      `an event of table ${tableName(table.schema)} does not say what was before, so its rows are not known any more`,
      {
        fix: 'The collection stored no pre-images then, or they have expired: enable them (changeStreamPreAndPostImages), let them live longer (expireAfterSeconds), and copy again: stop, remove the checkpoint of the pipeline, start.',
      },
    )
  }

  /** Text keys of several types would mix rows up, so what they have seen is kept with the table from this event on. */
  #noteKeys(table: FedTable): void {
    const { tables } = this.surroundings
    const keyClasses = table.noteKeys()
    const stored: StoredTable = { ...tables[table.name]!, keyClasses }
    this.surroundings = { ...this.surroundings, tables: { ...tables, [table.name]: stored } }
  }

  #closeSpan(position: SourcePosition | null): void {
    const endRow = this.#target.rows.rowCount
    const count = endRow - this.#firstRow
    if (count === 0 && position === null) return
    const { seconds, counter, events, rows } = this.#place
    this.#spans.push({
      id: `${seconds}.${counter}${this.#transaction === SINGLE && events > 1 ? `.${events}` : ''}`,
      firstRow: this.#firstRow,
      endRow,
      begins: !this.#begun,
      position,
      commitTimeMs: seconds * 1000,
      version: this.#version,
      ordinalLimit: ORDINAL_LIMIT,
      firstOrdinal: rows - count,
      ...(this.#lookedUp ? { lookedUp: true } : {}),
    })
    this.#begun = true
    this.#firstRow = endRow
  }

  #tableIndex(table: FedTable): number {
    if (table.batch !== this.#batch) {
      table.batch = this.#batch
      table.index = this.#tables.push(table.schema) - 1
    }
    return table.index
  }
}

/** Stands for the transaction of an event that has none. */
const SINGLE = ''

/** The session and the number in it: what makes events one transaction. */
function transactionOf(view: EventView, bytes: Arena): string {
  const { lsidAt, txnAt } = view
  if (txnAt < 0) return SINGLE
  const session = lsidAt < 0 ? '' : bytes.latin1Slice(lsidAt, documentLast(bytes, lsidAt, bytes.length))
  return `${session}${bytes.latin1Slice(txnAt, txnAt + 8)}`
}
