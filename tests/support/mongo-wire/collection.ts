import { randomBytes } from 'node:crypto'

import { compareValues, keyOf } from './compare.ts'
import type { Transaction } from './transaction.ts'
import { doc, Doc, type Value } from './value.ts'

/** What a document was from some time on; `null` from its deletion on. */
export interface Version {
  readonly time: bigint
  readonly document: Doc | null
}

/** All that is known of one `_id`. */
export interface Slot {
  readonly id: Value
  readonly key: string
  versions: Version[]
  /** The open transaction that wrote it, and what it wrote. */
  writer: Transaction | null
  pending: Doc | null
  shard: number
}

export interface Index {
  readonly name: string
  readonly key: Doc
  readonly definition: Doc
}

/** What a reader sees: the state of a time, with the writes of its own transaction. */
export interface View {
  readonly time: bigint
  readonly transaction: Transaction | null
}

/** The newest state. */
export const LATEST: View = { time: 0xffff_ffff_ffff_ffffn, transaction: null }

export interface IdRange {
  /** The first `_id`, included. */
  readonly min?: Value | undefined
  /** The end, which is not included. */
  readonly max?: Value | undefined
}

/** A collection with the history of its documents, in the order of `_id` and in that of insertion. */
export class Collection {
  readonly uuid: Buffer = randomUuid()
  readonly created: bigint
  readonly type: 'collection' | 'view' | 'timeseries'
  database: string
  name: string
  options: Doc
  dropped = false
  shardKey: readonly string[] = []
  readonly indexes = new Map<string, Index>()
  readonly #slots = new Map<string, Slot>()
  #sorted: Slot[] = []

  constructor(database: string, name: string, options: Doc, created: bigint) {
    this.database = database
    this.name = name
    this.options = options
    this.created = created
    this.type = options.get('viewOn') ? 'view' : options.get('timeseries') ? 'timeseries' : 'collection'
    const key = doc({ _id: 1 })
    this.indexes.set('_id_', { name: '_id_', key, definition: doc({ v: 2, key, name: '_id_' }) })
  }

  get namespace(): string {
    return `${this.database}.${this.name}`
  }

  /** Whether pre- and post-images are recorded. */
  get recordsImages(): boolean {
    const option = this.options.get('changeStreamPreAndPostImages')
    const enabled = option instanceof Doc ? option.get('enabled') : undefined
    return enabled !== undefined && enabled.bytes[0] === 1
  }

  slot(id: Value): Slot | undefined {
    return this.#slots.get(keyOf(id))
  }

  /** The slot of an `_id`, made when there is none; a deleted one moves to the end of the insertion order. */
  claim(id: Value): Slot {
    const key = keyOf(id)
    const known = this.#slots.get(key)
    if (known) {
      if (newest(known) === null && known.writer === null) {
        this.#slots.delete(key)
        this.#slots.set(key, known)
      }
      return known
    }
    const slot: Slot = { id, key, versions: [], writer: null, pending: null, shard: 0 }
    this.#slots.set(key, slot)
    const last = this.#sorted.at(-1)
    if (last === undefined || compareValues(last.id, id) < 0) this.#sorted.push(slot)
    else this.#sorted.splice(this.#placeOf(id), 0, slot)
    return slot
  }

  /** Forgets a slot that nobody can see any more. */
  forget(slot: Slot): void {
    if (this.#slots.get(slot.key) !== slot) return
    this.#slots.delete(slot.key)
    this.#sorted.splice(this.#placeOf(slot.id), 1)
  }

  read(id: Value, view: View): Doc | null {
    const slot = this.slot(id)
    return slot ? seen(slot, view) : null
  }

  /** The documents in the order of `_id`; each is read when it is asked for, so the view may move in between. */
  *byId(view: () => View, range: IdRange = {}, backward = false): Generator<Doc> {
    let last: Value | undefined
    for (;;) {
      const slot = backward ? this.#before(last, range) : this.#after(last, range)
      if (slot === undefined) return
      last = slot.id
      const document = seen(slot, view())
      if (document !== null) yield document
    }
  }

  /** The documents in the order in which they were inserted. */
  *byInsertion(view: () => View): Generator<Doc> {
    for (const slot of this.#slots.values()) {
      const document = seen(slot, view())
      if (document !== null) yield document
    }
  }

  slots(): Iterable<Slot> {
    return this.#slots.values()
  }

  count(view: View): number {
    let count = 0
    for (const slot of this.#slots.values()) if (seen(slot, view) !== null) count++
    return count
  }

  #after(last: Value | undefined, range: IdRange): Slot | undefined {
    const from = last ?? range.min
    let place = from === undefined ? 0 : this.#placeOf(from)
    const found = this.#sorted[place]
    if (last !== undefined && found && compareValues(found.id, last) === 0) place++
    const slot = this.#sorted[place]
    if (slot === undefined) return undefined
    return range.max !== undefined && compareValues(slot.id, range.max) >= 0 ? undefined : slot
  }

  #before(last: Value | undefined, range: IdRange): Slot | undefined {
    const end = last ?? range.max
    const slot = this.#sorted[(end === undefined ? this.#sorted.length : this.#placeOf(end)) - 1]
    if (slot === undefined) return undefined
    return range.min !== undefined && compareValues(slot.id, range.min) < 0 ? undefined : slot
  }

  /** The place of the first slot whose `_id` is not less. */
  #placeOf(id: Value): number {
    let [low, high] = [0, this.#sorted.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareValues(this.#sorted[middle]!.id, id) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The newest committed document. */
export function newest(slot: Slot): Doc | null {
  return slot.versions.at(-1)?.document ?? null
}

export function seen(slot: Slot, view: View): Doc | null {
  if (slot.writer !== null && slot.writer === view.transaction) return slot.pending
  for (let index = slot.versions.length - 1; index >= 0; index--) {
    const version = slot.versions[index]!
    if (version.time <= view.time) return version.document
  }
  return null
}

function randomUuid(): Buffer {
  const bytes = randomBytes(16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes
}
