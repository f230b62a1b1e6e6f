/** The Relation message: what the rows of a table look like that follow. Pure. */
import type { TableSchema } from '../../../core/table.ts'

/** What the decoder needs to know of a table whose rows it decodes. */
export interface DecodedTable {
  readonly schema: TableSchema
  /** 1 for the columns of the replica identity: only these are meaningful in a 'K' tuple. */
  readonly identity: Uint8Array
  /** 1 for the columns that the schema calls not nullable. */
  readonly required: Uint8Array
  /** Per column; null when no column needs one. */
  readonly conversions: Uint8Array | null
  /** Rows of commits that start before this LSN are in the table's copy already. */
  readonly skipBelow: bigint
}

/** `skipBelow` of a table that has to be copied before any of its rows is wanted. */
export const SKIP_ALL = 1n << 64n

export interface RelationColumn {
  readonly name: string
  readonly type: number
  readonly modifier: number
  /** Part of the replica identity (all columns with REPLICA IDENTITY FULL). */
  readonly identity: boolean
}

/** A Relation message: the shape of the rows of that table that follow. */
export interface RelationMessage {
  readonly oid: number
  readonly namespace: string
  readonly name: string
  readonly columns: readonly RelationColumn[]
}

/** Why decoding stopped: the caller acts, then goes on. */
export type Attention =
  | { readonly kind: 'relation'; readonly relation: RelationMessage }
  | { readonly kind: 'truncate'; readonly tables: readonly TableSchema[] }
  /** A column that was declared NOT NULL holds NULL: the constraint was dropped, which no message tells. */
  | { readonly kind: 'nullable'; readonly oid: number; readonly columns: readonly number[] }

/** The fields of a Relation message. */
export function readRelation(bytes: Buffer): RelationMessage {
  let at = 5
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    const value = bytes.toString('utf8', at, end)
    at = end + 1
    return value
  }
  const oid = bytes.readUInt32BE(1)
  // An empty namespace means pg_catalog.
  const namespace = text() || 'pg_catalog'
  const name = text()
  at++
  const count = bytes.readUInt16BE(at)
  at += 2
  const columns: RelationColumn[] = []
  for (let index = 0; index < count; index++) {
    const identity = (bytes[at++]! & 1) === 1
    const column = text()
    columns.push({
      name: column,
      type: bytes.readUInt32BE(at),
      modifier: bytes.readInt32BE(at + 4),
      identity,
    })
    at += 8
  }
  return { oid, namespace, name, columns }
}
