/** What packers refuse. Names collection, path, types, and an `_id` that is an ObjectId; never a value. */
import { type CoreError, PoisonRecordError, SchemaError } from '../../../../core/error.ts'
import type { TableMapping } from '../../../../core/mapping/mapping.ts'
import type { Arena } from '../../../../core/packed-rows.ts'
import { describeType } from '../../../../core/column-type.ts'
import { tableName } from '../../../../core/table.ts'
import { BsonType, eachElement, typeName } from '../bson/bson.ts'

/** Where a document lies, for what can be said of it. */
export interface DocumentBytes {
  readonly bytes: Arena
  readonly at: number
}

/** A value of BSON type `type` does not fit its column. */
export function misfit(
  mapping: TableMapping,
  column: number,
  type: number,
  document: DocumentBytes,
): PoisonRecordError {
  const { name, type: wanted } = mapping.table.columns[column]!
  return new PoisonRecordError(
    'mongodb/misfit',
    `${where(mapping, column, document)} is of BSON type ${typeName(type)}, and column "${name}" of ${tableName(mapping.table)}, which is ${describeType(wanted)}, cannot hold it exactly`,
    {
      fix: 'Correct the document, give the column a type that holds it (json holds everything), or set misfits: null.',
    },
  )
}

/** An expression, or what it read, has no value; `cause` says why. */
export function notComputed(
  mapping: TableMapping,
  column: number,
  document: DocumentBytes,
  cause: CoreError,
): PoisonRecordError {
  const { name } = mapping.table.columns[column]!
  return new PoisonRecordError(
    'mongodb/misfit',
    `${where(mapping, column, document)} cannot be made a value of column "${name}" of ${tableName(mapping.table)}: ${cause.message}`,
    { fix: 'Correct the document or the mapping, or set misfits: null.' },
  )
}

/** A filter could not read the document; `cause` says why. */
export function notFiltered(
  mapping: TableMapping,
  document: DocumentBytes,
  cause: CoreError,
): PoisonRecordError {
  return new PoisonRecordError(
    'mongodb/misfit',
    `the filter of ${tableName(mapping.table)} cannot read a document of collection "${collectionName(mapping)}"${idOf(document)}: ${cause.message}`,
    { fix: 'Correct the document or the filter.' },
  )
}

/** A column that must have a value has none. */
export function missingValue(
  mapping: TableMapping,
  column: number,
  document: DocumentBytes,
): PoisonRecordError {
  const { name } = mapping.table.columns[column]!
  const { table } = mapping
  const isKey = table.key.includes(column)
  return new PoisonRecordError(
    'mongodb/misfit',
    `${where(mapping, column, document)} is missing or null, and column "${name}" of ${tableName(table)} ${isKey ? 'is part of the key' : 'is not nullable'}`,
    {
      fix: isKey
        ? 'Correct the document, leave such documents out with a filter, or choose another key.'
        : 'Correct the document, leave such documents out with a filter, or make the column nullable.',
    },
  )
}

/** Two rows of one document have the same key. */
export function duplicateKey(mapping: TableMapping): PoisonRecordError {
  const { table } = mapping
  const columns = table.key.map((column) => `"${table.columns[column]!.name}"`).join(', ')
  return new PoisonRecordError(
    'mongodb/duplicate-key',
    `two rows of one document of collection "${collectionName(mapping)}" have the same key in ${tableName(table)} (${columns})`,
    { fix: 'Choose a key that is different for every element: add the index of the element to it.' },
  )
}

/** A key column has had values of kinds that look the same there. */
export function mixedKeys(mapping: TableMapping, column: number, classes: readonly string[]): SchemaError {
  const { name, type } = mapping.table.columns[column]!
  return new SchemaError(
    'mongodb/mixed-keys',
    `key column "${name}" of ${tableName(mapping.table)} has had values of several kinds (${classes.join(', ')}), which are different in collection "${collectionName(mapping)}" and may be equal as ${describeType(type)}`,
    {
      fix: 'Give the key column the type json, which keeps them apart, or leave one kind out with a filter.',
    },
  )
}

function collectionName({ collection }: TableMapping): string {
  return collection.namespace === null ? collection.name : `${collection.namespace}.${collection.name}`
}

function where(mapping: TableMapping, column: number, document: DocumentBytes): string {
  const rule = mapping.columns[column]!
  const what = rule.kind === 'path' ? `"${rule.path.join('.')}"` : 'a computed value'
  return `${what} in a document of collection "${collectionName(mapping)}"${idOf(document)}`
}

/** ` (_id ObjectId 65f...)`, when it is one. */
function idOf({ bytes, at }: DocumentBytes): string {
  let found = ''
  eachElement(bytes, at, bytes.length, (type, name, end, value) => {
    if (type === BsonType.objectId && end - name === 3 && bytes.latin1Slice(name, end) === '_id')
      found ||= ` (_id ObjectId ${bytes.toString('hex', value, value + 12)})`
  })
  return found
}
