/** Values that become JSON strings. */
import type { Arena } from '../../../core/packed-rows.ts'
import { AS_TEXT, CellRefused, malformed } from './cells.ts'
import type { RecordWriter } from './record-writer.ts'
import { VALUE } from './record-reader.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Quotes around the text. */
const QUOTES = 2
/** Up to here the length of a cell takes one byte. */
const SHORT_MAX = 127 - VALUE - QUOTES

/** Bytes that an escape adds: 0 for a character that stays as it is, 1 for `\n`, 5 for `\u0000`. */
const EXTRA = Uint8Array.from({ length: 256 }, (_, char) => {
  if (char === QUOTE || char === BACKSLASH) return 1
  return char >= 0x20 ? 0 : JSON.stringify(String.fromCharCode(char)).length - 3
})
/** Second character of an escape of two. */
const SHORT_ESCAPE = Uint8Array.from({ length: 256 }, (_, char) =>
  EXTRA[char] === 1 ? JSON.stringify(String.fromCharCode(char)).charCodeAt(2) : 0,
)
/** From here on copying by the engine pays. */
const NATIVE_COPY_MIN = 32
const HEX = Buffer.from('0123456789abcdef')
/** The longest escape. */
const ESCAPE_MAX = 6
/** Up to here room for the worst case is made, and one pass is enough. */
const ONE_PASS_MAX = 4096

/** UTF-8 text as a JSON string. */
export function writeString(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const end = offset + length
  if (length > ONE_PASS_MAX) return writeLong(arena, offset, end, out)
  out.reserve(length * ESCAPE_MAX + QUOTES)
  const start = out.at
  const gap = length <= SHORT_MAX ? 1 : 2
  const { bytes } = out
  let to = start + gap
  bytes[to++] = QUOTE
  to = writeRuns(arena, offset, end, bytes, to)
  bytes[to++] = QUOTE
  out.at = to
  const size = to - start - gap + VALUE
  if (gap === 1 && size < 128) bytes[start] = size
  else if (gap === 2 && size < 16384) {
    bytes[start] = (size & 127) | 128
    bytes[start + 1] = size >>> 7
  } else out.closeGap(start, gap, VALUE)
}

function writeLong(arena: Arena, start: number, end: number, out: RecordWriter): void {
  let size = end - start + QUOTES
  for (let at = cleanUntil(arena, start, end); at < end; at = cleanUntil(arena, at + 1, end))
    size += EXTRA[arena[at]!]!
  out.reserve(size)
  out.varint(size + VALUE)
  const { bytes } = out
  bytes[out.at++] = QUOTE
  out.at = writeRuns(arena, start, end, bytes, out.at)
  bytes[out.at++] = QUOTE
}

/** What needs no escape is copied as far as it goes. Returns where the text ends. */
function writeRuns(arena: Arena, start: number, end: number, bytes: Arena, first: number): number {
  let to = first
  let run = start
  for (;;) {
    const runEnd = cleanUntil(arena, run, end)
    const length = runEnd - run
    if (length >= NATIVE_COPY_MIN) arena.copy(bytes, to, run, runEnd)
    else for (let i = 0; i < length; i++) bytes[to + i] = arena[run + i]!
    to += length
    if (runEnd === end) return to
    to = writeEscape(arena[runEnd]!, bytes, to)
    run = runEnd + 1
  }
}

/** The first byte that needs an escape, or the end. */
function cleanUntil(arena: Arena, start: number, end: number): number {
  let at = start
  const last = end - 4
  while (
    at <= last &&
    (EXTRA[arena[at]!]! | EXTRA[arena[at + 1]!]! | EXTRA[arena[at + 2]!]! | EXTRA[arena[at + 3]!]!) === 0
  )
    at += 4
  while (at < end && EXTRA[arena[at]!] === 0) at++
  return at
}

function writeEscape(char: number, bytes: Arena, to: number): number {
  bytes[to] = BACKSLASH
  if (EXTRA[char] === 1) {
    bytes[to + 1] = SHORT_ESCAPE[char]!
    return to + 2
  }
  bytes[to + 1] = 0x75
  bytes[to + 2] = 0x30
  bytes[to + 3] = 0x30
  bytes[to + 4] = HEX[char >> 4]!
  bytes[to + 5] = HEX[char & 15]!
  return to + ESCAPE_MAX
}

/** Raw bytes as base64. */
export function writeBase64(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const size = Math.ceil(length / 3) * 4
  out.reserve(size + QUOTES)
  out.varint(size + QUOTES + VALUE)
  out.bytes[out.at++] = QUOTE
  out.at += out.bytes.write(arena.toString('base64', offset, offset + length), out.at, 'latin1')
  out.bytes[out.at++] = QUOTE
}

/** Bytes as they are inside an array: `\x` and hex digits. */
export function writeHexAsBase64(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const raw = hexBytes(arena.latin1Slice(offset, offset + length))
  writeBase64(raw, 0, raw.length, out)
}

/** The bytes that `\x0aff` stands for. */
/**
 * JSON text as a JSON string. A document that is only a number must be one of a double: in the replica it would become
 * an infinity, which no client can read.
 */
export function writeJson(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const first = arena[offset]!
  const isPlain = first === 0x7b || first === 0x5b || first === 0x22
  if (!isPlain && length > 4) checkDocument(arena.latin1Slice(offset, offset + length))
  writeString(arena, offset, length, out)
}

function checkDocument(text: string): void {
  if (!/^\s*-?\d/.test(text) || Number.isFinite(Number(text))) return
  throw new CellRefused('value-unsafe', 'is a JSON number larger than any double', AS_TEXT)
}

export function hexBytes(text: string): Arena {
  if (!/^\\x(?:[0-9a-f]{2})*$/i.test(text)) throw malformed('bytes')
  return Buffer.from(text.slice(2), 'hex') as Arena
}

export function writeBoolean(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  const char = arena[offset]
  if (length !== 1 || (char !== 0x74 && char !== 0x66)) throw malformed('a boolean')
  const { bytes, at } = out
  if (char === 0x74) {
    bytes[at] = 4 + VALUE
    bytes[at + 1] = 0x74
    bytes[at + 2] = 0x72
    bytes[at + 3] = 0x75
    bytes[at + 4] = 0x65
    out.at = at + 5
  } else {
    bytes[at] = 5 + VALUE
    bytes[at + 1] = 0x66
    bytes[at + 2] = 0x61
    bytes[at + 3] = 0x6c
    bytes[at + 4] = 0x73
    bytes[at + 5] = 0x65
    out.at = at + 6
  }
}
