/** Reads tables as of one cluster time, for comparisons: the same mapping and packers as the copy. */
import { BSON, type Document, type MongoClient, Timestamp } from 'mongodb'
import { InternalError } from '../../../core/error.ts'
import type { TableMapping } from '../../../core/mapping/mapping.ts'
import type { SourcePosition } from '../../../core/position.ts'
import {
  type KeyRange,
  type PackedKeys,
  type RowConsumer,
  type SourceReader,
  type SourceSnapshot,
  WHOLE_TABLE,
} from '../../../core/row-reader.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { type MappedCollection, projectionOf } from './collections.ts'
import { findReplies } from './commands.ts'
import type { MongodbConfig, Units } from './config.ts'
import { mongodbError } from './errors.ts'
import { CopiedRows } from './copied-rows.ts'
import { FedTable } from './fed-table.ts'
import { type IdKind, idKindOf, idText, idsOf, parseId } from './ids.ts'
import { parseTime, placeAt, snapshotVersion, StreamPosition } from './position.ts'
import { collectionSize, rangeBounds } from './ranges.ts'
import { headTime } from './session.ts'
import type { Logger } from '../../../core/context.ts'

export interface ReaderRequest {
  readonly client: MongoClient
  readonly collections: readonly MappedCollection[]
  readonly config: MongodbConfig
  readonly units: Units
  readonly log: Logger
}

/** Keys that are looked up by one command. */
const WINDOW_KEYS = 1000

export class MongodbReader implements SourceReader {
  readonly #request: ReaderRequest

  constructor(request: ReaderRequest) {
    this.#request = request
  }

  /** Every snapshot is exact: it is of one cluster time. */
  async snapshot(): Promise<SourceSnapshot> {
    const { client, collections } = this.#request
    try {
      const at = parseTime(await headTime(client))
      const rows = new Map<string, number>()
      for (const collection of collections)
        rows.set(collection.fullName, (await collectionSize(client, collection)).documents)
      return new MongodbSnapshot(this.#request, at, rows)
    } catch (error) {
      throw mongodbError(error, 'take a snapshot')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#request.client.close(true).catch(() => {})
  }
}

interface ReadTable {
  readonly mapping: TableMapping
  readonly collection: MappedCollection
}

class MongodbSnapshot implements SourceSnapshot {
  readonly position: SourcePosition
  readonly version: bigint
  readonly tables: readonly TableSchema[]
  readonly #request: ReaderRequest
  readonly #at: bigint
  readonly #rows: ReadonlyMap<string, number>
  readonly #tables: ReadonlyMap<string, ReadTable>
  /** What the `_id`s of tables are that were cut into ranges. */
  readonly #kinds = new Map<string, IdKind>()

  constructor(request: ReaderRequest, at: bigint, rows: ReadonlyMap<string, number>) {
    this.#request = request
    this.#at = at
    this.#rows = rows
    const place = { ...placeAt(at), isBehind: true }
    const surroundings = { stages: '', cluster: '', tables: {}, copies: {}, wholeFrom: '' }
    this.position = new StreamPosition(place, surroundings)
    this.version = snapshotVersion(at)
    this.#tables = new Map(
      request.collections.flatMap((collection) =>
        collection.tables.map((mapping) => [tableName(mapping.table), { mapping, collection }] as const),
      ),
    )
    this.tables = [...this.#tables.values()].map(({ mapping }) => mapping.table)
  }

  rowCount(table: TableSchema): number {
    return this.#rows.get(this.#table(table).collection.fullName) ?? 0
  }

  /** By `_id`, where all are of one kind whose order is the same everywhere. */
  async ranges(table: TableSchema): Promise<readonly KeyRange[]> {
    const { client, config, units } = this.#request
    const { mapping, collection } = this.#table(table)
    try {
      const kind = startsWithId(mapping) ? await idKindOf(client, collection, table) : null
      if (kind === null) return [WHOLE_TABLE]
      this.#kinds.set(tableName(table), kind)
      const { bytes } = await collectionSize(client, collection)
      const count = Math.min(Math.ceil(bytes / config.copyRange), units.rangesMax)
      const bounds = (await rangeBounds(client, collection, count)).map((bound) =>
        idText(BSON.deserialize(Buffer.from(bound, 'base64'), { useBigInt64: true })['_id']),
      )
      return [null, ...bounds].map((from, index) => ({ from, to: bounds[index] ?? null }))
    } catch (error) {
      throw mongodbError(error, `cut the collection ${collection.fullName} into ranges`)
    }
  }

  scan(table: TableSchema, range: KeyRange, out: RowConsumer): Promise<void> {
    if (range.from === null && range.to === null) return this.#read(table, {}, out)
    const kind = this.#kinds.get(tableName(table))
    if (kind === undefined)
      throw new InternalError('mongodb/range', 'a table is read by ranges that were never cut')
    const bounds = {
      ...(range.from === null ? {} : { $gte: parseId(kind, range.from) }),
      ...(range.to === null ? {} : { $lt: parseId(kind, range.to) }),
    }
    return this.#read(table, { _id: bounds }, out)
  }

  async find(table: TableSchema, keys: PackedKeys, out: RowConsumer): Promise<void> {
    const { mapping } = this.#table(table)
    // No index leads from the key to the document.
    if (!startsWithId(mapping)) return this.#read(table, {}, out)
    const type = table.columns[table.key[0]!]!.type
    for (let from = 0; from < keys.rowCount; from += WINDOW_KEYS) {
      const ids: unknown[] = []
      for (let row = from; row < Math.min(from + WINDOW_KEYS, keys.rowCount); row++)
        ids.push(...idsOf(type, keys, keys.newImage[row]!))
      if (ids.length > 0) await this.#read(table, { _id: { $in: ids } }, out)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #read(table: TableSchema, filter: Document, out: RowConsumer): Promise<void> {
    const { client, config, units, log } = this.#request
    const { mapping, collection } = this.#table(table)
    const projection = projectionOf(collection)
    const { fingerprint, columnFingerprints } = mapping
    const stored = {
      schema: mapping.table,
      collection: collection.fullName,
      fingerprint,
      columnFingerprints,
      copiedAt: null,
      keyClasses: [],
    }
    const rows = new CopiedRows([new FedTable(mapping, stored, config, log)], this.version)
    try {
      const replies = findReplies(client, collection.database, {
        find: collection.name,
        filter,
        ...(projection === null ? {} : { projection }),
        readConcern: { level: 'snapshot', atClusterTime: new Timestamp(this.#at) },
        batchSize: units.documentsPerReply,
      })
      for await (const { bytes, documents } of replies) {
        for (const document of documents) {
          rows.add(bytes, document)
          if (rows.bytes >= units.batchBytes) await out(rows.cut().rows!)
        }
      }
      if (rows.count > 0) await out(rows.cut().rows!)
    } catch (error) {
      throw mongodbError(error, `read the collection ${collection.fullName}`)
    }
  }

  #table(table: TableSchema): ReadTable {
    return this.#tables.get(tableName(table))!
  }
}

/** The first column of the key is the `_id` itself. */
function startsWithId({ table, columns }: TableMapping): boolean {
  const rule = columns[table.key[0]!]!
  return rule.kind === 'path' && rule.path.length === 1 && rule.path[0] === '_id'
}
