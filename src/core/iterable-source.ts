import { RecordBatch } from './batch.ts'
import { addChange, type Change, type LeftOut, tableOf } from './change.ts'
import { closest } from './closest.ts'
import { ConnectionError, PoisonRecordError, type Problem } from './error.ts'
import type { SourcePosition } from './position.ts'
import { isLiteral } from './selection.ts'
import { type BatchWriter, handOver, Source, type SourceCapabilities, type SourceContext } from './source.ts'
import { type TableSchema, tableName } from './table.ts'
import { ValueBatchBuilder } from './value-batch.ts'

/** A change that says where it stands in its log. */
export interface PositionedChange extends Change {
  /**
   * A whole number from 0 to 2^63 - 1 that is larger for every later change and the same at every replay: an offset,
   * a sequence number, the id of an outbox.
   */
  readonly position: number | bigint
}

interface IterableOptions {
  /** Type string of the source. */
  readonly type: string
  /** What the changes may be of. Other tables are an error, and so are cells that do not fit their columns. */
  readonly tables: readonly TableSchema[]
  /** What an update means that leaves a column out. Default: `refused`. */
  readonly leftOut?: LeftOut
}

/** Changes that nobody can repeat: what happens while nobody listens is lost. */
export interface LiveChanges extends IterableOptions {
  readonly replay?: 'none'
  /** Begins to listen. `from` is always null. Ends soon after `signal` is aborted. */
  changes(from: null, signal: AbortSignal): AsyncIterable<Change>
}

/** Changes with positions, that can be had again. */
export interface LoggedChanges extends IterableOptions {
  readonly replay: 'log'
  /** Everything after `from`, in order; from the beginning of the log when it is null. */
  changes(from: bigint | null, signal: AbortSignal): AsyncIterable<PositionedChange>
  /** Everything up to here is durable and stored: the log may forget it. */
  checkpoint?(position: bigint): Promise<void>
}

/**
 * A source over an async iterable of changes, without a first copy: every change is a transaction of its own. It may be
 * used for one attempt, as all sources: make one per call of `create` or `load`.
 *
 * An iterable does not end as long as its signal is not aborted; one that does is a connection that was lost. What it
 * throws is passed on as it is: throw `CoreError`s, anything else counts as a bug.
 */
export function sourceFromIterable(options: LiveChanges | LoggedChanges): Source {
  return new IterableSource(options)
}

const batchBytes = 64 * 1024
/** Changes that may go together, however small they are. */
const batchChanges = 4096
/** How long an iterable may take to clean up, in milliseconds. */
const returnDeadlineMs = 500
/** The turn of the event loop ended, or the signal was aborted, before there was another change. */
const NOTHING: unique symbol = Symbol('nothing')

class IterableSource extends Source {
  readonly type: string
  readonly #options: LiveChanges | LoggedChanges
  /** By `namespace.name`, and by the name alone where only one has it. */
  readonly #tables: ReadonlyMap<string, TableSchema>
  readonly #builder = new ValueBatchBuilder('stream')
  #context: SourceContext | null = null
  /** Position of the last change that was read; -1 before the first. */
  #read = -1n
  /** Changes that were read and not handed over yet. */
  #waiting = 0
  #turn: Promise<typeof NOTHING> | null = null
  /** The last one that was handed over. */
  #position: SourcePosition | null = null

  constructor(options: LiveChanges | LoggedChanges) {
    super()
    this.type = options.type
    this.#options = options
    this.#tables = byName(options.tables)
  }

  capabilities(): SourceCapabilities {
    return {
      replay: this.#options.replay ?? 'none',
      snapshot: false,
      transactions: false,
      unchangedCells: this.#options.leftOut === 'unchanged',
      updates: true,
      deletes: true,
      schemaChanges: [],
    }
  }

  async validate({ tables: { patterns } }: SourceContext): Promise<readonly Problem[]> {
    const { tables } = this.#options
    const names = tables.map(tableName)
    const problem = (code: string, message: string, fix: string): Problem => {
      return { severity: 'error', code: `iterable/${code}`, message, fix }
    }
    const twice = names.filter((name, index) => names.indexOf(name) !== index)
    const keyless = tables.filter((table) => table.key.length === 0).map(tableName)
    const unknown = patterns.filter((pattern) => isLiteral(pattern) && !names.includes(pattern))
    return [
      ...twice.map((name) => problem('table-twice', `table ${name} is declared twice`, 'Remove one.')),
      ...keyless.map((name) =>
        problem('no-key', `table ${name} has no key`, 'Say which columns identify a row.'),
      ),
      ...unknown.map((name) => {
        const near = closest(name, names)
        const hint = near === null ? '' : `, did you mean "${near}"?`
        return problem('no-table', `there is no table "${name}"${hint}`, `Declared: ${names.join(', ')}.`)
      }),
    ]
  }

  async connect(context: SourceContext): Promise<void> {
    this.#context = context
  }

  async discover(): Promise<readonly TableSchema[]> {
    return this.#options.tables.filter((table) => this.#selects(table))
  }

