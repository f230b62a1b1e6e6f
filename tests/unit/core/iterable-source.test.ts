import { describe, expect, it } from 'vitest'
import type { RecordBatch } from '../../../src/core/batch.ts'
import {
  ChannelClosedError,
  ConnectionError,
  type CoreError,
  PoisonRecordError,
  SchemaError,
} from '../../../src/core/error.ts'
import { type PositionedChange, sourceFromIterable } from '../../../src/core/iterable-source.ts'
import { selectTables } from '../../../src/core/selection.ts'
import type { BatchWriter, Source, SourceContext } from '../../../src/core/source.ts'
import { runPipeline } from '../../../src/runtime/pipeline.ts'
import { idsOf } from '../../support/batches.ts'
import { memoryPipeline, recordingLog, table } from '../../support/memory-pipeline.ts'
import { waitFor } from '../../support/wait-for.ts'

const users = table('users')
const orders = table('orders')

/** Row `id` of a table, at position `id`. */
function insert(id: number, name = 'public.users', note = ''): PositionedChange {
  return { type: 'insert', table: name, key: { id }, value: { note }, timestamp: id * 1000, position: id }
}

/** An iterable that a test feeds: waits when there is nothing, ends its generator when it is aborted. */
class Feed {
  readonly items: unknown[] = []
  /** Items that were taken. */
  taken = 0
  from: unknown
  ended = false
  #wake: () => void = () => {}

  push(...items: readonly unknown[]): void {
    this.items.push(...items)
    this.#wake()
  }

  readonly changes = async function* (this: Feed, from: unknown, signal: AbortSignal) {
    this.from = from
    try {
      while (!signal.aborted) {
        if (this.taken < this.items.length) {
          const item = this.items[this.taken++]
          if (item instanceof Error) throw item
          yield item as PositionedChange
          continue
        }
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
        await promise
      }
    } finally {
      this.ended = true
    }
  }.bind(this)
}

const context = (
  patterns: readonly string[] = [],
): SourceContext & { log: ReturnType<typeof recordingLog> } => {
  return { pipeline: 'p', log: recordingLog(), now: () => 5000, run: 1, tables: selectTables(patterns) }
}

/** Runs `stream` against a writer that keeps what it gets; `full` makes it wait for ever with the first batch. */
function streaming(source: Source, options: { readonly from?: string; readonly full?: boolean } = {}) {
  const controller = new AbortController()
  const batches: RecordBatch[] = []
  const out: BatchWriter = {
    signal: controller.signal,
    write: (batch) => {
      if (batch.schemaChange === null) batches.push(batch)
      return options.full === true && batch.schemaChange === null ? new Promise(() => {}) : undefined
    },
  }
  const from =
    options.from === undefined ? null : { order: options.from.padStart(19, '0'), resume: options.from }
  const done = source.stream(out, from)
  return { batches, done, stop: () => controller.abort() }
}

async function connected(source: Source, patterns: readonly string[] = []) {
  const given = context(patterns)
  await source.connect(given)
  return given
}

const logged = (feed: Feed, more: object = {}): Source =>
  sourceFromIterable({ type: 'feed', replay: 'log', tables: [users, orders], changes: feed.changes, ...more })

