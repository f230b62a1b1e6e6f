/** What a source handed over, record by record, in a form that can be compared, cut and replayed. */
import type { RecordBatch, TransactionSpan } from '../../core/batch.ts'
import { UNCHANGED } from '../../core/canonical.ts'
import { CellState, Op } from '../../core/packed-rows.ts'
import type { SourcePosition } from '../../core/position.ts'
import type { Origin, SchemaChange } from '../../core/record.ts'
import { RowView } from '../../core/row-view.ts'
import { type TableSchema, tableName } from '../../core/table.ts'

/** Cells by column name as canonical text, `bytes` as `\x` and hex digits; absent ones are left out. */
export type Cells = Readonly<Record<string, string | null | typeof UNCHANGED>>

export interface RowEntry {
  readonly kind: 'insert' | 'update' | 'delete'
  readonly table: TableSchema
  readonly origin: Origin
  readonly after: Cells | null
  readonly before: Cells | null
  /** Row version, see `TransactionSpan.version`. */
  readonly version: bigint
}

export type Entry =
  /** A source starts. */
  | { readonly kind: 'start' }
  | { readonly kind: 'begin'; readonly id: string }
  | { readonly kind: 'commit'; readonly id: string; readonly position: SourcePosition }
  | RowEntry
  | { readonly kind: 'schema'; readonly record: SchemaChange; readonly position: SourcePosition | null }
  | { readonly kind: 'heartbeat'; readonly position: SourcePosition }
  /** A part of a copy is finished. */
  | { readonly kind: 'part'; readonly position: SourcePosition }

/** A position, and the number of entries that precede it. */
export interface Mark {
  readonly position: SourcePosition
  readonly at: number
  readonly kind: Entry['kind']
}

/** A batch without its rows. */
export interface BatchNote {
  readonly origin: Origin
  readonly rows: number
  readonly byteSize: number
  readonly position: SourcePosition | null
  /** Position of the last commit, finished part, schema change or heartbeat in it. */
  readonly lastMark: SourcePosition | null
}

/** Everything that one or more runs handed over since the first start. */
export class Journal {
  readonly entries: Entry[]
  readonly batches: BatchNote[] = []

  constructor(entries: readonly Entry[] = []) {
    this.entries = [...entries]
  }

  add(batch: RecordBatch): void {
    const first = this.entries.length
    this.entries.push(...entriesOf(batch))
    const { origin, rowCount: rows, byteSize, position } = batch
    const lastMark = positionsIn(this.entries, first).at(-1)?.position ?? null
    this.batches.push({ origin, rows, byteSize, position, lastMark })
  }

  get marks(): readonly Mark[] {
    return positionsIn(this.entries, 0)
  }

  /** The last position, as it comes back from a checkpoint store. */
  get position(): SourcePosition | null {
    const last = this.marks.at(-1)
    return last === undefined ? null : stored(last.position)
  }

  /** What was handed over before a position. */
  upTo(mark: Mark): Journal {
    return new Journal(this.entries.slice(0, mark.at))
  }

  /** A run goes on from the last position: what came after it will come again. */
  restart(): SourcePosition | null {
    const last = this.marks.at(-1)
    this.entries.length = last?.at ?? 0
    this.entries.push({ kind: 'start' })
    return last === undefined ? null : stored(last.position)
  }

  /** The rows among the entries from `first` on, without those of copies. */
  streamedRows(first = 0): readonly RowEntry[] {
    return this.entries
      .slice(first)
      .filter((entry) => isRow(entry) && entry.origin === 'stream') as RowEntry[]
  }

  copiedRows(first = 0): readonly RowEntry[] {
    return this.entries
      .slice(first)
      .filter((entry) => isRow(entry) && entry.origin === 'snapshot') as RowEntry[]
  }

  /** The schema changes of a kind among the entries from `first` on. */
  schemaChanges(kind: SchemaChange['change']['kind'], table?: string, first = 0): readonly SchemaChange[] {
    return this.entries
      .slice(first)
      .flatMap((entry) => (entry.kind === 'schema' ? [entry.record] : []))
      .filter(
        (record) => record.change.kind === kind && (table === undefined || tableName(record.table) === table),
      )
  }
}

