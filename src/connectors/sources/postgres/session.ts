/** Connections to the server, all with the same pinned session: the text of a value must not depend on settings. */
import { Socket, type SocketConstructorOpts } from 'node:net'
import pg from 'pg'
import { ConfigError } from '../../../core/error.ts'
import { postgresError } from './errors.ts'

/**
 * Every setting that changes how a value is written, plus row_security = off, so that a policy makes a copy fail
 * instead of hiding rows. (PostgreSQL documentation, chapter 20.11, "Client Connection Defaults".)
 */
const SETTINGS: Readonly<Record<string, string>> = {
  datestyle: 'ISO,YMD',
  intervalstyle: 'iso_8601',
  extra_float_digits: '3',
  timezone: 'UTC',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
  row_security: 'off',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  client_encoding: 'UTF8',
}

/**
 * A paused socket shall stop reading at once. With the usual mark Node goes on until 64 KB wait in the stream, in reads
 * of a few rows each, which is what a pause of `burst.ts` is there to avoid. A flowing stream is not affected.
 */
const SOCKET_OPTIONS = { readableHighWaterMark: 1 } as SocketConstructorOpts

/** Connection settings for `pg.Client`, also for the replication service. */
export function clientConfig(url: string, applicationName: string): pg.ClientConfig {
  const options = Object.entries(SETTINGS).map(([name, value]) => `-c ${name}=${value}`)
  return {
    connectionString: url,
    application_name: applicationName,
    options: options.join(' '),
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    stream: () => new Socket(SOCKET_OPTIONS),
  }
}

/** An ordinary SQL connection, or with `replication` one that also takes replication commands. */
export async function openClient(
  url: string,
  applicationName: string,
  replication = false,
): Promise<pg.Client> {
  const config = clientConfig(url, applicationName)
  const client = newClient(replication ? ({ ...config, replication: 'database' } as pg.ClientConfig) : config)
  // Without a listener a lost connection would end the process; the next query reports it.
  client.on('error', () => {})
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.end().catch(() => {})
    throw postgresError(error, `connect to PostgreSQL at ${describeServer(url)}`)
  }
}

/** The driver's error about a malformed address quotes it whole, so it goes no further. */
function newClient(config: pg.ClientConfig): pg.Client {
  try {
    if (/^postgres(ql)?:\/\//.test(config.connectionString ?? '')) return new pg.Client(config)
  } catch {
    // Reported below.
  }
  throw new ConfigError('postgres/url', 'source.url is not an address of a PostgreSQL server', {
    fix: 'Write it as postgres://user:password@host:5432/database, with special characters of the password percent-encoded.',
  })
}

/** `host:port/database`, never the credentials. */
function describeServer(url: string): string {
  try {
    const parsed = new URL(url)
    return `${parsed.hostname || 'local socket'}:${parsed.port || '5432'}${parsed.pathname}`
  } catch {
    return 'the configured url'
  }
}
