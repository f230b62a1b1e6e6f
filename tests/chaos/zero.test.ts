/** Postgres, the pipeline as a process of its own, and a real zero-cache, one of which is killed, frozen or late. */
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Failpoint } from '../../src/core/failpoint.ts'
import { processTree, residentBytes } from '../support/process-tree.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { createLoadTables, RandomLoad } from '../support/random-load.ts'
import { STEP_TABLES, StepLoad } from '../support/step-load.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { untilEqual } from '../support/zero-equality.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'
import { ZeroSubscriber } from '../support/zero-subscriber.ts'

const KILLS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 3)
const FREEZE_MS = Number(process.env['SLUICE_FREEZE_MS'] ?? 3_000)
const HANDOVERS = Number(process.env['SLUICE_HANDOVER_ROUNDS'] ?? 1)
/** Of about 10 MB each. */
const FROZEN_ROUNDS = Math.max(12, Math.ceil(FREEZE_MS / 1000))
const HANDOVER_WRITES = 10_000
const FIRST_NEW = 10_000_000
const TIMEOUT = 120_000 + KILLS * 20_000 + FREEZE_MS * 15 + HANDOVERS * 60_000
const MB = 1024 * 1024

const COPYING: readonly Failpoint[] = ['snapshot-plan', 'snapshot-read', 'snapshot-record']
/** Where a pipeline that streams to Zero comes by. */
const STREAMING: readonly Failpoint[] = [
  'source-read',
  'batch-cut',
  'sink-write',
  'sink-stored',
  'schema-before',
  'schema-after',
  'checkpoint-due',
  'checkpoint-saved',
]

let postgres: TestPostgres
let source: pg.Client
let pipeline: ZeroPipeline

beforeEach(async () => {
  postgres = await testPostgres('zero_chaos')
  source = new pg.Client({ connectionString: postgres.url })
  await source.connect()
  pipeline = await ZeroPipeline.make({
    name: postgres.database,
    source: postgres.url,
    // So little that memory which grows is the sink's.
    options: { buffer: '1MiB' },
  })
})

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') console.log(pipeline.lastWords)
  await pipeline[Symbol.asyncDispose]()
  await source.end()
  await postgres[Symbol.asyncDispose]()
})

it(
  `is equal after each of ${KILLS} kills of us or of zero-cache under load (ZE-1)`,
  async () => {
    const random = seeded('zero kill test')
    const tables = await createLoadTables(source, 4)
    const load = new RandomLoad(postgres.url, tables, random)
    pipeline.startCli()
    await using cache = await ZeroCache.start({ upstream: pipeline.url, supervised: true })
    let version: string | null = null
    for (let round = 1; round <= KILLS; round++) {
      load.start(3)
      try {
        // A moment, not a condition: where the process is killed is what is random here.
        await delay(random.below(round === 1 ? 4000 : 2000))
        const victim = random.pick(['us', 'zero-cache', 'both'])
        const exits = cache.exits.length
        if (victim !== 'zero-cache') await pipeline.kill()
        if (victim !== 'us') await cache.kill()
        if (victim !== 'zero-cache') pipeline.startCli()
        await delay(random.below(1000))
        // What it could not apply it would die of, again and again; only the initial sync may fail with us.
        const deaths = cache.exits.slice(exits).filter(({ code }) => code !== null)
        expect(version === null ? [] : deaths).toEqual([])
      } finally {
        await load.stop()
      }
      await pipeline.until('replica and source are equal', async () => {
        await untilEqual(postgres.url, cache, tables)
        return true
      })
      using replica = cache.replica()
      version ??= replica.version()
      expect(replica.version()).toBe(version)
    }
    expect(load.commits).toBeGreaterThan(KILLS)
  },
  TIMEOUT,
)

