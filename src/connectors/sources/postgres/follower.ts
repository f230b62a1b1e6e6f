/**
 * Follows the log from a position: decodes messages, turns what needs attention (relations, truncates) into schema
 * changes, and keeps the list of tables that goes into every position. Knows nothing of where the messages come from:
 * `stream.ts` and `catch-up.ts` feed it.
 */
import { RecordBatch } from '../../../core/batch.ts'
import { SchemaError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { SourcePosition } from '../../../core/position.ts'
import type { TableSelection } from '../../../core/selection.ts'
import type { BatchWriter } from '../../../core/source.ts'
import { type SchemaOperation, tableName, type TableSchema } from '../../../core/table.ts'
import {
  type CatalogTable,
  changesOf,
  conversions,
  currentTables,
  readTypes,
  storedTable,
} from './catalog.ts'
import { PgoutputDecoder } from './decoder.ts'
import { type DecodedTable, type RelationMessage, SKIP_ALL } from './relation.ts'
import { parseLsn, type StoredTable, streamPosition, halves, wholeFrom } from './position.ts'
import {
  catalogShape,
  diffSchema,
  relationOf,
  sameShape,
  storedShape,
  wasReplaced,
  wasRewritten,
} from './schema-diff.ts'
import type { PgTypes } from './types.ts'
import type { Unexplained } from './catalog-watch.ts'
import type pg from 'pg'

export interface FollowRequest {
  /** For the catalog. */
  readonly sql: pg.Client
  readonly publication: string
  readonly selection: TableSelection
  readonly serverVersion: number
  readonly system: string
  /** The first commit at or after this is the first that is decoded. */
  readonly from: bigint
  readonly tables: Readonly<Record<string, StoredTable>>
  readonly types: PgTypes
  readonly out: BatchWriter
}

export class Follower {
  readonly #request: FollowRequest
  readonly decoder: PgoutputDecoder
  #tables: Readonly<Record<string, StoredTable>>
  #types: PgTypes
  /** The last Relation message by OID, to define the table again when its schema changes otherwise. */
  readonly #relations = new Map<number, RelationMessage>()
  /** End of the log that holds nothing more for us, between transactions. */
  idleAt = 0n
  /** A table has to be copied; the stream ends after the open transaction. */
  copyNeeded = false

  constructor(request: FollowRequest) {
    this.#request = request
    this.#tables = request.tables
    this.#types = request.types
    this.decoder = new PgoutputDecoder(request.system, request.from, request.tables)
  }

  /** The tables as of the last commit that was decoded. */
  get tables(): Readonly<Record<string, StoredTable>> {
    return this.#tables
  }

  /** Everything before is handed over; reading can go on here. */
  get reached(): bigint {
    const { from } = this.#request
    const last = this.decoder.lastCommit > this.idleAt ? this.decoder.lastCommit : this.idleAt
    return last > from ? last : from
  }

  /** True when everything up to this place is a state that the database had. */
  isWholeAt(lsn: bigint): boolean {
    const from = wholeFrom(this.#tables)
    return from !== null && lsn >= from
  }

  /** Position of a place in the log between transactions. */
  positionAt(lsn: bigint): SourcePosition {
    const [high, low] = halves(lsn)
    return streamPosition(high, low, this.#request.system, this.#tables)
  }

  take(arena: Arena): RecordBatch {
    return this.decoder.take(arena)
  }

  /** Does what the decoder stopped for. Everything before is handed over already. */
  async attend(): Promise<void> {
    const attention = this.decoder.attention
    this.decoder.attention = null
    if (attention === null) return
    switch (attention.kind) {
      case 'relation':
        return this.#relation(attention.relation)
      case 'truncate':
        for (const table of attention.tables) await this.#change(table, table, { kind: 'truncate' })
        return
      case 'nullable':
        return this.#allowNull(attention.oid, attention.columns)
    }
  }

  async #relation(relation: RelationMessage): Promise<void> {
    this.#relations.set(relation.oid, relation)
    if (!this.#request.selection.includes(relation.namespace, relation.name)) {
      this.decoder.setTable(relation, null)
      return
    }
    const name = `${relation.namespace}.${relation.name}`
    const stored = this.#tables[name]
    const same = stored !== undefined && sameShape(stored, relation)
    const copiedAt = stored?.copiedAt ?? null
    if (!same && copiedAt !== null && this.decoder.finalLsn < parseLsn(copiedAt)) {
      // An older shape: these rows are in the copy. Its own shape is announced before the first row after it.
      this.decoder.setTable(relation, null)
      return
    }
    const catalog = await this.#readTable(relation)
    // A catalog that is ahead of the log is looked at again with the message that brings its shape.
    const current = catalog !== null && stored !== undefined && catalogShape(catalog) === storedShape(stored)
    if (!same || wasReplaced(stored, catalog) || (current && wasRewritten(stored, catalog))) {
      this.#types = await readTypes(this.#request.sql)
      await this.#changeTable(relation, catalog)
      return
    }
    if (current) this.#noteHarmless(name, stored, catalog)
    this.#define(relation, this.#tables[name]!)
  }

  /** Rewritten without a change of a column, for example by a TRUNCATE, or a column changed without a rewrite. */
  #noteHarmless(name: string, stored: StoredTable, catalog: CatalogTable): void {
    const changedBy = changesOf(catalog)
    if (catalog.file === stored.file && JSON.stringify(changedBy) === JSON.stringify(stored.changedBy)) return
    this.#store(name, { ...stored, file: catalog.file, changedBy })
  }

  /** Applies what no row has told of, between transactions. */
  async applyCatalog({ gone, changed }: Unexplained): Promise<void> {
    for (const stored of gone) await this.#dropTable(stored)
    this.#types = await readTypes(this.#request.sql)
    for (const table of changed) {
      const relation = relationOf(table)
      this.#relations.set(relation.oid, relation)
      await this.#changeTable(relation, table)
    }
  }

  async #changeTable(relation: RelationMessage, catalog: CatalogTable | null): Promise<void> {
    const name = `${relation.namespace}.${relation.name}`
    const stored = this.#tables[name]
    if (stored === undefined || stored.oid !== relation.oid) {
      await this.#newTable(relation, catalog)
      return
    }
    const diff = diffSchema(stored, relation, catalog, this.#types)
    requireKey(diff.next.schema)
    for (const step of diff.steps) await this.#change(step.before, step.after, step.change)
    this.#store(name, diff.next)
    this.#define(relation, diff.next)
    this.copyNeeded ||= diff.copyAgain
  }

  /** A table that appeared in the publication. Its rows so far are not in the log, so it is copied. */
  async #newTable(relation: RelationMessage, catalog: CatalogTable | null): Promise<void> {
    const name = `${relation.namespace}.${relation.name}`
    if (catalog === null) {
      // Dropped or unpublished again since: nothing is left to keep equal to.
      this.decoder.setTable(relation, null)
      return
    }
    // Another table had this name. One that had another name is missed there before the copy begins.
    if (this.#tables[name] !== undefined) await this.#dropTable(this.#tables[name])
    const stored = storedTable(catalog, this.#types, null)
    requireKey(stored.schema)
    this.#store(name, stored)
    this.decoder.setTable(relation, null)
    this.copyNeeded = true
  }

  async #dropTable({ schema, oid }: StoredTable): Promise<void> {
    await this.#change(schema, schema, { kind: 'drop-table' })
    const { [tableName(schema)]: _gone, ...left } = this.#tables
    this.#setTables(left)
    this.decoder.setTable({ oid }, null)
  }

  /** NULL in a column that was NOT NULL: the constraint is gone. */
  async #allowNull(oid: number, columns: readonly number[]): Promise<void> {
    const relation = this.#relations.get(oid)!
    const name = `${relation.namespace}.${relation.name}`
    let stored = this.#tables[name]!
    for (const index of columns) {
      const from = stored.schema.columns[index]!
      const to = { ...from, nullable: true }
      const schema: TableSchema = {
        ...stored.schema,
        columns: stored.schema.columns.with(index, to),
        version: stored.schema.version + 1,
      }
      await this.#change(stored.schema, schema, { kind: 'alter-column', from, to })
      stored = { ...stored, schema }
    }
    this.#store(name, stored)
    this.#define(relation, stored)
  }

  async #change(before: TableSchema, table: TableSchema, change: SchemaOperation): Promise<void> {
    await this.#request.out.write(
      RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', before, table, change, origin: 'stream' }),
    )
  }

  #store(name: string, stored: StoredTable): void {
    this.#setTables({ ...this.#tables, [name]: stored })
  }

  #setTables(tables: Readonly<Record<string, StoredTable>>): void {
    this.#tables = tables
    this.decoder.resumeTables = this.#tables
  }

  #define(relation: RelationMessage, stored: StoredTable): void {
    const { schema } = stored
    const table: DecodedTable = {
      schema,
      identity: Uint8Array.from(relation.columns, (column) => (column.identity ? 1 : 0)),
      required: Uint8Array.from(schema.columns, (column) => (column.nullable ? 0 : 1)),
      conversions: conversions(stored, this.#types),
      skipBelow: stored.copiedAt === null ? SKIP_ALL : parseLsn(stored.copiedAt),
    }
    this.decoder.setTable(relation, table)
  }

  async #readTable(relation: RelationMessage): Promise<CatalogTable | null> {
    const { sql, publication, serverVersion } = this.#request
    const selection = {
      patterns: [],
      includes: (namespace: string, name: string) =>
        namespace === relation.namespace && name === relation.name,
    }
    const tables = await currentTables(sql, { publication, selection, serverVersion })
    return tables.find((table) => table.oid === relation.oid) ?? null
  }
}

function requireKey(table: TableSchema): void {
  if (table.key.length > 0) return
  const name = tableName(table)
  throw new SchemaError('postgres/no-key', `the table ${name} has no primary key`, {
    fix: `Give it a primary key, or exclude it with "!${name}" in tables.`,
  })
}
