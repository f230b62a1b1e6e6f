/** BSON arrays to the brace lists of `core/array-text.ts`: quotes where that file puts them. */
import { BsonType, documentLast, nameEnd, valueEnd } from './bson.ts'
import { type CellArena, putAscii } from './cell-arena.ts'
import type { CellConverter } from './cell.ts'

const OPEN = 0x7b
const CLOSE = 0x7d
const COMMA = 0x2c
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** 1: needs quotes. 2: needs quotes and a backslash. 3: may begin white space of several bytes. */
const SPECIAL = new Uint8Array(256)
for (const character of '\t\n\v\f\r ,{}') SPECIAL[character.charCodeAt(0)] = 1
SPECIAL[QUOTE] = 2
SPECIAL[BACKSLASH] = 2
for (const first of [0xc2, 0xe1, 0xe2, 0xe3, 0xef]) SPECIAL[first] = 3

/** White space beyond ASCII, as `\s` of regular expressions knows it (ECMA-262, WhiteSpace and LineTerminator). */
const SPACES = new Set(
  [
    '\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a',
    '\u2028\u2029\u202f\u205f\u3000\ufeff',
  ]
    .join('')
    .split('')
    .map((space) => Buffer.from(space).reduce((number, byte) => number * 256 + byte, 0)),
)

/** `nested`: elements are lists themselves, which are never quoted and never null. */
export function arrayConverter(element: CellConverter, nested: boolean): CellConverter {
  return (out, bytes, type, at, end) => {
    if (type !== BsonType.array) return false
    const last = documentLast(bytes, at, end)
    out.reserve(2)
    out.arena[out.used++] = OPEN
    let first = true
    at += 4
    while (at < last) {
      const from = bytes[at]!
      const value = nameEnd(bytes, at + 1, last) + 1
      at = valueEnd(bytes, from, value, last)
      if (!first) out.arena[out.used++] = COMMA
      first = false
      if (from === BsonType.null || from === BsonType.undefined) {
        if (nested) return false
        out.reserve(4)
        putAscii(out, 'NULL')
      } else {
        const start = out.used
        if (!element(out, bytes, from, value, at)) return false
        if (!nested) quote(out, start)
      }
      out.reserve(2)
    }
    out.arena[out.used++] = CLOSE
    return true
  }
}

/** Puts quotes around what stands behind `start` where they are needed. */
function quote(out: CellArena, start: number): void {
  const { arena, used: end } = out
  let needed = end === start || isNull(arena, start, end)
  let escapes = 0
  for (let at = start; at < end; at++) {
    const special = SPECIAL[arena[at]!]!
    if (special === 0) continue
    if (special === 3) {
      needed ||= isSpace(arena, at, end)
      continue
    }
    needed = true
    if (special === 2) escapes++
  }
  if (!needed) return
  const grown = end + escapes + 2
  out.reserve(grown - end)
  const moved = out.arena
  let to = grown
  moved[--to] = QUOTE
  for (let at = end - 1; at >= start; at--) {
    const byte = moved[at]!
    moved[--to] = byte
    if (SPECIAL[byte] === 2) moved[--to] = BACKSLASH
  }
  moved[start] = QUOTE
  out.used = grown
}

/** `null` in any case. */
function isNull(arena: Uint8Array, start: number, end: number): boolean {
  return (
    end - start === 4 &&
    (arena[start]! | 0x20) === 0x6e &&
    (arena[start + 1]! | 0x20) === 0x75 &&
    (arena[start + 2]! | 0x20) === 0x6c &&
    (arena[start + 3]! | 0x20) === 0x6c
  )
}

function isSpace(arena: Uint8Array, at: number, end: number): boolean {
  const two = arena[at]! * 256 + (at + 1 < end ? arena[at + 1]! : 0)
  return SPACES.has(two) || (at + 2 < end && SPACES.has(two * 256 + arena[at + 2]!))
}
