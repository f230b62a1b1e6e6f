import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ClickHouseSink } from '../../src/connectors/sinks/clickhouse/sink.ts'
import { AuthError } from '../../src/core/error.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import {
  attempt,
  column,
  connected,
  context,
  int,
  options,
  store,
  table,
  transaction,
} from './clickhouse-fixture.ts'

let server: TestClickHouse
beforeAll(async () => {
  server = await testClickHouse('check')
})
afterAll(() => server[Symbol.asyncDispose]())

const problems = async (more: Record<string, unknown>) => {
  const sink = new ClickHouseSink(options(server.url, server.database, more))
  const found = await sink.validate(context())
  await sink.disconnect()
  return found.map(({ code, severity, fix }) => ({ code, severity, hasFix: fix.length > 0 }))
}
const error = (code: string) => [{ code, severity: 'error', hasFix: true }]

describe('the check before the start', () => {
  it('finds nothing wrong with a server that fits', async () => {
    expect(await problems({})).toEqual([])
  })

  it('names a wrong login and a missing database', async () => {
    expect(await problems({ username: 'nobody', password: 'x' })).toEqual(error('clickhouse/login-refused'))
    expect(await problems({ database: 'not there' })).toEqual(error('clickhouse/no-database'))
    expect(await problems({ database: 'not there', createDatabase: true })).toEqual([])
    expect(await problems({ database: 'system' })).toEqual(error('clickhouse/database-engine'))
  })

  it('leaves a server that is not there to be tried again', async () => {
    await expect(problems({ url: 'http://127.0.0.1:9' })).rejects.toMatchObject({
      code: 'clickhouse/connection',
      retryable: true,
    })
  })

  it('changes nothing on the server', async () => {
    await problems({ database: 'check_new', createDatabase: true })
    expect(await server.query("SELECT 1 FROM system.databases WHERE name = 'check_new'")).toEqual([])
  })
})

describe('the connection', () => {
  it('makes the database when it is told to', async () => {
    const database = `${server.database}_made`
    const sink = await connected(server.url, database, { createDatabase: true, viewSuffix: '' })
    const schema = table([column('1', 'id', int(32))], { name: 'only' })
    await sink.createTable(schema)
    await store(
      sink,
      transaction(1, (tx) => tx.insert(schema, { id: 1 })),
    )
    expect(await server.query(`SELECT name FROM system.tables WHERE database = '${database}'`)).toEqual([
      { name: 'only' },
    ])
    await sink.disconnect()
    await server.command(`DROP DATABASE ${database} SYNC`)
  })

  it('fails with the reason, and can be used by nobody afterwards', async () => {
    const sink = new ClickHouseSink(
      options(server.url, server.database, { username: 'nobody', password: 'x' }),
    )
    await expect(sink.connect(context())).rejects.toBeInstanceOf(AuthError)
    await expect(sink.flush(attempt)).rejects.toMatchObject({ code: 'clickhouse/not-connected' })
    await sink.disconnect()
    await sink.disconnect()
  })
})
