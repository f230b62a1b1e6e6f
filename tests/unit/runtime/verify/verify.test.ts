import { describe, expect, it } from 'vitest'
import { ConnectionError, type CoreError, SchemaError } from '../../../../src/core/error.ts'
import type { SinkReader, SourceReader, SourceSnapshot } from '../../../../src/core/row-reader.ts'
import type { Sink } from '../../../../src/core/sink.ts'
import type { Source } from '../../../../src/core/source.ts'
import type { TableSchema } from '../../../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../../../src/core/value-batch.ts'
import type { MemoryTarget } from '../../../../src/connectors/sinks/memory/target.ts'
import { thisProcess } from '../../../../src/runtime/checkpoint/owner.ts'
import type { PipelineDefinition } from '../../../../src/runtime/definition.ts'
import { runPipeline } from '../../../../src/runtime/pipeline.ts'
import { exitCodeOf, exitCodes } from '../../../../src/runtime/policy.ts'
import { repairPipeline } from '../../../../src/runtime/verify/repair.ts'
import type { VerifyProgress } from '../../../../src/runtime/verify/report.ts'
import { verifyPipeline } from '../../../../src/runtime/verify/verify.ts'
import { column, contents, int, memoryPipeline, table } from '../../../support/memory-pipeline.ts'
import { waitFor } from '../../../support/wait-for.ts'

const users = table('users')
const orders = table('orders')

/** A pipeline whose source has two tables with rows, copied to its sinks and stopped. */
async function copied(rows = 10, sinks = 1) {
  const pipeline = memoryPipeline({ sinks: Array.from({ length: sinks }, () => ({})) })
  const { database } = pipeline
  for (const schema of [users, orders]) {
    database.createTable(schema)
    database.transaction(() => {
      for (let id = 0; id < rows; id++)
        database.insert(`public.${schema.name}`, { id, name: `name ${id}`, note: null })
    })
  }
  await runPipeline(pipeline.definition, { log: pipeline.log, stopWhenCaughtUp: true })
  return { ...pipeline, target: pipeline.targets[0]! }
}

/** Runs the pipeline until it is disposed of. */
function running({ definition, log }: Pick<ReturnType<typeof memoryPipeline>, 'definition' | 'log'>) {
  const controller = new AbortController()
  const done = runPipeline(definition, { log, signal: controller.signal })
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      controller.abort()
      await done
    },
  }
}

/** Changes a target behind the pipeline's back. */
function plant(target: MemoryTarget, schema: TableSchema, kind: 'insert' | 'delete', row: ValueRow): void {
  const builder = new ValueBatchBuilder('stream')
  builder.begin({ id: '', commitTimeMs: null, version: 0n })
  builder[kind](schema, row)
  for (const record of builder.take()!) target.apply(record)
}

interface Hooks {
  /** Called before the source takes a snapshot. */
  snapshot?(count: number): void | Promise<void>
  /** Called before the sink reads a range, or looks up keys. */
  scan?(count: number): void | Promise<void>
  find?(count: number): void | Promise<void>
  readonly stamps?: SinkReader['stamps']
}

/** The same pipeline, with hooks in the readers. */
function hooked(definition: PipelineDefinition, hooks: Hooks): PipelineDefinition {
  const counts = { snapshot: 0, scan: 0, find: 0 }
  const wrapSource = (reader: SourceReader): SourceReader => ({
    async snapshot(exact): Promise<SourceSnapshot> {
      await hooks.snapshot?.(++counts.snapshot)
      return reader.snapshot(exact)
    },
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  })
  const wrapSink = (reader: SinkReader): SinkReader => ({
    describe: (schema) => reader.describe(schema),
    async scan(schema, range, out) {
      await hooks.scan?.(++counts.scan)
      await reader.scan(schema, range, out)
    },
    async find(schema, keys, out) {
      await hooks.find?.(++counts.find)
      await reader.find(schema, keys, out)
    },
    ...(hooks.stamps === undefined ? {} : { stamps: hooks.stamps }),
    [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
  })
  return {
    ...definition,
    source: {
      ...definition.source,
      create: (): Source => {
        const source = definition.source.create()
        const open = source.openReader!.bind(source)
        source.openReader = async (context) => wrapSource(await open(context))
        return source
      },
    },
    sinks: definition.sinks.map((one) => ({
      ...one,
      create: (): Sink => {
        const sink = one.create()
        const open = sink.openReader!.bind(sink)
        sink.openReader = async (context) => wrapSink(await open(context))
        return sink
      },
    })),
  }
}

async function failure(promise: Promise<unknown>): Promise<CoreError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).not.toBeNull()
  return error as CoreError
}

