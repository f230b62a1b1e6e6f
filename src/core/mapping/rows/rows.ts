/**
 * Rows of a source's tables as rows of mapped tables, packed to packed: a cell that is only renamed, moved or left out
 * is pointed at anew, and its bytes stay where they are. Only casts and computed columns write bytes, behind those of
 * the batch.
 */
import { describeType } from '../../column-type.ts'
import { PoisonRecordError } from '../../error.ts'
import { type Arena, CellState, Op, PackedRows } from '../../packed-rows.ts'
import { tableName } from '../../table.ts'
import { cellTextAt, oldRowMissing, RowDocument } from './row-document.ts'
import { cellWriter } from './rows-value.ts'
import type { RowPlan } from './rows-plan.ts'

/** A plan at work. */
export class RowMapping {
  readonly plan: RowPlan
  readonly #document: RowDocument
  readonly #from: Int32Array
  /** Every cell is one of the source, in its order: images are taken as they are. */
  readonly #isSame: boolean
  readonly #checks: boolean
  /** Of computed columns. */
  readonly #writers: readonly ReturnType<typeof cellWriter>[]

  constructor(plan: RowPlan) {
    this.plan = plan
    this.#document = new RowDocument(plan.source, plan.names)
    this.#from = Int32Array.from(plan.cells, (cell) =>
      cell.kind === 'column' && cell.cast === null ? cell.from : -1,
    )
    this.#isSame =
      this.#from.length === plan.source.columns.length && this.#from.every((from, index) => from === index)
    this.#checks = plan.required.includes(true)
    this.#writers = plan.target.columns.map(({ type }) => cellWriter(type))
  }

  /** True when rows pass as they are, under another name at most. */
  get isSame(): boolean {
    return this.#isSame && !this.#checks && this.plan.filter === null
  }

  /** Appends what becomes of a row to `out`, as of table number `table` there; at most one row. */
  map(rows: PackedRows, row: number, out: RowsOut, table: number): void {
    const after = rows.newImage[row]!
    const before = rows.oldImage[row]!
    switch (rows.op[row]) {
      case Op.insert:
        this.insert(rows, after, out, table)
        return
      case Op.delete:
        if (this.#passes(rows, before, -1))
          out.rows.addRow(Op.delete, table, -1, this.#oldImage(rows, before, out))
        return
      default:
        this.#update(rows, after, before, out, table)
    }
  }

  /** The same for a row that is there now, as reading a table finds it. */
  insert(rows: PackedRows, image: number, out: RowsOut, table: number): void {
    if (this.#passes(rows, image, -1))
      out.rows.addRow(Op.insert, table, this.#image(rows, image, -1, out), -1)
  }

  /** Out of the filter is a delete, into it an insert. */
  #update(rows: PackedRows, after: number, before: number, out: RowsOut, table: number): void {
    const isIn = this.#passes(rows, after, before)
    const was = this.plan.filter === null || this.#passedBefore(rows, after, before)
    if (!isIn && !was) return
    if (isIn && !was) {
      const image = this.#image(rows, after, before, out)
      this.#requireWhole(out.rows, image)
      out.rows.addRow(Op.insert, table, image, -1)
      return
    }
    const old = before >= 0 ? this.#oldImage(rows, before, out) : -1
    if (isIn) out.rows.addRow(Op.update, table, this.#image(rows, after, before, out), old)
    else
      out.rows.addRow(
        Op.delete,
        table,
        -1,
        old >= 0 ? old : this.#oldImage(rows, this.#keyOnly(rows, after, out), out, out.rows),
      )
  }

  #passes(rows: PackedRows, first: number, fallback: number): boolean {
    const { filter } = this.plan
    return filter === null || filter.predicate.test(this.#document.set(rows, first, fallback))
  }

  /** Without an old row the key is as it was, and nothing else is known. */
  #passedBefore(rows: PackedRows, after: number, before: number): boolean {
    const { filter, source } = this.plan
    if (before < 0) {
      for (const column of filter!.reads)
        if (!source.key.includes(column)) throw oldRowMissing(source, column)
      return this.#passes(rows, after, -1)
    }
    return this.#passes(rows, before, -1)
  }

  /** The key of a row as its old image, in `out`; its arena is that of the batch. */
  #keyOnly(rows: PackedRows, first: number, { rows: out }: RowsOut): number {
    const count = this.plan.source.columns.length
    out.reserveCells(count)
    const image = out.cellCount
    out.cellCount = image + count
    for (let column = 0; column < count; column++) {
      const isKey = this.plan.source.key.includes(column)
      out.cells[(image + column) * 2] = isKey ? rows.cells[(first + column) * 2]! : 0
      out.cells[(image + column) * 2 + 1] = isKey ? rows.cells[(first + column) * 2 + 1]! : CellState.absent
    }
    return image
  }

  /** An old row as far as it is known; its key always is. */
  #oldImage(rows: PackedRows, first: number, out: RowsOut, from: PackedRows = rows): number {
    const image = this.#image(from, first, -1, out, true)
    for (const column of this.plan.target.key) {
      if (out.rows.cells[(image + column) * 2 + 1]! >= CellState.null) continue
      const cell = this.plan.cells[column]!
      throw oldRowMissing(this.plan.source, cell.kind === 'column' ? cell.from : cell.reads[0]!)
    }
    return image
  }

  /** Appends the cells of the target for an image of the source and returns the number of the first. */
  #image(rows: PackedRows, first: number, fallback: number, out: RowsOut, isOld = false): number {
    const from = this.#from
    const to = out.rows
    to.reserveCells(from.length)
    const image = to.cellCount
    to.cellCount = image + from.length
    const source = rows.cells
    const cells = to.cells
    for (let column = 0, cell = image * 2; column < from.length; column++, cell += 2) {
      const at = from[column]!
      if (at >= 0) {
        cells[cell] = source[(first + at) * 2]!
        cells[cell + 1] = source[(first + at) * 2 + 1]!
      } else this.#write(rows, first, fallback, out, column, cell, isOld)
    }
    if (fallback >= 0 || this.#checks) this.#settle(rows, fallback, to, image, isOld)
    return image
  }

  #write(
    rows: PackedRows,
    first: number,
    fallback: number,
    out: RowsOut,
    column: number,
    cell: number,
    isOld: boolean,
  ): void {
    const plan = this.plan.cells[column]!
    const { cells } = out.rows
    cells[cell] = 0
    if (plan.kind === 'column') {
      let state = rows.cells[(first + plan.from) * 2 + 1]!
      const at = state < CellState.null && fallback >= 0 ? fallback : first
      state = rows.cells[(at + plan.from) * 2 + 1]!
      if (state < 0) cells[cell + 1] = state
      else out.append(cell, this.#cast(column, this.#textAt(rows, at, plan.from)), this.#isBytes(column))
      return
    }
    const missing = this.#missing(rows, first, plan.reads)
    // Computed from what did not change: not changed either.
    if (missing > 0 && (isOld || (fallback < 0 && missing === plan.reads.length))) {
      cells[cell + 1] = isOld ? CellState.absent : CellState.unchanged
      return
    }
    const value = plan.expression.evaluate(this.#document.set(rows, first, fallback))
    if (value === undefined || value.kind === 'null') {
      cells[cell + 1] = CellState.null
      return
    }
    const { type, name } = this.plan.target.columns[column]!
    const text = this.#writers[column]!(value)
    if (text === null)
      throw this.#misfit(name, `a computed ${value.kind} is no value of ${describeType(type)}`)
    out.append(cell, text, type.kind === 'bytes')
  }

  /** How many of the cells an image does not tell. */
  #missing(rows: PackedRows, first: number, reads: readonly number[]): number {
    let count = 0
    for (const column of reads) if (rows.cells[(first + column) * 2 + 1]! < CellState.null) count++
    return count
  }

  #cast(column: number, text: string): string {
    const plan = this.plan.cells[column]!
    if (plan.kind !== 'column') return text
    const converted = plan.cast!(text)
    if (converted !== null) return converted
    const { type, name } = this.plan.target.columns[column]!
    const from = this.plan.source.columns[plan.from]!
    throw this.#misfit(
      name,
      `a value of "${from.name}" (${describeType(from.type)}) does not fit into ${describeType(type)}`,
    )
  }

  #textAt(rows: PackedRows, first: number, column: number): string {
    return cellTextAt(this.plan.source.columns[column]!.type, rows, first + column)
  }

  #isBytes(column: number): boolean {
    return this.plan.target.columns[column]!.type.kind === 'bytes'
  }

  /** Fills cells that the log left out from the old row, and refuses NULL where the mapping has none. */
  #settle(rows: PackedRows, fallback: number, to: PackedRows, image: number, isOld: boolean): void {
    const { cells, required, target } = this.plan
    for (let column = 0; column < cells.length; column++) {
      const at = (image + column) * 2
      const state = to.cells[at + 1]!
      const plan = cells[column]!
      if (state === CellState.unchanged && fallback >= 0 && plan.kind === 'column' && plan.cast === null) {
        const from = (fallback + plan.from) * 2
        if (rows.cells[from + 1]! < CellState.null) continue
        to.cells[at] = rows.cells[from]!
        to.cells[at + 1] = rows.cells[from + 1]!
      }
      if (to.cells[at + 1]! !== CellState.null || isOld || required[column] !== true) continue
      throw this.#misfit(target.columns[column]!.name, 'it is NULL, which the column must not be')
    }
  }

  /** A row that is new to the target has to be whole. */
  #requireWhole(rows: PackedRows, image: number): void {
    for (const [column, cell] of this.plan.cells.entries()) {
      if (rows.cells[(image + column) * 2 + 1]! >= CellState.null) continue
      throw oldRowMissing(this.plan.source, cell.kind === 'column' ? cell.from : cell.reads[0]!)
    }
  }

  #misfit(column: string, reason: string): PoisonRecordError {
    return new PoisonRecordError(
      'mapping/misfit',
      `a row of ${tableName(this.plan.source)} cannot become one of ${tableName(this.plan.target)}: column "${column}": ${reason}`,
      { fix: 'Give the column a type that holds every value of the source, or correct the value there.' },
    )
  }
}

