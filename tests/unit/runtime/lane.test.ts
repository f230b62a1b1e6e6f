/* oxlint-disable vitest/no-standalone-expect -- `it.effect` is a test, which the rule does not know. */
import { assert, describe, expect, it } from '@effect/vitest'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as TestClock from 'effect/testing/TestClock'
import type { RecordBatch } from '../../../src/core/batch.ts'
import { ConnectionError, type CoreError, SchemaError, ThrottledError } from '../../../src/core/error.ts'
import type { SourcePosition } from '../../../src/core/position.ts'
import type { SchemaChange } from '../../../src/core/record.ts'
import {
  Sink,
  type SinkCapabilities,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from '../../../src/core/sink.ts'
import { Lane } from '../../../src/runtime/lane.ts'
import { Backoff } from '../../../src/runtime/policy.ts'
import { ReplayFilter } from '../../../src/runtime/replay-filter.ts'
import { at, heartbeat, schemaChange, transaction, transactions } from '../../support/batches.ts'
import { recordingLog } from '../../support/memory-pipeline.ts'

const lost = (): ConnectionError => new ConnectionError('test/lost', 'the connection was lost')

/** Does what the test says and writes down what it was asked. */
class ScriptedSink extends Sink {
  readonly type: string = 'scripted'
  readonly calls: string[] = []
  readonly written: { readonly batch: RecordBatch; readonly attempt: number }[] = []
  /** Thrown by the next calls, in order. */
  readonly failures: CoreError[] = []
  changes: 'applied' | 'unsupported' = 'applied'
  /** What a write says is durable. */
  durable: SourcePosition | null = null
  onWrite: ((context: WriteContext) => Promise<void>) | null = null
  onFlush: ((context: WriteContext) => Promise<void>) | null = null
  readonly #replay: SinkCapabilities['replay']

  constructor(replay: SinkCapabilities['replay'] = 'idempotent-upsert') {
    super()
    this.#replay = replay
  }

  capabilities(): SinkCapabilities {
    return {
      replay: this.#replay,
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: [],
      keepsNewestVersion: false,
      flushIntervalMs: 100,
    }
  }

  async validate(): Promise<readonly []> {
    return []
  }

  async connect(): Promise<SinkResume> {
    return { position: null }
  }

  async createTable(): Promise<void> {
    this.#called('createTable')
  }

  async alterTable(_before: unknown, change: SchemaChange): Promise<'applied' | 'unsupported'> {
    this.#called(`alter ${change.change.kind}`)
    return this.changes
  }

  async writeBatch(batch: RecordBatch, context: WriteContext): Promise<WriteResult> {
    this.written.push({ batch, attempt: context.attempt })
    await this.onWrite?.(context)
    this.#called(`write ${Number(batch.position?.resume)}`)
    return { durable: this.durable }
  }

  override async flush(context: WriteContext): Promise<WriteResult> {
    await this.onFlush?.(context)
    this.#called('flush')
    return { durable: null }
  }

  async disconnect(): Promise<void> {}

  #called(call: string): void {
    const failure = this.failures.shift()
    this.calls.push(failure === undefined ? call : `${call} fails`)
    if (failure !== undefined) throw failure
  }
}

/** Durable when a write returns: has no flush. */
class DirectSink extends ScriptedSink {
  override flush = undefined as never
}

const open = (
  sink: ScriptedSink,
  { budgetMs = 3_600_000, now }: { budgetMs?: number; now?: () => number } = {},
) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clockWith(Effect.succeed)
    const durable: unknown[] = []
    const lane = new Lane({
      name: 'main',
      sink,
      bufferBytes: 1_000_000,
      filter: new ReplayFilter(null, null),
      backoff: new Backoff(
        () => budgetMs,
        () => 0,
      ),
      log: recordingLog(),
      now: now ?? (() => clock.currentTimeMillisUnsafe()),
      onDurable: (position) => durable.push(position.resume),
      rewind: () => Effect.die('nothing is skipped'),
    })
    const fiber = yield* Effect.forkChild(lane.run())
    return { lane, fiber, durable }
  })