describe('verify', () => {
  it('is equal after a copy, while the pipeline runs and while it does not', async () => {
    const pipeline = await copied()
    const { definition, log, database } = pipeline
    expect(await verifyPipeline(definition, { log })).toMatchObject({ equal: true, running: false, rows: 20 })
    expect(log.lines).toContainEqual(expect.objectContaining({ level: 'warn', code: 'verify/not-running' }))
    await using _ = running(pipeline)
    await waitFor('somebody runs the pipeline', async () => {
      return (await definition.store.peek(definition.name)).runner !== null
    })
    for (let id = 100; id < 200; id++) database.insert('public.users', { id, name: 'new', note: null })
    const report = await verifyPipeline(definition, { log })
    expect(report).toMatchObject({
      equal: true,
      running: true,
      rows: 120,
      pipeline: definition.name,
      sink: 'sink-0',
    })
  })

  it('finds rows that are missing, added or different, with the columns, in every range', async () => {
    const { definition, log, target } = await copied(3500)
    plant(target, users, 'delete', { id: 0 })
    plant(target, users, 'delete', { id: 3499 })
    plant(target, users, 'insert', { id: 9999, name: 'extra', note: null })
    plant(target, users, 'insert', { id: -5, name: 'extra', note: null })
    plant(target, users, 'insert', { id: 1000, name: 'changed', note: null })
    plant(target, users, 'insert', { id: 2500, name: 'changed', note: 'and this' })
    plant(target, users, 'insert', { id: 2501, name: null, note: null })
    const report = await verifyPipeline(definition, { log })
    expect(report).toMatchObject({ equal: false, rows: 7000 })
    expect(report.tables).toEqual([
      {
        table: 'public.users',
        equal: false,
        rows: 3500,
        ranges: { compared: 4, of: 4 },
        missing: 2,
        extra: 2,
        different: 3,
        unsettled: 0,
        columns: ['name', 'note'],
        problems: [],
        stopped: false,
      },
      expect.objectContaining({ table: 'public.orders', equal: true, columns: [] }),
    ])
  })

  it('waits until the pipeline has written what the source shows, and says when it does not', async () => {
    const { definition, log, store, database, target } = await copied()
    await store.acquire(definition.name, thisProcess())
    database.insert('public.users', { id: 50, name: 'not copied yet', note: null })
    const error = await failure(verifyPipeline(definition, { log, timeoutMs: 150 }))
    expect(error).toMatchObject({ code: 'verify/behind', message: expect.stringContaining('within 0.15 s') })
    expect(exitCodeOf(error)).toBe(exitCodes.failure)
    let looks = 0
    const peek = store.peek.bind(store)
    store.peek = (name) => {
      looks++
      return peek(name)
    }
    const looked = (more: number): Promise<void> => {
      const from = looks
      return waitFor('it has looked at the checkpoint', () => looks >= from + more)
    }
    let done = false
    const waiting = verifyPipeline(definition, { log, timeoutMs: 20_000 }).finally(() => (done = true))
    plant(target, users, 'insert', { id: 50, name: 'not copied yet', note: null })
    const lease = await store.acquire(definition.name, thisProcess())
    const { position, source } = (await store.load(definition.name))!
    const moved = { ...position, order: String(database.head).padStart(16, '0') }
    await store.save(lease, { position: moved, source, sinks: ['another'] })
    // A sink that the checkpoint does not name has nothing.
    await looked(3)
    expect(done).toBe(false)
    await store.save(lease, { position: moved, source, sinks: ['sink-0'] })
    expect(await waiting).toMatchObject({ equal: true })
  })

  it('looks again at a row that seemed to differ', async () => {
    const { definition, log, target } = await copied()
    const restored = hooked(definition, {
      scan: () => plant(target, users, 'delete', { id: 3 }),
      find: () => plant(target, users, 'insert', { id: 3, name: 'name 3', note: null }),
    })
    expect(await verifyPipeline(restored, { log, tables: ['public.users'] })).toMatchObject({ equal: true })
  })

  it('leaves a row that changes at every look unsettled', async () => {
    const { definition, log, database } = await copied()
    const changing = hooked(definition, {
      snapshot: (count) => database.update('public.users', { id: 3 }, { note: `note ${count}` }),
    })
    const report = await verifyPipeline(changing, { log })
    expect(report.equal).toBe(false)
    expect(report.tables[0]).toMatchObject({ missing: 0, extra: 0, different: 0, unsettled: 1 })
  })

  it('goes by what the sink has written last, where it can say so', async () => {
    const { definition, log, database } = await copied()
    let writes = 0
    const snapshot = (count: number): void =>
      database.update('public.users', { id: 3 }, { note: `note ${count}` })
    const stuck = hooked(definition, {
      snapshot,
      stamps: async (_, { rowCount }) => Array(rowCount).fill('1'),
    })
    expect((await verifyPipeline(stuck, { log })).tables[0]).toMatchObject({
      different: 1,
      unsettled: 0,
      columns: ['note'],
    })
    const busy = hooked(definition, {
      stamps: async (_, { rowCount }) => Array(rowCount).fill(String(++writes)),
    })
    expect((await verifyPipeline(busy, { log })).tables[0]).toMatchObject({ different: 0, unsettled: 1 })
  })

  it('repeats what fails in a way that passes, and nothing else', async () => {
    const { definition, log } = await copied()
    const lost = (count: number): void => {
      if (count <= 2) throw new ConnectionError('test/lost', 'the link was cut')
    }
    expect(await verifyPipeline(hooked(definition, { scan: lost }), { log })).toMatchObject({
      equal: true,
      rows: 20,
    })
    const broken = hooked(definition, {
      scan: () => {
        throw new SchemaError('test/broken', 'broken')
      },
    })
    expect(await failure(verifyPipeline(broken, { log }))).toMatchObject({ code: 'test/broken' })
  })

  it('reports a table or a column that the sink lacks, by name', async () => {
    const { definition, log, database } = await copied()
    database.createTable(table('later'))
    database.alterTable(
      { ...users, columns: [...users.columns, column('age', int)], version: 1 },
      { kind: 'add-column', column: column('age', int) },
    )
    const report = await verifyPipeline(definition, { log })
    expect(report.equal).toBe(false)
    expect(report.tables.map(({ table: name, problems }) => [name, problems])).toEqual([
      ['public.users', ['column "age" is missing']],
      ['public.orders', []],
      ['public.later', ['the table public.later does not exist']],
    ])
  })

  it('waits for a table that the running pipeline is about to make', async () => {
    const pipeline = await copied()
    const { definition, log, database } = pipeline
    await pipeline.store.acquire(definition.name, thisProcess())
    database.createTable(table('later'))
    const lease = await pipeline.store.acquire(definition.name, thisProcess())
    const { position, source, sinks } = (await pipeline.store.load(definition.name))!
    const order = String(database.head).padStart(16, '0')
    await pipeline.store.save(lease, { position: { ...position, order }, source, sinks })
    const report = verifyPipeline(
      hooked(definition, {
        // The other tables have been read by now.
        scan: (count) => (count === 2 ? pipeline.targets[0]!.createTable(table('later')) : undefined),
      }),
      { log },
    )
    expect(await report).toMatchObject({ equal: true, tables: [{}, {}, { table: 'public.later' }] })
  })

  it('compares a part of the ranges, and the same part again with its seed', async () => {
    const { definition, log, target } = await copied(9500)
    for (let id = 0; id < 9500; id += 100) plant(target, users, 'delete', { id })
    const compare = (seed?: number) =>
      verifyPipeline(definition, {
        log,
        tables: ['*.users'],
        sample: { fraction: 0.3, ...(seed === undefined ? {} : { seed }) },
      })
    const first = await compare()
    const [one] = first.tables
    expect(first.sample).toEqual({ fraction: 0.3, seed: expect.any(Number) })
    expect(one!.ranges.of).toBe(10)
    expect(one!.ranges.compared).toBeLessThan(10)
    expect(one!.missing).toBe(one!.rows / 100)
    expect((await compare(first.sample!.seed)).tables).toEqual(first.tables)
  })

  it('shows values only when asked for', async () => {
    const { definition, log, target } = await copied()
    plant(target, users, 'insert', { id: 4, name: 'a secret', note: null })
    plant(target, users, 'delete', { id: 5 })
    const silent = await verifyPipeline(definition, { log })
    expect(JSON.stringify([silent, log.lines])).not.toMatch(/secret|name \d/)
    const loud = await verifyPipeline(definition, { log, showValues: true })
    expect(loud.tables[0]!.examples?.toSorted((a, b) => a.kind.localeCompare(b.kind))).toEqual([
      {
        kind: 'different',
        key: { id: '4' },
        columns: [{ name: 'name', source: 'name 4', sink: 'a secret' }],
      },
      {
        kind: 'missing',
        key: { id: '5' },
        columns: [
          { name: 'id', source: '5' },
          { name: 'name', source: 'name 5' },
          { name: 'note', source: null },
        ],
      },
    ])
  })

  it('ends with a table that differs too much, and says so', { timeout: 60_000 }, async () => {
    const { definition, log, database, target } = await copied(10)
    database.transaction(() => {
      for (let id = 10; id < 120_000; id++) database.insert('public.users', { id, name: null, note: null })
    })
    plant(target, orders, 'delete', { id: 1 })
    const [first, second] = (await verifyPipeline(definition, { log })).tables
    expect(first).toMatchObject({ table: 'public.users', stopped: true, equal: false, different: 0 })
    expect(first!.missing).toBeGreaterThanOrEqual(100_000)
    expect(first!.missing).toBeLessThan(119_990)
    expect(second).toMatchObject({ stopped: false, missing: 1 })
  })

  it('tells how far it is', async () => {
    const { definition, log } = await copied(2500)
    const seen: VerifyProgress[] = []
    await verifyPipeline(definition, { log, onProgress: (progress) => seen.push(progress) })
    expect(seen.at(-1)).toMatchObject({ tablesDone: 2, tablesTotal: 2, rows: 5000, rowsTotal: 5000 })
  })

  it('ends when it is stopped', async () => {
    const { definition, log } = await copied()
    const controller = new AbortController()
    const stopping = hooked(definition, { scan: () => controller.abort() })
    expect(await failure(verifyPipeline(stopping, { log, signal: controller.signal }))).toMatchObject({
      code: 'verify/stopped',
    })
  })

  it('gives every snapshot back, also when it fails', async () => {
    const { definition, log, target } = await copied()
    plant(target, users, 'delete', { id: 1 })
    let open = 0
    const counted: PipelineDefinition = {
      ...definition,
      source: {
        ...definition.source,
        create: () => {
          const source = definition.source.create()
          const openReader = source.openReader!.bind(source)
          source.openReader = async (context) => {
            const reader = await openReader(context)
            return {
              async snapshot(exact) {
                const snapshot = await reader.snapshot(exact)
                open++
                return { ...snapshot, [Symbol.asyncDispose]: async () => void open-- }
              },
              [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
            }
          }
          return source
        },
      },
    }
    await verifyPipeline(counted, { log })
    expect(open).toBe(0)
    const failing = hooked(counted, {
      find: () => {
        throw new SchemaError('test/broken', 'broken')
      },
    })
    await failure(verifyPipeline(failing, { log }))
    expect(open).toBe(0)
  })

  it.each([
    [{ tables: ['public.user'] }, 'verify/unknown-table', 'did you mean public.users?'],
    [{ tables: ['users'] }, 'verify/unknown-table', 'called users, did you mean public.users?'],
    [{ tables: ['usres'] }, 'verify/unknown-table', 'did you mean public.users?'],
    [
      { tables: ['nobody_has_this'] },
      'verify/unknown-table',
      'no table of the pipeline is called nobody_has_this',
    ],
    [{ tables: ['shop.*'] }, 'verify/unknown-table', 'no table of the pipeline is called shop.*'],
    [{ tables: ['!public.*'] }, 'verify/no-tables', 'there is no table to compare'],
    [{ sink: 'sink-9' }, 'verify/unknown-sink', 'no sink "sink-9", did you mean "sink-0"?'],
    [{}, 'verify/which-sink', 'several sinks'],
  ])('refuses %j', async (options, code, message) => {
    const { definition, log } = await copied(1, 2)
    const error = await failure(
      verifyPipeline(definition, { log, ...('tables' in options ? { sink: 'sink-1' } : {}), ...options }),
    )
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
    expect(exitCodeOf(error)).toBe(exitCodes.config)
  })

  it('refuses connectors that cannot be read back', async () => {
    const { definition, log } = await copied(1)
    const { create } = definition.sinks[0]!
    const mute = (): Sink => Object.assign(create(), { openReader: undefined })
    const sinks = [{ ...definition.sinks[0]!, create: mute }]
    const error = await failure(verifyPipeline({ ...definition, sinks }, { log }))
    expect(error).toMatchObject({
      code: 'verify/not-readable',
      message: expect.stringContaining('a sink of type "memory"'),
    })
  })

  it('does not compare a table that was dropped, whatever the sink has of it', async () => {
    const { definition, log, database } = await copied()
    database.dropTable('public.orders')
    const before = await verifyPipeline(definition, { log })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    for (const { equal, tables } of [before, await verifyPipeline(definition, { log })]) {
      expect(equal).toBe(true)
      expect(tables.map(({ table: name }) => name)).toEqual(['public.users'])
    }
  })

  it('names a table without a key as one that cannot be compared', async () => {
    const { definition, log, database } = await copied(1)
    database.alterTable({ ...users, key: [] }, { kind: 'change-key' })
    const report = await verifyPipeline(definition, { log })
    expect(report.tables[0]).toMatchObject({
      equal: false,
      problems: ['it has no key, so its rows cannot be told apart'],
    })
  })
})

describe('repair', () => {
  it('writes the rows that differ again, and nothing else', async () => {
    const { definition, log, target, database } = await copied(2500)
    plant(target, users, 'delete', { id: 7 })
    plant(target, users, 'insert', { id: 8, name: 'changed', note: null })
    plant(target, orders, 'insert', { id: 9999, name: 'extra', note: null })
    const written: string[] = []
    const watched = watchWrites(definition, written)
    const report = await repairPipeline(watched, { log })
    expect(report.equal).toBe(true)
    expect(report.tables.map(({ repaired }) => repaired)).toEqual([2, 1])
    expect(written.toSorted()).toEqual([
      'Delete public.orders 9999',
      'Insert public.users 7',
      'Insert public.users 8',
    ])
    expect(contents(target)).toEqual(contents(database))
    written.length = 0
    expect(await repairPipeline(watched, { log })).toMatchObject({ equal: true })
    expect(written).toEqual([])
  })

  it('does not touch a sink whose rows have no versions while the pipeline runs', async () => {
    const pipeline = await copied()
    const { definition, log, target, store } = pipeline
    plant(target, users, 'delete', { id: 7 })
    const lease = await store.acquire(definition.name, thisProcess())
    const error = await failure(repairPipeline(definition, { log }))
    expect(error).toMatchObject({ code: 'repair/running' })
    expect(exitCodeOf(error)).toBe(exitCodes.precondition)
    expect(target.rows('public.users')).toHaveLength(9)
    await store.release(lease)
    expect(await repairPipeline(definition, { log })).toMatchObject({ equal: true })
    expect((await store.peek(definition.name)).runner).toBeNull()
    // The pipeline goes on from its checkpoint.
    pipeline.database.insert('public.users', { id: 77, name: 'later', note: null })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(await verifyPipeline(definition, { log })).toMatchObject({ equal: true })
  })

  it('holds the lease while it works', async () => {
    const { definition, log, target, store } = await copied()
    plant(target, users, 'delete', { id: 7 })
    const seen: unknown[] = []
    const looking = hooked(definition, {
      scan: async () => void seen.push((await store.peek(definition.name)).runner?.pid),
    })
    await repairPipeline(looking, { log })
    expect(new Set(seen)).toEqual(new Set([process.pid]))
  })

  it('writes once more what is undone meanwhile, and gives up in the end', async () => {
    const { definition, log, target } = await copied()
    const breakAgain = (): void => plant(target, users, 'delete', { id: 7 })
    breakAgain()
    let undone = 0
    const once = hooked(definition, {
      // The first look comes after the comparison, the second one after what was written first.
      find: (count) => (count === 3 && undone++ === 0 ? breakAgain() : undefined),
    })
    expect(await repairPipeline(once, { log })).toMatchObject({ equal: true })
    expect(undone).toBe(1)
    breakAgain()
    const always = hooked(definition, { find: breakAgain })
    expect(await repairPipeline(always, { log })).toMatchObject({
      equal: false,
      tables: [{ missing: 1, repaired: 1 }, {}],
    })
  })
})

/** Notes the records that are written, with the first cell. */
function watchWrites(definition: PipelineDefinition, into: string[]): PipelineDefinition {
  return {
    ...definition,
    sinks: definition.sinks.map((one) => ({
      ...one,
      create: () => {
        const sink = one.create()
        const write = sink.writeBatch.bind(sink)
        sink.writeBatch = (batch, context) => {
          for (const record of batch) {
            if (record._tag === 'Insert')
              into.push(`Insert public.${record.table.name} ${String(record.after.value(0))}`)
            if (record._tag === 'Delete')
              into.push(`Delete public.${record.table.name} ${String(record.before.value(0))}`)
          }
          return write(batch, context)
        }
        return sink
      },
    })),
  }
}
