import { sameType } from '../../../core/column-type.ts'
import { SchemaError } from '../../../core/error.ts'
import { type Column, type SchemaOperation, type TableSchema, tableName } from '../../../core/table.ts'
import type { CatalogTable } from './catalog.ts'
import {
  columnId,
  columnSql,
  createTableSql,
  type Marker,
  type NewColumn,
  type Place,
  qualified,
  quoteName,
} from './ddl.ts'
import {
  asNullable,
  asTaking,
  canHold,
  convertsExactly,
  parseType,
  type PhysicalType,
  sameBase,
  targetType,
  type TypeOptions,
} from './types.ts'

/**
 * Decides which statements bring a table to a schema. Columns are found by the source's id in their comment, never by
 * name. That makes every change harmless when it is repeated, also after a crash, when the source first announces an
 * older schema than the table has and then makes the same changes again.
 */
export interface Step {
  readonly sql: string
  /** Starts the message of a failure. */
  readonly what: string
  /** The server answers when the parts are rewritten. */
  readonly waits?: boolean
}

export interface Plan {
  readonly steps: readonly Step[]
  /** Name on the server by column id, for the columns of the schema, after the steps. */
  readonly names: ReadonlyMap<string, string>
  /** The table is dropped and made again, without its rows: the source copies it again. */
  readonly recreates: boolean
}

export interface PlanInput {
  readonly place: Place
  readonly options: TypeOptions & { readonly dropColumns: 'keep' | 'drop' }
  /** The target. */
  readonly name: string
  readonly marker: Marker
  /** What the server has; null for nothing. */
  readonly table: CatalogTable | null
  readonly schema: TableSchema
  /** The change that was announced; null when the table itself is. */
  readonly change: SchemaOperation | null
  /** SQL of the value that rows older than an added column show. */
  fallback(column: Column, type: string): string
}

export function planTable(input: PlanInput): Plan {
  const { table, schema, change } = input
  // The only column of a key may go a moment before the key that replaces it comes; rows in between are refused.
  const keyComes =
    table !== null && change !== null && change.kind !== 'change-key' && schema.key.length === 0
  if (!keyComes) requireKey(schema)
  if (table === null) return create(input, [])
  const planner = new Planner(input, table)
  if (!(keyComes || planner.sameKey()) || !planner.bringColumns()) return create(input, [dropStep(input)])
  if (change?.kind === 'drop-column') planner.dropColumn(change.column)
  return { steps: planner.steps, names: planner.names(), recreates: false }
}

/** Without a key no row could replace an older one. */
export function requireKey(schema: TableSchema): void {
  if (schema.key.length > 0) return
  throw new SchemaError(
    'clickhouse/no-key',
    `table ${tableName(schema)} has no key, so its rows cannot be replaced`,
    {
      fix: 'Give the table a primary key (Postgres: or REPLICA IDENTITY USING INDEX), or leave it out.',
    },
  )
}

function dropStep({ place, name }: PlanInput): Step {
  return { sql: `DROP TABLE IF EXISTS ${qualified(place, name)} SYNC`, what: `drop table ${name}` }
}

function create(input: PlanInput, before: readonly Step[]): Plan {
  const { place, name, schema, options, marker } = input
  const names = new Map<string, string>()
  const taken = new Set<string>([place.meta.version, place.meta.deleted])
  const columns = schema.columns.map((column, index): NewColumn => {
    const type = targetType(column, schema.key.includes(index), options)
    const physical = freeName(column, type, (candidate) => taken.has(candidate))
    taken.add(physical)
    names.set(column.id, physical)
    return { id: column.id, name: physical, type, fallback: null }
  })
  const key = schema.key.map((index) => columns[index]!.name)
  const sql = createTableSql(place, name, columns, key, marker)
  return { steps: [...before, { sql, what: `create table ${name}` }], names, recreates: before.length > 0 }
}

