import { type Arena, PackedRows } from '../../../../core/packed-rows.ts'
import { CellArena, viewOf } from '../bson/cell-arena.ts'

/** Where packers put rows: cells and the arena that they point into, which grows. */
export class PackTarget extends CellArena {
  rows: PackedRows

  /** `bytes`, `rows` and `cells`: what there is room for at first. */
  constructor(bytes = 64 * 1024, rows = 256, cells = 4096) {
    super(bytes)
    this.rows = new PackedRows(this.arena, rows, cells)
  }

  /** Everything so far. What comes next is probably as large. */
  take(): PackedRows {
    const { rows } = this
    const spare = Math.max(4096, Math.ceil(this.used * 1.125))
    this.arena = Buffer.allocUnsafeSlow(spare) as Arena
    this.view = viewOf(this.arena)
    this.used = 0
    this.rows = new PackedRows(this.arena, Math.max(16, rows.rowCount), Math.max(64, rows.cellCount))
    return rows
  }

  protected override grow(needed: number): void {
    super.grow(needed)
    this.rows.arena = this.arena
  }
}
