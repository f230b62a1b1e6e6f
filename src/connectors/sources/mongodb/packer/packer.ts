/**
 * Documents to packed rows, by one table mapping. The hot path of the source: one pass over the bytes of a document finds
 * every wanted path, and cells are written from bytes to bytes; nothing is made per row. Filters, expressions and what
 * an unwound array stands inside of are read from documents that decode on demand.
 */
import { InternalError, PoisonRecordError } from '../../../../core/error.ts'
import type { ColumnRule, Predicate, TableMapping } from '../../../../core/mapping/mapping.ts'
import { valueAt } from '../../../../core/mapping/path.ts'
import { unwound } from '../../../../core/mapping/unwind.ts'
import type { DocumentValue, LazyDocument } from '../../../../core/mapping/value.ts'
import { type Arena, CellState } from '../../../../core/packed-rows.ts'
import { BsonType, documentLast, malformed, nameEnd, valueEnd } from '../bson/bson.ts'
import { BsonWriter } from '../bson/bson-writer.ts'
import type { CellConverter } from '../bson/cell.ts'
import { RawDocument } from '../bson/document.ts'
import { misfit, missingValue, mixedKeys, notComputed, notFiltered } from './packer-errors.ts'
import { keyClass, mixedClasses } from './packer-keys.ts'
import type { Field, PathNode } from './packer-paths.ts'
import { type Level, planOf, type RowPlan, type SlowColumn } from './packer-plan.ts'
import { PackTarget } from './packer-target.ts'
import { putThrough } from './packer-through.ts'

export interface PackerOptions {
  /** What json columns look like, see `json.ts`. */
  readonly json: 'plain' | 'extended'
  /** A value that does not fit its column: an error, or NULL where the column may be NULL. */
  readonly misfits: 'stop' | 'null'
  /** Top-level fields that a `documentKey` has; `_id` when left out. */
  readonly documentKey?: readonly string[]
}

/** State of a cell whose value does not fit; its BSON type stands in the place of the offset. */
const MISFIT = -9
const MISSING = -1
const NO_CELL = CellState.null
const NO_BYTES = Buffer.alloc(0) as Arena
const NO_TARGET = new PackTarget(0, 0, 0)

export class DocumentPacker {
  readonly mapping: TableMapping
  /** Cells of an image. */
  readonly width: number
  /**
   * Classes of values that the columns of the key have had, a mask each, in key order (`packer-keys.ts`). Another array as
   * soon as there is a new one.
   */
  keyClasses: readonly number[]
  /** Values that did not fit and became NULL. */
  misfits = 0
  readonly #options: PackerOptions
  readonly #plan: RowPlan
  readonly #converters: readonly CellConverter[]
  readonly #keySlots: Int32Array
  /** Rows need a decoded document. */
  readonly #decodes: boolean
  readonly #document = new RawDocument()
  readonly #writer = new BsonWriter()
  readonly #index = Buffer.alloc(8) as Arena
  /** The row at hand: pairs as in `PackedRows.cells`. */
  readonly #row: Int32Array
  /** Arrays to unwind: type (-1: missing), start and end by level. */
  readonly #arrays: Int32Array
  #hasMisfit = false
  #target = NO_TARGET
  #bytes = NO_BYTES
  #view = new DataView(NO_BYTES.buffer)
  #at = 0

  constructor(mapping: TableMapping, options: PackerOptions) {
    this.mapping = mapping
    this.width = mapping.table.columns.length
    this.keyClasses = mapping.table.key.map(() => 0)
    this.#options = options
    this.#plan = planOf(mapping, options.json, options.documentKey ?? ['_id'])
    this.#converters = this.#plan.converters
    this.#keySlots = this.#plan.keySlots
    this.#decodes = this.#plan.slow.length > 0 || this.#plan.levels === null || mapping.elementFilter !== null
    this.#row = new Int32Array(this.width * 2)
    this.#arrays = new Int32Array(mapping.unwind.length * 3)
  }

