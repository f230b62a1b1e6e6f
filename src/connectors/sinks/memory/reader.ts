/** Reads back what a target has, for comparisons. */
import type { KeyRange, PackedKeys, RowConsumer, SinkReader, SinkTable } from '../../../core/row-reader.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import { packRows, type ValueRow } from '../../../core/value-batch.ts'
import type { MemoryTarget } from './target.ts'

export class MemoryReader implements SinkReader {
  readonly #target: MemoryTarget

  constructor(target: MemoryTarget) {
    this.#target = target
  }

  async describe(table: TableSchema): Promise<SinkTable> {
    const stored = this.#target.tables.find((one) => tableName(one) === tableName(table))
    const problems =
      stored === undefined
        ? [`the table ${tableName(table)} does not exist`]
        : table.columns
            .filter(({ name }) => !stored.columns.some((column) => column.name === name))
            .map(({ name }) => `column "${name}" is missing`)
    return { problems, hasRanges: true, nullAs: [] }
  }

  async scan(table: TableSchema, { from, to }: KeyRange, out: RowConsumer): Promise<void> {
    const { name } = table.columns[table.key[0]!]!
    const isIn = (row: ValueRow): boolean =>
      (from === null || Number(row[name]) >= Number(from)) && (to === null || Number(row[name]) < Number(to))
    await out(packRows(table, this.#rows(table).filter(isIn)))
  }

  async find(table: TableSchema, _keys: PackedKeys, out: RowConsumer): Promise<void> {
    await out(packRows(table, this.#rows(table)))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Without columns that the source does not have any more. */
  #rows(table: TableSchema): readonly ValueRow[] {
    const names = new Set(table.columns.map(({ name }) => name))
    return this.#target
      .rows(tableName(table))
      .map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => names.has(name))))
  }
}
