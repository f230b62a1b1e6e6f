/** A byte arena that grows: what has to be written is reserved first, then put at `used`. */
import type { Arena } from '../../../../core/packed-rows.ts'

export class CellArena {
  arena: Arena
  /** The same bytes, for those who write several at a time. */
  view: DataView
  used = 0

  constructor(size: number) {
    this.arena = Buffer.allocUnsafeSlow(size) as Arena
    this.view = viewOf(this.arena)
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (this.used + count > this.arena.length) this.grow(this.used + count)
  }

  protected grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.arena.length * 2)) as Arena
    this.arena.copy(grown, 0, 0, this.used)
    this.arena = grown
    this.view = viewOf(grown)
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Copies bytes as they are; nothing is checked. The room is there. */
export function putBytes(out: CellArena, bytes: Buffer, at: number, end: number): void {
  const { arena } = out
  let to = out.used
  if (end - at > LOOP_MAX) {
    bytes.copy(arena, to, at, end)
    out.used = to + end - at
    return
  }
  while (at < end) arena[to++] = bytes[at++]!
  out.used = to
}

/** ASCII text. The room is there. */
export function putAscii(out: CellArena, text: string): void {
  const { arena } = out
  let to = out.used
  for (let index = 0; index < text.length; index++) arena[to++] = text.charCodeAt(index)
  out.used = to
}

/** Up to so many bytes a loop is faster than a call that leaves JavaScript. */
export const LOOP_MAX = 96
