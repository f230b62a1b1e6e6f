import { closest } from './closest.ts'
import { parseType, TYPE_NAMES } from './column-type.ts'
import { SchemaError } from './error.ts'
import type { Column, TableSchema } from './table.ts'

/** A table as a person writes it down. */
export interface TableDeclaration {
  /** Names of the columns that identify a row, in key order. */
  readonly key: readonly string[]
  /** Names of types by column, as `describeType` gives them; with `?` behind it a column may be NULL. */
  readonly columns: Readonly<Record<string, string>>
}

/**
 * The schema of a declared table, for sources whose server knows none.
 *
 * ```ts
 * declareTable('shop.orders', { key: ['id'], columns: { id: 'int64', total: 'decimal(12,2)', note: 'text?' } })
 * ```
 *
 * Throws `SchemaError` for whatever is no declaration: it may come from a file. Columns keep their names as ids.
 */
export function declareTable(name: string, { key, columns }: TableDeclaration): TableSchema {
  const [, namespace, table] = /^([^.]+)\.(.+)$/s.exec(String(name)) ?? []
  if (namespace === undefined || table === undefined)
    throw refused(
      'name',
      `a table is declared as "${name}"`,
      'Name it as in shop.orders: namespace, point, name.',
    )
  const cells = Object.entries(columns ?? {}).map(([column, type]) => columnOf(name, column, String(type)))
  const names = cells.map((column) => column.name)
  if (!Array.isArray(key) || key.length === 0 || key.some((column) => !names.includes(column))) {
    const message = `the key of table ${name} is not a list of its columns`
    throw refused(
      'key',
      message,
      `Name columns that identify a row. There are: ${names.join(', ') || 'none'}.`,
    )
  }
  const indexes = key.map((column) => names.indexOf(column))
  for (const index of indexes) {
    if (!cells[index]!.nullable) continue
    const message = `column "${names[index]}" of table ${name} is in the key and may be NULL`
    throw refused('key', message, 'Leave the ? out.')
  }
  return { namespace, name: table, columns: cells, key: indexes, version: 0 }
}

function columnOf(table: string, name: string, declared: string): Column {
  const type = parseType(declared.replace(/\?$/, ''))
  if (type !== null) return { id: name, name, type, nullable: declared.endsWith('?'), native: declared }
  const near = closest(declared, TYPE_NAMES)
  const hint = near === null ? '' : `, did you mean "${near}"?`
  const message = `column "${name}" of table ${table} has the unknown type "${declared}"${hint}`
  throw refused('type', message, `Types are written so: ${TYPE_NAMES.join(', ')}.`)
}

function refused(slug: string, message: string, fix: string): SchemaError {
  return new SchemaError(`declaration/${slug}`, message, { fix })
}
