/**
 * Random histories of tables, rows, schema changes, crashes and failures go through the real pipeline and through a model
 * of plain maps; at the end both must be equal, cell by cell. A history that fails is made as small as possible, and
 * printed with the seed that repeats it.
 */
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { forgetsFirstBatch, nullsForUnchanged } from '../support/history/broken-sinks.ts'
import { clickHouseTargets } from '../support/history/clickhouse-targets.ts'
import { histories, type History } from '../support/history/history.ts'
import {
  MemoryBench,
  memoryKnows,
  memorySinkCount,
  memorySinks,
  memoryTargets,
} from '../support/history/memory-bench.ts'
import { differences } from '../support/history/model.ts'
import { type Bench, play } from '../support/history/play.ts'
import { PostgresBench } from '../support/history/postgres-bench.ts'
import { commit, PostgresSql } from '../support/history/postgres-sql.ts'
import { counterexample, holdsForAll } from '../support/history/property.ts'
import { testPostgres } from '../support/postgres.ts'

/** SLUICE_HISTORIES_<name> is how many histories are tried. */
const runs = (name: string, usual: number): number => Number(process.env[`SLUICE_HISTORIES_${name}`] ?? usual)

const playedOn =
  (open: () => Promise<Bench>) =>
  async (history: History): Promise<readonly string[]> => {
    await using bench = await open()
    return await play(history, bench)
  }

describe('random histories', () => {
  it('mean to the model what they mean to Postgres', async () => {
    await using postgres = await testPostgres('model')
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    let schemas = 0
    const everything = histories(1, () => true)
    try {
      const tried = await holdsForAll(
        'model and Postgres',
        everything,
        async ({ model, transactions }) => {
          const schema = `history_${++schemas}`
          const sql = new PostgresSql(schema)
          await client.query(`CREATE SCHEMA ${schema}`)
          for (const transaction of transactions) await commit(client, transaction, sql)
          const found = differences(model, await sql.state(client, model))
          await client.query(`DROP SCHEMA ${schema} CASCADE`)
          return found
        },
        { runs: runs('MODEL', 80) },
      )
      expect(tried).toBeGreaterThan(0)
    } finally {
      await client.end()
    }
  }, 300_000)

  it('end with every sink equal to the model, from memory to memory', async () => {
    const played = playedOn(async () => new MemoryBench())
    const search = { runs: runs('MEMORY', 400) }
    const tried = await holdsForAll('memory', histories(memorySinkCount, memoryKnows), played, search)
    expect(tried).toBeGreaterThan(0)
  }, 600_000)

  it('end with every sink equal to the model and to the source, from Postgres to memory', async () => {
    const targets = async (name: string) => ({
      sinks: memorySinks(name, 20),
      states: async () => memoryTargets(name),
      [Symbol.asyncDispose]: async () => {},
    })
    // The memory sink cannot change the key of a table.
    const known = histories(memorySinkCount, ({ does }) => does !== 'change key')
    const played = playedOn(() => PostgresBench.open(targets))
    const tried = await holdsForAll('Postgres to memory', known, played, { runs: runs('POSTGRES', 8) })
    expect(tried).toBeGreaterThan(0)
  }, 600_000)

  it('end with the sink equal to the model and to the source, from Postgres to ClickHouse', async () => {
    const everything = histories(1, () => true)
    const played = playedOn(() => PostgresBench.open(clickHouseTargets))
    const search = { runs: runs('CLICKHOUSE', 8) }
    const tried = await holdsForAll('Postgres to ClickHouse', everything, played, search)
    expect(tried).toBeGreaterThan(0)
  }, 600_000)
})

describe('a broken sink', () => {
  it.each([
    ['takes unchanged cells for NULL', nullsForUnchanged],
    ['forgets what it gets first after a start', forgetsFirstBatch],
  ])('that %s is found, and the history that shows it has at most 8 steps', async (what, broken) => {
    const played = playedOn(async () => new MemoryBench(broken))
    const search = { runs: 200, seed: 1 }
    const { found } = await counterexample(what, histories(memorySinkCount, memoryKnows), played, search)
    expect(found?.wrong).toMatch(/^sink (flushed|written|keeping): /)
    expect(found!.history.length, String(found!.history)).toBeLessThanOrEqual(8)
  })
})
