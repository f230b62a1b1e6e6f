import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { describeType } from '../../src/core/column-type.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'
import { createSamples, insertSamples, OWN_TYPES, typesOfServer } from '../support/postgres-types.ts'
import { Mirror } from '../support/mirror.ts'
import { copyAndStop, dropSlots, readRows, resume, SourceRun } from './postgres-fixture.ts'

/** The same value gives the same cell by copy and by stream, and it is the server's own text (law L8, PG-12). */

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgtypes')
  await postgres.sql(OWN_TYPES)
})

afterEach(() => dropSlots(postgres.url))

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

const HOSTILE = [
  `datestyle = 'SQL, DMY'`,
  `intervalstyle = 'sql_standard'`,
  `bytea_output = 'escape'`,
  `timezone = 'Asia/Kathmandu'`,
  'extra_float_digits = 0',
  `xmloption = 'document'`,
]

describe.each(['plain', 'hostile'])('every type, in a database with %s settings', (settings) => {
  it('has the text of the server, by copy and by stream', async () => {
    const types = await typesOfServer(postgres)
    const table = `types_${settings}`
    await postgres.sql(`${createSamples(table, types)}; ALTER TABLE ${table} REPLICA IDENTITY FULL`)
    await postgres.sql(insertSamples(table, types, 0))
    if (settings === 'hostile')
      for (const setting of HOSTILE) await postgres.sql(`ALTER DATABASE ${postgres.database} SET ${setting}`)

    const options = {
      url: postgres.url,
      pipeline: `${postgres.database}_${settings}`,
      tables: [`public.${table}`],
    }
    const { mirror, position } = await copyAndStop(options)
    const expected = await readRows(postgres.url, table)
    expect(mirror.rows(`public.${table}`)).toEqual(expected)

    const { columns: described } = mirror.tables.get(`public.${table}`)!.schema
    expect(described.slice(1).map(({ type }) => describeType(type))).toEqual(
      types.map(([, logical]) => logical),
    )

    // The same rows again: by INSERT, and as old and new image of an UPDATE.
    await postgres.sql(
      `BEGIN; CREATE TEMP TABLE kept AS SELECT * FROM ${table}; DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM kept; UPDATE ${table} SET id = id; COMMIT`,
    )
    const streamed = await resume(options, position, mirror)
    expect(streamed.rows(`public.${table}`)).toEqual(expected)
    const [update] = streamed.history.filter((entry) => entry.startsWith('update'))
    const [, after, before] = /^update \S+ (.*) before (.*)$/s.exec(update!)!
    expect(JSON.parse(before!)).toEqual(JSON.parse(after!))
  })
})

describe('names', () => {
  it('may be anything', async () => {
    const strange = `Sch"ema, 'x' 🐘`
    await postgres.sql(`CREATE SCHEMA ${quoted(strange)}; CREATE TABLE ${quoted(strange)}.${quoted('Ta.ble "1"')} (${quoted('I d')} int PRIMARY KEY, ${quoted(`v'"\\`)} text);
      INSERT INTO ${quoted(strange)}.${quoted('Ta.ble "1"')} VALUES (1, 'a')`)
    const options = {
      url: postgres.url,
      pipeline: `${postgres.database}_names`,
      tables: [`${strange}.*`],
      config: { publication: `pub "'x` },
    }
    const mirror = new Mirror()
    await using run = await SourceRun.start(options, null, mirror)
    await run.settled()
    await postgres.sql(`INSERT INTO ${quoted(strange)}.${quoted('Ta.ble "1"')} VALUES (2, 'b')`)
    await run.settled()
    expect(mirror.rows(`${strange}.Ta.ble "1"`)).toEqual(
      await readRows(postgres.url, `${quoted(strange)}.${quoted('Ta.ble "1"')}`),
    )
    expect(mirror.columns(`${strange}.Ta.ble "1"`)).toEqual(['I d', `v'"\\`])
  })
})

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
