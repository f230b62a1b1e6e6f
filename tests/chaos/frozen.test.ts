import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ClickHouseServer, startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import { type PostgresServer, startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import { ChaosPipeline } from '../support/chaos-pipeline.ts'
import { testClickHouse } from '../support/clickhouse.ts'
import { createDatabase, sql } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import type { SteeredCli } from '../support/steered-cli.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'

/** A process that does not run for a while, but is there: SIGSTOP, a paused container, a machine that is moved. */

/** Of the server; every freeze lasts longer. */
const WAL_SENDER_TIMEOUT = '2s'

let postgres: PostgresServer
let clickhouse: ClickHouseServer
let source: string
let load: StepLoad
let pipeline: ChaosPipeline
let run: SteeredCli
const frozen = new Set<number>()

beforeAll(async () => {
  const settings = { wal_sender_timeout: WAL_SENDER_TIMEOUT }
  ;[postgres, clickhouse] = await Promise.all([startPostgres({ settings }), startClickHouse()])
  source = await createDatabase(postgres.url, 'frozen')
  load = new StepLoad(source, seeded('frozen'))
  await load.prepare()
})

beforeEach(async () => {
  pipeline = await ChaosPipeline.make({
    name: 'frozen',
    source,
    requestTimeout: '1s',
    clickhouse: await testClickHouse('frozen', clickhouse.url),
  })
  run = pipeline.start()
  await pipeline.untilEqual(STEP_TABLES)
})

afterEach(async () => {
  for (const pid of frozen) thaw(pid)
  await pipeline[Symbol.asyncDispose]()
})

afterAll(async () => {
  await Promise.all([postgres?.stop(), clickhouse?.stop()])
})

function freeze(pid: number): void {
  frozen.add(pid)
  process.kill(pid, 'SIGSTOP')
}

function thaw(pid: number): void {
  frozen.delete(pid)
  process.kill(pid, 'SIGCONT')
}

/** Passes when so much time has passed on the server's clock, with `during` again and again. */
async function onTheServer(interval: string, during: () => Promise<void> = async () => {}): Promise<void> {
  const [start] = await sql<{ at: string }>(source, 'SELECT now()::text AS at')
  await run.until(`${interval} have passed on the server`, async () => {
    await during()
    const [row] = await sql<{ over: boolean }>(
      source,
      'SELECT now() > $1::timestamptz + $2::interval AS over',
      [start!.at, interval],
    )
    return row!.over
  })
}

describe('equal after a freeze for longer than wal_sender_timeout', () => {
  it('of our process: the server gives it up, and it comes back', async () => {
    await load.step()
    freeze(run.pid)
    await run.until('the server has given it up', async () => {
      await load.step()
      return (await pipeline.slot())!.pid === null
    })
    await load.schemaStep()
    thaw(run.pid)
    await run.until('it notices', () => run.codes().some((code) => code.startsWith('postgres/')))
    await pipeline.untilEqual(STEP_TABLES)
    expect(await run.stop()).toEqual({ code: 0, signal: null })
  })

  it('of the replication backend', async () => {
    const { pid } = (await pipeline.slot())!
    freeze(pid!)
    await onTheServer('5 seconds', () => load.step())
    thaw(pid!)
    await pipeline.untilEqual(STEP_TABLES)
    expect(await run.stop()).toEqual({ code: 0, signal: null })
  })

  it('of ClickHouse: requests time out, the slot stays active and where it is', async () => {
    freeze(clickhouse.pid)
    await load.step()
    await run.until('a request times out', () => run.codes().includes('clickhouse/timeout'))
    const held = await pipeline.slot()
    await onTheServer('5 seconds', async () => {
      await load.step()
      expect(await pipeline.slot()).toEqual(held)
    })
    await load.schemaStep()
    expect(held!.pid).not.toBeNull()
    thaw(clickhouse.pid)
    await pipeline.untilEqual(STEP_TABLES)
    expect(new Set(run.codes())).toEqual(new Set(['clickhouse/timeout']))
    await run.until('the slot moves on', async () => (await pipeline.slot())!.confirmed > held!.confirmed)
  })
})
