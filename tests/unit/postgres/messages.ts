/** pgoutput messages by hand, as "Logical Replication Message Formats" of the PostgreSQL documentation has them. */
import type { TableSchema } from '../../../src/core/table.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import type { DecodedTable } from '../../../src/connectors/sources/postgres/relation.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'

/** Text, NULL, or an unchanged TOAST value. */
export type Cell = string | null | { readonly unchanged: true }
export const UNCHANGED_TOAST: Cell = { unchanged: true }

function int8(value: number): Buffer {
  return Buffer.from([value])
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value | 0)
  return bytes
}

export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt.asIntN(64, value))
  return bytes
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}

function tuple(cells: readonly Cell[]): Buffer {
  const parts = cells.map((cell) => {
    if (cell === null) return Buffer.from('n')
    if (typeof cell !== 'string') return Buffer.from('u')
    const bytes = Buffer.from(cell)
    return Buffer.concat([Buffer.from('t'), int32(bytes.length), bytes])
  })
  return Buffer.concat([int16(cells.length), ...parts])
}

/** Microseconds since 2000-01-01 of the commit. */
const COMMIT_MICROS = 800_000_000_123_456n
export const COMMIT_TIME_MS = 946_684_800_000 + 800_000_000_123

export function begin(finalLsn: bigint, xid = 7): Buffer {
  return Buffer.concat([Buffer.from('B'), int64(finalLsn), int64(COMMIT_MICROS), int32(xid)])
}

export function commit(finalLsn: bigint, endLsn: bigint): Buffer {
  return Buffer.concat([Buffer.from('C'), int8(0), int64(finalLsn), int64(endLsn), int64(COMMIT_MICROS)])
}

export function insert(oid: number, cells: readonly Cell[]): Buffer {
  return Buffer.concat([Buffer.from('I'), int32(oid), Buffer.from('N'), tuple(cells)])
}

export function update(
  oid: number,
  cells: readonly Cell[],
  old?: { readonly kind: 'K' | 'O'; readonly cells: readonly Cell[] },
): Buffer {
  const before = old === undefined ? [] : [Buffer.from(old.kind), tuple(old.cells)]
  return Buffer.concat([Buffer.from('U'), int32(oid), ...before, Buffer.from('N'), tuple(cells)])
}

export function remove(oid: number, kind: 'K' | 'O', cells: readonly Cell[]): Buffer {
  return Buffer.concat([Buffer.from('D'), int32(oid), Buffer.from(kind), tuple(cells)])
}

export function truncate(oids: readonly number[], flags = 0): Buffer {
  return Buffer.concat([Buffer.from('T'), int32(oids.length), int8(flags), ...oids.map(int32)])
}

export interface ColumnSpec {
  readonly name: string
  readonly identity?: boolean
  readonly type?: number
  readonly modifier?: number
}

export function relation(
  oid: number,
  name: string,
  columns: readonly ColumnSpec[],
  namespace = 'public',
): Buffer {
  return Buffer.concat([
    Buffer.from('R'),
    int32(oid),
    cString(namespace),
    cString(name),
    Buffer.from('d'),
    int16(columns.length),
    ...columns.flatMap((column) => [
      int8(column.identity === true ? 1 : 0),
      cString(column.name),
      int32(column.type ?? 25),
      int32(column.modifier ?? -1),
    ]),
  ])
}

export interface TableSpec {
  readonly columns: readonly {
    readonly name: string
    readonly type?: ColumnType
    readonly nullable?: boolean
  }[]
  readonly key?: readonly number[]
  readonly conversions?: readonly number[]
  readonly skipBelow?: bigint
  readonly full?: boolean
}

/** A table whose key is the first column, as the decoder gets it. */
export function decodedTable(name: string, spec: TableSpec): DecodedTable {
  const key = spec.key ?? [0]
  const schema: TableSchema = {
    namespace: 'public',
    name,
    columns: spec.columns.map((column, index) => ({
      id: String(index + 1),
      name: column.name,
      type: column.type ?? { kind: 'text' },
      nullable: column.nullable ?? true,
      native: 'text',
    })),
    key,
    version: 1,
  }
  return {
    schema,
    identity: Uint8Array.from(schema.columns, (_, index) =>
      spec.full === true || key.includes(index) ? 1 : 0,
    ),
    required: Uint8Array.from(schema.columns, (column) => (column.nullable ? 0 : 1)),
    conversions: spec.conversions === undefined ? null : Uint8Array.from(spec.conversions),
    skipBelow: spec.skipBelow ?? 0n,
  }
}

export function arenaOf(...parts: readonly Buffer[]): Arena {
  return Buffer.concat([...parts]) as Arena
}