  async stream(out: BatchWriter, from: SourcePosition | null): Promise<void> {
    if (from !== null) this.#read = BigInt(from.resume as string)
    for (const table of await this.discover())
      await this.#write(out, RecordBatch.ofTable('create-table', table, 'stream'))
    const ended = new AbortController()
    const signal = AbortSignal.any([out.signal, ended.signal])
    const iterator = this.#changes(from, signal)[Symbol.asyncIterator]()
    try {
      await this.#follow(out, iterator)
      await this.#send(out)
    } catch (error) {
      // To throw is one way to end when the signal is aborted.
      if (!out.signal.aborted) throw error
    } finally {
      ended.abort()
      await this.#end(iterator)
    }
  }

  async checkpoint(position: SourcePosition): Promise<void> {
    if (this.#options.replay === 'log') await this.#options.checkpoint?.(BigInt(position.resume as string))
  }

  currentPosition(): SourcePosition | null {
    return this.#position
  }

  async headPosition(): Promise<null> {
    return null
  }

  async disconnect(): Promise<void> {}

  #selects(table: TableSchema): boolean {
    return this.#context!.tables.includes(table.namespace, table.name)
  }

  #changes(from: SourcePosition | null, signal: AbortSignal): AsyncIterable<Change> {
    const options = this.#options
    if (options.replay !== 'log') return options.changes(null, signal)
    return options.changes(from === null ? null : this.#read, signal)
  }

  /** Changes that are there together go together; none waits for company. */
  async #follow(out: BatchWriter, iterator: AsyncIterator<Change>): Promise<void> {
    while (!out.signal.aborted) {
      const next = iterator.next()
      let result = await Promise.race([next, this.#endOfTurn()])
      if (result === NOTHING) {
        await this.#send(out)
        result = await unlessAborted(next, out.signal)
      }
      if (result === NOTHING) return
      if (result.done === true) throw this.#ended()
      this.#add(result.value)
      if (this.#builder.byteSize < batchBytes && this.#waiting < batchChanges) continue
      await this.#send(out)
      // An iterable that always has more must not keep everybody else from working.
      await this.#endOfTurn()
    }
  }

  #add(change: Change): void {
    const table = tableOf(this.#tables, change)
    const position = this.#positionOf(table, change)
    this.#builder.begin({ id: position.order, commitTimeMs: change.timestamp ?? null, version: this.#read })
    if (this.#selects(table)) addChange(this.#builder, table, change, this.#options.leftOut)
    this.#builder.commit(position)
    this.#waiting++
  }

  /**
   * Without a log the clock counts, in microseconds: what comes after a restart is later than what came before, for the
   * checkpoint as well as for a sink that keeps the newest version.
   */
  #positionOf(table: TableSchema, change: Change | PositionedChange): SourcePosition {
    if (this.#options.replay === 'log') {
      const given = 'position' in change ? toPosition(change.position) : null
      if (given === null || given <= this.#read)
        throw new PoisonRecordError(
          'iterable/position',
          `a change of table ${tableName(table)} has ${given === null ? 'no position' : 'a position that is not later than the one before'}`,
          { fix: 'Give every change a whole number from 0 to 2^63 - 1 that is larger than all before it.' },
        )
      this.#read = given
    } else {
      const clock = BigInt(Math.trunc(this.#context!.now())) * 1000n
      this.#read = clock > this.#read ? clock : this.#read + 1n
    }
    return { order: String(this.#read).padStart(19, '0'), resume: String(this.#read) }
  }

  async #send(out: BatchWriter): Promise<void> {
    const batch = this.#builder.take()
    this.#waiting = 0
    if (batch !== null) await this.#write(out, batch)
  }

  async #write(out: BatchWriter, batch: RecordBatch): Promise<void> {
    this.#position = batch.position ?? this.#position
    await handOver(out, batch)
  }

  #endOfTurn(): Promise<typeof NOTHING> {
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = null
        resolve(NOTHING)
      })
    })
    return this.#turn
  }

  #ended(): ConnectionError {
    return new ConnectionError('iterable/ended', `the changes of source "${this.type}" ended by themselves`, {
      fix: 'An iterable that has nothing more to say waits until its signal is aborted.',
    })
  }

  async #end(iterator: AsyncIterator<Change>): Promise<void> {
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), returnDeadlineMs)
    const returned = Promise.try(() => iterator.return?.()).catch(() => {})
    if ((await unlessAborted(returned, deadline.signal)) === NOTHING)
      this.#context!.log.warn(`the changes of source "${this.type}" do not end although they were told to`)
    clearTimeout(timer)
  }
}

function byName(tables: readonly TableSchema[]): ReadonlyMap<string, TableSchema> {
  const found = new Map(tables.map((table) => [tableName(table), table]))
  for (const table of tables) {
    const alone = tables.filter(({ name }) => name === table.name).length === 1
    if (alone && !found.has(table.name)) found.set(table.name, table)
  }
  return found
}

function toPosition(given: unknown): bigint | null {
  if (typeof given !== 'bigint' && !Number.isSafeInteger(given)) return null
  const position = BigInt(given as number | bigint)
  return position >= 0n && position < 2n ** 63n ? position : null
}

/** The value of the promise, or that the signal was aborted first. Leaves no listener behind. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | typeof NOTHING> {
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(NOTHING)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    const forget = (): void => signal.removeEventListener('abort', stop)
    promise.then(resolve, reject).finally(forget)
  })
}
