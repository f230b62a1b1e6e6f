/** Commands whose replies hold documents as bytes. */
import { type ClientSession, type Document, Long, type MongoClient } from 'mongodb'
import type { Arena } from '../../../core/packed-rows.ts'
import { type CursorReply, readReply } from './reply.ts'

/** Runs a command that answers with a cursor. */
export async function cursorCommand(
  client: MongoClient,
  database: string,
  command: Document,
  session: ClientSession,
): Promise<CursorReply> {
  const reply = await client.db(database).command(command, { session, raw: true })
  const { buffer, byteOffset, byteLength } = reply['cursor'] as Uint8Array
  return readReply(Buffer.from(buffer, byteOffset, byteLength) as Arena)
}

/**
 * The replies of a `find`. `db.command` keeps to the primary, or to the only mongos, which is where the cursor is; the next
 * reply is fetched while the one before is worked on.
 */
export async function* findReplies(
  client: MongoClient,
  database: string,
  find: Document & { readonly find: string; readonly batchSize: number },
): AsyncGenerator<CursorReply, void, undefined> {
  const session = client.startSession({ causalConsistency: false })
  let open = 0n
  try {
    let reply = await cursorCommand(client, database, find, session)
    for (;;) {
      open = reply.cursorId
      if (open === 0n) {
        yield reply
        return
      }
      const next = cursorCommand(
        client,
        database,
        { getMore: Long.fromBigInt(open), collection: find.find, batchSize: find.batchSize },
        session,
      )
      // Perhaps nobody asks for it.
      next.catch(() => {})
      yield reply
      reply = await next
    }
  } finally {
    if (open !== 0n) {
      const kill = { killCursors: find.find, cursors: [Long.fromBigInt(open)] }
      await client
        .db(database)
        .command(kill)
        .catch(() => {})
    }
    await session.endSession().catch(() => {})
  }
}
