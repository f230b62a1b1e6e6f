/**
 * Hashes of rows by the value of their cells: texts that mean the same give the same hash, where a type has several. A
 * float counts by its bits, a decimal and a moment without the zeros at the end of its fraction, an array by its
 * elements. A NULL, an empty text and an absent row are three different things.
 */
import type { ColumnType } from '../../core/column-type.ts'
import { type Arena, CellState, type PackedRows } from '../../core/packed-rows.ts'
import type { PackedKeys } from '../../core/row-reader.ts'
import type { TableSchema } from '../../core/table.ts'
import { finish, type HashState, mixBytes, mixWord, start } from './hash.ts'

/** Takes in the value of a present cell. */
type CellMixer = (arena: Arena, from: number, to: number, state: HashState) => void

const NULL = -1
const OPEN = 0x7b
const CLOSE = 0x7d
const COMMA = 0x2c
const QUOTE = 0x22
const BACKSLASH = 0x5c
const POINT = 0x2e
const ZERO = 0x30

export class RowHasher {
  /** What `hash` found: both halves of the key's hash, then of the row's. */
  readonly result = new Int32Array(4)
  readonly #key: readonly number[]
  /** Columns outside of the key. */
  readonly #others: readonly number[]
  readonly #mixers: readonly CellMixer[]
  /** Cells that stand for NULL, see `SinkTable.nullAs`. */
  readonly #nulls: readonly (Arena | null)[]
  readonly #state: HashState = new Int32Array(2)

  constructor(table: TableSchema, nullAs: readonly (string | null)[] = []) {
    this.#key = table.key
    this.#others = [...table.columns.keys()].filter((index) => !table.key.includes(index))
    this.#mixers = table.columns.map(({ type }) => mixerOf(type))
    this.#nulls = table.columns.map((_, index) => {
      const text = nullAs[index] ?? null
      return text === null ? null : (Buffer.from(text) as Arena)
    })
  }

  /** Of the row whose first cell is `first`; the answer is in `result`. */
  hash(rows: PackedRows, first: number): void {
    const state = this.#state
    start(state)
    for (const index of this.#key) this.#mix(rows, first, index)
    finish(state, this.result, 0)
    for (const index of this.#others) this.#mix(rows, first, index)
    finish(state, this.result, 2)
  }

  /** The id of a key, see `idOf`; its cells stand one behind the other. */
  keyId(keys: PackedKeys, row: number): number {
    const state = this.#state
    start(state)
    // Cells of a key are counted from its first, in key order.
    for (const [at, index] of this.#key.entries()) this.#mix(keys, keys.newImage[row]! + at - index, index)
    finish(state, this.result, 0)
    return idOf(this.result)
  }

  /** Of every column by itself, two halves each. */
  columns(rows: PackedRows, first: number): Int32Array {
    const count = this.#mixers.length
    const hashes = new Int32Array(count * 2)
    for (let index = 0; index < count; index++) {
      start(this.#state)
      this.#mix(rows, first, index)
      finish(this.#state, hashes, index * 2)
    }
    return hashes
  }

  #mix(rows: PackedRows, first: number, index: number): void {
    const cell = (first + index) * 2
    const length = rows.cells[cell + 1]!
    if (length >= 0) {
      const from = rows.cells[cell]!
      this.#mixers[index]!(rows.arena, from, from + length, this.#state)
      return
    }
    const text = length === CellState.null ? this.#nulls[index]! : null
    if (text === null) mixWord(length, this.#state)
    else this.#mixers[index]!(text, 0, text.length, this.#state)
  }
}

/** Names a row by its key: 53 of the 64 bits of the key's hash. */
export function idOf(hash: Int32Array): number {
  return (hash[0]! >>> 0) * 0x20_0000 + (hash[1]! >>> 11)
}

function mixerOf(type: ColumnType): CellMixer {
  switch (type.kind) {
    case 'float':
      return type.bits === 32 ? mixFloat32 : mixFloat64
    case 'decimal':
      // Without limits the number of digits may be meant.
      return type.precision === null ? mixBytes : mixFraction
    case 'time':
    case 'timestamp':
      return mixFraction
    case 'array':
      return arrayMixer(mixerOf(type.of))
    case 'bool':
    case 'int':
    case 'text':
    case 'enum':
    case 'uuid':
    case 'json':
    case 'bytes':
    case 'date':
    case 'interval':
    case 'other':
      return mixBytes
  }
}

const double = new Float64Array(1)
const halves = new Int32Array(double.buffer)

function mixFloat64(arena: Arena, from: number, to: number, state: HashState): void {
  mixNumber(Number(arena.latin1Slice(from, to)), arena, from, to, state)
}

function mixFloat32(arena: Arena, from: number, to: number, state: HashState): void {
  mixNumber(Math.fround(Number(arena.latin1Slice(from, to))), arena, from, to, state)
}

function mixNumber(value: number, arena: Arena, from: number, to: number, state: HashState): void {
  if (Number.isNaN(value)) return mixBytes(arena, from, to, state)
  double[0] = value
  mixWord(halves[0]!, state)
  mixWord(halves[1]!, state)
}

/** Leaves out zeros at the end of the digits behind the point, and then the point. */
function mixFraction(arena: Arena, from: number, to: number, state: HashState): void {
  let point = from
  while (point < to && arena[point] !== POINT) point++
  let end = Math.min(point + 1, to)
  while (end < to && (arena[end]! - ZERO) >>> 0 <= 9) end++
  let last = end
  while (last > point && arena[last - 1] === ZERO) last--
  if (last === point + 1) last = point
  if (last === end || point === to) return mixBytes(arena, from, to, state)
  if (end === to) return mixBytes(arena, from, last, state)
  const text = Buffer.concat([arena.subarray(from, last), arena.subarray(end, to)])
  mixBytes(text, 0, text.length, state)
}

/** A brace list by its elements, however they are quoted; any other text as it is. */
function arrayMixer(element: CellMixer): CellMixer {
  return (arena, from, to, state) => {
    if (arena[from] !== OPEN) return mixBytes(arena, from, to, state)
    for (let at = from; at < to;) {
      const byte = arena[at]!
      if (byte === OPEN || byte === CLOSE) mixWord(byte, state)
      if (byte === OPEN || byte === CLOSE || byte === COMMA) at++
      else
        at =
          byte === QUOTE ? mixQuoted(arena, at, to, element, state) : mixBare(arena, at, to, element, state)
    }
  }
}

function mixBare(arena: Arena, from: number, to: number, element: CellMixer, state: HashState): number {
  let at = from
  while (at < to && arena[at] !== COMMA && arena[at] !== CLOSE) at++
  if (at - from === 4 && arena.latin1Slice(from, at) === 'NULL') mixWord(NULL, state)
  else element(arena, from, at, state)
  return at
}

function mixQuoted(arena: Arena, from: number, to: number, element: CellMixer, state: HashState): number {
  const text = Buffer.allocUnsafe(to - from) as Arena
  let length = 0
  let at = from + 1
  for (; at < to && arena[at] !== QUOTE; at++) {
    if (arena[at] === BACKSLASH) at++
    text[length++] = arena[at]!
  }
  element(text, 0, length, state)
  return at + 1
}
