/**
 * Rows as bytes: one byte arena, and per cell an (offset, length) pair into it. Decoders fill it, encoders read it,
 * nothing in between touches a value. All arrays are public because both ends are hot loops; everybody else uses
 * `RecordBatch`.
 *
 * A negative length is a state instead of a value, see `CellState`.
 */

/** What a cell is when it is not a value. `present` stands for every length >= 0. */
export const CellState = { present: 0, null: -1, unchanged: -2, absent: -3 } as const
export type CellState = (typeof CellState)[keyof typeof CellState]

/** What happened to a row. */
export const Op = { insert: 1, update: 2, delete: 3 } as const
export type Op = (typeof Op)[keyof typeof Op]

/** Buffer's own UTF-8 decoder: two to three times as fast as TextDecoder on short text. Typed here, as @types/node leaves it out. */
export type Arena = Buffer & {
  utf8Slice(start: number, end: number): string
  latin1Slice(start: number, end: number): string
}

export class PackedRows {
  arena: Arena
  /** Pairs (offset in arena, length or CellState); the cells of an image are consecutive, one per table column. */
  cells: Int32Array
  cellCount = 0
  rowCount = 0
  op: Uint8Array
  /** Index into the tables of the batch. */
  tableOf: Uint16Array
  /** First cell of the new image; -1 for a delete. */
  newImage: Int32Array
  /** First cell of the old image; -1 when the log carries none. */
  oldImage: Int32Array

  constructor(arena: Buffer, rows: number, cells: number) {
    this.arena = arena as Arena
    this.cells = new Int32Array(cells * 2)
    this.op = new Uint8Array(rows)
    this.tableOf = new Uint16Array(rows)
    this.newImage = new Int32Array(rows)
    this.oldImage = new Int32Array(rows)
  }

  /** Appends a row whose images start at these cells (-1: none). */
  addRow(op: Op, table: number, newImage: number, oldImage: number): void {
    const row = this.rowCount
    if (row === this.op.length) this.#growRows()
    this.op[row] = op
    this.tableOf[row] = table
    this.newImage[row] = newImage
    this.oldImage[row] = oldImage
    this.rowCount = row + 1
  }

  /** Makes room for `count` more cells. */
  reserveCells(count: number): void {
    const needed = (this.cellCount + count) * 2
    if (needed <= this.cells.length) return
    const grown = new Int32Array(Math.max(needed, this.cells.length * 2))
    grown.set(this.cells)
    this.cells = grown
  }

  /** Memory that the rows hold, in bytes. */
  get byteSize(): number {
    return this.arena.length + this.cells.byteLength + this.op.length * 11
  }

  #growRows(): void {
    const size = Math.max(16, this.op.length * 2)
    this.op = grow(this.op, new Uint8Array(size))
    this.tableOf = grow(this.tableOf, new Uint16Array(size))
    this.newImage = grow(this.newImage, new Int32Array(size))
    this.oldImage = grow(this.oldImage, new Int32Array(size))
  }
}

function grow<T extends Uint8Array | Uint16Array | Int32Array>(from: T, to: T): T {
  to.set(from)
  return to
}