/** The column's own name if nothing speaks against it. */
function freeName(column: Column, type: string, taken: (name: string) => boolean): string {
  // Arrays that share a prefix before a dot would be one Nested column, and forced to equal lengths.
  const plain = type.startsWith('Array(') ? column.name.replaceAll('.', '_') : column.name
  if (!taken(plain)) return plain
  let name = `${plain}__${column.id}`
  while (taken(name)) name += '_'
  return name
}

interface Stored {
  name: string
  type: string
  readonly id: string | null
  readonly isKey: boolean
  hasDefault: boolean
}

/** Collects the steps, and keeps in mind what the table looks like after them. */
class Planner {
  readonly steps: Step[] = []
  readonly #input: PlanInput
  readonly #target: string
  readonly #sortingKey: readonly string[]
  #columns: Stored[]

  constructor(input: PlanInput, table: CatalogTable) {
    this.#input = input
    this.#target = qualified(input.place, input.name)
    this.#sortingKey = table.sortingKey
    this.#columns = table.columns.map((column) => ({
      name: column.name,
      type: column.type,
      id: columnId(column.comment),
      isKey: table.sortingKey.includes(column.name),
      hasDefault: column.defaultKind === 'DEFAULT',
    }))
  }

  /** Same key columns in the same order. */
  sameKey(): boolean {
    const wanted = this.#input.schema.key.map((index) => this.#input.schema.columns[index]!.id)
    const stored = this.#sortingKey.map((name) => this.#columns.find((column) => column.name === name)?.id)
    return wanted.length === stored.length && wanted.every((id, index) => id === stored[index])
  }

  /** False when the table has to be made again, for one when a column of the key needs another type. */
  bringColumns(): boolean {
    for (const [index, column] of this.#input.schema.columns.entries()) {
      const stored = this.#byId(column.id)
      if (stored === undefined) this.#add(column)
      else if (!this.#bring(column, stored, this.#input.schema.key.includes(index))) return false
    }
    return true
  }

  names(): ReadonlyMap<string, string> {
    return new Map(this.#input.schema.columns.map(({ id }) => [id, this.#byId(id)!.name]))
  }

  /** Later rows leave the column out; they show NULL in it where the type allows that. */
  dropColumn(column: Column): void {
    const stored = this.#byId(column.id)
    if (stored === undefined || stored.isKey || this.#input.schema.columns.some(({ id }) => id === column.id))
      return
    if (this.#input.options.dropColumns === 'drop') {
      this.#alter(`DROP COLUMN IF EXISTS ${quoteName(stored.name)}`, `drop column ${stored.name}`)
      return
    }
    if (stored.hasDefault) {
      // The default is not in the older parts yet; without this step it would be lost.
      this.#alter(`MATERIALIZE COLUMN ${quoteName(stored.name)}`, `keep the default of column ${stored.name}`)
      this.#alter(
        `MODIFY COLUMN ${quoteName(stored.name)} REMOVE DEFAULT`,
        `remove the default of ${stored.name}`,
      )
    }
    if (!stored.type.startsWith('Array(')) this.#modify(stored, asNullable(stored.type))
  }

  #byId(id: string): Stored | undefined {
    return this.#columns.find((column) => column.id === id)
  }

  #bring(column: Column, stored: Stored, isKey: boolean): boolean {
    const physical = parseType(stored.type)
    const wanted = targetType(column, isKey, this.#input.options)
    if (physical === null) throw this.#otherType(column, stored)
    // The rows go anyway, so a column gets the type that the options of today give it.
    if (this.#input.change?.kind === 'truncate' && !sameBase(physical, parseType(wanted)!)) return false
    if (!canHold(column.type, physical) || this.#isReplaced(column, stored, physical, wanted)) {
      if (stored.isKey) return false
      this.#retype(column, stored, wanted)
    } else if (column.nullable && !isKey && physical.kind === 'scalar' && !stored.isKey) {
      this.#modify(stored, asNullable(stored.type))
    }
    if (!stored.isKey) this.#rename(column, this.#byId(column.id)!)
    return true
  }

  /**
   * Whether the change gives the column another type than it has. A column whose type can hold the new values is only
   * touched when it converts, or when the source copies the table again: at a replay it has the type of a later change.
   */
  #isReplaced(column: Column, stored: Stored, physical: PhysicalType, wanted: string): boolean {
    const { change, options } = this.#input
    if (change?.kind !== 'alter-column' || change.to.id !== column.id) return false
    const to = parseType(wanted)!
    if (sameType(change.from.type, change.to.type) || sameBase(physical, to)) return false
    const from = parseType(targetType(change.from, false, options))!
    return !convertsExactly(from, asTaking(to)) || (!stored.isKey && convertsExactly(physical, asTaking(to)))
  }

  #retype(column: Column, stored: Stored, wanted: string): void {
    const physical = parseType(stored.type)!
    const type =
      physical.kind === 'scalar' && physical.nullable && !wanted.startsWith('Array(')
        ? asNullable(wanted)
        : wanted
    if (convertsExactly(physical, parseType(type)!)) {
      this.#modify(stored, type)
      return
    }
    this.#alter(`DROP COLUMN ${quoteName(stored.name)}`, `replace column ${stored.name}`)
    this.#columns = this.#columns.filter((other) => other !== stored)
    this.#add(column)
  }

  #add(column: Column): void {
    const { change, options } = this.#input
    const added = change?.kind === 'add-column' && change.column.id === column.id ? change.column : null
    const hasFallback = added?.addedDefault !== undefined && added.addedDefault !== null
    // Older rows have no value: they show the default, else NULL.
    const nullable = column.nullable || (!hasFallback && column.type.kind !== 'array')
    const type = targetType({ type: column.type, nullable }, false, options)
    const name = this.#nameFor(column, type)
    const fallback = hasFallback ? this.#input.fallback(added, type) : null
    const sql = columnSql({ id: column.id, name, type, fallback })
    this.#alter(`ADD COLUMN IF NOT EXISTS ${sql}`, `add column ${name}`)
    this.#columns.push({ name, type, id: column.id, isKey: false, hasDefault: hasFallback })
  }

  #rename(column: Column, stored: Stored): void {
    const plain = stored.type.startsWith('Array(') ? column.name.replaceAll('.', '_') : column.name
    if (stored.name === plain) return
    const name = this.#nameFor(column, stored.type)
    if (name === stored.name) return
    this.#renameTo(stored, name)
  }

  /** A free name for a column; one of ours that only lags behind is moved out of the way. */
  #nameFor(column: Column, type: string): string {
    const { version, deleted } = this.#input.place.meta
    return freeName(column, type, (name) => {
      if (name === version || name === deleted) return true
      const holder = this.#columns.find((other) => other.name === name)
      if (holder === undefined || holder.id === column.id) return false
      if (holder.id === null || holder.isKey) return true
      this.#renameTo(holder, this.#aside(holder))
      return false
    })
  }

  #aside(holder: Stored): string {
    let name = `${holder.name}__${holder.id ?? ''}`
    while (this.#columns.some((column) => column.name === name)) name += '_'
    return name
  }

  #renameTo(stored: Stored, name: string): void {
    this.#alter(
      `RENAME COLUMN ${quoteName(stored.name)} TO ${quoteName(name)}`,
      `rename column ${stored.name}`,
    )
    stored.name = name
  }

  #modify(stored: Stored, type: string): void {
    if (stored.type === type) return
    this.#alter(`MODIFY COLUMN ${quoteName(stored.name)} ${type}`, `change the type of column ${stored.name}`)
    stored.type = type
  }

  #alter(action: string, what: string): void {
    const where = `${what} of table ${this.#input.name}`
    this.steps.push({ sql: `ALTER TABLE ${this.#target} ${action}`, what: where, waits: true })
  }

  #otherType(column: Column, stored: Stored): SchemaError {
    return new SchemaError(
      'clickhouse/column-type',
      `column ${stored.name} of table ${this.#input.name} has the type ${stored.type}, which the sink does not write`,
      {
        fix: `Change it back to ${targetType(column, stored.isKey, this.#input.options)} with ALTER TABLE ... MODIFY COLUMN.`,
      },
    )
  }
}