export function isRow(entry: Entry): entry is RowEntry {
  return entry.kind === 'insert' || entry.kind === 'update' || entry.kind === 'delete'
}

/** A position after its way through a checkpoint store. */
function stored(position: SourcePosition): SourcePosition {
  return JSON.parse(JSON.stringify(position)) as SourcePosition
}

/** A line of text per entry, equal when the records are; without versions and `resume`, which laws of their own compare. */
export function lineOf(entry: Entry): string {
  switch (entry.kind) {
    case 'start':
      return 'start'
    case 'begin':
      return `begin ${entry.id}`
    case 'commit':
      return `commit ${entry.id} at ${entry.position.order}`
    case 'schema':
      return `${entry.record.change.kind} ${tableName(entry.record.table)} (${entry.record.origin})`
    case 'heartbeat':
    case 'part':
      return `${entry.kind} at ${entry.position.order}`
    case 'insert':
    case 'update':
    case 'delete':
      return `${entry.kind} ${tableName(entry.table)} ${textOf(entry.after)} before ${textOf(entry.before)}`
  }
}

function textOf(cells: Cells | null): string {
  return JSON.stringify(cells, (_, value: unknown) => (value === UNCHANGED ? { unchanged: true } : value))
}

function positionsIn(entries: readonly Entry[], first: number): readonly Mark[] {
  const marks: Mark[] = []
  for (let index = first; index < entries.length; index++) {
    const entry = entries[index]!
    if ('position' in entry && entry.position !== null)
      marks.push({ position: entry.position, at: index + 1, kind: entry.kind })
  }
  return marks
}

function* entriesOf(batch: RecordBatch): Generator<Entry, void, undefined> {
  const { schemaChange, heartbeat, origin } = batch
  if (schemaChange !== null) yield { kind: 'schema', record: schemaChange, position: batch.position }
  if (heartbeat !== null) yield { kind: 'heartbeat', position: heartbeat.position }
  for (const span of batch.spans) {
    if (span.begins && origin === 'stream') yield { kind: 'begin', id: span.id }
    for (let row = span.firstRow; row < span.endRow; row++) yield rowEntry(batch, row, span)
    if (span.position === null) continue
    if (origin === 'stream') yield { kind: 'commit', id: span.id, position: span.position }
    else yield { kind: 'part', position: span.position }
  }
}

function rowEntry(batch: RecordBatch, row: number, span: TransactionSpan): RowEntry {
  const rows = batch.rows!
  const table = batch.tableOf(row)
  const kinds = { [Op.insert]: 'insert', [Op.update]: 'update', [Op.delete]: 'delete' } as const
  const kind = kinds[rows.op[row] as Op]
  const ordinal = Math.min(span.firstOrdinal + row - span.firstRow, span.ordinalLimit)
  const image = (first: number): Cells | null => (first < 0 ? null : cellsOf(new RowView(table, rows, first)))
  return {
    kind,
    table,
    origin: batch.origin,
    after: kind === 'delete' ? null : image(rows.newImage[row]!),
    before: image(rows.oldImage[row]!),
    version: span.version + BigInt(ordinal),
  }
}

function cellsOf(row: RowView): Cells {
  const cells: Record<string, string | null | typeof UNCHANGED> = {}
  for (const [index, { name, type }] of row.table.columns.entries()) {
    const state = row.state(index)
    if (state === CellState.absent) continue
    if (state === CellState.null) cells[name] = null
    else if (state === CellState.unchanged) cells[name] = UNCHANGED
    else {
      // A copy: the bytes are valid only as long as the batch is.
      const bytes = Buffer.from(row.bytes(index))
      cells[name] = type.kind === 'bytes' ? `\\x${bytes.toString('hex')}` : bytes.toString('utf8')
    }
  }
  return cells
}
