import PQueue from 'p-queue'
import { ConnectionError, type CoreError } from '../../../core/error.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { TableEncoder } from './encoder.ts'
import { toClickHouseError } from './errors.ts'
import type { DeferredRows } from './deferred-rows.ts'
import type { PartialRows } from './partial-rows.ts'
import type { PendingRows } from './pending-rows.ts'
import { RowWriter } from './row-writer.ts'
import type { InsertRequest, Session } from './session.ts'
import type { Target } from './target.ts'

/** Tables that are inserted into at the same time; one table has one insert in flight. */
const PARALLEL_INSERTS = 4
/** Byte buffers that are kept for the next rows. */
const SPARE_BUFFERS = 4

export interface WriterOptions {
  readonly flushBytes: number
  readonly flushRows: number
  /** Begins every token; never the same in two runs. */
  readonly tokenPrefix: string
}

/** Rows of one table that wait for their insert. */
export interface TableBuffer {
  readonly target: Target
  readonly encoder: TableEncoder
  readonly out: RowWriter
  /** Rows, and bytes of memory, that were taken. */
  rows: number
  size: number
  /** Where the newest row of each key is; made when a partial row asks for it. */
  pending: PendingRows | null
  /** Partial rows that are completed from the server before the insert. */
  deferred: DeferredRows | null
}

/** Inserts that were sealed together. Kept until all are done; repeated with the same bytes and tokens. */
interface Group {
  readonly waiting: Set<InsertRequest>
  readonly sizes: Map<InsertRequest, RowWriter>
  /** Durable when the group is; null when rows that precede it are still collected. */
  readonly position: SourcePosition | null
}

/**
 * Collects encoded rows per table and inserts them in groups. At most one group is in flight while the next one
 * fills, which bounds memory and keeps the inserts of a table in order.
 */
export class Writer {
  readonly #session: Session
  readonly #partialRows: PartialRows
  readonly #options: WriterOptions
  readonly #queue = new PQueue({ concurrency: PARALLEL_INSERTS })
  /** By name of the target: a changed table has another `Target`. */
  readonly #buffers = new Map<string, TableBuffer>()
  readonly #spare: Buffer[] = []
  #counter = 0
  /** Sums over all buffers; `added` keeps them. */
  #bytes = 0
  #rows = 0
  /** In flight, or failed and waiting for the repetition. */
  #group: Group | null = null
  /** Never rejects; null when nothing is in flight. */
  #sending: Promise<void> | null = null
  #failure: CoreError | null = null
  #accepted: SourcePosition | null = null
  #durable: SourcePosition | null = null

  constructor(session: Session, partialRows: PartialRows, options: WriterOptions) {
    this.#session = session
    this.#partialRows = partialRows
    this.#options = options
  }

  /** Everything up to here is on the server. */
  get durable(): SourcePosition | null {
    return this.#durable
  }

  /** So much is collected that it should be inserted. */
  get full(): boolean {
    return this.#bytes >= this.#options.flushBytes || this.#rows >= this.#options.flushRows
  }

  /** Everything up to here was handed over. */
  accept(position: SourcePosition | null): void {
    if (position !== null) this.#accepted = position
    this.#settle()
  }

