import { describe, expect, it } from 'vitest'

import { postgresError } from '../../../src/connectors/sources/postgres/errors.ts'
import {
  AuthError,
  ConnectionError,
  InternalError,
  PositionLostError,
  SchemaError,
} from '../../../src/core/error.ts'

function failure(code: string, message = 'server text'): Error {
  return Object.assign(new Error(message), { code })
}

describe('errors of the driver', () => {
  it.each([
    ['28P01', AuthError, 'postgres/auth'],
    ['28000', AuthError, 'postgres/auth'],
    ['3D000', AuthError, 'postgres/database-missing'],
    ['42501', AuthError, 'postgres/permission'],
    ['42P01', SchemaError, 'postgres/table-missing'],
    ['55000', PositionLostError, 'postgres/slot-lost'],
    ['55006', ConnectionError, 'postgres/slot-active'],
    ['55P03', ConnectionError, 'postgres/lock-timeout'],
    ['53300', ConnectionError, 'postgres/too-many-connections'],
    ['53400', SchemaError, 'postgres/no-free-slot'],
    ['57P01', ConnectionError, 'postgres/connection-lost'],
    ['40001', ConnectionError, 'postgres/connection-lost'],
    ['08006', ConnectionError, 'postgres/connection-lost'],
    ['53200', ConnectionError, 'postgres/connection-lost'],
    ['58030', ConnectionError, 'postgres/connection-lost'],
    ['ECONNREFUSED', ConnectionError, 'postgres/unreachable'],
    ['ENOTFOUND', ConnectionError, 'postgres/unreachable'],
    ['ETIMEDOUT', ConnectionError, 'postgres/unreachable'],
    ['ECONNRESET', ConnectionError, 'postgres/unreachable'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', AuthError, 'postgres/tls'],
    ['CERT_HAS_EXPIRED', AuthError, 'postgres/tls'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', AuthError, 'postgres/tls'],
    ['22P02', SchemaError, 'postgres/server-error'],
  ] as const)('%s', (code, type, expected) => {
    const error = postgresError(failure(code), 'do it')
    expect(error).toBeInstanceOf(type)
    expect(error).toMatchObject({
      code: expected,
      message: expect.stringMatching(/^cannot do it: /),
      fix: expect.stringMatching(/\.$/),
    })
    expect(error.retryable).toBe(type === ConnectionError)
  })

  it.each(['could not open relation with OID 17253', 'cache lookup failed for relation 17253'])(
    'a table that is dropped while the catalog is read: %s',
    (message) => {
      expect(postgresError(failure('XX000', message), 'read the catalog')).toMatchObject({
        code: 'postgres/table-changed',
        message: 'cannot read the catalog: a table was dropped meanwhile',
        retryable: true,
      })
      expect(postgresError(failure('XX000', 'something is broken'), 'do it').retryable).toBe(false)
    },
  )

  it.each([
    'Connection terminated unexpectedly',
    'Client was closed and is not queryable',
    'timeout expired',
  ])('a lost connection: %s', (message) => {
    expect(postgresError(new Error(message), 'do it')).toMatchObject({
      code: 'postgres/connection-lost',
      retryable: true,
    })
  })

  it('takes the first of several addresses', () => {
    expect(
      postgresError(new AggregateError([failure('ECONNREFUSED'), failure('EHOSTUNREACH')]), 'do it'),
    ).toMatchObject({ code: 'postgres/unreachable' })
  })

  it('never passes on the text of a class that quotes values', () => {
    for (const code of ['22P02', '23505', '57014', 'XX000']) {
      expect(
        postgresError(failure(code, 'invalid input syntax: "secret value"'), 'do it').message,
      ).not.toContain('secret')
    }
    expect(
      postgresError(failure('28P01', 'password authentication failed for user "u"'), 'do it').message,
    ).toBe('cannot do it: the password was refused')
  })

  it('leaves our own errors and bugs as they are', () => {
    const own = new SchemaError('x/y', 'message')
    expect(postgresError(own, 'do it')).toBe(own)
    expect(postgresError(new TypeError('undefined is not a function'), 'do it')).toBeInstanceOf(InternalError)
    expect(postgresError('text', 'do it')).toBeInstanceOf(InternalError)
  })
})
