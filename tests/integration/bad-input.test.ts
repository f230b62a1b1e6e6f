import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import { startCli } from '../support/cli.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import { sql, type TestPostgres, testPostgres } from '../support/postgres.ts'

/** The mistakes that people make with servers, through the command line: message, fix, exit code, nothing lost. */

let postgres: TestPostgres
let clickhouse: TestClickHouse
let folder: string
let files = 0

beforeAll(async () => {
  postgres = await testPostgres('bad')
  clickhouse = await testClickHouse('bad')
  folder = mkdtempSync(join(tmpdir(), 'sluice-bad-'))
  await postgres.sql(`
    CREATE TABLE good (id int PRIMARY KEY, v text);
    INSERT INTO good VALUES (1, 'a');
    CREATE TABLE keyless (v text);
    CREATE ROLE ${reader()} LOGIN PASSWORD 'reader secret';
    GRANT CONNECT ON DATABASE ${postgres.database} TO ${reader()}`)
})

afterAll(async () => {
  await postgres?.sql(`DROP OWNED BY ${reader()}; DROP ROLE ${reader()}`)
  await postgres?.[Symbol.asyncDispose]()
  await clickhouse?.[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

function reader(): string {
  return `reader_${postgres.database}`
}

interface Options {
  readonly url?: string
  readonly source?: string
  readonly tables?: string
  readonly sink?: string
  readonly name?: string
}

function config({
  url = postgres.url,
  source = '',
  tables = "['public.good']",
  sink = '',
  name = `bad_${++files}`,
}: Options): string {
  const file = join(folder, `${name}.yaml`)
  writeFileSync(
    file,
    `
name: ${name}
source: { type: postgres, url: '${url}', heartbeat: 200ms ${source} }
tables: ${tables}
sinks: { lake: { type: clickhouse, url: '${clickhouse.url}', database: ${clickhouse.database}, flushInterval: 50ms ${sink} } }
retry: { startBudget: 1s, budget: 1s }
`,
  )
  return file
}

interface Outcome {
  readonly code: number | null
  readonly text: string
}

async function run(
  command: 'run' | 'check',
  options: Options,
  ...flags: readonly string[]
): Promise<Outcome> {
  const cli = startCli([command, config(options), ...flags])
  const { code } = await cli.done
  const text = cli.stdout() + cli.stderr()
  for (const secret of ['reader secret', 'wrong secret', new URL(postgres.url).password])
    expect(text).not.toContain(secret)
  return { code, text }
}

function withUser(user: string, password: string): string {
  const url = new URL(postgres.url)
  url.username = user
  url.password = password
  return url.href
}

describe('the command line', () => {
  it.each(['run', 'check'] as const)('says that Postgres is unreachable (%s)', async (command) => {
    const { code, text } = await run(command, { url: 'postgres://u:p@127.0.0.1:1/shop' })
    expect(text).toMatch(/cannot connect to PostgreSQL at 127\.0\.0\.1:1\/shop: ECONNREFUSED/)
    expect(text).toMatch(/Check host, port and network/)
    expect(text).toMatch(/postgres\/unreachable/)
    expect(code).toBe(1)
  })

  it('says that ClickHouse is unreachable', async () => {
    const file = join(folder, 'unreachable.yaml')
    writeFileSync(
      file,
      `
name: unreachable
source: { type: postgres, url: '${postgres.url}' }
tables: ['public.good']
sinks: { lake: { type: clickhouse, url: 'http://127.0.0.1:1', database: x } }
retry: { startBudget: 1s }
`,
    )
    const cli = startCli(['run', file])
    expect((await cli.done).code).toBe(1)
    expect(cli.stderr()).toMatch(/ECONNREFUSED|unreachable/)
    expect(cli.stderr()).toMatch(/fix: /)
  })

  it.each(['run', 'check'] as const)('says that the password is wrong (%s)', async (command) => {
    const { code, text } = await run(command, { url: withUser('postgres', 'wrong secret') })
    expect(text).toMatch(/the password was refused/)
    expect(text).toMatch(/Check user and password in source\.url/)
    expect(code).toBe(3)
  })

  it('lists everything that is missing, each with its fix', async () => {
    const { code, text } = await run('check', {
      url: withUser(reader(), 'reader secret'),
      tables: "['public.good', 'public.keyless', 'public.gone']",
    })
    expect(text).toMatch(/may not replicate[\s\S]*ALTER ROLE/)
    expect(text).toMatch(/may not read the table public\.good[\s\S]*GRANT SELECT/)
    expect(text).toMatch(/public\.keyless has no primary key[\s\S]*Add a primary key/)
    expect(text).toMatch(/public\.gone does not exist/)
    expect(text).toMatch(
      /publication .* does not exist and the role .* may not create it[\s\S]*CREATE PUBLICATION/,
    )
    expect(code).toBe(3)
  })

  it('refuses a table without a key, and moves nothing', async () => {
    const { code, text } = await run('run', { tables: "['public.*']" })
    expect(text).toMatch(/public\.keyless has no primary key/)
    expect(code).toBe(3)
    const publications = await postgres.sql('SELECT 1 FROM pg_publication')
    const slots = await postgres.sql(
      `SELECT 1 FROM pg_replication_slots WHERE database = '${postgres.database}'`,
    )
    expect([publications.length, slots.length]).toEqual([0, 0])
  })

  it('refuses a slot of another plugin', async () => {
    const slot = `${postgres.database}_other`
    await postgres.sql(`SELECT pg_create_logical_replication_slot('${slot}', 'test_decoding')`)
    const { code, text } = await run('run', { source: `, slot: ${slot}` })
    expect(text).toMatch(/uses the plugin "test_decoding", not pgoutput/)
    expect(text).toMatch(/Give the pipeline a slot of its own/)
    expect(code).toBe(3)
  })

  it('stops with exit code 5 when the slot is gone, and never starts from now', async () => {
    const options: Options = {
      name: `gone_${postgres.database}`,
      source: `, slot: ${postgres.database}_gone, publication: gone_pub`,
    }
    expect((await run('run', options, '--once')).code).toBe(0)
    await postgres.sql(`SELECT pg_drop_replication_slot('${postgres.database}_gone')`)
    await postgres.sql(`INSERT INTO good VALUES (2, 'b')`)
    const { code, text } = await run('run', options, '--once')
    expect(text).toMatch(/does not exist any more, so the changes since .* are gone/)
    expect(text).toMatch(/remove the checkpoint file/)
    expect(code).toBe(5)
    const rows = await clickhouse.query('SELECT id FROM good__current ORDER BY id')
    expect(rows).toEqual([{ id: 1 }])
  })

  it('says that wal_level is not logical', async () => {
    await using server = await startPostgres({ settings: { wal_level: 'replica' } })
    await sql(server.url, 'CREATE TABLE good (id int PRIMARY KEY)')
    const { code, text } = await run('run', { url: server.url })
    expect(text).toMatch(/wal_level is "replica"/)
    expect(text).toMatch(/ALTER SYSTEM SET wal_level = logical/)
    expect(code).toBe(3)
  })
})
