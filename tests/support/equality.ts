import type { ClickHouseClient } from '@clickhouse/client'
import type pg from 'pg'

/**
 * What differs between a Postgres table and the view of current rows in ClickHouse: `missing <key>`, `extra <key>`,
 * `different <key>`. Both sides are read as text by the servers themselves, without any code of the pipeline.
 */
export async function differences(
  source: pg.Client,
  target: ClickHouseClient,
  table: string,
): Promise<readonly string[]> {
  const { rows: columns } = await source.query<{ name: string; type: string }>(
    `SELECT column_name AS name, udt_name AS type FROM information_schema.columns
     WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position`,
    [table],
  )
  const left = columns
    .map(({ name, type }) => `coalesce(${postgresText(`"${name}"`, type)}, '~')`)
    .join(` || '|' || `)
  const right = columns
    .map(({ name, type }) => `ifNull(${clickHouseText(`\`${name}\``, type)}, '~')`)
    .join(", '|', ")
  const expected = await source.query<{ id: string; row: string }>(
    `SELECT id::text AS id, ${left} AS row FROM "${table}"`,
  )
  const result = await target.query({
    query: `SELECT toString(id) AS id, concat(${right}) AS row FROM \`${table}__current\``,
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_output_format: 'simple' },
  })
  const actual = new Map((await result.json<{ id: string; row: string }>()).map(({ id, row }) => [id, row]))
  const found: string[] = []
  for (const { id, row } of expected.rows) {
    const other = actual.get(id)
    if (other === undefined) found.push(`${table}: missing ${id}`)
    else if (other !== row) found.push(`${table}: different ${id}: ${row} | ${other}`)
    actual.delete(id)
  }
  return [...found, ...[...actual.keys()].map((id) => `${table}: extra ${id}`)]
}

function postgresText(column: string, type: string): string {
  if (type === 'timestamptz') return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')`
  if (type === 'text') return `length(${column})::text || md5(${column})`
  // ClickHouse's toString leaves trailing zeros out.
  if (type === 'numeric') return `trim_scale(${column})::text`
  return `${column}::text`
}

function clickHouseText(column: string, type: string): string {
  if (type === 'text') return `concat(toString(lengthUTF8(${column})), lower(hex(MD5(${column}))))`
  return `toString(${column})`
}
