/** Rows of copied documents, on their way into batches. */
import { RecordBatch } from '../../../core/batch.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { FedTable } from './fed-table.ts'
import { PackTarget } from './packer/packer-target.ts'

export class CopiedRows {
  readonly #tables: readonly FedTable[]
  readonly #version: bigint
  readonly #target = new PackTarget()

  constructor(tables: readonly FedTable[], version: bigint) {
    this.#tables = tables
    this.#version = version
  }

  get count(): number {
    return this.#target.rows.rowCount
  }

  get bytes(): number {
    return this.#target.used + this.#target.rows.cellCount * 8
  }

  add(bytes: Arena, at: number): void {
    const target = this.#target
    for (let index = 0; index < this.#tables.length; index++) {
      const table = this.#tables[index]!
      table.insert(target, index, table.packer.pack(bytes, at, target))
    }
  }

  cut(): RecordBatch {
    for (const table of this.#tables) table.noteKeys()
    const rows = this.#target.take()
    const schemas = this.#tables.map(({ schema }) => schema)
    const span = {
      id: '',
      firstRow: 0,
      endRow: rows.rowCount,
      begins: false,
      position: null,
      commitTimeMs: null,
      version: this.#version,
      ordinalLimit: 0,
      firstOrdinal: 0,
    }
    return RecordBatch.ofRows('snapshot', schemas, rows, [span], null)
  }
}
