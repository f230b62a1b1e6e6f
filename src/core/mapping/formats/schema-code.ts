/** TypeScript for a schema that is not written in TypeScript. */
import type { ColumnType } from '../../column-type.ts'
import type { MappingSchema, SchemaTable } from './schema.ts'

/**
 * A module with one interface per table, and `Tables` with all of them by name: the rows as `RowView.toObject` gives
 * them, when all of them is there. Fit to be written to a `.ts` or `.d.ts` file.
 */
export function schemaCode(schema: MappingSchema): string {
  const names = interfaceNames(schema.tables)
  const interfaces = schema.tables.map((table, index) => interfaceOf(table, names[index]!))
  const all = schema.tables.map(
    (table, index) => `  readonly ${propertyName(fullName(table))}: ${names[index]!}`,
  )
  return [...interfaces, `export interface Tables {\n${all.join('\n')}\n}`].join('\n\n') + '\n'
}

function interfaceOf(table: SchemaTable, name: string): string {
  const columns = table.columns.map((column) => {
    const type = `${typescriptOf(column.type)}${column.nullable ? ' | null' : ''}`
    return `  /** ${column.native.replaceAll('*/', '* /')} */\n  readonly ${propertyName(column.name)}: ${type}`
  })
  return `export interface ${name} {\n${columns.join('\n')}\n}`
}

function typescriptOf(type: ColumnType): string {
  switch (type.kind) {
    case 'bool':
      return 'boolean'
    case 'int':
      return type.bits === 64 ? 'bigint' : 'number'
    case 'float':
      return 'number'
    case 'bytes':
      return 'Uint8Array'
    case 'array':
      return arrayOf(`(${typescriptOf(type.of)} | null)`, type.dimensions)
    case 'decimal':
    case 'text':
    case 'enum':
    case 'uuid':
    case 'json':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'interval':
    case 'other':
      return 'string'
  }
}

function arrayOf(element: string, dimensions: number): string {
  return dimensions === 1 ? `readonly ${element}[]` : `readonly (${arrayOf(element, dimensions - 1)})[]`
}

function fullName({ namespace, name }: SchemaTable): string {
  return namespace === null ? name : `${namespace}.${name}`
}

/** `orderItems` and `order_items` cannot both be `OrderItems`. */
function interfaceNames(tables: readonly SchemaTable[]): readonly string[] {
  const taken = new Set(['Tables'])
  return tables.map((table) => {
    const words = fullName(table)
      .split(/[^\p{L}\p{N}]+/u)
      .filter((word) => word !== '')
    const joined = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')
    const base = /^\p{L}/u.test(joined) ? joined : `Table${joined}`
    let name = base
    for (let count = 2; taken.has(name); count++) name = `${base}${count}`
    taken.add(name)
    return name
  })
}

function propertyName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : JSON.stringify(name)
}
