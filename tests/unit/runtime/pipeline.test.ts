import { describe, expect, it } from 'vitest'
import { ConnectionError, PreconditionError, type Problem, SchemaError } from '../../../src/core/error.ts'
import type { TableSchema } from '../../../src/core/table.ts'
import type { PipelineDefinition } from '../../../src/runtime/definition.ts'
import { checkPipeline, inspectPipeline, runPipeline } from '../../../src/runtime/pipeline.ts'
import type { PipelineStatus } from '../../../src/runtime/telemetry.ts'
import type { SinkCall } from '../../support/faulty-sink.ts'
import { column, contents, memoryPipeline, table, text } from '../../support/memory-pipeline.ts'
import { waitFor } from '../../support/wait-for.ts'

/** The pipeline, whose sinks look at the tables before a start. */
function withTables(
  definition: PipelineDefinition,
  checkTables: (tables: readonly TableSchema[], sink: string) => Promise<readonly Problem[]>,
): PipelineDefinition {
  const sinks = definition.sinks.map((sink) => ({
    ...sink,
    create: () =>
      Object.assign(sink.create(), {
        checkTables: (tables: readonly TableSchema[]) => checkTables(tables, sink.name),
      }),
  }))
  return { ...definition, sinks }
}

function problem(code: string, severity: Problem['severity']): Problem {
  return { severity, code, message: `what ${code} says`, fix: 'Mend it.' }
}

const lost = (): ConnectionError => new ConnectionError('test/lost', 'the connection was lost')

