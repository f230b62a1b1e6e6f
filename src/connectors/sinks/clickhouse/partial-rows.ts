import { PoisonRecordError } from '../../../core/error.ts'
import type { PackedRows } from '../../../core/packed-rows.ts'
import { tableName } from '../../../core/table.ts'
import { DeferredRows } from './deferred-rows.ts'
import { qualified, quoteName } from './ddl.ts'
import type { TableEncoder } from './encoder.ts'
import { keyFilter, keySql } from './key-sql.ts'
import { PendingRows, RowLayout, type StoredRow } from './pending-rows.ts'
import { RowWriter } from './row-writer.ts'
import type { Session } from './session.ts'
import type { TargetColumn } from './target-column.ts'
import type { TableBuffer } from './writer.ts'

/** Rows that are looked up together; fewer when they are large. */
const WINDOW_MAX = 8192
/** Length of their keys as SQL: servers read 256 KiB by default. */
const KEYS_SQL_MAX = 100_000

/** One row whose log record leaves out cells that did not change. */
export interface PartialRow {
  readonly rows: PackedRows
  readonly row: number
  /** Version of the row, in halves. */
  readonly high: number
  readonly low: number
}

/**
 * Completes partial rows, since an insert replaces the whole row. The missing cells come from the row of the key
 * before: one that waits for its insert, else the one on the server, as the bytes that it stores. Rows of the second
 * kind wait until their table is inserted and are then looked up together. They build on the server's rows and on each
 * other only, so they are inserted before the complete rows that came meanwhile. Never NULL or a default in place of a
 * value that is not known (law L7).
 */
export class PartialRows {
  readonly #session: Session
  readonly #maxBytes: number
  readonly #scratch = new RowWriter(64)
  #window = 64

  constructor(session: Session, maxBytes: number) {
    this.#session = session
    this.#maxBytes = maxBytes
  }

