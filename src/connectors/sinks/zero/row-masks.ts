/** Which row filters a packed row passes. Pure. */
import { InternalError } from '../../../core/error.ts'
import type { Json } from '../../../core/position.ts'
import type { RowFilter } from '../../../core/row-filter.ts'
import { CellReader, UNCHANGED, VALUE } from './record-reader.ts'
import type { Slot, TableVersion, VersionColumn } from './table-version.ts'
import { zqlType } from './types.ts'

/** Filters of a table have numbers below this: a mask is one number. */
export const FILTERS_MAX = 31

/** A distinct row filter of a table. */
export interface TableFilter {
  /** Bit of the mask, 0 to `FILTERS_MAX` - 1. */
  readonly number: number
  /** For the columns of `columnsOf`. */
  readonly filter: RowFilter
}

/** A column of a table version, with its place in a row. */
export interface PlacedColumn {
  readonly column: VersionColumn
  /** Null: it is in the key. */
  readonly slot: number | null
  /** Index in the key, or the slot behind the key's columns. */
  readonly index: number
}

/** Key columns in key order, then the others; dropped ones are left out. */
export function columnsOf(version: TableVersion): readonly PlacedColumn[] {
  const { key, slots } = version
  const placed: PlacedColumn[] = key.map((column, index) => ({ column, slot: null, index }))
  for (const [slot, column] of slots.entries()) {
    if (column !== null) placed.push({ column, slot, index: key.length + slot })
  }
  return placed
}

/**
 * Evaluates the filters of a table version on rows: bit n of the mask is set when the row passes filter number n.
 * Filters see the values that Zero sees: times as numbers, big integers as text where they are.
 */
export class RowMasks {
  readonly #filters: readonly TableFilter[]
  readonly #row: PackedRow

  constructor(version: TableVersion, filters: readonly TableFilter[]) {
    this.#filters = filters
    this.#row = new PackedRow(
      version,
      filters.flatMap(({ filter }) => filter.columns),
    )
  }

  /** `cells` must be complete: unchanged ones are filled in before. */
  of(key: Uint8Array, cells: Uint8Array): number {
    this.#row.load(key, cells)
    let mask = 0
    for (const { number, filter } of this.#filters) if (filter.matches(this.#row.value)) mask |= 1 << number
    return mask
  }
}

/** The wanted cells of one row after the other; a value is decoded when a filter asks for it, once. */
class PackedRow {
  readonly #keyLength: number
  readonly #wanted: readonly Wanted[]
  readonly #byColumn: Wanted[] = []
  readonly #values: (Json | undefined)[] = []
  readonly #cell = new CellReader()

  constructor(version: TableVersion, columns: readonly number[]) {
    const placed = columnsOf(version)
    this.#keyLength = version.key.length
    this.#wanted = [...new Set(columns)]
      .map((column) => new Wanted(column, placed[column]!, version.slots))
      .toSorted((a, b) => a.index - b.index)
    for (const wanted of this.#wanted) this.#byColumn[wanted.column] = wanted
  }

  /** For `RowFilter.matches`. */
  readonly value = (column: number): Json => {
    const known = this.#values[column]
    if (known !== undefined) return known
    return (this.#values[column] = this.#byColumn[column]!.decode())
  }

  load(key: Uint8Array, cells: Uint8Array): void {
    this.#values.fill(undefined)
    let next = this.#scan(key, 0, 0)
    next = this.#scan(cells, this.#keyLength, next)
    // The row is older than these columns.
    for (; next < this.#wanted.length; next++) this.#wanted[next]!.bytes = null
  }

  #scan(bytes: Uint8Array, firstIndex: number, firstWanted: number): number {
    const cell = this.#cell
    cell.reset(bytes)
    let next = firstWanted
    for (let index = firstIndex; next < this.#wanted.length && cell.next(); index++) {
      const wanted = this.#wanted[next]!
      if (wanted.index !== index) continue
      wanted.take(cell)
      next++
    }
    return next
  }
}

class Wanted {
  readonly column: number
  readonly index: number
  /** Null when the row ends before this cell. */
  bytes: Uint8Array | null = null
  readonly #missing: Json
  readonly #holdsText: boolean
  #start = 0
  #end = 0
  #isNull = false

  constructor(
    column: number,
    { index, slot, column: { dataType, encoding } }: PlacedColumn,
    slots: TableVersion['slots'],
  ) {
    this.column = column
    this.index = index
    this.#holdsText = zqlType({ dataType, encoding }) === 'json' || encoding === 'float'
    const missing = slot === null ? null : (slots[slot] as Slot).missing
    this.#missing = missing === null ? null : this.#parse(missing)
  }

  take(cell: CellReader): void {
    this.bytes = cell.bytes
    this.#start = cell.start
    this.#end = cell.end
    this.#isNull = cell.state !== VALUE
    if (cell.state === UNCHANGED)
      throw new InternalError('zero/partial-row', 'a row that is filtered is not whole')
  }

  decode(): Json {
    if (this.bytes === null) return this.#missing
    if (this.#isNull) return null
    const { buffer, byteOffset, byteLength } = this.bytes
    return this.#parse(Buffer.from(buffer, byteOffset, byteLength).toString('utf8', this.#start, this.#end))
  }

  #parse(text: string): Json {
    const value = JSON.parse(text) as Json
    // Documents travel as text in a JSON string, and so do some floats; the JSON null is NULL to Zero.
    return this.#holdsText && typeof value === 'string' ? (JSON.parse(value) as Json) : value
  }
}
