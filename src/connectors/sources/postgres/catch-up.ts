/**
 * A backlog read through SQL: the same pgoutput messages as in the stream, from a temporary copy of the slot, in
 * large sends instead of one per row. The slot itself stays where it is: at the durable position.
 * (PostgreSQL documentation, "Replication Management Functions".)
 */
import type pg from 'pg'
import type { RecordBatch } from '../../../core/batch.ts'
import type { Arena } from '../../../core/packed-rows.ts'
import type { BatchWriter } from '../../../core/source.ts'
import { literal } from './catalog.ts'
import { postgresError } from './errors.ts'
import type { Follower } from './follower.ts'
import { type FrameConsumer, Stop } from './frames.ts'
import { formatLsn } from './position.ts'
import { WireReader } from './wire.ts'

/** Bytes that COPY binary begins with (PostgreSQL documentation, COPY, "Binary Format"). */
const COPY_HEADER = 19

export interface CatchUpRequest {
  /** A connection of its own. */
  readonly sql: pg.Client
  readonly slot: string
  /** Name of the temporary copy. */
  readonly copyName: string
  readonly publication: string
  /**
   * Bytes of WAL per call. Each call decodes from the slot's restart point, so few large ones; but the server puts all
   * of a call's changes on its disk before it sends the first byte.
   */
  readonly walPerCall: bigint
  readonly follower: Follower
  readonly out: BatchWriter
}

export class CatchUp implements FrameConsumer {
  readonly #request: CatchUpRequest
  readonly #follower: Follower
  /** The next message begins with the header. */
  #first = true

  constructor(request: CatchUpRequest) {
    this.#request = request
    this.#follower = request.follower
  }

  /** Reads until `until` is passed, a table has to be copied, or `out.signal` is aborted. */
  async run(until: bigint): Promise<void> {
    const { sql, slot, copyName, walPerCall, out } = this.#request
    try {
      await sql.query(`SELECT pg_copy_logical_replication_slot(${literal(slot)}, ${literal(copyName)}, true)`)
      for (let at = this.#follower.reached; at < until;) {
        at = at + walPerCall < until ? at + walPerCall : until
        await this.#call(at)
        if (out.signal.aborted || this.#follower.copyNeeded) return
      }
    } catch (error) {
      throw postgresError(error, `read the backlog of the replication slot "${slot}"`)
    }
  }

  get hasRows(): boolean {
    return this.#follower.decoder.hasRows
  }

  /** One tuple: the number of fields (1, or -1 at the end), the length, and a pgoutput message. */
  copyData(arena: Arena, start: number, end: number): Stop {
    if (this.#first) {
      // Signature, flags and extension length, before the first tuple or the trailer.
      this.#first = false
      start += COPY_HEADER
    }
    if (end - start < 6 || arena[start] === 0xff) return Stop.no
    // The rest of a call is not wanted once a table has to be copied: it is read again after the copy.
    if (this.#follower.copyNeeded && !this.#follower.decoder.inTransaction) return Stop.no
    return this.#follower.decoder.message(arena, start + 6, end)
  }

  take(arena: Arena): RecordBatch {
    return this.#follower.take(arena)
  }

  attend(): Promise<void> {
    return this.#follower.attend()
  }

  /** Reads the transactions that commit before `upTo`. */
  async #call(upTo: bigint): Promise<void> {
    const { sql, copyName, publication, out } = this.#request
    const names = literal(`"${publication.replaceAll('"', '""')}"`)
    const statement = `COPY (SELECT data FROM pg_logical_slot_get_binary_changes(${literal(copyName)}, ${literal(formatLsn(upTo))}, NULL,
      'proto_version', '1', 'publication_names', ${names})) TO STDOUT (FORMAT binary)`
    this.#first = true
    const reader = new WireReader(sql, this, out)
    const stream = (sql as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
    const abort = (): void => stream.destroy()
    out.signal.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([sql.query(statement), reader.failure])
      await reader.finish()
    } catch (error) {
      abort()
      if (!out.signal.aborted) throw error
    } finally {
      out.signal.removeEventListener('abort', abort)
    }
  }
}
