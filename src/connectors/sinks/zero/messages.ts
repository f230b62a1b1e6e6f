/**
 * Messages of the custom change source protocol of zero-cache, version 0, except those of rows (`row-frames.ts`). Each is
 * the text of one WebSocket message. (`@rocicorp/zero/change-protocol/v0`.) Pure.
 */
import { toLexi } from './lexi-version.ts'
import type { Watermark } from './log-messages.ts'
import { keyIndexName, type ZeroName } from './names.ts'
import type { TableVersion, VersionColumn } from './table-version.ts'

/** JSON columns travel as JSON text in a string: mode `s`. */
export function begin(watermark: string): string {
  return JSON.stringify(['begin', { tag: 'begin', json: 's' }, { commitWatermark: watermark }])
}

export function commit(watermark: string, timeMs: number | null): string {
  const payload = timeMs === null ? { tag: 'commit' } : { tag: 'commit', commitTimeMs: timeMs }
  return JSON.stringify(['commit', payload, { watermark }])
}

/** Takes back what was sent since the begin. */
export const ROLLBACK = JSON.stringify(['rollback', { tag: 'rollback' }])

export function resetRequired(message: string): string {
  return JSON.stringify(['control', { tag: 'reset-required', message, errorDetails: { error: message } }])
}

export function watermarkText(watermark: Watermark): string {
  return toLexi(BigInt(watermark))
}

/** The replica needs a unique index over columns that are not NULL: that is the key. */
export function createTable(
  table: ZeroName,
  key: readonly VersionColumn[],
  columns: readonly (VersionColumn & { readonly pos: number })[],
): readonly string[] {
  const { schema, name } = table
  const keyNames = key.map((column) => column.name)
  const specs = Object.fromEntries(columns.map((column) => [column.name, columnSpec(column, column.pos)]))
  const spec = { schema, name, primaryKey: keyNames, columns: specs }
  return [
    data({ tag: 'create-table', spec, metadata: { rowKey: { columns: keyNames } } }),
    data({
      tag: 'create-index',
      spec: {
        schema,
        tableName: name,
        name: keyIndexName({ name }),
        unique: true,
        columns: Object.fromEntries(keyNames.map((column) => [column, 'ASC'])),
      },
    }),
  ]
}

/** The index first: it belongs to the table. */
export function dropTable({ schema, name }: ZeroName): readonly string[] {
  return [
    data({ tag: 'drop-index', id: { schema, name: keyIndexName({ name }) } }),
    data({ tag: 'drop-table', id: { schema, name } }),
  ]
}

export function truncate(table: ZeroName, key: readonly VersionColumn[]): string {
  return data({ tag: 'truncate', relations: [relation(table, key)] })
}

/** `dflt`: a literal that rows so far get, see `literalDefault`. */
export function addColumn(table: ZeroName, column: VersionColumn, pos: number, dflt: string | null): string {
  const { schema, name } = table
  const spec = { ...columnSpec(column, pos), dflt }
  return data({ tag: 'add-column', table: { schema, name }, column: { name: column.name, spec } })
}

export function changeColumn(table: ZeroName, from: VersionColumn, to: VersionColumn, pos: number): string {
  const { schema, name } = table
  return data({
    tag: 'update-column',
    table: { schema, name },
    old: { name: from.name, spec: columnSpec(from, pos) },
    new: { name: to.name, spec: columnSpec(to, pos) },
  })
}

export function dropColumn(table: ZeroName, column: string): string {
  const { schema, name } = table
  return data({ tag: 'drop-column', table: { schema, name }, column })
}

export function relation({ schema, name }: ZeroName, key: readonly { readonly name: string }[]): object {
  return { schema, name, rowKey: { columns: key.map((column) => column.name) } }
}

export function data(change: object): string {
  return JSON.stringify(['data', change])
}

/**
 * A default in the form that zero-cache reads, from the JSON text of a cell: a number, `true`, `false` or `'text'::text`.
 * Null when there is none; then the rows have to be sent.
 */
export function literalDefault({ dataType, encoding }: VersionColumn, json: string): string | null {
  if (encoding === 'boolean' || encoding === 'integer' || encoding === 'decimal' || encoding === 'float')
    return json
  // Without escapes of any kind the literal means the same to everybody.
  return encoding === 'string' && /^"[\w .,:;/+*()-]*"$/.test(json)
    ? `'${json.slice(1, -1)}'::${dataType}`
    : null
}

/** Position of each column in `create-table`: the key first, then the slots, so that it stays as columns come and go. */
export function positionsOf({ key, slots }: TableVersion): ReadonlyMap<VersionColumn, number> {
  const positions = new Map<VersionColumn, number>()
  for (const [index, column] of key.entries()) positions.set(column, index + 1)
  for (const [index, slot] of slots.entries()) if (slot !== null) positions.set(slot, key.length + index + 1)
  return positions
}

function columnSpec({ dataType, elemPgTypeClass, notNull }: VersionColumn, pos: number): object {
  return {
    pos,
    dataType,
    notNull,
    ...(elemPgTypeClass === undefined ? {} : { elemPgTypeClass }),
  }
}