  /** Whether `packKey` can be used: the key is made of nothing but fields of the `documentKey`. */
  get keyFromDocumentKey(): boolean {
    return this.#plan.key !== null
  }

  /**
   * Appends the images of the document at `at`, `width` cells each, and returns how many there are. Throws
   * `PoisonRecordError` `mongodb/misfit`, and `InternalError` for bytes that are no document.
   */
  pack(bytes: Arena, at: number, target: PackTarget): number {
    const { filter } = this.mapping
    this.#open(target, bytes, at)
    const last = documentLast(bytes, at, bytes.length)
    let document: RawDocument | null = null
    if (filter !== null || this.#decodes) document = this.#document.open(bytes, at, bytes.length)
    if (filter !== null && !this.#passes(filter, document!)) return 0
    const { root, whole, levels } = this.#plan
    this.#clear(NO_CELL)
    if (levels !== null) {
      if (levels.length > 0) this.#arrays.fill(MISSING)
      this.#walk(root, bytes, at + 4, last)
      if (whole.length > 0) this.#putWhole(whole, bytes, at, last + 1)
      if (levels.length === 0) {
        this.#emit(document)
        return 1
      }
    }
    const first = target.rows.cellCount
    if (levels === null) this.#unwindSlowly(0, document!)
    else this.#unwind(levels, 0, document)
    return (target.rows.cellCount - first) / this.width
  }

  /** Appends one image with the cells of the key, all others absent, from a `documentKey`. Returns its first cell. */
  packKey(bytes: Arena, at: number, target: PackTarget): number {
    const plan = this.#plan.key
    if (plan === null) {
      throw new InternalError('mongodb/no-document-key', 'a key is not made of the fields of a document key')
    }
    this.#open(target, bytes, at)
    const last = documentLast(bytes, at, bytes.length)
    this.#clear(CellState.absent)
    for (const column of this.mapping.table.key) this.#row[column * 2 + 1] = NO_CELL
    this.#walk(plan.root, bytes, at + 4, last)
    if (plan.slow.length > 0) this.#evaluate(plan.slow, this.#document.open(bytes, at, bytes.length))
    return this.#append(this.mapping.table.key)
  }

  /** Counts what was seen earlier, before a restart, among `keyClasses`. */
  noteKeyClasses(earlier: readonly number[]): void {
    this.keyClasses = this.keyClasses.map((mask, slot) => mask | (earlier[slot] ?? 0))
  }

  /** Throws `SchemaError` `mongodb/mixed-keys` when a key column has had values that it cannot tell apart. */
  checkKeys(): void {
    const { table } = this.mapping
    table.key.forEach((column, slot) => {
      const mixed = mixedClasses(table.columns[column]!.type, this.keyClasses[slot]!)
      if (mixed !== null) throw mixedKeys(this.mapping, column, mixed)
    })
  }

  #open(target: PackTarget, bytes: Arena, at: number): void {
    this.#target = target
    if (bytes !== this.#bytes) {
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    this.#at = at
    this.#hasMisfit = false
  }

  #clear(state: CellState): void {
    const row = this.#row
    for (let cell = 0; cell < row.length; cell += 2) {
      row[cell] = 0
      row[cell + 1] = state
    }
  }

  /** Meets every element between `at` and `last` and converts those that are wanted. */
  #walk(node: PathNode, bytes: Arena, at: number, last: number): void {
    const view = this.#view
    const limit = bytes.length
    const document = ++node.document
    let field = node.start
    while (at < last) {
      const type = bytes[at++]!
      const before = field
      field = before.next
      const { words } = field
      let differs = at + field.reach > limit
      if (!differs) {
        const final = words.length - 1
        let index = 0
        let place = at
        while (index < final && view.getInt32(place, true) === words[index]) {
          index++
          place += 4
        }
        differs = ((view.getInt32(place, true) ^ words[index]!) & (index === final ? field.mask : -1)) !== 0
      }
      if (differs) {
        field = node.find(bytes, at, last)
        before.next = field
      }
      at = field === node.stranger ? nameEnd(bytes, at, last) + 1 : at + field.length
      const end = valueEnd(bytes, type, at, last)
      if (!field.ignored && field.met !== document) {
        field.met = document
        if (field.single >= 0) this.#convert(field.single, bytes, type, at, end)
        else if (field.unwind < 0) this.#put(field, bytes, type, at, end)
        else this.#noteArray(field.unwind, type, at, end)
      }
      at = end
    }
    if (at !== last) throw malformed('its elements end behind it')
  }

