import { describe, expect, it } from 'vitest'
import { ConnectionError, CoreError, InternalError, LeaseLostError } from '../../../src/core/error.ts'
import type { SourcePosition } from '../../../src/core/position.ts'
import type { Sink } from '../../../src/core/sink.ts'
import type { ValueRow } from '../../../src/core/value-batch.ts'
import { thisProcess } from '../../../src/runtime/checkpoint/owner.ts'
import type { Checkpoint, Lease } from '../../../src/runtime/checkpoint/store.ts'
import type { PipelineDefinition } from '../../../src/runtime/definition.ts'
import { runPipeline } from '../../../src/runtime/pipeline.ts'
import { MemoryTarget } from '../../../src/connectors/sinks/memory/target.ts'
import type { MemoryDatabase } from '../../../src/connectors/sources/memory/database.ts'
import { column, contents, memoryPipeline, table, text } from '../../support/memory-pipeline.ts'
import { type Faults, FaultySink, type SinkCall } from '../../support/faulty-sink.ts'
import { KeepingSink } from '../../support/keeping-sink.ts'
import { waitFor } from '../../support/wait-for.ts'

const lost = (): ConnectionError => new ConnectionError('test/lost', 'the connection was lost')

/** Adds a column `extra` to table t. */
function addColumn(database: MemoryDatabase): void {
  const before = database.schemas().find(({ name }) => name === 't')!
  const added = column('extra', text)
  const after = { ...before, columns: [...before.columns, added], version: before.version + 1 }
  database.alterTable(after, { kind: 'add-column', column: added })
}

describe('L1: the source forgets only what is stored, and stored is only what every sink has', () => {
  it('saves before it confirms, and what the slowest sink made durable', async () => {
    const events: string[] = []
    let release: () => void = () => {}
    const slow = new Promise<void>((resolve) => (release = resolve))
    let waits = true
    const { database, definition, store, log } = memoryPipeline({
      sinks: [{}, { before: (call) => (waits && call === 'flush' ? slow : undefined) }],
      source: {
        before: (call, position) => void (call === 'checkpoint' && events.push(`confirm ${position!.order}`)),
      },
    })
    const save = store.save.bind(store)
    store.save = async (lease: Lease, checkpoint: Checkpoint) => {
      await save(lease, checkpoint)
      events.push(`save ${checkpoint.position.order}`)
    }
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    const stop = new AbortController()
    const latest: { sinks: readonly { durable: string | null }[] } = { sinks: [] }
    const running = runPipeline(definition, {
      signal: stop.signal,
      log,
      onStatus: (status) => (latest.sinks = status.sinks),
    })
    await waitFor('the fast sink is durable', () => (latest.sinks[0]?.durable ?? null) !== null)
    expect(events).toEqual([])
    expect(database.forgotten).toBe(0)
    waits = false
    release()
    database.insert('public.t', { id: 2 })
    await waitFor('the last change is confirmed', () => database.forgotten === 3)
    stop.abort()
    await running
    for (let at = 0; at < events.length; at += 2) {
      expect(events[at + 1]).toBe(events[at]!.replace('save', 'confirm'))
    }
  })

  it('confirms nothing while the store fails, reads on, and catches up when it works again', async () => {
    let full = false
    let failed = 0
    const confirmed: SourcePosition[] = []
    const { database, targets, definition, store, log } = memoryPipeline({
      source: { before: (call, position) => void (call === 'checkpoint' && confirmed.push(position!)) },
    })
    const save = store.save.bind(store)
    store.save = async (lease: Lease, checkpoint: Checkpoint) => {
      if (full) failed++
      if (full) throw new CoreError('checkpoint/disk-full', 'no space', { retryable: true })
      await save(lease, checkpoint)
    }
    database.createTable(table('t'))
    const stop = new AbortController()
    const running = runPipeline(definition, { signal: stop.signal, log, random: () => 0.999 })
    await waitFor('the copy is confirmed', () => database.forgotten === 1)
    full = true
    database.insert('public.t', { id: 1 })
    await waitFor('a save failed', () => failed > 0)
    database.insert('public.t', { id: 2 })
    await waitFor('both rows are in the target', () => targets[0]!.rows('public.t').length === 2)
    expect(database.forgotten).toBe(1)
    full = false
    await waitFor('all is confirmed', () => database.forgotten === 3)
    stop.abort()
    await running
    expect(confirmed.at(-1)!.resume).toBe(3)
  })

  it('copies everything again for a sink that the checkpoint does not know', async () => {
    const { database, targets, definition, log } = memoryPipeline({ sinks: [{}, {}] })
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    await runPipeline({ ...definition, sinks: [definition.sinks[0]!] }, { log, stopWhenCaughtUp: true })
    expect(targets[1]!.rows('public.t')).toEqual([])
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(contents(targets[1]!)).toEqual(contents(database))
    expect(contents(targets[0]!)).toEqual(contents(database))
  })

  it('believes a sink that keeps its own position, also when it has none any more', async () => {
    const { database, definition, log } = memoryPipeline({ sinks: [{}, {}] })
    const keeping = withKeepingSink(definition)
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    await runPipeline(keeping, { log, stopWhenCaughtUp: true })
    const resumed = await runPipeline(keeping, { log, stopWhenCaughtUp: true })
    KeepingSink.forget(`${definition.name}-1`)
    const repeated = await runPipeline(keeping, { log, stopWhenCaughtUp: true })
    expect([resumed.status.rowsCopied, repeated.status.rowsCopied]).toEqual([0, 1])
  })
})

