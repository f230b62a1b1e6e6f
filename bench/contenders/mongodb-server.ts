/**
 * The server of `bench/mongodb.ts`, in a process of its own: the one of the tests. Its change streams are replies that
 * were encoded before, `perReply` inserts each, every insert at a cluster time of its own. The stages that a client
 * asks for are not applied to them, so that all contenders get the same bytes. The collection is one that can be read.
 * Prints one JSON line when it is ready, and ends with its input. Usage: node mongodb-server.ts <options as JSON>
 */
import { BSON, MongoClient, Timestamp } from 'mongodb'
import { type CannedReply, cannedReply, CannedStream } from '../../tests/support/mongo-wire/canned.ts'
import { Cluster } from '../../tests/support/mongo-wire/cluster.ts'
import { markToken } from '../../tests/support/mongo-wire/token.ts'
import { COLLECTION, DATABASE, EVENTS_PER_SECOND, FIRST_SECOND, order } from '../mongodb/orders.ts'

export interface ServerOptions {
  readonly events: number
  readonly perReply: number
  readonly documents: number
}

/** What the line says. */
export interface ServerReady {
  readonly url: string
  /** Of one document and of one event, on average. */
  readonly documentBytes: number
  readonly eventBytes: number
}

/** Of the collection. */
const UUID = '8C1F3F0F5D2B4D27A1F14D1A52C5A1B7'
const CURSOR = `${DATABASE}.$cmd.aggregate`
const { events, perReply, documents } = JSON.parse(process.argv[2]!) as ServerOptions
const cluster = await Cluster.start()
const client = await MongoClient.connect(cluster.uri)
const database = client.db(DATABASE)
await database.createCollection(COLLECTION, { changeStreamPreAndPostImages: { enabled: true } })
for (let first = 0; first < documents; first += 10_000)
  await database
    .collection(COLLECTION)
    .insertMany(numbers(first, Math.min(first + 10_000, documents)).map(order))
await client.close()

let documentBytes = 0
let eventBytes = 0
const replies: CannedReply[] = []
for (let first = 0; first < events; first += perReply) {
  const batch = numbers(first, Math.min(first + perReply, events)).map(event)
  const time = timeOf(Math.min(first + perReply, events))
  replies.push(cannedReply(CURSOR, batch, markToken(time, 2), time))
}
const end = timeOf(events)
cluster.controls.serveCanned(() => new CannedStream(replies, CURSOR, markToken(end, 2), end))
const ready: ServerReady = {
  url: cluster.uri,
  documentBytes: documentBytes / events,
  eventBytes: eventBytes / events,
}
process.stdout.write(`${JSON.stringify(ready)}\n`)
process.stdin.once('end', () => process.exit()).resume()

/** An insert as the server tells it (manual, "insert Event"), with a token like those of MongoDB 7. */
function event(number: number): Buffer {
  const time = timeOf(number)
  const fullDocument = order(number)
  const { _id } = fullDocument
  const id = String(_id).toUpperCase()
  const data = `82${time.toString(16).toUpperCase()}2B042C0100296E5A1004${UUID}463C6F7065726174696F6E54797065003C696E736572740046646F63756D656E744B65790046645F69640064${id}000004`
  const bytes = BSON.serialize({
    _id: { _data: data },
    operationType: 'insert',
    clusterTime: new Timestamp(time),
    wallTime: new Date(Number(time >> 32n) * 1000),
    fullDocument,
    ns: { db: DATABASE, coll: COLLECTION },
    documentKey: { _id },
  })
  documentBytes += BSON.calculateObjectSize(fullDocument)
  eventBytes += bytes.length
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function timeOf(number: number): bigint {
  const second = FIRST_SECOND + Math.floor(number / EVENTS_PER_SECOND)
  return (BigInt(second) << 32n) | BigInt((number % EVENTS_PER_SECOND) + 1)
}

function numbers(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from }, (_, index) => from + index)
}
