/** Arrays: brace lists (`core/array-text.ts`) become JSON arrays of what their elements are alone. */
import type { Arena } from '../../../core/packed-rows.ts'
import { AS_TEXT, CellRefused, type CellWriter, malformed } from './cells.ts'
import { writeString } from './cell-text.ts'
import { CellReader, VALUE } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'

const OPEN = 0x7b
const CLOSE = 0x7d
const COMMA = 0x2c
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** What is most often enough for the length of an array. */
const GAP = 1

/** The writer of a column whose values are arrays, with the writer of its elements. */
export function arrayWriter(element: CellWriter): CellWriter {
  const list = new ArrayText(element)
  return (arena, offset, length, out) => {
    out.reserve(0)
    const start = out.at
    out.at += GAP
    list.write(arena, offset, offset + length, out)
    out.closeGap(start, GAP, VALUE)
  }
}

/** Arrays of JSON: the text of the JSON array in a JSON string. */
export function jsonArrayWriter(): CellWriter {
  const list = new ArrayText(writeRaw)
  const scratch = new RecordWriter(1024)
  return (arena, offset, length, out) => {
    scratch.clear()
    list.write(arena, offset, offset + length, scratch)
    writeString(scratch.bytes, 0, scratch.at, out)
  }
}

/** JSON text as it is. */
function writeRaw(arena: Arena, offset: number, length: number, out: RecordWriter): void {
  if (length === 0) throw malformed('JSON')
  out.reserve(length)
  out.varint(length + VALUE)
  out.copy(arena, offset, offset + length)
}

/** Goes over one brace list. Elements are written as cells, whose lengths are then taken away. */
class ArrayText {
  readonly #element: CellWriter
  readonly #value = new RecordWriter(1024)
  readonly #cell = new CellReader()
  #text = Buffer.alloc(0) as unknown as Arena

  constructor(element: CellWriter) {
    this.#element = element
  }

  write(arena: Arena, start: number, end: number, out: RecordWriter): void {
    if (arena[start] !== OPEN) throw bounds()
    let depth = 0
    let at = start
    // A value or a list may begin here; a list may end only where one began or behind a value.
    let wantsValue = true
    let mayClose = false
    do {
      if (at >= end) throw malformed('an array')
      out.reserve(2)
      const char = arena[at]!
      if (char === CLOSE) {
        if (wantsValue && !mayClose) throw malformed('an array')
        out.bytes[out.at++] = 0x5d
        depth--
        at++
        wantsValue = false
      } else if (!wantsValue) {
        if (char !== COMMA) throw malformed('an array')
        out.bytes[out.at++] = COMMA
        at++
        wantsValue = true
      } else if (char === OPEN) {
        out.bytes[out.at++] = 0x5b
        depth++
        at++
        mayClose = true
        continue
      } else {
        at = char === QUOTE ? this.#quoted(arena, at, end, out) : this.#bare(arena, at, end, out)
        wantsValue = false
      }
      mayClose = false
    } while (depth > 0)
    if (at !== end) throw malformed('an array')
  }

  #bare(arena: Arena, start: number, end: number, out: RecordWriter): number {
    let at = start
    while (at < end && arena[at] !== COMMA && arena[at] !== CLOSE) at++
    if (at === start) throw malformed('an array')
    if (at - start === 4 && arena.latin1Slice(start, at) === 'NULL') {
      out.reserve(4)
      out.at += out.bytes.write('null', out.at, 'latin1')
    } else this.#write(arena, start, at - start, out)
    return at
  }

  #quoted(arena: Arena, start: number, end: number, out: RecordWriter): number {
    if (this.#text.length < end - start) this.#text = Buffer.allocUnsafeSlow((end - start) * 2) as Arena
    const text = this.#text
    let length = 0
    for (let at = start + 1; at < end; at++) {
      let char = arena[at]!
      if (char === QUOTE) {
        this.#write(text, 0, length, out)
        return at + 1
      }
      if (char === BACKSLASH) {
        if (++at >= end) break
        char = arena[at]!
      }
      text[length++] = char
    }
    throw malformed('an array')
  }

  #write(arena: Arena, offset: number, length: number, out: RecordWriter): void {
    const value = this.#value
    const cell = this.#cell
    value.clear()
    value.reserve(0)
    this.#element(arena, offset, length, value)
    cell.reset(value.bytes, 0, value.at)
    cell.next()
    out.copy(value.bytes, cell.start, cell.end)
  }
}

function bounds(): CellRefused {
  return new CellRefused(
    'array-bounds',
    'is an array with bounds of its own, which JSON has no form for',
    AS_TEXT,
  )
}
