import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import type { RecordBatch } from '../../src/core/batch.ts'
import type { SourcePosition } from '../../src/core/position.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { Mirror, stored } from '../support/mirror.ts'
import { dropSlots, type SourceOptions, SourceRun } from './postgres-fixture.ts'

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgpartial')
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

/** Nothing comes by a heartbeat or a look at the catalog: those are a minute away. */
function options(name: string, tables: readonly string[], publication?: string): SourceOptions {
  return {
    url: postgres.url,
    pipeline: `${postgres.database}_${name}`,
    tables: tables.map((table) => `public.${table}`),
    config: {
      heartbeat: 60_000,
      schemaPoll: 60_000,
      ...(publication === undefined ? {} : { publication }),
    },
  }
}

function partial(mirror: Mirror): readonly boolean[] {
  return mirror.positions.map(({ position }) => position.partial === true)
}

async function whole(run: SourceRun): Promise<void> {
  await run.until('a position comes that is not partial', () => partial(run.mirror).at(-1) === false)
}

/** Runs until the first position, which is held, and gives it. */
async function firstPosition(from: SourceOptions, start: SourcePosition | null): Promise<SourcePosition> {
  const never = new Promise<void>(() => {})
  const onWrite = ({ position }: RecordBatch): void | Promise<void> => (position === null ? undefined : never)
  const run = await SourceRun.start(from, start, new Mirror(), onWrite)
  await run.until('a position comes', () => run.mirror.positions.length > 0)
  await run.stop()
  return stored(run.mirror.positions[0]!.position)
}

describe('a first copy', () => {
  it('gives a position at its end also when there is no table', async () => {
    await postgres.sql('CREATE PUBLICATION nothing')
    await using run = await SourceRun.start(options('none', ['none_*'], 'nothing'), null)
    await whole(run)
    expect(partial(run.mirror)).toEqual([false])
  })

  it('has partial positions until its last table is done, rows or not', async () => {
    await postgres.sql(`
      CREATE TABLE first_a (id int PRIMARY KEY);
      CREATE TABLE first_b (id int PRIMARY KEY);
      CREATE TABLE first_c (id int PRIMARY KEY);
      INSERT INTO first_b SELECT generate_series(1, 100)`)
    await using run = await SourceRun.start(options('first', ['first_*']), null)
    await whole(run)
    expect(partial(run.mirror)).toEqual([true, true, false])
    expect(run.mirror.rows('public.first_b')).toHaveLength(100)
    await postgres.sql('INSERT INTO first_a VALUES (1)')
    await run.until('the row comes', () => run.mirror.rows('public.first_a').length === 1)
    expect(partial(run.mirror)).toEqual([true, true, false, false])
  })
})

describe('tables that were copied at different places of the log', () => {
  it('are partial until the log is at the last of them, also after a restart, and soon whole on a server where nothing happens', async () => {
    await postgres.sql(`
      CREATE TABLE late_a (id int PRIMARY KEY);
      CREATE TABLE late_b (id int PRIMARY KEY);
      INSERT INTO late_a VALUES (1); INSERT INTO late_b VALUES (1)`)
    const late = options('late', ['late_*'])
    const first = await firstPosition(late, null)
    expect(first.partial).toBe(true)
    await postgres.sql('INSERT INTO late_a VALUES (2); INSERT INTO late_b VALUES (2)')
    // The other table is copied now, further on.
    const second = await firstPosition(late, first)
    expect(second.partial).toBe(true)
    await using run = await SourceRun.start(late, second)
    await whole(run)
    const commits = run.mirror.positions.filter(({ isCommit }) => isCommit)
    expect(commits.map(({ position }) => position.partial)).toEqual([true])
    expect(partial(run.mirror)).toEqual([true, false])
  })

  it('are partial again when a table is copied that the publication got while nobody looked', async () => {
    await postgres.sql(`
      CREATE TABLE more_a (id int PRIMARY KEY);
      CREATE PUBLICATION more FOR TABLE more_a;
      INSERT INTO more_a VALUES (1)`)
    const more = options('more', ['more_*'], 'more')
    const first = await firstPosition(more, null)
    expect(first.partial).toBeUndefined()
    await postgres.sql(`
      CREATE TABLE more_b (id int PRIMARY KEY);
      INSERT INTO more_b VALUES (1); ALTER PUBLICATION more ADD TABLE more_b; INSERT INTO more_a VALUES (2)`)
    await using run = await SourceRun.start(more, first)
    await whole(run)
    // The end of the copy, the row of the other table, and the place of the copy.
    expect(partial(run.mirror)).toEqual([true, true, false])
    expect(run.mirror.rows('public.more_a')).toHaveLength(1)
    expect(run.mirror.rows('public.more_b')).toHaveLength(1)
  })
})
