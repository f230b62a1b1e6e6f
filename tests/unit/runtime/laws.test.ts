import { setImmediate } from 'node:timers/promises'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConnectionError, CoreError, LeaseLostError } from '../../../src/core/error.ts'
import type { SourcePosition } from '../../../src/core/position.ts'
import { thisProcess } from '../../../src/runtime/checkpoint/owner.ts'
import type { Checkpoint, Lease } from '../../../src/runtime/checkpoint/store.ts'
import type { PipelineDefinition } from '../../../src/runtime/definition.ts'
import { runPipeline } from '../../../src/runtime/pipeline.ts'
import type { MemoryDatabase } from '../../../src/connectors/sources/memory/database.ts'
import { column, contents, memoryPipeline, recordingLog, table, text } from '../../support/memory-pipeline.ts'
import { KeepingSink } from '../../support/keeping-sink.ts'
import { MortalProcess } from '../../support/mortal-process.ts'
import { waitFor } from '../../support/wait-for.ts'

const lost = (): ConnectionError => new ConnectionError('test/lost', 'the connection was lost')

/** Adds a column to a table, with a default that old rows show. */
function addColumn(database: MemoryDatabase): void {
  const before = database.schemas().find(({ name }) => name === 't')!
  if (before.columns.length > 5) return
  const added = { ...column(`extra${before.version}`, text), addedDefault: 'd' }
  const after = { ...before, columns: [...before.columns, added], version: before.version + 1 }
  database.alterTable(after, { kind: 'add-column', column: added })
}

/** Some transactions that touch the same few keys again and again. */
function work(database: MemoryDatabase, seed: readonly number[]): void {
  for (let at = 0; at < seed.length; at += 3) {
    database.transaction(() => {
      for (const number of seed.slice(at, at + 3)) {
        const key = { id: number % 7 }
        const exists = database.rows('public.t').some((row) => row['id'] === key.id)
        if (!exists) database.insert('public.t', { ...key, name: `n${number}`, note: `x${number}` })
        else if (number % 5 === 0) database.delete('public.t', key)
        else if (number % 11 === 0) database.update('public.t', key, { id: 100 + (number % 3) })
        else if (number % 97 === 0) database.truncate('public.t')
        else if (number % 41 === 0) addColumn(database)
        else database.update('public.t', key, number % 2 === 0 ? { name: `n${number}` } : { note: null })
      }
    })
  }
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

describe('a crash at any point', () => {
  it.each(['the checkpoint store', 'one of the sinks'])(
    'ends with every sink equal to the source, with the position in %s',
    async (where) => {
      const seeds = fc.array(fc.nat(1000), { minLength: 3, maxLength: 60 })
      const crash = fc.record({ during: seeds, calls: fc.nat(30), answerLost: fc.boolean() })
      await fc.assert(
        fc.asyncProperty(seeds, fc.array(crash, { maxLength: 4 }), async (seed, crashes) => {
          const memory = memoryPipeline({ sinks: [{}, {}], flushInterval: 1 })
          const { database, targets } = memory
          const definition =
            where === 'one of the sinks' ? withKeepingSink(memory.definition) : memory.definition
          database.createTable(table('t'))
          work(database, seed)
          for (const { during, calls, answerLost } of crashes) {
            const mortal = new MortalProcess(calls, answerLost).of(definition)
            const ended = runPipeline(mortal, { log: recordingLog(), stopWhenCaughtUp: true }).catch(
              (error: CoreError) => {
                if (error.code !== 'test/killed') throw error
              },
            )
            await setImmediate()
            work(database, during)
            await ended
          }
          await runPipeline(definition, { log: recordingLog(), stopWhenCaughtUp: true })
          for (const target of targets) expect(contents(target)).toEqual(contents(database))
        }),
        { numRuns: Number(process.env.SLUICE_RUNS ?? 150) },
      )
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
