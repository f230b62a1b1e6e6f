/** What a sink would have, to compare with what the source's server has. */
import type { RecordBatch } from '../../src/core/batch.ts'
import { CellState } from '../../src/core/packed-rows.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { SchemaChange } from '../../src/core/record.ts'
import type { RowView } from '../../src/core/row-view.ts'
import { type TableSchema, tableName } from '../../src/core/table.ts'

export const UNCHANGED_TEXT = '<unchanged>'

export type TextRow = Record<string, string | null>

interface MirrorTable {
  schema: TableSchema
  rows: Map<string, TextRow>
}

/**
 * What a sink would have, as raw text of the cells: bytes as hex, no JS values in between. Strict: a change that does
 * not fit (a row of a table that was not announced, an unchanged cell without a stored row) throws.
 */
export class Mirror {
  readonly tables = new Map<string, MirrorTable>()
  /** One line per record of the stream, in order. */
  readonly history: string[] = []
  /** Every position that was handed over, with the length of `history` at that moment. */
  readonly positions: {
    readonly position: SourcePosition
    readonly at: number
    readonly isCommit: boolean
  }[] = []
  /** `kind table` of the stream, without announcements. */
  readonly schemaChanges: string[] = []
  /** Rows of copies by table. */
  readonly copied = new Map<string, number>()
  batches = 0

  /** The last position, as it comes back from a checkpoint store. */
  get position(): SourcePosition | null {
    const last = this.positions.at(-1)
    return last === undefined ? null : stored(last.position)
  }

  apply(batch: RecordBatch): void {
    this.batches++
    for (const record of batch) {
      switch (record._tag) {
        case 'SchemaChange':
          this.#change(record)
          break
        case 'Insert': {
          const name = tableName(record.table)
          if (record.origin === 'snapshot') this.copied.set(name, (this.copied.get(name) ?? 0) + 1)
          else this.history.push(`insert ${name} ${JSON.stringify(textOf(record.after))}`)
          this.#put(record.after, null)
          break
        }
        case 'Update':
          this.history.push(
            `update ${tableName(record.table)} ${JSON.stringify(textOf(record.after))} before ${record.before === null ? 'null' : JSON.stringify(textOf(record.before))}`,
          )
          this.#put(record.after, record.before)
          break
        case 'Delete':
          this.history.push(`delete ${tableName(record.table)} ${JSON.stringify(textOf(record.before))}`)
          this.#table(record.table).rows.delete(keyOf(record.before))
          break
        case 'Begin':
          this.history.push('begin')
          break
        case 'Commit':
          this.history.push('commit')
          this.#note(record.position, true)
          break
        case 'Heartbeat':
          this.#note(record.position, false)
          break
      }
    }
  }

  /** Rows as sorted JSON, to compare with `readRows`. */
  rows(table: string): readonly string[] {
    return [...(this.tables.get(table)?.rows.values() ?? [])].map(line).sort()
  }

  columns(table: string): readonly string[] {
    return this.tables.get(table)!.schema.columns.map(({ name }) => name)
  }

  #note(position: SourcePosition, isCommit: boolean): void {
    this.positions.push({ position, at: this.history.length, isCommit })
  }

  #change({ table, change, before, origin }: SchemaChange): void {
    const name = tableName(table)
    const known = this.tables.get(name)
    if (change.kind !== 'create-table') {
      if (origin === 'stream') {
        this.history.push(`${change.kind} ${name}`)
        this.schemaChanges.push(`${change.kind} ${name}`)
      }
      if (change.kind === 'drop-table') {
        this.tables.delete(name)
        return
      }
      if (before === null || known === undefined)
        throw new Error(`${change.kind} of ${name}, which was not announced`)
    }
    if (known === undefined) {
      this.tables.set(name, { schema: table, rows: new Map() })
      return
    }
    const from = known.schema.columns
    const names = table.columns.map(({ name: column }) => column)
    if (new Set(names).size !== names.length)
      throw new Error(`two columns of ${name} have the same name: ${names.join(', ')}`)
    for (const [key, row] of known.rows) {
      const cells = table.columns.map((column): [string, string | null] => {
        const old = from.find(({ id }) => id === column.id)
        return [column.name, old === undefined ? (column.addedDefault ?? null) : row[old.name]!]
      })
      known.rows.set(key, Object.fromEntries(cells))
    }
    known.schema = table
    if (change.kind === 'truncate') known.rows.clear()
  }

  #put(after: RowView, before: RowView | null): void {
    const { rows } = this.#table(after.table)
    const old = before === null ? undefined : rows.get(keyOf(before))
    if (before !== null) rows.delete(keyOf(before))
    const row = textOf(after)
    const base = old ?? rows.get(keyOf(after))
    for (const [name, value] of Object.entries(row)) {
      if (value !== UNCHANGED_TEXT) continue
      if (base === undefined)
        throw new Error(`${name} of ${tableName(after.table)} is unchanged, but nothing is stored`)
      row[name] = base[name]!
    }
    rows.set(keyOf(after), row)
  }

  #table(schema: TableSchema): MirrorTable {
    const table = this.tables.get(tableName(schema))
    if (table === undefined) throw new Error(`${tableName(schema)} was not announced`)
    const shape = (of: TableSchema): string => of.columns.map(({ name }) => name).join()
    if (shape(table.schema) !== shape(schema))
      throw new Error(`a row of ${tableName(schema)} has another shape than announced`)
    return table
  }
}

/** Cells by column name; absent ones are left out. */
function textOf(row: RowView): TextRow {
  const out: TextRow = {}
  for (const [index, column] of row.table.columns.entries()) {
    const state = row.state(index)
    if (state === CellState.absent) continue
    if (state === CellState.null) out[column.name] = null
    else if (state === CellState.unchanged) out[column.name] = UNCHANGED_TEXT
    else {
      const bytes = Buffer.from(row.bytes(index))
      out[column.name] = column.type.kind === 'bytes' ? `\\x${bytes.toString('hex')}` : bytes.toString('utf8')
    }
  }
  return out
}

function keyOf(row: RowView): string {
  return JSON.stringify(row.table.key.map((index) => Buffer.from(row.bytes(index)).toString('utf8')))
}

/** A row as one line, whatever the order of its columns. */
export function line(row: Readonly<TextRow>): string {
  return JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** A position after its way through a checkpoint store. */
export function stored(position: SourcePosition): SourcePosition {
  return JSON.parse(JSON.stringify(position)) as SourcePosition
}
