/** Laws about what a sink says is durable (law L1 rests on it). */
import assert from 'node:assert/strict'
import type { RecordBatch } from '../../core/batch.ts'
import { CoreError, SchemaError } from '../../core/error.ts'
import type { TableSchema } from '../../core/table.ts'
import { settles } from '../wait-for.ts'
import { column, int, table, text } from './cells.ts'
import { Model } from './model.ts'
import { randomStory } from './random-story.ts'
import type { SinkRun } from './run.ts'
import { type Call, copied, heartbeat, insert, rows, stepOf, Story, truncated, update } from './story.ts'
import { assertNames, sinkLaw, type SinkLaw, type Trial } from './trial.ts'

/** How long a call may take to notice that its server was killed and is there again. */
const NOTICED_WITHIN_MS = 20_000

const survivesCrash = sinkLaw(
  {
    id: 'durable-survives-crash',
    title:
      'says durable only what is there after the server was killed, and ends equal when the rest comes again',
    needs: { crash: true },
  },
  async (trial) => {
    const { random } = trial
    const crash = trial.offered('crash', trial.bench.crash)
    const story = told(trial, 60)
    const model = Model.after(story)
    let checkpoint = 0
    for (const [end, goesOn] of [
      [20, false],
      [40, true],
    ] as const) {
      const run = await trial.startAt(story, checkpoint)
      const rest = await playUntil(run, [...story.calls(checkpoint, story.length, random)], end)
      // In the middle of a write. It may end in any way, but it ends.
      const write = run.tryStore(batchOf(rest[0])).catch(() => {})
      await crash()
      assert(await settles(write, NOTICED_WITHIN_MS), 'a write did not end after its server was killed')
      if (goesOn) await playOn(run, rest)
      await run.end()
      const durable = stepOf(run.durable)
      await trial.expectBetween(model, durable, `after a crash, with ${durable} steps said to be durable`)
      checkpoint = trial.commitBetween(story, checkpoint, durable)
    }
    await trial.playThrough(story, checkpoint)
    await trial.expect(story, 'after crashes of the server')
  },
)

const survivesEnd = sinkLaw(
  {
    id: 'durable-survives-disconnect',
    title: 'says durable only what is there when the process ends without a flush, and reports commits only',
  },
  async (trial) => {
    const { random } = trial
    const story = told(trial, 60)
    const model = Model.after(story)
    let checkpoint = 0
    for (let round = 0; round < 4; round++) {
      const run = await trial.startAt(story, checkpoint)
      const to = checkpoint + random.below(story.length - checkpoint + 1)
      // `SinkRun` checks each answer: a commit that was given, not later than what was accepted, never going back.
      await run.play(story, checkpoint, { to, random, flushes: 0.2 })
      await run.end()
      const durable = stepOf(run.durable)
      await trial.expectBetween(
        model,
        durable,
        `after a run that ended with ${durable} steps said to be durable`,
      )
      checkpoint = trial.commitBetween(story, checkpoint, durable)
    }
    await trial.playThrough(story, checkpoint)
    await trial.expect(story, 'after runs that ended without a flush')
  },
)

const positionWithRows = sinkLaw(
  {
    id: 'position-with-rows',
    title:
      'returns at connect exactly the position of its rows, an earlier one in a replay, and none in a new copy',
    applies: ({ replay }) => replay === 'transactional-position',
  },
  async (trial) => {
    const { random } = trial
    const story = told(trial, 40)
    const empty = await trial.connect()
    assert.equal(empty.held, null, 'an empty target has a position')
    await empty.end()
    for (let held = 0; held < story.length;) {
      const run = await trial.start(story.tablesAfter(held))
      assert.equal(stepOf(run.held), held, 'connect returned another position')
      const to = held + random.below(8) + 1
      await run.play(story, held, { to: Math.min(to, story.length), random, flushes: 0.3 })
      await run.end()
      const next = await trial.connect()
      held = stepOf(next.held)
      await trial.expect(Model.after(story, held), `with the position of step ${held}`)
      await next.end()
    }
    const beating = await trial.connect()
    await beating.store(heartbeat(story.length + 1))
    await beating.end()
    const [schema] = story.tables
    const replaying = await trial.connect()
    assert.equal(stepOf(replaying.held), story.length + 1, 'the position of a heartbeat is not kept')
    // A replay begins: until its end the rows are older than what the sink had.
    await replaying.rewind(story.length - 1)
    await replaying.end()
    const copying = await trial.start(story.tables)
    assert.equal(
      stepOf(copying.held),
      story.length - 1,
      'an earlier heartbeat does not set the position back',
    )
    const copy = new Story(story.tables, [truncated(schema!, 'snapshot'), copied()])
    await copying.play(copy, 0, { to: 1 })
    await copying.end()
    assert.equal((await trial.connect()).held, null, 'the position stays when a first copy begins')
  },
)

const items = table('items', [column('1', 'id', int(64)), column('2', 'note', text)])

