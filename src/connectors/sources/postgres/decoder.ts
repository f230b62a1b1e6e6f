/**
 * pgoutput messages (protocol version 1, text) to packed rows. Pure: bytes in, rows out. Message formats:
 * PostgreSQL documentation, section "Logical Replication Message Formats".
 *
 * Cells stay where they are in the arena; only offsets are noted, and the few types whose text is not canonical are
 * converted in place. Nothing here makes an object per row.
 */
import { RecordBatch, type TransactionSpan } from '../../../core/batch.ts'
import { InternalError } from '../../../core/error.ts'
import { type Arena, CellState, Op, PackedRows } from '../../../core/packed-rows.ts'
import type { SourcePosition } from '../../../core/position.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { convertCell, uint32 } from './cells.ts'
import { ORDINAL_LIMIT, streamPosition, versionAt, type Resume } from './position.ts'
import { type Attention, type DecodedTable, readRelation, type RelationMessage } from './relation.ts'
import { Conversion } from './types.ts'
import { Stop } from './frames.ts'

interface Known {
  /** Null: rows of this table are not ours. */
  readonly table: DecodedTable | null
  /** Set while the rows of the open transaction are in the table's copy already (`skipBelow`). */
  skip: boolean
  /** Index into the tables of batch number `batch`. */
  index: number
  batch: number
}

const POSTGRES_EPOCH_MS = 946_684_800_000

export class PgoutputDecoder {
  readonly #system: string
  /** Commits that start before this LSN were handled before a restart. */
  readonly #startHigh: number
  readonly #startLow: number
  #resumeTables: Resume['tables']
  readonly #known = new Map<number, Known>()
  /** Those that may still have rows to skip. */
  #skipping: Known[] = []
  #lastOid = -1
  #last: Known | null = null
  #rows = new PackedRows(EMPTY, 1024, 8192)
  #tables: TableSchema[] = []
  #batch = 0
  #spans: TransactionSpan[] = []
  #position: SourcePosition | null = null
  // The open transaction.
  #inTransaction = false
  #skipTransaction = false
  /** A span of it was closed, so that the next one continues. */
  #begun = false
  /** Its beginning has to be told although no row came yet: a schema change is next. */
  #announce = false
  #xid = 0
  #finalHigh = 0
  #finalLow = 0
  #commitTimeMs = 0
  #firstRow = 0
  #ordinal = 0
  /** End of the tuple read last. */
  #at = 0
  /** Columns of the row at hand that are NULL against the schema. */
  #nulls: number[] = []
  attention: Attention | null = null
  /** End LSN of the last commit that was decoded, also of one without rows of ours. */
  lastCommit = 0n

  /** `start`: commits before are skipped. `tables` goes into every position. */
  constructor(system: string, start: bigint, tables: Resume['tables']) {
    this.#system = system
    this.#startHigh = Number(start >> 32n)
    this.#startLow = Number(start & 0xffffffffn)
    this.#resumeTables = tables
  }

  get hasRows(): boolean {
    return this.#rows.rowCount > 0 || this.#spans.length > 0 || this.#announce
  }

  get inTransaction(): boolean {
    return this.#inTransaction
  }

  /** What positions say about the tables from the next commit on. */
  set resumeTables(tables: Resume['tables']) {
    this.#resumeTables = tables
  }

  /** Defines how rows of a relation are decoded from now on; null: not at all. */
  setTable(relation: Pick<RelationMessage, 'oid'>, table: DecodedTable | null): void {
    const known: Known = { table, skip: false, index: 0, batch: -1 }
    this.#skipping = this.#skipping.filter((other) => other !== this.#known.get(relation.oid))
    this.#known.set(relation.oid, known)
    this.#lastOid = -1
    if (table !== null && table.skipBelow > 0n) {
      this.#skipping.push(known)
      known.skip = table.skipBelow > this.finalLsn
    }
  }

  /** One message, `arena[at..end)`. Throws on anything that it does not understand (law L5). */
  message(arena: Arena, at: number, end: number): Stop {
    switch (arena[at]) {
      case 0x49: // Insert
        return this.#insert(arena, at)
      case 0x55: // Update
        return this.#update(arena, at)
      case 0x44: // Delete
        return this.#delete(arena, at)
      case 0x42: // Begin
        this.#begin(arena, at)
        return Stop.no
      case 0x43: // Commit
        this.#commit(arena, at)
        return Stop.no
      case 0x52: // Relation
        return this.#relation(arena, at, end)
      case 0x54: // Truncate
        return this.#truncate(arena, at)
      case 0x59: // Type: its name, we ask the catalog instead.
      case 0x4f: // Origin
      case 0x4d: // Logical decoding message
        return Stop.no
      default:
        throw new InternalError(
          'postgres/unknown-message',
          `the server sent a pgoutput message of unknown type 0x${arena[at]!.toString(16)}`,
          { fix: 'Nothing was skipped. Please report it with the server version.' },
        )
    }
  }

