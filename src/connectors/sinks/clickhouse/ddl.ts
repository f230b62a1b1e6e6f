import type { ColumnType } from '../../../core/column-type.ts'
import { parseArray } from '../../../core/array-text.ts'
import { type TableSchema, tableName } from '../../../core/table.ts'
import type { CatalogTable } from './catalog.ts'
import type { MetaColumns } from './encoder.ts'

/** Non-replicated tables remember no insert by default; this many tokens make a repeated insert harmless. */
const DEDUPLICATION_WINDOW = 1000
const COLUMN_MARK = 'sluice:'
const TABLE_MARK = 'sluice '

/** What the comment of a table or view of ours says. */
export interface Marker {
  readonly pipeline: string
  /** Source table, `namespace.name`. */
  readonly table: string
  /** Rows up to this version were there before the last truncate; decimal text. */
  readonly truncated?: string
}

/** A column to make. */
export interface NewColumn {
  readonly id: string
  readonly name: string
  readonly type: string
  /** SQL of the value that older rows show, or null. */
  readonly fallback: string | null
}

/** Where the statements go. */
export interface Place {
  readonly database: string
  readonly meta: MetaColumns
}

/** A name in backticks; every character is allowed in it. */
export function quoteName(name: string): string {
  return `\`${escaped(name, '`')}\``
}

export function quoteText(text: string): string {
  return `'${escaped(text, "'")}'`
}

function escaped(text: string, quote: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll(quote, `\\${quote}`).replaceAll('\0', '\\0')
}

export function qualified(place: Place, name: string): string {
  return `${quoteName(place.database)}.${quoteName(name)}`
}

export function markerText(marker: Marker): string {
  return TABLE_MARK + JSON.stringify(marker)
}

/** Null when the table is not ours. */
export function readMarker(comment: string): Marker | null {
  if (!comment.startsWith(TABLE_MARK)) return null
  try {
    return JSON.parse(comment.slice(TABLE_MARK.length)) as Marker
  } catch {
    return null
  }
}

/** The source's id of a column of ours, or null. */
export function columnId(comment: string): string | null {
  return comment.startsWith(COLUMN_MARK) ? comment.slice(COLUMN_MARK.length) : null
}

export function createTableSql(
  place: Place,
  name: string,
  columns: readonly NewColumn[],
  key: readonly string[],
  marker: Marker,
): string {
  const { version, deleted } = place.meta
  const lines = [
    ...columns.map((column) => `  ${columnSql(column)}`),
    `  ${quoteName(version)} UInt64`,
    `  ${quoteName(deleted)} UInt8`,
  ]
  return `CREATE TABLE IF NOT EXISTS ${qualified(place, name)} (
${lines.join(',\n')}
) ENGINE = ReplacingMergeTree(${quoteName(version)}, ${quoteName(deleted)})
ORDER BY (${key.map(quoteName).join(', ')})
SETTINGS non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW}
COMMENT ${quoteText(markerText(marker))}`
}

/** A column definition, in CREATE TABLE and in ADD COLUMN. */
export function columnSql({ id, name, type, fallback }: NewColumn): string {
  const value = fallback === null ? '' : ` DEFAULT ${fallback}`
  return `${quoteName(name)} ${type}${value} COMMENT ${quoteText(COLUMN_MARK + id)}`
}

/** One column of the view: name in the table, name in the source. */
export interface ViewColumn {
  readonly physical: string
  readonly shown: string
}

/** FINAL shows the newest version of each key and no deleted rows. */
export function viewSql(
  place: Place,
  view: string,
  table: string,
  columns: readonly ViewColumn[],
  marker: Marker,
): string {
  // Qualified, as an alias would otherwise hide a column of the same name.
  const selected = columns.map(({ physical, shown }) => `  t.${quoteName(physical)} AS ${quoteName(shown)}`)
  return `CREATE OR REPLACE VIEW ${qualified(place, view)} AS SELECT
${selected.join(',\n')}
FROM ${qualified(place, table)} AS t FINAL
COMMENT ${quoteText(markerText(marker))}`
}

/** Length of a name on the server's disk: everything but letters, digits and _ takes three characters. */
export function nameLengthOnDisk(name: string): number {
  let length = 0
  for (const byte of Buffer.from(name)) length += /\w/.test(String.fromCharCode(byte)) && byte < 128 ? 1 : 3
  return length
}

/**
 * SQL of a value from its canonical text (bytes: `\x` and hex digits), for a column of that ClickHouse type. Only for
 * values that an encoder has accepted: ClickHouse clamps what does not fit.
 */
export function literalSql(type: ColumnType, canonical: string, clickHouseType: string): string {
  return `CAST(${sourceLiteral(type, canonical, clickHouseType)} AS ${clickHouseType})`
}

type Nested = string | null | readonly Nested[]

function sourceLiteral(type: ColumnType, canonical: string, clickHouseType: string): string {
  if (type.kind === 'array') {
    if (!clickHouseType.startsWith('Array(')) return quoteText(canonical)
    const element = clickHouseType.replace(/^(?:Array\()+|\)+$/g, '')
    const list = (items: readonly Nested[]): string =>
      `[${items.map((item) => (item === null ? 'NULL' : typeof item === 'string' ? item : list(item))).join(', ')}]`
    return list(parseArray(canonical, (text) => sourceLiteral(type.of, text, element)))
  }
  if (type.kind === 'bytes') return `unhex(${quoteText(canonical.slice(2))})`
  if (clickHouseType.includes('String')) return quoteText(canonical)
  if (type.kind === 'bool') return quoteText(canonical === 't' ? 'true' : 'false')
  // ClickHouse reads no offset here; the canonical text of a zoned timestamp is always UTC.
  return quoteText(type.kind === 'timestamp' ? canonical.replace(/\+00$/, '') : canonical)
}

/** The name of the table for a source table: its own in the default namespace, else with the namespace in front. */
export function targetName(table: Pick<TableSchema, 'namespace' | 'name'>, defaultNamespace: string): string {
  return table.namespace === defaultNamespace ? table.name : `${table.namespace}__${table.name}`
}

/** Why a table may not be written to, or null when it is ours. */
export function foreignReason(
  table: CatalogTable,
  place: Place,
  pipeline: string,
  source: Pick<TableSchema, 'namespace' | 'name'>,
): string | null {
  const marker = readMarker(table.comment)
  if (marker === null) return 'was not made by Sluice'
  if (!table.engine.endsWith('ReplacingMergeTree')) return `has the engine ${table.engine}`
  if (marker.table !== tableName(source)) return `belongs to the source table ${marker.table}`
  if (marker.pipeline !== pipeline) return `belongs to the pipeline "${marker.pipeline}"`
  const has = (name: string, type: string) =>
    table.columns.some((column) => column.name === name && column.type === type)
  const complete = has(place.meta.version, 'UInt64') && has(place.meta.deleted, 'UInt8')
  return complete ? null : `has no columns ${place.meta.version} and ${place.meta.deleted}`
}
