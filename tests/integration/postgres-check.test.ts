import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'
import type { PostgresConfig } from '../../src/connectors/sources/postgres/config.ts'
import type { CoreError, Problem } from '../../src/core/error.ts'
import { sql, type TestPostgres, testPostgres } from '../support/postgres.ts'
import { contextOf, newSource, type SourceOptions, SourceRun } from './postgres-fixture.ts'

/** Bad input: every mistake has its code and its fix, all are told at once, and nothing is changed on the server. */

let postgres: TestPostgres
const PASSWORD = 'sec ret/&?'

beforeAll(async () => {
  postgres = await testPostgres('pgcheck')
  await postgres.sql(`
    CREATE TABLE good (id int PRIMARY KEY, v text);
    CREATE TABLE keyless (v text);
    CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE full_only (v text); ALTER TABLE full_only REPLICA IDENTITY FULL;
    CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE PUBLICATION ${postgres.database}_inserts FOR TABLE good WITH (publish = 'insert, truncate');
    CREATE PUBLICATION ${postgres.database}_good FOR TABLE good;
    CREATE ROLE ${postgres.database}_plain LOGIN PASSWORD '${PASSWORD}'`)
})

afterAll(async () => {
  await postgres?.sql(`DROP OWNED BY ${postgres.database}_plain; DROP ROLE ${postgres.database}_plain`)
  await postgres?.[Symbol.asyncDispose]()
})

function options(
  tables: readonly string[],
  config: Partial<PostgresConfig> = {},
  url = postgres.url,
): SourceOptions {
  return { url, pipeline: `${postgres.database}_check`, tables, config }
}

function address(change: (url: URL) => void): string {
  const url = new URL(postgres.url)
  change(url)
  return url.href
}

function asPlain(): string {
  return address((url) => {
    url.username = `${postgres.database}_plain`
    url.password = encodeURIComponent(PASSWORD)
  })
}

async function problems(of: SourceOptions): Promise<readonly Problem[]> {
  const source = newSource(of)
  const found = await source.validate(contextOf(of))
  await source.disconnect()
  for (const { message, fix } of found) {
    expect(message).not.toBe('')
    expect(fix).toMatch(/\.$|\.\*$/)
  }
  return found
}

function codes(found: readonly Problem[]): readonly string[] {
  return found.map(({ code }) => code.replace('postgres/', ''))
}

/** What may be in no message, cause or stack. */
async function refusal(url: string, secret = new URL(postgres.url).password): Promise<CoreError> {
  const of = options(['public.good'], {}, url)
  const error = await newSource(of)
    .validate(contextOf(of))
    .then(
      () => Promise.reject(new Error('accepted')),
      (reason: unknown) => reason as CoreError,
    )
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    expect(`${at.message}${at.stack}${JSON.stringify(at)}`).not.toContain(secret)
  }
  expect(error.fix).toBeTruthy()
  return error
}

describe('an address that does not work', () => {
  it.each([
    [
      'nobody listens',
      (url: URL) => void (url.port = '1'),
      { code: 'postgres/unreachable', retryable: true, name: 'ConnectionError' },
    ],
    [
      'no such host',
      (url: URL) => void (url.hostname = 'no-such-host.invalid'),
      { code: 'postgres/unreachable', retryable: true, name: 'ConnectionError' },
    ],
    [
      'no such database',
      (url: URL) => void (url.pathname = '/no_such'),
      { code: 'postgres/database-missing', retryable: false, name: 'AuthError' },
    ],
    [
      'no such user',
      (url: URL) => void (url.username = 'nobody'),
      { code: 'postgres/auth', retryable: false, name: 'AuthError' },
    ],
    [
      'no TLS on the server',
      (url: URL) => url.searchParams.set('sslmode', 'verify-full'),
      { code: 'postgres/tls', retryable: false, name: 'AuthError' },
    ],
  ])('says so: %s', async (_, change, expected) => {
    expect(await refusal(address(change))).toMatchObject(expected)
  })

  it('says so: a wrong password, without the password', async () => {
    const url = address((it) => void (it.password = 'not-the-one'))
    expect(await refusal(url, 'not-the-one')).toMatchObject({
      code: 'postgres/auth',
      message: expect.stringMatching(/127\.0\.0\.1:\d+\/pgcheck_.*password was refused/),
    })
  })

  it('says so: no password', async () => {
    expect(
      await refusal(
        address((it) => void (it.password = '')),
        'no secret at all',
      ),
    ).toMatchObject({ code: 'postgres/auth', retryable: false })
  })

  it.each([
    'localhost:5432/shop',
    'mysql://u:se%20cret@h/d',
    'postgres://u:secret@h:port/d',
    'postgres://u:%zz-secret@h:99999/d',
    '',
  ])('says so: not an address (%s)', async (url) => {
    expect(await refusal(url, 'secret')).toMatchObject({ code: 'postgres/url', name: 'ConfigError' })
  })
})

