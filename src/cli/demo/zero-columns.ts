/** Columns of PostgreSQL as a Zero client sees them, and the same values as JSON that PostgreSQL itself writes. */
import type pg from 'pg'

import { quoteSource } from './comparable.ts'

/** The types of values that a Zero client knows. */
export type ZeroKind = 'string' | 'number' | 'boolean' | 'json'

export interface ZeroColumn {
  readonly name: string
  readonly kind: ZeroKind
  readonly nullable: boolean
  /** SQL whose JSON is the value in the client: what the pipeline decodes and encodes has no part in it. */
  readonly sql: string
}

export interface ZeroTable {
  readonly name: string
  readonly columns: readonly ZeroColumn[]
  /** Names of the key's columns. */
  readonly key: readonly string[]
}

/** Digits that every double keeps; longer decimals are text by the default of the sink. */
const EXACT_DIGITS = 15

/** The tables of schema `public` as they are now. */
export async function readZeroTables(
  source: pg.Client,
  names: readonly string[],
): Promise<readonly ZeroTable[]> {
  const { rows } = await source.query<{
    table: string
    name: string
    type: string
    nullable: boolean
    place: number | null
  }>(
    `SELECT c.relname AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
            NOT a.attnotnull AS nullable, array_position(i.indkey::int2[], a.attnum) AS place
     FROM pg_attribute a
     JOIN pg_class c ON c.oid = a.attrelid
     LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
     WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum`,
    [names],
  )
  return names.map((name) => {
    const own = rows.filter((row) => row.table === name)
    return {
      name,
      columns: own.map((row) => ({
        name: row.name,
        nullable: row.nullable,
        ...shape(quoteSource(row.name), row.type),
      })),
      key: own
        .filter(({ place }) => place !== null)
        .toSorted((a, b) => a.place! - b.place!)
        .map((row) => row.name),
    }
  })
}

function shape(column: string, type: string): Pick<ZeroColumn, 'kind' | 'sql'> {
  if (type.endsWith('[]') || type === 'jsonb') return { kind: 'json', sql: column }
  if (type === 'boolean') return { kind: 'boolean', sql: column }
  if (/^(smallint|integer|bigint|real|double precision)$/.test(type)) return { kind: 'number', sql: column }
  const precision = /^numeric\((\d+)/.exec(type)
  if (precision !== null && Number(precision[1]) <= EXACT_DIGITS) return { kind: 'number', sql: column }
  if (/^(date|time|timestamp)\b/.test(type))
    return { kind: 'number', sql: `extract(epoch FROM ${column}) * 1000` }
  if (type === 'bytea') return { kind: 'string', sql: `translate(encode(${column}, 'base64'), E'\\n', '')` }
  return { kind: 'string', sql: `${column}::text` }
}
