import { DatabaseSync } from 'node:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ChaosPipeline } from '../support/chaos-pipeline.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'

let disk: SmallDisk
let postgres: TestPostgres
let load: StepLoad
let pipeline: ChaosPipeline

/** Why there is no small disk, if there is none. */
let missing: string | null = null

beforeAll(async () => {
  const mounted = SmallDisk.mount()
  if (typeof mounted !== 'string') disk = mounted
  else console.log(`skipped: ${(missing = mounted)}`)
  postgres = await testPostgres('disk')
  load = new StepLoad(postgres.url, seeded('disk full'))
  await load.prepare()
})

beforeEach(async (test) => {
  if (missing !== null) test.skip(missing)
  pipeline = await ChaosPipeline.make({
    name: postgres.database,
    source: postgres.url,
    checkpoints: disk.folder,
    options: 'retry: { startBudget: 5s }',
  })
})

afterEach(async () => {
  await pipeline?.[Symbol.asyncDispose]()
  disk?.free()
})

afterAll(async () => {
  disk?.[Symbol.dispose]()
  await postgres?.[Symbol.asyncDispose]()
})

/** The stored position as the slot counts, in bytes. */
function stored(): bigint {
  const file = new DatabaseSync(pipeline.checkpoint, { readOnly: true })
  const row = file.prepare('SELECT body FROM checkpoint').get() as { body: string }
  file.close()
  const { lsn } = (JSON.parse(row.body) as { position: { resume: { lsn: string } } }).position.resume
  const [high, low] = lsn.split('/').map((half) => BigInt(`0x${half}`)) as [bigint, bigint]
  return (high << 32n) | low
}

/** Several transactions, each of which would be a position to store. */
async function work(): Promise<void> {
  for (let step = 0; step < 10; step++) await load.step()
}

describe('a disk without space for the checkpoint', () => {
  it('is reported; the sink goes on, the source keeps its log from the stored position; later all is well', async () => {
    const run = pipeline.start()
    await pipeline.untilEqual(STEP_TABLES)
    disk.fill()
    await run.until('it reports the full disk', async () => {
      await load.step()
      return run.codes().includes('checkpoint/disk-full')
    })
    const line = run.log.find(({ code }) => code === 'checkpoint/disk-full')!
    expect(line).toMatchObject({ level: 'warn' })
    expect(line.message).toContain(`there is no space to write the checkpoint file ${pipeline.checkpoint}`)
    const before = stored()
    await work()
    await pipeline.untilEqual(STEP_TABLES)
    const during = (await pipeline.slot())!.confirmed
    expect(stored()).toBe(before)
    expect(during).toBeLessThanOrEqual(before)
    disk.free()
    await run.until('the position is stored', () => stored() > before)
    await run.until('the source may forget', async () => (await pipeline.slot())!.confirmed > before)
    expect((await pipeline.slot())!.confirmed).toBeLessThanOrEqual(stored())
    expect(await run.stop()).toEqual({ code: 0, signal: null })
    expect(await pipeline.differences(STEP_TABLES)).toEqual([])
  })

  it('stops a start with exit code 1 and what to do, and nothing is lost', async () => {
    const run = pipeline.start()
    await pipeline.untilEqual(STEP_TABLES)
    disk.fill()
    await run.until('it reports the full disk', async () => {
      await load.step()
      return run.codes().includes('checkpoint/disk-full')
    })
    await run.kill()
    const before = stored()
    await work()
    const failing = pipeline.start()
    expect(await failing.done).toEqual({ code: 1, signal: null })
    expect(failing.lastWords).toMatch(/no space.*\n.*fix: Free some space.*\n.*code: checkpoint\/disk-full/)
    expect((await pipeline.slot())!.confirmed).toBeLessThanOrEqual(before)
    disk.free()
    pipeline.start()
    await pipeline.untilEqual(STEP_TABLES)
  })

  it('is waited for at the very first start', async () => {
    disk.fill()
    const run = pipeline.start()
    await run.until('it reports the full disk', () => run.codes().includes('checkpoint/disk-full'))
    disk.free()
    await pipeline.untilEqual(STEP_TABLES)
    await run.until('the source may forget', async () => (await pipeline.slot())!.confirmed > 0n)
    expect((await pipeline.slot())!.confirmed).toBeLessThanOrEqual(stored())
  })
})
