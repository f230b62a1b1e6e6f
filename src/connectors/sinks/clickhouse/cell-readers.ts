import type { ColumnType } from '../../../core/column-type.ts'
import { InternalError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import { decimalBytes } from './cell-numbers.ts'
import { readDate32, timestampReader } from './moment-readers.ts'
import { decimalReader, floatReader, intReader } from './number-readers.ts'
import { RowWriter } from './row-writer.ts'
import type { PhysicalType, Scalar } from './types.ts'

/**
 * Reads one cell: RowBinary at `input[at]` becomes canonical text (raw bytes for bytes) at `out`, where `SLACK` bytes
 * are free. Returns where the next cell begins, or -1 when the input ends before the cell does: nothing counts then.
 */
export type CellReader = (input: Arena, at: number, end: number, out: RowWriter) => number

/** What a value of fixed size takes as text at most: 76 digits, sign and point. */
export const SLACK = 96

const DASH = 0x2d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const HEX = Buffer.from('0123456789abcdef')
/** Which byte holds each pair of digits: two little-endian halves. */
const UUID_BYTES = Uint8Array.from([7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8])

/** The reader of present cells of a physical column, whose NULL flag is read by the caller. */
export function cellReader(type: ColumnType, physical: PhysicalType): CellReader {
  if (physical.kind === 'scalar') return scalarReader(type, physical.scalar)
  if (type.kind !== 'array')
    throw new InternalError('clickhouse/no-reader', `${type.kind} has no array reader`)
  return listReader(type.of, physical.of)
}

function scalarReader(type: ColumnType, scalar: Scalar): CellReader {
  switch (scalar.kind) {
    case 'int':
      return intReader(scalar.bits, scalar.unsigned)
    case 'float':
      return floatReader(scalar.bits)
    case 'decimal': {
      const shown = type.kind === 'decimal' ? (type.scale ?? 0) : scalar.scale
      return decimalReader(decimalBytes(scalar.precision), scalar.scale, shown)
    }
    case 'bool':
      return readBool
    case 'string':
      return readText
    case 'uuid':
      return readUuid
    case 'date32':
      return readDate32
    case 'datetime64':
      return timestampReader(scalar.digits, type.kind === 'timestamp' && type.zoned)
  }
}

function readBool(input: Arena, at: number, end: number, out: RowWriter): number {
  if (at >= end) return -1
  out.bytes[out.at++] = input[at] === 0 ? 0x66 : 0x74
  return at + 1
}

function readText(input: Arena, at: number, end: number, out: RowWriter): number {
  let length = 0
  let factor = 1
  let from = at
  for (;;) {
    if (from >= end) return -1
    const byte = input[from++]!
    length += (byte & 127) * factor
    if (byte < 128) break
    factor *= 128
  }
  if (from + length > end) return -1
  out.copy(input, from, from + length)
  return from + length
}

function readUuid(input: Arena, at: number, end: number, out: RowWriter): number {
  if (at + 16 > end) return -1
  const { bytes } = out
  let to = out.at
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) bytes[to++] = DASH
    const byte = input[at + UUID_BYTES[i]!]!
    bytes[to++] = HEX[byte >> 4]!
    bytes[to++] = HEX[byte & 15]!
  }
  out.at = to
  return at + 16
}

/** `Array(...)` as a brace list. */
function listReader(type: ColumnType, of: PhysicalType): CellReader {
  const element = of.kind === 'array' ? listReader(type, of.of) : elementReader(type, of)
  return (input, at, end, out) => {
    let count = 0
    let factor = 1
    let from = at
    for (;;) {
      if (from >= end) return -1
      const byte = input[from++]!
      count += (byte & 127) * factor
      if (byte < 128) break
      factor *= 128
    }
    out.reserve(2)
    out.bytes[out.at++] = 0x7b
    for (let index = 0; index < count; index++) {
      out.reserve(2)
      if (index > 0) out.bytes[out.at++] = 0x2c
      from = element(input, from, end, out)
      if (from < 0) return -1
    }
    out.reserve(2)
    out.bytes[out.at++] = 0x7d
    return from
  }
}

function elementReader(type: ColumnType, physical: PhysicalType & { kind: 'scalar' }): CellReader {
  const read = scalarReader(type, physical.scalar)
  const isBytes = type.kind === 'bytes'
  const scratch = new RowWriter(SLACK)
  return (input, at, end, out) => {
    let from = at
    if (physical.nullable) {
      if (at >= end) return -1
      from = at + 1
      if (input[at] === 1) {
        out.reserve(4)
        out.at += out.bytes.write('NULL', out.at, 'latin1')
        return from
      }
    }
    scratch.at = 0
    scratch.reserve(0)
    const next = read(input, from, end, scratch)
    if (next < 0) return -1
    if (isBytes) writeHexElement(scratch, out)
    else writeElement(scratch, out)
    return next
  }
}

/** Bytes inside an array are `\x` and hex digits, whose backslash needs quotes. */
function writeHexElement(value: RowWriter, out: RowWriter): void {
  out.reserve(value.at * 2 + 8)
  out.at += out.bytes.write(`"\\\\x${value.bytes.toString('hex', 0, value.at)}"`, out.at, 'latin1')
}

function writeElement(value: RowWriter, out: RowWriter): void {
  const { bytes, at: length } = value
  out.reserve(length * 2 + 2)
  if (!needsQuotes(bytes, length)) {
    out.copy(bytes, 0, length)
    return
  }
  out.bytes[out.at++] = QUOTE
  for (let at = 0; at < length; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE || byte === BACKSLASH) out.bytes[out.at++] = BACKSLASH
    out.bytes[out.at++] = byte
  }
  out.bytes[out.at++] = QUOTE
}

/** As `core/array-text.ts` says, with white space as databases mean it: ASCII only. */
function needsQuotes(bytes: Arena, length: number): boolean {
  if (length === 0) return true
  if (length === 4 && bytes.latin1Slice(0, 4).toUpperCase() === 'NULL') return true
  for (let at = 0; at < length; at++) {
    const byte = bytes[at]!
    if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0x2c) return true
    if (byte === 0x7b || byte === 0x7d || byte === QUOTE || byte === BACKSLASH) return true
  }
  return false
}