it(
  'is equal after a kill at every place where a pipeline can be',
  async () => {
    const load = new StepLoad(postgres.url, seeded('zero crash matrix'))
    await load.prepare()
    pipeline.startCli()
    await pipeline.listening()
    await using cache = await ZeroCache.start({ upstream: pipeline.url, supervised: true })
    await untilEqual(postgres.url, cache, STEP_TABLES)
    const killAt = async (point: Failpoint, step: () => Promise<void>): Promise<void> => {
      await pipeline.cli.until(`it is held at ${point}`, async () => {
        if (pipeline.cli.held === null) await step()
        return pipeline.cli.held === point
      })
      // More comes meanwhile, and time in which it could confirm what it does not have.
      await load.step()
      await delay(300)
      await pipeline.kill()
      pipeline.startCli()
      await load.step()
      await untilEqual(postgres.url, cache, STEP_TABLES)
    }
    for (const point of STREAMING) {
      await pipeline.cli.hold({ point, times: 2 })
      await killAt(point, () => (point.startsWith('schema') ? load.schemaStep() : load.step()))
    }
    expect(cache.exits).toEqual([])
    for (const point of COPYING) {
      await pipeline.stop()
      removeLog()
      pipeline.startCli({ hold: { point, times: 1 } })
      await killAt(point, async () => {})
    }
    // Each time it began anew; while it had nothing, it ended with us.
    const codes = new Set(cache.exits.map(({ code }) => code))
    expect([...codes].filter((code) => code !== 14 && code !== 255)).toEqual([])
    expect(codes).toContain(14)
  },
  TIMEOUT,
)

it(
  `neither holds the source nor memory for a zero-cache that is frozen for ${FREEZE_MS} ms, and it catches up (ZE-7)`,
  async () => {
    await postgres.sql(`CREATE TABLE large (id int8 PRIMARY KEY, doc text)`)
    // A thousand rows of 10 kB that differ, in ten transactions.
    const write = async (): Promise<void> => {
      for (let part = 0; part < 10; part++)
        await source.query(
          `INSERT INTO large SELECT coalesce((SELECT max(id) FROM large), 0) + i, repeat(md5(random()::text), 300) FROM generate_series(1, 100) i`,
        )
    }
    await write()
    const run = pipeline.startCli()
    await pipeline.listening()
    await using cache = await ZeroCache.start({ upstream: pipeline.url })
    await untilEqual(postgres.url, cache, ['large'])
    // What the process needs for such work anyhow.
    for (let round = 0; round < 3; round++) await write()
    await untilEqual(postgres.url, cache, ['large'])
    const memory = (): number => residentBytes(processTree(run.pid)) / MB
    const before = memory()
    let peak = before
    cache.freeze()
    for (let round = 0; round < FROZEN_ROUNDS; round++) {
      await write()
      peak = Math.max(peak, memory())
      await delay(FREEZE_MS / FROZEN_ROUNDS)
    }
    const [head] = await postgres.sql<{ lsn: string }>(`SELECT (pg_current_wal_lsn() - '0/0')::text AS lsn`)
    const confirmed = async (): Promise<boolean> => (await pipeline.confirmed())! >= BigInt(head!.lsn)
    await run.until('everything is confirmed to the source', confirmed, 60_000)
    peak = Math.max(peak, memory())
    cache.thaw()
    await untilEqual(postgres.url, cache, ['large'], 60_000 + FROZEN_ROUNDS * 10_000)
    // Two thirds of what was written meanwhile at least, and no more for a longer time.
    expect(peak - before).toBeLessThan(80)
    expect(cache.exits).toEqual([])
  },
  TIMEOUT,
)

it(
  'gives up a zero-cache that is away when the log is full, which then begins anew and ends equal (ZE-4, ZE-6)',
  async () => {
    await postgres.sql(`CREATE TABLE large (id int8 PRIMARY KEY, doc text)`)
    pipeline.configure({ maxLogSize: '1MB', retain: '0s' })
    pipeline.startCli()
    await pipeline.listening()
    await using cache = await ZeroCache.start({ upstream: pipeline.url, supervised: true })
    await postgres.sql(`INSERT INTO large VALUES (0, 'first')`)
    await untilEqual(postgres.url, cache, ['large'])
    const versionOf = (): string => {
      using replica = cache.replica()
      return replica.version()
    }
    const version = versionOf()
    await cache.stop()
    for (let part = 1; part <= 50; part++)
      await source.query(`INSERT INTO large VALUES (${part}, repeat(md5('${part}'), 5000))`)
    await pipeline.until(
      'the log was cut',
      () => pipeline.cli.log.some(({ level }) => level === 'warn'),
      60_000,
    )
    await cache.restart()
    await cache.until('it begins anew', () => cache.exits.some(({ code }) => code === 14), 60_000)
    await untilEqual(postgres.url, cache, ['large'])
    expect(versionOf() > version).toBe(true)
  },
  TIMEOUT,
)

