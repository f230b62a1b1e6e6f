/**
 * What an update of one document changed in one table: the rows before against the rows after, by key. Compares bytes:
 * equal values have equal cells.
 */
import type { TableMapping } from '../../../../core/mapping/mapping.ts'
import { type Arena, Op, type PackedRows } from '../../../../core/packed-rows.ts'
import { duplicateKey } from './packer-errors.ts'
import type { PackTarget } from './packer-target.ts'

/** Images of one table, one after the other. */
export interface Images {
  /** First cell of the first. */
  readonly first: number
  readonly count: number
}

export interface DiffOptions {
  /** Index of the table in the batch. */
  readonly table: number
  /** Updates tell the old row. */
  readonly oldImages: boolean
}

/**
 * Appends rows to `target.rows`: deletes with their old image, then inserts and updates in the order of `after`. A row
 * whose key changed is deleted and inserted, one that did not change at all is nothing. Throws `PoisonRecordError`
 * `mongodb/duplicate-key` when two images of one side have the same key.
 */
export class ImageDiff {
  readonly #mapping: TableMapping
  readonly #key: readonly number[]
  readonly #width: number
  /** Open addressing: number of an image of `before` plus one. */
  #slots = new Int32Array(16)
  /** Of the slots in use: their number, a power of two, minus one. */
  #mask = 15
  /** By image of `before`: 1 when `after` has its key. */
  #found = new Uint8Array(8)

  constructor(mapping: TableMapping) {
    this.#mapping = mapping
    this.#key = mapping.table.key
    this.#width = mapping.table.columns.length
  }

  append({ rows }: Pick<PackTarget, 'rows'>, before: Images, after: Images, options: DiffOptions): void {
    if (before.count <= 1 && after.count <= 1) return this.#single(rows, before, after, options)
    this.#check(rows, after)
    this.#fill(rows, before)
    const width = this.#width
    const found = this.#found.fill(0, 0, before.count)
    for (let index = 0; index < after.count; index++) {
      const old = this.#find(rows, before.first, after.first + index * width)
      if (old >= 0) found[old] = 1
    }
    for (let index = 0; index < before.count; index++) {
      if (found[index] === 0) rows.addRow(Op.delete, options.table, -1, before.first + index * width)
    }
    for (let index = 0; index < after.count; index++) {
      const image = after.first + index * width
      const old = this.#find(rows, before.first, image)
      if (old < 0) rows.addRow(Op.insert, options.table, image, -1)
      else this.#update(rows, before.first + old * width, image, options)
    }
  }

  #single(rows: PackedRows, before: Images, after: Images, options: DiffOptions): void {
    if (before.count === 1 && after.count === 1 && this.#sameKey(rows, before.first, after.first)) {
      return this.#update(rows, before.first, after.first, options)
    }
    if (before.count === 1) rows.addRow(Op.delete, options.table, -1, before.first)
    if (after.count === 1) rows.addRow(Op.insert, options.table, after.first, -1)
  }

  #update(rows: PackedRows, before: number, after: number, { table, oldImages }: DiffOptions): void {
    for (let column = 0; column < this.#width; column++) {
      if (sameCell(rows, before + column, after + column)) continue
      rows.addRow(Op.update, table, after, oldImages ? before : -1)
      return
    }
  }

  /** Throws when two of the images have the same key. */
  #check(rows: PackedRows, images: Images): void {
    if (images.count > 1) this.#fill(rows, images)
  }

  #fill(rows: PackedRows, { first, count }: Images): void {
    let size = 16
    while (size < count * 2) size *= 2
    if (size > this.#slots.length) this.#slots = new Int32Array(size)
    else this.#slots.fill(0, 0, size)
    this.#mask = size - 1
    if (count > this.#found.length) this.#found = new Uint8Array(count * 2)
    const slots = this.#slots
    const mask = this.#mask
    for (let index = 0; index < count; index++) {
      const image = first + index * this.#width
      let slot = this.#hash(rows, image) & mask
      while (slots[slot] !== 0) {
        if (this.#sameKey(rows, first + (slots[slot]! - 1) * this.#width, image))
          throw duplicateKey(this.#mapping)
        slot = (slot + 1) & mask
      }
      slots[slot] = index + 1
    }
  }

  /** Number of the image, of those that were filled in last, with the key of `image`; -1 for none. */
  #find(rows: PackedRows, first: number, image: number): number {
    const slots = this.#slots
    const mask = this.#mask
    let slot = this.#hash(rows, image) & mask
    while (slots[slot] !== 0) {
      const index = slots[slot]! - 1
      if (this.#sameKey(rows, first + index * this.#width, image)) return index
      slot = (slot + 1) & mask
    }
    return -1
  }

  /** FNV-1a over the cells of the key, mixed once more as only the low bits are used. */
  #hash({ arena, cells }: PackedRows, image: number): number {
    let hash = 0x811c9dc5
    for (const column of this.#key) {
      const cell = (image + column) * 2
      const end = cells[cell]! + cells[cell + 1]!
      for (let at = cells[cell]!; at < end; at++) hash = Math.imul(hash ^ arena[at]!, 0x01000193)
      hash = Math.imul(hash ^ 0x1ff, 0x01000193)
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
    return (hash ^ (hash >>> 15)) >>> 0
  }

  #sameKey(rows: PackedRows, a: number, b: number): boolean {
    for (const column of this.#key) if (!sameCell(rows, a + column, b + column)) return false
    return true
  }
}

function sameCell({ arena, cells }: { arena: Arena; cells: Int32Array }, a: number, b: number): boolean {
  const length = cells[a * 2 + 1]!
  if (length !== cells[b * 2 + 1]) return false
  if (length <= 0) return true
  const left = cells[a * 2]!
  const right = cells[b * 2]!
  if (left === right) return true
  if (length > LOOP_MAX) return arena.compare(arena, left, left + length, right, right + length) === 0
  for (let index = 0; index < length; index++) if (arena[left + index] !== arena[right + index]) return false
  return true
}

/** Up to so many bytes a loop is faster than a call that leaves JavaScript. */
const LOOP_MAX = 96
