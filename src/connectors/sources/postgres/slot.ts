/** Publication and replication slot: making, checking, and the snapshot that a new slot comes with. */
import type pg from 'pg'
import { PositionLostError, SchemaError } from '../../../core/error.ts'
import { type CatalogTable, identifier, literal, readPublication, readSlot } from './catalog.ts'
import { postgresError } from './errors.ts'
import { formatLsn, parseLsn } from './position.ts'

/**
 * A slot made in a transaction that sees exactly the commits before `lsn`; the slot's stream begins with the first
 * one at or after it. The snapshot lives as long as the transaction on this connection.
 */
export interface SlotSnapshot {
  readonly lsn: bigint
  /** For `SET TRANSACTION SNAPSHOT` on other connections. */
  readonly snapshot: string
}

/**
 * Makes a slot on a replication connection and leaves its snapshot transaction open there. Waits for all transactions
 * that are open on the server, at most `lockTimeoutMs`. (PostgreSQL documentation, "Streaming Replication Protocol",
 * CREATE_REPLICATION_SLOT; the option list without parentheses works on every version.)
 */
export async function createSlot(
  replication: pg.Client,
  name: string,
  options: { readonly temporary: boolean; readonly lockTimeoutMs: number },
): Promise<SlotSnapshot> {
  try {
    await replication.query(`SET lock_timeout = ${options.lockTimeoutMs}`)
    await replication.query('BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ')
    const created = await replication.query<{ consistent_point: string }>(
      `CREATE_REPLICATION_SLOT ${identifier(name)}${options.temporary ? ' TEMPORARY' : ''} LOGICAL pgoutput USE_SNAPSHOT`,
    )
    const exported = await replication.query<{ name: string }>('SELECT pg_export_snapshot() AS name')
    return { lsn: parseLsn(created.rows[0]!.consistent_point), snapshot: exported.rows[0]!.name }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === '55000') {
      throw new SchemaError(
        'postgres/wal-level',
        `cannot create the replication slot "${name}": ${error.message}`,
        {
          fix: 'The server must be a primary with wal_level = logical.',
          cause: error,
        },
      )
    }
    throw postgresError(error, `create the replication slot "${name}"`)
  }
}

/** Publishes exactly these tables: a table without a replica identity must never be published by surprise. */
export async function createPublication(
  client: pg.Client,
  name: string,
  tables: readonly CatalogTable[],
): Promise<void> {
  const list = tables.map((table) => `${identifier(table.namespace)}.${identifier(table.name)}`).join(', ')
  try {
    await client.query(
      `CREATE PUBLICATION ${identifier(name)} FOR TABLE ${list} WITH (publish_via_partition_root = true)`,
    )
  } catch (error) {
    throw postgresError(error, `create the publication "${name}"`)
  }
}

/** Throws `PositionLostError` unless the slot can still stream from `from` (law L3). */
export async function requireSlot(client: pg.Client, name: string, from: bigint): Promise<void> {
  const slot = await readSlot(client, name)
  if (slot === null) {
    throw new PositionLostError(
      'postgres/slot-missing',
      `the replication slot "${name}" does not exist any more, so the changes since ${formatLsn(from)} are gone`,
      {
        fix: COPY_AGAIN,
      },
    )
  }
  refuseLost(name, slot.walStatus)
  if (slot.confirmed !== null && slot.confirmed > from) {
    throw new PositionLostError(
      'postgres/slot-ahead',
      `the replication slot "${name}" was moved to ${formatLsn(slot.confirmed)}, past the stored position ${formatLsn(from)}`,
      { fix: `Something else reads this slot, or an old checkpoint file was put back. ${COPY_AGAIN}` },
    )
  }
}

export function refuseLost(name: string, walStatus: string | null): void {
  if (walStatus !== 'lost') return
  throw new PositionLostError(
    'postgres/slot-lost',
    `the server has removed WAL that the replication slot "${name}" still needed`,
    {
      fix: `Drop it with SELECT pg_drop_replication_slot(${literal(name)}), raise max_slot_wal_keep_size, then copy again: remove the checkpoint file of the pipeline and start.`,
    },
  )
}

/** PostgreSQL 18 streams nothing, silently, when the publication is missing. */
export async function requirePublication(client: pg.Client, name: string): Promise<void> {
  if ((await readPublication(client, name)) !== null) return
  throw new PositionLostError(
    'postgres/publication-missing',
    `the publication "${name}" does not exist any more, so changes may be missing from the log`,
    { fix: COPY_AGAIN },
  )
}

/** LSNs of another cluster mean nothing. */
export function requireCluster(stored: string, current: string): void {
  if (stored === current) return
  throw new PositionLostError(
    'postgres/other-cluster',
    'the server is another cluster than the one that the stored position belongs to',
    { fix: `Check the address; after a restore or a migration copy again. ${COPY_AGAIN}` },
  )
}

const COPY_AGAIN = 'To copy all tables again, remove the checkpoint file of the pipeline and start.'
