/** Makes what copies have brought the published state, and tells the log what is different. */
import { Rewriter } from './apply-records.ts'
import type { LogEvent, StoredRows, StoredTable } from './log-messages.ts'
import type { LogStore } from './log-store.ts'
import { sameCells } from './merge-cells.ts'
import { stateTable } from './state-tables.ts'
import { RecordOp, type TableVersion } from './table-version.ts'

/** Bytes of records in one entry of the log. */
const PART_BYTES = 256 * 1024

export interface PublishOutput {
  /** Nothing was published before: nobody has to be told. */
  readonly silent: boolean
  append(body: Uint8Array, masks: Uint8Array | null): void
  event(event: LogEvent): void
}

/** Returns the tables as they are afterwards. */
export function publishCopies(
  store: LogStore,
  tables: ReadonlyMap<string, StoredTable>,
  out: PublishOutput,
): ReadonlyMap<string, StoredTable> {
  const after = new Map(tables)
  for (const table of tables.values()) {
    const { source, published, copy } = table
    if (copy === null) continue
    if (!out.silent) {
      if (published !== null && sameShape(store.version(published.version), store.version(copy.version)))
        logDifferences(store, published, copy, out)
      else {
        if (published !== null) out.event({ kind: 'drop-table', from: published.version })
        out.event({ kind: 'create-table', to: copy.version })
        logAll(store, copy, out)
      }
    }
    if (published !== null) store.dropState(published.state)
    const next = { source, published: copy, copy: null }
    store.saveTable(next)
    after.set(source, next)
  }
  return after
}

/** True when rows of both lie alike and have the same names and types. */
function sameShape(a: TableVersion, b: TableVersion): boolean {
  return JSON.stringify(shapeOf(a)) === JSON.stringify(shapeOf(b))
}

/** Without what stored rows mean that end early: a copy brings whole rows. */
function shapeOf({ schema, name, key, slots }: TableVersion): unknown {
  return { schema, name, key, slots: slots.map((slot) => slot && { ...slot, missing: null }) }
}

function logDifferences(store: LogStore, published: StoredRows, copy: StoredRows, out: PublishOutput): void {
  const before = stateTable(published.state)
  const now = stateTable(copy.state)
  const { slots } = store.version(published.version)
  const rows = new PartWriter(store, copy.version, out)
  const gone = store.db.prepare(
    `SELECT key, cells FROM ${before} AS b WHERE NOT EXISTS (SELECT 1 FROM ${now} AS n WHERE n.key = b.key)`,
  )
  for (const { key, cells } of gone.iterate() as Iterable<StateRow>) rows.write(key, cells, null)
  const changed = store.db.prepare(
    `SELECT n.key AS key, n.cells AS cells, b.cells AS old FROM ${now} AS n LEFT JOIN ${before} AS b ON b.key = n.key
     WHERE b.cells IS NULL OR b.cells <> n.cells`,
  )
  for (const { key, cells, old } of changed.iterate() as Iterable<StateRow & { old: Uint8Array | null }>)
    if (old === null || !sameCells(old, cells, slots)) rows.write(key, old, cells)
  rows.end()
}

function logAll(store: LogStore, copy: StoredRows, out: PublishOutput): void {
  const rows = new PartWriter(store, copy.version, out)
  const all = store.db.prepare(`SELECT key, cells FROM ${stateTable(copy.state)}`)
  for (const { key, cells } of all.iterate() as Iterable<StateRow>) rows.write(key, null, cells)
  rows.end()
}

interface StateRow {
  readonly key: Uint8Array
  readonly cells: Uint8Array
}

/** Cuts records into entries of the log. */
export class PartWriter {
  readonly #out: Pick<PublishOutput, 'append'>
  readonly #version: number
  readonly #mask: ((key: Uint8Array, cells: Uint8Array) => number) | null
  readonly #records = new Rewriter()

  constructor(store: LogStore, version: number, out: Pick<PublishOutput, 'append'>) {
    this.#out = out
    this.#version = version
    this.#mask = store.masks(version)
    this.#records.filtered = this.#mask !== null
  }

  /** A row that was `old` (null: not there) and is `cells` now. */
  write(key: Uint8Array, old: Uint8Array | null, cells: Uint8Array | null): void {
    const op = cells === null ? RecordOp.delete : old === null ? RecordOp.insert : RecordOp.update
    const oldMask = old === null || this.#mask === null ? 0 : this.#mask(key, old)
    const newMask = cells === null || this.#mask === null ? 0 : this.#mask(key, cells)
    this.#records.row(op, this.#version, null, key, cells, oldMask, newMask)
    if (this.#records.byteSize >= PART_BYTES) this.end()
  }

  end(): void {
    if (this.#records.byteSize === 0) return
    const { body, masks } = this.#records.take()
    this.#out.append(body, masks)
  }
}
