import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { changesOf, readTables } from '../../src/connectors/sources/postgres/catalog.ts'
import { selectTables } from '../../src/core/selection.ts'
import { type TestPostgres, testPostgres } from '../support/postgres.ts'

/** What is read of a table belongs together, although nothing keeps others from altering it meanwhile. */

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await testPostgres('pgcatalog')
})

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]()
})

/** Reads the table, and alters it after so many statements of the reading. */
async function readWhileAltering(statements: number): Promise<readonly [file: number, changedBy: string]> {
  await using client = await connected()
  let count = 0
  const altering = new Proxy(client, {
    get: (target, name): unknown => {
      if (name !== 'query') return Reflect.get(target, name, target)
      return async (text: string) => {
        if (count++ === statements) await postgres.sql('ALTER TABLE t ALTER n TYPE int USING n + 1')
        return target.query(text)
      }
    },
  })
  const query = { publication: null, selection: selectTables(['public.t']), serverVersion: 150_000 }
  const [table] = await readTables(altering, query)
  return [table!.file, changesOf(table!)['2']!]
}

async function connected(): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

describe('the catalog of a table that is rewritten while it is read', () => {
  it.each([0, 1, 2])(
    'is that of before or that of after, not of both (after %i statements)',
    async (statements) => {
      await postgres.sql(
        'DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)',
      )
      const before = await readWhileAltering(Number.POSITIVE_INFINITY)
      const read = await readWhileAltering(statements)
      const after = await readWhileAltering(Number.POSITIVE_INFINITY)
      expect([before, after]).toContainEqual(read)
    },
  )
})
