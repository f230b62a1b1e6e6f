/** Collections and the tables that their documents feed, while rows are made of them. */
import type { Logger } from '../../../core/context.ts'
import { type Arena, Op } from '../../../core/packed-rows.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { BsonType, documentLast, eachElement } from './bson/bson.ts'
import { isKeyedById, type MappedCollection } from './collections.ts'
import type { MongodbConfig } from './config.ts'
import { DocumentPacker } from './packer/packer.ts'
import { ImageDiff } from './packer/packer-diff.ts'
import type { PackTarget } from './packer/packer-target.ts'
import { parseTime, type StoredTable } from './position.ts'

const NONE = { first: 0, count: 0 }

export class FedTable {
  readonly name: string
  readonly schema: TableSchema
  readonly packer: DocumentPacker
  /** Cells of an image. */
  readonly width: number
  /** One row per document, whatever is in it, under the document's own key: nothing needs to be known of before. */
  readonly isPlain: boolean
  /** The key of the row follows from the `_id` of the document. */
  readonly isKeyedById: boolean
  /** Where the batch number `batch` has the table. */
  index = 0
  batch = -1
  readonly #diff: ImageDiff
  readonly #log: Logger
  /** Changes up to this cluster time are in the copy. */
  readonly #seconds: number
  readonly #counter: number
  #keyClasses: readonly number[]
  #misfits = 0

  constructor(
    mapping: MappedCollection['tables'][number],
    stored: StoredTable,
    options: Pick<MongodbConfig, 'json' | 'misfits'>,
    log: Logger,
  ) {
    this.schema = stored.schema
    this.name = tableName(stored.schema)
    this.width = stored.schema.columns.length
    this.packer = new DocumentPacker({ ...mapping, table: stored.schema }, options)
    this.packer.noteKeyClasses(stored.keyClasses)
    this.isKeyedById = isKeyedById(mapping) && this.packer.keyFromDocumentKey
    this.isPlain = this.isKeyedById && mapping.filter === null
    this.#diff = new ImageDiff(mapping)
    this.#log = log
    const copied = stored.copiedAt === null ? 0n : parseTime(stored.copiedAt)
    this.#seconds = Number(copied >> 32n)
    this.#counter = Number(copied & 0xffff_ffffn)
    this.#keyClasses = this.packer.keyClasses
  }

  /** False for changes that are in the copy. */
  takes(seconds: number, counter: number): boolean {
    return seconds > this.#seconds || (seconds === this.#seconds && counter > this.#counter)
  }

  /**
   * Adds the rows of a document that came, `images` of them, which are the last cells of the target. Throws when two of
   * them have the same key.
   */
  insert(target: PackTarget, table: number, images: number): void {
    const { rows } = target
    const first = rows.cellCount - images * this.width
    if (images === 1) rows.addRow(Op.insert, table, first, -1)
    else if (images > 1)
      this.#diff.append(target, NONE, { first, count: images }, { table, oldImages: false })
  }

  /** Adds what is different between the rows of a document before and after; the last cells of the target. */
  difference(target: PackTarget, table: number, before: number, after: number): void {
    const firstAfter = target.rows.cellCount - after * this.width
    const firstBefore = firstAfter - before * this.width
    this.#diff.append(
      target,
      { first: firstBefore, count: before },
      { first: firstAfter, count: after },
      { table, oldImages: false },
    )
  }

  /** True when the key has had values of a kind that is not noted yet. */
  get hasNewKeys(): boolean {
    // A new list when anything new was seen.
    return this.packer.keyClasses !== this.#keyClasses
  }

  /** What the key has had so far. Throws when it cannot tell those apart. */
  noteKeys(): readonly number[] {
    if (this.hasNewKeys) {
      this.packer.checkKeys()
      this.#keyClasses = this.packer.keyClasses
    }
    return this.#keyClasses
  }

  /** Says how many values became NULL since the last time. */
  reportMisfits(): void {
    const { misfits } = this.packer
    if (misfits === this.#misfits) return
    this.#log.warn('values that did not fit their columns became NULL', {
      table: this.name,
      values: misfits - this.#misfits,
      total: misfits,
    })
    this.#misfits = misfits
  }
}

export interface FedCollection {
  readonly mapped: MappedCollection
  readonly tables: readonly FedTable[]
}

export class FedCollections {
  readonly all: readonly FedCollection[]
  readonly #byName: ReadonlyMap<string, FedCollection>
  /** The `ns` of the last event, and what it was. */
  #last = Buffer.alloc(0)
  #found: FedCollection | null = null

  constructor(
    collections: readonly MappedCollection[],
    stored: Readonly<Record<string, StoredTable>>,
    options: Pick<MongodbConfig, 'json' | 'misfits'>,
    log: Logger,
  ) {
    this.all = collections.map((mapped) => ({
      mapped,
      tables: mapped.tables.map(
        (table) => new FedTable(table, stored[tableName(table.table)]!, options, log),
      ),
    }))
    this.#byName = new Map(this.all.map((collection) => [collection.mapped.fullName, collection]))
  }

  /** The collection of a `{db, coll}` document; null when it is not mapped. */
  find(bytes: Arena, at: number): FedCollection | null {
    if (at < 0) return null
    const last = this.#last
    let same = 0
    while (same < last.length && last[same] === bytes[at + same]) same++
    // Documents begin with their length.
    if (same === last.length && same > 0) return this.#found
    const end = documentLast(bytes, at, bytes.length) + 1
    this.#last = Buffer.from(bytes.subarray(at, end))
    const { db, coll } = namesOf(bytes, at, end)
    return (this.#found = this.#byName.get(`${db}.${coll}`) ?? null)
  }

  reportMisfits(): void {
    for (const { tables } of this.all) for (const table of tables) table.reportMisfits()
  }
}

function namesOf(bytes: Arena, at: number, limit: number): { readonly db: string; readonly coll: string } {
  const names = { db: '', coll: '' }
  eachElement(bytes, at, limit, (type, name, nameStop, value, end) => {
    if (type !== BsonType.string) return
    const text = bytes.utf8Slice(value + 4, end - 1)
    if (nameStop - name === 2) names.db = text
    else if (nameStop - name === 4) names.coll = text
  })
  return names
}
