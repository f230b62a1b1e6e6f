import { createHash } from 'node:crypto'

import { Clock } from './clock.ts'
import { Collection, LATEST, newest, seen, type Slot, type View } from './collection.ts'
import { CommandError } from './errors.ts'
import { Log, type EntryKind, type LogEntry } from './log.ts'
import { getPath } from './path.ts'
import type { Change, Transaction } from './transaction.ts'
import { binary, doc, Doc, type Value } from './value.ts'

const HISTORY_MS = 300_000
const NOBODY = binary(createHash('sha256').update('').digest(), 0)

/** A write met the lock of an open transaction; outside of a transaction the writer waits for its end. */
export class Locked extends Error {
  readonly holder: Transaction

  constructor(holder: Transaction) {
    super('a transaction holds this document')
    this.holder = holder
  }
}

/** The data that all members of a cluster share: collections with their history, and the log. */
export class Store {
  readonly clock = new Clock()
  readonly log = new Log()
  readonly databases = new Map<string, Map<string, Collection>>()
  readonly open = new Set<Transaction>()
  readonly shards: number
  /** How far back a snapshot may lie, in milliseconds. */
  historyMs = HISTORY_MS
  /** How many operations of a transaction fit into one entry of the log; all of an entry share its time. */
  transactionEntry = Number.POSITIVE_INFINITY
  #deleted: { readonly collection: Collection; readonly slot: Slot; readonly time: bigint }[] = []
  #ended = new Set<() => void>()
  #majority: bigint | null = null

  constructor(shards = 1) {
    this.shards = shards
    this.append({ kind: 'noop' })
  }

  find(database: string, name: string): Collection | undefined {
    return this.databases.get(database)?.get(name)
  }

  /** The newest time that a majority of the members has. */
  get committed(): bigint {
    return this.#majority ?? this.clock.last
  }

  /** What a majority of the members has. */
  get majorityView(): View {
    return this.#majority === null ? LATEST : { time: this.#majority, transaction: null }
  }

  /** From now on writes stay on the primary alone. */
  holdMajority(): void {
    this.#majority ??= this.clock.last
    this.log.limit = Math.min(this.log.limit, this.log.end)
  }

  /** All members have all writes again. */
  releaseMajority(): void {
    this.#majority = null
    this.log.limit = Number.POSITIVE_INFINITY
    this.log.wake()
  }

  /** Undoes what only the former primary had. */
  rollBack(): void {
    const time = this.#majority
    if (time === null) return
    this.log.truncate(this.log.limit)
    for (const collections of this.databases.values())
      for (const collection of collections.values()) {
        if (collection.created > time) collections.delete(collection.name)
        for (const slot of collection.slots()) {
          slot.versions = slot.versions.filter((version) => version.time <= time)
          if (slot.versions.length === 0 && slot.writer === null) collection.forget(slot)
        }
      }
    this.releaseMajority()
  }

  /** Makes a collection and logs it. */
  create(database: string, name: string, options: Doc = Doc.empty): Collection {
    if (this.find(database, name))
      throw new CommandError(48, `Collection ${database}.${name} already exists.`)
    const entry = this.append({ kind: 'noop' })
    const collection = new Collection(database, name, options, entry.time)
    const collections = this.databases.get(database) ?? new Map<string, Collection>()
    this.databases.set(database, collections.set(name, collection))
    const idIndex = doc({ v: 2, key: { _id: 1 }, name: '_id_' })
    this.append({
      kind: 'create',
      database,
      collection: name,
      uuid: collection.type === 'view' ? null : collection.uuid,
      description: collection.type === 'view' ? options : Doc.of([...options.fields, ['idIndex', idIndex]]),
    })
    return collection
  }

