/** The first copy of a large table into a real zero-cache, under load and broken in the middle (ZE-15). */
import pg from 'pg'
import { expect, it } from 'vitest'
import { processTree, residentBytes } from '../support/process-tree.ts'
import { testPostgres } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroPipeline } from '../support/zero-pipeline.ts'

const ROWS = Number(process.env['SLUICE_ZERO_ROWS'] ?? 60_000)
const TIMEOUT = 180_000 + ROWS
/** Of the whole process, whatever the size of the table. */
const BUDGET_MB = 512
const MB = 1024 * 1024

it(
  `copies ${ROWS} rows under load in bounded memory, and a copy that was broken leaves nothing behind`,
  async () => {
    await using postgres = await testPostgres('zero_large')
    await postgres.sql(`CREATE TABLE items (id int8 PRIMARY KEY, n int4 NOT NULL, name text NOT NULL, at timestamptz NOT NULL, doc jsonb);
      INSERT INTO items SELECT i, 0, 'item ' || md5(i::text), '2026-01-01'::timestamptz + i * interval '1 second', '{"a": [1, 2]}'
      FROM generate_series(1, ${ROWS}) i`)
    await using pipeline = await ZeroPipeline.make({ name: postgres.database, source: postgres.url })
    const run = pipeline.startCli()
    const said = (message: string): number => run.log.filter((line) => line.message === message).length
    let peak = 0
    const watch = setInterval(() => {
      peak = Math.max(peak, residentBytes(processTree(run.pid)) / MB)
    }, 50)
    const stop = new AbortController()
    const writing = updates(postgres.url, stop.signal)
    try {
      await using cache = await ZeroCache.start({ upstream: pipeline.url, supervised: true })
      // In the middle of the snapshot: of a small table it may be over, which does no harm.
      await run.until('a snapshot is being sent', () => said('snapshot begins') > 0, 120_000 + ROWS / 10)
      await cache.kill()
      await run.until('another snapshot was sent', () => said('snapshot sent') > 0, 120_000 + ROWS / 5)
      await cache.ready(120_000 + ROWS / 5)
      stop.abort()
      expect(await writing).toBeGreaterThan(0)
      // A server's own sums: of many rows a comparison cell by cell would measure the test.
      const sums =
        'count(*) AS rows, sum(id) AS ids, sum(n) AS n, sum(id * n) AS pairs, sum(length(name)) AS text'
      const [there] = await postgres.sql<Record<string, string>>(`SELECT ${sums} FROM items`)
      await waitFor(
        'source and replica are equal',
        () => {
          using replica = cache.replica()
          const [here] = replica.query(`SELECT ${sums} FROM items`)
          return Object.entries(there!).every(([name, value]) => String(here![name]) === value)
        },
        120_000,
      )
    } finally {
      stop.abort()
      clearInterval(watch)
    }
    console.log(`peak ${Math.round(peak)} MB`)
    expect(peak).toBeLessThan(BUDGET_MB)
  },
  TIMEOUT,
)

/** Updates rows one by one until it is stopped; returns how many. */
async function updates(url: string, signal: AbortSignal): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  let count = 0
  try {
    for (; !signal.aborted; count++)
      await client.query('UPDATE items SET n = n + 1 WHERE id = $1', [(count * 7919) % ROWS])
  } finally {
    await client.end()
  }
  return count
}