describe('L3: a position that the log no longer has', () => {
  it('stops the pipeline', async () => {
    const { database, definition, log } = memoryPipeline()
    database.createTable(table('t'))
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    database.insert('public.t', { id: 1 })
    database.insert('public.t', { id: 2 })
    database.forget(2)
    await expect(runPipeline(definition, { log, stopWhenCaughtUp: true })).rejects.toThrow(
      'does not reach back',
    )
  })
})

describe('a sink that is ahead of the start', () => {
  const cases = [
    {
      what: 'an older shape of a table',
      work: (database: MemoryDatabase) => {
        addColumn(database)
        database.insert('public.t', { id: 2, extra: 'a value' })
      },
      arrived: (rows: readonly ValueRow[]) => rows.some((row) => row['extra'] === 'a value'),
      isInTheMiddle: (call: SinkCall) => call === 'alterTable',
    },
    {
      what: 'a part of a large transaction',
      work: (database: MemoryDatabase) => {
        database.transaction(() => {
          database.update('public.t', { id: 1 }, { name: 'older' })
          for (let id = 2; id < 200; id++) database.insert('public.t', { id, note: 'x'.repeat(1000) })
        })
        database.update('public.t', { id: 1 }, { name: 'newest' })
      },
      arrived: (rows: readonly ValueRow[]) => rows.some((row) => row['name'] === 'newest'),
      isInTheMiddle: (call: SinkCall, rows: readonly ValueRow[]) =>
        call === 'write' && rows.some((row) => row['name'] === 'older'),
    },
  ]
  it.each(cases)(
    'ends equal after it got $what again and the process died',
    async ({ work, arrived, isInTheMiddle }) => {
      const faults: Faults[] = [{}, {}]
      const { database, targets, definition, store, log } = memoryPipeline({
        durable: 'write',
        sinks: [{ before: (...call) => faults[0]!.before?.(...call) }],
      })
      const ahead = `${definition.name}-1`
      const keeping = MemoryTarget.named(ahead)
      const create = (): Sink =>
        new FaultySink(new KeepingSink(ahead), { before: (...call) => faults[1]!.before?.(...call) })
      const both = {
        ...definition,
        sinks: [...definition.sinks, { name: 'keeping', type: 'keeping', create }],
      }
      database.createTable(table('t'))
      database.insert('public.t', { id: 1, name: 'first' })
      await runPipeline(both, { log, stopWhenCaughtUp: true })
      const start = KeepingSink.position(ahead)!

      /** Runs until the condition holds while calls of one sink wait; then the process dies. */
      const dieWhen = async (sink: number, waits: Faults['before'], holds: () => Promise<boolean>) => {
        const { promise, reject } = Promise.withResolvers<never>()
        promise.catch(() => {})
        faults[sink] = { before: (...call) => (waits!(...call) === undefined ? undefined : promise) }
        const running = runPipeline(both, { log })
        running.catch(() => {})
        await waitFor('the process is where it dies', holds)
        reject(new InternalError('test/killed', 'the process was killed'))
        await expect(running).rejects.toThrow('killed')
        faults[sink] = {}
      }
      const waiting = Promise.resolve()
      work(database)
      await dieWhen(
        0,
        (call) => (call === 'write' || call === 'alterTable' ? waiting : undefined),
        async () => arrived(keeping.rows('public.t')),
      )
      expect(KeepingSink.position(ahead)!.order > start.order).toBe(true)
      await dieWhen(
        1,
        (call) => (isInTheMiddle(call, keeping.rows('public.t')) ? waiting : undefined),
        async () => {
          const stored = await store.load(definition.name)
          const isBack = KeepingSink.position(ahead)!.order === start.order
          return arrived(targets[0]!.rows('public.t')) && (isBack || stored!.position.order > start.order)
        },
      )
      await runPipeline(both, { log, stopWhenCaughtUp: true })
      expect(contents(keeping)).toEqual(contents(database))
      expect(contents(targets[0]!)).toEqual(contents(database))
    },
  )
})