const versions = sinkLaw(
  {
    id: 'newest-version-wins',
    title:
      'lets no older version of a row win that arrives late: not over a newer row, not over its deletion',
    applies: ({ keepsNewestVersion }) => keepsNewestVersion,
  },
  async (trial) => {
    const row = (id: number, words: string) => ({ id, note: `${trial.mark} ${words}` })
    const story = new Story(
      [items],
      [
        rows(insert(items, row(1, 'old')), insert(items, row(2, 'old')), insert(items, row(3, 'only'))),
        rows(insert(items, row(4, 'old')), insert(items, row(5, 'old'))),
        rows(
          { op: 'update', table: items, row: row(1, 'new'), before: null },
          { op: 'delete', table: items, before: { id: 2 } },
          { op: 'update', table: items, row: row(14, 'new'), before: { id: 4 } },
          { op: 'update', table: items, row: row(5, 'new'), before: row(5, 'old') },
        ),
      ],
    )
    const [first, second, third] = [...story.calls(0, 3)] as [Call, Call, Call]
    const again = [...story.calls(0, 3)] as [Call, Call, Call]
    const run = await trial.start(story.tables)
    await run.rewind(0)
    // Waiting together, then one after the other, then in a new run.
    for (const call of [third, first, second]) await run.make(call)
    await run.flush()
    await trial.expect(story, 'when older rows came after newer ones')
    for (const call of [again[1], again[0]]) {
      await run.make(call)
      await run.flush()
    }
    await run.end()
    await trial.expect(story, 'when older rows came after newer ones had become durable')
    const late = await trial.start(story.tables)
    await late.make([...story.calls(0, 1)][0]!)
    await late.flush()
    await trial.expect(story, 'when older rows came in a new run')
  },
)

const attach = sinkLaw(
  {
    id: 'attach-table',
    title:
      'takes rows of a table as it stands beside a run that looks after it, and refuses one with another schema',
    applies: ({ keepsNewestVersion }) => keepsNewestVersion,
  },
  async (trial) => {
    const row = (id: number, words: string) => ({ id, note: `${trial.mark} ${words}` })
    const story = new Story(
      [items],
      [
        rows(insert(items, row(1, 'old')), insert(items, row(2, 'old'))),
        rows(update(items, row(1, 'repaired')), insert(items, row(3, 'repaired'))),
        rows(update(items, row(2, 'new')), insert(items, row(4, 'new'))),
      ],
    )
    const [first, repair, last] = [...story.calls(0, 3)] as [Call, Call, Call]
    const run = await trial.start(story.tables)
    await run.make(first)
    await run.make(last)
    await run.flush()
    const before = (await trial.bench.inventory()).toSorted()
    const beside = await trial.connect()
    assert(beside.sink.attachTable !== undefined, 'a sink that keeps the newest version needs `attachTable`')
    await beside.sink.attachTable(items)
    await beside.make(repair)
    await beside.flush()
    await beside.end()
    await trial.expect(story, 'after rows were written beside a run')
    const wider: TableSchema = { ...items, columns: [...items.columns, column('3', 'more', text, true)] }
    for (const other of [wider, table('missing', items.columns)]) {
      const sink = trial.create()
      await sink.connect(trial.context())
      const error = await trial.failure('attaching another table', () => sink.attachTable!(other))
      assert(error instanceof SchemaError, `attaching another table failed with ${error.name}`)
      assertNames(error, other, null)
    }
    assert.deepEqual(
      (await trial.bench.inventory()).toSorted(),
      before,
      'attaching a table changed the target',
    )
    await run.end()
  },
)

/** No partial rows: in a replay they may be unknown for a while, which is no state that they had. */
function told(trial: Trial, steps: number): Story {
  return randomStory(trial.random, trial.capabilities, trial.mark, {
    steps,
    partial: 'none',
    truncates: false,
  })
}

/** Makes the calls, with some flushes, before the one that holds this step; returns the others. */
async function playUntil(run: SinkRun, calls: readonly Call[], step: number): Promise<readonly Call[]> {
  for (const [index, call] of calls.entries()) {
    if (stepOf(batchOf(call).position) >= step) return calls.slice(index)
    await run.make(call)
    if (index % 4 === 3) await run.flush()
  }
  return assert.fail('the story is shorter than that')
}

/** The same run after a crash of its server. A sink that cannot go on must say so with an error that is for good. */
async function playOn(run: SinkRun, calls: readonly Call[]): Promise<void> {
  try {
    for (const call of calls) await run.make(call)
    await run.flush()
  } catch (error) {
    assert(error instanceof CoreError && !error.retryable, error as Error)
  }
}

function batchOf(call: Call | undefined): RecordBatch {
  assert(call?.kind === 'write')
  return call.batch
}

export const durabilityLaws: readonly SinkLaw[] = [
  survivesCrash,
  survivesEnd,
  positionWithRows,
  versions,
  attach,
]