describe('validate', () => {
  it('finds nothing wrong where nothing is, and changes nothing', async () => {
    const before = await postgres.sql('SELECT xmin::text, oid FROM pg_publication ORDER BY oid')
    expect(await problems(options(['public.good']))).toEqual([])
    expect(await problems(options(['public.good'], { publication: `${postgres.database}_good` }))).toEqual([])
    expect(await postgres.sql('SELECT xmin::text, oid FROM pg_publication ORDER BY oid')).toEqual(before)
    expect(
      await postgres.sql('SELECT 1 FROM pg_replication_slots WHERE database = current_database()'),
    ).toEqual([])
  })

  it('tells everything at once', async () => {
    const found = await problems(options(['public.*', 'public.missing', 'other.also_missing'], {}, asPlain()))
    expect([...codes(found)].sort()).toEqual(
      [
        'replication-permission',
        'publication-permission',
        'table-missing',
        'table-missing',
        'no-key',
        'no-key',
        'identity-nothing',
        'row-security',
        ...Array.from({ length: 5 }, () => 'table-permission'),
      ].sort(),
    )
    for (const { severity } of found) expect(severity).toBe('error')
    const permission = found.find(({ code }) => code === 'postgres/publication-permission')!
    expect(permission.fix).toMatch(
      /CREATE PUBLICATION "sluice_pgcheck_\w+_check" FOR TABLE "public"\."full_only", "public"\."good"/,
    )
    expect(found.find(({ code }) => code === 'postgres/replication-permission')!.fix).toContain(
      `ALTER ROLE "${postgres.database}_plain" REPLICATION`,
    )
  })

  it.each([
    ['a table without a key', ['public.keyless'], {}, ['no-key']],
    ['a table with FULL and no key', ['public.full_only'], {}, ['no-key']],
    ['REPLICA IDENTITY NOTHING', ['public.nothing'], {}, ['identity-nothing']],
    ['a table that does not exist', ['public.good', 'public.godo'], {}, ['table-missing']],
    ['no table at all', ['nowhere.*'], {}, ['no-tables']],
    ['everything excluded', ['public.*', '!public.*'], {}, ['no-tables']],
    [
      'a publication without updates and deletes',
      ['public.good'],
      { publication: '%_inserts' },
      ['publication-operations'],
    ],
    [
      'a table outside the publication',
      ['public.good', 'public.guarded'],
      { publication: '%_good' },
      ['table-not-published'],
    ],
    [
      'tables outside the publication, by pattern',
      ['public.g*'],
      { publication: '%_good' },
      ['tables-not-published'],
    ],
  ] as const)('says so: %s', async (_, tables, config: Partial<PostgresConfig>, expected) => {
    const publication = config.publication?.replace('%', postgres.database)
    const found = await problems(options(tables, publication === undefined ? {} : { publication }))
    expect(codes(found)).toEqual(expected)
  })

  it('says so: slots of another plugin, of another database, and one that is in use', async () => {
    const [plugin, database] = [`${postgres.database}_plugin`, `${postgres.database}_database`]
    await postgres.sql(`SELECT pg_create_logical_replication_slot('${plugin}', 'test_decoding')`)
    expect(codes(await problems(options(['public.good'], { slot: plugin })))).toEqual(['slot-plugin'])
    await using other = await testPostgres('pgcheckother')
    await other.sql(`SELECT pg_create_logical_replication_slot('${database}', 'pgoutput')`)
    expect(codes(await problems(options(['public.good'], { slot: database })))).toEqual(['slot-database'])
    const used = options(['public.good'], {
      publication: `${postgres.database}_good`,
      slot: `${postgres.database}_used`,
    })
    await using run = await SourceRun.start(used, null)
    // The slot is in use while it is made as well, and then not, while tables are copied.
    await run.settled()
    await run.until('it streams', async () => {
      const rows = await postgres.sql(
        `SELECT 1 FROM pg_replication_slots WHERE slot_name = '${used.config!.slot}' AND active`,
      )
      return rows.length > 0
    })
    const found = await problems(used)
    expect(found).toMatchObject([{ code: 'postgres/slot-active', severity: 'warning' }])
  })

  it('says so: key columns that the publication leaves out', async () => {
    const [server] = await postgres.sql<{ version: number }>(
      `SELECT current_setting('server_version_num')::int AS version`,
    )
    if (server!.version < 150_000) return
    await postgres.sql(`CREATE PUBLICATION ${postgres.database}_columns FOR TABLE good (v)`)
    expect(
      codes(await problems(options(['public.good'], { publication: `${postgres.database}_columns` }))),
    ).toEqual(['key-not-published'])
    await postgres.sql(`DROP PUBLICATION ${postgres.database}_columns`)
  })
})