describe('L10: a sink that is down', () => {
  it('keeps the source alive, holds no more than the budget, and converges afterwards', async () => {
    let down = true
    let connects = 0
    let handedOver = 0
    const attempts: number[] = []
    const { database, targets, definition, log } = memoryPipeline({
      sinks: [
        {
          before: (call, context) => {
            if (call !== 'write' || !down) return
            attempts.push(context!.attempt)
            throw lost()
          },
        },
      ],
      source: {
        before: (call) => void (call === 'connect' && connects++),
        written: (batch) => (handedOver += batch.byteSize),
      },
      limits: { bufferBytes: 300_000 },
    })
    database.createTable(table('t'))
    for (let id = 0; id < 2000; id++) database.insert('public.t', { id, note: 'x'.repeat(1000) })
    const stop = new AbortController()
    const running = runPipeline(definition, { signal: stop.signal, log, random: () => 0.999 })
    await waitFor('the write was tried three times', () => attempts.length >= 3)
    expect(attempts.slice(0, 3)).toEqual([1, 2, 3])
    // The budget, the batch that crosses it, and the one that the sink refuses.
    expect(handedOver).toBeGreaterThan(300_000)
    expect(handedOver).toBeLessThan(300_000 + 3 * 150_000)
    down = false
    await waitFor('all rows are in the target', () => targets[0]!.rows('public.t').length === 2000)
    stop.abort()
    await running
    expect(connects).toBe(1)
    expect(contents(targets[0]!)).toEqual(contents(database))
  })
})

describe('L12: one runner', () => {
  it('stops when another one takes over', async () => {
    const { database, definition, store, log } = memoryPipeline()
    database.createTable(table('t'))
    const running = runPipeline(definition, { log })
    running.catch(() => {})
    await waitFor('the copy is confirmed', () => database.forgotten === 1)
    await store.acquire(definition.name, thisProcess())
    database.insert('public.t', { id: 1 })
    await expect(running).rejects.toThrow(LeaseLostError)
    expect(database.forgotten).toBe(1)
  })
})

/** The second sink keeps the position itself, and is therefore often ahead of the first after a crash. */
function withKeepingSink(definition: PipelineDefinition): PipelineDefinition {
  const create = (): KeepingSink => new KeepingSink(`${definition.name}-1`)
  return { ...definition, sinks: [definition.sinks[0]!, { name: 'keeping', type: 'keeping', create }] }
}
