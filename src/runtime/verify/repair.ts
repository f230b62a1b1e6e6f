import { RecordBatch } from '../../core/batch.ts'
import { toCoreError } from '../../core/error.ts'
import { CellState, Op, PackedRows } from '../../core/packed-rows.ts'
import { copyKey, noKeys, type PackedKeys, type SourceSnapshot } from '../../core/row-reader.ts'
import type { Sink, SinkContext, WriteContext } from '../../core/sink.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import { thisProcess } from '../checkpoint/owner.ts'
import { type Lease, LeaseHeldError, leaseRenewMs } from '../checkpoint/store.ts'
import type { PipelineDefinition } from '../definition.ts'
import { chooseSink } from './choose.ts'
import { Comparison, contextOf, type VerifyOptions } from './comparison.ts'
import type { VerifyReport } from './report.ts'
import { idOf } from './row-hash.ts'
import type { TableResult } from './table-result.ts'

/** A table that was emptied or copied again meanwhile undoes what was written; then it is written once more. */
const MAX_ROUNDS = 3

/**
 * Compares as `verifyPipeline` does, writes the rows that differ again, and compares those again. A sink whose rows have
 * versions is repaired beside the running pipeline; for any other the pipeline must not run.
 */
export async function repairPipeline(
  definition: PipelineDefinition,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { create } = chooseSink(definition, options.sink)
  const sink = create()
  const isBeside = sink.capabilities().keepsNewestVersion && sink.attachTable !== undefined
  await using comparison = await Comparison.open(definition, options)
  const run = async (lease: Lease | null): Promise<VerifyReport> => {
    await comparison.run()
    const context = contextOf(definition, options, lease?.fence ?? 0)
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const wrong = comparison.results.filter((result) => result.isRepairable)
      if (wrong.length === 0) break
      comparison.enter('repairing')
      await rewrite(wrong, comparison, create(), context, isBeside)
      for (const result of wrong) {
        const { table, keys } = result
        result.reset()
        comparison.suspect(result, table, keys)
      }
      await comparison.settlePending()
    }
    return await comparison.report()
  }
  return isBeside ? await run(null) : await withLease(definition, comparison, run)
}

async function rewrite(
  results: readonly TableResult[],
  comparison: Comparison,
  sink: Sink,
  context: SinkContext,
  isBeside: boolean,
): Promise<void> {
  try {
    await comparison.retried(() => sink.connect(context))
    await comparison.persistently(() =>
      comparison.sides.fresh(true, (snapshot) =>
        new Rewriting(snapshot, sink, comparison, isBeside).all(results),
      ),
    )
  } finally {
    await sink.disconnect()
  }
}

/** Writes rows as one exact state of the source has them. */
class Rewriting {
  readonly #snapshot: SourceSnapshot
  readonly #sink: Sink
  readonly #comparison: Comparison
  readonly #beside: boolean

  constructor(snapshot: SourceSnapshot, sink: Sink, comparison: Comparison, beside: boolean) {
    this.#snapshot = snapshot
    this.#sink = sink
    this.#comparison = comparison
    this.#beside = beside
  }

  async all(results: readonly TableResult[]): Promise<void> {
    for (const result of results) {
      this.#comparison.check()
      const table = this.#snapshot.tables.find((one) => tableName(one) === result.name)
      // Dropped, or changed in a way that the pipeline has not followed yet: the comparison that comes says so.
      if (table === undefined) continue
      if ((await this.#comparison.sides.describe(table)).problems.length > 0) continue
      result.repaired = Math.max(result.repaired ?? 0, await this.#rewrite(table, result.keys))
    }
  }

  /** Returns how many rows were written and deleted. */
  async #rewrite(table: TableSchema, keys: PackedKeys): Promise<number> {
    if (this.#beside) await this.#sink.attachTable!(table)
    else await this.#sink.createTable(table)
    const hasher = await this.#comparison.sides.hasher(table)
    /** By id, the rows that are not found yet. */
    const left = new Map<number, number>()
    for (let row = 0; row < keys.rowCount; row++) left.set(hasher.keyId(keys, row), row)
    await this.#snapshot.find(table, keys, async (rows) => {
      const asked = new PackedRows(rows.arena, rows.rowCount, 0)
      asked.cells = rows.cells
      asked.cellCount = rows.cellCount
      for (let row = 0; row < rows.rowCount; row++) {
        hasher.hash(rows, rows.newImage[row]!)
        if (left.delete(idOf(hasher.result))) asked.addRow(Op.insert, 0, rows.newImage[row]!, -1)
      }
      if (asked.rowCount > 0) await this.#write(table, asked)
    })
    const gone = noKeys()
    for (const row of left.values()) copyKey(gone, table, keys, row)
    if (gone.rowCount > 0) await this.#write(table, deletions(table, gone))
    return keys.rowCount
  }

  /** Durable when it resolves: the rows are only lent. */
  async #write(table: TableSchema, rows: PackedRows): Promise<void> {
    const span = {
      id: 'repair',
      firstRow: 0,
      endRow: rows.rowCount,
      begins: false,
      position: null,
      commitTimeMs: null,
      version: this.#snapshot.version!,
      ordinalLimit: 0,
      firstOrdinal: 0,
    }
    const batch = RecordBatch.ofRows('stream', [table], rows, [span], null)
    await this.#repeat((context) => this.#sink.writeBatch(batch, context))
    await this.#repeat(async (context) => this.#sink.flush?.(context))
  }

  async #repeat<A>(call: (context: WriteContext) => Promise<A>): Promise<A> {
    const { signal } = this.#comparison
    return this.#comparison.retried((attempt) => call({ signal, attempt }))
  }
}

/** Deletes of keys: their other cells are absent. */
function deletions(table: TableSchema, keys: PackedKeys): PackedRows {
  const rows = new PackedRows(keys.arena, keys.rowCount, keys.rowCount * table.columns.length)
  for (let row = 0; row < keys.rowCount; row++) {
    const first = rows.cellCount
    for (let index = 0; index < table.columns.length; index++) {
      const at = table.key.indexOf(index)
      const cell = rows.cellCount++ * 2
      const from = (keys.newImage[row]! + at) * 2
      rows.cells[cell] = at < 0 ? 0 : keys.cells[from]!
      rows.cells[cell + 1] = at < 0 ? CellState.absent : keys.cells[from + 1]!
    }
    rows.addRow(Op.delete, 0, -1, first)
  }
  return rows
}

/** Nobody else may run the pipeline meanwhile (law L12). */
async function withLease<A>(
  definition: PipelineDefinition,
  comparison: Comparison,
  work: (lease: Lease) => Promise<A>,
): Promise<A> {
  const { store, name } = definition
  if (await comparison.gate.isRunning()) {
    throw new LeaseHeldError(
      'repair/running',
      `pipeline "${name}" is running, and rows of this sink have no versions that would keep newer ones`,
      { fix: 'Stop the pipeline, repair, and start it again.' },
    )
  }
  const lease = await store.acquire(name, thisProcess())
  comparison.gate.hold()
  const renewal = setInterval(() => {
    store.renew(lease).catch((error: unknown) => comparison.fail(toCoreError(error)))
  }, leaseRenewMs)
  try {
    return await work(lease)
  } finally {
    clearInterval(renewal)
    await store.release(lease)
  }
}