describe('a server that is not ready', () => {
  it('says so: wal_level, no free slot, no free sender', async () => {
    await using server = await startPostgres({
      settings: { wal_level: 'replica', max_replication_slots: '0', max_wal_senders: '0' },
    })
    await sql(server.url, 'CREATE TABLE t (id int PRIMARY KEY)')
    const found = await problems({ url: server.url, pipeline: 'p', tables: ['public.t'] })
    expect(codes(found)).toEqual(['wal-level', 'no-free-slot', 'no-free-sender'])
    expect(found[0]!.fix).toMatch(/ALTER SYSTEM SET wal_level = logical/)
  })

  it('says so when the checks are passed over: wal_level', async () => {
    await using server = await startPostgres({ settings: { wal_level: 'replica' } })
    await sql(server.url, 'CREATE TABLE t (id int PRIMARY KEY)')
    const run = await SourceRun.start({ url: server.url, pipeline: 'p', tables: ['public.t'] }, null)
    expect(await run.failed()).toMatchObject({
      code: 'postgres/wal-level',
      retryable: false,
      fix: expect.stringMatching(/wal_level/),
    })
    await run.source.disconnect()
  })
})

describe('permissions that go away later', () => {
  it('stop the copy with a code and a fix', async () => {
    const role = `${postgres.database}_late`
    await postgres.sql(`CREATE ROLE ${role} LOGIN REPLICATION PASSWORD 'p'`)
    const of = options(
      ['public.good'],
      { publication: `${postgres.database}_good`, slot: `${postgres.database}_late` },
      address((url) => {
        url.username = role
        url.password = 'p'
      }),
    )
    const run = await SourceRun.start(of, null)
    expect(await run.failed()).toMatchObject({
      code: 'postgres/permission',
      retryable: false,
      fix: expect.stringMatching(/SELECT/),
    })
    await run.source.disconnect()
    const plain = await SourceRun.start({ ...of, url: asPlain() }, null).catch(
      (error: unknown) => error as CoreError,
    )
    expect(plain).toMatchObject({ code: 'postgres/permission', fix: expect.stringMatching(/REPLICATION/) })
    await postgres.sql(`DROP ROLE ${role}`)
  })
})
