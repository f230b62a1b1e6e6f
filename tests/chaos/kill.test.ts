import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { differences } from '../support/equality.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { createLoadTables, RandomLoad } from '../support/random-load.ts'

const ROUNDS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 20)
const TABLES = 10

let postgres: TestPostgres
let clickhouse: TestClickHouse
let source: pg.Client
let folder: string

beforeAll(async () => {
  postgres = await testPostgres('kill')
  clickhouse = await testClickHouse('kill')
  source = new pg.Client({ connectionString: postgres.url })
  await source.connect()
  folder = mkdtempSync(join(tmpdir(), 'sluice-kill-'))
})

afterAll(async () => {
  await source?.end()
  await postgres?.[Symbol.asyncDispose]()
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

it(`is equal after ${ROUNDS} rounds of random load and SIGKILL at random moments`, async () => {
  const random = seeded('kill test')
  const tables = await createLoadTables(source, TABLES)
  const config = join(folder, 'pipeline.yaml')
  writeFileSync(
    config,
    `
name: ${postgres.database}
source: { type: postgres, url: '${postgres.url}', heartbeat: 500ms, schemaPoll: 1s }
tables: ['public.*']
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: ${clickhouse.database}, flushInterval: 100ms } }
checkpoint: { interval: 50ms }
`,
  )
  const load = new RandomLoad(postgres.url, tables, random)
  load.start(4)
  let killed = 0
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      const run = startCli(['run', config, '--json'])
      // A moment, not a condition: where the process is killed is what is random here. About half a second is start-up.
      await Promise.race([delay(400 + random.below(2000)), run.done])
      expect(run.child.exitCode, `round ${round} ended by itself:\n${run.stderr()}`).toBe(null)
      run.child.kill('SIGKILL')
      await run.done
      killed++
    }
  } finally {
    await load.stop()
  }
  expect(killed).toBe(ROUNDS)
  expect(load.commits).toBeGreaterThan(ROUNDS)
  const last = startCli(['run', config, '--once', '--json'])
  const end = await last.done
  expect(end.code, last.stderr()).toBe(0)
  const found: string[] = []
  for (const table of tables) found.push(...(await differences(source, clickhouse.client, table)))
  expect(found.slice(0, 20), `seed ${random.seed}`).toEqual([])
}, 300_000)
