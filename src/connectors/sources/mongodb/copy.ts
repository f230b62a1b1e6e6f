/**
 * The copy: the documents of some collections, range by range, read by several cursors. It begins at a known cluster time
 * and is read while others write; what changes meanwhile comes once more in the stream, which goes on before the copy
 * began. So the tables are a state that the database had only once the stream is behind the copy's end.
 */
import type { MongoClient } from 'mongodb'
import { Timestamp } from 'mongodb'
import PQueue from 'p-queue'
import { RecordBatch } from '../../../core/batch.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { type BatchWriter, handOver, type SnapshotProgress } from '../../../core/source.ts'
import { type MappedCollection, projectionOf } from './collections.ts'
import { findReplies } from './commands.ts'
import type { MongodbConfig, Units } from './config.ts'
import { CopiedRows } from './copied-rows.ts'
import { mongodbError } from './errors.ts'
import type { FedCollection, FedTable } from './fed-table.ts'
import {
  formatTime,
  isDone,
  parseTime,
  type Place,
  snapshotVersion,
  type StoredCopy,
  type StoredTable,
  StreamPosition,
  type Surroundings,
  withDone,
} from './position.ts'
import { type CollectionSize, collectionSize, rangeBounds, rangeOf } from './ranges.ts'
import { headTime } from './session.ts'

export interface CopyRequest {
  readonly client: MongoClient
  readonly config: MongodbConfig
  readonly units: Units
  /** With the tables of each that have to be copied. */
  readonly collections: readonly FedCollection[]
  /** Where the stream will go on. */
  readonly place: Place
  readonly surroundings: Surroundings
  /** Cluster time that copies which begin now are as of, or later. */
  readonly at: bigint
  /** Rejects when the stream could not go on at `place` any more. */
  readonly requireHistory: () => Promise<void>
  readonly out: BatchWriter
  readonly now: () => number
}

/** How often a long copy makes sure that the oplog still reaches back to its beginning. */
const HISTORY_CHECK_MS = 30_000

interface Task {
  readonly collection: FedCollection
  readonly index: number
}

export class Copy {
  readonly #request: CopyRequest
  #surroundings: Surroundings
  #step: number
  #rowsCopied = 0
  #rowsTotal = 0
  #done = 0
  #historyCheckedAt = 0
  /** A range failed, or all are done. */
  #isOver = false
  /** Positions must rise, so they are made one after the other. */
  #telling: Promise<void> = Promise.resolve()

  constructor(request: CopyRequest) {
    this.#request = request
    this.#surroundings = request.surroundings
    this.#step = request.place.step
  }

