import { copyKey, noKeys, type PackedKeys } from '../../core/row-reader.ts'
import type { TableSchema } from '../../core/table.ts'
import { keyShape, type Suspects } from './settle.ts'
import type { TableResult } from './table-result.ts'

export interface TableSuspects extends Suspects {
  readonly result: TableResult
}

/** Rows that seem to differ and wait to be looked at. */
export class SuspectPool {
  readonly #tables = new Map<TableResult, { table: TableSchema; keys: PackedKeys }>()

  get rowCount(): number {
    let count = 0
    for (const { keys } of this.#tables.values()) count += keys.rowCount
    return count
  }

  add(result: TableResult, table: TableSchema, keys: PackedKeys): void {
    if (keys.rowCount === 0) return
    const known = this.#tables.get(result)
    // After a change of the key the old ones mean nothing any more.
    if (known === undefined || keyShape(known.table) !== keyShape(table)) {
      this.#tables.set(result, { table, keys })
      return
    }
    known.table = table
    for (let row = 0; row < keys.rowCount; row++) copyKey(known.keys, table, keys, row)
  }

  /** Takes everything out, in groups of at most that many rows. */
  *take(size: number): Generator<readonly TableSuspects[]> {
    const tables = [...this.#tables]
    this.#tables.clear()
    let group: TableSuspects[] = []
    let count = 0
    for (const [result, { table, keys }] of tables) {
      for (let row = 0; row < keys.rowCount; row++) {
        let last = group.at(-1)
        if (last?.result !== result) {
          last = { result, table, keys: noKeys() }
          group.push(last)
        }
        copyKey(last.keys, table, keys, row)
        if (++count < size) continue
        yield group
        group = []
        count = 0
      }
    }
    if (group.length > 0) yield group
  }
}
