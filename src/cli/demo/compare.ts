/**
 * Compares tables of PostgreSQL with their views in ClickHouse, row by row. Both servers send key and checksum of every
 * row in the order of the key, and the two streams are merged: memory does not depend on the size of the tables.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import type pg from 'pg'

import { type Comparable, comparable, postgresSettings, type SourceColumn } from './comparable.ts'
import {
  type Outcome,
  sideBySide,
  sourceName,
  sourceRows,
  type TablePair,
  targetName,
  targetRows,
} from './keyed-rows.ts'

export interface RowDifference {
  readonly kind: Exclude<Outcome, 'same'>
  /** `name=value`, joined. */
  readonly key: string
  /** Columns whose values differ; empty unless `different`. */
  readonly columns: readonly string[]
}

export interface TableVerdict {
  /** `schema.table` of the source. */
  readonly table: string
  readonly equal: boolean
  /** Rows of the source. */
  readonly rows: number
  /** Rows of the source that the target lacks. */
  readonly missing: number
  /** Rows of the target that the source does not have. */
  readonly unexpected: number
  /** Rows with the same key and other values. */
  readonly different: number
  /** What is wrong with the columns of the target. */
  readonly columns: readonly string[]
  /** The first differences. */
  readonly examples: readonly RowDifference[]
}

const MAX_EXAMPLES = 3

/** Compares one table. `source` is used for a transaction of its own; `signal` ends it early with its reason. */
export async function compareTable(
  source: pg.Client,
  target: ClickHouseClient,
  pair: TablePair,
  signal?: AbortSignal,
): Promise<TableVerdict> {
  await source.query(postgresSettings)
  const { columns, key } = await readSource(source, pair)
  const table = `${pair.schema}.${pair.table}`
  const mistakes = await columnMistakes(target, pair, columns)
  const counts = { rows: 0, missing: 0, unexpected: 0, different: 0 }
  const found: { readonly kind: RowDifference['kind']; readonly key: readonly string[] }[] = []
  const isReadable = !mistakes.some((mistake) => mistake.isFatal)
  if (isReadable) {
    const sides = {
      source: sourceRows(source, pair, columns, key),
      target: targetRows(target, pair, columns, key),
    }
    await sideBySide(sides.source, sides.target, key.length, (outcome, row) => {
      signal?.throwIfAborted()
      if (outcome !== 'unexpected') counts.rows++
      if (outcome === 'same') return
      counts[outcome]++
      if (found.length < MAX_EXAMPLES) found.push({ kind: outcome, key: row.slice(0, key.length) })
    })
  }
  const examples: RowDifference[] = []
  for (const { kind, key: values } of found) {
    const wrong =
      kind === 'different' ? await differingColumns(source, target, pair, columns, key, values) : []
    examples.push({
      kind,
      key: key.map(({ name }, at) => `${name}=${values[at]!}`).join(', '),
      columns: wrong,
    })
  }
  return {
    table,
    ...counts,
    equal: mistakes.length === 0 && found.length === 0,
    columns: mistakes.map((mistake) => mistake.text),
    examples,
  }
}

async function readSource(
  source: pg.Client,
  pair: TablePair,
): Promise<{ readonly columns: readonly Comparable[]; readonly key: readonly Comparable[] }> {
  const { rows } = await source.query<SourceColumn & { key_place: number | null }>(
    `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, t.typtype AS kind,
            NOT a.attnotnull AS nullable, array_position(i.indkey::int2[], a.attnum) AS key_place
     FROM pg_attribute a
     JOIN pg_type t ON t.oid = a.atttypid
     LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
     WHERE a.attrelid = format('%I.%I', $1::text, $2::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum`,
    [pair.schema, pair.table],
  )
  const places = new Map(rows.map((row) => [row.name, row.key_place]))
  const columns = rows.map(comparable)
  const key = columns
    .filter(({ name }) => places.get(name) !== null)
    .toSorted((a, b) => places.get(a.name)! - places.get(b.name)!)
  if (key.length === 0) throw new Error(`${pair.schema}.${pair.table} has no primary key to compare by.`)
  return { columns, key }
}

/** Fatal ones make it impossible to read the rows. */
async function columnMistakes(
  target: ClickHouseClient,
  pair: TablePair,
  columns: readonly Comparable[],
): Promise<readonly { readonly text: string; readonly isFatal: boolean }[]> {
  const result = await target.query({
    query:
      'SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {view:String}',
    query_params: { database: pair.database, view: pair.view },
    format: 'JSONCompactEachRow',
  })
  const types = new Map(await result.json<[string, string]>())
  if (types.size === 0) return [{ text: `ClickHouse has no ${pair.database}.${pair.view}`, isFatal: true }]
  const mistakes: { text: string; isFatal: boolean }[] = []
  for (const { name, target: wanted } of columns) {
    const type = types.get(name)
    types.delete(name)
    if (type === undefined) mistakes.push({ text: `column ${name} is missing`, isFatal: true })
    else if (bareType(type) !== wanted) {
      mistakes.push({ text: `column ${name} is ${type} instead of ${wanted}`, isFatal: true })
    }
  }
  for (const name of types.keys())
    mistakes.push({ text: `column ${name} is not in the source`, isFatal: false })
  return mistakes
}

function bareType(type: string): string {
  const wrapped = /^(?:Nullable|LowCardinality)\((.*)\)$/.exec(type)
  return wrapped === null ? type : bareType(wrapped[1]!)
}

async function differingColumns(
  source: pg.Client,
  target: ClickHouseClient,
  pair: TablePair,
  columns: readonly Comparable[],
  key: readonly Comparable[],
  values: readonly string[],
): Promise<readonly string[]> {
  const condition = key.map(({ postgres }, at) => `${postgres} = $${at + 1}`).join(' AND ')
  const texts = columns.map(({ postgres }) => postgres).join(', ')
  const text = `SELECT ${texts} FROM ${sourceName(pair)} WHERE ${condition}`
  const { rows } = await source.query<(string | null)[]>({ text, rowMode: 'array', values: [...values] })
  const result = await target.query({
    query: `SELECT ${columns.map(({ clickhouse }, at) => `${clickhouse} AS text${at}`).join(', ')} FROM ${targetName(pair)}
            WHERE ${key.map(({ clickhouse }, at) => `${clickhouse} = {key${at}:String}`).join(' AND ')}`,
    query_params: Object.fromEntries(values.map((value, at) => [`key${at}`, value])),
    format: 'JSONCompactEachRow',
  })
  const [targetRow = []] = await result.json<(string | null)[]>()
  return columns.filter((_, at) => rows[0]?.[at] !== targetRow[at]).map(({ name }) => name)
}
