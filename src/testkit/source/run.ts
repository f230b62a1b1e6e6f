/** A source at work: what it hands over goes into a journal. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { RecordBatch } from '../../core/batch.ts'
import { CoreError } from '../../core/error.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { Source } from '../../core/source.ts'
import { tableName } from '../../core/table.ts'
import { settles } from '../wait-for.ts'
import type { SourceOptions } from './harness.ts'
import type { Journal } from './journal.ts'
import type { Trial } from './trial.ts'

export interface RunOptions {
  /** For the harness. */
  readonly source?: SourceOptions
  /** Patterns instead of the bench's. */
  readonly tables?: readonly string[]
  /** Where to start, instead of the journal's last position. */
  readonly from?: SourcePosition | null
  /** Called with every batch after it is in the journal; may hold the source up, or throw. */
  onWrite?(batch: RecordBatch, run: SourceRun): void | Promise<void>
}

export class SourceRun implements AsyncDisposable {
  source: Source
  readonly journal: Journal
  /** Entries of the journal that precede this run, its `start` included. */
  readonly first: number
  /** Bytes and batches that were handed over. */
  bytes = 0
  writes = 0
  /** `stream` has ended. */
  ended = false
  /** Why, when it was by itself. */
  failure: Error | null = null
  readonly #trial: Trial
  readonly #options: RunOptions
  #controller = new AbortController()
  readonly #announced = new Set<string>()
  #expected: readonly string[] = []
  #order = ''
  #done: Promise<void> = Promise.resolve()
  #hold: PromiseWithResolvers<void> | null = null
  #seen = false

  private constructor(trial: Trial, journal: Journal, from: SourcePosition | null, options: RunOptions) {
    this.#trial = trial
    this.#options = options
    this.journal = journal
    this.first = journal.entries.length
    this.source = trial.source(options.source)
    this.#order = from?.order ?? ''
  }

  /** Connects and streams, from the journal's last position on. Throws when it cannot connect. */
  static async start(trial: Trial, journal: Journal, options: RunOptions = {}): Promise<SourceRun> {
    const last = journal.restart()
    const from = options.from === undefined ? last : options.from
    const run = new SourceRun(trial, journal, from, options)
    trial.adopt(run)
    await run.#start(from)
    return run
  }

  /**
   * Ends it and starts a new source where it was, as the runtime does when the mapping has changed. Nothing, when it has
   * ended already.
   */
  async reload(): Promise<void> {
    if (this.ended || this.#controller.signal.aborted) return
    await this.halt()
    await this.#trial.inTime('disconnect', this.source.disconnect())
    if (this.failure !== null) return
    const from = this.journal.restart()
    this.#order = from?.order ?? ''
    this.#announced.clear()
    this.#controller = new AbortController()
    this.ended = false
    this.source = this.#trial.source(this.#options.source)
    const first = this.journal.entries.length
    await this.#start(from)
    // Before that it would begin at the same place the next time, and know nothing of this mapping.
    if (this.#hold === null)
      await this.until('it goes on with the changed mapping', () =>
        this.journal.marks.some(({ at }) => at > first),
      )
  }

  /** Connects, and lets it stream. */
  async #start(from: SourcePosition | null): Promise<void> {
    const { source } = this
    try {
      await source.connect(this.#trial.context(this.#options.tables))
      this.#expected = (await source.discover()).map(tableName)
    } catch (error) {
      await settles(source.disconnect(), this.#trial.graceMs)
      throw error
    }
    const write = (batch: RecordBatch): void | Promise<void> => this.#write(batch)
    this.#done = source.stream({ signal: this.#controller.signal, write }, from).then(
      () => void (this.ended = true),
      (error: unknown) => {
        this.ended = true
        this.failure = error instanceof Error ? error : new Error(`${inspect(error)} was thrown`)
      },
    )
  }

  /** From now on no `write` comes back, until `release`. */
  hold(): void {
    this.#hold ??= Promise.withResolvers()
  }

  release(): void {
    this.#hold?.resolve()
    this.#hold = null
  }

  /** Every table is announced, no copy is under way, and everything that is committed by now has been handed over. */
  async settled(): Promise<void> {
    const head = await this.source.headPosition()
    if (head === null) return this.#trial.becomesEqual(this)
    await this.until(`the source has announced its tables and read up to ${head.order}`, () => {
      const copy = this.source.snapshotProgress?.() ?? null
      const copied = copy === null || copy.tablesDone === copy.tablesTotal
      return copied && this.#order >= head.order && this.#expected.every((name) => this.#announced.has(name))
    })
  }

  /** Waits for a condition; fails at once when the source fails. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    await this.#trial.waitFor(what, async () => {
      this.#throwFailure()
      return holds()
    })
  }

  /** Waits until `stream` fails, and gives the error. */
  async failed(): Promise<CoreError> {
    await this.#trial.waitFor('the source fails', () => this.ended)
    assert.ok(this.failure !== null, 'the source ended without an error')
    this.#seen = true
    assert.ok(
      this.failure instanceof CoreError,
      `the source failed with something else than a CoreError: ${inspect(this.failure)}`,
    )
    return this.failure
  }

  /** Stops while a write is held, so that nothing more is handed over, and disconnects. */
  async stopHeld(): Promise<void> {
    this.abort()
    this.release()
    await this.stop()
  }

  abort(): void {
    this.#controller.abort()
  }

  /** Resolves when `stream` has ended, in whatever way. */
  get done(): Promise<void> {
    return this.#done
  }

  /** Stops reading and disconnects. Throws when the source had failed before. */
  async stop(): Promise<void> {
    await this.halt()
    await this.#trial.inTime('disconnect', this.source.disconnect())
    this.#throwFailure()
  }

  /** Stops reading; the connection stays, for a last `checkpoint`. */
  async halt(): Promise<void> {
    this.abort()
    await this.#trial.waitFor('stream resolves after the abort', () => this.ended)
  }

  /** Ends whatever still goes on; the law has failed or is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.abort()
    this.release()
    await settles(this.#done, this.#trial.graceMs)
    await settles(this.source.disconnect(), this.#trial.graceMs)
  }

  #write(batch: RecordBatch): void | Promise<void> {
    this.writes++
    this.bytes += batch.byteSize
    this.journal.add(batch)
    if (batch.position !== null) this.#order = batch.position.order
    if (batch.schemaChange?.change.kind === 'create-table')
      this.#announced.add(tableName(batch.schemaChange.table))
    const wait = this.#options.onWrite?.(batch, this)
    return this.#hold === null ? wait : Promise.all([wait, this.#hold.promise]).then(() => {})
  }

  #throwFailure(): void {
    if (this.failure === null || this.#seen) return
    this.#seen = true
    throw this.failure
  }
}
