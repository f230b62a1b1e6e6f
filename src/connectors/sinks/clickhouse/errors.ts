import { ClickHouseError } from '@clickhouse/client'
import {
  AuthError,
  ConfigError,
  ConnectionError,
  CoreError,
  InternalError,
  PoisonRecordError,
  SchemaError,
  ThrottledError,
} from '../../../core/error.ts'

/**
 * What a failed request means. The server's own text is never passed on: it quotes the data that it could not read
 * (law L14). Its error number and name are, and the query id leads to the full text in the server's log.
 */
type Meaning = { readonly slug: string; readonly fix: string }

const RETRY: Meaning = { slug: 'server-busy', fix: 'Nothing, unless it lasts: the request is repeated.' }

/** Server busy or shutting down; the request may succeed when repeated. */
const BUSY = [
  3, 107, 159, 202, 203, 209, 210, 216, 236, 242, 279, 285, 286, 289, 319, 341, 394, 425, 439, 473, 517, 745,
  999, 1000,
]

/**
 * Cannot read all data: a connection that was cut in the middle of a request. ClickHouse checks the framing of HTTP and
 * has stored nothing. Rows that our encoder cut short would look the same, and would still be refused in the end.
 */
const CUT = 33
const CUT_FIX =
  'Nothing, unless it lasts: the request is repeated. If it lasts, report it with what the log of the server says under that query id.'

const LOAD: Readonly<Record<number, Meaning>> = {
  252: { slug: 'too-many-parts', fix: 'Raise `flushInterval`, or look why the server merges so slowly.' },
  241: { slug: 'memory-limit', fix: 'Lower `flushBytes`, or give the server more memory.' },
  243: { slug: 'disk-full', fix: 'Free disk space on the server.' },
  201: { slug: 'quota', fix: 'Raise the quota of the user, or wait until it is renewed.' },
}

const AUTH: Readonly<Record<number, Meaning>> = {
  516: { slug: 'login-refused', fix: 'Check `username` and `password`.' },
  192: { slug: 'unknown-user', fix: 'Check `username`.' },
  193: { slug: 'wrong-password', fix: 'Check `password`.' },
  194: { slug: 'password-required', fix: 'Set `password`.' },
  164: { slug: 'read-only', fix: 'Use a user whose profile is not read-only.' },
  497: {
    slug: 'no-permission',
    fix: 'Grant the user SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE and ALTER on the database, and TABLE ENGINE on ReplacingMergeTree.',
  },
}

const CONFIG: Readonly<Record<number, Meaning>> = {
  81: { slug: 'no-database', fix: 'Create the database, or set `createDatabase: true`.' },
  115: { slug: 'unknown-setting', fix: 'Use ClickHouse 23.5 or newer.' },
  344: { slug: 'not-supported', fix: 'Use a newer server, or an ordinary (Atomic) database.' },
  452: { slug: 'setting-forbidden', fix: "Allow the settings that the README lists in the user's profile." },
}

const SCHEMA: Readonly<Record<number, Meaning>> = {
  16: {
    slug: 'target-changed',
    fix: 'A column of the target was removed by hand: start again, it is then added.',
  },
  47: {
    slug: 'target-changed',
    fix: 'A column of the target was removed by hand: start again, it is then added.',
  },
  60: {
    slug: 'table-missing',
    fix: 'The target table was dropped: remove the state of the pipeline and copy again.',
  },
  359: {
    slug: 'drop-limit',
    fix: 'The server protects large tables: raise max_table_size_to_drop, or drop the table by hand and start again.',
  },
}

/** The server could not read what we sent: our encoder is wrong, or the table changed under us. */
const DATA = [6, 25, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 376, 407, 467, 632, 675, 676, 691]

const TRANSPORT = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_STREAM_PREMATURE_CLOSE',
])

