import { randomBytes } from 'node:crypto'

import { CommandError } from './errors.ts'
import type { Doc } from './value.ts'

/** Some documents of a cursor, with what else its replies carry. */
export interface Page {
  readonly documents: readonly Buffer[]
  readonly token?: Doc
  readonly done: boolean
}

/** What a cursor reads from. */
export interface PageSource {
  page(size: number, waitMs: number, signal: AbortSignal): Promise<Page> | Page
}

export interface Cursor {
  readonly id: bigint
  readonly namespace: string
  /** The session in which it was opened. */
  readonly session: string | null
  readonly source: PageSource
  /** A change stream, whose errors are labelled and whose getMore waits. */
  readonly isStream: boolean
  busy: boolean
}

/** The open cursors of one member. */
export class Cursors {
  readonly #cursors = new Map<bigint, Cursor>()

  open(cursor: Omit<Cursor, 'id' | 'busy'>, id = randomId()): Cursor {
    const opened = { ...cursor, id, busy: false }
    this.#cursors.set(id, opened)
    return opened
  }

  get(id: bigint): Cursor {
    const cursor = this.#cursors.get(id)
    if (cursor) return cursor
    throw new CommandError(43, `cursor id ${id} not found`)
  }

  close(id: bigint): boolean {
    return this.#cursors.delete(id)
  }

  clear(): void {
    this.#cursors.clear()
  }

  list(): readonly Cursor[] {
    return [...this.#cursors.values()]
  }
}

function randomId(): bigint {
  const id = randomBytes(8).readBigUInt64BE() >> 1n
  return id === 0n ? 1n : id
}

/** A cursor over documents that are read when they are asked for. */
export class DocumentPages implements PageSource {
  readonly #rows: Iterator<Doc>
  #left: number
  readonly #replyLimit: number
  #held: Buffer | null = null

  constructor(rows: Iterable<Doc>, limit: number, replyLimit: number) {
    this.#rows = rows[Symbol.iterator]()
    this.#left = limit
    this.#replyLimit = replyLimit
  }

  page(size: number): Page {
    const documents: Buffer[] = []
    let bytes = 0
    while (documents.length < size && this.#left > 0) {
      const document = this.#next()
      if (document === null) return { documents, done: true }
      if (documents.length > 0 && bytes + document.length > this.#replyLimit) {
        this.#held = document
        break
      }
      documents.push(document)
      bytes += document.length
      this.#left--
    }
    return { documents, done: this.#left === 0 }
  }

  #next(): Buffer | null {
    const held = this.#held
    this.#held = null
    if (held) return held
    const next = this.#rows.next()
    return next.done ? null : next.value.bytes
  }
}
