/** Brings records into the state tables, and gives what of them goes into the log. */
import { InternalError } from '../../../core/error.ts'
import type { StoredTable } from './log-messages.ts'
import type { LogStore, RowMask } from './log-store.ts'
import { mergeCells } from './merge-cells.ts'
import { RecordReader } from './record-reader.ts'
import { RecordWriter } from './record-writer.ts'
import type { StateTable } from './state-tables.ts'
import { RecordOp, type TableVersion } from './table-version.ts'

export interface Logged {
  readonly body: Uint8Array
  /** Per record two numbers of 32 bits: the row filters that the old row passed, and those of the new one. */
  readonly masks: Uint8Array | null
}

/** What is needed for rows of one table version. */
interface Target {
  readonly state: StateTable
  readonly version: TableVersion
  /** False while the table is copied: differences are found at the end of the copy. */
  readonly logged: boolean
  readonly mask: RowMask | null
}

const record = new RecordReader()

/** Applies the records of `bytes[start, end)`. `logCopied`: also those of tables that are being copied are logged. */
export function applyRecords(
  store: LogStore,
  tables: ReadonlyMap<string, StoredTable>,
  bytes: Uint8Array,
  start: number,
  end: number,
  logCopied = false,
): Logged {
  const targets = new Map<number, Target>()
  let rewritten: Rewriter | null = null
  record.reset(bytes, start, end)
  while (record.next()) {
    let target = targets.get(record.table)
    if (target === undefined) {
      targets.set(record.table, (target = targetOf(store, tables, record.table, logCopied)))
      // From here on the log is not what was sent.
      if (rewritten === null && (!target.logged || target.mask !== null)) {
        rewritten = new Rewriter()
        rewritten.asIs(bytes, start, record.start)
      }
    }
    if (target.mask !== null) rewritten!.filtered = true
    applyRecord(target, bytes, rewritten)
  }
  if (rewritten === null) return { body: bytes.subarray(start, end), masks: null }
  return rewritten.take()
}

function targetOf(
  store: LogStore,
  tables: ReadonlyMap<string, StoredTable>,
  id: number,
  logCopied: boolean,
): Target {
  const version = store.version(id)
  const table = tables.get(version.source)
  const rows = table?.copy ?? table?.published ?? null
  if (table === undefined || rows === null || rows.version !== id)
    throw new InternalError(
      'zero/unknown-table',
      `table ${version.source} is not in the change log as it is written`,
    )
  return {
    state: store.state(rows.state),
    version,
    logged: logCopied || table.copy === null,
    mask: table.copy === null ? store.masks(id) : null,
  }
}

function applyRecord(
  { state, version, logged, mask }: Target,
  bytes: Uint8Array,
  out: Rewriter | null,
): void {
  const key = bytes.subarray(record.keyStart, record.keyEnd)
  const oldKey = record.op === RecordOp.move ? bytes.subarray(record.oldKeyStart, record.oldKeyEnd) : key
  // An insert replaces what is there.
  const old = record.partial || mask !== null ? state.cells(oldKey) : null
  const oldMask = mask === null || old === null ? 0 : mask(oldKey, old)
  if (record.op === RecordOp.delete) {
    state.remove(key)
    if (logged) out?.record(bytes, record.start, record.end, oldMask, 0)
    return
  }
  if (record.op === RecordOp.move) state.remove(oldKey)
  // In a replay the row may be gone: its delete follows.
  const gone = record.partial && old === null
  const cells = record.partial
    ? gone
      ? null
      : mergeCells(old!, bytes, record.cellsStart, record.cellsEnd, version.slots)
    : bytes.subarray(record.cellsStart, record.cellsEnd)
  if (cells === null) return
  state.put(key, cells)
  if (out === null || !logged) return
  if (mask === null) return out.record(bytes, record.start, record.end, 0, 0)
  out.row(
    record.op,
    record.table,
    record.op === RecordOp.move ? oldKey : null,
    key,
    cells,
    oldMask,
    mask(key, cells),
  )
}

/** Records for the log, written anew. */
export class Rewriter {
  readonly #out = new RecordWriter(4096)
  #masks = new Uint32Array(64)
  #count = 0
  /** Whether masks mean something: set once a table with row filters is among the records. */
  filtered = false

  /** Records that need no mask. */
  asIs(bytes: Uint8Array, start: number, end: number): void {
    const reader = new RecordReader()
    reader.reset(bytes, start, end)
    while (reader.next()) this.record(bytes, reader.start, reader.end, 0, 0)
  }

  record(bytes: Uint8Array, start: number, end: number, oldMask: number, newMask: number): void {
    this.#out.copy(bytes, start, end)
    this.#mask(oldMask, newMask)
  }

  row(
    op: RecordOp,
    version: number,
    oldKey: Uint8Array | null,
    key: Uint8Array,
    cells: Uint8Array | null,
    oldMask: number,
    newMask: number,
  ): void {
    const out = this.#out
    out.reserve(16)
    out.bytes[out.at++] = op
    out.varint(version)
    for (const part of [oldKey, key, cells]) {
      if (part === null) continue
      out.reserve(8)
      out.varint(part.length)
      out.copy(part, 0, part.length)
    }
    this.#mask(oldMask, newMask)
  }

  get byteSize(): number {
    return this.#out.at
  }

  /** What was written so far; it starts anew. */
  take(): Logged {
    const masks = this.filtered ? new Uint8Array(this.#masks.slice(0, this.#count).buffer) : null
    this.#count = 0
    return { body: this.#out.take(), masks }
  }

  #mask(oldMask: number, newMask: number): void {
    if (this.#count === this.#masks.length) {
      const grown = new Uint32Array(this.#count * 2)
      grown.set(this.#masks)
      this.#masks = grown
    }
    this.#masks[this.#count++] = oldMask
    this.#masks[this.#count++] = newMask
  }
}
