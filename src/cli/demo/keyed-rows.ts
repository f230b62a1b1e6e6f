/** Key and checksum of every row, from both servers in the same order, and the two streams side by side. */
import type { ClickHouseClient } from '@clickhouse/client'
import type pg from 'pg'

import { type Comparable, quoteSource, quoteTarget, rowChecksum } from './comparable.ts'

/** A table in PostgreSQL and what must show the same rows in ClickHouse. */
export interface TablePair {
  readonly schema: string
  readonly table: string
  readonly database: string
  /** The view of the current rows. */
  readonly view: string
}

/** Text of each key column, then the checksum. */
export type KeyedRow = readonly string[]

export type RowStream = AsyncGenerator<readonly KeyedRow[]>

export type Outcome = 'same' | 'missing' | 'unexpected' | 'different'

const FETCH_ROWS = 10_000

export function sourceName({ schema, table }: TablePair): string {
  return `${quoteSource(schema)}.${quoteSource(table)}`
}

export function targetName({ database, view }: TablePair): string {
  return `${quoteTarget(database)}.${quoteTarget(view)}`
}

export async function* sourceRows(
  source: pg.Client,
  pair: TablePair,
  columns: readonly Comparable[],
  key: readonly Comparable[],
): RowStream {
  const selected = [...key.map(({ postgres }) => postgres), rowChecksum(columns, 'postgres')]
  // COLLATE "C" orders by bytes, as ClickHouse does.
  const order = key.map(({ postgres }) => `${postgres} COLLATE "C"`)
  await source.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    await source.query(
      `DECLARE compared NO SCROLL CURSOR FOR SELECT ${selected.join(', ')} FROM ${sourceName(pair)} ORDER BY ${order.join(', ')}`,
    )
    for (;;) {
      const text = `FETCH ${FETCH_ROWS} FROM compared`
      const { rows } = await source.query<string[]>({ text, rowMode: 'array' })
      if (rows.length === 0) return
      yield rows
    }
  } finally {
    await source.query('ROLLBACK')
  }
}

export async function* targetRows(
  target: ClickHouseClient,
  pair: TablePair,
  columns: readonly Comparable[],
  key: readonly Comparable[],
): RowStream {
  const names = key.map((_, at) => `key${at}`)
  const selected = [
    ...key.map(({ clickhouse }, at) => `${clickhouse} AS key${at}`),
    `${rowChecksum(columns, 'clickhouse')} AS checksum`,
  ]
  const result = await target.query({
    query: `SELECT ${selected.join(', ')} FROM ${targetName(pair)} ORDER BY ${names.join(', ')}`,
    format: 'JSONCompactEachRow',
    // An error in the middle of the result must not look like its end.
    clickhouse_settings: { wait_end_of_query: 1 },
  })
  for await (const rows of result.stream<string[]>()) yield rows.map((row) => row.json())
}

/** Calls `visit` for every key of either side: with the source's row, or the target's when only that has it. */
export async function sideBySide(
  source: RowStream,
  target: RowStream,
  keyLength: number,
  visit: (outcome: Outcome, row: KeyedRow) => void,
): Promise<void> {
  const left = new Cursor(source)
  const right = new Cursor(target)
  try {
    for (;;) {
      if (left.isSpent) await left.fill()
      if (right.isSpent) await right.fill()
      const a = left.row
      const b = right.row
      if (a === null && b === null) return
      const order = a === null ? 1 : b === null ? -1 : compareKeys(a, b, keyLength)
      if (order === 0) visit(a![keyLength] === b![keyLength] ? 'same' : 'different', a!)
      else if (order < 0) visit('missing', a!)
      else visit('unexpected', b!)
      if (order <= 0) left.next()
      if (order >= 0) right.next()
    }
  } finally {
    await Promise.all([source.return(null), target.return(null)])
  }
}

/** Reads chunks of rows one row at a time, without a promise per row. */
class Cursor {
  readonly #chunks: RowStream
  #rows: readonly KeyedRow[] = []
  #at = 0
  #isDone = false

  constructor(chunks: RowStream) {
    this.#chunks = chunks
  }

  /** The current row; null after the last. */
  get row(): KeyedRow | null {
    return this.#rows[this.#at] ?? null
  }

  /** Whether `fill` must be called before `row` says anything. */
  get isSpent(): boolean {
    return this.#at >= this.#rows.length && !this.#isDone
  }

  next(): void {
    this.#at++
  }

  async fill(): Promise<void> {
    while (this.isSpent) {
      const { done, value } = await this.#chunks.next()
      this.#isDone = done === true
      this.#rows = value ?? []
      this.#at = 0
    }
  }
}

function compareKeys(a: KeyedRow, b: KeyedRow, length: number): number {
  for (let at = 0; at < length; at++) {
    // By bytes, as the servers order; JS orders by UTF-16 units.
    if (a[at] !== b[at]) return Buffer.compare(Buffer.from(a[at]!), Buffer.from(b[at]!))
  }
  return 0
}
