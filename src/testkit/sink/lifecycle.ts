/** Laws about what surrounds the rows: checking, connecting, making tables, ending. */
import assert from 'node:assert/strict'
import { NotConnectedError } from '../../core/error.ts'
import type { Sink } from '../../core/sink.ts'
import { settles } from '../wait-for.ts'
import { column, int, table, text } from './cells.ts'
import { insert, rows, stepOf, Story, transaction } from './story.ts'
import { sinkLaw, type SinkLaw, type Trial } from './trial.ts'

const items = table('items', [column('1', 'id', int(32)), column('2', 'note', text, true)])
const others = table('others', [column('1', 'id', int(32)), column('2', 'note', text, true)])

/** What the runtime gives a call that it has given up, and a process that ends. */
const SOON_MS = 2000

const capabilities = sinkLaw(
  { id: 'capabilities', title: 'declares the same capabilities before, while and after it is connected' },
  async (trial) => {
    const sink = trial.create()
    assert.deepEqual(sink.capabilities(), trial.capabilities, 'before connect the capabilities are others')
    await sink.connect(trial.context())
    assert.deepEqual(sink.capabilities(), trial.capabilities, 'after connect the capabilities are others')
    await sink.disconnect()
    assert.deepEqual(sink.capabilities(), trial.capabilities, 'after disconnect the capabilities are others')
    const { schemaChanges } = trial.capabilities
    assert.equal(new Set(schemaChanges).size, schemaChanges.length, 'a schema change is declared twice')
    const implied = schemaChanges.filter((kind) => kind === 'create-table' || kind === 'truncate')
    assert.deepEqual(implied, [], 'every sink applies these, they are not declared')
  },
)

const validate = sinkLaw(
  {
    id: 'validate-changes-nothing',
    title: 'finds nothing wrong with a target that fits, and its check changes nothing there',
  },
  async (trial) => {
    const check = async (when: string): Promise<void> => {
      const before = await inventory(trial)
      const sink = trial.create()
      const problems = await sink.validate(trial.context())
      trial.watch.problems(problems)
      const errors = problems.filter(({ severity }) => severity === 'error')
      assert.deepEqual(errors, [], `the check ${when} found something wrong`)
      await sink.disconnect()
      assert.deepEqual(await inventory(trial), before, `the check ${when} changed the target`)
    }
    await check('of an empty target')
    const story = new Story([items], [rows(insert(items, { id: 1, note: trial.mark }))])
    await trial.playThrough(story)
    await check('of a target with tables')
    await trial.expect(story, 'after the check')
  },
)

const createTable = sinkLaw(
  {
    id: 'create-table-again',
    title: 'makes a table once: announced again, by the same and by a new run, it stays with its rows',
  },
  async (trial) => {
    const story = new Story(
      [items],
      [
        rows(insert(items, { id: 1, note: trial.mark })),
        { kind: 'schema', change: announced(others) },
        rows(insert(others, { id: 1, note: null }), insert(items, { id: 2, note: null })),
      ],
    )
    const run = await trial.start([items, items])
    await run.play(story, 0)
    await run.flush()
    const before = await inventory(trial)
    assert(before.length > 0, 'the inventory of the bench shows nothing, although there are two tables')
    for (const schema of [others, items, items]) await run.createTable(schema)
    await run.end()
    for (let start = 0; start < 2; start++) await (await trial.start([others, items])).end()
    await trial.expect(story, 'after the tables were announced again')
    assert.deepEqual(await inventory(trial), before, 'the tables are others after they were announced again')
  },
)

const disconnect = sinkLaw(
  {
    id: 'disconnect-any-time',
    title:
      'can be disconnected in every state and twice, removes nothing, and takes nothing while it is not connected',
  },
  async (trial) => {
    const batch = () => transaction(1, insert(items, { id: 1, note: trial.mark }))
    const refuses = async (sink: Sink, when: string): Promise<void> => {
      const { signal } = new AbortController()
      const error = await trial.failure(`a write ${when}`, () =>
        sink.writeBatch(batch(), { signal, attempt: 1 }),
      )
      assert(
        error instanceof NotConnectedError,
        `a write ${when} failed with ${error.name}: ${error.message}`,
      )
      // What was accepted is gone, so it must not look as if it had become durable.
      if (sink.flush !== undefined)
        await trial.failure(`a flush ${when}`, () => sink.flush!({ signal, attempt: 1 }))
    }
    const ends = async (sink: Sink, when: string): Promise<void> => {
      assert(await settles(sink.disconnect(), SOON_MS), `disconnect ${when} did not end within ${SOON_MS} ms`)
      await sink.disconnect()
      await refuses(sink, `after disconnect ${when}`)
    }
    const fresh = trial.create()
    await refuses(fresh, 'before connect')
    await ends(fresh, 'before connect')
    const checked = trial.create()
    trial.watch.problems(await checked.validate(trial.context()))
    await ends(checked, 'after validate')
    await ends((await trial.connect()).sink, 'after connect')
    const run = await trial.start([items])
    const before = await inventory(trial)
    await run.write(batch())
    await ends(run.sink, 'with rows that are not durable')
    const flushing = await trial.start([items])
    await flushing.write(batch())
    const flush = flushing.tryFlush().catch(() => {})
    await ends(flushing.sink, 'during a flush')
    assert(await settles(flush, SOON_MS), 'a flush went on after disconnect')
    assert.deepEqual(await inventory(trial), before, 'disconnect changed the target')
    const again = await trial.start([items])
    await again.store(batch())
    await again.end()
    await trial.expectRows(items, [{ id: '1', note: trial.mark }], 'after many ends')
  },
)

const aborted = sinkLaw(
  {
    id: 'aborted-call',
    title:
      'ends calls soon whose signal is aborted before they begin, and loses nothing that it said is durable',
  },
  async (trial) => {
    const run = await trial.start([items])
    await run.store(transaction(1, insert(items, { id: 1, note: trial.mark })))
    const gone = AbortSignal.abort()
    const batch = transaction(2, insert(items, { id: 2, note: trial.mark }))
    for (const call of [
      () => run.tryWrite(batch, gone),
      () => run.tryFlush(gone),
      () => run.tryWrite(batch, gone),
    ]) {
      const ended = call().catch(() => {})
      assert(await settles(ended, SOON_MS), `a call with an aborted signal did not end within ${SOON_MS} ms`)
    }
    const durable = stepOf(run.durable)
    await run.end()
    const story = new Story(
      [items],
      [1, 2].map((id) => rows(insert(items, { id, note: trial.mark }))),
    )
    if (durable === 2) await trial.expect(story, 'said to be durable by an aborted call')
    await trial.playThrough(story, 1)
    await trial.expect(story, 'after aborted calls')
  },
)

function announced(table: typeof items) {
  return {
    _tag: 'SchemaChange',
    before: null,
    table,
    change: { kind: 'create-table' },
    origin: 'stream',
  } as const
}

async function inventory(trial: Trial): Promise<readonly string[]> {
  return (await trial.bench.inventory()).toSorted()
}

export const lifecycleLaws: readonly SinkLaw[] = [capabilities, validate, createTable, disconnect, aborted]