describe('a source over an iterable', () => {
  it('sends changes that are there together in one batch, and a single one at once', async () => {
    const feed = new Feed()
    feed.push(insert(1), insert(2), insert(3, 'orders'))
    const source = logged(feed)
    await connected(source)
    const { batches, done, stop } = streaming(source)
    await waitFor('the first changes arrive', () => batches.length === 1)
    expect(batches[0]!.rowCount).toBe(3)
    expect(batches[0]!.tables.map(({ name }) => name)).toEqual(['users', 'orders'])
    feed.push(insert(4))
    await waitFor('the next change arrives alone', () => batches.length === 2)
    expect(idsOf(batches[1]!)).toEqual([4])
    expect(batches[1]!.spans).toEqual([
      expect.objectContaining({
        version: 4n,
        commitTimeMs: 4000,
        position: { order: '0000000000000000004', resume: '4' },
      }),
    ])
    expect(source.currentPosition()).toEqual(batches[1]!.position)
    stop()
    await done
  })

  it('cuts a batch when it is large enough', async () => {
    const feed = new Feed()
    const note = 'x'.repeat(1000)
    for (let id = 1; id <= 200; id++) feed.push(insert(id, 'public.users', note))
    const source = logged(feed)
    await connected(source)
    const { batches, done, stop } = streaming(source)
    await waitFor('all rows arrive', () => batches.reduce((sum, batch) => sum + batch.rowCount, 0) === 200)
    expect(batches.map((batch) => batch.rowCount)).toEqual([66, 66, 66, 2])
    stop()
    await done
  })

  it('reads nothing more while there is no room, apart from the change after (L10)', async () => {
    const feed = new Feed()
    const note = 'x'.repeat(1000)
    for (let id = 1; id <= 1000; id++) feed.push(insert(id, 'public.users', note))
    const source = logged(feed)
    await connected(source)
    const { batches, done, stop } = streaming(source, { full: true })
    await waitFor('a batch was written', () => batches.length === 1)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(feed.taken).toBeLessThanOrEqual(batches[0]!.rowCount + 1)
    stop()
    await done
    expect(feed.ended).toBe(true)
  })

  it('lets others work while there is always one more', async () => {
    const source = sourceFromIterable({
      type: 'endless',
      replay: 'log',
      tables: [users],
      async *changes() {
        for (let id = 1; id < 1_000_000; id++) yield insert(id, 'users')
        throw new Error('nobody else got to work')
      },
    })
    await connected(source, ['public.nothing'])
    const { batches, done, stop } = streaming(source)
    await new Promise((resolve) => setTimeout(resolve, 0))
    stop()
    await done
    expect(batches.length).toBeLessThan(200)
  })

  it('moves on over tables that are not selected', async () => {
    const feed = new Feed()
    feed.push(insert(1), insert(2, 'public.orders'))
    const source = logged(feed)
    await connected(source, ['public.users'])
    expect((await source.discover()).map(({ name }) => name)).toEqual(['users'])
    const { batches, done, stop } = streaming(source)
    await waitFor('the position is behind both', () => source.currentPosition()?.resume === '2')
    expect(batches.map((batch) => batch.rowCount)).toEqual([1])
    stop()
    await done
  })

  it('begins where it is told to', async () => {
    const feed = new Feed()
    const source = logged(feed)
    await connected(source)
    const { done, stop } = streaming(source, { from: '9007199254740993' })
    await waitFor('it has begun', () => feed.from !== undefined)
    expect(feed.from).toBe(9007199254740993n)
    stop()
    await done
  })

  it('ends the iterable when it is told to stop', async () => {
    const feed = new Feed()
    const source = logged(feed)
    await connected(source)
    const { done, stop } = streaming(source)
    await waitFor('it has begun', () => feed.from !== undefined)
    stop()
    await done
    expect(feed.ended).toBe(true)
  })

  it('hands over what it has read when it is told to stop', async () => {
    const controller = new AbortController()
    const source = sourceFromIterable({
      type: 'live',
      tables: [users],
      async *changes() {
        yield insert(1)
        controller.abort()
        yield insert(2)
      },
    })
    await connected(source)
    const written: unknown[] = []
    await source.stream(
      { signal: controller.signal, write: (batch) => void written.push(...idsOf(batch)) },
      null,
    )
    expect(written).toEqual([1, 2])
  })

  it(
    'calls return() and does not wait for ever for an iterable that does not end',
    { timeout: 1500 },
    async () => {
      const calls: string[] = []
      const never = new Promise<never>(() => {})
      const source = sourceFromIterable({
        type: 'deaf',
        tables: [users],
        changes: () => ({
          [Symbol.asyncIterator]: () => ({
            next: () => (calls.push('next'), never),
            return: () => (calls.push('return'), never),
          }),
        }),
      })
      const { log } = await connected(source)
      const { done, stop } = streaming(source)
      await waitFor('it listens', () => calls.length === 1)
      stop()
      await done
      expect(calls).toEqual(['next', 'return'])
      expect(log.lines.map(({ message }) => message)).toEqual([
        'the changes of source "deaf" do not end although they were told to',
      ])
    },
  )

  it('takes an error after the abort as a way to end', async () => {
    const controller = new AbortController()
    const source = sourceFromIterable({
      type: 'throwing',
      tables: [users],
      // oxlint-disable-next-line require-yield -- It has nothing to say.
      async *changes(_from, signal) {
        controller.abort()
        signal.throwIfAborted()
      },
    })
    await connected(source)
    await source.stream({ signal: controller.signal, write: () => {} }, null)
    expect(controller.signal.aborted).toBe(true)
  })

  it('notices an error that comes while there is no room, when there is room again', async () => {
    const feed = new Feed()
    feed.push(insert(1))
    const source = logged(feed)
    await connected(source)
    const room = Promise.withResolvers<void>()
    const write = (batch: RecordBatch) => (batch.schemaChange === null ? room.promise : undefined)
    const done = source.stream({ signal: new AbortController().signal, write }, null)
    await waitFor('it waits for room', () => source.currentPosition() !== null)
    const lost = new ConnectionError('queue/lost', 'the queue is gone')
    feed.push(lost)
    await waitFor('the iterable has failed', () => feed.ended)
    room.resolve()
    await expect(done).rejects.toBe(lost)
  })

  it('ends the iterable when nobody takes its changes any more', async () => {
    const feed = new Feed()
    feed.push(insert(1))
    const source = logged(feed)
    await connected(source)
    const write = (batch: RecordBatch): void => {
      if (batch.schemaChange === null) throw new ChannelClosedError('test/closed', 'the attempt is over')
    }
    const done = source.stream({ signal: new AbortController().signal, write }, null)
    await expect(done).rejects.toThrow(ChannelClosedError)
    expect(feed.ended).toBe(true)
  })

  it.each([
    ['a CoreError', new ConnectionError('queue/lost', 'the queue is gone')],
    ['anything else', new TypeError('x is not a function')],
  ])('passes %s on as it is, and ends the iterable', async (_, error) => {
    const feed = new Feed()
    feed.push(insert(1), error)
    const source = logged(feed)
    await connected(source)
    await expect(streaming(source).done).rejects.toBe(error)
    expect(feed.ended).toBe(true)
  })

  it('counts an iterable that ends as a lost connection', async () => {
    const source = sourceFromIterable({ type: 'short', tables: [users], async *changes() {} })
    await connected(source)
    const error: unknown = await streaming(source).done.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ code: 'iterable/ended', retryable: true })
  })

  it.each([
    [
      'an unknown table',
      [{ ...insert(1), table: 'public.user' }],
      SchemaError,
      'did you mean "public.users"?',
    ],
    ['a missing key', [{ ...insert(1), key: {} }], PoisonRecordError, 'column "id" of table public.users'],
    [
      'a value that does not fit',
      [{ ...insert(1), key: { id: 'xyzzy' } }],
      PoisonRecordError,
      'column "id" of table public.users',
    ],
    [
      'no position',
      [{ ...insert(1), position: undefined }],
      PoisonRecordError,
      'a change of table public.users has no position',
    ],
    ['half a position', [{ ...insert(1), position: 1.5 }], PoisonRecordError, 'has no position'],
    ['a negative position', [{ ...insert(1), position: -1n }], PoisonRecordError, 'has no position'],
    [
      'a position that does not rise',
      [insert(2), insert(2)],
      PoisonRecordError,
      'not later than the one before',
    ],
  ])('refuses %s, naming no value', async (_, changes, type, message) => {
    const feed = new Feed()
    feed.push(...changes)
    const source = logged(feed)
    await connected(source)
    const error: unknown = await streaming(source).done.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(type)
    expect((error as CoreError).message).toContain(message)
    expect(`${(error as CoreError).message} ${(error as CoreError).fix}`).not.toContain('xyzzy')
    expect(feed.ended).toBe(true)
  })

  it('gives changes without a log positions and versions that rise over restarts', async () => {
    const live = async (now: number, from?: string) => {
      const feed = new Feed()
      feed.push(insert(1), insert(2))
      const source = sourceFromIterable({ type: 'live', tables: [users], changes: feed.changes })
      await source.connect({ ...context(), now: () => now })
      const { batches, done, stop } = streaming(source, from === undefined ? {} : { from })
      await waitFor('both arrive', () => batches.length > 0)
      stop()
      await done
      expect(feed.from).toBe(null)
      return batches[0]!.spans.map(({ version, position }) => [version, position!.resume])
    }
    expect(await live(7)).toEqual([
      [7000n, '7000'],
      [7001n, '7001'],
    ])
    // The clock was set back.
    expect(await live(6, '7001')).toEqual([
      [7002n, '7002'],
      [7003n, '7003'],
    ])
  })

  it('says what it can, and finds mistakes in what was declared', async () => {
    const feed = new Feed()
    expect(logged(feed, { leftOut: 'unchanged' }).capabilities()).toMatchObject({
      replay: 'log',
      unchangedCells: true,
    })
    expect(sourceFromIterable({ type: 'live', tables: [], changes: feed.changes }).capabilities()).toEqual({
      replay: 'none',
      snapshot: false,
      transactions: false,
      unchangedCells: false,
      updates: true,
      deletes: true,
      schemaChanges: [],
    })
    const keyless = { ...table('keyless'), key: [] }
    const source = logged(feed, { tables: [users, users, keyless] })
    expect(await source.validate(context(['public.*', 'public.user', '!public.x*']))).toEqual([
      expect.objectContaining({
        code: 'iterable/table-twice',
        message: 'table public.users is declared twice',
      }),
      expect.objectContaining({ code: 'iterable/no-key', message: 'table public.keyless has no key' }),
      expect.objectContaining({
        code: 'iterable/no-table',
        message: 'there is no table "public.user", did you mean "public.users"?',
      }),
    ])
    expect(await logged(feed).validate(context(['public.*']))).toEqual([])
  })
})

