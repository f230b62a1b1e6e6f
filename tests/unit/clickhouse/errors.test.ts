import { ClickHouseError } from '@clickhouse/client'
import { describe, expect, it } from 'vitest'
import { versionProblems } from '../../../src/connectors/sinks/clickhouse/check.ts'
import { ClickHouseConfig } from '../../../src/connectors/sinks/clickhouse/config.ts'
import { toClickHouseError } from '../../../src/connectors/sinks/clickhouse/errors.ts'
import { PoisonRecordError } from '../../../src/core/error.ts'
import * as Schema from 'effect/Schema'

const server = (code: number, message = 'Cannot parse "4111 1111 1111 1111"') =>
  toClickHouseError(
    new ClickHouseError({ code: String(code), type: 'SOME_NAME', message }),
    'insert into d.t',
    'q-1',
  )
const network = (code: string) =>
  toClickHouseError(Object.assign(new Error('x'), { code }), 'insert into d.t')

describe('errors of the server', () => {
  it.each([
    [202, 'ConnectionError', 'clickhouse/server-busy', true],
    [33, 'ConnectionError', 'clickhouse/request-cut', true],
    [216, 'ConnectionError', 'clickhouse/server-busy', true],
    [252, 'ThrottledError', 'clickhouse/too-many-parts', true],
    [241, 'ThrottledError', 'clickhouse/memory-limit', true],
    [243, 'ThrottledError', 'clickhouse/disk-full', true],
    [201, 'ThrottledError', 'clickhouse/quota', true],
    [516, 'AuthError', 'clickhouse/login-refused', false],
    [497, 'AuthError', 'clickhouse/no-permission', false],
    [81, 'ConfigError', 'clickhouse/no-database', false],
    [115, 'ConfigError', 'clickhouse/unknown-setting', false],
    [60, 'SchemaError', 'clickhouse/table-missing', false],
    [16, 'SchemaError', 'clickhouse/target-changed', false],
    [117, 'PoisonRecordError', 'clickhouse/rejected', false],
    [27, 'PoisonRecordError', 'clickhouse/rejected', false],
    [4242, 'SchemaError', 'clickhouse/server-error', false],
  ])('%i is a %s', (code, name, slug, retryable) => {
    expect(server(code)).toMatchObject({ name, code: slug, retryable, fix: expect.any(String) })
  })

  it('are told by number and name, never by their text, which quotes data (L14)', () => {
    const error = server(27)
    expect(error.message).toBe('insert into d.t failed: server error 27 SOME_NAME, query id q-1')
    expect(JSON.stringify([error, error.cause, error.stack])).not.toContain('4111')
  })

  it('knows that too many partitions are no reason to wait', () => {
    expect(server(252, 'Too many partitions for single INSERT block')).toMatchObject({
      code: 'clickhouse/too-many-partitions',
      retryable: false,
    })
  })
})

describe('errors on the way', () => {
  it.each(['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'])(
    '%s is repeated',
    (code) => {
      expect(network(code)).toMatchObject({ code: 'clickhouse/connection', retryable: true })
    },
  )

  it('tells timeouts, stops, certificates and proxies apart', () => {
    const told = (message: string) => toClickHouseError(new Error(message), 'x')
    expect(told('Timeout error.')).toMatchObject({ code: 'clickhouse/timeout', retryable: true })
    expect(told('The user aborted a request.')).toMatchObject({ code: 'clickhouse/aborted' })
    expect(told('socket hang up')).toMatchObject({ code: 'clickhouse/connection' })
    expect(told('<html>502 Bad Gateway</html>')).toMatchObject({ code: 'clickhouse/proxy', retryable: true })
    expect(network('CERT_HAS_EXPIRED')).toMatchObject({ code: 'clickhouse/certificate', retryable: false })
    expect(told('a bug')).toMatchObject({
      name: 'InternalError',
      code: 'clickhouse/unexpected',
      retryable: false,
    })
  })

  it('leaves errors alone that have a meaning already', () => {
    const error = new PoisonRecordError('clickhouse/out-of-range', 'x')
    expect(toClickHouseError(error, 'y')).toBe(error)
  })
})

describe('what the user writes', () => {
  const decode = (more: Record<string, unknown>) =>
    Schema.decodeUnknownSync(ClickHouseConfig)({ url: 'http://localhost:8123', database: 'd', ...more })

  it('has defaults for all but the address and the database', () => {
    expect(decode({ password: 'geheim' })).toMatchObject({
      username: 'default',
      viewSuffix: '__current',
      metaColumns: { version: '_version', deleted: '_deleted' },
      flushInterval: 1000,
      flushBytes: 16e6,
      flushRows: 200_000,
      arrays: 'exact',
      dates: 'native',
      dropColumns: 'keep',
      compression: 'none',
    })
    expect(JSON.stringify(decode({ password: 'geheim' }))).not.toContain('geheim')
    expect(decode({ viewSuffix: '' }).viewSuffix).toBe('')
  })

  it.each([
    { url: 'localhost:8123' },
    { url: 'http://user:secret@localhost:8123' },
    { url: 'http://localhost:8123/db' },
    { flushBytes: '65MB' },
    { flushRows: 500_001 },
    { arrays: 'maybe' },
    { viewSuffix: '`; DROP' },
    { metaColumns: { version: 'a b' } },
  ])('refuses %o', (wrong) => {
    expect(() => decode(wrong)).toThrow(/must be|Expected/)
  })

  it('needs a server with ReplacingMergeTree(version, deleted)', () => {
    expect(versionProblems('23.4.9.1')).toMatchObject([{ severity: 'error', code: 'clickhouse/too-old' }])
    for (const version of ['23.5.1.1', '24.1.1', '26.7.2.1']) expect(versionProblems(version)).toEqual([])
  })
})
