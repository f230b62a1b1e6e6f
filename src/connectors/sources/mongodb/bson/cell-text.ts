/** Bytes as text: UTF-8 that is checked while it is copied, hex digits, UUIDs, base64. */
import { isUtf8 } from 'node:buffer'
import type { Arena } from '../../../../core/packed-rows.ts'
import { type CellArena, LOOP_MAX, viewOf } from './cell-arena.ts'

const MINUS = 0x2d

const HIGH = new Uint8Array(256)
const LOW = new Uint8Array(256)
for (let value = 0; value < 256; value++) {
  HIGH[value] = '0123456789abcdef'.charCodeAt(value >> 4)
  LOW[value] = '0123456789abcdef'.charCodeAt(value & 15)
}

const BASE64 = Uint8Array.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  (character) => character.charCodeAt(0),
)

const NOT_ASCII = 0x80808080 | 0
let viewed: Uint8Array = BASE64
let view = viewOf(BASE64)

/** Values come from the same bytes for a long time. */
function sameView(bytes: Uint8Array): DataView {
  if (bytes !== viewed) {
    viewed = bytes
    view = viewOf(bytes)
  }
  return view
}

/** Copies text; false when it is not UTF-8. Reserves its room. */
export function putUtf8(out: CellArena, bytes: Arena, at: number, end: number): boolean {
  const length = end - at
  out.reserve(length)
  const { arena } = out
  let to = out.used
  if (length > LOOP_MAX) {
    bytes.copy(arena, to, at, end)
    out.used = to + length
    return isUtf8(bytes.subarray(at, end))
  }
  if (length >= 8) {
    // ASCII goes four bytes at a time.
    const from = sameView(bytes)
    const { view } = out
    for (; at + 4 <= end; at += 4, to += 4) {
      const word = from.getInt32(at, true)
      if ((word & NOT_ASCII) !== 0) break
      view.setInt32(to, word, true)
    }
  }
  while (at < end) {
    const byte = bytes[at]!
    if (byte >= 0x80) {
      const next = sequenceEnd(bytes, at, end)
      if (next === 0) return false
      while (at < next) arena[to++] = bytes[at++]!
    } else {
      arena[to++] = byte
      at++
    }
  }
  out.used = to
  return true
}

/**
 * Index behind the character of several bytes at `at`, 0 when it is none: cut off, longer than needed, half of a
 * surrogate pair, or beyond U+10FFFF (RFC 3629, section 4).
 */
export function sequenceEnd(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!
  if (first < 0xc2 || first > 0xf4) return 0
  const count = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  if (at + count > end) return 0
  const second = bytes[at + 1]!
  if ((second & 0xc0) !== 0x80) return 0
  if (first === 0xe0 && second < 0xa0) return 0
  if (first === 0xed && second > 0x9f) return 0
  if (first === 0xf0 && second < 0x90) return 0
  if (first === 0xf4 && second > 0x8f) return 0
  for (let index = at + 2; index < at + count; index++) if ((bytes[index]! & 0xc0) !== 0x80) return 0
  return at + count
}

/** Two digits per byte. Reserves its room. */
export function putHex(out: CellArena, bytes: Uint8Array, at: number, end: number): void {
  out.reserve((end - at) * 2)
  const { arena } = out
  let to = out.used
  for (; at < end; at++) {
    const byte = bytes[at]!
    arena[to++] = HIGH[byte]!
    arena[to++] = LOW[byte]!
  }
  out.used = to
}

/** 16 bytes as 36 characters. Reserves its room. */
export function putUuid(out: CellArena, bytes: Uint8Array, at: number): void {
  out.reserve(36)
  const { arena } = out
  let to = out.used
  for (let index = 0; index < 16; index++) {
    const byte = bytes[at + index]!
    if (index === 4 || index === 6 || index === 8 || index === 10) arena[to++] = MINUS
    arena[to++] = HIGH[byte]!
    arena[to++] = LOW[byte]!
  }
  out.used = to
}

/** RFC 4648 with padding. Reserves its room. */
export function putBase64(out: CellArena, bytes: Uint8Array, at: number, end: number): void {
  out.reserve(Math.ceil((end - at) / 3) * 4)
  const { arena } = out
  let to = out.used
  for (; at < end; at += 3) {
    const left = end - at
    const bits = (bytes[at]! << 16) | ((left > 1 ? bytes[at + 1]! : 0) << 8) | (left > 2 ? bytes[at + 2]! : 0)
    arena[to++] = BASE64[bits >> 18]!
    arena[to++] = BASE64[(bits >> 12) & 63]!
    arena[to++] = left > 1 ? BASE64[(bits >> 6) & 63]! : PAD
    arena[to++] = left > 2 ? BASE64[bits & 63]! : PAD
  }
  out.used = to
}

const PAD = 0x3d
