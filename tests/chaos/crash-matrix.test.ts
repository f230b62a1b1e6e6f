import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PostgresServer, startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import { type Failpoint, FAILPOINTS } from '../../src/core/failpoint.ts'
import { ChaosPipeline } from '../support/chaos-pipeline.ts'
import { createDatabase, sql } from '../support/postgres.ts'
import { type Random, seeded } from '../support/random.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'

/**
 * Every place where a pipeline can be, times everything that can happen to it there. A process is held at the place
 * while the fault is made, so neither is left to chance; each cell proves that both were there, and that source and
 * target are equal afterwards.
 */

const FAULTS = {
  SIGKILL: kill,
  'sink error': refuseSink,
  'sink error after the write was applied': loseAnswer,
  'sink hang': hangSink,
  'source disconnect': disconnectSource,
  'source restart': restartSource,
} as const
type Fault = keyof typeof FAULTS

/** These are passed by a process that starts and copies, all others by one that streams. */
const COPYING: readonly Failpoint[] = ['snapshot-plan', 'snapshot-read', 'snapshot-record']
const CHANGING: readonly Failpoint[] = ['schema-before', 'schema-step', 'schema-after']

let server: PostgresServer
let source: string
let load: StepLoad
let random: Random
/** A pipeline that is held, and the length of its log before the fault: it may notice while it is held. */
interface Held {
  readonly pipeline: ChaosPipeline
  readonly from: number
}

const SOURCE_FAILURE = /^postgres\//
/** A request that changes something: an insert is in the address, a statement begins the body, which is chunked. */
const WRITE = /(?:query=|\r\n\r\n(?:[0-9a-f]+\r\n)?)(INSERT|CREATE|ALTER|TRUNCATE|DROP|RENAME)/

/** The pipeline that streams; every cell that needs one takes it as the cell before has left it. */
let streaming: ChaosPipeline | null = null
let made = 0
const matrix = new Map<string, string>()

beforeAll(async () => {
  random = seeded('crash matrix')
  server = await startPostgres()
  source = await createDatabase(server.url, 'matrix')
  load = new StepLoad(source, random)
  await load.prepare()
})

afterAll(async () => {
  print()
  await streaming?.[Symbol.asyncDispose]()
  await server?.stop()
})

describe.each(FAILPOINTS)('held at %s', (point) => {
  it.each(Object.keys(FAULTS) as Fault[])('%s: equal', async (fault) => {
    matrix.set(`${point} ${fault}`, 'FAILED')
    await using loan = await borrow(point)
    const { pipeline } = loan
    await reach(pipeline, point)
    const happened = await FAULTS[fault]({ pipeline, from: pipeline.run.log.length })
    await load.step()
    await pipeline.untilEqual(STEP_TABLES)
    expect(happened).not.toBe('')
    matrix.set(`${point} ${fault}`, happened)
    loan.giveBack()
  })
})

it('is equal after all of it, and ends by itself', async () => {
  const pipeline = await streamingPipeline()
  expect(await pipeline.run.stop()).toEqual({ code: 0, signal: null })
  expect(await pipeline.differences(STEP_TABLES)).toEqual([])
  expect([...matrix.values()].filter((outcome) => outcome === 'FAILED')).toEqual([])
})

function newPipeline(): Promise<ChaosPipeline> {
  return ChaosPipeline.make({ name: `matrix_${++made}`, source, requestTimeout: '1s' })
}

async function streamingPipeline(): Promise<ChaosPipeline> {
  if (streaming !== null) return streaming
  const pipeline = await newPipeline()
  pipeline.start()
  await pipeline.untilEqual(STEP_TABLES)
  return pipeline
}

interface Loan extends AsyncDisposable {
  readonly pipeline: ChaosPipeline
  /** It works: the next cell may have it. */
  giveBack(): void
}

/** A pipeline for one cell. One that copies is of no use afterwards; neither is one that was not given back. */
async function borrow(point: Failpoint): Promise<Loan> {
  const copies = COPYING.includes(point)
  const pipeline = copies ? await newPipeline() : await streamingPipeline()
  if (!copies) streaming = null
  return {
    pipeline,
    giveBack: () => {
      if (!copies) streaming = pipeline
    },
    [Symbol.asyncDispose]: async () => {
      if (streaming !== pipeline) await pipeline[Symbol.asyncDispose]()
    },
  }
}