it(
  `has every one of ${HANDOVER_WRITES} writes during the hand-over from snapshot to stream (ZE-2)`,
  async () => {
    await postgres.sql(`CREATE TABLE counters (id int4 PRIMARY KEY, n int4 NOT NULL);
      INSERT INTO counters SELECT i, 0 FROM generate_series(1, 2000) i`)
    pipeline.startCli()
    await pipeline.listening()
    for (let round = 0; round < HANDOVERS; round++) {
      await using cache = await ZeroCache.start({ upstream: pipeline.url })
      let writes = 0
      let ready = false
      const writer = async (seed: number): Promise<void> => {
        const client = new pg.Client({ connectionString: postgres.url })
        await client.connect()
        try {
          for (let n = seed; writes < HANDOVER_WRITES || !ready; n += 4) {
            // Nearly every write is the only one of its row, so that none can make up for another that is lost.
            const old = 1 + (n % 2000)
            const statements = [
              `DELETE FROM counters WHERE id = ${old}`,
              `UPDATE counters SET n = n + 1 WHERE id = ${old}`,
              `INSERT INTO counters VALUES (${FIRST_NEW * (round + 1) + n}, ${n})`,
            ]
            await client.query(statements[Math.min(n % 10, 2)]!)
            writes++
          }
        } finally {
          await client.end()
        }
      }
      const writing = Promise.all([0, 1, 2, 3].map(writer))
      await cache.ready().finally(() => (ready = true))
      await writing
      await untilEqual(postgres.url, cache, ['counters'])
      expect(writes).toBeGreaterThanOrEqual(HANDOVER_WRITES)
      expect(cache.exits).toEqual([])
    }
  },
  TIMEOUT,
)

it(
  'gives watermarks that rise for ever, over stops, kills and the loss of the log (ZE-3)',
  async () => {
    await postgres.sql(`CREATE TABLE rows (id int4 PRIMARY KEY)`)
    let id = 0
    const started = async (): Promise<void> => {
      pipeline.startCli()
      await pipeline.listening()
    }
    const snapshot = async (): Promise<string> => {
      await using subscriber = await ZeroSubscriber.connect({ url: pipeline.url })
      await pipeline.until('a snapshot', () => subscriber.watermark !== null)
      return subscriber.watermark!
    }
    /** Follows twenty transactions; gives the watermark of the last. */
    const follow = async (lastWatermark: string, replicaVersion: string): Promise<string> => {
      const after = { lastWatermark, replicaVersion }
      await using subscriber = await ZeroSubscriber.connect({ url: pipeline.url, after })
      for (let step = 0; step < 20; step++) await source.query(`INSERT INTO rows VALUES (${++id})`)
      await subscriber.until('the last row', () =>
        subscriber.transactions.some(({ changes }) =>
          changes.some((change) => (change['new'] as { id?: number } | undefined)?.id === id),
        ),
      )
      expect(subscriber.transactions[0]!.watermark > lastWatermark).toBe(true)
      return subscriber.watermark!
    }
    await started()
    const first = await snapshot()
    let last = first
    for (const end of ['stop', 'kill', 'kill', 'stop'] as const) {
      last = await follow(last, first)
      await pipeline[end]()
      await started()
    }
    await pipeline.stop()
    removeLog()
    await started()
    const second = await snapshot()
    expect(second > last).toBe(true)
    expect((await follow(second, second)) > second).toBe(true)
  },
  TIMEOUT,
)

/** The change log is lost with its disk. */
function removeLog(): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${pipeline.logFile}${suffix}`, { force: true })
}