  /** Converts what is wanted of a value. */
  #put(field: Field, bytes: Arena, type: number, at: number, end: number): void {
    const { columns, inside } = field
    for (let index = 0; index < columns.length; index++) {
      this.#convert(columns[index]!, bytes, type, at, end)
    }
    if (inside === null) return
    if (type === BsonType.object) this.#walk(inside, bytes, at + 4, documentLast(bytes, at, end))
    else if (type === BsonType.array) this.#putThrough(inside, bytes, at, end)
  }

  #putWhole(columns: readonly number[], bytes: Arena, at: number, end: number): void {
    for (const column of columns) this.#convert(column, bytes, BsonType.object, at, end)
  }

  #putThrough(node: PathNode, bytes: Arena, at: number, end: number): void {
    const writer = this.#writer
    for (const column of node.below) {
      const rule = this.mapping.columns[column]!
      if (rule.kind !== 'path') continue
      writer.used = 0
      putThrough(writer, bytes, at, end, rule.path, node.depth)
      this.#convert(column, writer.bytes, BsonType.array, 0, writer.used)
    }
  }

  #convert(column: number, bytes: Arena, type: number, at: number, end: number): void {
    if (type === BsonType.null || type === BsonType.undefined) return
    const target = this.#target
    const row = this.#row
    const start = target.used
    const cell = column * 2
    if (this.#converters[column]!(target, bytes, type, at, end)) {
      row[cell] = start
      row[cell + 1] = target.used - start
      const slot = this.#keySlots[column]!
      if (slot >= 0) this.#noteKey(slot, keyClass(bytes, type, at, end))
      return
    }
    target.used = start
    row[cell] = type
    row[cell + 1] = MISFIT
    this.#hasMisfit = true
  }

  #noteKey(slot: number, seen: number): void {
    const mask = this.keyClasses[slot]!
    if ((mask & seen) === 0) this.keyClasses = this.keyClasses.with(slot, mask | seen)
  }

  #noteArray(level: number, type: number, at: number, end: number): void {
    const arrays = this.#arrays
    arrays[level * 3] = type
    arrays[level * 3 + 1] = at
    arrays[level * 3 + 2] = end
  }

  /** One row per element of the array of this level, and of those behind it. `document` sees the elements so far. */
  #unwind(levels: readonly Level[], number: number, document: LazyDocument | null): void {
    const level = levels[number]
    if (level === undefined) return this.#emit(document)
    const documents = document === null ? null : unwound(document, level.unwind)
    const arrays = this.#arrays
    const type = arrays[number * 3]!
    const at = arrays[number * 3 + 1]!
    const end = arrays[number * 3 + 2]!
    if (type !== BsonType.array) {
      const isThere = type !== MISSING && type !== BsonType.null && type !== BsonType.undefined
      if (!isThere && !level.unwind.keepsEmpty) return
      return this.#element(levels, number, isThere ? type : MISSING, at, end, -1, documents?.[0] ?? null)
    }
    const bytes = this.#bytes
    const last = documentLast(bytes, at, end)
    let count = 0
    for (let next = at + 4; next < last; count++) {
      const elementType = bytes[next]!
      const value = nameEnd(bytes, next + 1, last) + 1
      next = valueEnd(bytes, elementType, value, last)
      this.#element(levels, number, elementType, value, next, count, documents?.[count] ?? null)
    }
    if (count > 0 || !level.unwind.keepsEmpty) return
    this.#element(levels, number, MISSING, 0, 0, -1, documents?.[0] ?? null)
  }

  /** `type` is MISSING and `index` -1 where there is no element, and no number of one. */
  #element(
    levels: readonly Level[],
    number: number,
    type: number,
    at: number,
    end: number,
    index: number,
    document: LazyDocument | null,
  ): void {
    const { elementFilter } = this.mapping
    const level = levels[number]!
    if (elementFilter !== null && number === levels.length - 1 && !this.#passes(elementFilter, document!))
      return
    const row = this.#row
    if (type !== MISSING) {
      for (const column of level.columns) {
        row[column * 2] = 0
        row[column * 2 + 1] = NO_CELL
      }
      for (const inside of level.inside) this.#arrays[inside * 3] = MISSING
      this.#put(level.field, this.#bytes, type, at, end)
    }
    for (const column of level.indexColumns) {
      row[column * 2 + 1] = NO_CELL
      if (index < 0) continue
      this.#index.writeInt32LE(index)
      this.#convert(column, this.#index, BsonType.int64, 0, 8)
    }
    this.#unwind(levels, number + 1, document)
  }

  #unwindSlowly(number: number, document: LazyDocument): void {
    const { unwind, elementFilter } = this.mapping
    const step = unwind[number]
    if (step !== undefined) {
      for (const element of unwound(document, step)) this.#unwindSlowly(number + 1, element)
    } else if (elementFilter === null || this.#passes(elementFilter, document)) this.#emit(document)
  }

  /** Appends the row at hand. */
  #emit(document: LazyDocument | null): void {
    const { slow, required } = this.#plan
    if (slow.length > 0) this.#evaluate(slow, document!)
    this.#append(required)
  }

  #append(required: readonly number[]): number {
    if (this.#hasMisfit) this.#settleMisfits()
    const row = this.#row
    for (let index = 0; index < required.length; index++) {
      if (row[required[index]! * 2 + 1] === NO_CELL) {
        throw missingValue(this.mapping, required[index]!, { bytes: this.#bytes, at: this.#at })
      }
    }
    const { rows } = this.#target
    const first = rows.cellCount
    rows.reserveCells(this.width)
    const { cells } = rows
    // A loop: the rows of most tables are too short for a call.
    for (let index = 0, to = first * 2; index < row.length; index++, to++) cells[to] = row[index]!
    rows.cellCount = first + this.width
    return first
  }

  #settleMisfits(): void {
    const row = this.#row
    for (let column = 0; column < this.width; column++) {
      if (row[column * 2 + 1] !== MISFIT) continue
      const mustFit = this.#options.misfits === 'stop' || this.#plan.required.includes(column)
      if (mustFit) throw misfit(this.mapping, column, row[column * 2]!, { bytes: this.#bytes, at: this.#at })
      this.misfits++
      row[column * 2] = 0
      row[column * 2 + 1] = NO_CELL
    }
    this.#hasMisfit = false
  }

  #evaluate(columns: readonly SlowColumn[], document: LazyDocument): void {
    const writer = this.#writer
    for (const { column, rule } of columns) {
      this.#row[column * 2 + 1] = NO_CELL
      try {
        const value = valueOf(rule, document)
        if (value === undefined) continue
        writer.used = 0
        const type = writer.value(value)
        this.#convert(column, writer.bytes, type, 0, writer.used)
      } catch (error) {
        if (!(error instanceof PoisonRecordError)) throw error
        if (this.#options.misfits === 'stop' || this.#plan.required.includes(column))
          throw notComputed(this.mapping, column, { bytes: this.#bytes, at: this.#at }, error)
        this.misfits++
      }
    }
  }

  #passes(predicate: Predicate, document: LazyDocument): boolean {
    try {
      return predicate.test(document)
    } catch (error) {
      if (!(error instanceof PoisonRecordError)) throw error
      throw notFiltered(this.mapping, { bytes: this.#bytes, at: this.#at }, error)
    }
  }
}

function valueOf(rule: ColumnRule, document: LazyDocument): DocumentValue | undefined {
  if (rule.kind === 'expression') return rule.expression.evaluate(document)
  return rule.path.length === 0 ? document.whole() : valueAt(document, rule.path)
}
