import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

import { describe, expect, it } from 'vitest'

import { startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import { clickHouseCommand, testClickHouse } from '../support/clickhouse.ts'
import { sql, testPostgres } from '../support/postgres.ts'
import { waitFor } from '../support/wait-for.ts'

describe('the shared servers', () => {
  it('give every test file a Postgres database that can be replicated from', async () => {
    await using postgres = await testPostgres('servers')
    const [settings] = await postgres.sql<{ wal_level: string; database: string }>(
      `SELECT current_setting('wal_level') AS wal_level, current_database() AS database`,
    )
    expect(settings).toEqual({ wal_level: 'logical', database: postgres.database })
  })

  it('remove a Postgres database although it has a replication slot', async () => {
    const postgres = await testPostgres('servers')
    await postgres.sql(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [postgres.database])
    await postgres[Symbol.asyncDispose]()
    await expect(postgres.sql('SELECT 1')).rejects.toThrow('does not exist')
  })

  it('give every test file a ClickHouse database', async () => {
    await using clickhouse = await testClickHouse('servers')
    const rows = await clickhouse.query<object>('SELECT currentDatabase() AS database, version() AS version')
    expect(rows).toEqual([{ database: clickhouse.database, version: expect.stringMatching(/^26\./) }])
  })
})

describe('a server of the launcher', () => {
  it('keeps what Postgres committed when it is killed and started again', async () => {
    await using postgres = await startPostgres()
    await sql(postgres.url, 'CREATE TABLE kept (id int PRIMARY KEY); INSERT INTO kept VALUES (1), (2)')
    const { pid, port } = postgres
    await postgres.kill()
    expect(isRunning(pid)).toBe(false)
    await postgres.restart()
    expect(postgres.port).toBe(port)
    expect(postgres.pid).not.toBe(pid)
    expect(await sql(postgres.url, 'SELECT id FROM kept ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }])
  })

  it('keeps what ClickHouse accepted when it is killed and started again', async () => {
    await using clickhouse = await startClickHouse()
    const read = () => fetch(`${clickhouse.url}/?query=SELECT+sum(id)+FROM+cdc.kept`).then((it) => it.text())
    await clickHouseCommand(clickhouse.url, 'CREATE DATABASE cdc')
    await clickHouseCommand(clickhouse.url, 'CREATE TABLE cdc.kept (id Int32) ORDER BY id')
    await clickHouseCommand(clickhouse.url, 'INSERT INTO cdc.kept VALUES (1), (2)')
    const { pid, port } = clickhouse
    await clickhouse.kill()
    expect(isRunning(pid)).toBe(false)
    await clickhouse.restart()
    expect(clickhouse.port).toBe(port)
    expect(await read()).toBe('3\n')
  })

  it('asks ClickHouse users for their password', async () => {
    await using clickhouse = await startClickHouse()
    const { user, password } = clickhouse
    const ask = async (given: string) => {
      const response = await fetch(`${clickhouse.url}/?user=${user}&password=${given}&query=SELECT+1`)
      return response.status
    }
    expect([await ask(password), await ask('wrong')]).toEqual([200, 403])
  })

  it('names the end of the log when it cannot start', async () => {
    const settings = { no_such_setting: '1' }
    await expect(startPostgres({ settings })).rejects.toThrow('no_such_setting')
  })

  it('ends with the process that started it, even after SIGKILL, and takes its temporary folder along', async () => {
    const script = new URL('../support/hold-servers.ts', import.meta.url).pathname
    const parent = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: parent.stdout })
    const [line] = (await once(lines, 'line')) as [string]
    const servers = JSON.parse(line) as readonly { pid: number; dir: string }[]
    expect(servers.map(({ pid }) => isRunning(pid))).toEqual([true, true])
    parent.kill('SIGKILL')
    await waitFor('both servers have ended', () => servers.every(({ pid }) => !isRunning(pid)))
    await waitFor('both folders are gone', () => servers.every(({ dir }) => !existsSync(dir)))
  })
})

/** Whether the process does anything still; one that only waits to be collected by its parent does not. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const status = `/proc/${pid}/stat`
  return !existsSync(status) || !/^\d+ \(.*\) Z/.test(readFileSync(status, 'utf8'))
}
