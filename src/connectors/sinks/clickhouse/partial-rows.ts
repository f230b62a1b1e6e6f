import { PoisonRecordError } from '../../../core/error.ts'
import type { PackedRows } from '../../../core/packed-rows.ts'
import { tableName } from '../../../core/table.ts'
import { literalSql, qualified, quoteName } from './ddl.ts'
import type { TableEncoder } from './encoder.ts'
import { PendingRows, RowLayout, type StoredRow } from './pending-rows.ts'
import { RowWriter } from './row-writer.ts'
import type { Session } from './session.ts'
import type { TableBuffer, Writer } from './writer.ts'

/** Keys that are looked up together; fewer when their rows are large. */
const WINDOW_MAX = 512
/** Length of their SQL: servers read 256 KiB by default. */
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
 * Completes partial rows, since an insert replaces the whole row. The missing cells come from the newest row of the
 * key: among those that wait for their insert, else from the server as the bytes it stores. Never NULL or a default
 * in place of a value that is not known (law L7).
 */
export class PartialRows {
  readonly #session: Session
  readonly #writer: Writer
  readonly #maxBytes: number
  readonly #scratch = new RowWriter(64)
  #window = 64

  constructor(session: Session, writer: Writer, maxBytes: number) {
    this.#session = session
    this.#writer = writer
    this.#maxBytes = maxBytes
  }

  /** Writes the row into the buffer. Returns how many rows were written: none when a newer one is stored already. */
  async write(partial: PartialRow, buffer: TableBuffer, signal: AbortSignal): Promise<number> {
    const { rows, row, high, low } = partial
    const { encoder, out } = buffer
    if (!encoder.isMissing(rows, row)) return encoder.encodeFilled(rows, row, high, low, out, null)
    const key = this.#key(partial, encoder, encoder.baseImage(rows, row))
    const missing = new Set<number>()
    encoder.missing(rows, row, missing)
    if (!usable(this.#find(buffer, key), missing)) await this.#load(partial, buffer, signal)
    const stored = this.#find(buffer, key)
    if (stored !== undefined && !stored.deleted) {
      // Newer than this row: a replay. The row itself was written before that, and its key may be another row's by now.
      if (stored.version > versionOf(partial)) return 0
      return encoder.encodeFilled(rows, row, high, low, out, stored)
    }
    if (this.#isSuperseded(partial, buffer, stored)) return 0
    throw new PoisonRecordError(
      'clickhouse/missing-base-row',
      `an update of ${tableName(encoder.schema)} leaves out unchanged values, and ClickHouse has no row with its key`,
      { fix: 'Let the source log complete rows (Postgres: REPLICA IDENTITY FULL), or copy the table again.' },
    )
  }

  /** At a replay the key may have been deleted, changed or truncated since: the row would be thrown away anyway. */
  #isSuperseded(partial: PartialRow, buffer: TableBuffer, stored: StoredRow | undefined): boolean {
    const { rows, row } = partial
    const { encoder, target } = buffer
    const version = versionOf(partial)
    if (version <= target.truncated) return true
    if (stored === undefined || stored.version < version) return false
    const image = rows.newImage[row]!
    if (encoder.baseImage(rows, row) === image) return true
    const renamed = this.#find(buffer, this.#key(partial, encoder, image))
    return renamed !== undefined && renamed.version >= version
  }

  #find(buffer: TableBuffer, key: string): StoredRow | undefined {
    buffer.pending ??= new PendingRows(buffer.encoder)
    return buffer.pending.find(key, buffer.out.bytes, buffer.out.at) ?? buffer.stored.get(key)
  }

  /** The key of an image as a string of its RowBinary bytes. */
  #key({ rows, row }: PartialRow, encoder: TableEncoder, image: number): string {
    const scratch = this.#scratch
    scratch.at = 0
    encoder.writeKey(rows, row, image, scratch)
    return scratch.bytes.latin1Slice(0, scratch.at)
  }

