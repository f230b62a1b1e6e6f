/* oxlint-disable vitest/no-standalone-expect -- `it.effect` is a test, which the rule does not know. */
import { describe, expect, it } from '@effect/vitest'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as TestClock from 'effect/testing/TestClock'
import { ConnectionError, InternalError } from '../../../src/core/error.ts'
import { acquire, call, settleDeadlineMs } from '../../../src/runtime/lift.ts'
import { pipeline } from '../../../src/runtime/pipeline.ts'
import { memoryPipeline, table } from '../../support/memory-pipeline.ts'

const lost = new ConnectionError('test/lost', 'the connection was lost')
const never = new Promise<never>(() => {})
const idle = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe('a call', () => {
  it.effect('fails with the error of the connector, and with a bug for anything else', () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(call(() => Promise.reject(lost)))).toBe(lost)
      expect(yield* Effect.flip(call(() => Promise.reject(new TypeError('x'))))).toBeInstanceOf(InternalError)
      const thrown = call(() => {
        throw lost
      })
      expect(yield* Effect.flip(thrown)).toBe(lost)
    }),
  )

  it.effect('that does not end when it is aborted is left behind after the deadline', () =>
    Effect.gen(function* () {
      let aborted = false
      const hanging = call((signal) => {
        signal.addEventListener('abort', () => (aborted = true))
        return never
      })
      const fiber = yield* Effect.forkChild(hanging)
      yield* idle
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(settleDeadlineMs - 1)
      expect(aborted).toBe(true)
      expect(interruption.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust(1)
      yield* Fiber.join(interruption)
    }),
  )
})

describe('a connection', () => {
  it.effect('is closed in reverse order, also when its connect failed', () =>
    Effect.gen(function* () {
      const events: string[] = []
      const open = (name: string, connect: () => Promise<void>) =>
        acquire({ disconnect: async () => void events.push(`close ${name}`) }, connect, () => {})
      const both = Effect.andThen(
        open('first', async () => {}),
        open('second', () => Promise.reject(lost)),
      )
      yield* Effect.exit(Effect.scoped(both))
      expect(events).toEqual(['close second', 'close first'])
    }),
  )

  it.effect('that cannot be closed does not keep the pipeline from ending', () =>
    Effect.gen(function* () {
      const { database, definition, log } = memoryPipeline({
        sinks: [{ before: (name) => (name === 'disconnect' ? never : undefined) }],
      })
      database.createTable(table('t'))
      const fiber = yield* Effect.forkChild(pipeline(definition, { log, stopWhenCaughtUp: true }))
      while (fiber.pollUnsafe() === undefined) {
        yield* idle
        yield* TestClock.adjust(100)
      }
      expect(yield* Fiber.join(fiber)).toMatchObject({ drained: true })
      expect(log.lines.map(({ message }) => message)).toContain(
        'sink "sink-0" did not disconnect: it takes too long',
      )
    }),
  )
})
