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
import { WireReader } from './wire.ts'

/**
 * Changes per call. Each call decodes from the slot's restart point and is stored on the server before the first byte
 * is sent, so few large ones; the server checks the number at the end of a transaction only.
 */
const CHANGES_PER_CALL = 500_000
/** Bytes that COPY binary begins with (PostgreSQL documentation, COPY, "Binary Format"). */
const COPY_HEADER = 19

export interface CatchUpRequest {
  /** A connection of its own. */
  readonly sql: pg.Client
  readonly slot: string
  /** Name of the temporary copy. */
  readonly copyName: string
  readonly publication: string
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
    const { sql, slot, copyName, out } = this.#request
    try {
      await sql.query(`SELECT pg_copy_logical_replication_slot(${literal(slot)}, ${literal(copyName)}, true)`)
      while (!out.signal.aborted && !this.#follower.copyNeeded && this.#follower.decoder.lastCommit < until) {
        const before = this.#follower.decoder.lastCommit
        await this.#call()
        // Nothing but other tables' changes up to the end of the log.
        if (this.#follower.decoder.lastCommit === before) return
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

  async #call(): Promise<void> {
    const { sql, copyName, publication, out } = this.#request
    const names = literal(`"${publication.replaceAll('"', '""')}"`)
    const statement = `COPY (SELECT data FROM pg_logical_slot_get_binary_changes(${literal(copyName)}, NULL, ${CHANGES_PER_CALL},
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
