import type {
  ChangeStream,
  ChangeStreamDocument,
  Decimal128,
  Document,
  Double,
  Long,
  MongoServerError,
  ObjectId,
} from 'mongodb'
import type { TestContext } from 'vitest'

import { needsWire, testMongo, type TestMongo, type TestMongoOptions } from '../support/mongo.ts'
import type { Controls } from '../support/mongo-wire/controls.ts'

/** A document with an `_id` of one of many types. */
export interface Row extends Document {
  _id: string | number | boolean | Date | ObjectId | Long | Double | Decimal128
}

export type Event = ChangeStreamDocument & { readonly [name: string]: unknown }
export type Stream = ChangeStream<Document, ChangeStreamDocument>

/** A MongoDB whose controls the test needs; a real server skips the test, with the reason. */
export async function wireMongo(
  context: TestContext,
  options: TestMongoOptions = {},
): Promise<AsyncDisposable & { readonly mongo: TestMongo; readonly controls: Controls }> {
  const why = await needsWire()
  if (why !== null) context.skip(why)
  const mongo = await testMongo(options)
  return { mongo, controls: mongo.controls!, [Symbol.asyncDispose]: () => mongo[Symbol.asyncDispose]() }
}

/** The next events of a stream. */
export async function take(stream: Stream, count: number): Promise<Event[]> {
  const events: Event[] = []
  while (events.length < count) events.push((await stream.next()) as Event)
  return events
}

/** Makes sure that a stream is open on the server before the test writes anything. */
export async function opened(stream: Stream): Promise<Stream> {
  const event = await stream.tryNext()
  if (event !== null) throw new Error(`the stream began with ${event.operationType}`)
  return stream
}

/** The error code of what fails, or `undefined` when it does not. */
export async function codeOf(action: Promise<unknown>): Promise<number | string | undefined> {
  try {
    await action
    return undefined
  } catch (error) {
    return (error as MongoServerError).code
  }
}
