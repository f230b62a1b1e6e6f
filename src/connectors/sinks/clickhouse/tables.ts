import type { ConnectorContext } from '../../../core/context.ts'
import { SchemaError } from '../../../core/error.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import { type Column, type SchemaOperation, type TableSchema, tableName } from '../../../core/table.ts'
import { cellWriter } from './cell-arrays.ts'
import type { TimestampRange } from './cell-times.ts'
import { CellRefused } from './cells.ts'
import { type CatalogTable, readTable } from './catalog.ts'
import type { ClickHouseConfig } from './config.ts'
import {
  foreignReason,
  literalSql,
  type Marker,
  markerText,
  nameLengthOnDisk,
  type Place,
  qualified,
  quoteText,
  readMarker,
  targetName,
  viewSql,
} from './ddl.ts'
import { type Plan, planTable } from './plan.ts'
import { RowWriter } from './row-writer.ts'
import type { Session } from './session.ts'
import { Target, unannounced } from './target.ts'
import { parseType } from './types.ts'

/** What a table's and its view's file names on the server may take. */
const NAME_LENGTH_MAX = 206

/** The tables of the pipeline on the server: makes them, changes them, and knows what they look like. */
export class Tables {
  readonly #session: Session
  readonly #config: ClickHouseConfig
  readonly #context: ConnectorContext
  readonly #range: TimestampRange
  readonly #place: Place
  /** By source table. */
  readonly #targets = new Map<string, Target>()
  /** Source tables by every name that they take on the server. */
  readonly #owners = new Map<string, string>()

  constructor(session: Session, config: ClickHouseConfig, context: ConnectorContext, range: TimestampRange) {
    this.#session = session
    this.#config = config
    this.#context = context
    this.#range = range
    this.#place = { database: config.database, meta: config.metaColumns }
  }

  target(table: TableSchema): Target {
    const target = this.#targets.get(tableName(table))
    if (target === undefined) throw unannounced(table)
    return target
  }

