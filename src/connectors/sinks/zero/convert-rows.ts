import { convertCell } from './convert-cell.ts'
import { CellReader, NULL, VALUE } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'
import type { ColumnEncoding } from './types.ts'

/** Where a column's cells come from. */
interface Origin {
  /** Place in a row of the old version: the key's columns, then the slots. -1: the old version has no such column. */
  readonly place: number
  readonly from: ColumnEncoding
  readonly to: ColumnEncoding
  /** For rows without it. */
  readonly missing: string | null
}

export interface ConvertedRow {
  readonly key: Uint8Array
  readonly cells: Uint8Array
}

/** Writes stored rows of one version as rows of another one of the same table. Columns are told by their ids. Pure. */
export class RowConverter {
  readonly #key: readonly Origin[]
  readonly #slots: readonly (Origin | null)[]
  /** Per place of the old version: what a row has that ends before. */
  readonly #missing: readonly (string | null)[]
  readonly #keyLength: number
  readonly #cell = new CellReader()
  /** Per place: source bytes and range; start -1 for NULL. */
  readonly #start: Int32Array
  readonly #end: Int32Array
  readonly #out = new RecordWriter(4096)

  constructor(from: TableVersion, to: TableVersion) {
    const old: (VersionColumn | null)[] = [...from.key, ...from.slots]
    const origin = (column: VersionColumn, missing: string | null): Origin => {
      const place = old.findIndex((candidate) => candidate?.id === column.id)
      return { place, from: old[place]?.encoding ?? column.encoding, to: column.encoding, missing }
    }
    this.#key = to.key.map((column) => origin(column, null))
    this.#slots = to.slots.map((slot) => slot && origin(slot, slot.missing))
    this.#missing = [...from.key.map(() => null), ...from.slots.map((slot) => slot?.missing ?? null)]
    this.#keyLength = from.key.length
    this.#start = new Int32Array(old.length)
    this.#end = new Int32Array(old.length)
  }

  /**
   * The row under the new version; the caller's own bytes. Null when a value has no form there, or a key column is NULL:
   * only the source tells such a row.
   */
  convert(key: Uint8Array, cells: Uint8Array): ConvertedRow | null {
    this.#read(key, 0, this.#keyLength)
    this.#read(cells, this.#keyLength, this.#start.length)
    const newKey = this.#write(this.#key, key, cells, false)
    if (newKey === null) return null
    const newCells = this.#write(this.#slots, key, cells, true)
    return newCells && { key: newKey, cells: newCells }
  }

  #read(bytes: Uint8Array, first: number, end: number): void {
    const cell = this.#cell
    cell.reset(bytes)
    for (let place = first; place < end; place++) {
      if (!cell.next()) this.#start[place] = ENDED
      else if (cell.state === VALUE) {
        this.#start[place] = cell.start
        this.#end[place] = cell.end
      } else this.#start[place] = IS_NULL
    }
  }

  #write(
    origins: readonly (Origin | null)[],
    key: Uint8Array,
    cells: Uint8Array,
    nullable: boolean,
  ): Uint8Array | null {
    const out = this.#out
    out.clear()
    for (const origin of origins) {
      const json = origin === null ? null : this.#json(origin, key, cells)
      if (json === undefined || (json === null && !nullable)) return null
      out.reserve(8)
      if (json === null) out.bytes[out.at++] = NULL
      else {
        out.varint(json.length + VALUE)
        out.copy(json, 0, json.length)
      }
    }
    return out.take()
  }

  /** Null for NULL, undefined for a value that cannot be converted. */
  #json(origin: Origin, key: Uint8Array, cells: Uint8Array): Uint8Array | null | undefined {
    const { place } = origin
    if (place < 0) return origin.missing === null ? null : Buffer.from(origin.missing)
    const start = this.#start[place]!
    if (start === IS_NULL) return null
    let json: Uint8Array
    if (start === ENDED) {
      const missing = this.#missing[place]!
      if (missing === null) return null
      json = Buffer.from(missing)
    } else json = (place < this.#keyLength ? key : cells).subarray(start, this.#end[place])
    return convertCell(origin.from, origin.to, json) ?? undefined
  }
}

const IS_NULL = -1
const ENDED = -2
