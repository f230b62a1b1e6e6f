/**
 * Writes the change log: state, log and position in one SQLite transaction, so that they never disagree. Synchronous;
 * `log-worker.ts` runs it in a thread of its own.
 *
 * An upstream transaction that comes in several chunks keeps the SQLite transaction open until its commit, and so does
 * whatever has no position yet. Nothing is published while the state is none that the source had: what happens
 * meanwhile becomes one transaction of the log, see `publish.ts`.
 */
import type { DatabaseSync } from 'node:sqlite'
import { unpackItems } from './chunk-items.ts'
import type { LogFile } from './log-file.ts'
import {
  type Answer,
  type Chunk,
  type ChunkItem,
  EntryKind,
  type ItemCommit,
  type LogEvent,
  type Opened,
  type Permissions,
  type StoredTable,
  type TableChange,
  type Watermark,
} from './log-messages.ts'
import { loadState, permissionsEvent, type State } from './log-state.ts'
import { LogStore, type RowRules } from './log-store.ts'
import type { UpkeepResult } from './log-upkeep.ts'
import type { PositionText } from './position-text.ts'
import { publishCopies } from './publish.ts'
import { applyRecords } from './apply-records.ts'
import { changeTable } from './table-changes.ts'

/** Rows that were accepted went with a transaction that SQLite gave up: the pipeline has to start again. */
export class LostError extends Error {}

export class LogWriter {
  readonly #file: LogFile
  readonly #db: DatabaseSync
  readonly #store: LogStore
  readonly #rules: RowRules
  #state: State
  /** Watermarks of this start are above: also those that another copy of the file has given out are not repeated. */
  readonly #floor: Watermark
  /** The open SQLite transaction has what was accepted before this request. */
  #carries = true

  /** Of records, since the last commit. */
  #uncommittedBytes = 0

  /** `now` in milliseconds since 1970 UTC. */
  constructor(file: LogFile, now: () => number, rules: RowRules) {
    this.#file = file
    this.#db = file.db
    this.#rules = rules
    this.#store = new LogStore(file.db, now, (version) => rules.masksOf(version))
    this.#state = this.#load()
    this.#floor = Math.max(this.#state.head, Math.floor(now() * 1000))
    this.#resumeOpen()
    this.#dropUnplaced()
  }

  get head(): Watermark {
    return this.#state.head
  }

  /** To be called before each request: one that fails can be repeated if nothing else is lost with it. */
  begin(): void {
    this.#carries = this.#db.isTransaction
  }

  opened(): Omit<Opened, 'filters'> {
    const { head, waiting, earlier, tables } = this.#state
    return {
      position: this.#store.meta<string>('position'),
      parts: this.#store.positionParts(),
      head,
      waiting,
      earlier,
      tables: [...tables.values()],
      versions: this.#store.allVersions(),
    }
  }

