import type { ColumnType } from '../../column-type.ts'
import type { Json } from '../../position.ts'
import type { JsonPath } from '../normalized.ts'
import { isObject, type JsonObject, orNearest, type Reading } from './reading.ts'
import {
  KNOWN_TYPE_NAMES,
  POSTGRES_TYPE_NAMES,
  typeOfEarlierName,
  typeOfName,
  typeOfPostgresName,
} from './schema-types.ts'
import type { SchemaColumn, SchemaFormat } from './schema.ts'

const COLUMN_KEYS: Readonly<Record<SchemaFormat, readonly string[]>> = {
  named: ['type', 'optional', 'customType'],
  specs: ['pos', 'dataType', 'type', 'notNull', 'characterMaximumLength', 'dflt', 'elemPgTypeClass'],
  tables: ['type', 'notNull'],
  zero: ['type', 'optional', 'customType', 'serverName'],
  sluice: ['type', 'nullable'],
}

/** A type with whether NULL is allowed, as it was written. */
export interface DeclaredType {
  readonly type: ColumnType
  readonly nullable: boolean
  readonly native: string
}

export function readColumn(
  format: SchemaFormat,
  name: string,
  json: Json,
  path: JsonPath,
  reading: Reading,
): SchemaColumn | null {
  if (format === 'sluice' && typeof json === 'string') {
    const declared = readDeclaredType(json, path, reading)
    return declared === null ? null : { name, alias: null, ...declared, place: reading.place(path) }
  }
  if (!isObject(json)) {
    const form =
      format === 'sluice'
        ? 'a type such as "decimal(12,2)", with ? behind it for NULL'
        : 'an object with a type'
    return reading.wrong(path, `must be ${form}`)
  }
  reading.onlyKeys(json, COLUMN_KEYS[format], path)
  const declared = readType(format, json, path, reading)
  const serverName = reading.optionalText(json['serverName'], [...path, 'serverName'])
  if (declared === null) return null
  return {
    name: serverName ?? name,
    alias: serverName === null ? null : name,
    ...declared,
    nullable: nullable(format, json, declared, path, reading),
    place: reading.place(path),
  }
}

/** `decimal(12,2)`, or `decimal(12,2)?` where NULL is allowed. */
export function readDeclaredType(
  json: Json | undefined,
  path: JsonPath,
  reading: Reading,
  typeOf = typeOfName,
): DeclaredType | null {
  const text = reading.text(json, path)
  if (text === null) return null
  const name = text.replace(/\?$/, '')
  const type = typeOf(name)
  if (type !== null) return { type, nullable: text.endsWith('?') || name === 'null', native: text }
  return unknownType(name, KNOWN_TYPE_NAMES, path, reading)
}

function readType(
  format: SchemaFormat,
  column: JsonObject,
  path: JsonPath,
  reading: Reading,
): DeclaredType | null {
  if (format !== 'specs' || column['dataType'] === undefined) {
    const typeOf = format === 'sluice' ? typeOfName : typeOfEarlierName
    return readDeclaredType(column['type'], [...path, 'type'], reading, typeOf)
  }
  const at = [...path, 'dataType']
  const name = reading.text(column['dataType'], at)
  if (name === null) return null
  const element = name.replace(/\[\]$/, '')
  const type = typeOfPostgresName(element)
  if (type === null) return unknownType(name, POSTGRES_TYPE_NAMES, at, reading)
  const isArray = element !== name
  return { type: isArray ? { kind: 'array', of: type, dimensions: 1 } : type, nullable: true, native: name }
}

function unknownType(name: string, known: readonly string[], path: JsonPath, reading: Reading): null {
  return reading.wrong(
    path,
    `is the unknown type "${name}"${orNearest(name, known)}; there are ${known.join(', ')}`,
  )
}

/** Zero means NOT NULL by saying nothing, table specs mean the opposite. */
function nullable(
  format: SchemaFormat,
  column: JsonObject,
  declared: DeclaredType,
  path: JsonPath,
  reading: Reading,
): boolean {
  const said = (key: string): boolean | null => reading.optionalBoolean(column[key], [...path, key])
  switch (format) {
    case 'specs':
    case 'tables':
      return said('notNull') !== true
    case 'named':
    case 'zero':
      return said('optional') ?? declared.nullable
    case 'sluice':
      return said('nullable') ?? declared.nullable
  }
}