  get progress(): SnapshotProgress {
    return {
      tablesDone: this.#done,
      tablesTotal: this.#request.collections.reduce((sum, { tables }) => sum + tables.length, 0),
      rowsCopied: this.#rowsCopied,
      rowsTotal: Math.max(this.#rowsTotal, this.#rowsCopied),
    }
  }

  /** The place, with the step of the last position. */
  get place(): Place {
    return { ...this.#request.place, step: this.#step }
  }

  /** Copies, and gives what positions say from then on. Resolves early when `out.signal` is aborted. */
  async run(): Promise<Surroundings> {
    const { client, collections, out } = this.#request
    await this.#checkHistory()
    const tasks: Task[] = []
    for (const collection of collections) tasks.push(...(await this.#plan(collection)))
    await failpoint('snapshot-plan')
    const queue = new PQueue({ concurrency: this.#request.config.copyWorkers })
    const left = new Map(
      collections.map((collection) => [
        collection,
        tasks.filter((task) => task.collection === collection).length,
      ]),
    )
    for (const [collection, count] of left) if (count === 0) this.#finish(collection)
    try {
      const jobs = tasks.map((task) =>
        queue.add(async () => {
          if (out.signal.aborted) return
          await this.#copyRange(task)
          if (this.#isOver || out.signal.aborted) return
          const count = left.get(task.collection)! - 1
          left.set(task.collection, count)
          this.#noteDone(task)
          if (count === 0) this.#finish(task.collection)
          await failpoint('snapshot-record')
          await this.#tell()
        }),
      )
      await Promise.all(jobs)
    } finally {
      // Nothing is handed over any more when this has failed.
      this.#isOver = true
      queue.clear()
      if (!out.signal.aborted) await queue.onIdle()
    }
    if (out.signal.aborted) return this.#surroundings
    // What was read is at or before the end that the log has now.
    this.#surroundings = { ...this.#surroundings, wholeFrom: await headTime(client) }
    await this.#tell()
    return this.#surroundings
  }

  /** Announces what begins anew, and cuts it into ranges; of a copy that was under way, those that are left. */
  async #plan(collection: FedCollection): Promise<readonly Task[]> {
    const { client, at } = this.#request
    const { mapped, tables } = collection
    const size = await collectionSize(client, mapped)
    this.#rowsTotal += size.documents * tables.length
    const names = tables.map(({ name }) => name)
    let copy = this.#surroundings.copies[mapped.fullName]
    if (copy === undefined || copy.tables.join('\n') !== names.join('\n')) {
      const bounds = await this.#bounds(mapped, size)
      copy = { at: formatTime(at), tables: names, bounds, done: '' }
      await this.#announce(tables)
      this.#setCopy(mapped.fullName, copy)
      await this.#tell()
    }
    const { bounds, done } = copy
    return Array.from({ length: bounds.length + 1 }, (_, index) => ({ collection, index })).filter(
      ({ index }) => !isDone(done, index),
    )
  }

  async #bounds(mapped: MappedCollection, size: CollectionSize): Promise<readonly string[]> {
    const { client, config, units } = this.#request
    const ranges = Math.ceil(size.bytes / config.copyRange)
    return rangeBounds(client, mapped, Math.min(ranges, units.rangesMax))
  }

  async #announce(tables: readonly FedTable[]): Promise<void> {
    const { out } = this.#request
    for (const { schema } of tables) {
      for (const kind of ['create-table', 'truncate'] as const)
        await out.write(RecordBatch.ofTable(kind, schema, 'snapshot'))
    }
  }

  async #copyRange({ collection, index }: Task): Promise<void> {
    const { client, out, units } = this.#request
    const { mapped, tables } = collection
    const copy = this.#surroundings.copies[mapped.fullName]!
    const at = parseTime(copy.at)
    const projection = projectionOf(mapped)
    try {
      await this.#checkHistory()
      const replies = findReplies(client, mapped.database, {
        find: mapped.name,
        ...rangeOf(copy.bounds, index),
        ...(projection === null ? {} : { projection }),
        readConcern: { level: 'majority', afterClusterTime: new Timestamp(at) },
        batchSize: units.documentsPerReply,
      })
      const rows = new CopiedRows(tables, snapshotVersion(at))
      for await (const { bytes, documents } of replies) {
        await failpoint('snapshot-read')
        for (const document of documents) {
          rows.add(bytes, document)
          if (rows.bytes >= units.batchBytes) await this.#handOver(rows)
          if (this.#isOver || out.signal.aborted) return
        }
      }
      await this.#handOver(rows)
    } catch (error) {
      if (out.signal.aborted) return
      throw mongodbError(error, `copy the collection ${mapped.fullName}`)
    }
  }

  async #handOver(rows: CopiedRows): Promise<void> {
    if (rows.count === 0) return
    this.#rowsCopied += rows.count
    await handOver(this.#request.out, rows.cut())
  }

  #setCopy(collection: string, copy: StoredCopy): void {
    const { copies } = this.#surroundings
    this.#surroundings = { ...this.#surroundings, copies: { ...copies, [collection]: copy } }
  }

  #noteDone({ collection, index }: Task): void {
    const name = collection.mapped.fullName
    const copy = this.#surroundings.copies[name]!
    this.#setCopy(name, { ...copy, done: withDone(copy.done, index) })
    this.#noteTables(collection, null)
  }

  #finish(collection: FedCollection): void {
    const name = collection.mapped.fullName
    const { [name]: copy, ...copies } = this.#surroundings.copies
    this.#surroundings = { ...this.#surroundings, copies }
    this.#noteTables(collection, copy!.at)
    this.#done += collection.tables.length
  }

  /** What the rows so far have shown; with `copiedAt`, that they are all. */
  #noteTables({ tables }: FedCollection, copiedAt: string | null): void {
    const stored: Record<string, StoredTable> = { ...this.#surroundings.tables }
    for (const table of tables)
      stored[table.name] = { ...stored[table.name]!, copiedAt, keyClasses: table.noteKeys() }
    this.#surroundings = { ...this.#surroundings, tables: stored }
  }

  #tell(): Promise<void> {
    const { out, now } = this.#request
    this.#step++
    const position = new StreamPosition(this.place, this.#surroundings)
    const heartbeat = { _tag: 'Heartbeat', position, timeMs: now() } as const
    this.#telling = this.#telling.then(() => out.write(RecordBatch.ofHeartbeat(heartbeat)))
    return this.#telling
  }

  /** A copy that takes longer than the oplog reaches back is in vain: better to hear of it early. */
  async #checkHistory(): Promise<void> {
    const { now, requireHistory } = this.#request
    if (now() - this.#historyCheckedAt < HISTORY_CHECK_MS) return
    this.#historyCheckedAt = now()
    await requireHistory()
  }
}