  /** Applies a chunk whole or not at all; on the disk when it has a position. */
  apply(chunk: Chunk): Answer {
    this.#atomically(() => {
      let start = 0
      for (const item of unpackItems(chunk.items)) {
        if (item.end > start) this.#rows(chunk.buffer, start, item)
        start = item.end
        if (item.commit !== null) this.#commit(item.commit)
      }
      if (chunk.position !== null) this.#keep(chunk.position)
    })
    this.#uncommittedBytes += chunk.buffer.length
    if (chunk.position !== null) this.#end()
    else this.#endCopyStep()
    return this.#done()
  }

  change(change: TableChange, forget: boolean): Answer {
    const table = this.#atomically(() => {
      if (forget) {
        this.#store.setMeta('position', null)
        this.#set({ order: null, waitOrder: null })
      }
      return this.#change(change)
    })
    this.#endCopyStep()
    const { isEmptied } = this.#state
    this.#set({ isEmptied: false })
    return { kind: 'changed', table, isEmptied, versions: this.#store.takeNewVersions() }
  }

  rewind(position: PositionText): Answer {
    this.#atomically(() => {
      const { order, waitOrder } = this.#state
      if (order !== null && position.order < order)
        this.#set({ waiting: true, waitOrder: waitOrder !== null && waitOrder > order ? waitOrder : order })
      this.#keep(position)
    })
    this.#end()
    return this.#done()
  }

  /** The head becomes a watermark that nobody has seen, at once or with the end of what is open. */
  bump(): Answer {
    this.#set({ bump: true })
    this.#bumpIfAsked()
    return this.#done()
  }

  permissions(value: Permissions): Answer {
    const stored = this.#store.meta<string>('permissions')
    const text = JSON.stringify(value)
    if (stored === text) return this.#done()
    const between = !this.#db.isTransaction && !this.#state.waiting
    this.#atomically(() => {
      this.#store.setMeta('permissions', text)
      if (this.#state.head === 0) return
      this.#event({ kind: 'permissions', ...value })
      if (between) this.#publish(null)
    })
    if (between || this.#state.open === null) this.#end()
    return this.#done()
  }

  /** Small notes about the outside. Durable at once, or with the upstream transaction that is being written. */
  beside(work: (store: LogStore) => void): Answer {
    this.#atomically(() => work(this.#store))
    if (!this.#state.bound) this.#commitFile()
    return this.#done()
  }

  /** Work on old entries, between upstream transactions only. */
  upkeep(work: (store: LogStore) => UpkeepResult): Answer {
    if (this.#db.isTransaction)
      return { kind: 'upkept', bytes: this.#store.logBytes, lost: false, more: false }
    const result = this.#atomically(() => work(this.#store))
    this.#commitFile()
    return { kind: 'upkept', ...result }
  }

  /** Back to what is durable: what was not comes again. */
  reset(): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
    this.#store.forgetCached()
    this.#state = this.#load()
    this.#dropUnplaced()
  }

  close(): Answer {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
    const done = this.#done()
    this.#file.close()
    return done
  }

  #rows(buffer: Uint8Array, start: number, item: ChunkItem): void {
    const { tables, head, waiting, earlier } = this.#state
    if (item.origin === 'stream' && !this.#state.bound) this.#set({ bound: true })
    const isFirst = head === 0 && waiting
    const isReplay = isFirst && earlier !== null && item.origin === 'stream'
    const result = applyRecords(this.#store, tables, buffer, start, item.end, isReplay)
    // Of a first copy nobody is told: subscribers get the state. Only those of an earlier server have one already.
    if (item.origin === 'snapshot' || (isFirst && !isReplay) || result.body.length === 0) return
    this.#append(EntryKind.rows, result.body, result.masks, item.commit?.timeMs ?? null)
  }

  #event(event: LogEvent): void {
    if (this.#state.head === 0) return
    this.#append(EntryKind.event, Buffer.from(JSON.stringify(event)), null, null)
  }

  #append(kind: number, body: Uint8Array, masks: Uint8Array | null, timeMs: number | null): void {
    const watermark = this.#openWatermark()
    this.#store.append(watermark, kind, body, masks, timeMs)
    if (this.#state.appended !== watermark) this.#set({ appended: watermark })
  }

  #openWatermark(): Watermark {
    const { open, head } = this.#state
    if (open !== null) return open
    const next = Math.max(head, this.#floor) + 1
    this.#set({ open: next })
    return next
  }

  #commit({ timeMs, order, partial }: ItemCommit): void {
    const { head, earlier, waiting, waitOrder, open } = this.#state
    if (waiting) {
      if (partial || (waitOrder !== null && order < waitOrder)) return
      const watermark = this.#openWatermark()
      // What those of an earlier server have of them is not known.
      const permissions = head === 0 && earlier !== null ? permissionsEvent(this.#store) : null
      if (permissions !== null) this.#append(EntryKind.event, permissions, null, null)
      const tables = publishCopies(this.#store, this.#state.tables, {
        silent: this.#state.head === 0,
        append: (body, masks) => this.#store.append(watermark, EntryKind.rows, body, masks, null),
        event: (event) => this.#event(event),
      })
      this.#set({ tables, waiting: false, waitOrder: null })
    } else if (partial) {
      // The source goes back to copying without a word about a table: what follows is not to be seen.
      this.#set({ waiting: true })
      return
    } else if (open === null) return
    this.#publish(timeMs)
  }

  /** The open transaction becomes the head. */
  #publish(timeMs: number | null): void {
    const watermark = this.#openWatermark()
    // Every watermark that a subscriber may name has an entry.
    if (this.#state.appended !== watermark && !this.#store.hasEntry(watermark))
      this.#store.append(watermark, EntryKind.rows, new Uint8Array(0), null, timeMs)
    this.#set({ head: watermark, open: null })
  }

  #change(change: TableChange): StoredTable | null {
    const { source } = change
    if (this.#state.head === 0 && this.#state.earlier !== null && change.kind !== 'copy') {
      // That cannot be told to those of an earlier server: they begin anew.
      this.#store.setMeta('earlier', null)
      this.#set({ earlier: null })
    }
    const stored = this.#state.tables.get(source) ?? { source, published: null, copy: null }
    const { table, isCopied, isEmptied } = changeTable(this.#store, stored, change, {
      append: (body, masks) => {
        if (this.#state.head > 0) this.#append(EntryKind.rows, body, masks, null)
      },
      event: (event) => this.#event(event),
    })
    // A copy that has placed parts and begins anew: without a position the source would go on with the part after them.
    const isPlaced = stored.copy !== null && this.#state.order !== null && this.#state.isPartial
    this.#set({
      isEmptied,
      bound: this.#state.bound || change.kind !== 'copy' || isPlaced,
      waiting: this.#state.waiting || isCopied,
    })
    return this.#setTable(table ?? stored, table === null)
  }

  #setTable(table: StoredTable, gone = false): StoredTable | null {
    const tables = new Map(this.#state.tables)
    if (gone) {
      tables.delete(table.source)
      this.#store.removeTable(table.source)
      this.#rules.forget(table.source)
    } else {
      this.#rules.define(this.#store.version((table.copy ?? table.published)!.version))
      tables.set(table.source, table)
      this.#store.saveTable(table)
    }
    this.#set({ tables })
    return gone ? null : table
  }

  #keep(position: PositionText): void {
    const fresh = position.parts.filter(({ id }) => !this.#state.parts.has(id))
    if (fresh.length > 0) {
      this.#store.savePositionParts(position.parts)
      this.#set({ parts: new Set(position.parts.map(({ id }) => id)) })
    }
    this.#store.setMeta('position', position.text)
    this.#set({ order: position.order, isPartial: position.partial })
  }

  #set(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change }
  }

  /** Makes the open SQLite transaction durable. */
  #end(): void {
    const { bump, open, waiting, head } = this.#state
    const isBumped = bump && open === null && !waiting
    if (isBumped && head > 0) this.#atomically(() => this.#publish(null))
    this.#set({ bound: false })
    this.#saveState()
    this.#commitFile()
    if (isBumped) this.#set({ bump: false })
  }

  /** What a copy brings needs no position: it is thrown away when the copy does not end. */
  #endCopyStep(): void {
    if (this.#state.bound) return
    this.#saveState()
    this.#commitFile()
  }

  #saveState(): void {
    const { head, open, waiting, waitOrder } = this.#state
    this.#atomically(() => this.#store.setMeta('state', JSON.stringify({ head, open, waiting, waitOrder })))
  }

  #commitFile(): void {
    if (!this.#db.isTransaction) return
    try {
      this.#db.exec('COMMIT')
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw this.#undone(error)
    }
    this.#file.committed(this.#uncommittedBytes)
    this.#uncommittedBytes = 0
  }

  #bumpIfAsked(): void {
    const { open, waiting, bump } = this.#state
    if (bump && open === null && !waiting && !this.#db.isTransaction) this.#end()
  }

  #done(): Answer {
    return { kind: 'done', head: this.#state.head, waiting: this.#state.waiting }
  }

  /** All of it or nothing, also inside of a transaction that goes on. */
  #atomically<A>(work: () => A): A {
    const before = this.#state
    const inside = this.#db.isTransaction
    this.#db.exec(inside ? 'SAVEPOINT step' : 'BEGIN IMMEDIATE')
    try {
      const result = work()
      if (inside) this.#db.exec('RELEASE step')
      return result
    } catch (error) {
      // SQLite may have given up all of the transaction by itself.
      if (!this.#db.isTransaction) throw this.#undone(error)
      this.#store.forgetCached()
      this.#db.exec(inside ? 'ROLLBACK TO step; RELEASE step' : 'ROLLBACK')
      this.#state = before
      throw error
    }
  }

  /** Back to what is on the disk. The error to throw: another one when more than this request is undone. */
  #undone(error: unknown): unknown {
    this.#store.forgetCached()
    this.#state = this.#load()
    if (!this.#carries) return error
    return new LostError('the transaction that was being written is lost', { cause: error })
  }

  #load(): State {
    // Whoever asked for a watermark still waits.
    const state = loadState(this.#store, (this.#state as State | undefined)?.bump ?? false)
    for (const { published, copy } of state.tables.values())
      for (const rows of [published, copy])
        if (rows !== null) this.#rules.define(this.#store.version(rows.version))
    return state
  }

  /** Copies that began behind the stored position: the source begins them again, and nothing waits for them before. */
  #dropUnplaced(): void {
    const { head, waiting, waitOrder, order, isPartial, tables } = this.#state
    if (!waiting || head === 0 || waitOrder !== null || order === null || isPartial) return
    this.#atomically(() => {
      for (const table of tables.values()) {
        if (table.copy === null) continue
        this.#store.dropState(table.copy.state)
        this.#setTable({ ...table, copy: null }, table.published === null)
      }
      this.#set({ waiting: false })
    })
    this.#end()
  }

  /** What an earlier run has begun goes on under a watermark of this one. */
  #resumeOpen(): void {
    const { open } = this.#state
    if (open === null || open > this.#floor) return
    this.#atomically(() => this.#store.renumber(open, this.#floor + 1))
    this.#set({ open: this.#floor + 1 })
    this.#end()
  }
}
