import { renderedRows, sql } from './postgres.ts'
import type { ZeroCache } from './zero-cache.ts'
import type { ReplicaRow, ReplicaValue, ZeroReplica } from './zero-replica.ts'

/** A table of the source and what of it a replica should have. */
export interface ComparedTable {
  /** In schema `public`, or `schema.name`; called the same in the replica. */
  readonly name: string
  /** All when left out. */
  readonly columns?: readonly string[]
  /** SQL condition; every row when left out. */
  readonly where?: string
}

/** How the server writes a column as text, and how that text is to be read. */
interface Rendering {
  readonly sql: string
  readonly kind: 'text' | 'integer' | 'number' | 'boolean' | 'json' | 'array'
}

/**
 * What differs between tables of Postgres and their copies in a replica, every row and cell. Both sides are read by the
 * servers themselves, without any code of the pipeline; Postgres writes moments as milliseconds itself.
 */
export async function zeroDifferences(
  source: string,
  replica: ZeroReplica,
  tables: readonly (string | ComparedTable)[],
): Promise<readonly string[]> {
  const found: string[] = []
  for (const table of tables)
    found.push(
      ...(await tableDifferences(source, replica, typeof table === 'string' ? { name: table } : table)),
    )
  return found
}

/** Waits until the tables are equal; fails with what differs. */
export async function untilEqual(
  source: string,
  cache: ZeroCache,
  tables: readonly (string | ComparedTable)[],
  deadlineMs = 60_000,
): Promise<void> {
  let found: readonly string[] = []
  const equal = async (): Promise<boolean> => {
    found = await differencesNow(source, cache, tables)
    return found.length === 0
  }
  await cache.until('source and replica are equal', equal, deadlineMs).catch((error: unknown) => {
    const some = found.slice(0, 10).map((line) => line.slice(0, 500))
    throw new Error(`${some.join('\n')}\n${(error as Error).message}`, { cause: error })
  })
}

async function differencesNow(
  source: string,
  cache: ZeroCache,
  tables: readonly (string | ComparedTable)[],
): Promise<readonly string[]> {
  try {
    using replica = cache.replica()
    return await zeroDifferences(source, replica, tables)
  } catch (error) {
    // There is no replica yet, or zero-cache is about to replace it.
    return [(error as Error).message]
  }
}

async function tableDifferences(
  source: string,
  replica: ZeroReplica,
  { name, columns, where }: ComparedTable,
): Promise<readonly string[]> {
  const types = await columnTypes(source, name)
  const wanted = columns ?? [...types.keys()]
  const there = new Map(replica.columns(name).map((column) => [column.name, column.type]))
  const names = (from: Iterable<string>): string => [...from].sort().join(', ')
  if (names(there.keys()) !== names(wanted))
    return [`${name} has the columns ${names(there.keys())}, and the source ${names(wanted)}`]
  const renderings = wanted.map((column) => rendering(quoted(column), types.get(column)!, there.get(column)!))
  const expressions = renderings.map(({ sql: expression }, index) => `${expression} AS "${index}"`)
  const from = `${name.split('.').map(quoted).join('.')} ${where === undefined ? '' : `WHERE ${where}`}`
  const expected = (await renderedRows(source, from, expressions.join(', '))).map((row) =>
    renderings.map(({ kind }, index) => expectedCell(row[index] ?? null, kind)).join(' | '),
  )
  const actual = replica
    .rows(name)
    .map((row: ReplicaRow) =>
      wanted.map((column, index) => actualCell(row[column]!, renderings[index]!.kind)).join(' | '),
    )
  return multisetDifferences(name, expected, actual)
}

/** Types by column, of a domain the type beneath it. */
async function columnTypes(source: string, table: string): Promise<ReadonlyMap<string, string>> {
  const rows = await sql<{ name: string; type: string }>(
    source,
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [table.split('.').map(quoted).join('.')],
  )
  const domains = await sql<{ name: string; base: string }>(
    source,
    `SELECT format_type(oid, NULL) AS name, format_type(typbasetype, typtypmod) AS base
     FROM pg_type WHERE typtype = 'd'`,
  )
  const bases = new Map(domains.map(({ name, base }) => [name, base]))
  return new Map(
    rows.map(({ name, type }) => {
      let base = type
      while (bases.has(base)) base = bases.get(base)!
      return [name, base]
    }),
  )
}

