import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { freePort } from '../../src/cli/demo/servers/server-process.ts'
import { PositionLostError } from '../../src/core/error.ts'
import { createDatabase, sql } from '../support/postgres.ts'
import { Mirror } from '../support/mirror.ts'
import {
  contextOf,
  copyAndStop,
  newSource,
  readRows,
  type SourceOptions,
  SourceRun,
} from './postgres-fixture.ts'

/**
 * The essentials against an older server, where Debian's PostgreSQL 15 is installed. The complete suite runs against
 * any server with SLUICE_TEST_POSTGRES_URL.
 */

const programs = '/usr/lib/postgresql/15/bin'
const missing = existsSync(join(programs, 'postgres')) ? null : `${programs}/postgres is not installed`
if (missing !== null) console.log(`postgres-15.test.ts is skipped: ${missing}`)

let folder: string
let server: string

/** Postgres refuses to run as root. */
function owner(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const id = (flag: string): number =>
    Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

function run(program: string, ...args: readonly string[]): void {
  execFileSync(join(programs, program), args, { cwd: folder, stdio: 'ignore', ...owner() })
}

async function database(name: string, tables: string): Promise<SourceOptions> {
  const url = await createDatabase(server, name)
  await sql(url, tables)
  return { url, pipeline: name, tables: ['public.*'] }
}

describe.skipIf(missing !== null)('PostgreSQL 15', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-postgres-15-'))
    const data = join(folder, 'data')
    mkdirSync(data, { mode: 0o700 })
    const user = owner()
    if (user !== null) for (const path of [folder, data]) chownSync(path, user.uid, user.gid)
    const port = await freePort()
    run(
      'initdb',
      '-D',
      data,
      '-U',
      'postgres',
      '--auth=trust',
      '--encoding=UTF8',
      '--locale=C.UTF-8',
      '--no-sync',
    )
    const settings = [
      'wal_level=logical',
      'fsync=off',
      `port=${port}`,
      `unix_socket_directories=${folder}`,
      'listen_addresses=127.0.0.1',
    ]
    run(
      'pg_ctl',
      '-D',
      data,
      '-w',
      '-l',
      join(folder, 'log'),
      '-o',
      settings.map((setting) => `-c ${setting}`).join(' '),
      'start',
    )
    server = `postgres://postgres@127.0.0.1:${port}/postgres`
  })

  afterAll(() => {
    run('pg_ctl', '-D', join(folder, 'data'), '-m', 'immediate', 'stop')
    rmSync(folder, { recursive: true, force: true })
  })

  it('copies, streams, resumes and catches up', async () => {
    const options = await database(
      'essentials',
      `CREATE TABLE a (id int PRIMARY KEY, v text, twice int GENERATED ALWAYS AS (id * 2) STORED, b bytea, n numeric, at timestamptz, list int[]);
       CREATE TABLE b (id int PRIMARY KEY, v int) PARTITION BY HASH (id);
       CREATE TABLE b_0 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE b_1 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
       ALTER TABLE a ALTER v SET STORAGE EXTERNAL;
       INSERT INTO a (id, v, b, n, at, list) SELECT i, repeat('x', 5000), '\\x00ff', 'NaN', 'infinity', '{1,NULL}' FROM generate_series(1, 500) i; INSERT INTO b SELECT i, 0 FROM generate_series(1, 100) i`,
    )
    expect(await newSource(options).validate(contextOf(options))).toEqual([])
    const mirror = new Mirror()
    await using run = await SourceRun.start({ ...options, pagesPerRange: 2 }, null, mirror)
    await run.settled()
    await sql(
      options.url,
      `UPDATE a SET n = id WHERE id < 50; UPDATE a SET id = -id WHERE id < 10; DELETE FROM a WHERE id > 480; UPDATE b SET id = id + 1000, v = 1`,
    )
    await run.settled()
    const position = (await run.stop())!
    await sql(
      options.url,
      `TRUNCATE b; INSERT INTO b VALUES (1, 1); INSERT INTO a (id, v) VALUES (1000, 'late'); ALTER TABLE a ADD COLUMN w text DEFAULT 'w', DROP COLUMN n`,
    )
    await sql(options.url, `INSERT INTO a (id) VALUES (1001)`)
    await using fast = await SourceRun.start(
      { ...options, config: { catchUp: 'auto', catchUpThreshold: 1 } },
      position,
      mirror,
    )
    await fast.settled()
    const later = (await fast.stop())!
    await sql(options.url, `UPDATE a SET w = NULL WHERE id = 1001`)
    await using again = await SourceRun.start(options, later, mirror)
    await again.settled()
    expect(mirror.rows('public.a')).toEqual(await readRows(options.url, 'a', 'id, v, b, at, list, w'))
    expect(mirror.rows('public.b')).toEqual(await readRows(options.url, 'b'))
  })

  it('says that the position is lost when the slot or the publication is gone', async () => {
    const options = await database('lost', 'CREATE TABLE t (id int PRIMARY KEY)')
    const { position } = await copyAndStop(options)
    await sql(options.url, 'DROP PUBLICATION sluice_lost')
    await using unpublished = await SourceRun.start(options, position)
    expect(await unpublished.failed()).toMatchObject({ code: 'postgres/publication-missing' })
    await sql(
      options.url,
      `CREATE PUBLICATION sluice_lost FOR TABLE t; SELECT pg_drop_replication_slot('sluice_lost')`,
    )
    await using gone = await SourceRun.start(options, position)
    expect(await gone.failed()).toBeInstanceOf(PositionLostError)
  })
})
