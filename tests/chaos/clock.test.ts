import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type ChaosOptions, ChaosPipeline } from '../support/chaos-pipeline.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { SteeredCli } from '../support/steered-cli.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'

/**
 * Somebody sets the clock of the host. The clock is a fake: the processes under test are told another time of day, as
 * nobody may set the clock of the machine that runs the tests.
 */

const HOUR = 3_600_000

let postgres: TestPostgres
let load: StepLoad
let pipeline: ChaosPipeline

beforeAll(async () => {
  postgres = await testPostgres('clock')
  load = new StepLoad(postgres.url, seeded('clock'))
  await load.prepare()
})

afterEach(async () => {
  await pipeline[Symbol.asyncDispose]()
})

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

async function streaming(options: Partial<ChaosOptions> = {}): Promise<SteeredCli> {
  pipeline = await ChaosPipeline.make({ name: postgres.database, source: postgres.url, ...options })
  const run = pipeline.start()
  await pipeline.untilEqual(STEP_TABLES)
  return run
}

describe.each([
  ['ahead', HOUR],
  ['back', -HOUR],
])('a clock that is set an hour %s', (_, aheadMs) => {
  it('does not make rows wait that were taken before', async () => {
    const run = await streaming({ flushInterval: '500ms' })
    await run.hold({ point: 'batch-cut', times: 1 })
    await load.step()
    await run.until('a batch is on its way', () => run.held !== null)
    await run.go()
    await run.setClock(aheadMs)
    await pipeline.untilEqual(STEP_TABLES)
    await load.step()
    await pipeline.untilEqual(STEP_TABLES)
    expect(run.codes()).toEqual([])
  })

  it('does not use up the time for retries', async () => {
    const run = await streaming({ options: 'retry: { budget: 10m }' })
    pipeline.sinkLink.refuse(true)
    pipeline.sinkLink.cut()
    await load.step()
    await run.until('the sink fails', () => run.codes().length > 0)
    await run.setClock(aheadMs)
    const failures = run.codes().length
    await run.until('it is tried again', () => run.codes().length >= failures + 2)
    pipeline.sinkLink.refuse(false)
    await pipeline.untilEqual(STEP_TABLES)
    // With the time used up the whole attempt would have been given up, connection to the source included.
    expect(run.log.filter(({ message }) => message.startsWith('attempt failed'))).toEqual([])
  })

  it('does not let two processes run the pipeline, whoever has the other clock', async () => {
    const run = await streaming()
    const other = new SteeredCli(['run', pipeline.config], { aheadMs })
    expect(await other.done).toEqual({ code: 3, signal: null })
    expect(other.lastWords).toContain('checkpoint/lease-held')
    await run.setClock(aheadMs)
    await load.step()
    await pipeline.untilEqual(STEP_TABLES)
    const another = new SteeredCli(['run', pipeline.config])
    expect(await another.done).toEqual({ code: 3, signal: null })
    await load.step()
    await pipeline.untilEqual(STEP_TABLES)
    expect(run.codes()).toEqual([])
  })

  it('does not make a successor wait for a process that died', async () => {
    const run = await streaming()
    await run.kill()
    await load.step()
    const successor = pipeline.start({ aheadMs })
    await pipeline.untilEqual(STEP_TABLES)
    expect(successor.codes()).toEqual([])
  })
})