/** `type` is Postgres', `zero` the one that the column has in the replica. */
function rendering(column: string, type: string, zero: string): Rendering {
  if (zero === 'text') return { kind: 'text', sql: textOf(column, type) }
  if (type.endsWith('[]')) return { kind: 'array', sql: arrayOf(column, type.slice(0, -2), zero) }
  if (/^(smallint|integer|bigint|oid)$/.test(type)) return { kind: 'integer', sql: textOf(column, type) }
  if (/^(real|double precision|numeric)/.test(type)) return { kind: 'number', sql: textOf(column, type) }
  if (type === 'boolean') return { kind: 'boolean', sql: `${column}::text` }
  if (/^jsonb?$/.test(type)) return { kind: 'json', sql: textOf(column, type) }
  return { kind: 'number', sql: `${milliseconds(column, type)}::text` }
}

/** What the output function of the type writes. */
function textOf(column: string, type: string): string {
  if (type === 'bytea') return `translate(encode(${column}, 'base64'), E'\\n', '')`
  if (type === 'money') return `${column}::numeric::text`
  // A composite value of nothing but NULLs is NULL to SQL, but is none.
  return `CASE WHEN num_nulls(${column}) = 0 THEN concat(${column}) END`
}

function arrayOf(column: string, element: string, zero: string): string {
  const inOrder = `FROM unnest(${column}) WITH ORDINALITY AS u(e, i)`
  if (element === 'bytea') return `(SELECT json_agg(${textOf('e', element)} ORDER BY i) ${inOrder})::text`
  if (zero === 'text[]') return `array_to_json(${column}::text[])::text`
  if (/^(date|time)/.test(element))
    return orEmpty(column, `(SELECT json_agg(${milliseconds('e', element)} ORDER BY i) ${inOrder})::text`)
  return `array_to_json(${column})::text`
}

/** An array without elements gives no rows. */
function orEmpty(column: string, text: string): string {
  return `CASE WHEN cardinality(${column}) = 0 THEN '[]' ELSE ${text} END`
}

function milliseconds(column: string, type: string): string {
  if (type === 'date') return `((${column} - date '1970-01-01')::bigint * 86400000)`
  return `(extract(epoch FROM ${column}) * 1000)`
}

function expectedCell(text: string | null, kind: Rendering['kind']): string {
  if (text === null) return 'null'
  switch (kind) {
    case 'text':
      return JSON.stringify(text)
    case 'integer':
    case 'boolean':
      return text
    case 'number':
      return `number ${Number(text)}`
    case 'json':
      return isNumber(text) ? `number ${Number(text)}` : text
    case 'array':
      return JSON.stringify(JSON.parse(text))
  }
}

function actualCell(value: ReplicaValue, kind: Rendering['kind']): string {
  if (value === null) return 'null'
  switch (kind) {
    case 'text':
      return typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${String(value)}`
    case 'integer':
      return typeof value === 'bigint' ? String(value) : `${typeof value} ${String(value)}`
    case 'boolean':
      return value === 1n ? 'true' : value === 0n ? 'false' : `${typeof value} ${String(value)}`
    case 'number':
      return typeof value === 'string' ? `string ${value}` : `number ${Number(value)}`
    case 'json':
      // A number at the top of a document becomes a number of SQLite.
      return typeof value === 'string' ? value : `number ${Number(value)}`
    case 'array':
      return typeof value === 'string'
        ? JSON.stringify(JSON.parse(value))
        : `${typeof value} ${String(value)}`
  }
}

function isNumber(text: string): boolean {
  return /^-?[0-9.]+([eE][-+]?[0-9]+)?$/.test(text)
}

function multisetDifferences(
  table: string,
  expected: readonly string[],
  actual: readonly string[],
): readonly string[] {
  const counts = new Map<string, number>()
  for (const row of expected) counts.set(row, (counts.get(row) ?? 0) + 1)
  for (const row of actual) counts.set(row, (counts.get(row) ?? 0) - 1)
  return [...counts]
    .filter(([, count]) => count !== 0)
    .map(([row, count]) => `${table}: ${count > 0 ? 'missing' : 'extra'} ${row}`)
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
