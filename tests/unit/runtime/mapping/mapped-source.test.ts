import { describe, expect, it } from 'vitest'
import type { Json } from '../../../../src/core/position.ts'
import { readMapped } from '../../../../src/runtime/mapping/mapped-position.ts'
import { checkPipeline, inspectPipeline, runPipeline } from '../../../../src/runtime/pipeline.ts'
import { verifyPipeline } from '../../../../src/runtime/verify/verify.ts'
import { column, int, table, text } from '../../../support/memory-pipeline.ts'
import { waitFor } from '../../../support/wait-for.ts'
import { mappedPipeline, mappingOf } from './mapped-pipeline.ts'

const people: Json = { people: { collection: 't', fields: { id: 'id', called: 'name' } } }

type Setup = ReturnType<typeof mappedPipeline>

const once = ({ definition, log }: Setup) => runPipeline(definition, { log, stopWhenCaughtUp: true })

const rowsOf = ({ targets }: Setup, name: string): readonly unknown[] =>
  targets[0]!.rows(name).toSorted((a, b) => Number(a['id']) - Number(b['id']))

describe('a mapped pipeline', () => {
  it('makes the same rows by copy and by stream, and nothing that is not mapped leaves the source', async () => {
    const setup = mappedPipeline(people)
    const { database, targets } = setup
    database.createTable(table('t'))
    database.createTable(table('secret'))
    database.insert('public.t', { id: 1, name: 'a', note: 'long' })
    database.insert('public.secret', { id: 1, name: 'hidden' })
    await once(setup)
    database.insert('public.t', { id: 2, name: 'b', note: 'long' })
    database.update('public.t', { id: 1 }, { name: 'c' })
    database.insert('public.secret', { id: 2, name: 'hidden' })
    await once(setup)
    expect(targets[0]!.tables.map(({ name, columns }) => [name, columns.map((one) => one.name)])).toEqual([
      ['people', ['id', 'called']],
    ])
    expect(rowsOf(setup, 'public.people')).toEqual([
      { id: 1, called: 'c' },
      { id: 2, called: 'b' },
    ])
  })

  it('takes rows in and out of a filter, and moves them between the tables of a union', async () => {
    const setup = mappedPipeline({
      low: { collection: 't', filter: { id: { $lt: 10 }, name: 'x' } },
      high: { collection: 't', filter: { name: { $ne: 'x' } }, fields: { id: 'id', name: 'name' } },
    })
    const { database } = setup
    database.createTable(table('t'))
    for (const id of [1, 2, 11]) database.insert('public.t', { id, name: id === 2 ? 'y' : 'x', note: null })
    await once(setup)
    expect(rowsOf(setup, 'public.low')).toEqual([{ id: 1, name: 'x', note: null }])
    expect(rowsOf(setup, 'public.high')).toEqual([{ id: 2, name: 'y' }])
    database.transaction(() => {
      database.update('public.t', { id: 1 }, { name: 'y' })
      database.update('public.t', { id: 2 }, { name: 'x' })
      database.delete('public.t', { id: 11 })
    })
    await once(setup)
    expect(rowsOf(setup, 'public.low')).toEqual([{ id: 2, name: 'x', note: null }])
    expect(rowsOf(setup, 'public.high')).toEqual([{ id: 1, name: 'y' }])
  })

  it('stops at a change of which the log does not tell enough, and guesses nothing', async () => {
    const setup = mappedPipeline({ x: { collection: 't', filter: { name: 'x' } } }, { partial: true })
    setup.database.createTable(table('t'))
    setup.database.insert('public.t', { id: 1, name: 'x' })
    await once(setup)
    setup.database.update('public.t', { id: 1 }, { note: 'n' })
    await expect(once(setup)).rejects.toMatchObject({ code: 'mapping/old-row-missing' })
  })

  it('tells the source which tables need whole old rows', async () => {
    const seen: unknown[] = []
    const setup = mappedPipeline({ x: { collection: 't', filter: { name: 'x' } }, y: { collection: 'u' } })
    for (const name of ['t', 'u']) setup.database.createTable(table(name))
    const { create } = setup.definition.source
    const spying = () => {
      const source = create()
      const validate = source.validate.bind(source)
      source.validate = (context) => {
        seen.push(['t', 'u'].map((name) => context.oldImages!.includes('public', name)))
        return validate(context)
      }
      return source
    }
    await checkPipeline(
      { ...setup.definition, source: { type: 'memory', create: spying } },
      { log: setup.log },
    )
    expect(seen).toEqual([[true, false]])
  })

  it('lists everything in the mapping that the source does not have (L13)', async () => {
    const setup = mappedPipeline({
      a: { collection: 'tt' },
      b: { collection: 't', fields: { id: 'id', x: 'nam' } },
      c: { collection: 't', fields: { id: { path: 'id', type: 'date' } } },
      d: { collection: 'public.t', fields: { name: 'name' } },
    })
    setup.database.createTable(table('t'))
    const problems = await checkPipeline(setup.definition, { log: setup.log })
    expect(problems.map(({ code, message }) => `${code} ${message}`)).toEqual([
      expect.stringMatching(/^mapping\/table-missing .*a.* reads the table "tt".*did you mean "t"\?$/),
      expect.stringMatching(/^mapping\/column-gone .*b.*"nam".*did you mean "name"\?$/),
      expect.stringMatching(/^mapping\/cast .*c.*cannot become date: the column is int32/),
      expect.stringMatching(/^mapping\/key .*d.*leaves out "id"/),
    ])
  })

  it('shows the tables as sinks get them', async () => {
    const setup = mappedPipeline(people)
    setup.database.createTable(table('t'))
    const { tables } = await inspectPipeline(setup.definition, { log: setup.log })
    expect(tables).toMatchObject([{ namespace: 'public', name: 'people', key: [0] }])
  })

  it('needs a mapping where the source has no tables of its own', async () => {
    const setup = mappedPipeline(people, { source: { capabilities: { needsMapping: true } } })
    const { mapping: _mapping, ...without } = setup.definition
    const problems = await checkPipeline(without, { log: setup.log })
    expect(problems.map(({ code }) => code)).toEqual(['mapping/missing'])
    const untyped = await checkPipeline(setup.definition, { log: setup.log })
    expect(untyped.map(({ code }) => code)).toContain('mapping/invalid')
  })

  it('is compared and found equal, and a row that differs is found', async () => {
    const setup = mappedPipeline({
      people: {
        collection: 't',
        filter: { id: { $gt: 1 } },
        fields: { id: { path: 'id', type: 'text' }, called: 'name' },
      },
    })
    const { database, definition, targets, log } = setup
    database.createTable(table('t'))
    for (let id = 0; id < 50; id++) database.insert('public.t', { id, name: `n${id}` })
    await once(setup)
    const equal = await verifyPipeline(definition, { log })
    expect(equal).toMatchObject({ equal: true, rows: 48 })
    database.insert('public.t', { id: 99, name: 'new' })
    database.delete('public.t', { id: 7 })
    const report = await verifyPipeline(definition, { log })
    expect(report.tables[0]).toMatchObject({ table: 'public.people', missing: 1, extra: 1 })
    expect(targets[0]!.rows('public.people')).toHaveLength(48)
  })
})

