/** The conversions that text of PostgreSQL needs to become canonical, in place: the result is never longer. */
import type { Arena } from '../../../core/packed-rows.ts'
import { Conversion } from './types.ts'

/** Converts the cell at `offset` and returns its new length. */
export function convertCell(conversion: Conversion, arena: Arena, offset: number, length: number): number {
  return conversion === Conversion.hexBytes
    ? hexToBytes(arena, offset, length)
    : moneyToDecimal(arena, offset, length)
}

/** `\x0aff` (bytea_output = hex) to raw bytes. */
function hexToBytes(arena: Arena, offset: number, length: number): number {
  let to = offset
  for (let from = offset + 2; from < offset + length; from += 2) {
    arena[to++] = (hexDigit(arena[from]!) << 4) | hexDigit(arena[from + 1]!)
  }
  return to - offset
}

/** The server writes lower-case digits only. */
function hexDigit(byte: number): number {
  return byte < 0x3a ? byte - 0x30 : byte - 0x57
}

/** `-$1,234.50` (lc_monetary = C) to `-1234.50`: keeps sign, digits and point. */
function moneyToDecimal(arena: Arena, offset: number, length: number): number {
  let to = offset
  for (let from = offset; from < offset + length; from++) {
    const byte = arena[from]!
    if ((byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e) arena[to++] = byte
  }
  return to - offset
}

/** A number of the protocol: four bytes, most significant first. */
export function uint32(arena: Uint8Array, at: number): number {
  return ((arena[at]! << 24) | (arena[at + 1]! << 16) | (arena[at + 2]! << 8) | arena[at + 3]!) >>> 0
}
