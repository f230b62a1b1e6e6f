/** Where a table can be cut into ranges of its key that every database understands alike. */
import type pg from 'pg'
import { type KeyRange, WHOLE_TABLE } from '../../../core/row-reader.ts'
import type { Column, TableSchema } from '../../../core/table.ts'
import { type CatalogTable, identifier, literal } from './catalog.ts'

/** Share of the pages that are looked at to find the bounds: about ten per range. */
const SAMPLED = 0.01

/**
 * Bounds of the first key column, from a sample of the table's pages: every range has about `pagesPerRange` pages of
 * rows. The whole table where it is small or its key cannot be cut.
 */
export async function keyRanges(
  client: pg.Client,
  table: CatalogTable,
  schema: TableSchema,
  pagesPerRange: number,
): Promise<readonly KeyRange[]> {
  const index = schema.key[0]
  if (index === undefined) return [WHOLE_TABLE]
  const count = Math.floor((await pagesOf(client, table)) / pagesPerRange)
  const column = schema.columns[index]!
  if (count < 2 || !(await hasPlainOrder(client, table, column))) return [WHOLE_TABLE]
  const fractions = Array.from({ length: count - 1 }, (_, at) => (at + 1) / count)
  const percent = Math.min(100, SAMPLED * 100 * Math.max(1, 1024 / pagesPerRange))
  // A partitioned table has no rows of its own; of a table with children by inheritance only its own count.
  const from = `${table.partitioned ? '' : 'ONLY '}${identifier(table.namespace)}.${identifier(table.name)}`
  const { rows } = await client.query<{ bound: string | null }>(
    `SELECT unnest(percentile_disc(ARRAY[${fractions.join(',')}]::float8[]) WITHIN GROUP (ORDER BY ${identifier(column.name)}))::text AS bound
     FROM ${from} TABLESAMPLE SYSTEM (${percent})`,
  )
  const bounds = [...new Set(rows.map(({ bound }) => bound))].filter(
    (bound) => bound !== null && isPlain(column, bound),
  )
  return [null, ...bounds].map((bound, at) => ({ from: bound, to: bounds[at] ?? null }))
}

async function pagesOf(client: pg.Client, table: CatalogTable): Promise<number> {
  if (!table.partitioned) return table.pages
  const { rows } = await client.query<{ pages: number }>(
    `SELECT coalesce(sum(pg_relation_size(relid)), 0)::float8 / current_setting('block_size')::int8 AS pages
     FROM pg_partition_tree(${table.oid}::oid::regclass)`,
  )
  return rows[0]!.pages
}

/** Numbers, moments, and text that is compared by its bytes. */
async function hasPlainOrder(client: pg.Client, table: CatalogTable, column: Column): Promise<boolean> {
  const { kind } = column.type
  if (kind === 'int' || kind === 'date' || kind === 'timestamp') return true
  if (kind !== 'text' || !/^(?:text|varchar)/.test(column.native)) return false
  // The provider of the database's own collation has a column since 15; "b" collates by code points since 17.
  const { rows } = await client.query<{ plain: boolean }>(
    `SELECT CASE WHEN a.attcollation = 100
              THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b'
                OR (coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' AND d.datcollate IN ('C', 'POSIX'))
            ELSE l.collprovider = 'b' OR (l.collprovider IN ('c', 'd') AND l.collcollate IN ('C', 'POSIX')) END AS plain
     FROM pg_attribute a
     JOIN pg_database d ON d.datname = current_database()
     LEFT JOIN pg_collation l ON l.oid = a.attcollation
     WHERE a.attrelid = ${table.oid}::oid AND a.attname = ${literal(column.name)}`,
  )
  return rows[0]?.plain ?? false
}

/** Infinities and years with more or less than four digits do not sort alike as bounds. */
function isPlain({ type: { kind } }: Column, bound: string): boolean {
  return kind === 'int' || kind === 'text' || (/^\d{4}-/.test(bound) && !bound.endsWith('BC'))
}
