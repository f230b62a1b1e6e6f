/** The change stream's cursor: our own `aggregate` and `getMore`, whose replies stay bytes. */
import { type ClientSession, type Document, Long, type MongoClient, Timestamp } from 'mongodb'
import { failpoint } from '../../../core/failpoint.ts'
import type { StreamStages } from './collections.ts'
import { cursorCommand } from './commands.ts'
import { EventView } from './events.ts'
import { parseTime } from './position.ts'
import { type CursorReply, tokenDocument } from './reply.ts'

/** Where a stream begins. */
export type StreamStart =
  /** Behind what the token is of. */
  | { readonly kind: 'token'; readonly token: string; readonly invalidated: boolean }
  /** With the first event of this cluster time (hex) or later. */
  | { readonly kind: 'time'; readonly at: string }

export interface CursorOptions {
  readonly client: MongoClient
  readonly stream: StreamStages
  readonly start: StreamStart
  readonly preImages: boolean
  readonly eventsPerReply: number
  /** How long the server waits for events before it answers with none, in milliseconds. */
  readonly awaitMs: number
  /** How long the first reply may take, in milliseconds; without it as long as it takes. */
  readonly firstMs?: number
  /** The same when the last event of the reply before may not have been the last of its transaction. */
  readonly transactionMs: number
}

/**
 * One reply is always being fetched while the one before is worked on. `db.command` keeps to the primary, or to the only
 * mongos, which is where the cursor is.
 */
export class ChangeCursor {
  readonly #options: CursorOptions
  readonly #session: ClientSession
  #id = 0n
  #next: Promise<CursorReply>

  private constructor(options: CursorOptions, session: ClientSession, first: CursorReply) {
    this.#options = options
    this.#session = session
    this.#id = first.cursorId
    this.#next = Promise.resolve(first)
  }

  static async open(options: CursorOptions): Promise<ChangeCursor> {
    const session = options.client.startSession({ causalConsistency: false })
    try {
      const first = await run(options, session, {
        aggregate: 1,
        pipeline: [{ $changeStream: changeStream(options) }, ...options.stream.stages],
        cursor: { batchSize: options.eventsPerReply },
        readConcern: { level: 'majority' },
        ...(options.firstMs === undefined ? {} : { maxTimeMS: options.firstMs }),
      })
      return new ChangeCursor(options, session, first)
    } catch (error) {
      await session.endSession().catch(() => {})
      throw error
    }
  }

  /** False once the server has closed the cursor; the last reply may still have to be taken. */
  get isOpen(): boolean {
    return this.#id !== 0n
  }

  async next(): Promise<CursorReply> {
    const reply = await this.#next
    this.#id = reply.cursorId
    if (reply.cursorId !== 0n) {
      this.#next = this.#more(reply.cursorId, endsInTransaction(reply))
      // Whoever asks next is told of a failure; perhaps nobody does.
      this.#next.catch(() => {})
    }
    return reply
  }

  async close(): Promise<void> {
    const { client, stream } = this.#options
    if (this.#id !== 0n) {
      const database = client.db(stream.database ?? 'admin')
      const kill = { killCursors: '$cmd.aggregate', cursors: [Long.fromBigInt(this.#id)] }
      this.#id = 0n
      await database.command(kill).catch(() => {})
    }
    await this.#session.endSession().catch(() => {})
  }

  async #more(id: bigint, inTransaction: boolean): Promise<CursorReply> {
    const { eventsPerReply, awaitMs, transactionMs } = this.#options
    const held = failpoint('source-read')
    if (held !== undefined) await held
    return run(this.#options, this.#session, {
      getMore: Long.fromBigInt(id),
      collection: '$cmd.aggregate',
      batchSize: eventsPerReply,
      maxTimeMS: inTransaction ? transactionMs : awaitMs,
    })
  }
}

function endsInTransaction({ bytes, documents }: CursorReply): boolean {
  const last = documents.at(-1)
  if (last === undefined) return false
  const view = new EventView()
  view.read(bytes, last)
  return view.txnAt >= 0
}

function changeStream({ start, preImages, stream }: CursorOptions): Document {
  return {
    // What is not stored is looked up by us, many at once.
    fullDocument: 'whenAvailable',
    ...(preImages ? { fullDocumentBeforeChange: 'whenAvailable' } : {}),
    showExpandedEvents: true,
    ...(stream.database === null ? { allChangesForCluster: true } : {}),
    ...(start.kind === 'time'
      ? { startAtOperationTime: new Timestamp(parseTime(start.at)) }
      : { [start.invalidated ? 'startAfter' : 'resumeAfter']: tokenDocument(start.token) }),
  }
}

function run(
  { client, stream }: Pick<CursorOptions, 'client' | 'stream'>,
  session: ClientSession,
  command: Document,
): Promise<CursorReply> {
  return cursorCommand(client, stream.database ?? 'admin', command, session)
}