describe('a pipeline from an iterable', () => {
  it('resumes after the last position that is stored, and lets the log forget it (L1)', async () => {
    const { definition, targets, log, store } = memoryPipeline()
    const feeds: Feed[] = []
    const forgotten: bigint[] = []
    const create = (): Source => {
      const feed = new Feed()
      feeds.push(feed)
      return logged(feed, { checkpoint: async (position: bigint) => void forgotten.push(position) })
    }
    const start = () => {
      const stop = new AbortController()
      const running = runPipeline(
        { ...definition, source: { type: 'feed', create } },
        { signal: stop.signal, log },
      )
      return async () => {
        stop.abort()
        await running
      }
    }
    const stopFirst = start()
    // The first instance only validates.
    await waitFor('it listens', () => feeds.at(-1)?.from === null)
    feeds.at(-1)!.push(insert(1), insert(2))
    await waitFor('the log may forget', () => forgotten.at(-1) === 2n)
    await stopFirst()
    expect((await store.load(definition.name))?.position.resume).toBe('2')

    const stopSecond = start()
    await waitFor('it goes on after 2', () => feeds.at(-1)?.from === 2n)
    feeds.at(-1)!.push({
      type: 'update',
      table: 'users',
      key: { id: 2 },
      value: { id: 3, name: 'c', note: null },
      position: 3,
    })
    feeds.at(-1)!.push({ type: 'delete', table: 'users', key: { id: 1 }, position: 4 })
    await waitFor('the changes are in the target', () => targets[0]!.rows('public.users').length === 1)
    await stopSecond()
    expect(targets[0]!.rows('public.users')).toEqual([{ id: 3, name: 'c', note: null }])
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([])
  })

  it('warns that changes without a log are lost while it is down, and goes on with those that come', async () => {
    const { definition, targets, log } = memoryPipeline()
    const run = async (...ids: readonly number[]) => {
      const feed = new Feed()
      feed.push(...ids.map((id) => insert(id)))
      const create = (): Source =>
        sourceFromIterable({ type: 'live', tables: [users], changes: feed.changes })
      const stop = new AbortController()
      const running = runPipeline(
        { ...definition, source: { type: 'live', create } },
        { signal: stop.signal, log },
      )
      await waitFor('the rows are in the target', () =>
        ids.every((id) => targets[0]!.rows('public.users').some((row) => row['id'] === id)),
      )
      stop.abort()
      await running
    }
    await run(1, 2)
    await run(7)
    expect(targets[0]!.rows('public.users').map((row) => row['id'])).toEqual([1, 2, 7])
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ code }) => code)).toEqual([
      'pipeline/no-replay',
      'pipeline/no-replay',
    ])
  })
})
