import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type ClickHouseClient,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import { failpoint } from '../../../core/failpoint.ts'
import type { ClickHouseConfig } from './config.ts'
import { aborted, toClickHouseError } from './errors.ts'

/** One insert: the same body and token at every attempt. */
export interface InsertRequest {
  readonly query: string
  readonly body: Buffer
  /** Lets the server drop the insert when it has it already; also its query id. */
  readonly token: string
  /** For messages. */
  readonly table: string
}

/** Sent with every request, so that what the user's profile says changes nothing. */
const SETTINGS: ClickHouseSettings = {
  async_insert: 0,
}

const INSERT_SETTINGS: ClickHouseSettings = {
  insert_deduplicate: 1,
  input_format_skip_unknown_fields: 0,
  input_format_null_as_default: 0,
  // The columns that an insert leaves out show their default, as they do in rows older than the column.
  input_format_defaults_for_omitted_fields: 1,
  throw_on_max_partitions_per_insert_block: 0,
}

/** Requests in flight: four inserts, and a little room for reading. */
const MAX_CONNECTIONS = 8

/** The link to one server: HTTP without state. Every failure leaves it as a `CoreError`. */
export class Session {
  readonly database: string
  readonly #client: ClickHouseClient
  readonly #closed = new AbortController()
  /** Requests until their answer begins, as promises that never reject. */
  readonly #waiting = new Set<Promise<unknown>>()

  constructor(config: ClickHouseConfig) {
    this.database = config.database
    // No database is sent: all names are qualified, and a missing one must be reported as such.
    this.#client = createClient({
      url: config.url,
      username: config.username,
      password: config.password?.reveal() ?? '',
      request_timeout: config.requestTimeout,
      max_open_connections: MAX_CONNECTIONS,
      compression: { response: false, request: requestCompression(config.compression) },
      clickhouse_settings: SETTINGS,
      application: 'sluice',
      // Its own messages hold the server's text, which may quote data.
      log: { level: ClickHouseLogLevel.OFF },
    })
  }

  /** Runs a statement without a result. `what` starts the message of a failure. */
  async run(query: string, what: string, settings: ClickHouseSettings = {}): Promise<void> {
    const queryId = randomUUID()
    try {
      await this.#request(() =>
        this.#client.command({
          query,
          query_id: queryId,
          clickhouse_settings: settings,
          abort_signal: this.#closed.signal,
        }),
      )
      await failpoint('schema-step')
    } catch (error) {
      throw toClickHouseError(error, what, queryId)
    }
  }

  /** The rows of a SELECT on system tables, as arrays. */
  async rows<Row extends readonly unknown[]>(
    query: string,
    params: Record<string, unknown> = {},
    what = 'read the catalog of the server',
  ): Promise<Row[]> {
    const queryId = randomUUID()
    try {
      const result = await this.#request(() =>
        this.#client.query({
          query,
          query_id: queryId,
          query_params: params,
          format: 'JSONCompactEachRow',
          abort_signal: this.#closed.signal,
        }),
      )
      return await result.json<Row>()
    } catch (error) {
      throw toClickHouseError(error, what, queryId)
    }
  }

  /** The result of a SELECT in its own format, or null when it is longer than `maxBytes`. */
  async read(query: string, what: string, maxBytes: number): Promise<Buffer | null> {
    const queryId = randomUUID()
    try {
      const { stream } = await this.#request(() =>
        this.#client.exec({
          query,
          query_id: queryId,
          abort_signal: this.#closed.signal,
          // An error in the middle of the result must not look like its end.
          clickhouse_settings: { wait_end_of_query: 1 },
        }),
      )
      const chunks: Buffer[] = []
      let length = 0
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        length += chunk.length
        // Leaving the loop destroys the stream.
        if (length > maxBytes) return null
        chunks.push(chunk)
      }
      return Buffer.concat(chunks, length)
    } catch (error) {
      throw toClickHouseError(error, what, queryId)
    }
  }

  /** The result of a SELECT in its own format, chunk by chunk. Leaving the loop ends the request. */
  async *stream(query: string, what: string): AsyncGenerator<Buffer, void, undefined> {
    const queryId = randomUUID()
    try {
      const { stream } = await this.#request(() =>
        this.#client.exec({
          query,
          query_id: queryId,
          abort_signal: this.#closed.signal,
        }),
      )
      yield* stream as AsyncIterable<Buffer>
    } catch (error) {
      throw toClickHouseError(error, what, queryId)
    }
  }

  async insert(request: InsertRequest): Promise<void> {
    try {
      const { stream } = await this.#request(() =>
        this.#client.exec({
          query: request.query,
          values: Readable.from(bodyOf(request), { objectMode: false }),
          query_id: request.token,
          clickhouse_settings: { ...INSERT_SETTINGS, insert_deduplication_token: request.token },
          abort_signal: this.#closed.signal,
        }),
      )
      await failpoint('sink-stored')
      // The socket is only free once the (empty) answer has been read.
      await buffer(stream)
    } catch (error) {
      throw toClickHouseError(error, `insert into ${request.table}`, request.token)
    }
  }

  async #request<A>(start: () => Promise<A>): Promise<A> {
    if (this.#closed.signal.aborted) throw aborted('a request')
    const request = start()
    const waiting: Promise<unknown> = request.then(
      () => this.#waiting.delete(waiting),
      () => this.#waiting.delete(waiting),
    )
    this.#waiting.add(waiting)
    return request
  }

  /** Ends all requests. */
  async close(): Promise<void> {
    this.#closed.abort()
    // Not under them: a request that is only about to begin would open a connection that nobody closes.
    await Promise.all(this.#waiting)
    await nextTurn()
    await this.#client.close()
  }
}

async function* bodyOf(request: InsertRequest): AsyncGenerator<Buffer> {
  yield request.body
  await failpoint('sink-write')
}

function requestCompression(codec: ClickHouseConfig['compression']) {
  if (codec === 'none') return false
  // The lowest level: higher ones cost the client more than they save.
  return { codec, level: 1 }
}