/** Lets everything run that does not wait for the clock. */
const idle = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const send = (lane: Lane, batch: RecordBatch) => Effect.sync(() => void lane.channel.write(batch))

const advance = (ms: number) => Effect.andThen(idle, Effect.andThen(TestClock.adjust(ms), idle))

describe('a lane', () => {
  it.effect('repeats a failed write with the same batch, after 250 ms, 500 ms, 1 s', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.failures.push(lost(), lost(), lost())
      const { lane, fiber } = yield* open(sink)
      const batch = transaction(1, 1)
      yield* send(lane, batch)
      yield* advance(249)
      expect(sink.written.length).toBe(1)
      yield* advance(1)
      expect(sink.written.length).toBe(2)
      expect(lane.failures).toBe(2)
      yield* advance(499)
      expect(sink.written.length).toBe(2)
      yield* advance(1)
      yield* advance(1000)
      lane.channel.end()
      yield* Fiber.join(fiber)
      expect(sink.written.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4])
      for (const written of sink.written) assert.strictEqual(written.batch, batch)
      expect(lane.failures).toBe(0)
    }),
  )

  it.effect('waits as long as the sink asks for', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.failures.push(new ThrottledError('test/slow', 'slow down', { retryAfterMs: 5000 }))
      const { lane } = yield* open(sink)
      yield* send(lane, transaction(1, 1))
      yield* advance(4999)
      expect(sink.written.length).toBe(1)
      yield* advance(1)
      expect(sink.written.length).toBe(2)
    }),
  )

  it.effect('gives up with the error itself when the budget is spent', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.failures.push(lost(), lost(), lost(), lost())
      const { lane, fiber } = yield* open(sink, { budgetMs: 1000 })
      yield* send(lane, transaction(1, 1))
      yield* advance(250)
      yield* advance(500)
      const failure = yield* Effect.flip(Fiber.join(fiber))
      expect(failure.code).toBe('test/lost')
      expect(sink.written.length).toBe(3)
    }),
  )

  it.effect('flushes when the first accepted batch has waited for the interval', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      const { lane, durable } = yield* open(sink)
      yield* send(lane, transaction(1, 1))
      yield* advance(60)
      yield* send(lane, transaction(2, 2))
      yield* advance(39)
      expect(sink.calls).toEqual(['write 1', 'write 2'])
      expect(durable).toEqual([])
      yield* advance(1)
      expect(sink.calls).toEqual(['write 1', 'write 2', 'flush'])
      expect(durable).toEqual([2])
      yield* advance(1000)
      expect(sink.calls.length).toBe(3)
    }),
  )

  it.effect('flushes in time although batches never stop coming', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      const { lane } = yield* open(sink)
      for (let number = 1; number <= 5; number++) {
        yield* send(lane, transaction(number, number))
        yield* advance(50)
      }
      expect(sink.calls).toEqual(['write 1', 'write 2', 'flush', 'write 3', 'write 4', 'flush', 'write 5'])
    }),
  )

  it.effect('flushes in time although the channel is never empty', () =>
    Effect.gen(function* () {
      let nowMs = 0
      const sink = new ScriptedSink()
      sink.onWrite = async () => void (nowMs += 60)
      const { lane, fiber } = yield* open(sink, { now: () => nowMs })
      for (let number = 1; number <= 4; number++) yield* send(lane, transaction(number, number))
      lane.channel.end()
      yield* Fiber.join(fiber)
      expect(sink.calls).toEqual(['write 1', 'write 2', 'write 3', 'flush', 'write 4', 'flush'])
    }),
  )

  it.effect('flushes at the end', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      const { lane, fiber, durable } = yield* open(sink)
      yield* send(lane, transaction(1, 1))
      lane.channel.end()
      yield* Fiber.join(fiber)
      expect(sink.calls).toEqual(['write 1', 'flush'])
      expect(durable).toEqual([1])
    }),
  )

  it.effect('makes a schema change after a flush and before the next row (L9)', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      const { lane, fiber, durable } = yield* open(sink)
      const batches = [
        schemaChange('create-table'),
        transaction(1, 1),
        schemaChange('truncate', 'stream', at(2)),
        transaction(3, 2),
      ]
      for (const batch of batches) yield* send(lane, batch)
      lane.channel.end()
      yield* Fiber.join(fiber)
      expect(sink.calls).toEqual(['createTable', 'write 1', 'flush', 'alter truncate', 'write 3', 'flush'])
      expect(durable).toEqual([1, 2, 3])
    }),
  )

  it.effect('ends with table, change and sink when the sink cannot make the change', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.changes = 'unsupported'
      const { lane, fiber } = yield* open(sink)
      yield* send(lane, schemaChange('change-key'))
      const failure = yield* Effect.flip(Fiber.join(fiber))
      expect(failure).toBeInstanceOf(SchemaError)
      expect(failure.message).toBe('sink "main" (scripted) cannot apply change-key to table public.users')
      expect(failure.fix).toBeTruthy()
    }),
  )

  it.effect('believes a sink that is durable when a write returns, up to the last commit', () =>
    Effect.gen(function* () {
      const { lane, durable } = yield* open(new DirectSink())
      yield* send(lane, transactions([1, 1], [-2, 2]))
      yield* idle
      yield* send(lane, heartbeat(3))
      yield* idle
      expect(durable).toEqual([1, 3])
    }),
  )

  it.effect('passes a heartbeat only after the rows before it are durable', () =>
    Effect.gen(function* () {
      const { lane, durable } = yield* open(new ScriptedSink())
      yield* send(lane, transaction(1, 1))
      yield* send(lane, heartbeat(2))
      yield* idle
      expect(durable).toEqual([])
      yield* advance(100)
      expect(durable).toEqual([2])
    }),
  )

  it.effect('still flushes when a sink is durable up to the commit, but not beyond', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.durable = at(1)
      const { lane } = yield* open(sink)
      yield* send(lane, transactions([1, 1], [-2, 2]))
      yield* advance(100)
      expect(sink.calls).toEqual(['write 1', 'flush'])
    }),
  )

  it.effect('takes the word of a sink that stores the position itself, and nothing else', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink('transactional-position')
      const { lane, durable } = yield* open(sink)
      yield* send(lane, transaction(1, 1))
      yield* advance(100)
      expect(durable).toEqual([])
      sink.durable = at(2)
      yield* send(lane, heartbeat(2))
      yield* idle
      expect(sink.calls).toEqual(['write 1', 'flush', 'write 2'])
      expect(durable).toEqual([2])
    }),
  )

  it.effect('leaves no promise behind that could end the process when it is broken off in a flush', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      sink.onFlush = ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(lost())))
      // The flush becomes due just when the lane has begun to wait for the next batch.
      const times = [0, 99, 100]
      const { lane, fiber } = yield* open(sink, { now: () => times.shift() ?? 100 })
      yield* send(lane, transaction(1, 1))
      yield* idle
      lane.channel.fail(new Error('the attempt is over'))
      yield* Fiber.interrupt(fiber)
      // Node tells of unhandled rejections after the current turn, and the test runner then fails.
      yield* idle
      expect(sink.calls).toEqual(['write 1'])
    }),
  )

  it.live('aborts a write that is under way and waits for it before it is gone', () =>
    Effect.gen(function* () {
      const sink = new ScriptedSink()
      let ended = false
      sink.onWrite = ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () =>
            setTimeout(() => {
              ended = true
              reject(lost())
            }, 20),
          )
        })
      const { lane, fiber } = yield* open(sink)
      yield* send(lane, transaction(1, 1))
      yield* idle
      yield* Fiber.interrupt(fiber)
      expect(ended).toBe(true)
    }),
  )
})
