/** `_id`s and the text of key columns, in both directions. */
import { Binary, BSON, Decimal128, Double, Long, type MongoClient, ObjectId, UUID } from 'mongodb'
import type { ColumnType } from '../../../core/column-type.ts'
import type { PackedKeys } from '../../../core/row-reader.ts'
import type { TableSchema } from '../../../core/table.ts'
import type { MappedCollection } from './collections.ts'

/** Kinds of `_id`s whose order as text or number is the order of the index. */
export type IdKind = 'objectId' | 'string' | 'integer'

/**
 * The kind of all `_id`s of a collection, null when they are of several or of another. The index holds types one after the other
 * (manual, "Comparison/Sort Order"), so the first and the last tell of all between.
 */
export async function idKindOf(
  client: MongoClient,
  { database, name }: MappedCollection,
  table: TableSchema,
): Promise<IdKind | null> {
  const { kind: column } = table.columns[table.key[0]!]!.type
  if (column !== 'text' && column !== 'int') return null
  const db = client.db(database)
  const [info] = await db.listCollections({ name }).toArray()
  // With a collation, texts have another order.
  if ((info as { options?: { collation?: unknown } } | undefined)?.options?.collation !== undefined)
    return null
  const kinds = new Set<IdKind | null>()
  for (const direction of [1, -1] as const) {
    const [found] = await db
      .collection(name)
      .find({}, { projection: { _id: 1 }, sort: { _id: direction }, limit: 1, promoteValues: false })
      .toArray()
    if (found === undefined) return null
    kinds.add(kindOf(found['_id'], column))
  }
  const [kind] = kinds
  return kinds.size === 1 ? kind! : null
}

function kindOf(id: unknown, column: 'text' | 'int'): IdKind | null {
  const type = (id as { _bsontype?: string } | null)?._bsontype
  if (column === 'int') return type === 'Int32' || type === 'Long' ? 'integer' : null
  if (type === 'ObjectId') return 'objectId'
  return typeof id === 'string' ? 'string' : null
}

/** Text of an `_id` of one of the kinds, as its column has it. */
export function idText(id: unknown): string {
  return id instanceof ObjectId ? id.toHexString() : String(id)
}

/** The `_id` of such a text. */
export function parseId(kind: IdKind, text: string): unknown {
  switch (kind) {
    case 'objectId':
      return new ObjectId(text)
    case 'string':
      return text
    case 'integer':
      return Long.fromBigInt(BigInt(text))
  }
}

/** Every `_id` that a key column of this type may stand for; none when there can be none. */
export function idsOf(type: ColumnType, { arena, cells }: PackedKeys, cell: number): readonly unknown[] {
  const at = cells[cell * 2]!
  const length = cells[cell * 2 + 1]!
  if (length < 0) return []
  if (type.kind === 'bytes') {
    const bytes = Buffer.from(arena.subarray(at, at + length))
    return [new Binary(bytes), ...(length === 12 ? [new ObjectId(bytes)] : [])]
  }
  const text = arena.utf8Slice(at, at + length)
  switch (type.kind) {
    case 'int':
    case 'decimal':
      return numbersOf(text)
    case 'float':
      // Fewer digits than a double has may be those of a float.
      return [...numbersOf(text), ...(type.bits === 32 ? [new Double(Math.fround(Number(text)))] : [])]
    case 'uuid':
      return UUID.isValid(text) ? [new UUID(text)] : []
    case 'bool':
      return [text === 't']
    case 'date':
    case 'timestamp':
      return datesOf(text)
    case 'json': {
      const numbers = numbersOf(text)
      return numbers.length > 0 ? numbers : [BSON.EJSON.parse(text, { relaxed: false })]
    }
    default:
      return [
        text,
        ...(/^[0-9a-f]{24}$/.test(text) ? [new ObjectId(text)] : []),
        ...(UUID.isValid(text) ? [new UUID(text)] : []),
        ...(text === 'true' || text === 'false' ? [text === 'true'] : []),
        ...numbersOf(text),
        ...datesOf(text),
      ]
  }
}

/** The server compares numbers of all types by value; one that is no double is looked for as a decimal too. */
function numbersOf(text: string): readonly unknown[] {
  if (/^-?\d{1,18}$/.test(text)) return [Long.fromBigInt(BigInt(text))]
  if (/^(NaN|-?Infinity|-?\d+(\.\d+)?e[+-]?\d+)$/.test(text)) return [new Double(Number(text))]
  if (!/^-?\d+(\.\d+)?$/.test(text)) return []
  const digits = text.replaceAll(/\D/g, '').replace(/^0+/, '')
  return [new Double(Number(text)), ...(digits.length <= 34 ? [Decimal128.fromString(text)] : [])]
}

function datesOf(text: string): readonly unknown[] {
  if (!/^-?\d{4,}-\d\d-\d\d/.test(text)) return []
  const ms = Date.parse(text.replace(' ', 'T').replace(/\+00$/, 'Z'))
  return Number.isNaN(ms) ? [] : [new Date(ms)]
}