/** `what` says in a few words what was attempted and starts the message, for example `insert into cdc.orders`. */
export function toClickHouseError(error: unknown, what: string, queryId?: string): CoreError {
  if (error instanceof CoreError) return error
  if (error instanceof ClickHouseError) return serverError(error, what, queryId)
  if (!(error instanceof Error))
    return new InternalError('clickhouse/unexpected', `${what} failed`, { cause: error })
  const code = (error as NodeJS.ErrnoException).code
  if (code !== undefined && /^(CERT_|ERR_TLS_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    const fix = 'Use a certificate that this machine trusts (NODE_EXTRA_CA_CERTS) for that host name.'
    return new ConfigError(
      'clickhouse/certificate',
      `${what} failed: the certificate is not trusted (${code})`,
      { fix },
    )
  }
  if (code === 'ABORT_ERR' || error.message === 'The user aborted a request.') return aborted(what)
  if (error.message === 'Timeout error.') {
    const fix = 'Raise `requestTimeout`, or look what keeps the server busy.'
    return new ConnectionError('clickhouse/timeout', `${what} got no answer in time`, { fix })
  }
  if (
    (code !== undefined && TRANSPORT.has(code)) ||
    /socket hang up|premature close|aborted/i.test(error.message)
  ) {
    const fix = 'Check that the server runs and that `url` is right.'
    const detail = code === undefined ? '' : ` (${code})`
    return new ConnectionError(
      'clickhouse/connection',
      `${what} failed: no connection to the server${detail}`,
      { fix },
    )
  }
  // A proxy in front of the server, or a server that is just starting, answers in its own words.
  if (/^(?:<|.{0,200}\b(?:429|502|503|504)\b)/s.test(error.message)) {
    const fix = 'Check the proxy in front of the server.'
    return new ThrottledError(
      'clickhouse/proxy',
      `${what} was answered by something that is not ClickHouse`,
      { fix },
    )
  }
  return new InternalError(
    'clickhouse/unexpected',
    `${what} failed with ${error.name}${code === undefined ? '' : ` (${code})`}`,
    {
      fix: 'Please report it, with what the log of the server says.',
    },
  )
}

export function aborted(what: string): ConnectionError {
  return new ConnectionError('clickhouse/aborted', `${what} was given up`, {
    fix: 'Nothing: it was asked to stop.',
  })
}

function serverError(error: ClickHouseError, what: string, queryId: string | undefined): CoreError {
  const number = Number(error.code)
  const name = error.type ?? 'unknown'
  const message = `${what} failed: server error ${number} ${name}${queryId === undefined ? '' : `, query id ${queryId}`}`
  const code = (meaning: Meaning) => `clickhouse/${meaning.slug}`
  // The same number as too many parts, but time does not heal it.
  if (number === 252 && /partitions/i.test(error.message)) {
    const fix = 'The table is partitioned too finely: partition it by fewer values.'
    return new SchemaError('clickhouse/too-many-partitions', message, { fix })
  }
  if (BUSY.includes(number)) return new ConnectionError(code(RETRY), message, { fix: RETRY.fix })
  if (number === CUT) return new ConnectionError('clickhouse/request-cut', message, { fix: CUT_FIX })
  const load = LOAD[number]
  if (load !== undefined)
    return new ThrottledError(code(load), message, { fix: load.fix, retryAfterMs: 1000 })
  const auth = AUTH[number]
  if (auth !== undefined) return new AuthError(code(auth), message, { fix: auth.fix })
  const config = CONFIG[number]
  if (config !== undefined) return new ConfigError(code(config), message, { fix: config.fix })
  const schema = SCHEMA[number]
  if (schema !== undefined) return new SchemaError(code(schema), message, { fix: schema.fix })
  if (DATA.includes(number)) {
    const fix =
      'Start again; if it comes back, report it with what the log of the server says under that query id.'
    return new PoisonRecordError('clickhouse/rejected', message, { fix })
  }
  const fix = 'See the log of the server under that query id.'
  return new SchemaError('clickhouse/server-error', message, { fix })
}