describe('a schema change under a mapping', () => {
  it("passes when the table has all columns, and is nobody's business when it does not touch what is mapped", async () => {
    const setup = mappedPipeline({ ...(people as object), all: { collection: 't' } })
    const { database, targets } = setup
    database.createTable(table('t'))
    await once(setup)
    const extra = column('extra', text)
    const wider = { ...table('t'), columns: [...table('t').columns, extra], version: 1 }
    database.alterTable(wider, { kind: 'add-column', column: extra })
    database.insert('public.t', { id: 1, name: 'a', note: 'b', extra: 'c' })
    await once(setup)
    expect(rowsOf(setup, 'public.people')).toEqual([{ id: 1, called: 'a' }])
    expect(rowsOf(setup, 'public.all')).toEqual([{ id: 1, name: 'a', note: 'b', extra: 'c' }])
    expect(targets[0]!.tables.find(({ name }) => name === 'people')?.columns).toHaveLength(2)
  })

  it('stops the pipeline when a mapped column is gone, and names it', async () => {
    const setup = mappedPipeline(people)
    const { database, definition, log, targets } = setup
    database.createTable(table('t'))
    const running = runPipeline(definition, { log })
    await waitFor('the table is there', () => targets[0]!.tables.length === 1)
    const renamed = { ...column('name', text), name: 'title' }
    const after = { ...table('t'), columns: [column('id', int), renamed, column('note', text)], version: 1 }
    database.alterTable(after, { kind: 'rename-column', from: column('name', text), to: renamed })
    await expect(running).rejects.toMatchObject({
      code: 'mapping/column-gone',
      message: expect.stringContaining('names the column "name", which public.t does not have') as string,
    })
    // The next start says so before anything moves.
    await expect(once(setup)).rejects.toMatchObject({ problems: [{ code: 'mapping/column-gone' }] })
    // With the new name it goes on where it was, although the log has the old name first.
    const mapping = mappingOf({ people: { collection: 't', fields: { id: 'id', called: 'title' } } })
    database.insert('public.t', { id: 5, title: 'e' })
    await runPipeline({ ...setup.definition, mapping }, { log: setup.log, stopWhenCaughtUp: true })
    expect(rowsOf(setup, 'public.people')).toEqual([{ id: 5, called: 'e' }])
  })

  it('empties and drops what is made of the table', async () => {
    const setup = mappedPipeline({ ...(people as object), all: { collection: 't' } })
    setup.database.createTable(table('t'))
    setup.database.insert('public.t', { id: 1, name: 'a' })
    await once(setup)
    setup.database.truncate('public.t')
    setup.database.insert('public.t', { id: 2, name: 'b' })
    await once(setup)
    expect(rowsOf(setup, 'public.people')).toEqual([{ id: 2, called: 'b' }])
    expect(rowsOf(setup, 'public.all')).toMatchObject([{ id: 2 }])
  })
})

