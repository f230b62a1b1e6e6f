/** Work on all rows of a table at once. */
import { RowConverter } from './convert-rows.ts'
import type { StoredRows } from './log-messages.ts'
import type { LogStore } from './log-store.ts'
import { PartWriter, type PublishOutput } from './publish.ts'
import { CellReader } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'
import { stateTable } from './state-tables.ts'
import type { Slot } from './table-version.ts'

interface StateRow {
  readonly key: Uint8Array
  readonly cells: Uint8Array
}

/** Sends every row as an update of all its columns: what a new column shows is not the same in all of them. */
export function logAllAgain(store: LogStore, rows: StoredRows, out: Pick<PublishOutput, 'append'>): void {
  const { slots } = store.version(rows.version)
  const parts = new PartWriter(store, rows.version, out)
  for (const { key, cells } of allRows(store, rows)) {
    const whole = completed(cells, slots)
    parts.write(key, whole, whole)
  }
  parts.end()
}

/**
 * Copies all rows into another state table, in the form of its version. False when there is one that only the source can
 * tell in that form: then the other table is left empty.
 */
export function convertRows(store: LogStore, from: StoredRows, to: StoredRows): boolean {
  const before = store.version(from.version)
  const after = store.version(to.version)
  const converter = new RowConverter(before, after)
  const target = store.state(to.state)
  for (const row of allRows(store, from)) {
    const converted = converter.convert(row.key, row.cells)
    if (converted === null) {
      store.emptyState(to.state)
      return false
    }
    target.put(converted.key, converted.cells)
  }
  return true
}

function allRows(store: LogStore, { state }: StoredRows): Iterable<StateRow> {
  return store.db.prepare(`SELECT key, cells FROM ${stateTable(state)}`).iterate() as Iterable<StateRow>
}

/** With the cells that were added to the table after the row was stored. */
function completed(cells: Uint8Array, slots: readonly (Slot | null)[]): Uint8Array {
  const cell = new CellReader()
  cell.reset(cells)
  let count = 0
  while (cell.next()) count++
  if (count === slots.length) return cells
  const out = new RecordWriter(cells.length + 64)
  out.copy(cells, 0, cells.length)
  for (; count < slots.length; count++) out.cell(slots[count]?.missing ?? null)
  return out.take()
}
