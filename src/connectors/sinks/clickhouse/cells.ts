import type { Arena } from '../../../core/packed-rows.ts'
import type { RowWriter } from './row-writer.ts'

/**
 * Writes one cell: canonical bytes `arena[offset, offset + length)` become RowBinary at `out`. Throws `CellRefused`
 * when the target type cannot keep the value exactly; whatever was written then is taken back by the caller.
 */
export type CellWriter = (arena: Arena, offset: number, length: number, out: RowWriter) => void

/** Why a cell is not written. */
export type RefusalReason =
  | 'out-of-range'
  | 'malformed'
  | 'array-shape'
  | 'null-refused'
  | 'absent-cell'
  | 'unchanged-cell'

/** Thrown by cell writers, which know neither table nor column; `encoder.ts` adds them. Never holds the value. */
export class CellRefused extends Error {
  readonly reason: RefusalReason
  readonly fix: string

  constructor(reason: RefusalReason, message: string, fix: string) {
    super(message)
    this.name = 'CellRefused'
    this.reason = reason
    this.fix = fix
  }
}

export function malformed(what: string): CellRefused {
  return new CellRefused(
    'malformed',
    `is not the canonical text of ${what}`,
    'This is a bug of the source connector; please report it with the type of the column.',
  )
}

export function outOfRange(message: string, fix: string): CellRefused {
  return new CellRefused('out-of-range', message, fix)
}

/** Text, and every type that is kept as its canonical text; also raw bytes. */
export function writeText(arena: Arena, offset: number, length: number, out: RowWriter): void {
  out.reserve(length + 5)
  if (length < 128) out.bytes[out.at++] = length
  else out.varint(length)
  const { bytes } = out
  const at = out.at
  if (length <= 24) for (let i = 0; i < length; i++) bytes[at + i] = arena[offset + i]!
  else arena.copy(bytes, at, offset, offset + length)
  out.at = at + length
}

export function writeBool(arena: Arena, offset: number, length: number, out: RowWriter): void {
  const char = arena[offset]
  if (length !== 1 || (char !== 0x74 && char !== 0x66)) throw malformed('a boolean')
  out.bytes[out.at++] = char === 0x74 ? 1 : 0
}

/** ClickHouse keeps a UUID as two little-endian halves. */
export function writeUuid(arena: Arena, offset: number, length: number, out: RowWriter): void {
  const dashes = arena[offset + 8] === 0x2d && arena[offset + 13] === 0x2d
  if (length !== 36 || !dashes || arena[offset + 18] !== 0x2d || arena[offset + 23] !== 0x2d)
    throw malformed('a UUID')
  const { bytes } = out
  const at = out.at
  let wrong = 0
  for (let i = 0; i < 16; i++) {
    const from = offset + UUID_DIGITS[i]!
    const high = HEX[arena[from]!]!
    const low = HEX[arena[from + 1]!]!
    wrong |= high | low
    bytes[at + i] = (high << 4) | low
  }
  // No digit has a bit above the lowest four, what is none has.
  if (wrong > 15) throw malformed('a UUID')
  out.at = at + 16
}

const HEX = Uint8Array.from({ length: 256 }, (_, char) => {
  const digit = Number.parseInt(String.fromCharCode(char), 16)
  return Number.isNaN(digit) ? 255 : digit
})
/** Where in the text the two digits of each byte are. */
const UUID_DIGITS = Uint8Array.from([16, 14, 11, 9, 6, 4, 2, 0, 34, 32, 30, 28, 26, 24, 21, 19])

export function hexDigit(char: number): number {
  const digit = HEX[char]!
  if (digit > 15) throw malformed('hexadecimal digits')
  return digit
}
