import { CommandError } from './errors.ts'
import { eventOf, invalidateOf, isShown, type EventOptions } from './events.ts'
import type { LogEntry } from './log.ts'
import { splitEvent } from './split.ts'
import type { Transform } from './stages.ts'
import type { Store } from './store.ts'
import { identical } from './compare.ts'
import { eventToken, laterToken, markToken, readToken, tokenData, type TokenPlace } from './token.ts'
import type { Doc } from './value.ts'

/** What a stream watches: a collection, a database, or all of the cluster. */
export interface Scope {
  readonly database: string | null
  readonly collection: string | null
}

export interface StreamSettings extends EventOptions {
  readonly scope: Scope
  readonly transforms: readonly Transform[]
  readonly split: boolean
  /** The greatest size of an event, in bytes. */
  readonly eventLimit: number
  readonly replyLimit: number
}

/** From where a stream shall read. */
export type StreamStart =
  | { readonly from: 'now' }
  | { readonly from: 'time'; readonly time: bigint }
  | { readonly from: 'token'; readonly token: Doc; readonly afterInvalidate: boolean }

export interface StreamBatch {
  readonly documents: readonly Buffer[]
  readonly token: Doc
  /** The stream was invalidated and gives nothing more. */
  readonly ended: boolean
}

const LOST = 'Resume of change stream was not possible, as the resume point may no longer be in the oplog.'
const FATAL = ['NonResumableChangeStreamError']

/** One open change stream: a place in the log, and what is made of the entries from there on. */
export class ChangeStream {
  readonly #store: Store
  readonly #settings: StreamSettings
  #place: number
  /** Events of the entry before the place that have not been given out yet. */
  #pending: Doc[] = []
  #token: Doc
  #ended = false
  /** A stream may be opened at a time that is still to come. */
  #from = 0n

  constructor(store: Store, settings: StreamSettings, start: StreamStart) {
    this.#store = store
    this.#settings = settings
    const version = settings.tokenVersion
    if (start.from === 'now') {
      this.#place = store.log.visible
      this.#token = markToken(store.committed, version)
    } else if (start.from === 'time') {
      if (start.time < store.log.oldest) throw new CommandError(286, LOST, FATAL)
      this.#place = store.log.placeOf(start.time)
      this.#from = start.time
      this.#token = markToken(start.time, version)
    } else {
      this.#token = start.token
      this.#place = this.#resume(readToken(tokenData(start.token)), start.token, start.afterInvalidate)
    }
  }

