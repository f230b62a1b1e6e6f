import { textToValue, UNCHANGED, type Value } from './canonical.ts'
import { CellState, type PackedRows } from './packed-rows.ts'
import type { TableSchema } from './table.ts'

/**
 * One row image of a batch. A cell is decoded when it is asked for. Cells of `bytes` columns are raw bytes, all
 * others canonical text (`canonical.ts`).
 */
export class RowView {
  readonly table: TableSchema
  readonly #rows: PackedRows
  readonly #first: number

  constructor(table: TableSchema, rows: PackedRows, firstCell: number) {
    this.table = table
    this.#rows = rows
    this.#first = firstCell
  }

  /** Absent, null, unchanged or present: four different things (law L7). */
  state(column: number): CellState {
    const length = this.#rows.cells[(this.#first + column) * 2 + 1]!
    return length >= 0 ? CellState.present : (length as CellState)
  }

  /** The cell as a JS value: null, `UNCHANGED`, or undefined when absent. */
  value(column: number): Value {
    const state = this.state(column)
    if (state === CellState.null) return null
    if (state === CellState.unchanged) return UNCHANGED
    if (state === CellState.absent) return undefined
    const { type } = this.table.columns[column]!
    return type.kind === 'bytes' ? Uint8Array.from(this.bytes(column)) : textToValue(type, this.#text(column))
  }

  /** The canonical bytes of a present cell, valid as long as the batch is. */
  bytes(column: number): Uint8Array {
    const cell = (this.#first + column) * 2
    const offset = this.#rows.cells[cell]!
    return this.#rows.arena.subarray(offset, offset + this.#rows.cells[cell + 1]!)
  }

  /** The value by column name; undefined when there is no such column or the cell is absent. */
  get(name: string): Value {
    const column = this.table.columns.findIndex((candidate) => candidate.name === name)
    return column < 0 ? undefined : this.value(column)
  }

  /** A detached copy without the absent cells. */
  toObject(): Record<string, Value> {
    const out: Record<string, Value> = {}
    for (const [index, column] of this.table.columns.entries()) {
      const value = this.value(index)
      if (value !== undefined) out[column.name] = value
    }
    return out
  }

  #text(column: number): string {
    const cell = (this.#first + column) * 2
    const offset = this.#rows.cells[cell]!
    return this.#rows.arena.utf8Slice(offset, offset + this.#rows.cells[cell + 1]!)
  }
}
