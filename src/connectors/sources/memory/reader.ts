/** Reads tables as of one transaction, for comparisons. */
import type {
  KeyRange,
  PackedKeys,
  RowConsumer,
  SourceReader,
  SourceSnapshot,
} from '../../../core/row-reader.ts'
import { WHOLE_TABLE } from '../../../core/row-reader.ts'
import type { TableSelection } from '../../../core/selection.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { packRows, type ValueRow } from '../../../core/value-batch.ts'
import type { MemoryDatabase } from './database.ts'
import { positionOf, versionOf } from './records.ts'

const rowsPerRange = 1000

export class MemoryReader implements SourceReader {
  readonly #database: MemoryDatabase
  readonly #selection: TableSelection

  constructor(database: MemoryDatabase, selection: TableSelection) {
    this.#database = database
    this.#selection = selection
  }

  /** Rows are never changed in place, so a list of them is a snapshot, and always an exact one. */
  async snapshot(): Promise<SourceSnapshot> {
    const { head } = this.#database
    const tables = this.#database
      .schemas()
      .filter(({ namespace, name }) => this.#selection.includes(namespace, name))
    const rows = new Map(tables.map((table) => [tableName(table), this.#database.rows(tableName(table))]))
    const rowsOf = (table: TableSchema): readonly ValueRow[] => rows.get(tableName(table)) ?? []
    return {
      position: positionOf(head),
      // Above what is in it; the next transaction begins higher.
      version: versionOf(head + 1) - 1n,
      tables,
      rowCount: (table) => rowsOf(table).length,
      ranges: async (table) => rangesOf(table, rowsOf(table)),
      scan: async (table, range, out) => scan(table, rowsOf(table), range, out),
      find: async (table, _keys: PackedKeys, out) => out(packRows(table, rowsOf(table))),
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Tables with a number as key are cut. */
function rangesOf(table: TableSchema, rows: readonly ValueRow[]): readonly KeyRange[] {
  const { name, type } = table.columns[table.key[0]!]!
  if (type.kind !== 'int' || rows.length <= rowsPerRange) return [WHOLE_TABLE]
  const keys = rows.map((row) => Number(row[name])).toSorted((a, b) => a - b)
  const bounds = keys.filter((_, at) => at > 0 && at % rowsPerRange === 0).map(String)
  return [null, ...bounds].map((from, at) => ({ from, to: bounds[at] ?? null }))
}

async function scan(
  table: TableSchema,
  rows: readonly ValueRow[],
  { from, to }: KeyRange,
  out: RowConsumer,
): Promise<void> {
  const { name } = table.columns[table.key[0]!]!
  const min = from === null ? Number.NEGATIVE_INFINITY : Number(from)
  const max = to === null ? Number.POSITIVE_INFINITY : Number(to)
  const isWhole = from === null && to === null
  await out(
    packRows(
      table,
      rows.filter((row) => isWhole || (Number(row[name]) >= min && Number(row[name]) < max)),
    ),
  )
}
