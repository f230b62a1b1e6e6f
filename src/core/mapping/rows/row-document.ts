import { type ColumnType, describeType } from '../../column-type.ts'
import { PoisonRecordError } from '../../error.ts'
import { CellState, type PackedRows } from '../../packed-rows.ts'
import { tableName, type TableSchema } from '../../table.ts'
import { cellValue } from './rows-value.ts'
import type { DocumentValue, LazyDocument, ObjectValue } from '../value.ts'

/** The canonical text of a present cell; bytes as `\x` and hex digits. */
export function cellTextAt(type: ColumnType, rows: PackedRows, cell: number): string {
  const start = rows.cells[cell * 2]!
  const end = start + rows.cells[cell * 2 + 1]!
  return type.kind === 'bytes'
    ? `\\x${rows.arena.toString('hex', start, end)}`
    : rows.arena.utf8Slice(start, end)
}

/**
 * A packed row as conditions and expressions see it; one serves many rows. A cell that the log left out is taken from
 * the old row; where there is none, reading it throws: nothing is guessed.
 */
export class RowDocument implements LazyDocument {
  readonly #table: TableSchema
  readonly #index: ReadonlyMap<string, number>
  #rows: PackedRows | null = null
  #first = -1
  #fallback = -1

  /** `names` are what rules call the columns. */
  constructor(table: TableSchema, names: readonly string[]) {
    this.#table = table
    this.#index = new Map(names.map((name, index) => [name, index]))
  }

  /** From now on this row; `fallback` is the first cell of the old image, -1 without one. */
  set(rows: PackedRows, first: number, fallback: number): this {
    this.#rows = rows
    this.#first = first
    this.#fallback = fallback
    return this
  }

  field(name: string): DocumentValue | undefined {
    const index = this.#index.get(name)
    return index === undefined ? undefined : this.#value(index)
  }

  whole(): ObjectValue {
    const fields = [...this.#index].map(([name, index]) => [name, this.#value(index)] as const)
    return { kind: 'object', value: new Map(fields) }
  }

  #value(column: number): DocumentValue {
    const rows = this.#rows!
    let first = this.#first
    let state = rows.cells[(first + column) * 2 + 1]!
    if (state < CellState.null && this.#fallback >= 0) {
      first = this.#fallback
      state = rows.cells[(first + column) * 2 + 1]!
    }
    if (state === CellState.null) return { kind: 'null' }
    if (state < CellState.null) throw oldRowMissing(this.#table, column)
    const { type, name } = this.#table.columns[column]!
    try {
      return cellValue(type, cellTextAt(type, rows, first + column))
    } catch (error) {
      // Without its cause, which may quote the text (law L14).
      const detail = error instanceof PoisonRecordError ? `: ${error.message}` : ` as ${describeType(type)}`
      throw new PoisonRecordError(
        'mapping/unreadable',
        `a value of column "${name}" of ${tableName(this.#table)} cannot be read by the mapping${detail}`,
        { fix: 'Leave the column out of conditions and expressions, or correct the value in the source.' },
      )
    }
  }
}

/** The mapping needs a cell of the old row that the log does not have. */
export function oldRowMissing(table: TableSchema, column: number): PoisonRecordError {
  return new PoisonRecordError(
    'mapping/old-row-missing',
    `a change of ${tableName(table)} does not tell the old value of column "${table.columns[column]!.name}", which the mapping needs`,
    {
      fix: 'Make the source log whole old rows of this table (its README says how) or let the mapping do without the column; then start the pipeline under another name, which copies everything: what is in the log already does not get whole.',
    },
  )
}
