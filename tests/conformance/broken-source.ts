/** Sources that break one law each, made of one that keeps them. */
import { RecordBatch, type TransactionSpan } from '../../src/core/batch.ts'
import { PackedRows } from '../../src/core/packed-rows.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import type { BatchWriter, Source } from '../../src/core/source.ts'
import type { SourceBench, SourceHarness } from '../../src/testkit/source/harness.ts'

export type Methods = Partial<
  Pick<
    Source,
    | 'capabilities'
    | 'validate'
    | 'connect'
    | 'discover'
    | 'stream'
    | 'checkpoint'
    | 'currentPosition'
    | 'disconnect'
  >
>

/** The harness, with sources some of whose methods are others. */
export function broken(
  harness: SourceHarness,
  methods: (inner: Source, bench: SourceBench) => Methods,
): SourceHarness {
  return withBench(harness, (bench) => {
    const create = bench.create.bind(bench)
    return {
      create: (options) => {
        const inner = create(options)
        return merged<Source>(inner, methods(inner, bench))
      },
    }
  })
}

/** The harness, with some members of its benches replaced. */
export function withBench(
  harness: SourceHarness,
  members: (bench: SourceBench) => Partial<SourceBench>,
): SourceHarness {
  return {
    ...harness,
    async open() {
      const bench = await harness.open()
      return merged(bench, members(bench))
    },
  }
}

/** The object, with some members replaced; also those that are undefined. */
export function merged<T extends object>(whole: T, members: Partial<T>): T {
  return new Proxy(whole, {
    get: (target, name): unknown => {
      if (Object.hasOwn(members, name)) return members[name as keyof T]
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** A `stream` that hands over other batches in place of each one. */
export function handingOver(
  inner: Source,
  change: (batch: RecordBatch, from: SourcePosition | null) => readonly RecordBatch[],
): Methods {
  return {
    stream: (out, from) =>
      inner.stream({ signal: out.signal, write: (batch) => writeAll(out, change(batch, from)) }, from),
  }
}

/** Writes one batch after the other. Waits for the last only, which is enough for tests. */
export function writeAll(out: BatchWriter, batches: readonly RecordBatch[]): void | Promise<void> {
  let room: void | Promise<void> = undefined
  for (const batch of batches) room = out.write(batch)
  return room
}

/** A `stream` that hands over other rows in place of those of the log. */
export function streamingRows(
  inner: Source,
  edit: (draft: Draft, from: SourcePosition | null) => void,
): Methods {
  return handingOver(inner, (batch, from) => [
    batch.rows !== null && batch.origin === 'stream' ? edited(batch, (draft) => edit(draft, from)) : batch,
  ])
}

/** A batch of rows that may be changed. */
export interface Draft {
  rows: PackedRows
  spans: TransactionSpan[]
  position: SourcePosition | null
  readonly batch: RecordBatch
}

/** A copy of a batch of rows, changed. */
export function edited(batch: RecordBatch, edit: (draft: Draft) => void): RecordBatch {
  const from = batch.rows!
  const rows = new PackedRows(Buffer.from(from.arena), 0, 0)
  rows.cells = from.cells.slice()
  rows.cellCount = from.cellCount
  rows.rowCount = from.rowCount
  rows.op = from.op.slice()
  rows.tableOf = from.tableOf.slice()
  rows.newImage = from.newImage.slice()
  rows.oldImage = from.oldImage.slice()
  const draft: Draft = { rows, spans: [...batch.spans], position: batch.position, batch }
  edit(draft)
  return RecordBatch.ofRows(batch.origin, batch.tables, draft.rows, draft.spans, draft.position)
}

/** The batch without its rows; transactions and positions stay. */
export function emptied(batch: RecordBatch): RecordBatch {
  return edited(batch, (draft) => {
    draft.rows.rowCount = 0
    draft.spans = draft.spans.map((span) => ({ ...span, firstRow: 0, endRow: 0 }))
  })
}

/** Two batches in place of one, cut between two rows of one transaction; null when there are no two. */
export function halves(batch: RecordBatch): readonly [RecordBatch, RecordBatch] | null {
  const at = batch.spans.findIndex((span) => span.endRow - span.firstRow >= 2)
  if (batch.origin !== 'stream' || at < 0) return null
  const span = batch.spans[at]!
  const cut = span.firstRow + 1
  const first = edited(batch, (draft) => {
    draft.rows.rowCount = cut
    draft.spans = [...batch.spans.slice(0, at), { ...span, endRow: cut, position: null }]
    draft.position = draft.spans.findLast(({ position }) => position !== null)?.position ?? null
  })
  const second = edited(batch, (draft) => {
    const { rows } = draft
    const shift = <T extends Uint8Array | Uint16Array | Int32Array>(array: T): T => array.subarray(cut) as T
    rows.rowCount -= cut
    rows.op = shift(rows.op)
    rows.tableOf = shift(rows.tableOf)
    rows.newImage = shift(rows.newImage)
    rows.oldImage = shift(rows.oldImage)
    const rest = { ...span, firstRow: cut, begins: false, firstOrdinal: span.firstOrdinal + 1 }
    draft.spans = [rest, ...batch.spans.slice(at + 1)].map((one) => ({
      ...one,
      firstRow: one.firstRow - cut,
      endRow: one.endRow - cut,
    }))
  })
  return [first, second]
}

/** The batch with every position in it replaced. */
export function repositioned(
  batch: RecordBatch,
  change: (position: SourcePosition) => SourcePosition,
): RecordBatch {
  if (batch.heartbeat !== null)
    return RecordBatch.ofHeartbeat({ ...batch.heartbeat, position: change(batch.heartbeat.position) })
  if (batch.rows === null) return batch
  return edited(batch, (draft) => {
    const moved = (position: SourcePosition | null): SourcePosition | null =>
      position === null ? null : change(position)
    draft.spans = draft.spans.map((span) => ({ ...span, position: moved(span.position) }))
    draft.position = moved(draft.position)
  })
}
