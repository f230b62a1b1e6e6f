import { textToValue, UNCHANGED, type Value } from './canonical.ts'
import { describeType } from './column-type.ts'
import { PoisonRecordError } from './error.ts'
import { CellState, type PackedRows } from './packed-rows.ts'
import { tableName, type TableSchema } from './table.ts'

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

  /**
   * The cell as a JS value: null, `UNCHANGED`, or undefined when absent. Throws `PoisonRecordError` with the names of
   * table and column for a text that has no value.
   */
  value(column: number): Value {
    const state = this.state(column)
    if (state === CellState.null) return null
    if (state === CellState.unchanged) return UNCHANGED
    if (state === CellState.absent) return undefined
    const { type } = this.table.columns[column]!
    if (type.kind === 'bytes') return Uint8Array.from(this.bytes(column))
    try {
      return textToValue(type, this.#text(column))
    } catch (error) {
      throw this.#unreadable(column, error)
    }
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
    const cells = this.table.columns.map(({ name }, index) => [name, this.value(index)] as const)
    // Also for a column called `__proto__`, to which an assignment would do nothing.
    return Object.fromEntries(cells.filter(([, value]) => value !== undefined))
  }

  /** Without its cause, as what a parser says may quote the text (law L14). */
  #unreadable(column: number, error: unknown): PoisonRecordError {
    const { name, type } = this.table.columns[column]!
    const where = `a value of column "${name}" of ${tableName(this.table)}`
    if (error instanceof PoisonRecordError) {
      const { code, message, fix = 'Leave the column out.' } = error
      return new PoisonRecordError(code, `${where} cannot be read: ${message}`, { fix })
    }
    return new PoisonRecordError(
      'core/malformed-value',
      `${where} is not the canonical text of ${describeType(type)}`,
      {
        fix: 'This is a bug of the source connector; please report it.',
      },
    )
  }

  #text(column: number): string {
    const cell = (this.#first + column) * 2
    const offset = this.#rows.cells[cell]!
    return this.#rows.arena.utf8Slice(offset, offset + this.#rows.cells[cell + 1]!)
  }
}
