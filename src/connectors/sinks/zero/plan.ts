/** How a source table looks to Zero when it is first served. Pure. */
import type { Problem } from '../../../core/error.ts'
import { selectTables } from '../../../core/selection.ts'
import { type Column, type TableSchema, tableName } from '../../../core/table.ts'
import { checkTableNames, zeroName } from './names.ts'
import type { Slot, TableVersion, VersionColumn } from './table-version.ts'
import { textType, type TypeOptions, type ZeroType, zeroType, type ZqlType, zqlType } from './types.ts'

/** What a client's Zero schema declares of a table, by the source's names of columns. */
export interface WantedTable {
  readonly columns: ReadonlyMap<string, { readonly type: ZqlType; readonly optional: boolean }>
}

export interface PlanOptions extends TypeOptions {
  /** The source namespace whose tables have no prefix in Zero; null: none, every table has one but those of `public`. */
  readonly defaultNamespace: string | null
  readonly textColumns: TextColumns
}

/** Columns that travel as canonical text, whatever their type. */
export type TextColumns = (table: Pick<TableSchema, 'namespace' | 'name'>, column: string) => boolean

export interface Plan {
  /** Null when the table cannot be served. */
  readonly version: TableVersion | null
  /** Everything that was found. An error stops the start, even where there is a version. */
  readonly problems: readonly Problem[]
}

/** `namespace.table.column`, with `*`, `?` and `!` as in `core/selection.ts`; without patterns no column is text. */
export function textColumns(patterns: readonly string[]): TextColumns {
  if (patterns.length === 0) return () => false
  const selection = selectTables(patterns)
  return (table, column) => selection.includes(tableName(table), column)
}

/**
 * The first version of a table: slots in the order of its columns. `wanted` selects columns (key columns always belong)
 * and says what ZQL type they shall have; null: all columns, in their usual types. `kept` are ids of columns that belong
 * although `wanted` does not name them.
 */
export function planTable(
  schema: TableSchema,
  options: PlanOptions,
  wanted: WantedTable | null,
  kept: ReadonlySet<string> = new Set(),
): Plan {
  const source = tableName(schema)
  const chosen = schema.columns.filter(
    ({ id, name }, index) =>
      wanted === null || wanted.columns.has(name) || schema.key.includes(index) || kept.has(id),
  )
  const problems: Problem[] = [
    ...checkTableNames({ ...schema, columns: chosen }, options.defaultNamespace),
    ...missingColumns(schema, wanted),
  ]
  let served = problems.every(({ code }) => code === 'zero/schema-mismatch')
  const columns = new Map<Column, VersionColumn>()
  for (const column of chosen) {
    const inKey = schema.key.includes(schema.columns.indexOf(column))
    const type = columnType(schema, column, options, wanted?.columns.get(column.name), problems)
    columns.set(column, {
      id: column.id,
      name: column.name,
      ...type,
      // A key without NULLs: one that comes is refused.
      notNull: inKey || !column.nullable,
    })
    if (!inKey || zqlType(type) !== 'json') continue
    served = false
    problems.push({
      severity: 'error',
      code: 'zero/key-type',
      message: `column "${column.name}" of table ${source} belongs to the key and is ${type.encoding === 'json' ? 'JSON' : 'an array'}, which no key of Zero is`,
      fix: 'Name the column in `textColumns`, choose another key, or leave the table out.',
    })
  }
  if (schema.key.length === 0) {
    served = false
    problems.push({
      severity: 'error',
      code: 'zero/no-key',
      message: `table ${source} has no key, and Zero cannot change rows without one`,
      fix: 'Give the table a primary key, or leave it out.',
    })
  }
  const key = schema.key.map((index) => schema.columns[index]!)
  const version: TableVersion = {
    source,
    ...zeroName(schema, options.defaultNamespace),
    key: key.map((column) => columns.get(column)!),
    slots: chosen
      .filter((column) => !key.includes(column))
      .map((column): Slot => ({ ...columns.get(column)!, missing: null })),
  }
  return { version: served ? version : null, problems }
}

function columnType(
  schema: TableSchema,
  column: Column,
  options: PlanOptions,
  wanted: { readonly type: ZqlType; readonly optional: boolean } | undefined,
  problems: Problem[],
): ZeroType {
  const where = `column "${column.name}" of table ${tableName(schema)}`
  const asText = options.textColumns(schema, column.name)
  const usual = asText ? textType(column.type) : (zeroType(column.type, options) as ZeroType)
  if (wanted === undefined) return usual
  if (asText && wanted.type !== 'string') {
    const reason = `is named in \`textColumns\`, and a client's schema wants it as ${wanted.type}`
    problems.push(
      mismatch(`${where} ${reason}`, 'Declare it as string in the Zero schema, or leave it out there.'),
    )
    return usual
  }
  if (column.nullable && !wanted.optional && !schema.key.includes(schema.columns.indexOf(column)))
    problems.push({
      ...mismatch(
        `${where} may be NULL, and a client's schema does not call it optional`,
        'Declare it `.optional()` in the Zero schema, or NOT NULL in the source.',
      ),
      severity: 'warning',
    })
  const type = asText ? usual : zeroType(column.type, options, wanted.type)
  if (!('reason' in type)) return type
  problems.push(mismatch(`${where} ${type.reason}`, type.fix))
  return usual
}

function missingColumns(schema: TableSchema, wanted: WantedTable | null): Problem[] {
  const names = new Set(schema.columns.map(({ name }) => name))
  return [...(wanted?.columns.keys() ?? [])]
    .filter((name) => !names.has(name))
    .map((name) =>
      mismatch(
        `a client's schema has a column "${name}" of table ${tableName(schema)}, and the source does not`,
        `Columns of the source: ${[...names].join(', ')}. Names with another case are others.`,
      ),
    )
}

function mismatch(message: string, fix: string): Problem {
  return { severity: 'error', code: 'zero/schema-mismatch', message, fix }
}
