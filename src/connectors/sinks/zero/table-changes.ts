/** What a change of a table does to its stored rows, and what the log says of it. */
import { InternalError } from '../../../core/error.ts'
import type { StoredRows, StoredTable, TableChange } from './log-messages.ts'
import type { LogStore } from './log-store.ts'
import type { PublishOutput } from './publish.ts'
import { convertRows, logAllAgain } from './table-rows.ts'

export interface ChangedTable {
  /** Null when it is gone. */
  readonly table: StoredTable | null
  /** Its rows are not to be seen before the copy is complete. */
  readonly isCopied: boolean
  /** Its rows could not be kept: a copy has to bring them. */
  readonly isEmptied: boolean
}

export function changeTable(
  store: LogStore,
  table: StoredTable,
  change: TableChange,
  out: Omit<PublishOutput, 'silent'>,
): ChangedTable {
  const { published, copy } = table
  switch (change.kind) {
    case 'copy': {
      if (copy !== null) store.dropState(copy.state)
      const next = { state: store.createState(), version: store.versionNumber(change.version) }
      return copied({ ...table, copy: next })
    }
    case 'evolve': {
      const rows = rowsOf(table)
      const next = { state: rows.state, version: store.versionNumber(change.version) }
      if (copy !== null) return kept({ ...table, copy: next })
      out.event({ kind: 'schema', from: rows.version, to: next.version, steps: change.steps })
      if (change.fill) logAllAgain(store, next, out)
      return kept({ ...table, published: next })
    }
    case 'convert': {
      const rows = rowsOf(table)
      const next = { state: store.createState(), version: store.versionNumber(change.version) }
      const isEmptied = !convertRows(store, rows, next)
      if (copy !== null) store.dropState(copy.state)
      return { ...copied({ ...table, copy: next }), isEmptied }
    }
    case 'truncate': {
      const rows = rowsOf(table)
      store.emptyState(rows.state)
      if (copy === null) out.event({ kind: 'truncate', from: rows.version })
      return kept(table)
    }
    case 'drop': {
      if (copy !== null) store.dropState(copy.state)
      if (published !== null) {
        out.event({ kind: 'drop-table', from: published.version })
        store.dropState(published.state)
      }
      return { table: null, isCopied: false, isEmptied: false }
    }
  }
}

function kept(table: StoredTable): ChangedTable {
  return { table, isCopied: false, isEmptied: false }
}

function copied(table: StoredTable): ChangedTable {
  return { table, isCopied: true, isEmptied: false }
}

/** Where rows of the table go by now. */
function rowsOf({ source, published, copy }: StoredTable): StoredRows {
  const rows = copy ?? published
  if (rows === null) throw new InternalError('zero/unknown-table', `table ${source} is not in the change log`)
  return rows
}
