/**
 * A Zero schema, as `createSchema` of @rocicorp/zero makes it: what clients want of each table. Pure.
 *
 * zero-cache compares it with what we serve whenever a client connects, and refuses the client when a table or a column
 * is missing, when a type is another one, or when the key is no unique index of the table; all of that is found here at
 * the start instead. NULL in a column that is not optional is nothing that zero-cache or the client look for: the
 * application gets a null that its types do not know of, so that is only warned of (`plan.ts`).
 */
import { closest } from '../../../core/closest.ts'
import { ConfigError, type Problem } from '../../../core/error.ts'
import type { TableSchema } from '../../../core/table.ts'
import { internalRole } from './internal-tables.ts'
import { replicaName, zeroName } from './names.ts'
import type { WantedTable as WantedColumns } from './plan.ts'
import type { TableVersion } from './table-version.ts'
import type { ZqlType } from './types.ts'

/** What clients want of a table, by the names that the server has. */
export interface WantedTable extends WantedColumns {
  /** In no order that counts. */
  readonly primaryKey: readonly string[]
}

/** By the name of the table in the replica: without the schema for those of `public`. */
export type WantedTables = ReadonlyMap<string, WantedTable>

interface Mistake {
  readonly path: string
  /** A clause without a full stop. */
  readonly reason: string
}

const TYPES: readonly string[] = ['string', 'number', 'boolean', 'json'] satisfies readonly ZqlType[]

/** Reads a schema, which `name` stands for in messages. Throws `ConfigError` with the complete list of what is wrong. */
export function wantedTables(schema: unknown, name: string): WantedTables {
  const mistakes: Mistake[] = []
  const wanted = readTables(schema, mistakes)
  if (mistakes.length === 0) return wanted
  const lines = mistakes.map(({ path, reason }) => `  ${path === '' ? 'the schema' : path}: ${reason}`)
  throw new ConfigError('zero/schema-malformed', `${name} is no Zero schema\n${lines.join('\n')}`, {
    fix: 'Give what createSchema of @rocicorp/zero returns, or its JSON.',
  })
}

/** What to plan a source table by: null when no client wants it, undefined for tables of zero-cache's own. */
export function wantedOf(
  wanted: WantedTables,
  table: Pick<TableSchema, 'namespace' | 'name'>,
  defaultNamespace: string | null,
): WantedTable | null | undefined {
  const target = zeroName(table, defaultNamespace)
  return wanted.get(replicaName(target)) ?? (internalRole(target) === null ? null : undefined)
}

/** What clients would be refused for besides columns and types, which `planTable` looks at: the complete list. */
export function schemaProblems(wanted: WantedTables, tables: readonly TableVersion[]): readonly Problem[] {
  const served = new Map(tables.map((table) => [replicaName(table), table]))
  return [...wanted].flatMap(([name, { primaryKey }]) => {
    const table = served.get(name)
    if (table === undefined) return [missing(name, [...served.keys()])]
    const key = table.key.map((column) => column.name)
    if (key.length === primaryKey.length && key.every((column) => primaryKey.includes(column))) return []
    return [
      mismatch(
        `a client's schema has the key (${primaryKey.join(', ')}) for table ${table.source}, which has (${key.join(', ')}) in the source`,
        `Declare .primaryKey(${key.map((column) => `'${column}'`).join(', ')}) in the Zero schema.`,
      ),
    ]
  })
}

function missing(name: string, served: readonly string[]): Problem {
  const message = `a client's schema has a table "${name}", and the source has none that is called so in Zero`
  if (name.startsWith('public.')) {
    return mismatch(
      message,
      `Tables of \`defaultNamespace\` have no prefix in Zero: call it "${name.slice(7)}".`,
    )
  }
  const near = closest(name, served) ?? served.find((other) => other.endsWith(`.${name}`))
  return mismatch(
    near === undefined ? message : `${message}; did you mean "${near}"?`,
    `Tables that are served: ${served.join(', ') || 'none'}. Name one with .from('...') in the Zero schema, or leave the table out there.`,
  )
}

function mismatch(message: string, fix: string): Problem {
  return { severity: 'error', code: 'zero/schema-mismatch', message, fix }
}

function readTables(schema: unknown, mistakes: Mistake[]): WantedTables {
  const wanted = new Map<string, WantedTable>()
  if (!isObject(schema) || !isObject(schema['tables'])) {
    mistakes.push({ path: isObject(schema) ? 'tables' : '', reason: 'must be an object' })
    return wanted
  }
  const tables = Object.entries(schema['tables'])
  if (tables.length === 0) mistakes.push({ path: 'tables', reason: 'has no table' })
  for (const [key, table] of tables) {
    const path = `tables.${key}`
    if (!isObject(table)) {
      mistakes.push({ path, reason: 'must be an object' })
      continue
    }
    const name = serverName(table, optionalText(table, 'name', path, mistakes) ?? key, path, mistakes)
    if (wanted.has(name))
      mistakes.push({ path, reason: `is called "${name}" on the server, as another table is` })
    wanted.set(name, readTable(table, path, mistakes))
  }
  return wanted
}

function readTable(table: JsObject, path: string, mistakes: Mistake[]): WantedTable {
  const columns = new Map<string, { readonly type: ZqlType; readonly optional: boolean }>()
  const names = new Map<string, string>()
  if (!isObject(table['columns'])) mistakes.push({ path: `${path}.columns`, reason: 'must be an object' })
  else {
    for (const [key, column] of Object.entries(table['columns'])) {
      const at = `${path}.columns.${key}`
      const type = isObject(column) ? column['type'] : undefined
      if (!isObject(column) || typeof type !== 'string' || !TYPES.includes(type)) {
        mistakes.push({ path: `${at}.type`, reason: `must be one of ${TYPES.join(', ')}` })
        names.set(key, key)
        continue
      }
      const name = serverName(column, key, at, mistakes)
      if (columns.has(name)) {
        mistakes.push({ path: at, reason: `is called "${name}" on the server, as another column is` })
      }
      names.set(key, name)
      columns.set(name, { type: type as ZqlType, optional: column['optional'] === true })
    }
  }
  return { columns, primaryKey: readKey(table['primaryKey'], names, `${path}.primaryKey`, mistakes) }
}

function readKey(
  key: unknown,
  names: ReadonlyMap<string, string>,
  path: string,
  mistakes: Mistake[],
): readonly string[] {
  if (!Array.isArray(key) || key.length === 0) {
    mistakes.push({ path, reason: 'must be a list of columns, at least one' })
    return []
  }
  return key.flatMap((column: unknown, index) => {
    const name = typeof column === 'string' ? names.get(column) : undefined
    if (name !== undefined) return [name]
    const near = typeof column === 'string' ? closest(column, [...names.keys()]) : null
    mistakes.push({
      path: `${path}.${index}`,
      reason: `must be a column of the table${near === null ? '' : `; did you mean "${near}"?`}`,
    })
    return []
  })
}

function serverName(of: JsObject, otherwise: string, path: string, mistakes: Mistake[]): string {
  return optionalText(of, 'serverName', path, mistakes) ?? otherwise
}

function optionalText(of: JsObject, key: string, path: string, mistakes: Mistake[]): string | undefined {
  const value = of[key]
  if (value === undefined) return undefined
  if (typeof value === 'string' && value !== '') return value
  mistakes.push({ path: `${path}.${key}`, reason: 'must be text' })
  return undefined
}

type JsObject = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is JsObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