  /** The next events; without any, waits for some until the deadline. */
  async batch(size: number, waitMs: number, signal: AbortSignal): Promise<StreamBatch> {
    const deadline = performance.now() + waitMs
    for (;;) {
      const documents = this.#collect(size)
      if (documents.length > 0 || this.#ended) return this.#batch(documents)
      const left = deadline - performance.now()
      if (left <= 0 || signal.aborted) return this.#batch(documents)
      await this.#store.log.wait(left, signal)
    }
  }

  #batch(documents: readonly Buffer[]): StreamBatch {
    return { documents, token: this.#token, ended: this.#ended && this.#pending.length === 0 }
  }

  #collect(size: number): Buffer[] {
    const { log } = this.#store
    const documents: Buffer[] = []
    let bytes = 0
    while (documents.length < size) {
      while (this.#pending.length === 0 && !this.#ended && this.#place < log.visible) {
        if (this.#place < log.start) throw new CommandError(286, LOST, FATAL)
        this.#read(log.at(this.#place++))
      }
      const next = this.#pending[0]
      if (next === undefined) {
        const newest = this.#place > log.start ? log.at(this.#place - 1) : undefined
        if (newest && !this.#ended)
          this.#token = laterToken(this.#token, markToken(newest.time, this.#settings.tokenVersion))
        break
      }
      const encoded = next.bytes
      // One event always fits, however large it is.
      if (documents.length > 0 && bytes + encoded.length > this.#settings.replyLimit) break
      documents.push(encoded)
      bytes += encoded.length
      this.#token = next.get('_id') as Doc
      this.#pending.shift()
    }
    return documents
  }

  #read(entry: LogEntry): void {
    const { expanded, scope } = this.#settings
    if (entry.time < this.#from || !isShown(entry, expanded) || !inScope(entry, scope)) return
    this.#offer(eventOf(entry, this.#settings, this.#store), entry)
    if (!invalidates(entry, scope)) return
    this.#offer(invalidateOf(entry, this.#settings), entry)
    this.#ended = true
  }

  /** Runs the stages over an event and keeps what comes out. */
  #offer(event: Doc, entry: LogEntry): void {
    let result: Doc | null = event
    for (const transform of this.#settings.transforms) {
      result = transform(result)
      if (result === null) return
    }
    const id = result.get('_id')
    if (id === undefined || !identical(id, event.get('_id')!))
      throw new CommandError(
        280,
        'Encountered an event whose _id field, which contains the resume token, was modified by the pipeline. Modifying the _id field of an event makes it impossible to resume the stream from that point. Only transformations that retain the unmodified _id field are allowed.',
        FATAL,
      )
    const { eventLimit, split, tokenVersion } = this.#settings
    if (result.bytes.length <= eventLimit) this.#pending.push(result)
    else if (split)
      for (const fragment of splitEvent(result, entry, tokenVersion, eventLimit)) this.#pending.push(fragment)
    else
      throw new CommandError(
        10334,
        `Executor error during getMore :: caused by :: BSONObj size: ${result.bytes.length} is invalid. Size must be between 0 and ${eventLimit}`,
        FATAL,
      )
  }

  /** The place after the event of a token; what is left of that event is kept. */
  #resume(at: TokenPlace, token: Doc, afterInvalidate: boolean): number {
    const { log } = this.#store
    const { scope, tokenVersion, expanded } = this.#settings
    if (at.invalidate && !afterInvalidate)
      throw new CommandError(
        260,
        "Attempting to resume a change stream using 'resumeAfter' is not allowed from an invalidate notification.",
      )
    if (at.time < log.oldest) throw new CommandError(286, LOST, FATAL)
    let place = log.placeOf(at.time)
    if (at.mark) return place
    for (; place < log.end && log.at(place).time === at.time; place++) {
      const entry = log.at(place)
      if (entry.index !== at.index || !isShown(entry, expanded) || !inScope(entry, scope)) continue
      const fragment = at.fragment === 0 && !isFragment(token, entry, tokenVersion) ? null : at.fragment
      const expected = eventToken(entry, tokenVersion, entry.kind, at.invalidate, fragment)
      if (tokenData(expected) !== tokenData(token)) continue
      // Strict here, whatever a server makes of it: tokens are to be given back as they came.
      if (expected.get('_typeBits') !== undefined && token.get('_typeBits') === undefined)
        throw new CommandError(50811, 'KeyString format error: type bits are missing')
      if (fragment !== null) {
        this.#read(entry)
        this.#pending.splice(0, fragment + 1)
      } else if (invalidates(entry, scope) && !at.invalidate) {
        this.#offer(invalidateOf(entry, this.#settings), entry)
        this.#ended = true
      }
      return place + 1
    }
    throw new CommandError(
      280,
      `cannot resume stream; the resume token was not found. {_data: "${tokenData(token)}"}`,
      FATAL,
    )
  }
}

function isFragment(token: Doc, entry: LogEntry, version: 1 | 2): boolean {
  return tokenData(eventToken(entry, version, entry.kind, false, 0)) === tokenData(token)
}

function inScope(entry: LogEntry, { database, collection }: Scope): boolean {
  if (entry.collection.startsWith('system.')) return false
  if (database === null) return !['admin', 'config', 'local'].includes(entry.database)
  const named = (db: string, name: string) => db === database && (collection === null || name === collection)
  if (entry.kind === 'dropDatabase') return entry.database === database
  if (entry.to && named(entry.to.database, entry.to.collection)) return true
  return named(entry.database, entry.collection)
}

function invalidates(entry: LogEntry, { database, collection }: Scope): boolean {
  if (database === null) return false
  if (collection === null) return entry.kind === 'dropDatabase'
  return entry.kind === 'drop' || entry.kind === 'rename' || entry.kind === 'dropDatabase'
}
