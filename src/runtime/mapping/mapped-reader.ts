/** Reads mapped tables back, for `sluice verify`: rows of the source, mapped as the stream maps them. */
import { cellTextAt } from '../../core/mapping/rows/row-document.ts'
import type { RowPlan } from '../../core/mapping/rows/rows-plan.ts'
import { RowMapping, RowsOut } from '../../core/mapping/rows/rows.ts'
import { Op, PackedRows } from '../../core/packed-rows.ts'
import type { SourcePosition } from '../../core/position.ts'
import {
  type KeyRange,
  type PackedKeys,
  type RowConsumer,
  type SourceReader,
  type SourceSnapshot,
  WHOLE_TABLE,
} from '../../core/row-reader.ts'
import { ConfigError } from '../../core/error.ts'
import { tableName, type TableSchema } from '../../core/table.ts'
import { planTables, toProblems } from './mapped-tables.ts'
import { locateOf, type PipelineMapping } from './pipeline-mapping.ts'

export class MappedReader implements SourceReader {
  readonly #inner: SourceReader
  readonly #mapping: PipelineMapping

  constructor(inner: SourceReader, mapping: PipelineMapping) {
    this.#inner = inner
    this.#mapping = mapping
  }

  async snapshot(exact: boolean): Promise<SourceSnapshot> {
    const inner = await this.#inner.snapshot(exact)
    const { plans, problems } = planTables(this.#mapping.tables, inner.tables)
    if (problems.length === 0) return new MappedSnapshot(inner, plans)
    await inner[Symbol.asyncDispose]()
    const lines = toProblems(problems, locateOf(this.#mapping)).map(({ message }) => `  ${message}`)
    throw new ConfigError(problems[0]!.code, `the mapping does not fit the source\n${lines.join('\n')}`, {
      fix: 'Correct the mapping.',
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }
}

class MappedSnapshot implements SourceSnapshot {
  readonly position: SourcePosition
  readonly version: bigint | null
  readonly tables: readonly TableSchema[]
  readonly #inner: SourceSnapshot
  readonly #mappings: ReadonlyMap<string, RowMapping>

  constructor(inner: SourceSnapshot, plans: readonly RowPlan[]) {
    this.#inner = inner
    this.position = inner.position
    this.version = inner.version
    this.tables = plans.map(({ target }) => target)
    this.#mappings = new Map(plans.map((plan) => [tableName(plan.target), new RowMapping(plan)]))
  }

  /** Of the source's table: how many pass a filter is not known. */
  rowCount(table: TableSchema): number {
    return this.#inner.rowCount(this.#of(table).plan.source)
  }

  async ranges(table: TableSchema): Promise<readonly KeyRange[]> {
    const { plan } = this.#of(table)
    return isCutAlike(plan) ? await this.#inner.ranges(plan.source) : [WHOLE_TABLE]
  }

  async scan(table: TableSchema, range: KeyRange, out: RowConsumer): Promise<void> {
    const mapping = this.#of(table)
    await this.#inner.scan(mapping.plan.source, range, mapped(mapping, out))
  }

  async find(table: TableSchema, keys: PackedKeys, out: RowConsumer): Promise<void> {
    const mapping = this.#of(table)
    await this.#inner.find(mapping.plan.source, sourceKeys(mapping.plan, keys), mapped(mapping, out))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }

  #of(table: TableSchema): RowMapping {
    return this.#mappings.get(tableName(table))!
  }
}

/** The first key column is that of the source, as it is: ranges of the one are ranges of the other. */
function isCutAlike({ source, target, cells }: RowPlan): boolean {
  const cell = cells[target.key[0]!]!
  return cell.kind === 'column' && cell.cast === null && cell.from === source.key[0]
}

function mapped(mapping: RowMapping, out: RowConsumer): RowConsumer {
  return (rows) => {
    const made = new RowsOut(rows)
    for (let row = 0; row < rows.rowCount; row++) mapping.insert(rows, rows.newImage[row]!, made, 0)
    return out(made.take())
  }
}

/** Keys of the target as keys of the source; one that no row of the source can have is left out. */
function sourceKeys(plan: RowPlan, keys: PackedKeys): PackedKeys {
  const { source, target, keyFrom } = plan
  const out = new RowsOut(new PackedRows(keys.arena, keys.rowCount, keys.rowCount * source.key.length))
  const { rows } = out
  for (let row = 0; row < keys.rowCount; row++) {
    const first = rows.cellCount
    rows.reserveCells(keyFrom.length)
    const isKey = keyFrom.every(({ column, back }, place) => {
      const from = keys.newImage[row]! + target.key.indexOf(column)
      const cell = (first + place) * 2
      rows.cells[cell] = keys.cells[from * 2]!
      rows.cells[cell + 1] = keys.cells[from * 2 + 1]!
      if (back === null || rows.cells[cell + 1]! < 0) return true
      const text = back(cellTextAt(target.columns[column]!.type, keys, from))
      if (text === null) return false
      out.append(cell, text, source.columns[source.key[place]!]!.type.kind === 'bytes')
      return true
    })
    if (!isKey) continue
    rows.cellCount = first + keyFrom.length
    rows.addRow(Op.insert, 0, first, -1)
  }
  return out.take()
}