  /** Writes the row into the buffer or defers it. Adds to the buffer what it takes. */
  take(partial: PartialRow, buffer: TableBuffer): { readonly bytes: number; readonly rows: number } {
    const { rows, row, high, low } = partial
    const { encoder, out } = buffer
    const before = out.at
    if (!encoder.isMissing(rows, row)) {
      const written = encoder.encodeFilled(rows, row, high, low, out, null)
      return { bytes: out.at - before, rows: written }
    }
    const base = this.#key(partial, encoder, encoder.baseImage(rows, row))
    buffer.pending ??= new PendingRows(encoder)
    const waiting = buffer.pending.find(base, out.bytes, out.at)
    const deferred = buffer.deferred?.newest(base)
    if (waiting !== null && (deferred === undefined || waiting.version >= deferred)) {
      const written = this.#write(partial, buffer, out, waiting, () => undefined)
      return { bytes: out.at - before, rows: written }
    }
    buffer.deferred ??= new DeferredRows(encoder)
    const keys = [base, this.#key(partial, encoder, rows.newImage[row]!)]
    return { bytes: buffer.deferred.add(rows, row, partial, keys), rows: 1 }
  }

  /**
   * Completes what was deferred, into a place of its own. What is in flight must have arrived. False when there is
   * enough for an insert before all are done: insert it and call again. A call that failed goes on where it was.
   */
  async complete(buffer: TableBuffer): Promise<boolean> {
    const { deferred, encoder } = buffer
    if (deferred === null) return true
    const layout = new RowLayout(encoder.columns, encoder.key)
    const { completed } = deferred
    while (deferred.next < deferred.count) {
      if (deferred.out.at >= this.#maxBytes) return false
      const { end, stored } = await this.#load(deferred, buffer)
      const find = (key: string): StoredRow | undefined => completed.get(key) ?? stored.get(key)
      for (; deferred.next < end; deferred.next++) {
        const { next: row, out } = deferred
        if (out.at >= this.#maxBytes) return false
        const partial = { rows: deferred.rows, row, ...deferred.version(row) }
        const base = this.#key(partial, encoder, encoder.baseImage(partial.rows, row))
        const written = this.#write(partial, buffer, out, find(base), find)
        if (written === 0) continue
        const version = versionOf(partial)
        if (written === 2) completed.set(base, { ...NOTHING, deleted: true, version })
        const { cells } = layout.cells(out.bytes, encoder.lastRow)
        completed.set(layout.keyOf(cells), { ...cells, deleted: false, version })
      }
    }
    return true
  }

  /** Returns how many rows were written: none when a newer one is stored already. */
  #write(
    partial: PartialRow,
    buffer: TableBuffer,
    out: RowWriter,
    base: StoredRow | undefined,
    find: (key: string) => StoredRow | undefined,
  ): number {
    const { rows, row, high, low } = partial
    const { encoder } = buffer
    if (base !== undefined && !base.deleted) {
      // Newer than this row: a replay. The row itself was written before that, and its key may be another row's by now.
      if (base.version > versionOf(partial)) return 0
      return encoder.encodeFilled(rows, row, high, low, out, base)
    }
    if (this.#isSuperseded(partial, buffer, base, find)) return 0
    throw new PoisonRecordError(
      'clickhouse/missing-base-row',
      `an update of ${tableName(encoder.schema)} leaves out unchanged values, and ClickHouse has no row with its key`,
      { fix: 'Let the source log complete rows (Postgres: REPLICA IDENTITY FULL), or copy the table again.' },
    )
  }

  /** At a replay the key may have been deleted, changed or truncated since: the row would be thrown away anyway. */
  #isSuperseded(
    partial: PartialRow,
    { encoder, target }: TableBuffer,
    base: StoredRow | undefined,
    find: (key: string) => StoredRow | undefined,
  ): boolean {
    const { rows, row } = partial
    const version = versionOf(partial)
    if (version <= target.truncated) return true
    if (base === undefined || base.version < version) return false
    const image = rows.newImage[row]!
    if (encoder.baseImage(rows, row) === image) return true
    const renamed = find(this.#key(partial, encoder, image))
    return renamed !== undefined && renamed.version >= version
  }

  /** The key of an image as a string of its RowBinary bytes. */
  #key({ rows, row }: Pick<PartialRow, 'rows' | 'row'>, encoder: TableEncoder, image: number): string {
    const scratch = this.#scratch
    scratch.at = 0
    encoder.writeKey(rows, row, image, scratch)
    return scratch.bytes.latin1Slice(0, scratch.at)
  }

  /** Reads what the server has for the next deferred rows, those before `end`. */
  async #load(
    deferred: DeferredRows,
    buffer: TableBuffer,
  ): Promise<{ end: number; stored: Map<string, StoredRow> }> {
    for (;;) {
      const { keys, missing, end } = this.#wanted(deferred, buffer.encoder)
      const stored = await this.#read(buffer, keys, missing)
      if (stored !== null) {
        const lost = new Map([...keys].filter(([key]) => !stored.has(key)))
        if (lost.size > 0) await this.#readGone(buffer, lost, stored)
        this.#window = Math.min(WINDOW_MAX, this.#window * 2)
        return { end, stored }
      }
      this.#window = Math.max(1, this.#window >> 2)
    }
  }

  /** SQL of the keys to look up, by key, and the columns that any of their rows misses. */
  #wanted(
    deferred: DeferredRows,
    encoder: TableEncoder,
  ): { keys: Map<string, string>; missing: Set<number>; end: number } {
    const { rows } = deferred
    const key = keyColumns(encoder)
    const keys = new Map<string, string>()
    const missing = new Set<number>()
    let length = 0
    let row = deferred.next
    const limit = Math.min(deferred.count, row + this.#window)
    for (; row < limit && length < KEYS_SQL_MAX; row++) {
      for (const image of new Set([encoder.baseImage(rows, row), rows.newImage[row]!])) {
        const bytes = this.#key({ rows, row }, encoder, image)
        if (keys.has(bytes)) continue
        const cells = encoder.key.map((index) => encoder.keyCell(rows, image, index, rows.oldImage[row]!))
        const sql = keySql(key, rows, cells)
        length += sql.length
        keys.set(bytes, sql)
      }
      encoder.missing(rows, row, missing)
    }
    return { keys, missing, end: row }
  }

  /** The live rows, or null when they are too many bytes to take at once. */
  async #read(
    buffer: TableBuffer,
    keys: ReadonlyMap<string, string>,
    missing: ReadonlySet<number>,
  ): Promise<Map<string, StoredRow> | null> {
    const { encoder, target } = buffer
    const key = encoder.key
    const selected = [...key, ...[...missing].filter((index) => !key.includes(index))]
    const columns = selected.map((index) => encoder.columns[index]!)
    const names = [...columns.map((column) => column.name), target.place.meta.version]
      .map(quoteName)
      .join(', ')
    const from = `FROM ${qualified(target.place, target.name)} FINAL`
    // The large columns are read only where the key is found.
    const sql = `SELECT ${names} ${from} PREWHERE ${keyFilter(keyColumns(encoder), keys.values())} FORMAT RowBinary`
    const limit = this.#window === 1 ? Number.POSITIVE_INFINITY : this.#maxBytes
    const bytes = await this.#session.read(sql, `read rows of ${target.label}`, limit)
    if (bytes === null) return null
    const layout = new RowLayout(
      columns,
      key.map((_, index) => index),
    )
    const found = new Map<string, StoredRow>()
    for (let at = 0; at < bytes.length;) {
      const { cells, end } = layout.cells(bytes, at)
      const start = new Int32Array(encoder.columns.length).fill(-1)
      const ends = new Int32Array(encoder.columns.length)
      for (const [position, index] of selected.entries()) {
        start[index] = cells.start[position]!
        ends[index] = cells.end[position]!
      }
      found.set(layout.keyOf(cells), {
        bytes,
        start,
        end: ends,
        deleted: false,
        version: bytes.readBigUInt64LE(end),
      })
      at = end + 8
    }
    return found
  }

  /** For keys without a live row: the version of their tombstone, if there is one. */
  async #readGone(
    buffer: TableBuffer,
    keys: ReadonlyMap<string, string>,
    into: Map<string, StoredRow>,
  ): Promise<void> {
    const { encoder, target } = buffer
    const columns = keyColumns(encoder)
    const names = columns.map((column) => quoteName(column.name)).join(', ')
    const from = `FROM ${qualified(target.place, target.name)} WHERE ${keyFilter(columns, keys.values())}`
    const sql = `SELECT ${names}, max(${quoteName(target.place.meta.version)}) ${from} GROUP BY ${names} FORMAT RowBinary`
    const bytes = await this.#session.read(sql, `read versions of ${target.label}`, Number.POSITIVE_INFINITY)
    const layout = new RowLayout(columns, columns.keys().toArray())
    for (let at = 0; at < bytes!.length;) {
      const { cells, end } = layout.cells(bytes!, at)
      into.set(layout.keyOf(cells), {
        ...cells,
        deleted: true,
        version: bytes!.readBigUInt64LE(end),
      })
      at = end + 8
    }
  }
}

function versionOf({ high, low }: PartialRow): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}

/** A tombstone has no cells that anybody may use. */
const NOTHING = { bytes: Buffer.alloc(0), start: new Int32Array(0), end: new Int32Array(0) }

function keyColumns({ key, columns }: TableEncoder): readonly TargetColumn[] {
  return key.map((index) => columns[index]!)
}
