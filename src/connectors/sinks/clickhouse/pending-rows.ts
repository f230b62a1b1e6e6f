import { fixedSize, type StoredCells, type TableEncoder } from './encoder.ts'
import { hasNullFlag, type TargetColumn } from './target-column.ts'
import type { PhysicalType } from './types.ts'

/** A row that the server has or is about to get. */
export interface StoredRow extends StoredCells {
  readonly deleted: boolean
  readonly version: bigint
}

/** Finds the end of a value in RowBinary. */
type Skip = (bytes: Buffer, at: number) => number

/** Where the columns of an encoded row are. */
export class RowLayout {
  readonly #skips: readonly Skip[]
  readonly #key: readonly number[]

  constructor(columns: readonly TargetColumn[], key: readonly number[]) {
    this.#skips = columns.map((column) => skipCell(column))
    this.#key = key
  }

  /** The row at `at` and the place after its columns. */
  cells(bytes: Buffer, at: number): { readonly cells: StoredCells; readonly end: number } {
    const start = new Int32Array(this.#skips.length)
    const end = new Int32Array(this.#skips.length)
    let from = at
    for (let index = 0; index < this.#skips.length; index++) {
      start[index] = from
      from = this.#skips[index]!(bytes, from)
      end[index] = from
    }
    return { cells: { bytes, start, end }, end: from }
  }

  /** The key as a string of its RowBinary bytes. */
  keyOf({ bytes, start, end }: StoredCells): string {
    let key = ''
    for (const index of this.#key) key += bytes.toString('latin1', start[index], end[index])
    return key
  }
}

/** Version and deleted mark behind the columns. */
const META_SIZE = 9

/**
 * The newest row of each key among those that wait in a buffer. It is brought up to date when it is asked, so tables
 * whose rows are always complete never pay for it.
 */
export class PendingRows {
  readonly #layout: RowLayout
  readonly #places = new Map<string, number>()
  #indexed: number

  constructor(encoder: TableEncoder) {
    this.#layout = new RowLayout(encoder.columns, encoder.key)
    this.#indexed = encoder.header.length
  }

  /** `bytes` up to `end` are whole rows. The cells are valid as long as the buffer is not recycled. */
  find(key: string, bytes: Buffer, end: number): StoredRow | null {
    while (this.#indexed < end) {
      const row = this.#layout.cells(bytes, this.#indexed)
      this.#places.set(this.#layout.keyOf(row.cells), this.#indexed)
      this.#indexed = row.end + META_SIZE
    }
    const place = this.#places.get(key)
    if (place === undefined) return null
    const row = this.#layout.cells(bytes, place)
    return { ...row.cells, version: bytes.readBigUInt64LE(row.end), deleted: bytes[row.end + 8] === 1 }
  }
}

function skipCell(column: TargetColumn): Skip {
  const { physical } = column
  if (physical.kind === 'array') return skipArray(physical)
  const skip = skipScalar(physical)
  return hasNullFlag(column) ? skipNullable(skip) : skip
}

function skipNullable(skip: Skip): Skip {
  return (bytes, at) => (bytes[at] === 1 ? at + 1 : skip(bytes, at + 1))
}

function skipScalar(type: PhysicalType & { kind: 'scalar' }): Skip {
  const size = fixedSize(type)
  if (size !== null) return (_, at) => at + size
  return (bytes, at) => {
    const { value, next } = readVarint(bytes, at)
    return next + value
  }
}

function skipArray(type: PhysicalType & { kind: 'array' }): Skip {
  const { of } = type
  const element =
    of.kind === 'array' ? skipArray(of) : of.nullable ? skipNullable(skipScalar(of)) : skipScalar(of)
  return (bytes, at) => {
    const { value, next } = readVarint(bytes, at)
    let from = next
    for (let index = 0; index < value; index++) from = element(bytes, from)
    return from
  }
}

function readVarint(bytes: Buffer, at: number): { readonly value: number; readonly next: number } {
  let value = 0
  let factor = 1
  let next = at
  for (;;) {
    const byte = bytes[next++]!
    value += (byte & 127) * factor
    if (byte < 128) return { value, next }
    factor *= 128
  }
}