describe('a mapping that was changed before a restart', () => {
  async function changed(before: Json, after: Json, breaking: 'refuse' | 'apply' = 'refuse') {
    const setup = mappedPipeline(before)
    setup.database.createTable(table('t'))
    setup.database.insert('public.t', { id: 1, name: 'a', note: 'n' })
    await once(setup)
    const definition = { ...setup.definition, mapping: mappingOf(after, { breaking }) }
    const next = { ...setup, definition }
    return { ...next, run: () => once(next) }
  }
  const fields = (names: Json): Json => ({ people: { collection: 't', fields: names } })

  it('renames columns, and the rows stay', async () => {
    const setup = await changed(
      fields({ id: 'id', called: 'name', n: 'note' }),
      fields({ id: 'id', n: 'name', called: 'note' }),
    )
    await setup.run()
    setup.database.insert('public.t', { id: 2, name: 'b', note: 'm' })
    await setup.run()
    expect(rowsOf(setup, 'public.people')).toEqual([
      { id: 1, n: 'a', called: 'n' },
      { id: 2, n: 'b', called: 'm' },
    ])
  })

  it('drops columns and tables only when that is allowed', async () => {
    const before = { ...(fields({ id: 'id', called: 'name' }) as object), other: { collection: 't' } }
    const after = fields({ id: 'id' })
    await expect((await changed(before, after)).run()).rejects.toMatchObject({
      code: 'mapping/breaking',
      message: expect.stringContaining('column "called" of table public.people is dropped') as string,
    })
    const setup = await changed(before, after, 'apply')
    setup.database.insert('public.t', { id: 2, name: 'b' })
    await setup.run()
    expect(rowsOf(setup, 'public.people')).toEqual([{ id: 1 }, { id: 2 }])
    expect(setup.targets[0]!.tables.map(({ name }) => name)).toEqual(['people'])
    const { checkpoint } = await setup.store.peek(setup.definition.name)
    expect(readMapped(checkpoint!.position)?.tables.map(({ schema }) => schema.name)).toEqual(['people'])
  })

  it('is refused when it needs rows that the source cannot copy again', async () => {
    const setup = await changed(fields({ id: 'id' }), fields({ id: 'id', name: 'name' }))
    await expect(setup.run()).rejects.toMatchObject({ code: 'mapping/needs-copy' })
    const filtered = await changed(fields({ id: 'id' }), {
      people: { collection: 't', filter: { id: 2 }, fields: { id: 'id' } },
    })
    await expect(filtered.run()).rejects.toMatchObject({ code: 'mapping/needs-copy' })
  })

  it('does not come or go without a word', async () => {
    const setup = mappedPipeline(people)
    setup.database.createTable(table('t'))
    await once(setup)
    const { mapping, ...without } = setup.definition
    await expect(runPipeline(without, { log: setup.log, stopWhenCaughtUp: true })).rejects.toMatchObject({
      code: 'mapping/gone',
    })
    const plain = mappedPipeline(people)
    plain.database.createTable(table('t'))
    const { mapping: _own, ...unmapped } = plain.definition
    await runPipeline(unmapped, { log: plain.log, stopWhenCaughtUp: true })
    await expect(
      runPipeline({ ...unmapped, mapping: mapping! }, { log: plain.log, stopWhenCaughtUp: true }),
    ).rejects.toMatchObject({ code: 'mapping/other-pipeline' })
  })

  it('keeps in the position what sinks have, and what the source wants to know', async () => {
    const setup = mappedPipeline(people)
    setup.database.createTable(table('t'))
    await once(setup)
    const { checkpoint } = await setup.store.peek(setup.definition.name)
    const stored = readMapped(JSON.parse(JSON.stringify(checkpoint!.position)))
    expect(stored?.tables.map(({ schema, source }) => [schema.name, source.name])).toEqual([['people', 't']])
    expect(stored?.inner.resume).toBe(setup.database.head)
  })
})
