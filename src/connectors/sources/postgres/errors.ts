/**
 * Driver errors to ours. SQLSTATE decides (PostgreSQL documentation, appendix A), then the system's error code. The
 * server's text is passed on only for classes that never quote a value.
 */
import {
  AuthError,
  ConnectionError,
  type CoreError,
  type ErrorDetails,
  InternalError,
  PositionLostError,
  SchemaError,
  toCoreError,
} from '../../../core/error.ts'

type Make = new (code: string, message: string, details?: ErrorDetails) => CoreError
interface Rule {
  readonly make: Make
  readonly code: string
  readonly fix: string
  readonly reason?: string
}

const REACHABLE = 'Check host, port and network, and that the server accepts TCP connections.'

const SQLSTATES: Readonly<Record<string, Rule>> = {
  '28000': {
    make: AuthError,
    code: 'postgres/auth',
    fix: 'Check user, database and pg_hba.conf (replication connections need an entry).',
  },
  '28P01': {
    make: AuthError,
    code: 'postgres/auth',
    fix: 'Check user and password in source.url.',
    reason: 'the password was refused',
  },
  '3D000': {
    make: AuthError,
    code: 'postgres/database-missing',
    fix: 'Check the database name in source.url.',
  },
  '42501': {
    make: AuthError,
    code: 'postgres/permission',
    fix: 'Grant the role REPLICATION, SELECT on the tables, and BYPASSRLS when they have row-level security.',
  },
  '42704': {
    make: SchemaError,
    code: 'postgres/object-missing',
    fix: 'Check that slot and publication exist.',
  },
  '42P01': {
    make: SchemaError,
    code: 'postgres/table-missing',
    fix: 'Check the table list; a table was dropped or renamed.',
  },
  '55000': {
    make: PositionLostError,
    code: 'postgres/slot-lost',
    fix: 'Copy again: stop, drop the slot, remove the checkpoint file of the pipeline, start.',
  },
  '53300': {
    make: ConnectionError,
    code: 'postgres/too-many-connections',
    fix: 'Raise max_connections or max_wal_senders.',
  },
  '53400': {
    make: SchemaError,
    code: 'postgres/no-free-slot',
    fix: 'Raise max_replication_slots (a first copy needs one slot more than streaming), or drop unused slots.',
  },
  '55006': {
    make: ConnectionError,
    code: 'postgres/slot-active',
    fix: 'Another process reads this slot; stop it, or give this pipeline its own slot.',
  },
  '55P03': {
    make: ConnectionError,
    code: 'postgres/lock-timeout',
    fix: 'A long transaction is open on the server; end it or wait.',
  },
}

const TLS_FIX =
  'Check sslmode and sslrootcert in source.url, and the name and date of the server certificate.'

/** Classes of SQLSTATE that pass by themselves: 08 connection, 40 rollback, 53 resources, 57 operator, 58 system. */
const RETRYABLE_CLASSES = /^(08|40|53|57|58)/

/**
 * What functions such as `pg_relation_size` and `pg_get_publication_tables` say of a table that was dropped after the
 * statement's snapshot. They are for programmers, so the server translates them into no language.
 */
const TABLE_VANISHED = /^(could not open relation with OID|cache lookup failed for relation) \d+/

/** A statement about tables met one that was dropped in the same moment. */
export function tableVanished(error: unknown): boolean {
  return error instanceof Error && errorCode(error) === 'XX000' && TABLE_VANISHED.test(error.message)
}

const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
])

/** A failed `doing` ("connect to ...") as one of our errors; passes our own errors through. */
export function postgresError(error: unknown, doing: string): CoreError {
  if (!(error instanceof Error)) return toCoreError(error)
  const known = toCoreError(error)
  if (!(known instanceof InternalError)) return known
  const code = errorCode(error)
  const rule = SQLSTATES[code]
  if (rule !== undefined) {
    const reason = rule.reason ?? safeReason(code, error.message)
    return new rule.make(rule.code, `cannot ${doing}: ${reason}`, { fix: rule.fix, cause: error })
  }
  if (tableVanished(error)) {
    return new ConnectionError('postgres/table-changed', `cannot ${doing}: a table was dropped meanwhile`, {
      fix: 'Nothing to do: it starts again without the table.',
      cause: error,
    })
  }
  if (SYSTEM_CODES.has(code)) {
    return new ConnectionError('postgres/unreachable', `cannot ${doing}: ${code}`, {
      fix: REACHABLE,
      cause: error,
    })
  }
  if (RETRYABLE_CLASSES.test(code)) {
    return new ConnectionError('postgres/connection-lost', `cannot ${doing}: SQLSTATE ${code}`, {
      fix: REACHABLE,
      cause: error,
    })
  }
  if (
    /Connection terminated|timeout expired|connection closed|Client has encountered|not queryable|was closed/i.test(
      error.message,
    )
  ) {
    return new ConnectionError('postgres/connection-lost', `cannot ${doing}: the connection was closed`, {
      fix: REACHABLE,
      cause: error,
    })
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)/.test(code) || /SSL/.test(error.message)) {
    return new AuthError('postgres/tls', `cannot ${doing}: ${code === '' ? error.message : code}`, {
      fix: TLS_FIX,
      cause: error,
    })
  }
  if (/SASL|password must be a string/i.test(error.message)) {
    return new AuthError('postgres/auth', `cannot ${doing}: the server asks for a password`, {
      fix: 'Put the password into source.url.',
      cause: error,
    })
  }
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return new SchemaError('postgres/server-error', `cannot ${doing}: SQLSTATE ${code}`, {
      fix: 'See the server log for the statement.',
      cause: error,
    })
  }
  return known
}

function errorCode(error: Error): string {
  const code = (error as { code?: unknown }).code
  if (typeof code === 'string') return code
  const first =
    error instanceof AggregateError ? (error.errors[0] as { code?: unknown } | undefined)?.code : undefined
  return typeof first === 'string' ? first : ''
}

/** Classes 28, 3D, 42, 53 and 55 name objects, never values. */
function safeReason(code: string, message: string): string {
  return /^(28|3D|42|53|55)/.test(code) ? message : `SQLSTATE ${code}`
}
