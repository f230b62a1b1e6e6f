import { describe, expect, it } from 'vitest'
import {
  AuthError,
  ChannelClosedError,
  ConfigError,
  ConnectionError,
  CoreError,
  InternalError,
  LeaseLostError,
  NotConnectedError,
  PoisonRecordError,
  PositionLostError,
  PreconditionError,
  SchemaError,
  ThrottledError,
  toCoreError,
  UnsupportedSinkError,
  UnsupportedSourceError,
} from '../../../src/core/error.ts'
import { LeaseHeldError } from '../../../src/runtime/checkpoint/store.ts'
import { Backoff, directiveFor, exitCodeOf } from '../../../src/runtime/policy.ts'

const insisting = { retryable: true }

describe('what an error leads to', () => {
  it.each([
    [new ConnectionError('a/b', 'm'), 'repeat', 'restart', 1],
    [new ThrottledError('a/b', 'm'), 'repeat', 'restart', 1],
    [new CoreError('a/b', 'm', insisting), 'repeat', 'restart', 1],
    [new AuthError('a/b', 'm', insisting), 'repeat', 'restart', 3],
    [new CoreError('a/b', 'm'), 'halt', 'halt', 1],
    [new AuthError('a/b', 'm'), 'halt', 'halt', 3],
    [new SchemaError('a/b', 'm'), 'halt', 'halt', 1],
    [new PoisonRecordError('a/b', 'm'), 'halt', 'halt', 1],
    [new ChannelClosedError('a/b', 'm'), 'halt', 'halt', 1],
    [new ConnectionError('a/b', 'm', { retryable: false }), 'halt', 'halt', 1],
    [new ConfigError('a/b', 'm', insisting), 'halt', 'halt', 2],
    [new UnsupportedSourceError('a/b', 'm', insisting), 'halt', 'halt', 2],
    [new UnsupportedSinkError('a/b', 'm', insisting), 'halt', 'halt', 2],
    [new PreconditionError([]), 'halt', 'halt', 3],
    [new LeaseHeldError('a/b', 'm', insisting), 'halt', 'halt', 3],
    [new LeaseLostError('a/b', 'm', insisting), 'halt', 'halt', 1],
    [new PositionLostError('a/b', 'm', insisting), 'halt', 'halt', 5],
    [new NotConnectedError('a/b', 'm', insisting), 'halt', 'halt', 1],
    [new InternalError('a/b', 'm', insisting), 'halt', 'halt', 1],
    [toCoreError(new TypeError('x')), 'halt', 'halt', 1],
  ] as const)('%s: %s a call, %s an attempt, exit code %i', (error, call, attempt, exitCode) => {
    expect(directiveFor(error, 'call')).toBe(call)
    expect(directiveFor(error, 'attempt')).toBe(attempt)
    expect(exitCodeOf(error)).toBe(exitCode)
  })
})

describe('the backoff', () => {
  const error = new ConnectionError('a/b', 'm')

  it('doubles from 250 ms to 30 s', () => {
    const backoff = new Backoff(
      () => Infinity,
      () => 0,
    )
    const delays = Array.from({ length: 9 }, () => backoff.next(error, 0))
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  })

  it('is shortened by up to half at random', () => {
    const backoff = new Backoff(
      () => Infinity,
      () => 0.999,
    )
    expect(backoff.next(error, 0)).toBe(125)
  })

  it('is at least what the other side asked for', () => {
    const backoff = new Backoff(
      () => Infinity,
      () => 0,
    )
    expect(backoff.next(new ThrottledError('a/b', 'm', { retryAfterMs: 4000 }), 0)).toBe(4000)
  })

  it('ends when the budget is spent, and starts anew after progress', () => {
    const backoff = new Backoff(
      () => 1000,
      () => 0,
    )
    expect([backoff.next(error, 0), backoff.next(error, 250), backoff.next(error, 750)]).toEqual([
      250,
      500,
      null,
    ])
    backoff.reset()
    expect(backoff.next(error, 5000)).toBe(250)
  })
})
