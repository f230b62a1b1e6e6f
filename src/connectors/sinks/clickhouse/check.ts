import { CoreError, type Problem } from '../../../core/error.ts'
import { DOCUMENTED_TIMESTAMPS, type TimestampRange, WIDE_TIMESTAMPS } from './cell-times.ts'
import type { ClickHouseConfig } from './config.ts'
import { quoteName } from './ddl.ts'
import type { Session } from './session.ts'

/** The first version with `ReplacingMergeTree(version, is_deleted)`. */
const MIN_VERSION = [23, 5] as const
const RIGHTS = 'SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, ALTER'
/** Asked for by newer servers, unless their configuration leaves it out. */
const ENGINE_RIGHT = 'TABLE ENGINE ON ReplacingMergeTree'
/** Databases where CREATE OR REPLACE works. */
const DATABASE_ENGINES = ['Atomic', 'Replicated', 'Shared', 'Overlay']

/** Everything that would stop the sink, as far as it can be seen without changing anything. */
export async function checkServer(session: Session, config: ClickHouseConfig): Promise<readonly Problem[]> {
  try {
    const version = await serverVersion(session)
    return [
      ...versionProblems(version),
      ...(await databaseProblems(session, config)),
      ...(await rightsProblems(session)),
    ]
  } catch (error) {
    // A server that is not there now may be there soon: the runtime decides how long to wait for it.
    if (!(error instanceof CoreError) || error.retryable) throw error
    const fix = error.fix ?? 'See the log of the server.'
    return [{ severity: 'error', code: error.code, message: error.message, fix }]
  }
}

async function serverVersion(session: Session): Promise<string> {
  const rows = await session.rows<[string]>('SELECT version()', {}, 'connect to ClickHouse')
  return rows[0]?.[0] ?? ''
}

export function versionProblems(version: string): readonly Problem[] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])) return []
  const message = `ClickHouse ${version} is too old: ReplacingMergeTree cannot mark deleted rows`
  const fix = `Use ClickHouse ${MIN_VERSION.join('.')} or newer.`
  return [{ severity: 'error', code: 'clickhouse/too-old', message, fix }]
}

async function databaseProblems(session: Session, config: ClickHouseConfig): Promise<readonly Problem[]> {
  const rows = await session.rows<[string]>(
    'SELECT engine FROM system.databases WHERE name = {name:String}',
    {
      name: config.database,
    },
  )
  const engine = rows[0]?.[0]
  if (engine === undefined) {
    if (config.createDatabase) return []
    const message = `database "${config.database}" does not exist, or the user may not see it`
    const fix = `Run CREATE DATABASE ${quoteName(config.database)}, or set \`createDatabase: true\`.`
    return [{ severity: 'error', code: 'clickhouse/no-database', message, fix }]
  }
  if (DATABASE_ENGINES.includes(engine)) return []
  const message = `database "${config.database}" has the engine ${engine}, which cannot replace views`
  const fix = 'Use a database with the engine Atomic (the default) or Replicated.'
  return [{ severity: 'error', code: 'clickhouse/database-engine', message, fix }]
}

async function rightsProblems(session: Session): Promise<readonly Problem[]> {
  const readonly = await session.rows<[string]>("SELECT value FROM system.settings WHERE name = 'readonly'")
  if (readonly[0]?.[0] === '1') {
    const message = 'the user may only read'
    const fix = 'Use a user whose profile is not read-only.'
    return [{ severity: 'error', code: 'clickhouse/read-only', message, fix }]
  }
  const database = `${quoteName(session.database)}.*`
  const missing: string[] = []
  for (const grant of [`${RIGHTS} ON ${database}`, ENGINE_RIGHT]) {
    if (!(await isGranted(session, grant))) missing.push(grant)
  }
  return missing.map((grant) => {
    const message = `the user has not all of these rights: ${grant}`
    return {
      severity: 'error',
      code: 'clickhouse/no-permission',
      message,
      fix: `Run GRANT ${grant} TO the user.`,
    }
  })
}

/** True also where the server is too old to be asked. */
async function isGranted(session: Session, grant: string): Promise<boolean> {
  try {
    const answer = await session.read(
      `CHECK GRANT ${grant}`,
      'read the rights of the user',
      Number.POSITIVE_INFINITY,
    )
    return answer?.toString().trim() !== '0'
  } catch (error) {
    if (error instanceof CoreError && error.retryable) throw error
    return true
  }
}

/** Which timestamps come back as they went in: servers before about 25 clamp them to 1900 to 2299. */
export async function timestampRange(session: Session): Promise<TimestampRange> {
  const first = '0001-01-01 00:00:00'
  const last = '9999-12-31 23:59:59'
  const sql = `SELECT toString(toDateTime64('${first}', 0, 'UTC')), toString(toDateTime64('${last}', 0, 'UTC'))`
  const rows = await session.rows<[string, string]>(sql, {}, 'connect to ClickHouse')
  return rows[0]?.[0] === first && rows[0][1] === last ? WIDE_TIMESTAMPS : DOCUMENTED_TIMESTAMPS
}