/** Rows that are being made from those of a batch: its bytes, and behind them the bytes that are written. */
export class RowsOut {
  readonly rows: PackedRows
  #used: number
  #isOwn = false

  /** `cells` is how many there will probably be. */
  constructor(from: PackedRows, cells: number = from.cellCount) {
    this.rows = new PackedRows(from.arena, from.rowCount, cells)
    this.#used = from.arena.length
  }

  /** Writes the bytes of a cell. */
  append(cell: number, text: string, isBytes: boolean): void {
    const length = isBytes ? (text.length - 2) / 2 : Buffer.byteLength(text)
    this.#reserve(length)
    if (isBytes) this.rows.arena.write(text.slice(2), this.#used, 'hex')
    else this.rows.arena.write(text, this.#used, 'utf8')
    this.rows.cells[cell] = this.#used
    this.rows.cells[cell + 1] = length
    this.#used += length
  }

  /** What was made; nothing is appended any more. */
  take(): PackedRows {
    if (this.#isOwn) this.rows.arena = this.rows.arena.subarray(0, this.#used) as Arena
    return this.rows
  }

  /** The batch's own arena is shared with others, so it is copied before the first byte. */
  #reserve(bytes: number): void {
    const { arena } = this.rows
    if (this.#isOwn && this.#used + bytes <= arena.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#used + bytes, Math.ceil(arena.length * 1.5), 1024))
    arena.copy(grown, 0, 0, this.#used)
    this.rows.arena = grown as Arena
    this.#isOwn = true
  }
}