describe('a pipeline', () => {
  it('copies what is there and follows what happens then', async () => {
    const { database, targets, definition, log } = memoryPipeline()
    database.createTable(table('t'))
    database.insert('public.t', { id: 1, name: 'a', note: 'long' })
    const stop = new AbortController()
    const running = runPipeline(definition, { signal: stop.signal, log })
    await waitFor('the copied row is in the target', () => targets[0]!.rows('public.t').length === 1)
    database.transaction(() => {
      database.insert('public.t', { id: 2, name: 'b' })
      database.update('public.t', { id: 1 }, { id: 3 })
      database.update('public.t', { id: 3 }, { name: null })
    })
    database.createTable(table('u'))
    database.insert('public.u', { id: 1 })
    database.truncate('public.u')
    database.insert('public.u', { id: 2 })
    database.delete('public.t', { id: 2 })
    await waitFor('the last change is in the target', () =>
      targets[0]!.rows('public.u').some((row) => row['id'] === 2),
    )
    stop.abort()
    const result = await running
    expect(result).toMatchObject({ reason: 'stopped', drained: true })
    expect(contents(targets[0]!)).toEqual(contents(database))
    expect(targets[0]!.rows('public.t')).toEqual([{ id: 3, name: null, note: 'long' }])
  })

  it('stops by itself at the end that the log had at the start, when asked to', async () => {
    const { database, targets, definition, log } = memoryPipeline()
    database.createTable(table('t'))
    for (let id = 0; id < 100; id++) database.insert('public.t', { id })
    const first = await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(first).toMatchObject({ reason: 'caught-up', drained: true })
    database.delete('public.t', { id: 7 })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(contents(targets[0]!)).toEqual(contents(database))
    const again = await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(again.status).toMatchObject({ changes: 0, rowsCopied: 0 })
  })

  it('applies a schema change after the rows before it and before the rows after it (L9)', async () => {
    const calls: SinkCall[] = []
    const { database, targets, definition, log } = memoryPipeline({
      sinks: [{ before: (call) => void calls.push(call) }],
      flushInterval: 60_000,
    })
    const before = table('t')
    database.createTable(before)
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    calls.length = 0
    database.insert('public.t', { id: 1, name: 'old' })
    const extra = { ...column('extra', text), addedDefault: 'x' }
    const after = { ...before, columns: [...before.columns, extra], version: 1 }
    database.alterTable(after, { kind: 'add-column', column: extra })
    database.insert('public.t', { id: 2, name: 'new', extra: 'y' })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    const work = calls.filter((call) => call !== 'connect' && call !== 'disconnect')
    expect(work).toEqual(['createTable', 'write', 'flush', 'alterTable', 'write', 'flush'])
    expect(contents(targets[0]!)).toEqual(contents(database))
  })

  it('stops at a schema change that the sink cannot take, and says which', async () => {
    const { database, definition, log } = memoryPipeline()
    database.createTable(table('t'))
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    database.alterTable({ ...table('t'), key: [1], version: 1 }, { kind: 'change-key' })
    const running = runPipeline(definition, { log, stopWhenCaughtUp: true })
    await expect(running).rejects.toThrow(SchemaError)
    await expect(running).rejects.toThrow('"sink-0" (memory) cannot apply change-key to table public.t')
  })

  it('lists everything that stands in the way before anything moves (L13)', async () => {
    const calls: SinkCall[] = []
    const { database, definition, log } = memoryPipeline({
      source: { problems: [{ severity: 'error', code: 'test/wal', message: 'no log', fix: 'Turn it on.' }] },
      sinks: [
        {
          before: (call) => void calls.push(call),
          capabilities: { supportsPartialRows: false, supportsDelete: false },
        },
      ],
    })
    database.createTable(table('t'))
    const failure: unknown = await runPipeline(definition, { log }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(PreconditionError)
    const codes = (failure as PreconditionError).problems.map((problem) => problem.code)
    expect(codes).toEqual(['test/wal', 'pipeline/partial-rows', 'pipeline/deletes'])
    expect(calls).toEqual(['disconnect'])
  })

  it('lists what the sinks say about the tables, together, before anything moves (L13)', async () => {
    const calls: string[] = []
    const { database, definition, log } = memoryPipeline({
      source: { before: (call) => void calls.push(call) },
      sinks: [{ before: (call) => void calls.push(call) }, {}],
    })
    database.createTable(table('t'))
    database.createTable(table('u'))
    const checking = withTables(definition, async (tables, sink) =>
      tables.map(({ name }) => problem(`${sink}/${name}`, 'error')),
    )
    const codes = ['sink-0/t', 'sink-0/u', 'sink-1/t', 'sink-1/u']
    expect((await checkPipeline(checking, { log })).map(({ code }) => code)).toEqual(codes)
    calls.length = 0
    const failure: unknown = await runPipeline(checking, { log }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(PreconditionError)
    expect((failure as PreconditionError).problems.map(({ code }) => code)).toEqual(codes)
    expect(calls).toEqual(['validate', 'disconnect', 'connect', 'disconnect'])
  })

  it('asks about the tables only when nothing else is wrong, and goes on when there are only warnings', async () => {
    let asked = 0
    const { database, targets, definition, log } = memoryPipeline()
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    const checking = withTables(definition, async () => {
      asked++
      return [problem('test/odd', 'warning')]
    })
    const twice = { ...checking, sinks: [checking.sinks[0]!, checking.sinks[0]!] }
    expect((await checkPipeline(twice, { log })).map(({ code }) => code)).toEqual(['pipeline/sink-name'])
    expect(asked).toBe(0)
    await runPipeline(checking, { log, stopWhenCaughtUp: true })
    expect(asked).toBe(1)
    expect(log.lines.filter(({ code }) => code === 'test/odd')).toHaveLength(1)
    expect(targets[0]!.rows('public.t')).toHaveLength(1)
  })

  it('connects the source for it only when a sink asks, and again when it is not there at once', async () => {
    const calls: string[] = []
    let failures = 0
    const { database, definition, log } = memoryPipeline({
      source: {
        before: (call) => {
          calls.push(call)
          if (call === 'connect' && failures-- > 0) throw lost()
        },
      },
    })
    database.createTable(table('t'))
    await checkPipeline(definition, { log })
    expect(calls).toEqual(['validate'])
    expect(await inspectPipeline(definition, { log })).toMatchObject({
      problems: [],
      tables: [{ name: 't' }],
    })
    const checking = withTables(definition, async () => [])
    calls.length = 0
    failures = 1
    await runPipeline(checking, { log, stopWhenCaughtUp: true, random: () => 0 })
    expect(calls.slice(0, 5)).toEqual(['validate', 'connect', 'validate', 'connect', 'connect'])
    failures = 1
    await expect(checkPipeline(checking, { log })).rejects.toThrow('the connection was lost')
  })

  it('goes on without a table that is dropped, also with a sink that cannot drop one', async () => {
    const { database, targets, definition, log } = memoryPipeline({
      sinks: [{}, { capabilities: { schemaChanges: [] } }],
    })
    for (const name of ['t', 'u']) database.createTable(table(name))
    database.insert('public.u', { id: 1 })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(log.lines.filter(({ code }) => code === 'pipeline/schema-changes')).toHaveLength(1)
    database.insert('public.u', { id: 2 })
    database.dropTable('public.u')
    database.insert('public.t', { id: 1 })
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    const tables = targets.map((target) => target.tables.map(({ name }) => name))
    expect(tables).toEqual([['t'], ['t', 'u']])
    expect(targets[1]!.rows('public.u')).toHaveLength(2)
    for (const target of targets) expect(target.rows('public.t')).toHaveLength(1)
  })

  it('connects again with new instances when the source is lost, from the stored position', async () => {
    const starts: (string | null)[] = []
    let breakWith: (error: Error) => void = () => {}
    const { database, targets, definition, log } = memoryPipeline({
      source: {
        before: (call, position) => void (call === 'stream' && starts.push(position?.order ?? null)),
        streaming: (it) => (breakWith = it),
      },
    })
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    const stop = new AbortController()
    const phases: string[] = []
    const onStatus = (status: PipelineStatus): void => void phases.push(status.phase)
    const running = runPipeline(definition, { signal: stop.signal, log, onStatus, random: () => 0.999 })
    await waitFor('the copy is confirmed', () => database.forgotten === 2)
    breakWith(lost())
    database.insert('public.t', { id: 2 })
    await waitFor('both rows are in the target', () => targets[0]!.rows('public.t').length === 2)
    stop.abort()
    const { status } = await running
    expect(starts).toEqual([null, '0000000000000002'])
    expect(phases).toContain('retrying')
    expect(status).toMatchObject({ attempts: 2, phase: 'stopped', lastError: { code: 'test/lost' } })
    expect(contents(targets[0]!)).toEqual(contents(database))
  })

  it('gives up on a server that never answered when the start budget is spent', async () => {
    const { definition, log } = memoryPipeline({
      source: { before: (call) => (call === 'connect' ? Promise.reject(lost()) : undefined) },
      limits: { startBudgetMs: 300, retryBudgetMs: 3_600_000 },
    })
    await expect(runPipeline(definition, { log, random: () => 0.999 })).rejects.toThrow(
      'the connection was lost',
    )
  })

  it('ends at once for an error that nobody knows (L11)', async () => {
    const { definition, log } = memoryPipeline({
      source: {
        before: (call) =>
          call === 'stream' ? Promise.reject(new TypeError('x is not a function')) : undefined,
      },
    })
    await expect(runPipeline(definition, { log })).rejects.toThrow('unexpected TypeError')
  })
})

describe('a stop', () => {
  it('drains: everything that was read is durable, saved and confirmed', async () => {
    const { database, targets, definition, store, log } = memoryPipeline({
      flushInterval: 60_000,
      limits: { checkpointIntervalMs: 60_000 },
    })
    database.createTable(table('t'))
    const stop = new AbortController()
    const running = runPipeline(definition, { signal: stop.signal, log, onStatus: () => {} })
    for (let id = 0; id < 50; id++) database.insert('public.t', { id })
    await waitFor('it is connected', () => log.lines.some((line) => line.message.startsWith('connected')))
    stop.abort()
    expect(await running).toMatchObject({ drained: true })
    const saved = await store.load(definition.name)
    expect(database.forgotten).toBe(saved!.position.resume)
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(contents(targets[0]!)).toEqual(contents(database))
  })

  it('ends after the deadline although a sink hangs, and what is durable stays saved', async () => {
    let hang = false
    let hung = false
    const hanging = (signal: AbortSignal): Promise<never> => {
      hung = true
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(lost()), { once: true }),
      )
    }
    const { database, targets, definition, store, log } = memoryPipeline({
      sinks: [
        { before: (call, context) => (hang && call === 'write' ? hanging(context!.signal) : undefined) },
      ],
      limits: { shutdownDeadlineMs: 50 },
    })
    database.createTable(table('t'))
    database.insert('public.t', { id: 1 })
    const stop = new AbortController()
    const running = runPipeline(definition, { signal: stop.signal, log })
    await waitFor('the copy is confirmed', () => database.forgotten === 2)
    hang = true
    database.insert('public.t', { id: 2 })
    await waitFor('the sink hangs', () => hung)
    stop.abort()
    expect(await running).toMatchObject({ reason: 'stopped', drained: false })
    expect((await store.load(definition.name))!.position.resume).toBe(2)
    hang = false
    await runPipeline(definition, { log, stopWhenCaughtUp: true })
    expect(contents(targets[0]!)).toEqual(contents(database))
  })

  it('does not wait for the next attempt', async () => {
    const { definition, log } = memoryPipeline({
      source: { before: (call) => (call === 'connect' ? Promise.reject(lost()) : undefined) },
    })
    const stop = new AbortController()
    const onStatus = (status: PipelineStatus): void => void (status.phase === 'retrying' && stop.abort())
    const result = await runPipeline(definition, { signal: stop.signal, log, onStatus })
    expect(result).toMatchObject({ reason: 'stopped', drained: true })
  })
})
