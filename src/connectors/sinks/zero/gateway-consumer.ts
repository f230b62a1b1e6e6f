/**
 * One consumer of the gateway: the rows as they are and then every change, or every change after its watermark. Works in
 * steps, each a bounded piece; who takes the steps is `gateway.ts`.
 */
import type { ChangeView } from './change-view.ts'
import { mark, schema } from './change-view.ts'
import { FrameBuffer } from './frame-buffer.ts'
import type { Farewell, Output } from './gateway-output.ts'
import { Part } from './gateway-output.ts'
import { ClientWatermarks, namesOf } from './client-watermarks.ts'
import { type GatewayRequest, unknownTable } from './gateway-request.ts'
import type { ChangeLog } from './change-log.ts'
import type { Watermark } from './log-messages.ts'
import type { Entry, LogSnapshot } from './log-reader.ts'
import type { Publications } from './publications.ts'
import type { TableVersion } from './table-version.ts'

/** What a consumer waits for after a step; `nothing`: it has more to do. */
export type Waits = 'nothing' | 'room' | 'published' | 'turn' | 'over'

/** Where a consumer is between two parts of the log. */
export interface Place {
  /** Number of the last entry that was looked at. */
  readonly seq: number
  /** The transaction in the middle of which that is; null between transactions. */
  readonly inside: Watermark | null
  /** Its begin has been sent. */
  readonly begun: boolean
  /** The last transaction that is complete. */
  readonly watermark: Watermark
}

/** A piece of the log as a kind of consumer sees it. */
export interface Piece {
  readonly part: Part | null
  readonly next: Place
}

/** What consumers of the same tables and publications share. */
export interface ViewInUse {
  readonly id: number
  readonly view: ChangeView
}

/** What all consumers share. */
export interface Surroundings {
  readonly log: Pick<ChangeLog, 'head' | 'isWhole' | 'reader'>
  readonly publications: Publications
  readonly requirePublication: boolean
  readonly clients: ClientWatermarks
  /** All tables that there are now. */
  tables(): readonly TableVersion[]
  /** The part after a place; the same for all that have the same view. Null when entries were removed. */
  pieceAfter(view: ViewInUse, place: Place): Piece | null
  /** True when the consumer may take a snapshot now; otherwise it is woken when it may. */
  takeTurn(consumer: Consumer): boolean
  endTurn(consumer: Consumer): void
}

/** Bytes of a snapshot that are made in one step. */
const PART_BYTES = 64 * 1024
const PRUNED = 'changes after the watermark were removed from the change log'

export class Consumer {
  /** Of who it is, for logs. */
  readonly name: string
  readonly output: Output
  readonly request: GatewayRequest
  /** Under which its watermarks are kept; null when it keeps its own. */
  readonly #id: string | null
  readonly #view: ViewInUse
  readonly #around: Surroundings
  /** Names of its tables as they are kept; null for all. */
  #tables: readonly string[] | null = null
  /** Null before the first change. */
  #place: Place | null = null
  /** The last watermark that the consumer was told. */
  #told: Watermark = 0
  #rows: Generator<Part, Place> | null = null
  #snapshot: LogSnapshot | null = null
  #isOver = false

  constructor(
    identity: string,
    output: Output,
    request: GatewayRequest,
    view: ViewInUse,
    around: Surroundings,
  ) {
    const { client } = request
    this.#id = client === null ? null : ClientWatermarks.idOf(identity, client)
    this.name = this.#id ?? identity
    this.output = output
    this.request = request
    this.#view = view
    this.#around = around
  }

