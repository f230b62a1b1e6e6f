import { describe, expect, it } from 'vitest'
import { ConnectionError } from '../../../../src/core/error.ts'
import type { DocumentMapping } from '../../../../src/core/mapping/mapping.ts'
import type { Json } from '../../../../src/core/position.ts'
import type { PipelineMapping } from '../../../../src/runtime/mapping/pipeline-mapping.ts'
import { ReloadRequests } from '../../../../src/runtime/mapping/reload-requests.ts'
import { runPipeline } from '../../../../src/runtime/pipeline.ts'
import { table } from '../../../support/memory-pipeline.ts'
import { waitFor } from '../../../support/wait-for.ts'
import { mappedPipeline, mappingOf } from './mapped-pipeline.ts'

const fields = (names: Json): Json => ({ people: { collection: 't', fields: names } })
const before = fields({ id: 'id', called: 'name' })

/** A running pipeline whose mapping is what `load` gives. */
async function running(
  mappings: Json,
  load: () => Promise<PipelineMapping | null>,
  everyMs: number | null = null,
) {
  const setup = mappedPipeline(mappings)
  const { database, targets, log } = setup
  database.createTable(table('t'))
  database.insert('public.t', { id: 1, name: 'a', note: 'n' })
  const mapping: PipelineMapping = { ...mappingOf(mappings), reload: { load, everyMs } }
  const stop = new AbortController()
  const reload = new ReloadRequests()
  const run = runPipeline({ ...setup.definition, mapping }, { log, signal: stop.signal, reload })
  await waitFor('the first row is there', () => targets[0]!.rows('public.people').length > 0)
  const logged = (part: string): Promise<void> =>
    waitFor(`a line of log with "${part}"`, () => log.lines.some(({ message }) => message.includes(part)))
  const end = async () => {
    stop.abort()
    return await run
  }
  return { ...setup, reload, logged, end, run }
}

describe('a mapping that changes while the pipeline runs', () => {
  it('is applied between two attempts, in the order of the stream', async () => {
    const { database, targets, reload, logged, end } = await running(before, async () =>
      mappingOf(fields({ id: 'id', title: 'name' })),
    )
    database.insert('public.t', { id: 2, name: 'b' })
    reload.request()
    await logged('column "called" of table public.people is renamed to "title"')
    database.insert('public.t', { id: 3, name: 'c' })
    await waitFor('the row behind the change is there', () =>
      targets[0]!.rows('public.people').some((row) => row['id'] === 3),
    )
    expect(targets[0]!.rows('public.people')).toEqual([
      { id: 1, title: 'a' },
      { id: 2, title: 'b' },
      { id: 3, title: 'c' },
    ])
    expect(await end()).toMatchObject({ reason: 'stopped', drained: true })
  })

  it('is refused with the list when it takes something away, and the running one goes on', async () => {
    const after = mappingOf(fields({ id: 'id' }))
    const { database, targets, reload, logged, log, end } = await running(before, async () => after)
    reload.request()
    await logged('refused, the running one goes on: column "called" of table public.people is dropped')
    database.insert('public.t', { id: 2, name: 'b' })
    await waitFor('the next row is there', () => targets[0]!.rows('public.people').length === 2)
    expect(log.lines.filter(({ level }) => level === 'error').map(({ code }) => code)).toEqual([
      'mapping/breaking',
    ])
    // Brought along, with the permission.
    reload.request({ ...after, breaking: 'apply' })
    await logged('the mapping was changed: column "called"')
    database.insert('public.t', { id: 3, name: 'c' })
    await waitFor('the row behind the change is there', () => targets[0]!.rows('public.people').length === 3)
    expect(targets[0]!.rows('public.people')).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }])
    await end()
  })

  it('is refused when it does not fit the tables, or needs rows that cannot be copied again', async () => {
    let next = mappingOf(fields({ id: 'id', called: 'nam' }))
    const { reload, logged, log, end } = await running(before, async () => next)
    reload.request()
    await logged('did you mean "name"?')
    next = mappingOf(fields({ id: 'id', called: 'name', note: 'note' }))
    reload.request()
    await logged('it needs a new copy of public.t')
    expect(log.lines.filter(({ level }) => level === 'error').map(({ code }) => code)).toEqual([
      'mapping/refused-change',
      'mapping/column-gone',
      'mapping/needs-copy',
    ])
    await end()
  })

  it('goes on when it cannot be read, or is as it was', async () => {
    let fails = true
    const { reload, logged, log, end } = await running(before, async () => {
      if (fails) throw new ConnectionError('mapping/unreachable', 'http://host/tables cannot be reached')
      return null
    })
    reload.request()
    await logged('could not be read again, the running one goes on: http://host/tables cannot be reached')
    fails = false
    reload.request()
    await logged('is as it was')
    expect(log.lines.filter(({ message }) => message.startsWith('connected'))).toHaveLength(1)
    await end()
  })

  it('is looked at by itself, and says the same only once', async () => {
    let loads = 0
    const { logged, log, end } = await running(
      before,
      async () =>
        ++loads === 1
          ? mappingOf(fields({ id: 'id' }))
          : loads < 5
            ? null
            : mappingOf(fields({ id: 'id', x: 'name' })),
      5,
    )
    await logged('is renamed to "x"')
    expect(log.lines.filter(({ code }) => code === 'mapping/breaking')).toHaveLength(1)
    await end()
  })

  it('ends nothing when the pipeline has none', async () => {
    const setup = mappedPipeline(before)
    const { mapping: _own, ...definition } = setup.definition
    setup.database.createTable(table('t'))
    const stop = new AbortController()
    const reload = new ReloadRequests()
    const run = runPipeline(definition, { log: setup.log, signal: stop.signal, reload })
    reload.request()
    await waitFor('it says so', () => setup.log.lines.some(({ code }) => code === 'mapping/none'))
    stop.abort()
    expect(await run).toMatchObject({ reason: 'stopped' })
  })

  it('is given to a source that has no tables of its own, compiled, at the next attempt', async () => {
    const typed = (names: Json): Json => ({ people: { collection: 't', fields: names, key: ['id'] } })
    const id = { path: 'id', type: 'int32', nullable: false }
    const mapping = mappingOf(typed({ id, name: { path: 'name', type: 'text' } }))
    const setup = mappedPipeline(before, { source: { capabilities: { needsMapping: true } } })
    const seen: (DocumentMapping | null | undefined)[] = []
    const { create } = setup.definition.source
    const spying = () => {
      const source = create()
      const connect = source.connect.bind(source)
      source.connect = (context) => {
        seen.push(context.mapping)
        return connect(context)
      }
      return source
    }
    setup.database.createTable(table('t'))
    const stop = new AbortController()
    const reload = new ReloadRequests()
    const definition = { ...setup.definition, mapping, source: { type: 'memory', create: spying } }
    const run = runPipeline(definition, { log: setup.log, signal: stop.signal, reload })
    const names = (): readonly unknown[] =>
      seen.map((one) => one?.tables.map(({ table: { columns } }) => columns.map((column) => column.name)))
    await waitFor('the source is connected', () => names().length === 1)
    reload.request(mappingOf(typed({ id, title: { path: 'name', type: 'text' } })))
    await waitFor('the source is connected again', () => names().length === 2)
    expect(names()).toEqual([[['id', 'name']], [['id', 'title']]])
    stop.abort()
    await run
  })
})