  /** Where rows of a table go. Null when rows of another encoder have to be inserted first: call `seal`. */
  buffer(target: Target, encoder: TableEncoder): TableBuffer | null {
    const known = this.#buffers.get(target.name)
    if (known?.encoder === encoder) return known
    if (known !== undefined && known.rows > 0) return null
    const out = new RowWriter(encoder.slack, this.#spare.pop())
    out.copy(encoder.header, 0, encoder.header.length)
    const made: TableBuffer = { target, encoder, out, rows: 0, size: 0, pending: null, deferred: null }
    this.#buffers.set(target.name, made)
    return made
  }

  /** Tells how much a buffer has taken. */
  added(buffer: TableBuffer, bytes: number, rows: number): void {
    buffer.rows += rows
    buffer.size += bytes
    this.#bytes += bytes
    this.#rows += rows
  }

  /** Throws what failed in the background since the last call; the next call sends it again. */
  async recover(signal: AbortSignal): Promise<void> {
    this.#throwFailure()
    if (this.#group !== null && this.#sending === null) await this.finish(signal)
  }

  /** Sends what is collected, after the group before it. `all`: else tables with little to insert may wait. */
  async seal(all: boolean, signal: AbortSignal): Promise<void> {
    await this.finish(signal)
    const chosen = this.#choose(all)
    if (chosen.length === 0) return
    // Everything before has arrived, so the server has the rows that partial ones build on.
    for (const buffer of chosen) await this.#completeRows(buffer)
    const sizes = new Map<InsertRequest, RowWriter>()
    for (const buffer of chosen) {
      this.#buffers.delete(buffer.target.name)
      this.#bytes -= buffer.size
      this.#rows -= buffer.rows
      const out = joined(buffer)
      // Else nothing but rows that the server has newer already.
      if (out.at > buffer.encoder.header.length) sizes.set(this.#request(buffer, out), out)
    }
    const position = this.#rows === 0 ? this.#accepted : null
    this.#group = { waiting: new Set(sizes.keys()), sizes, position }
    this.#send(this.#group)
  }

  /** Completes the deferred rows of a buffer. Those that are too large for the buffer's own insert go before it. */
  async #completeRows(buffer: TableBuffer): Promise<void> {
    const { deferred, out, encoder } = buffer
    if (deferred === null) return
    for (;;) {
      const all = await this.#partialRows.complete(buffer)
      const { at } = deferred.out
      if (all && (at === encoder.header.length || at + out.at <= this.#options.flushBytes)) return
      deferred.part ??= this.#request(buffer, deferred.out)
      await this.#session.insert(deferred.part)
      deferred.partStored()
    }
  }

  #request({ target, encoder }: TableBuffer, out: RowWriter): InsertRequest {
    const token = `${this.#options.tokenPrefix}-${target.name}-${++this.#counter}`
    const body = out.bytes.subarray(0, out.at)
    return { query: target.insertSql(encoder), body, token, table: target.label }
  }

  /** Waits until nothing is in flight; sends again what failed. */
  async finish(signal: AbortSignal): Promise<void> {
    this.#throwFailure()
    if (this.#group === null) return
    if (this.#sending === null) this.#send(this.#group)
    await unlessAborted(this.#sending!, signal)
    this.#throwFailure()
  }

  /**
   * Small inserts are what ClickHouse bears worst. When the limit is reached, the largest buffers go until half of it
   * is free again; the others go with the next flush at the latest.
   */
  #choose(all: boolean): readonly TableBuffer[] {
    const filled = [...this.#buffers.values()].filter((buffer) => buffer.rows > 0)
    if (all) return filled
    const { flushBytes, flushRows } = this.#options
    const weight = (buffer: TableBuffer) => Math.max(buffer.size / flushBytes, buffer.rows / flushRows)
    filled.sort((a, b) => weight(b) - weight(a))
    let bytes = this.#bytes
    let rows = this.#rows
    const count = filled.findIndex((buffer) => {
      const enough = bytes <= flushBytes / 2 && rows <= flushRows / 2
      bytes -= buffer.size
      rows -= buffer.rows
      return enough
    })
    return count < 0 ? filled : filled.slice(0, count)
  }

  #send(group: Group): void {
    const inserts = [...group.waiting].map((request) =>
      this.#queue.add(async () => {
        await this.#session.insert(request)
        group.waiting.delete(request)
        this.#recycle(group.sizes.get(request)!.bytes)
      }),
    )
    this.#sending = Promise.allSettled(inserts).then((outcomes) => {
      this.#sending = null
      const failures = outcomes
        .filter((outcome) => outcome.status === 'rejected')
        .map((outcome) => toClickHouseError(outcome.reason, 'insert'))
      // What cannot be healed by repeating is the one to report.
      this.#failure = failures.find((error) => !error.retryable) ?? failures[0] ?? null
      if (group.waiting.size > 0) return
      this.#group = null
      if (group.position !== null) this.#durable = group.position
      this.#settle()
    })
  }

  /** With nothing collected and nothing in flight, what was accepted is durable. */
  #settle(): void {
    if (this.#group === null && this.#rows === 0) this.#durable = this.#accepted
  }

  #recycle(bytes: Buffer): void {
    if (this.#spare.length < SPARE_BUFFERS && bytes.length <= this.#options.flushBytes * 2)
      this.#spare.push(bytes)
  }

  #throwFailure(): void {
    const failure = this.#failure
    this.#failure = null
    if (failure !== null) throw failure
  }
}

/** The completed rows, then the rows that came complete: of one key the later ones are newer, at equal versions too. */
function joined({ deferred, out, encoder }: TableBuffer): RowWriter {
  const { length } = encoder.header
  if (deferred === null || deferred.out.at === length) return out
  deferred.out.copy(out.bytes, length, out.at)
  return deferred.out
}

/** The promise goes on; only the wait ends. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  let end = (): void => {}
  const aborted = new Promise<void>((resolve) => {
    end = resolve
  })
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', end)
  }
  if (!signal.aborted) return
  throw new ConnectionError('clickhouse/aborted', 'the write was given up', {
    fix: 'Nothing: it was asked to stop.',
  })
}