/** Brings the pipeline to the place. */
async function reach(pipeline: ChaosPipeline, point: Failpoint): Promise<void> {
  const hold = { point, times: 1 + random.below(COPYING.includes(point) ? 2 : 3) }
  if (point === 'lease-taken') {
    // Its owner dies without giving it back, so it is a take-over.
    await pipeline.run.kill()
    pipeline.start({ hold: { point, times: 1 } })
  } else if (COPYING.includes(point)) {
    pipeline.start({ hold: point === 'snapshot-plan' ? { point, times: 1 } : hold })
  } else {
    await pipeline.run.hold(hold)
  }
  const { run } = pipeline
  await run.until(`it is held at ${point}`, async () => {
    if (run.held === null && !COPYING.includes(point) && point !== 'lease-taken')
      await (CHANGING.includes(point) ? load.schemaStep() : load.step())
    return run.held === point
  })
}

async function kill({ pipeline }: Held): Promise<string> {
  const exit = await pipeline.run.kill()
  expect(exit).toEqual({ code: null, signal: 'SIGKILL' })
  pipeline.start()
  return 'killed'
}

async function refuseSink(held: Held): Promise<string> {
  const { sinkLink } = held.pipeline
  const { refused } = sinkLink
  sinkLink.refuse(true)
  sinkLink.cut()
  await untilFailed(held, 'clickhouse/connection', () => sinkLink.refused > refused)
  sinkLink.refuse(false)
  return 'refused'
}

/** The server has done what a request asked for, and only the answer is lost. */
async function loseAnswer(held: Held): Promise<string> {
  const { sinkLink } = held.pipeline
  const requests = new WeakMap<object, string>()
  let lost: string | null = null
  sinkLink.inspect = (bytes, direction, connection) => {
    const text = bytes.toString('latin1', 0, 8192)
    if (direction === 'toServer') {
      requests.set(connection, (requests.get(connection) ?? '') + text)
      return 'pass'
    }
    const write = WRITE.exec(requests.get(connection) ?? '')
    requests.delete(connection)
    if (write === null || !text.startsWith('HTTP/1.1 200 ')) return 'pass'
    // One may be asked for again without a word: until the failure shows, none arrives.
    lost ??= write[1]!
    return 'cut'
  }
  await untilFailed(held, 'clickhouse/connection', () => lost !== null)
  sinkLink.inspect = null
  return `lost ${lost}`
}

async function hangSink(held: Held): Promise<string> {
  const { sinkLink } = held.pipeline
  const direction = random.pick(['toServer', 'toClient', 'both'] as const)
  sinkLink.stall(direction)
  await untilFailed(held, 'clickhouse/timeout')
  sinkLink.resume()
  return `hung ${direction}`
}

async function disconnectSource(held: Held): Promise<string> {
  const { pipeline } = held
  if (random.chance(0.5) && (await terminate(pipeline)) > 0) {
    await untilFailed(held, SOURCE_FAILURE)
    return 'terminated'
  }
  pipeline.sourceLink.refuse(true)
  pipeline.sourceLink.cut()
  await untilFailed(held, SOURCE_FAILURE)
  pipeline.sourceLink.refuse(false)
  return 'cut'
}

/** Ends its connections on the server; gives how many there were. */
async function terminate({ name }: ChaosPipeline): Promise<number> {
  const ended = await sql(
    source,
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
    [`sluice ${name}`],
  )
  return ended.length
}

async function restartSource(held: Held): Promise<string> {
  const { pipeline } = held
  const { pid } = server
  // Only who is connected is sure to notice an orderly restart.
  const orderly = pipeline.sourceLink.connections > 0 && random.chance(0.5)
  const restarted = orderly ? server.restart() : server.kill()
  await untilFailed(held, SOURCE_FAILURE)
  await restarted
  if (!orderly) await server.restart()
  expect(server.pid).not.toBe(pid)
  return orderly ? 'restarted' : 'crashed'
}

/** Lets the pipeline go on, under load as long as the source is there, until it has met the fault. */
async function untilFailed(
  { pipeline: { run }, from }: Held,
  code: RegExp | string,
  happened: () => boolean = () => true,
): Promise<void> {
  await run.go()
  await run.until(`it fails with ${code}`, async () => {
    const failed = run.codes(from).some((one) => (code instanceof RegExp ? code.test(one) : code === one))
    if (failed && happened()) return true
    if (code !== SOURCE_FAILURE) await load.step()
    return false
  })
}

function print(): void {
  const faults = Object.keys(FAULTS)
  const rows = FAILPOINTS.map((point) => [
    point,
    ...faults.map((fault) => matrix.get(`${point} ${fault}`) ?? '-'),
  ])
  const all = [['', ...faults], ...rows]
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)))
  console.log(all.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')).join('\n'))
}
