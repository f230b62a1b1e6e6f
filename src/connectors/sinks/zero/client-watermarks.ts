/**
 * How far each client is, table by table: a view on what subscribers have acknowledged. Named clients of the gateway keep
 * it here, so it can also be set; what a zero-cache has, it keeps itself.
 */
import type { ChangeLog } from './change-log.ts'
import type { Watermark } from './log-messages.ts'
import { isNamed, shownName } from './gateway-request.ts'
import { watermarkText } from './messages.ts'
import { readWatermark } from './stream-request.ts'
import type { Subscribers } from './subscribers.ts'
import type { TableVersion } from './table-version.ts'

/** Stands for every table that is not named beside it. */
const ALL = '*'

/** Why a watermark cannot be had or set; `status` as in HTTP. */
export interface WatermarkRefusal {
  readonly status: 400 | 404 | 409 | 410
  readonly refused: string
}

/** What a client has, by table, as text. */
export type WatermarksOfClient = Readonly<Record<string, string>>

export interface ClientWatermarksOptions {
  readonly log: Pick<ChangeLog, 'head' | 'reader'>
  readonly subscribers: Subscribers
}

export class ClientWatermarks {
  readonly #options: ClientWatermarksOptions
  /** How to end the connections of a client. */
  readonly #ends = new Map<string, Map<object, () => void>>()

  constructor(options: ClientWatermarksOptions) {
    this.#options = options
  }

  /** Of a named client; a token cannot touch the clients of another one. */
  static idOf(identity: string, client: string): string {
    return `${identity}/client/${client}`
  }

  /** Everybody who is known, zero-caches too. */
  ids(): readonly string[] {
    return this.#options.subscribers.ids()
  }

  /** Where the client goes on: before it lacks anything of these tables. Null when one of them was never acknowledged. */
  startOf(id: string, tables: readonly string[] | null): Watermark | null {
    const known = this.#options.subscribers.tables(id)
    if (known === null) return null
    const wanted = tables ?? [ALL, ...Object.keys(known)]
    const watermarks = wanted.map((table) => known[table] ?? known[ALL])
    return watermarks.some((watermark) => watermark === undefined)
      ? null
      : Math.min(...(watermarks as Watermark[]))
  }

  /** A connection of the client has begun after `watermark`: the log is held from there. `end` closes it. */
  join(id: string, connection: object, watermark: Watermark, end: () => void): void {
    this.#options.subscribers.advance(id, connection, watermark)
    const ends = this.#ends.get(id) ?? new Map<object, () => void>()
    this.#ends.set(id, ends.set(connection, end))
  }

  leave(id: string, connection: object): void {
    this.#options.subscribers.leave(id, connection)
    const ends = this.#ends.get(id)
    if (ends?.delete(connection) === true && ends.size === 0) this.#ends.delete(id)
  }

  /** The client has stored everything of its tables up to there. False when the log has no such watermark. */
  acknowledge(
    id: string,
    connection: object,
    tables: readonly string[] | null,
    watermark: Watermark,
  ): boolean {
    const { log, subscribers } = this.#options
    if (log.reader.lastEntryOf(watermark) === null) return false
    subscribers.setTables(id, Object.fromEntries((tables ?? [ALL]).map((table) => [table, watermark])))
    subscribers.advance(id, connection, watermark)
    return true
  }

  /** It has to begin anew. */
  forget(id: string): void {
    this.#options.subscribers.setTables(id, null)
  }

  /** Null for a client that is not known, or has acknowledged nothing. */
  get(id: string): WatermarksOfClient | null {
    const { subscribers } = this.#options
    const tables = subscribers.tables(id) ?? this.#whole(id)
    return tables === null
      ? null
      : Object.fromEntries(Object.entries(tables).map(([name, at]) => [name, watermarkText(at)]))
  }

  /** The last watermark that a client has acknowledged for a table; null when there is none. */
  of(id: string, table: string): string | WatermarkRefusal | null {
    const name = this.#nameOf(table)
    if (typeof name !== 'string') return name
    const known = this.get(id)
    return known === null ? null : (known[name] ?? known[ALL] ?? null)
  }

  /**
   * What a named client gets next time begins after `text`, backwards or forwards; connections that it has are ended, so
   * that the next time is now. Null when it is done.
   */
  set(id: string, table: string, text: string): WatermarkRefusal | null {
    const { log, subscribers } = this.#options
    if (!id.includes('/client/'))
      return { status: 409, refused: 'a zero-cache keeps its watermark itself: it cannot be set' }
    const name = this.#nameOf(table)
    if (typeof name !== 'string') return name
    const watermark = readWatermark(text)
    if (watermark === null) return { status: 400, refused: 'this is no watermark' }
    if (watermark > log.head || log.reader.lastEntryOf(watermark) === null)
      return { status: 410, refused: 'the watermark is not, or no longer, in the change log' }
    // Each takes itself off the list.
    Array.from(this.#ends.get(id)?.values() ?? []).forEach((end) => end())
    const others = name === ALL ? {} : subscribers.tables(id)
    subscribers.setTables(id, { ...others, [name]: watermark })
    return null
  }

  #nameOf(table: string): string | WatermarkRefusal {
    if (table === ALL) return ALL
    const snapshot = this.#options.log.reader.snapshot()
    try {
      const found = snapshot.tables.find(({ version }) => isNamed(version, [table]))
      if (found !== undefined) return shownName(found.version)
    } finally {
      snapshot.close()
    }
    return { status: 404, refused: `there is no table "${table.slice(0, 100)}"` }
  }

  /** A zero-cache acknowledges all tables at once. */
  #whole(id: string): Readonly<Record<string, Watermark>> | null {
    if (id.includes('/client/')) return null
    const acked = this.#options.subscribers.ackedBy(id)
    return acked === null || acked === 0 ? null : { [ALL]: acked }
  }
}

/** Names of tables as they are kept: as Zero calls them. */
export function namesOf(
  tables: readonly string[] | null,
  visible: readonly TableVersion[],
): readonly string[] | null {
  return tables?.map((name) => shownName(visible.find((version) => isNamed(version, [name]))!)) ?? null
}
