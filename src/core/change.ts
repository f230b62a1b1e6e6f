import { UNCHANGED, type Value, valueToText } from './canonical.ts'
import { closest } from './closest.ts'
import { PoisonRecordError, SchemaError } from './error.ts'
import { expected, fits } from './fits.ts'
import { type Column, type TableSchema, tableName } from './table.ts'
import type { ValueBatchBuilder, ValueRow } from './value-batch.ts'

/** One change of one row, as something outside tells it: a detector, a queue, a webhook, a file. */
export interface Change {
  readonly type: 'insert' | 'update' | 'delete'
  readonly table: string
  /** The key columns of the row; as they were before, when an update changes them. */
  readonly key: ValueRow
  /**
   * The row as it is now; nothing for a delete. Key columns may be left out, they are those of `key` then. A column
   * that an insert leaves out is NULL.
   */
  readonly value?: ValueRow | null
  /** When it happened, milliseconds since 1970 UTC; left out when nobody knows. */
  readonly timestamp?: number
}

/** What it means that an update leaves a column out: a mistake, or that the column keeps its value. */
export type LeftOut = 'refused' | 'unchanged'

const TYPES: readonly Change['type'][] = ['insert', 'update', 'delete']

/** The table that a change names. Throws `SchemaError` when it is not one of these. */
export function tableOf(tables: ReadonlyMap<string, TableSchema>, change: Change): TableSchema {
  const name: unknown = (change as Change | null)?.table
  if (typeof name !== 'string')
    throw new PoisonRecordError('change/malformed', 'a change does not say which table it belongs to', {
      fix: 'Give every change a `table`.',
    })
  const table = tables.get(name)
  if (table !== undefined) return table
  const near = closest(name, [...tables.keys()])
  const hint = near === null ? '' : `, did you mean "${near}"?`
  throw new SchemaError(
    'change/unknown-table',
    `a change is of table "${name}", which nobody declared${hint}`,
    {
      fix: `Declare the table, or leave its changes out. Declared: ${[...new Set([...tables.values()].map(tableName))].join(', ')}.`,
    },
  )
}

/**
 * Checks a change that nobody has checked, and adds it to the transaction that the builder has open. Throws
 * `SchemaError` for a column that the table does not have, and `PoisonRecordError` for whatever else would not arrive as
 * it was meant. Both name table and column, never the value.
 */
export function addChange(
  builder: ValueBatchBuilder,
  table: TableSchema,
  change: Change,
  leftOut: LeftOut = 'refused',
): void {
  if (!TYPES.includes(change.type))
    throw malformed(table, 'has a `type` that is not insert, update or delete')
  const time: unknown = change.timestamp ?? 0
  if (typeof time !== 'number' || !Number.isFinite(time))
    throw malformed(table, 'has a `timestamp` that is no number')
  const key = keyOf(table, change)
  switch (change.type) {
    case 'delete':
      return builder.delete(table, key)
    case 'insert': {
      const row = rowOf(table, change, key, null)
      const differs = movedBy(table, key, row)
      if (differs !== null)
        throw poison('key-differs', table, differs, 'is not the same in `key` and `value`', 'Send one key.')
      return builder.insert(table, row)
    }
    case 'update': {
      const row = rowOf(table, change, key, leftOut === 'unchanged' ? UNCHANGED : undefined)
      if (movedBy(table, key, row) === null) return builder.update(table, row)
      // The old row may be gone at a replay: nothing could be taken from it (law L6).
      const missing = table.columns.find((column) => row[column.name] === UNCHANGED)
      if (missing !== undefined) throw leftOutOf(table, missing, 'an update that changes the key')
      return builder.update(table, row, key)
    }
  }
}

/** The key columns, every one a value. */
function keyOf(table: TableSchema, change: Change): ValueRow {
  const given = objectOf(table, 'key', change.key)
  const key: Record<string, Value> = Object.create(null)
  for (const index of table.key) {
    const column = table.columns[index]!
    const value = sent(given, column)
    if (value === undefined || value === UNCHANGED || value === null)
      throw poison('missing', table, column, 'is not in the `key` of a change', 'Send the complete key.')
    key[column.name] = cellOf(table, column, value)
  }
  for (const name of Object.keys(given)) if (!(name in key)) throw unknownColumn(table, name, 'key')
  return key
}

/** Every column of the table; `absent` stands for what the change leaves out, undefined refuses that. */
function rowOf(
  table: TableSchema,
  change: Change,
  key: ValueRow,
  absent: null | typeof UNCHANGED | undefined,
): ValueRow {
  const given = objectOf(table, 'value', change.value)
  const row: Record<string, Value> = Object.create(null)
  for (const column of table.columns) {
    const own = sent(given, column)
    const leftOut = own === undefined || own === UNCHANGED
    const value = leftOut ? (key[column.name] ?? absent) : own
    if (value === undefined) throw leftOutOf(table, column, 'an update')
    if (own === UNCHANGED && value === null) throw leftOutOf(table, column, 'an insert')
    if (value === null && !column.nullable)
      throw poison('missing', table, column, 'must not be NULL', 'Send a value, or declare it nullable.')
    row[column.name] = value === null || value === UNCHANGED ? value : cellOf(table, column, value)
  }
  for (const name of Object.keys(given)) if (!(name in row)) throw unknownColumn(table, name, 'value')
  return row
}

function cellOf(table: TableSchema, column: Column, value: Value): Value {
  if (fits(column.type, value)) return column.type.kind === 'float' ? Number(value) : value
  throw poison('misfit', table, column, 'has a value that does not fit', `Send ${expected(column.type)}.`)
}

/** The first key column whose value is another one in the row; null when the key is the same. */
function movedBy(table: TableSchema, key: ValueRow, row: ValueRow): Column | null {
  for (const index of table.key) {
    const column = table.columns[index]!
    const after = row[column.name]
    if (valueToText(column.type, key[column.name]) !== valueToText(column.type, after)) return column
  }
  return null
}

/** The cell under the column's own name: `toString` is a name like any other. */
function sent(given: ValueRow, column: Column): Value {
  return Object.hasOwn(given, column.name) ? given[column.name] : undefined
}

function objectOf(table: TableSchema, what: 'key' | 'value', given: unknown): ValueRow {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given as ValueRow
  throw malformed(table, `has no \`${what}\` with columns by name`)
}

function malformed(table: TableSchema, what: string): PoisonRecordError {
  return new PoisonRecordError('change/malformed', `a change of table ${tableName(table)} ${what}`, {
    fix: 'A change is { type, table, key, value, timestamp }.',
  })
}

function poison(
  slug: string,
  table: TableSchema,
  column: Column,
  what: string,
  fix: string,
): PoisonRecordError {
  const message = `column "${column.name}" of table ${tableName(table)} ${what}`
  return new PoisonRecordError(`change/${slug}`, message, { fix })
}

function leftOutOf(table: TableSchema, column: Column, what: string): PoisonRecordError {
  return poison('missing', table, column, `is left out of ${what}`, 'Send the complete row.')
}

function unknownColumn(table: TableSchema, name: string, where: 'key' | 'value'): SchemaError {
  const known = where === 'key' ? table.key.map((index) => table.columns[index]!) : table.columns
  const names = known.map((column) => column.name)
  const near = closest(name, names)
  return new SchemaError(
    'change/unknown-column',
    `table ${tableName(table)} has no ${where === 'key' ? 'key column' : 'column'} "${name}"${near === null ? '' : `, did you mean "${near}"?`}`,
    { fix: `Declared: ${names.join(', ')}.` },
  )
}
