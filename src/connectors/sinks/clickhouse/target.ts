import { InternalError, SchemaError } from '../../../core/error.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import type { CatalogTable } from './catalog.ts'
import type { TimestampRange } from './cell-times.ts'
import { columnId, type Place, qualified, quoteName } from './ddl.ts'
import { TableEncoder } from './encoder.ts'
import { requireKey } from './plan.ts'
import type { TargetColumn } from './target-column.ts'
import { canHold, parseType, type TypeOptions } from './types.ts'

/** A table on the server, as it was last brought to a schema, and the encoders for it. */
export class Target {
  /** Name of the table on the server. */
  readonly name: string
  /** `database.table`, for messages. */
  readonly label: string
  readonly place: Place
  /** Greatest row version that was written in this run, in halves. */
  #maxHigh: number
  #maxLow: number
  readonly #table: CatalogTable
  readonly #options: TypeOptions
  readonly #range: TimestampRange
  /** Rows up to this version were there before the last truncate. */
  readonly truncated: bigint
  #encoder: TableEncoder | null = null
  /** The last one that was asked for. */
  #schema: TableSchema | null = null
  /** The columns and key that `#encoder` was made for. */
  #shape = ''

  constructor(
    place: Place,
    table: CatalogTable,
    options: TypeOptions,
    range: TimestampRange,
    truncated: bigint,
    before: Target | undefined,
  ) {
    this.place = place
    this.name = table.name
    this.label = `${place.database}.${table.name}`
    this.truncated = truncated
    this.#table = table
    this.#options = options
    this.#range = range
    this.#maxHigh = before === undefined ? 0 : before.#maxHigh
    this.#maxLow = before === undefined ? 0 : before.#maxLow
  }

  /** A row of this version is being written. */
  saw(high: number, low: number): void {
    if (high < this.#maxHigh || (high === this.#maxHigh && low <= this.#maxLow)) return
    this.#maxHigh = high
    this.#maxLow = low
  }

  /** The greatest version that was written in this run or was truncated before. */
  get seenVersion(): bigint {
    const written = (BigInt(this.#maxHigh) << 32n) | BigInt(this.#maxLow)
    return written > this.truncated ? written : this.truncated
  }

  /** Compiled once per schema; sources may make a new object with every batch. */
  encoder(schema: TableSchema): TableEncoder {
    if (this.#encoder !== null && this.#schema === schema) return this.#encoder
    const shape = JSON.stringify([schema.columns, schema.key])
    if (this.#encoder === null || shape !== this.#shape) {
      requireKey(schema)
      this.#encoder = new TableEncoder(schema, this.#columns(schema), this.place.meta, this.#range)
      this.#shape = shape
    }
    this.#schema = schema
    return this.#encoder
  }

  /** The statement that goes before the rows of an encoder. */
  insertSql(encoder: TableEncoder): string {
    const { version, deleted } = this.place.meta
    const names = [...encoder.columns.map((column) => column.name), version, deleted]
      .map(quoteName)
      .join(', ')
    return `INSERT INTO ${qualified(this.place, this.name)} (${names}) FORMAT RowBinaryWithNamesAndTypes`
  }

  #columns(schema: TableSchema): readonly TargetColumn[] {
    const byId = new Map(this.#table.columns.map((column) => [columnId(column.comment), column]))
    return schema.columns.map((source, index): TargetColumn => {
      const column = byId.get(source.id)
      const physical = column === undefined ? null : parseType(column.type)
      if (column === undefined || physical === null) throw unannounced(schema, source.name)
      if (!canHold(source.type, physical)) {
        throw new SchemaError(
          'clickhouse/target-changed',
          `column "${source.name}" of ${tableName(schema)} does not fit into ${column.name} of ${this.label}`,
          { fix: 'The target was changed by hand: start again, it is then brought back.' },
        )
      }
      const isKey = schema.key.includes(index)
      return { source, name: column.name, type: column.type, physical, onNull: this.#onNull(physical, isKey) }
    })
  }

  #onNull(physical: TargetColumn['physical'], isKey: boolean): TargetColumn['onNull'] {
    if (isKey) return 'refuse'
    if (physical.kind === 'array') return this.#options.arrays === 'native' ? 'empty' : 'refuse'
    return physical.nullable ? 'null' : 'refuse'
  }
}

export function unannounced(schema: TableSchema, column?: string): InternalError {
  const what =
    column === undefined ? `table ${tableName(schema)}` : `column "${column}" of ${tableName(schema)}`
  return new InternalError('clickhouse/unannounced', `rows of ${what} came before it was announced`, {
    fix: 'This is a bug of the source connector; please report it.',
  })
}
