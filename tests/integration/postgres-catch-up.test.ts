import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { Mirror } from '../support/mirror.ts'
import {
  copyAndStop,
  dropSlots,
  readRows,
  resume,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

/** The backlog read through SQL gives exactly what the stream gives. */

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgcatchup')
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

/** Options without and with catching up, and whether it was used. */
function ways(table: string): { slow: SourceOptions; fast: SourceOptions; messages: string[] } {
  const messages: string[] = []
  const note = (message: string): void => void messages.push(message)
  const slow: SourceOptions = {
    url: postgres.url,
    pipeline: `${postgres.database}_${table}`,
    tables: [`public.${table}*`],
  }
  const fast: SourceOptions = {
    ...slow,
    config: { catchUp: 'auto', catchUpThreshold: 1 },
    // Several calls for every backlog.
    walPerCall: 100_000n,
    log: { debug: note, info: note, warn: note, error: note },
  }
  return { slow, fast, messages }
}

/** A mirror that has what `from` has. */
function clone(from: Mirror): Mirror {
  const mirror = new Mirror()
  for (const [name, { schema, rows }] of from.tables)
    mirror.tables.set(name, { schema, rows: new Map(structuredClone([...rows])) })
  return mirror
}

/** What one way gave, to be compared with the other. */
interface Outcome {
  readonly history: readonly string[]
  readonly commits: readonly string[]
  readonly rows: readonly string[]
}

/** Both ways over the same backlog, from a copy made before. */
async function bothWays(
  table: string,
  backlog: string,
): Promise<{ slow: Outcome; fast: Outcome; rows: readonly string[]; messages: readonly string[] }> {
  const { slow, fast, messages } = ways(table)
  const { mirror, position } = await copyAndStop(slow)
  const other = clone(mirror)
  for (const statements of backlog.split('\n---\n')) await postgres.sql(statements)
  await resume(slow, position, mirror)
  await resume(fast, position, other)
  const outcome = (of: Mirror): Outcome => ({
    history: of.history,
    commits: of.positions.filter(({ isCommit }) => isCommit).map(({ position: { order } }) => order),
    rows: of.rows(`public.${table}`),
  })
  return { slow: outcome(mirror), fast: outcome(other), rows: await readRows(postgres.url, table), messages }
}

describe('catching up', () => {
  it('gives the same records and positions as streaming', async () => {
    await postgres.sql(
      'CREATE TABLE mix (id int PRIMARY KEY, v text, b bytea); CREATE TABLE mix_other (id int PRIMARY KEY)',
    )
    const { slow, fast, rows, messages } = await bothWays(
      'mix',
      `INSERT INTO mix SELECT i, 'v' || i, decode(md5(i::text), 'hex') FROM generate_series(1, 3000) i
---
BEGIN; UPDATE mix SET v = NULL WHERE id % 10 = 0; DELETE FROM mix WHERE id % 7 = 0; INSERT INTO mix_other VALUES (1); COMMIT
---
TRUNCATE mix_other; INSERT INTO mix VALUES (-1, E'\\\\x', '')
---
UPDATE mix SET id = id + 10000 WHERE id < 50`,
    )
    expect(messages).toContain('catching up')
    expect(fast).toEqual(slow)
    expect(fast.rows).toEqual(rows)
  })

  it('reads values of any size', async () => {
    await postgres.sql(
      'CREATE TABLE huge (id int PRIMARY KEY, v text); ALTER TABLE huge ALTER v SET STORAGE EXTERNAL',
    )
    const { slow, fast, rows, messages } = await bothWays(
      'huge',
      `INSERT INTO huge SELECT i, repeat('x', i * 1000000) FROM generate_series(1, 4) i; UPDATE huge SET id = id + 10`,
    )
    expect(messages).toContain('catching up')
    expect(fast).toEqual(slow)
    expect(fast.rows).toEqual(rows)
  })

  it('follows schema changes and truncates that lie within the backlog', async () => {
    await postgres.sql(`CREATE TABLE ddl (id int PRIMARY KEY, v text); INSERT INTO ddl VALUES (1, 'a')`)
    const { slow, fast, rows, messages } = await bothWays(
      'ddl',
      `INSERT INTO ddl VALUES (2, 'b')
---
ALTER TABLE ddl ADD COLUMN n int DEFAULT 5; INSERT INTO ddl VALUES (3, 'c', 6)
---
BEGIN; TRUNCATE ddl; INSERT INTO ddl VALUES (4, 'd', 7); COMMIT
---
INSERT INTO ddl VALUES (5, 'e', 8)`,
    )
    expect(messages).toContain('catching up')
    expect(fast).toEqual(slow)
    expect(fast.rows).toEqual(rows)
  })

  it('stops for a table that has to be copied, and goes on behind it', async () => {
    const { slow, fast, messages } = ways('again')
    await postgres.sql(
      `CREATE TABLE again (id int PRIMARY KEY, v text); CREATE TABLE again_other (id int PRIMARY KEY); INSERT INTO again VALUES (1, 'a')`,
    )
    const { mirror, position } = await copyAndStop(slow)
    await postgres.sql(
      `INSERT INTO again VALUES (2, 'b'); ALTER TABLE again ADD COLUMN n float8 DEFAULT random(); INSERT INTO again (id) VALUES (3)`,
    )
    await postgres.sql(`INSERT INTO again_other SELECT generate_series(1, 100)`)
    await resume(fast, position, mirror)
    expect(messages.filter((message) => message === 'catching up').length).toBeGreaterThan(0)
    expect(mirror.copied.get('public.again')).toBe(4)
    for (const table of ['again', 'again_other'])
      expect(mirror.rows(`public.${table}`)).toEqual(await readRows(postgres.url, table))
  })

  it('can be stopped at any moment, and goes on where it was', async () => {
    const random = seeded('stopped while catching up')
    const { slow, fast } = ways('stops')
    await postgres.sql('CREATE TABLE stops (id int PRIMARY KEY, v text)')
    const { mirror, position } = await copyAndStop(slow)
    for (let i = 0; i < 40; i++)
      await postgres.sql(
        `INSERT INTO stops SELECT ${i} * 1000 + i, repeat('x', 50) FROM generate_series(1, 500) i; UPDATE stops SET v = '${i}' WHERE id % 97 = ${i}`,
      )
    let from = position
    for (let round = 0; round < 8; round++) {
      const target = mirror.batches + 1 + random.below(8)
      let reached: () => void = () => {}
      const enough = new Promise<void>((resolve) => (reached = resolve))
      const run = await SourceRun.start(fast, from, mirror, () => {
        if (mirror.batches >= target) reached()
      })
      await Promise.race([enough, run.settled()])
      from = (await run.stop())!
      expect(run.failure).toBeNull()
    }
    await resume(fast, from, mirror)
    expect(mirror.rows('public.stops')).toEqual(await readRows(postgres.url, 'stops'))
    const left = await postgres.sql(
      `SELECT slot_name FROM pg_replication_slots WHERE database = current_database()`,
    )
    expect(left).toEqual([{ slot_name: `sluice_${slow.pipeline}` }])
  })

  it('passes over a backlog of other tables only', async () => {
    const { slow, fast, messages } = ways('quiet')
    await postgres.sql(
      'CREATE TABLE quiet (id int PRIMARY KEY); CREATE TABLE noise (id int PRIMARY KEY, v text)',
    )
    const { mirror, position } = await copyAndStop(slow)
    await postgres.sql(`INSERT INTO noise SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i`)
    await resume(fast, position, mirror)
    expect(messages).toContain('catching up')
    await postgres.sql('INSERT INTO quiet VALUES (1)')
    await resume(fast, position, mirror)
    expect(mirror.rows('public.quiet')).toEqual(await readRows(postgres.url, 'quiet'))
  })

  it('waits for the writer, and ends at once when it is stopped meanwhile', async () => {
    const { slow, fast } = ways('held')
    await postgres.sql('CREATE TABLE held (id int PRIMARY KEY, v text)')
    const { position } = await copyAndStop(slow)
    await postgres.sql(`INSERT INTO held SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i`)
    let batches = 0
    const never = new Promise<void>(() => {})
    const run = await SourceRun.start(fast, position, new Mirror(), () => {
      batches++
      return batches < 5 ? undefined : never
    })
    await run.until('it is held', () => batches === 5)
    run.abort()
    await run.done
    expect(run.failure).toBeNull()
    expect(batches).toBe(5)
    await run.source.disconnect()
  })
})
