/** Compares a table of PostgreSQL with the rows that a Zero client has, value by value. */
import type pg from 'pg'

import { postgresSettings, quoteSource } from './comparable.ts'
import type { RowDifference, TableVerdict } from './compare.ts'
import type { ZeroTable } from './zero-columns.ts'

/** A row of a client, by column. */
export type ClientRow = Readonly<Record<string, unknown>>

const MAX_EXAMPLES = 3
const FETCH_ROWS = 5_000

/** `source` is used for a transaction of its own; `signal` ends it early with its reason. */
export async function compareWithClient(
  source: pg.Client,
  table: ZeroTable,
  rows: readonly ClientRow[],
  signal?: AbortSignal,
): Promise<TableVerdict> {
  const counts = { rows: 0, missing: 0, unexpected: 0, different: 0 }
  const examples: RowDifference[] = []
  const found = (kind: RowDifference['kind'], row: ClientRow, columns: readonly string[] = []): void => {
    counts[kind]++
    const key = table.key.map((name) => `${name}=${String(row[name])}`).join(', ')
    if (examples.length < MAX_EXAMPLES) examples.push({ kind, key, columns })
  }
  const left = new Map<string, ClientRow>()
  for (const row of rows) {
    const key = keyOf(table, row)
    if (left.has(key)) found('unexpected', row)
    left.set(key, row)
  }
  for await (const expected of sourceRows(source, table)) {
    signal?.throwIfAborted()
    counts.rows++
    const key = keyOf(table, expected)
    const actual = left.get(key)
    left.delete(key)
    if (actual === undefined) found('missing', expected)
    else {
      const wrong = table.columns.filter(({ name }) => canonical(actual[name]) !== canonical(expected[name]))
      if (wrong.length > 0)
        found(
          'different',
          expected,
          wrong.map(({ name }) => name),
        )
    }
  }
  for (const row of left.values()) found('unexpected', row)
  const equal = counts.missing + counts.unexpected + counts.different === 0
  return { table: `public.${table.name}`, ...counts, equal, columns: [], examples }
}

async function* sourceRows(source: pg.Client, { name, columns }: ZeroTable): AsyncGenerator<ClientRow> {
  await source.query(postgresSettings)
  await source.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    const values = columns.map(({ sql }) => sql).join(', ')
    await source.query(
      `DECLARE compared NO SCROLL CURSOR FOR SELECT json_build_array(${values})::text FROM public.${quoteSource(name)}`,
    )
    for (;;) {
      const text = `FETCH ${FETCH_ROWS} FROM compared`
      const { rows } = await source.query<[string]>({ text, rowMode: 'array' })
      if (rows.length === 0) return
      for (const [json] of rows) {
        const cells = JSON.parse(json) as readonly unknown[]
        yield Object.fromEntries(columns.map((column, at) => [column.name, cells[at]]))
      }
    }
  } finally {
    await source.query('ROLLBACK')
  }
}

function keyOf({ key }: ZeroTable, row: ClientRow): string {
  return JSON.stringify(key.map((name) => row[name]))
}

/** JSON text with the keys of objects in order: equal exactly when the values are. */
function canonical(value: unknown): string {
  if (value === undefined) return 'absent'
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