  /** Reads what the server has for this row and the next partial ones of the table. */
  async #load(partial: PartialRow, buffer: TableBuffer, signal: AbortSignal): Promise<void> {
    // What is in flight is neither in the buffer nor, for certain, on the server.
    await this.#writer.finish(signal)
    for (;;) {
      const { keys, missing } = this.#wanted(partial, buffer)
      const found = await this.#read(buffer, keys, missing)
      if (found !== null) {
        for (const [key, row] of found) buffer.stored.set(key, row)
        const lost = new Map([...keys].filter(([key]) => !found.has(key)))
        if (lost.size > 0) await this.#readGone(buffer, lost)
        this.#window = Math.min(WINDOW_MAX, this.#window * 2)
        return
      }
      this.#window = Math.max(1, this.#window >> 2)
    }
  }

  /** SQL of the keys to look up, by key, and the columns that any of their rows misses. */
  #wanted(partial: PartialRow, buffer: TableBuffer): { keys: Map<string, string>; missing: Set<number> } {
    const { rows } = partial
    const { encoder } = buffer
    const keys = new Map<string, string>()
    const missing = new Set<number>()
    const table = rows.tableOf[partial.row]
    let length = 0
    for (let row = partial.row; row < rows.rowCount; row++) {
      if (rows.tableOf[row] !== table || !encoder.isMissing(rows, row)) continue
      const base = encoder.baseImage(rows, row)
      for (const image of new Set([base, rows.newImage[row]!])) {
        const key = this.#key({ ...partial, row }, encoder, image)
        const sql = keySql(encoder, rows, row, image)
        if (!keys.has(key)) length += sql.length
        keys.set(key, sql)
      }
      encoder.missing(rows, row, missing)
      if (keys.size >= this.#window || length > KEYS_SQL_MAX) break
    }
    return { keys, missing }
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
    const sql = `SELECT ${names} ${from} WHERE ${keyFilter(encoder, keys.values())} FORMAT RowBinary`
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
  async #readGone(buffer: TableBuffer, keys: ReadonlyMap<string, string>): Promise<void> {
    const { encoder, target } = buffer
    const columns = encoder.key.map((index) => encoder.columns[index]!)
    const names = columns.map((column) => quoteName(column.name)).join(', ')
    const from = `FROM ${qualified(target.place, target.name)} WHERE ${keyFilter(encoder, keys.values())}`
    const sql = `SELECT ${names}, max(${quoteName(target.place.meta.version)}) ${from} GROUP BY ${names} FORMAT RowBinary`
    const bytes = await this.#session.read(sql, `read versions of ${target.label}`, Number.POSITIVE_INFINITY)
    const layout = new RowLayout(columns, columns.keys().toArray())
    for (let at = 0; at < bytes!.length;) {
      const { cells, end } = layout.cells(bytes!, at)
      buffer.stored.set(layout.keyOf(cells), {
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

function usable(stored: StoredRow | undefined, missing: ReadonlySet<number>): boolean {
  if (stored === undefined) return false
  return stored.deleted || [...missing].every((index) => stored.start[index]! >= 0)
}

function keyFilter(encoder: TableEncoder, keys: Iterable<string>): string {
  const names = encoder.key.map((index) => quoteName(encoder.columns[index]!.name))
  return `${names.length === 1 ? names[0]! : `(${names.join(', ')})`} IN (${[...keys].join(', ')})`
}

/** SQL of the key of an image. */
function keySql(encoder: TableEncoder, rows: PackedRows, row: number, image: number): string {
  const parts = encoder.key.map((index) => {
    const { source, type } = encoder.columns[index]!
    const cell = encoder.keyCell(rows, image, index, rows.oldImage[row]!)
    const start = rows.cells[cell]!
    const end = start + rows.cells[cell + 1]!
    const isBytes = source.type.kind === 'bytes'
    const text = isBytes ? `\\x${rows.arena.toString('hex', start, end)}` : rows.arena.utf8Slice(start, end)
    return literalSql(source.type, text, type)
  })
  return parts.length === 1 ? parts[0]! : `(${parts.join(', ')})`
}
