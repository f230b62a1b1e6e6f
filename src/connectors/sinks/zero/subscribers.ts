/** Who follows the log and how far each of them is: what every one has may be forgotten. */
import type { Watermark } from './log-messages.ts'

export interface SubscriberState {
  readonly id: string
  /** Everything up to here is stored by the subscriber. */
  readonly acked: Watermark
  /** Milliseconds since 1970 UTC. */
  readonly seen: number
  /** Of a named client, what it has of each table; null for who follows whole, or has acknowledged nothing. */
  readonly tables: Tables | null
}

export type Tables = Readonly<Record<string, Watermark>>

interface Known {
  acked: Watermark
  seen: number
  /** Connections that are open, each with what it has. */
  readonly open: Map<object, Watermark>
  tables: Tables | null
  /** As it is stored; null when it has to be. */
  saved: Watermark | null
}

export class Subscribers {
  readonly #known = new Map<string, Known>()
  readonly #now: () => number

  constructor(stored: readonly SubscriberState[], now: () => number) {
    this.#now = now
    for (const { id, acked, seen, tables } of stored)
      this.#known.set(id, { acked, seen, tables, open: new Map(), saved: acked })
  }

  /** A connection of a subscriber has everything up to here. */
  advance(id: string, connection: object, acked: Watermark): void {
    let known = this.#known.get(id)
    if (known === undefined) this.#known.set(id, (known = this.#new(acked)))
    known.open.set(connection, acked)
    known.seen = this.#now()
    // Two that call themselves the same: the one that is behind counts.
    known.acked = Math.min(...known.open.values())
  }

  /** What the subscriber had then is kept for it. */
  leave(id: string, connection: object): void {
    const known = this.#known.get(id)
    if (known === undefined) return
    known.open.delete(connection)
    known.seen = this.#now()
    if (known.open.size > 0) known.acked = Math.min(...known.open.values())
  }

  ids(): readonly string[] {
    return [...this.#known.keys()]
  }

  /** Null for who is not known. */
  ackedBy(id: string): Watermark | null {
    return this.#known.get(id)?.acked ?? null
  }

  tables(id: string): Tables | null {
    return this.#known.get(id)?.tables ?? null
  }

  /** The client has so much of each table, and needs what follows; null: it has nothing that counts. */
  setTables(id: string, tables: Tables | null): void {
    const known = this.#known.get(id) ?? this.#new(0)
    this.#known.set(id, known)
    known.tables = tables
    known.saved = null
    known.seen = this.#now()
    if (tables !== null) known.acked = Math.min(...Object.values(tables))
    else if (known.open.size === 0) known.seen = -Infinity
  }

  /** It holds nothing any more, from the next time that others are forgotten. */
  release(id: string): void {
    const known = this.#known.get(id)
    if (known !== undefined && known.open.size === 0) known.seen = -Infinity
  }

  /** Those that were away for longer are forgotten; returns who. */
  forgetBefore(timeMs: number): readonly string[] {
    const gone = [...this.#known]
      .filter(([, { open, seen }]) => open.size === 0 && seen < timeMs)
      .map(([id]) => id)
    for (const id of gone) this.#known.delete(id)
    return gone
  }

  /** Everybody has everything before this; `head` when nobody is known. */
  acked(head: Watermark): Watermark {
    return Math.min(head, ...[...this.#known.values()].map(({ acked }) => acked))
  }

  /** What has to be stored since the last call. */
  takeChanged(): readonly SubscriberState[] {
    return [...this.#known].flatMap(([id, known]) => {
      if (known.acked === known.saved) return []
      known.saved = known.acked
      return [{ id, acked: known.acked, seen: known.seen, tables: known.tables }]
    })
  }

  #new(acked: Watermark): Known {
    return { acked, seen: this.#now(), open: new Map(), tables: null, saved: null }
  }
}
