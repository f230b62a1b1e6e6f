/**
 * The tables that zero-cache demands of every source (reference: `getRequiredTables` in its custom change source).
 * Pure.
 *
 * | table | what it is for |
 * |---|---|
 * | `{appID}_{shardNum}.clients` | the newest mutation of each client that is done; a mutation's promise waits for it |
 * | `{appID}_{shardNum}.mutations` | what came of mutations, until the client has seen it |
 * | `{appID}.permissions` | one row: what ad-hoc queries may read |
 *
 * A source whose API server runs custom mutators has the first two, filled by it; where the source has none, they are
 * served empty. Each is looked at once more by a running zero-cache, so its shape is checked here before anything is sent.
 */
import { closest } from '../../../core/closest.ts'
import type { Problem } from '../../../core/error.ts'
import type { TableVersion } from './table-version.ts'
import { type ZqlType, zqlType } from './types.ts'

/** Which app of a zero-cache, and which part of it; both come with each connection. */
export interface Shard {
  readonly appID: string
  readonly shardNum: number
}

export interface InternalColumn {
  readonly name: string
  readonly type: ZqlType
  /** Postgres name of the type, where we make the column. */
  readonly dataType: 'text' | 'int8' | 'jsonb' | 'boolean'
  readonly notNull: boolean
  /**
   * `required`: a source's own table must have it. `added`: where a source's own table lacks it we add it, always NULL.
   * `ours`: only our own table has it.
   */
  readonly origin: 'required' | 'added' | 'ours'
}

export interface InternalTable {
  readonly role: 'clients' | 'mutations' | 'permissions'
  /** Names in Zero, and in a source that has the table itself. */
  readonly schema: string
  readonly name: string
  readonly columns: readonly InternalColumn[]
  /** Names of columns. */
  readonly key: readonly string[]
}

const DEFAULT_SHARD: Shard = { appID: 'zero', shardNum: 0 }

const APP_ID = /^[a-z0-9_]+$/
const SHARD_NUM = /^(0|[1-9]\d{0,8})$/

/** Of the query parameters `appID` and `shardNum`, null where they are missing. */
export function readShard(
  appID: string | null,
  shardNum: string | null,
): Shard | { readonly refused: string } {
  const { appID: app, shardNum: shard } = { appID: appID ?? DEFAULT_SHARD.appID, shardNum: shardNum ?? '0' }
  if (!APP_ID.test(app)) return { refused: 'appID may only have a-z, 0-9 and _' }
  if (!SHARD_NUM.test(shard)) return { refused: 'shardNum must be a whole number' }
  return { appID: app, shardNum: Number(shard) }
}

export function internalTables({ appID, shardNum }: Shard): readonly InternalTable[] {
  const schema = `${appID}_${shardNum}`
  return [
    {
      role: 'clients',
      schema,
      name: 'clients',
      columns: [text('clientGroupID'), text('clientID'), number('lastMutationID'), USER],
      key: ['clientGroupID', 'clientID'],
    },
    {
      role: 'mutations',
      schema,
      name: 'mutations',
      columns: [text('clientGroupID'), text('clientID'), number('mutationID'), MUTATION, RESULT],
      key: ['clientGroupID', 'clientID', 'mutationID'],
    },
    {
      role: 'permissions',
      schema: appID,
      name: 'permissions',
      columns: [LOCK, PERMISSIONS, HASH],
      key: ['lock'],
    },
  ]
}

/** The internal table of any app that a table of the source is by its name; null for all others. */
export function internalRole(table: Pick<TableVersion, 'schema' | 'name'>): InternalTable | null {
  const [, appID, shardNum] = /^([a-z0-9_]+)_(\d+)$/.exec(table.schema) ?? []
  const shards: Shard[] = appID === undefined ? [] : [{ appID, shardNum: Number(shardNum) }]
  if (APP_ID.test(table.schema)) shards.push({ appID: table.schema, shardNum: 0 })
  return shards.flatMap(internalTables).find((internal) => isTable(internal, table)) ?? null
}

/** True for the internal tables of this shard, which every subscriber of it sees whole. */
export function isInternal(shard: Shard, table: Pick<TableVersion, 'schema' | 'name'>): boolean {
  return internalTables(shard).some((internal) => isTable(internal, table))
}

/** Columns that a source's own table lacks and that Zero gets besides, always NULL. */
export function addedColumns(internal: InternalTable, table: TableVersion): readonly InternalColumn[] {
  const names = columnsOf(table).map(({ name }) => name)
  return internal.columns.filter(({ name, origin }) => origin === 'added' && !names.includes(name))
}

/** Why a source's own table cannot be the internal one: the complete list. */
export function internalProblems(internal: InternalTable, table: TableVersion): readonly Problem[] {
  const columns = columnsOf(table)
  const reasons = internal.columns.flatMap(({ name, type, origin }) => {
    const column = columns.find((candidate) => candidate.name === name)
    if (column !== undefined) {
      const found = zqlType(column)
      return found === type ? [] : [`column "${name}" must be of the Zero type ${type} and is ${found}`]
    }
    if (origin !== 'required') return []
    const near = closest(
      name,
      columns.map((candidate) => candidate.name),
    )
    return [`column "${name}" is missing${near === null ? '' : `, although there is "${near}"`}`]
  })
  const key = table.key.map(({ name }) => name)
  // Rows of the others are told apart by what zero-cache finds in their keys; of permissions there is one row.
  if (internal.role !== 'permissions' && !sameNames(key, internal.key)) {
    reasons.push(`the key must be (${internal.key.join(', ')}) and is (${key.join(', ')})`)
  }
  return reasons.map((reason) => ({
    severity: 'error',
    code: 'zero/internal-table',
    message: `table ${table.source} has the name of a table that zero-cache reads, but ${reason}`,
    fix: 'Give the table the columns that the README lists, or leave it out of `tables`: then an empty one is served.',
  }))
}

function text(name: string): InternalColumn {
  return { name, type: 'string', dataType: 'text', notNull: true, origin: 'required' }
}

function number(name: string): InternalColumn {
  return { name, type: 'number', dataType: 'int8', notNull: true, origin: 'required' }
}

const USER: InternalColumn = {
  name: 'userID',
  type: 'string',
  dataType: 'text',
  notNull: false,
  origin: 'added',
}
/** Demanded at the first copy, and never read. */
const MUTATION: InternalColumn = {
  name: 'mutation',
  type: 'json',
  dataType: 'jsonb',
  notNull: false,
  origin: 'added',
}
/** What clients are told. A row without it breaks them, so it cannot be made up. */
const RESULT: InternalColumn = {
  name: 'result',
  type: 'json',
  dataType: 'jsonb',
  notNull: false,
  origin: 'required',
}
const LOCK: InternalColumn = {
  name: 'lock',
  type: 'boolean',
  dataType: 'boolean',
  notNull: true,
  origin: 'ours',
}
const PERMISSIONS: InternalColumn = {
  name: 'permissions',
  type: 'json',
  dataType: 'jsonb',
  notNull: false,
  origin: 'required',
}
const HASH: InternalColumn = {
  name: 'hash',
  type: 'string',
  dataType: 'text',
  notNull: false,
  origin: 'required',
}

function isTable(internal: InternalTable, table: Pick<TableVersion, 'schema' | 'name'>): boolean {
  return internal.schema === table.schema && internal.name === table.name
}

function columnsOf({ key, slots }: TableVersion): TableVersion['key'] {
  return [...key, ...slots.filter((slot) => slot !== null)]
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name))
}