  /** All rows since the last call, whose cells lie in `arena`. */
  take(arena: Arena): RecordBatch {
    if (this.#inTransaction) this.#closeSpan(null)
    const rows = this.#rows
    rows.arena = arena
    const batch = RecordBatch.ofRows('stream', this.#tables, rows, this.#spans, this.#position)
    // The next batch is probably as large as this one.
    this.#rows = new PackedRows(EMPTY, Math.max(16, rows.rowCount), Math.max(64, rows.cellCount))
    this.#tables = []
    this.#batch++
    this.#spans = []
    this.#position = null
    this.#firstRow = 0
    return batch
  }

  #insert(arena: Arena, at: number): Stop {
    const known = this.#find(arena, at + 1)
    if (known === null) return Stop.no
    const table = known.table!
    const image = this.#tuple(arena, at + 6, table, false)
    if (this.#nulls.length > 0) return this.#nullSeen(image)
    if (table.conversions !== null) this.#convert(arena, image, table.conversions)
    this.#rows.addRow(Op.insert, this.#tableIndex(known), image, -1)
    return Stop.no
  }

  #update(arena: Arena, at: number): Stop {
    const known = this.#find(arena, at + 1)
    if (known === null) return Stop.no
    const table = known.table!
    const marker = arena[at + 5]
    let old = -1
    let next = at + 6
    if (marker !== NEW_TUPLE) {
      old = this.#tuple(arena, next, table, true)
      if (marker === KEY_TUPLE) this.#keepIdentity(old, table.identity)
      next = this.#at + 1
    }
    const image = this.#tuple(arena, next, table, false)
    if (this.#nulls.length > 0) return this.#nullSeen(old < 0 ? image : old)
    if (table.conversions !== null) {
      if (old >= 0) this.#convert(arena, old, table.conversions)
      this.#convert(arena, image, table.conversions)
    }
    if (marker === OLD_TUPLE) this.#fillUnchanged(image, old, table.identity.length)
    this.#rows.addRow(Op.update, this.#tableIndex(known), image, old)
    return Stop.no
  }

  #delete(arena: Arena, at: number): Stop {
    const known = this.#find(arena, at + 1)
    if (known === null) return Stop.no
    const table = known.table!
    const old = this.#tuple(arena, at + 6, table, true)
    if (arena[at + 5] === KEY_TUPLE) this.#keepIdentity(old, table.identity)
    if (table.conversions !== null) this.#convert(arena, old, table.conversions)
    this.#rows.addRow(Op.delete, this.#tableIndex(known), -1, old)
    return Stop.no
  }

  /** Notes the cells of the tuple at `at` and returns the number of the first. */
  #tuple(arena: Arena, at: number, table: DecodedTable, old: boolean): number {
    const rows = this.#rows
    const count = (arena[at]! << 8) | arena[at + 1]!
    if (count !== table.identity.length) {
      throw new InternalError(
        'postgres/tuple-width',
        `a row of ${tableName(table.schema)} has ${count} columns, its relation ${table.identity.length}`,
      )
    }
    at += 2
    rows.reserveCells(count)
    const first = rows.cellCount
    rows.cellCount = first + count
    const cells = rows.cells
    let cell = first * 2
    for (let column = 0; column < count; column++, cell += 2) {
      const kind = arena[at]
      if (kind === TEXT) {
        const length =
          (arena[at + 1]! << 24) | (arena[at + 2]! << 16) | (arena[at + 3]! << 8) | arena[at + 4]!
        at += 5
        cells[cell] = at
        cells[cell + 1] = length
        at += length
        continue
      }
      at++
      cells[cell] = 0
      if (kind === NULL) {
        cells[cell + 1] = CellState.null
        if (!old && table.required[column] === 1) this.#nulls.push(column)
      } else if (kind === UNCHANGED_TOAST) {
        cells[cell + 1] = CellState.unchanged
      } else {
        throw new InternalError(
          'postgres/tuple-kind',
          `a row of ${tableName(table.schema)} has a cell of unknown kind 0x${kind?.toString(16)}`,
        )
      }
    }
    this.#at = at
    return first
  }