  /** Brings table and view to the schema. Nothing is collected for the table at this time. Idempotent. */
  async bring(schema: TableSchema, change: SchemaOperation | null): Promise<Plan> {
    const name = targetName(schema, this.#config.defaultNamespace)
    this.#reserveNames(schema, name)
    const table = await this.#ownTable(schema, name)
    await this.#requireOwnView(schema, name)
    const plan = this.#plan(schema, change, name, table)
    const view = this.#view(schema, name, plan)
    // A dropped column leaves the view first, so that the view works at every moment.
    if (change?.kind === 'drop-column' && table !== null) await this.#run(view)
    for (const { sql, what, waits } of plan.steps) {
      await this.#session.run(sql, what, waits === true ? { mutations_sync: '1' } : {})
    }
    await this.#run(view)
    const brought = await readTable(this.#session, name)
    if (brought === null) throw this.#refused(schema, name, 'clickhouse/table-missing', 'disappeared')
    this.#remember(schema, brought)
    return plan
  }

  /** Takes rows of a table as it stands. */
  async attach(schema: TableSchema): Promise<void> {
    const name = targetName(schema, this.#config.defaultNamespace)
    const table = await this.#ownTable(schema, name)
    if (table === null) throw this.#refused(schema, name, 'clickhouse/table-missing', 'does not exist')
    this.#remember(schema, table)
    try {
      this.target(schema).encoder(schema)
    } catch {
      throw this.#refused(schema, name, 'clickhouse/target-changed', 'has other columns than its source')
    }
  }

  async truncate(schema: TableSchema): Promise<void> {
    const { recreates } = await this.bring(schema, { kind: 'truncate' })
    if (recreates) return
    const { name, seenVersion } = this.target(schema)
    // First the mark: a replay must know that rows up to here are meant to be gone.
    const marker = quoteText(markerText(this.#marker(schema, seenVersion)))
    const table = qualified(this.#place, name)
    await this.#session.run(`ALTER TABLE ${table} MODIFY COMMENT ${marker}`, `mark table ${name}`)
    await this.#session.run(`TRUNCATE TABLE ${table}`, `truncate table ${name}`)
    const truncated = await readTable(this.#session, name)
    if (truncated === null) throw this.#refused(schema, name, 'clickhouse/table-missing', 'disappeared')
    this.#remember(schema, truncated)
  }

  /** Two source tables must not meet in one target, nor a table in a view. */
  #reserveNames(schema: TableSchema, name: string): void {
    const source = tableName(schema)
    const { viewSuffix } = this.#config
    for (const taken of viewSuffix === '' ? [name] : [name, name + viewSuffix]) {
      const owner = this.#owners.get(taken)
      if (owner !== undefined && owner !== source) {
        const fix = 'Rename one of them, or change `defaultNamespace` or `viewSuffix`.'
        const message = `the source tables ${owner} and ${source} would both be "${taken}" in ClickHouse`
        throw new SchemaError('clickhouse/name-collision', message, { fix })
      }
      if (nameLengthOnDisk(taken) > NAME_LENGTH_MAX) {
        const message = `the name of ${source} is too long for ClickHouse`
        throw new SchemaError('clickhouse/name-too-long', message, {
          fix: 'Leave the table out or rename it.',
        })
      }
      this.#owners.set(taken, source)
    }
  }

  async #ownTable(schema: TableSchema, name: string): Promise<CatalogTable | null> {
    const table = await readTable(this.#session, name)
    if (table === null) return null
    const reason = foreignReason(table, this.#place, this.#context.pipeline, schema)
    if (reason !== null) throw this.#refused(schema, name, 'clickhouse/foreign-table', reason)
    return table
  }

  async #requireOwnView(schema: TableSchema, name: string): Promise<void> {
    const { viewSuffix } = this.#config
    const view = viewSuffix === '' ? null : await readTable(this.#session, name + viewSuffix)
    if (view === null) return
    const marker = readMarker(view.comment)
    if (view.engine === 'View' && marker?.table === tableName(schema)) return
    throw this.#refused(schema, view.name, 'clickhouse/foreign-view', 'was not made by Sluice for this table')
  }

  #refused(schema: TableSchema, name: string, code: string, reason: string): SchemaError {
    const label = `${this.#config.database}.${name}`
    return new SchemaError(
      code,
      `${label}, the target of ${tableName(schema)}, ${reason}; it is left alone`,
      {
        fix: `Rename or drop ${label}, or use another database.`,
      },
    )
  }

  #plan(schema: TableSchema, change: SchemaOperation | null, name: string, table: CatalogTable | null): Plan {
    const known = this.#targets.get(tableName(schema))
    const truncated = known?.seenVersion ?? storedTruncation(table)
    const plan = planTable({
      place: this.#place,
      options: this.#config,
      name,
      // Only a table that is made (again) gets this comment: its rows so far are gone then.
      marker: this.#marker(schema, truncated),
      table,
      schema,
      change,
      fallback: (column, type) => this.#fallback(schema, column, type),
    })
    if (plan.recreates) {
      this.#context.log.warn(
        'the table in ClickHouse is made again, as it cannot be changed to this schema',
        { table: tableName(schema) },
      )
    }
    return plan
  }

  #view(schema: TableSchema, name: string, plan: Plan): { sql: string; what: string } | null {
    const { viewSuffix } = this.#config
    if (viewSuffix === '') return null
    const columns = schema.columns.map((column) => ({
      physical: plan.names.get(column.id)!,
      shown: column.name,
    }))
    const view = name + viewSuffix
    return {
      sql: viewSql(this.#place, view, name, columns, this.#marker(schema, 0n)),
      what: `make view ${view}`,
    }
  }

  async #run(step: { sql: string; what: string } | null): Promise<void> {
    if (step !== null) await this.#session.run(step.sql, step.what)
  }

  #remember(schema: TableSchema, table: CatalogTable): void {
    const source = tableName(schema)
    const truncated = storedTruncation(table)
    const before = this.#targets.get(source)
    this.#targets.set(source, new Target(this.#place, table, this.#config, this.#range, truncated, before))
  }

  #marker(schema: TableSchema, truncated: bigint): Marker {
    const marker = { pipeline: this.#context.pipeline, table: tableName(schema) }
    return truncated === 0n ? marker : { ...marker, truncated: truncated.toString() }
  }

  /** SQL of a constant default, which must fit like every cell. */
  #fallback(schema: TableSchema, column: Column, type: string): string {
    const canonical = column.addedDefault!
    const isBytes = column.type.kind === 'bytes'
    const bytes = (isBytes ? Buffer.from(canonical.slice(2), 'hex') : Buffer.from(canonical)) as Arena
    try {
      cellWriter(column.type, parseType(type)!, this.#range)(bytes, 0, bytes.length, new RowWriter(64))
    } catch (error) {
      if (!(error instanceof CellRefused)) throw error
      const message = `the default of column "${column.name}" of ${tableName(schema)} ${error.message}`
      throw new SchemaError(`clickhouse/${error.reason}`, message, { fix: error.fix })
    }
    return literalSql(column.type, canonical, type)
  }
}

function storedTruncation(table: CatalogTable | null): bigint {
  return BigInt((table === null ? null : readMarker(table.comment))?.truncated ?? 0)
}
