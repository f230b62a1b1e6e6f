import type { ColumnType } from '../../../core/column-type.ts'
import { InternalError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import { decimalWriter, floatWriter, intWriter } from './cell-numbers.ts'
import { type TimestampRange, timestampWriter, writeDate32 } from './cell-times.ts'
import {
  CellRefused,
  type CellWriter,
  hexDigit,
  malformed,
  writeBool,
  writeText,
  writeUuid,
} from './cells.ts'
import type { RowWriter } from './row-writer.ts'
import type { PhysicalType, Scalar } from './types.ts'

/** Enough for any element whose size is fixed, with its NULL flag and the count of an inner list. */
const ELEMENT_RESERVE = 48
const OPEN = 0x7b
const CLOSE = 0x7d
const COMMA = 0x2c
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** The writer for cells of a source type into a physical column that `canHold` them. */
export function cellWriter(type: ColumnType, physical: PhysicalType, range: TimestampRange): CellWriter {
  if (physical.kind === 'scalar') return scalarWriter(physical.scalar, range)
  let element = physical.of
  let dimensions = 1
  for (; element.kind === 'array'; element = element.of) dimensions++
  if (type.kind !== 'array')
    throw new InternalError('clickhouse/no-writer', `${type.kind} has no array writer`)
  const writer = scalarWriter(element.scalar, range)
  return arrayWriter(dimensions, type.of.kind === 'bytes' ? hexWriter(writer) : writer)
}

function scalarWriter(scalar: Scalar, range: TimestampRange): CellWriter {
  switch (scalar.kind) {
    case 'int':
      return intWriter(scalar.bits, scalar.unsigned)
    case 'float':
      return floatWriter(scalar.bits)
    case 'decimal':
      return decimalWriter(scalar.precision, scalar.scale)
    case 'bool':
      return writeBool
    case 'string':
      return writeText
    case 'uuid':
      return writeUuid
    case 'date32':
      return writeDate32
    case 'datetime64':
      return timestampWriter(scalar.digits, range)
  }
}

/** Inside an array, bytes are `\x` and hex digits. */
function hexWriter(write: CellWriter): CellWriter {
  return (arena, offset, length, out) => {
    if (length % 2 !== 0 || arena[offset] !== BACKSLASH || arena[offset + 1] !== 0x78)
      throw malformed('bytes')
    const raw = Buffer.allocUnsafe((length - 2) / 2) as Arena
    for (let i = 0; i < raw.length; i++) {
      const at = offset + 2 + i * 2
      raw[i] = (hexDigit(arena[at]!) << 4) | hexDigit(arena[at + 1]!)
    }
    write(raw, 0, raw.length, out)
  }
}

/** `Array(... Array(Nullable(T)))` from a brace list of exactly that many dimensions. */
function arrayWriter(dimensions: number, element: CellWriter): CellWriter {
  return (arena, offset, length, out) => {
    const list = new ArrayText(arena, offset, offset + length, out, element)
    list.write(dimensions)
    if (!list.finished) throw malformed('an array')
  }
}

/** Walks over one brace list. ClickHouse wants the count before the elements, so every list is looked at twice. */
class ArrayText {
  readonly #arena: Arena
  #at: number
  readonly #end: number
  readonly #out: RowWriter
  readonly #element: CellWriter

  constructor(arena: Arena, at: number, end: number, out: RowWriter, element: CellWriter) {
    this.#arena = arena
    this.#at = at
    this.#end = end
    this.#out = out
    this.#element = element
  }

  get finished(): boolean {
    return this.#at === this.#end
  }

  write(dimensions: number): void {
    if (this.#arena[this.#at] !== OPEN) throw otherShape()
    const count = this.#count()
    this.#out.reserve(ELEMENT_RESERVE)
    this.#out.varint(count)
    this.#at++
    for (let index = 0; index < count; index++) {
      if (dimensions > 1) this.write(dimensions - 1)
      else this.#writeElement()
      this.#at++
    }
    if (count === 0) this.#at++
  }

  /** Elements of the list that starts here. */
  #count(): number {
    const arena = this.#arena
    if (arena[this.#at + 1] === CLOSE) return 0
    let count = 1
    let depth = 0
    let quoted = false
    for (let at = this.#at; at < this.#end; at++) {
      const char = arena[at]
      if (char === BACKSLASH) at++
      else if (char === QUOTE) quoted = !quoted
      else if (quoted) continue
      else if (char === OPEN) depth++
      else if (char === CLOSE && --depth === 0) return count
      else if (char === COMMA && depth === 1) count++
    }
    throw malformed('an array')
  }

  #writeElement(): void {
    const arena = this.#arena
    const start = this.#at
    if (arena[start] === OPEN) throw otherShape()
    this.#out.reserve(ELEMENT_RESERVE)
    if (arena[start] === QUOTE) {
      const text = this.#unquoted()
      this.#out.bytes[this.#out.at++] = 0
      return this.#element(text, 0, text.length, this.#out)
    }
    while (this.#at < this.#end && arena[this.#at] !== COMMA && arena[this.#at] !== CLOSE) this.#at++
    const length = this.#at - start
    if (length === 4 && arena.latin1Slice(start, this.#at) === 'NULL') {
      this.#out.bytes[this.#out.at++] = 1
      return
    }
    this.#out.bytes[this.#out.at++] = 0
    this.#element(arena, start, length, this.#out)
  }

  /** The bytes of a quoted element, without its escapes. Leaves the position behind the closing quote. */
  #unquoted(): Arena {
    const arena = this.#arena
    const text = Buffer.allocUnsafe(this.#end - this.#at)
    let length = 0
    for (let at = this.#at + 1; at < this.#end; at++) {
      if (arena[at] === QUOTE) {
        this.#at = at + 1
        return text.subarray(0, length) as Arena
      }
      if (arena[at] === BACKSLASH) at++
      text[length++] = arena[at]!
    }
    throw malformed('an array')
  }
}

function otherShape(): CellRefused {
  return new CellRefused(
    'array-shape',
    'is an array with custom bounds or another number of dimensions than its column declares',
    "Set the sink's option `arrays: text`, which keeps arrays as text, and copy the table again.",
  )
}