  /** A 'K' tuple has NULL in every column outside the identity: not known, which is not null (law L7). */
  #keepIdentity(image: number, identity: Uint8Array): void {
    const cells = this.#rows.cells
    for (let column = 0; column < identity.length; column++) {
      if (identity[column] === 0) cells[(image + column) * 2 + 1] = CellState.absent
    }
  }

  #convert(arena: Arena, image: number, conversions: Uint8Array): void {
    const cells = this.#rows.cells
    for (let column = 0; column < conversions.length; column++) {
      const cell = (image + column) * 2 + 1
      const length = cells[cell]!
      if (conversions[column] === Conversion.none || length < 0) continue
      cells[cell] = convertCell(conversions[column] as Conversion, arena, cells[cell - 1]!, length)
    }
  }

  /** Takes the row back, whose first cell is `first`; the message is decoded again once the schema allows NULL. */
  #nullSeen(first: number): Stop {
    this.#rows.cellCount = first
    this.attention = { kind: 'nullable', oid: this.#lastOid, columns: this.#nulls }
    this.#nulls = []
    this.#announce = !this.#begun && this.#rows.rowCount === this.#firstRow
    return Stop.before
  }

  /** With REPLICA IDENTITY FULL the old tuple holds the values that the new one leaves out. */
  #fillUnchanged(image: number, old: number, count: number): void {
    const cells = this.#rows.cells
    for (let column = 0; column < count; column++) {
      const to = (image + column) * 2
      const from = (old + column) * 2
      if (cells[to + 1] !== CellState.unchanged || cells[from + 1]! < CellState.null) continue
      cells[to] = cells[from]!
      cells[to + 1] = cells[from + 1]!
    }
  }

  #begin(arena: Arena, at: number): void {
    this.#finalHigh = uint32(arena, at + 1)
    this.#finalLow = uint32(arena, at + 5)
    this.#commitTimeMs =
      POSTGRES_EPOCH_MS + Math.round(uint32(arena, at + 9) * 4294967.296 + uint32(arena, at + 13) / 1000)
    this.#xid = uint32(arena, at + 17)
    this.#inTransaction = true
    this.#begun = false
    this.#announce = false
    this.#firstRow = this.#rows.rowCount
    this.#ordinal = 0
    this.#skipTransaction =
      this.#finalHigh < this.#startHigh ||
      (this.#finalHigh === this.#startHigh && this.#finalLow < this.#startLow)
    if (this.#skipping.length > 0) {
      for (const known of this.#skipping) known.skip = known.table!.skipBelow > this.finalLsn
      this.#skipping = this.#skipping.filter((known) => known.skip)
    }
  }

  /** Start of the open transaction's commit record. */
  get finalLsn(): bigint {
    return (BigInt(this.#finalHigh) << 32n) | BigInt(this.#finalLow)
  }

  #commit(arena: Arena, at: number): void {
    const endHigh = uint32(arena, at + 10)
    const endLow = uint32(arena, at + 14)
    this.lastCommit = (BigInt(endHigh) << 32n) | BigInt(endLow)
    if (this.#begun || this.#rows.rowCount > this.#firstRow) {
      const position = streamPosition(endHigh, endLow, this.#system, this.#resumeTables)
      this.#closeSpan(position)
      this.#position = position
    }
    this.#inTransaction = false
  }

  /** Ends the span of the open transaction; without a position it goes on in the next batch. */
  #closeSpan(position: SourcePosition | null): void {
    const endRow = this.#rows.rowCount
    if (endRow === this.#firstRow && position === null && !this.#announce) return
    this.#announce = false
    this.#spans.push({
      id: String(this.#xid),
      firstRow: this.#firstRow,
      endRow,
      begins: !this.#begun,
      position,
      commitTimeMs: this.#commitTimeMs,
      version: versionAt(this.finalLsn),
      ordinalLimit: ORDINAL_LIMIT,
      firstOrdinal: this.#ordinal,
    })
    this.#begun = true
    this.#ordinal += endRow - this.#firstRow
    this.#firstRow = endRow
  }

  /**
   * Each one is looked at, also a repetition: the server repeats it after every DDL statement, and a column that was
   * dropped and added again looks the same as before.
   */
  #relation(arena: Arena, at: number, end: number): Stop {
    this.attention = { kind: 'relation', relation: readRelation(Buffer.from(arena.subarray(at, end))) }
    return Stop.after
  }

  #truncate(arena: Arena, at: number): Stop {
    const count = uint32(arena, at + 1)
    const tables: TableSchema[] = []
    for (let index = 0; index < count; index++) {
      const known = this.#lookUp(uint32(arena, at + 6 + index * 4))
      if (known !== null && !known.skip) tables.push(known.table!.schema)
    }
    if (tables.length === 0 || this.#skipTransaction) return Stop.no
    this.#announce = !this.#begun
    this.attention = { kind: 'truncate', tables }
    return Stop.after
  }

  /** The table of a row, null when the row is not ours to pass on. */
  #find(arena: Arena, at: number): Known | null {
    const oid = uint32(arena, at)
    if (oid !== this.#lastOid) {
      this.#last = this.#lookUp(oid)
      this.#lastOid = oid
    }
    const known = this.#last
    return known === null || known.skip || this.#skipTransaction ? null : known
  }

  #tableIndex(known: Known): number {
    if (known.batch !== this.#batch) {
      known.batch = this.#batch
      known.index = this.#tables.push(known.table!.schema) - 1
    }
    return known.index
  }

  #lookUp(oid: number): Known | null {
    const known = this.#known.get(oid)
    if (known === undefined)
      throw new InternalError(
        'postgres/unknown-relation',
        `a row refers to relation ${oid}, which was not described`,
      )
    return known.table === null ? null : known
  }
}

const EMPTY = Buffer.alloc(0)
const NEW_TUPLE = 0x4e
const KEY_TUPLE = 0x4b
const OLD_TUPLE = 0x4f
const TEXT = 0x74
const NULL = 0x6e
const UNCHANGED_TOAST = 0x75
