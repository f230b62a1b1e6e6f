import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { TcpProxy } from '../../src/testkit/tcp-proxy.ts'
import { ChaosPipeline } from '../support/chaos-pipeline.ts'
import { sql, type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import type { SteeredCli } from '../support/steered-cli.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'

/**
 * A link that is down or bad for longer than the server waits for a sign of life. SLUICE_OUTAGE_SECONDS is how long the
 * sink refuses every write: minutes, for a long run.
 */
const REFUSED_SECONDS = Number(process.env['SLUICE_OUTAGE_SECONDS'] ?? 20)
const WAL_SENDER_TIMEOUT_SECONDS = 2
const BAD_SECONDS = 3

/** Makes a link bad; called again and again, as connections come and go. */
type Fault = (link: TcpProxy) => void

const refused: Fault = (link) => {
  link.refuse(true)
  link.cut()
}

let postgres: TestPostgres
let load: StepLoad
let pipeline: ChaosPipeline

beforeAll(async () => {
  postgres = await testPostgres('outage')
  // For the connections of this database, those for replication included.
  await postgres.sql(
    `ALTER DATABASE ${postgres.database} SET wal_sender_timeout = '${WAL_SENDER_TIMEOUT_SECONDS}s'`,
  )
  load = new StepLoad(postgres.url, seeded('outage'))
  await load.prepare()
  pipeline = await ChaosPipeline.make({
    name: postgres.database,
    source: postgres.url,
    requestTimeout: '1s',
  })
  pipeline.start()
})

beforeEach(async () => {
  // A test that ended it has failed; the others have nothing to do with that.
  if (pipeline.run.exit !== null) pipeline.start()
  await pipeline.untilEqual(STEP_TABLES)
})

afterEach(() => {
  heal(pipeline.sourceLink)
  heal(pipeline.sinkLink)
})

afterAll(async () => {
  await pipeline?.[Symbol.asyncDispose]()
  await postgres?.[Symbol.asyncDispose]()
})

/** Passes when so many seconds have passed on the server's clock, with `during` again and again. */
async function onTheServer(seconds: number, during: () => Promise<void>): Promise<void> {
  const [start] = await sql<{ at: string }>(postgres.url, 'SELECT now()::text AS at')
  const isOver = async (): Promise<boolean> => {
    await during()
    const [row] = await sql<{ over: boolean }>(
      postgres.url,
      'SELECT now() > $1::timestamptz + make_interval(secs => $2) AS over',
      [start!.at, seconds],
    )
    return row!.over
  }
  await pipeline.run.until(`${seconds} seconds have passed on the server`, isOver, seconds * 1000 + 20_000)
}

/** Lets everything pass again. */
function heal(link: TcpProxy): void {
  link.refuse(false)
  link.resume()
}

/** The process is there, source and target become equal, and the slot is in use. */
async function recovered(run: SteeredCli): Promise<void> {
  await load.step()
  await pipeline.untilEqual(STEP_TABLES)
  await run.until('it streams', async () => (await pipeline.slot())!.pid !== null)
  expect(run).toBe(pipeline.run)
  expect(run.exit).toBeNull()
}

describe('a sink whose link is', () => {
  /** Makes the link bad for so long. All the time the slot is in use by the same backend (law L10). */
  async function outage(seconds: number, fault: Fault, alsoHolds: () => Promise<void>): Promise<void> {
    const { run, sinkLink } = pipeline
    const from = run.log.length
    const { pid } = (await pipeline.slot())!
    fault(sinkLink)
    await run.until('the sink fails', async () => {
      await load.step()
      fault(sinkLink)
      return run.codes(from).length > 0
    })
    await onTheServer(seconds, async () => {
      await load.step()
      fault(sinkLink)
      expect((await pipeline.slot())!.pid).toBe(pid)
      await alsoHolds()
    })
    const before = (await pipeline.slot())!.confirmed
    heal(sinkLink)
    await recovered(run)
    await run.until('the slot moves on', async () => (await pipeline.slot())!.confirmed > before)
    expect((await pipeline.slot())!.pid).toBe(pid)
    expect(run.codes(from).filter((code) => !code.startsWith('clickhouse/'))).toEqual([])
  }

  /** Nothing gets through, so nothing is durable that the server could be told of. */
  function unmoved(): () => Promise<void> {
    let held: bigint | null = null
    return async () => {
      const { confirmed } = (await pipeline.slot())!
      held ??= confirmed
      expect(confirmed).toBe(held)
    }
  }

  it(
    `refused for ${REFUSED_SECONDS} seconds: the slot stays active and does not move (PG-3)`,
    async () => {
      const before = pipeline.sinkLink.refused
      await outage(REFUSED_SECONDS, refused, unmoved())
      expect(pipeline.sinkLink.refused).toBeGreaterThan(before + 3)
    },
    REFUSED_SECONDS * 1000 + 120_000,
  )

  it.each(['both', 'toServer', 'toClient'] as const)('stalled (%s): the same', async (direction) => {
    await outage(BAD_SECONDS, (link) => link.stall(direction), unmoved())
    expect(pipeline.run.codes()).toContain('clickhouse/timeout')
  })

  it.each(['toServer', 'toClient'] as const)(
    'half-closed again and again (%s): the slot stays active',
    async (direction) => {
      const from = pipeline.run.log.length
      await outage(
        BAD_SECONDS,
        (link) => link.halfClose(direction),
        async () => {},
      )
      expect(pipeline.run.codes(from)).not.toEqual([])
    },
  )

  it('slow: what is not done in time is repeated, nothing else fails', async () => {
    const { run, sinkLink } = pipeline
    const from = run.log.length
    const { pid } = (await pipeline.slot())!
    sinkLink.throttle(20_000, 'toServer')
    await onTheServer(BAD_SECONDS, async () => {
      await load.step()
      expect((await pipeline.slot())!.pid).toBe(pid)
    })
    heal(sinkLink)
    await recovered(run)
    expect(run.codes(from).filter((code) => !code.startsWith('clickhouse/'))).toEqual([])
  })
})

describe('a source whose link is', () => {
  it.each(['both', 'toServer'] as const)(
    'stalled (%s): the server gives it up, and it comes back',
    async (direction) => {
      const { run, sourceLink } = pipeline
      sourceLink.stall(direction)
      await onTheServer(BAD_SECONDS, () => load.step())
      await run.until('the server has given it up', async () => (await pipeline.slot())!.pid === null)
      const from = run.log.length
      heal(sourceLink)
      await recovered(run)
      expect(run.codes(from).every((code) => code.startsWith('postgres/'))).toBe(true)
    },
  )

  it('stalled (toClient): the slot stays active, as the server hears from it', async () => {
    const { run, sourceLink } = pipeline
    const { pid } = (await pipeline.slot())!
    sourceLink.stall('toClient')
    await onTheServer(BAD_SECONDS, () => load.step())
    expect(await pipeline.differences(STEP_TABLES)).not.toEqual([])
    expect((await pipeline.slot())!.pid).toBe(pid)
    heal(sourceLink)
    await recovered(run)
  })

  it.each(['toServer', 'toClient'] as const)(
    'half-closed again and again (%s): it comes back',
    async (direction) => {
      const { run, sourceLink } = pipeline
      const from = run.log.length
      await onTheServer(BAD_SECONDS, async () => {
        sourceLink.halfClose(direction)
        await load.step()
      })
      expect(run.codes(from)).toContain('postgres/connection-lost')
      heal(sourceLink)
      await recovered(run)
    },
  )

  it('gone: it comes back', async () => {
    const { run, sourceLink } = pipeline
    const from = run.log.length
    refused(sourceLink)
    await onTheServer(BAD_SECONDS, () => load.step())
    expect((await pipeline.slot())!.pid).toBeNull()
    heal(sourceLink)
    await recovered(run)
    expect(run.codes(from)).toContain('postgres/unreachable')
  })

  it('slow: nothing fails', async () => {
    const { run, sourceLink } = pipeline
    const from = run.log.length
    const { pid } = (await pipeline.slot())!
    sourceLink.throttle(20_000, 'toClient')
    await onTheServer(BAD_SECONDS, async () => {
      await load.step()
      expect((await pipeline.slot())!.pid).toBe(pid)
    })
    heal(sourceLink)
    await recovered(run)
    expect(run.codes(from)).toEqual([])
  })
})
