import type { Doc, Scalar } from './value.ts'

export type ChangeKind = 'insert' | 'update' | 'replace' | 'delete'

export type EntryKind =
  | ChangeKind
  | 'drop'
  | 'rename'
  | 'dropDatabase'
  | 'create'
  | 'createIndexes'
  | 'dropIndexes'
  | 'modify'
  | 'shardCollection'
  | 'reshardCollection'
  | 'refineCollectionShardKey'
  | 'noop'

/** What an update changed, by dotted path. */
export interface UpdateDescription {
  readonly updatedFields: Doc
  readonly removedFields: readonly string[]
  readonly truncatedArrays: readonly { readonly field: string; readonly newSize: number }[]
  /** Paths that could be read in two ways, as lists of field names and array indexes. */
  readonly disambiguatedPaths: ReadonlyMap<string, readonly (string | number)[]>
}

/** One operation of the log; those of a transaction share their time and are told apart by their index. */
export interface LogEntry {
  readonly time: bigint
  /** The place within the transaction. */
  readonly index: number
  readonly wall: number
  readonly kind: EntryKind
  readonly database: string
  readonly collection: string
  readonly uuid: Buffer | null
  readonly documentKey: Doc | null
  readonly before: Doc | null
  readonly after: Doc | null
  /** Whether pre- and post-image were recorded and have not expired. */
  images: boolean
  readonly update: UpdateDescription | null
  readonly description: Doc | null
  /** The options of a collection before they were modified. */
  readonly stateBefore: Doc | null
  readonly to: {
    readonly database: string
    readonly collection: string
    readonly dropped: Buffer | null
  } | null
  readonly transaction: { readonly lsid: Doc; readonly txnNumber: Scalar } | null
  /** Written by the migration of a chunk: no stream through a mongos shows it. */
  readonly fromMigrate: boolean
  readonly shard: number
}

/** The operation log that all members share. Places in it are counted from its very beginning. */
export class Log {
  #entries: LogEntry[] = []
  #base = 0
  #waiting = new Set<() => void>()
  /** Streams read up to this place only. */
  limit = Number.POSITIVE_INFINITY

  append(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#entries.push(entry)
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const wake of waiting) wake()
  }

  get start(): number {
    return this.#base
  }

  get end(): number {
    return this.#base + this.#entries.length
  }

  at(place: number): LogEntry {
    return this.#entries[place - this.#base]!
  }

  /** The place after the last entry that a majority of the members has. */
  get visible(): number {
    return Math.min(this.end, this.limit)
  }

  /** The time of the oldest entry that is still there. */
  get oldest(): bigint {
    return this.#entries[0]?.time ?? 0n
  }

  get newest(): LogEntry | undefined {
    return this.#entries.at(-1)
  }

  /** Forgets all entries before that place. */
  cut(place: number): void {
    const count = Math.max(0, Math.min(place - this.#base, this.#entries.length))
    this.#entries.splice(0, count)
    this.#base += count
  }

  /** Forgets all entries from that place on, as a rollback does. */
  truncate(place: number): void {
    this.#entries.splice(Math.max(0, place - this.#base))
  }

  /** The place of the first entry of that time or a later one. */
  placeOf(time: bigint): number {
    let [low, high] = [0, this.#entries.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.time < time) low = middle + 1
      else high = middle
    }
    return this.#base + low
  }

  entries(): readonly LogEntry[] {
    return this.#entries
  }

  /** Resolves with the next entry, with the deadline, or when the signal fires. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, milliseconds)
      signal.addEventListener('abort', done)
      this.#waiting.add(done)
      if (signal.aborted) done()
    })
  }

  /** Wakes everybody who waits for an entry. */
  wake(): void {
    for (const wake of this.#waiting) wake()
  }
}
