/** Follows the change stream from a place: replies to events to batches, with look-ups and what needs attention between. */
import { type MongoClient, Timestamp } from 'mongodb'
import { RecordBatch } from '../../../core/batch.ts'
import type { Logger } from '../../../core/context.ts'
import { SchemaError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { SourcePosition } from '../../../core/position.ts'
import { type BatchWriter, handOver } from '../../../core/source.ts'
import { ChangeCursor, type CursorOptions, type StreamStart } from './change-cursor.ts'
import { checkCollections, readCollections } from './check.ts'
import type { MongodbConfig, Units } from './config.ts'
import { EventDecoder } from './decoder.ts'
import { isCursorGone } from './errors.ts'
import { EventKind, EventView } from './events.ts'
import type { FedCollection, FedCollections } from './fed-table.ts'
import { type DocumentKey, type FoundDocument, keyText, lookUp } from './look-up.ts'
import { formatHalves, type Place, type StoredTable, type Surroundings, timeOfToken } from './position.ts'
import type { CursorReply } from './reply.ts'
import { SplitEvent } from './split-events.ts'
import type { StreamStages } from './collections.ts'

export interface FollowRequest {
  readonly client: MongoClient
  readonly config: MongodbConfig
  readonly units: Units
  readonly stream: StreamStages
  readonly preImages: boolean
  /** A transaction may come in pieces from several shards. */
  readonly isSharded: boolean
  readonly collections: FedCollections
  readonly from: Place
  readonly start: StreamStart
  readonly surroundings: Surroundings
  /** No position without `partial` was handed over yet. */
  readonly owesWhole: boolean
  readonly out: BatchWriter
  readonly log: Logger
  readonly now: () => number
}

/** How long the server waits for events. */
const AWAIT_MS = 500
/** A cursor that is gone once more so soon is no chance. */
const GONE_AGAIN_MS = 1000
/** Documents that look-ups may hold at a time, about. */
const LOOK_UP_BYTES = 16 * 1024 * 1024

export class Follower {
  readonly #request: FollowRequest
  readonly #decoder: EventDecoder
  readonly #view = new EventView()
  readonly #split = new SplitEvent()
  #cursor: ChangeCursor | null = null
  /** When a position was handed over last, and its `order`. */
  #toldAt: number
  #lastOrder: string
  /** A position is due at once: a schema change has none, and a copy is whole only from some place on. */
  #owesPosition = false
  /** When the cursor was gone last. */
  #goneAt = Number.NEGATIVE_INFINITY
  /** Rows came since the end of the log was told. */
  #owesEnd = true
  #owesWhole: boolean
  #lookUps: number
  /** Of the reply at hand, up to `#foundUntil`. */
  #found: ReadonlyMap<FedCollection, ReadonlyMap<string, FoundDocument>> = new Map()
  #foundUntil = 0
  /** Collections that were put in the place of others, and have to be copied. */
  readonly #replaced = new Set<FedCollection>()

  constructor(request: FollowRequest) {
    this.#request = request
    this.#decoder = new EventDecoder(request.surroundings, request.from, request.isSharded)
    this.#toldAt = request.now()
    this.#lastOrder = this.#decoder.order
    this.#lookUps = request.units.lookUps
    this.#owesWhole = request.owesWhole
  }

  get place(): Place {
    return this.#decoder.place
  }

  get surroundings(): Surroundings {
    return this.#decoder.surroundings
  }

  /** Resolves when `out.signal` is aborted, or when a table has to be copied. */
  async run(): Promise<void> {
    const { out } = this.#request
    this.#cursor = await ChangeCursor.open(this.#cursorOptions(this.#request.start))
    try {
      while (!out.signal.aborted && this.#replaced.size === 0) {
        const reply = await this.#nextReply()
        if (reply === null) return
        await this.#take(reply)
        if (!this.#cursor.isOpen && this.#replaced.size === 0) await this.#reopen()
      }
    } finally {
      // The client may be closed in this moment, with everything that is under way.
      if (out.signal.aborted) void this.#cursor.close()
      else await this.#cursor.close()
    }
  }

  async #nextReply(): Promise<CursorReply | null> {
    const { signal } = this.#request.out
    let stop = (): void => {}
    const aborted = new Promise<null>((resolve) => {
      stop = () => resolve(null)
      signal.addEventListener('abort', stop, { once: true })
    })
    try {
      for (;;) {
        try {
          return await Promise.race([this.#cursor!.next(), aborted])
        } catch (error) {
          // Again and again: behind something that spreads commands over several mongos, for example.
          const at = this.#request.now()
          if (!isCursorGone(error) || Math.abs(at - this.#goneAt) < GONE_AGAIN_MS) throw error
          this.#goneAt = at
          await this.#reopen()
        }
      }
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  /** A cursor that nobody asked for long, or that an invalidate event has closed. */
  async #reopen(): Promise<void> {
    await this.#cursor!.close()
    this.#split.clear()
    const { token, invalidated, seconds, counter } = this.#decoder.place
    this.#request.log.info('the change stream is opened again', { at: formatHalves(seconds, counter) })
    const start: StreamStart =
      token === null
        ? { kind: 'time', at: formatHalves(seconds, counter) }
        : { kind: 'token', token, invalidated }
    this.#cursor = await ChangeCursor.open(this.#cursorOptions(start))
  }

  #cursorOptions(start: StreamStart): CursorOptions {
    const { client, stream, preImages, units, config, isSharded } = this.#request
    const awaitMs = Math.min(AWAIT_MS, config.heartbeat)
    return {
      client,
      stream,
      preImages,
      start,
      eventsPerReply: units.eventsPerReply,
      awaitMs,
      // A replica set has all of a transaction at once.
      transactionMs: isSharded ? awaitMs : 1,
    }
  }

  async #take(reply: CursorReply): Promise<void> {
    const { out } = this.#request
    const { bytes, documents } = reply
    const view = this.#view
    this.#foundUntil = 0
    for (let index = 0; index < documents.length; index++) {
      let from = bytes
      let at = documents[index]!
      view.read(from, at)
      if (view.splitAt >= 0) {
        const whole = this.#split.add(bytes, at, view.splitAt)
        if (whole === null) continue
        from = whole
        at = 0
        view.read(from, at)
      }
      if (view.kind === EventKind.update && view.afterAt < 0 && index >= this.#foundUntil) {
        this.#foundUntil =
          index + (await this.#lookUpAhead(from === bytes ? documents.slice(index) : [at], from))
        view.read(from, at)
      }
      const busy = this.#event(from)
      if (busy !== undefined) await busy
      if (out.signal.aborted || this.#replaced.size > 0) return
    }
    await this.#endReply(reply)
  }

  /** Works on the event that `#view` shows. Waits only when something else has to be done first. */
  #event(bytes: Arena): void | Promise<void> {
    const decoder = this.#decoder
    const view = this.#view
    if (decoder.inTransaction && !decoder.continues(view, bytes)) decoder.endTransaction()
    switch (view.kind) {
      case EventKind.insert:
      case EventKind.update:
      case EventKind.replace:
      case EventKind.delete: {
        const collection = this.#request.collections.find(bytes, view.nsAt)
        if (collection === null) return decoder.pass(view, bytes)
        const isLookedUp = view.kind === EventKind.update && view.afterAt < 0
        const found = isLookedUp ? this.#foundFor(collection, bytes, view.keyAt) : null
        decoder.take(view, bytes, collection, found)
        return decoder.bytes < this.#request.units.batchBytes ? undefined : this.#handOver()
      }
      case EventKind.other:
      case EventKind.dropDatabase:
      case EventKind.invalidate:
        // Every collection of a database that is dropped has a drop event of its own before.
        return decoder.pass(view, bytes)
      case EventKind.drop:
      case EventKind.rename:
      case EventKind.options:
        return this.#attend(bytes)
    }
  }

  #foundFor(collection: FedCollection, bytes: Arena, at: number): FoundDocument | null {
    return this.#found.get(collection)?.get(keyText({ bytes, at })) ?? null
  }

  /** Reads the documents of the updates without post-images among the next events; returns how many events. */
  async #lookUpAhead(documents: readonly number[], bytes: Arena): Promise<number> {
    const { client, units } = this.#request
    for (;;) {
      const events = Math.min(this.#lookUps, documents.length)
      const { keys, after } = this.#updates(documents.slice(0, events), bytes)
      const found = new Map<FedCollection, ReadonlyMap<string, FoundDocument>>()
      let room = events === 1 ? Number.POSITIVE_INFINITY : LOOK_UP_BYTES
      for (const [collection, wanted] of keys) {
        const read = await lookUp(client, collection.mapped, wanted, after, room)
        if (read === null) break
        found.set(collection, read)
        for (const document of read.values()) room -= document.bytes.readInt32LE(document.at)
      }
      if (found.size === keys.size && room >= 0) {
        this.#found = found
        if (room > LOOK_UP_BYTES / 2) this.#lookUps = Math.min(this.#lookUps * 2, units.lookUps)
        return events
      }
      // Large documents: fewer at a time.
      this.#lookUps = Math.max(1, events >> 2)
    }
  }

  /** What the updates without post-images among some events are of, and the time of the last one. */
  #updates(
    documents: readonly number[],
    bytes: Arena,
  ): { readonly keys: ReadonlyMap<FedCollection, readonly DocumentKey[]>; readonly after: Timestamp } {
    const view = this.#view
    const keys = new Map<FedCollection, DocumentKey[]>()
    let after = new Timestamp(0n)
    for (const at of documents) {
      view.read(bytes, at)
      if (view.kind !== EventKind.update || view.afterAt >= 0 || view.splitAt >= 0) continue
      const collection = this.#request.collections.find(bytes, view.nsAt)
      if (collection === null) continue
      after = new Timestamp({ t: view.seconds, i: view.counter })
      const known = keys.get(collection)
      if (known === undefined) keys.set(collection, [{ bytes, at: view.keyAt }])
      else known.push({ bytes, at: view.keyAt })
    }
    return { keys, after }
  }

  /** Collections that come, go, or keep other images. */
  async #attend(bytes: Arena): Promise<void> {
    const { collections } = this.#request
    const { kind, nsAt, toAt } = this.#view
    const from = collections.find(bytes, nsAt)
    const to = kind === EventKind.rename && toAt >= 0 ? collections.find(bytes, toAt) : null
    this.#decoder.pass(this.#view, bytes)
    await this.#handOver()
    if (kind === EventKind.options) {
      if (from !== null) await this.#checkImages(from)
      return
    }
    if (from !== null) await this.#empty(from, kind === EventKind.drop ? 'dropped' : 'renamed')
    if (to === null) return
    await this.#empty(to, 'replaced by another one that was renamed')
    this.#replaced.add(to)
    this.#markUncopied(to)
  }

  /** A collection that was made anew, or changed, may not store what a table needs. */
  async #checkImages(collection: FedCollection): Promise<void> {
    const { client, config } = this.#request
    const found = await readCollections(client, [collection.mapped])
    // Gone again by now: that event follows, and the next one of its kind.
    if (found.size === 0) return
    const problems = checkCollections([collection.mapped], found, config)
    const problem = problems.find(({ severity }) => severity === 'error')
    if (problem !== undefined) throw new SchemaError(problem.code, problem.message, { fix: problem.fix })
  }

  async #empty(collection: FedCollection, what: string): Promise<void> {
    const { config, log, out } = this.#request
    const { fullName } = collection.mapped
    if (config.drops === 'stop') {
      throw new SchemaError('mongodb/collection-dropped', `the collection ${fullName} was ${what}`, {
        fix: 'Set source.drops: truncate to let its tables become empty, or take it out of the mapping.',
      })
    }
    const { seconds, counter } = this.#decoder.place
    for (const table of collection.tables) {
      // Older than the copy: what was there then is in it.
      if (!table.takes(seconds, counter)) continue
      log.info('a collection is gone, its table becomes empty', { collection: fullName, table: table.name })
      await out.write(RecordBatch.ofTable('truncate', table.schema, 'stream'))
    }
    this.#owesPosition = true
  }

  #markUncopied(collection: FedCollection): void {
    const { surroundings } = this.#decoder
    const tables: Record<string, StoredTable> = { ...surroundings.tables }
    for (const { name } of collection.tables) tables[name] = { ...tables[name]!, copiedAt: null }
    this.#decoder.surroundings = { ...surroundings, tables, wholeFrom: null }
  }

  async #endReply({ documents, token }: CursorReply): Promise<void> {
    const decoder = this.#decoder
    const { isSharded } = this.#request
    const time = token === null ? null : timeOfToken(token)
    const { seconds, counter } = decoder.place
    const isLater = time !== null && time > formatHalves(seconds, counter)
    // A reply may have been cut inside of a transaction, by number or bytes; with a later token, or as the next one is empty, not.
    const isOver = isLater || documents.length === 0
    if (decoder.inTransaction && isOver && !this.#split.isOpen) decoder.endTransaction()
    if (decoder.hasRows) await this.#handOver()
    if (decoder.inTransaction || this.#split.isOpen || token === null) return
    if (time !== null) {
      // Of several shards another one may still have something of that very time.
      const isBehind = isOver && !isSharded
      decoder.reach(
        token,
        Number.parseInt(time.slice(0, 8), 16),
        Number.parseInt(time.slice(8), 16),
        isBehind,
      )
    }
    await this.#beat(documents.length === 0)
  }

  async #handOver(): Promise<void> {
    if (!this.#decoder.hasRows) return
    const batch = this.#decoder.cut()
    this.#owesEnd = true
    this.#request.collections.reportMisfits()
    if (batch.position !== null) this.#told(batch.position)
    await handOver(this.#request.out, batch)
  }

  #told(position: SourcePosition): void {
    this.#toldAt = this.#request.now()
    this.#lastOrder = position.order
    if (position.partial !== true) this.#owesWhole = false
  }

  /**
   * Lets the position move although no row came, or it would leave the oplog; at once at the end of the log, and when a
   * copy has become whole.
   */
  async #beat(isAtEnd: boolean): Promise<void> {
    const { config, now, out } = this.#request
    const decoder = this.#decoder
    const isDue = this.#owesPosition || (isAtEnd && this.#owesEnd) || now() - this.#toldAt >= config.heartbeat
    const isNews = this.#owesPosition || this.#owesWhole
    const position = decoder.position(isNews ? this.#lastOrder : null)
    if (!isDue && !(this.#owesWhole && position.partial !== true)) return
    if (isAtEnd) this.#owesEnd = false
    this.#told(position)
    this.#owesPosition = false
    const { seconds } = decoder.place
    const room = out.write(RecordBatch.ofHeartbeat({ _tag: 'Heartbeat', position, timeMs: seconds * 1000 }))
    if (room !== undefined) await room
  }
}