  /** Appends one entry of its own time. */
  append(entry: Partial<LogEntry> & { readonly kind: EntryKind }): LogEntry {
    const whole: LogEntry = { ...this.#blank(), time: this.clock.tick(), wall: this.clock.now(), ...entry }
    this.log.append([whole])
    return whole
  }

  /** Applies and logs one write outside of a transaction, with the time of the entry before it when that is given. */
  write(change: Change, together: LogEntry | null = null): LogEntry {
    const slot = change.collection.claim(change.id)
    if (slot.writer !== null) throw new Locked(slot.writer)
    const joins = together !== null && together === this.log.newest
    const time = joins ? together.time : this.clock.tick()
    const entry = this.#apply(change, slot, time, joins ? together.index + 1 : 0, null)
    this.log.append([entry])
    this.#sweep()
    return entry
  }

  /** Writes within a transaction: checked for conflicts now, seen by others after the commit. */
  stage(change: Change, transaction: Transaction): void {
    const slot = change.collection.claim(change.id)
    this.conflict(slot, transaction)
    slot.writer = transaction
    slot.pending = change.after
    transaction.slots.add(slot)
    transaction.changes.push(change)
  }

  /** Fails when somebody else wrote the document since the transaction's snapshot, or is about to. */
  conflict(slot: Slot, transaction: Transaction): void {
    const held = slot.writer !== null && slot.writer !== transaction
    const written = slot.writer === null && (slot.versions.at(-1)?.time ?? 0n) > transaction.time
    if (held || written)
      throw new CommandError(
        112,
        'Caused by :: Write conflict during plan execution and yielding is disabled. :: Please retry your operation or multi-document transaction.',
        ['TransientTransactionError'],
      )
  }

  commit(transaction: Transaction): bigint {
    if (transaction.commitTime !== null) return transaction.commitTime
    const { txnNumber } = transaction
    // The log names the user of the session too: by a digest, here of nobody.
    const lsid = transaction.lsid.get('uid') ? transaction.lsid : transaction.lsid.with('uid', NOBODY)
    // Each shard logs its part of a transaction with a time of its own.
    const shards = new Map<number, Change[]>()
    for (const change of transaction.changes) {
      const shard = this.#shardOf(change)
      shards.set(shard, [...(shards.get(shard) ?? []), change])
    }
    let time = this.clock.last
    const entries: LogEntry[] = []
    this.#release(transaction, 'committed')
    for (const changes of shards.values()) {
      for (const [index, change] of changes.entries()) {
        if (index === 0 || index % this.transactionEntry === 0) time = this.clock.tick()
        const slot = change.collection.claim(change.id)
        entries.push(this.#apply(change, slot, time, index, { lsid, txnNumber }))
      }
    }
    transaction.commitTime = time
    if (entries.length > 0) this.log.append(entries)
    this.#sweep()
    return time
  }

  abort(transaction: Transaction): void {
    if (transaction.state !== 'open') return
    this.#release(transaction, 'aborted')
    for (const change of transaction.changes) {
      const slot = change.collection.slot(change.id)
      if (slot && slot.versions.length === 0 && slot.writer === null) change.collection.forget(slot)
    }
  }

  /** Resolves when some transaction has ended. */
  transactionEnded(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done)
        this.#ended.delete(done)
        resolve()
      }
      signal.addEventListener('abort', done)
      this.#ended.add(done)
      if (signal.aborted) done()
    })
  }

  /** The oldest time that a snapshot may have. */
  get horizon(): bigint {
    return this.clock.before(this.historyMs)
  }

  documentKey(collection: Collection, document: Doc): Doc {
    const fields: [string, Value][] = []
    for (const path of collection.shardKey) {
      const value = path === '_id' ? undefined : getPath(document, path.split('.'))
      if (value !== undefined) fields.push([path, value])
    }
    return Doc.of([...fields, ['_id', document.get('_id')!]])
  }

  /** Moves documents to another shard, as the migration of a chunk: no stream shows it. */
  migrate(collection: Collection, wanted: (document: Doc) => boolean, to: number): number {
    let moved = 0
    for (const slot of collection.slots()) {
      const document = seen(slot, LATEST)
      if (document === null || slot.shard === to || !wanted(document)) continue
      const common = {
        database: collection.database,
        collection: collection.name,
        uuid: collection.uuid,
        documentKey: this.documentKey(collection, document),
        fromMigrate: true,
      }
      this.append({ ...common, kind: 'insert', after: document, shard: to })
      this.append({ ...common, kind: 'delete', before: document, shard: slot.shard })
      slot.shard = to
      moved++
    }
    return moved
  }

  #apply(
    change: Change,
    slot: Slot,
    time: bigint,
    index: number,
    transaction: LogEntry['transaction'],
  ): LogEntry {
    const { collection } = change
    if (newest(slot) === null && change.after !== null) slot.shard = this.#shardOf(change)
    const horizon = this.#oldestNeeded()
    const kept = slot.versions.findLastIndex((version) => version.time <= horizon)
    if (kept > 0) slot.versions.splice(0, kept)
    slot.versions.push({ time, document: change.after })
    if (change.after === null) this.#deleted.push({ collection, slot, time })
    return {
      ...this.#blank(),
      time,
      index,
      wall: this.clock.now(),
      kind: change.kind,
      database: collection.database,
      // The documents of a time series lie in a collection of the system's, which no stream shows.
      collection: collection.type === 'timeseries' ? `system.buckets.${collection.name}` : collection.name,
      uuid: collection.uuid,
      documentKey: this.documentKey(collection, (change.after ?? change.before)!),
      before: change.before,
      after: change.after,
      images: collection.recordsImages,
      update: change.update,
      transaction,
      shard: slot.shard,
    }
  }

  #shardOf(change: Change): number {
    if (this.shards === 1) return 0
    const slot = change.collection.slot(change.id)
    if (slot && newest(slot) !== null) return slot.shard
    const key = this.documentKey(change.collection, (change.after ?? change.before)!)
    return createHash('md5').update(key.bytes).digest().readUInt32LE() % this.shards
  }

  #release(transaction: Transaction, state: 'committed' | 'aborted'): void {
    transaction.state = state
    this.open.delete(transaction)
    for (const slot of transaction.slots) {
      slot.writer = null
      slot.pending = null
    }
    for (const wake of this.#ended) wake()
  }

  #oldestNeeded(): bigint {
    let oldest = this.horizon
    for (const { time } of this.open) if (time < oldest) oldest = time
    return oldest
  }

  /** Forgets deleted documents that no snapshot can reach any more. */
  #sweep(): void {
    const oldest = this.#oldestNeeded()
    while (this.#deleted.length > 0 && this.#deleted[0]!.time < oldest) {
      const { collection, slot } = this.#deleted.shift()!
      if (newest(slot) === null && slot.writer === null && slot.versions.at(-1)!.time < oldest)
        collection.forget(slot)
    }
  }

  #blank(): Omit<LogEntry, 'kind' | 'time' | 'wall'> {
    return {
      index: 0,
      database: '',
      collection: '',
      uuid: null,
      documentKey: null,
      before: null,
      after: null,
      images: false,
      update: null,
      description: null,
      stateBefore: null,
      to: null,
      transaction: null,
      fromMigrate: false,
      shard: 0,
    }
  }
}