  step(): Waits {
    if (this.#isOver || !this.output.isOpen) return 'over'
    if (this.output.fullSince !== null) return 'room'
    const waits = this.#step()
    if (waits === 'published' || waits === 'turn') this.output.accept()
    return waits
  }

  /** Now and then: the consumer learns how far it is, also where nothing of its tables happens. */
  keepAlive(): void {
    if (this.#isOver || !this.output.isOpen || this.output.fullSince !== null) return
    const place = this.#place
    if (place === null || place.inside !== null || place.watermark <= this.#told)
      return this.output.keepAlive()
    this.#told = place.watermark
    this.output.send(only(mark('watermark', place.watermark), place.watermark))
  }

  /** Everything up to there is stored by the named client: it goes on after it. */
  acknowledge(watermark: Watermark | null): void {
    const { clients } = this.#around
    if (this.#isOver) return
    const isTold = watermark !== null && watermark <= this.#told
    if (isTold && this.#id !== null && clients.acknowledge(this.#id, this, this.#tables, watermark)) return
    this.#refuse('only {"ack": "<watermark that was sent>"} of a named client is understood')
  }

  end(farewell: Farewell | null): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#id !== null) this.#around.clients.leave(this.#id, this)
    this.#rows?.return(undefined as never)
    this.#rows = null
    this.#snapshot?.close()
    this.#snapshot = null
    this.#around.endTurn(this)
    if (farewell !== null && this.output.isOpen) this.output.end(farewell)
  }

  #step(): Waits {
    if (this.#place !== null) return this.#follow(this.#place)
    return this.#rows === null ? this.#begin() : this.#copy(this.#rows)
  }

  /** Nothing is refused before there is something: who is early waits. */
  #begin(): Waits {
    const { log, publications, requirePublication } = this.#around
    const { tables, publications: asked } = this.request
    if (log.head === 0) return 'published'
    const visible = this.#around.tables().filter((version) => this.#view.view.shows(version))
    const mistake =
      publications.refusal(asked, requirePublication) ??
      (tables === null ? null : unknownTable(tables, visible))
    if (mistake !== null) return this.#refuse(mistake)
    this.#tables = namesOf(tables, visible)
    const kept = this.#id === null ? null : this.#around.clients.startOf(this.#id, this.#tables)
    const after = this.request.after ?? kept
    if (after !== null) return this.#resume(after)
    if (!log.isWhole) return 'published'
    if (!this.#around.takeTurn(this)) return 'turn'
    const snapshot = log.reader.snapshot()
    this.#snapshot = snapshot
    if (snapshot.waiting || snapshot.watermark === 0) {
      snapshot.close()
      this.#snapshot = null
      this.#around.endTurn(this)
      return 'published'
    }
    this.#join(snapshot.watermark)
    this.#rows = this.#snapshotParts(snapshot)
    return 'nothing'
  }

  #resume(after: Watermark | 'unknown'): Waits {
    const { log } = this.#around
    const seq = after === 'unknown' || after > log.head ? null : log.reader.lastEntryOf(after)
    if (after === 'unknown' || seq === null)
      return this.#reset('the watermark is not, or no longer, in the change log')
    const changed = this.request.publications.find((name) => (log.reader.publicationSince(name) ?? 0) > after)
    if (changed !== undefined) return this.#reset(`the publication "${changed}" was changed`)
    this.#join(after)
    this.#place = { seq, inside: null, begun: false, watermark: after }
    this.#told = after
    return 'nothing'
  }

  #copy(rows: Generator<Part, Place>): Waits {
    const { value, done } = rows.next()
    if (done !== true) {
      this.output.send(value)
      return 'nothing'
    }
    this.#rows = null
    this.#snapshot?.close()
    this.#snapshot = null
    this.#around.endTurn(this)
    this.#place = value
    this.#told = value.watermark
    return 'nothing'
  }

  *#snapshotParts(snapshot: LogSnapshot): Generator<Part, Place> {
    const { watermark, tables } = snapshot
    // Looked up now: later it may have been removed.
    const seq = this.#around.log.reader.lastEntryOf(watermark) ?? -1
    const out = new FrameBuffer(PART_BYTES * 2)
    out.message(mark('snapshot-begin', watermark))
    for (const stored of tables) {
      const table = this.#view.view.compile(stored.version)
      if (table === null) continue
      const { frames } = table
      out.message(schema(table, []))
      const masks = frames.filtered ? this.#around.publications.masksOf(stored.version) : null
      for (const { key, cells } of snapshot.rows(stored)) {
        if (masks !== null && !frames.shows(masks.of(key, cells))) continue
        frames.stored(key, cells, out)
        if (out.byteSize >= PART_BYTES) yield new Part(out.take(), NO_MARKS)
      }
    }
    out.message(mark('snapshot-end', watermark))
    const marks = new Map([[out.count - 1, watermark]])
    yield new Part(out.take(), marks)
    return { seq, inside: null, begun: false, watermark }
  }

  #follow(place: Place): Waits {
    if (place.seq < 0) return this.#reset(PRUNED)
    const piece = this.#around.pieceAfter(this.#view, place)
    if (piece === null) return this.#reset(PRUNED)
    const { part, next } = piece
    if (next === place) return 'published'
    this.#place = next
    if (part !== null) {
      this.output.send(part)
      this.#told = Math.max(this.#told, ...part.marks.values())
    }
    return 'nothing'
  }

  #join(watermark: Watermark): void {
    const end = () =>
      this.end({ ...MOVED, message: { type: 'reset', reason: MOVED_REASON }, reason: MOVED_REASON })
    if (this.#id !== null) this.#around.clients.join(this.#id, this, watermark, end)
  }

  #refuse(message: string): Waits {
    this.end({ ...BAD_REQUEST, message: { type: 'error', message }, reason: message })
    return 'over'
  }

  #reset(reason: string): Waits {
    if (this.#id !== null) this.#around.clients.forget(this.#id)
    this.end({ ...GONE, message: { type: 'reset', reason }, reason })
    return 'over'
  }
}

/** What was asked for cannot be had. */
export const BAD_REQUEST = { code: 4400, status: 400 } as const
/** The consumer has to begin anew, without a watermark. */
const GONE = { code: 4410, status: 410 } as const

/** The watermark of a named client was set: it goes on there when it connects again. */
const MOVED = { code: 4409, status: 409 } as const
const MOVED_REASON = 'the watermark of the client was set: connect again'

const NO_MARKS: ReadonlyMap<number, Watermark> = new Map()

function only(message: string, watermark: Watermark): Part {
  return new Part([Buffer.from(message)], new Map([[0, watermark]]))
}

/** Makes the messages of entries; `isEnd` says whether a transaction ends with an entry. */
export function pieceOf(
  view: ChangeView,
  place: Place,
  entries: readonly Entry[],
  isEnd: (entry: Entry) => boolean,
): Piece {
  const out = new FrameBuffer(4096)
  const marks = new Map<number, Watermark>()
  let { inside, begun, watermark } = place
  let begin = ''
  const open = () => {
    if (!begun) out.message(begin)
    begun = true
  }
  for (const [index, entry] of entries.entries()) {
    if (inside !== entry.watermark) {
      inside = entry.watermark
      begun = false
    }
    begin = mark('begin', entry.watermark)
    view.entry(entry, open, out)
    const next = entries[index + 1]
    if (next === undefined ? !isEnd(entry) : next.watermark === entry.watermark) continue
    if (begun) {
      out.message(mark('commit', entry.watermark, entry.time))
      marks.set(out.count - 1, entry.watermark)
    }
    watermark = entry.watermark
    inside = null
    begun = false
  }
  const next = { seq: entries.at(-1)!.seq, inside, begun, watermark }
  return { part: out.count === 0 ? null : new Part(out.take(), marks), next }
}
