/** Names of tables, columns and indexes as zero-cache and its SQLite replica need them. Pure. */
import type { Problem } from '../../../core/error.ts'

export interface ZeroName {
  readonly schema: string
  readonly name: string
}

export interface NamedTable {
  readonly namespace: string
  readonly name: string
  readonly columns: readonly { readonly name: string }[]
}

/** Tables of this schema have no prefix in the replica, and so in a client's schema. */
const PUBLIC = 'public'
/** Behind the name of a table in that of its key's index. No table has a name with this character. */
const KEY_INDEX = '$pkey'

const TABLE_NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/
const COLUMN_NAME = /^[A-Za-z_][.A-Za-z0-9_-]*$/
/** zero-cache leaves these out by SQL's LIKE, where `_` in `_zero.%`, `sqlite_%` and `_litestream_%` is any character. */
const HIDDEN = /^(?:.zero\.|sqlite.|.litestream.)/i
const RESERVED_COLUMN = '_0_version'

/**
 * What Zero calls a table. The tables of `defaultNamespace` have no prefix, like those of a Postgres schema `public`;
 * others have their namespace.
 */
export function zeroName(
  table: Pick<NamedTable, 'namespace' | 'name'>,
  defaultNamespace: string | null,
): ZeroName {
  return { schema: table.namespace === defaultNamespace ? PUBLIC : table.namespace, name: table.name }
}

/** The name of a table or an index in the replica, and in a client's schema. */
export function replicaName({ schema, name }: ZeroName): string {
  return schema === PUBLIC ? name : `${schema}.${name}`
}

/** The name of the unique index over a table's key, within its schema. Equal to no name of a table or another index. */
export function keyIndexName(table: Pick<ZeroName, 'name'>): string {
  return `${table.name}${KEY_INDEX}`
}

/** Everything that keeps one table out of Zero because of a name. */
export function checkTableNames(table: NamedTable, defaultNamespace: string | null): Problem[] {
  const full = `${table.namespace}.${table.name}`
  const target = zeroName(table, defaultNamespace)
  const problems: Problem[] = []
  if (!TABLE_NAME.test(target.schema) || !TABLE_NAME.test(target.name))
    problems.push(
      refused(
        `table ${full} has a name that Zero does not take`,
        'Only letters, digits, `_` and `-`, with no digit in front: rename the table, or leave it out.',
      ),
    )
  else if (HIDDEN.test(replicaName(target)))
    problems.push(
      refused(
        `table ${full} has a name that Zero keeps for itself`,
        'Rename the table, or leave it out: names such as `sqlite_x`, `_litestream_x` and `_zero.x` are hidden.',
      ),
    )
  const seen = new Map<string, string>()
  for (const { name } of table.columns) {
    const problem = columnProblem(full, name) ?? caseProblem(`columns of table ${full}`, name, seen)
    if (problem !== null) problems.push(problem)
    if (!seen.has(name.toLowerCase())) seen.set(name.toLowerCase(), name)
  }
  return problems
}

/** The same for tables that are served together: also names that SQLite cannot tell apart. */
export function checkNames(tables: readonly NamedTable[], defaultNamespace: string | null): Problem[] {
  const problems = tables.flatMap((table) => checkTableNames(table, defaultNamespace))
  const seen = new Map<string, string>()
  for (const table of tables) {
    const full = `${table.namespace}.${table.name}`
    const key = replicaName(zeroName(table, defaultNamespace)).toLowerCase()
    const other = seen.get(key)
    if (other === undefined) seen.set(key, full)
    else if (other !== full)
      problems.push(
        refused(
          `tables ${other} and ${full} have the same name in Zero, which tells neither case nor the default namespace apart`,
          'Rename one of them, leave it out, or set another `defaultNamespace`.',
        ),
      )
  }
  return problems
}

function columnProblem(table: string, column: string): Problem | null {
  if (column.toLowerCase() === RESERVED_COLUMN || column === '__proto__')
    return refused(
      `column "${column}" of table ${table} has a name that Zero keeps for itself`,
      'Rename the column, or leave it out.',
    )
  if (COLUMN_NAME.test(column)) return null
  return refused(
    `column "${column}" of table ${table} has a name that Zero does not take`,
    'Only letters, digits, `_`, `-` and `.`, with none but a letter or `_` in front: rename the column, or leave it out.',
  )
}

function caseProblem(what: string, name: string, seen: ReadonlyMap<string, string>): Problem | null {
  const other = seen.get(name.toLowerCase())
  if (other === undefined) return null
  return refused(
    `${what} "${other}" and "${name}" have the same name in Zero, whose replica does not tell case apart`,
    'Rename one of them, or leave it out.',
  )
}

function refused(message: string, fix: string): Problem {
  return { severity: 'error', code: 'zero/name', message, fix }
}
