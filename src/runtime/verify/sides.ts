import type { SinkReader, SinkTable, SourceReader, SourceSnapshot } from '../../core/row-reader.ts'
import type { TableSchema } from '../../core/table.ts'
import type { Gate } from './gate.ts'
import { RowHasher } from './row-hash.ts'

/** A snapshot is given back after this time: it keeps the server from removing old rows, and holds locks. */
const SNAPSHOT_MAX_MS = 60_000

/** A snapshot that several use; closed when it is old and the last of them is done. */
class Shared {
  readonly snapshot: SourceSnapshot
  readonly #takenAtMs = performance.now()
  #users = 0
  #isOld = false
  #isClosed = false

  constructor(snapshot: SourceSnapshot) {
    this.snapshot = snapshot
  }

  /** False when it is too old to be used. */
  enter(): boolean {
    if (this.#isOld || performance.now() - this.#takenAtMs > SNAPSHOT_MAX_MS) return false
    this.#users++
    return true
  }

  async leave(): Promise<void> {
    this.#users--
    await this.#closeUnused()
  }

  async retire(): Promise<void> {
    this.#isOld = true
    await this.#closeUnused()
  }

  async #closeUnused(): Promise<void> {
    if (!this.#isOld || this.#users > 0 || this.#isClosed) return
    this.#isClosed = true
    await this.snapshot[Symbol.asyncDispose]()
  }
}

/** Both readers, and snapshots that the sink has passed. */
export class Sides implements AsyncDisposable {
  readonly source: SourceReader
  readonly sink: SinkReader
  readonly #gate: Gate
  readonly #described = new WeakMap<TableSchema, SinkTable>()
  #current: Promise<Shared> | null = null
  /** Position of the first snapshot. */
  position: string | null = null

  constructor(source: SourceReader, sink: SinkReader, gate: Gate) {
    this.source = source
    this.sink = sink
    this.#gate = gate
  }

  /** Runs `work` with a snapshot that is not old, shared with others. */
  async use<A>(work: (snapshot: SourceSnapshot) => Promise<A>): Promise<A> {
    for (;;) {
      const taken = (this.#current ??= this.#take())
      let shared: Shared
      try {
        shared = await taken
      } catch (error) {
        this.#forget(taken)
        throw error
      }
      if (!shared.enter()) {
        this.#forget(taken)
        await shared.retire()
        continue
      }
      try {
        return await work(shared.snapshot)
      } finally {
        await shared.leave()
      }
    }
  }

  /** Runs `work` with a new snapshot of its own, which the sink need not have passed. */
  async fresh<A>(exact: boolean, work: (snapshot: SourceSnapshot) => Promise<A>): Promise<A> {
    await using snapshot = await this.source.snapshot(exact)
    return await work(snapshot)
  }

  /** The next `use` takes a new snapshot. */
  async renew(): Promise<void> {
    const current = this.#current
    this.#current = null
    await (await current?.catch(() => null))?.retire()
  }

  /** What the sink has for a table of a snapshot; problems are looked at again. */
  async describe(table: TableSchema): Promise<SinkTable> {
    const known = this.#described.get(table)
    if (known !== undefined && known.problems.length === 0) return known
    const described = await this.sink.describe(table)
    this.#described.set(table, described)
    return described
  }

  async hasher(table: TableSchema): Promise<RowHasher> {
    return new RowHasher(table, (await this.describe(table)).nullAs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.renew()
    await Promise.all([this.source[Symbol.asyncDispose](), this.sink[Symbol.asyncDispose]()])
  }

  #forget(taken: Promise<Shared>): void {
    if (this.#current === taken) this.#current = null
  }

  async #take(): Promise<Shared> {
    const snapshot = await this.source.snapshot(false)
    try {
      await this.#gate.passed(snapshot.position)
    } catch (error) {
      await snapshot[Symbol.asyncDispose]()
      throw error
    }
    this.position ??= snapshot.position.order
    return new Shared(snapshot)
  }
}
