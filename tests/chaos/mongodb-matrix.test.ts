import type { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Failpoint } from '../../src/core/failpoint.ts'
import { createLoadCollections, LOAD, stepOf } from '../support/document-load.ts'
import { MongoPipeline } from '../support/mongo-pipeline.ts'
import { type TestMongo, testMongo } from '../support/mongo.ts'
import { type Random, seeded } from '../support/random.ts'

/**
 * Every place where the MongoDB source can be, times what can happen to it there: as `crash-matrix.test.ts` does it for
 * Postgres, where all other places of a pipeline are. It needs the wire server, whose members can be stopped.
 */

/** A union, an unwound array, and one that is looked up. */
const COLLECTIONS = LOAD.filter(({ name }) => ['pets', 'orders', 'things'].includes(name))

const COPYING = ['snapshot-plan', 'snapshot-read', 'snapshot-record'] as const
const POINTS: readonly Failpoint[] = [...COPYING, 'source-read']

const FAULTS = {
  SIGKILL: kill,
  'source disconnect': disconnectSource,
  'source restart': restartSource,
  election: elect,
} as const
type Fault = keyof typeof FAULTS

const PASSING = /^mongodb\/(unreachable|connection-lost|not-primary|interrupted)$/

/** A pipeline that is held, and the length of its log before the fault. */
interface Held {
  readonly pipeline: MongoPipeline
  readonly from: number
}

let mongo: TestMongo
let client: MongoClient
let random: Random
let streaming: MongoPipeline | null = null
let made = 0

beforeAll(async () => {
  random = seeded('crash matrix of MongoDB')
  mongo = await testMongo({ purpose: 'matrix', members: 3, wire: true })
  client = mongo.client
  await createLoadCollections(client.db(mongo.database), random, COLLECTIONS)
})

afterAll(async () => {
  await streaming?.[Symbol.asyncDispose]()
  await mongo?.[Symbol.asyncDispose]()
})

describe.each(POINTS)('held at %s', (point) => {
  it.each(Object.keys(FAULTS) as Fault[])('%s: equal', { timeout: 60_000 }, async (fault) => {
    const copies = point !== 'source-read'
    const pipeline = copies || streaming === null ? await newPipeline(copies) : streaming
    streaming = null
    try {
      const hold = { point, times: 1 + random.below(copies && point !== 'snapshot-plan' ? 3 : 1) }
      if (copies) pipeline.start({ hold })
      else await pipeline.run.hold(hold)
      await pipeline.run.until(`it is held at ${point}`, () => pipeline.run.held === point)
      await step()
      await FAULTS[fault]({ pipeline, from: pipeline.run.log.length })
      await step()
      await pipeline.untilEqual()
      expect(await pipeline.differences()).toEqual([])
      if (!copies) streaming = pipeline
    } finally {
      if (streaming !== pipeline) await pipeline[Symbol.asyncDispose]()
    }
  })
})

async function newPipeline(copies: boolean): Promise<MongoPipeline> {
  const name = `${mongo.database}_${++made}`
  const pipeline = await MongoPipeline.make(mongo, { name, collections: COLLECTIONS, requestTimeout: '1s' })
  if (copies) return pipeline
  pipeline.start()
  await pipeline.untilEqual()
  return pipeline
}

async function kill({ pipeline }: Held): Promise<void> {
  expect(await pipeline.run.kill()).toEqual({ code: null, signal: 'SIGKILL' })
  pipeline.start()
}

async function disconnectSource(held: Held): Promise<void> {
  const name = `sluice ${held.pipeline.name}`
  const cut = (): number => mongo.controls!.cutConnections(({ application }) => application === name)
  expect(cut()).toBeGreaterThan(0)
  // Where nothing was under way it connects again without a word: until then, once more.
  await untilGone(held, cut)
}

async function restartSource(held: Held): Promise<void> {
  const { primary } = mongo.controls!
  await mongo.controls!.stopMember(primary)
  await untilGone(held)
  await mongo.controls!.startMember(primary)
}

/** The next primary has no cursors. */
async function elect(held: Held): Promise<void> {
  const { primary } = mongo.controls!
  mongo.controls!.stepDown()
  mongo.controls!.dropCursors()
  await untilGone(held)
  expect(mongo.controls!.primary).not.toBe(primary)
}

function step(): Promise<void> {
  return stepOf(client, mongo.database, random, COLLECTIONS)
}

/** Lets it go on, under load, until an attempt has failed, or the stream was opened again without that. */
async function untilGone({ pipeline: { run }, from }: Held, again: () => void = () => {}): Promise<void> {
  await run.go()
  await run.until('it meets the fault', async () => {
    const met = run.log
      .slice(from)
      .some(({ code = '', message }) => PASSING.test(code) || message === 'the change stream is opened again')
    if (met) return true
    again()
    await step()
    return false
  })
}
