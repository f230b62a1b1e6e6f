/** Laws about what comes again: the same calls, and any part of the log. */
import { UNCHANGED } from '../../core/canonical.ts'
import type { SinkCapabilities } from '../../core/sink.ts'
import { column, int, table, text } from './cells.ts'
import { randomStory } from './random-story.ts'
import { keepsCells } from './rows.ts'
import { insert, rows, stepOf, Story, update } from './story.ts'
import { sinkLaw, type SinkLaw, type Trial } from './trial.ts'

const harmlessReplay = ({ replay }: SinkCapabilities): boolean => replay !== 'append'

const batchTwice = sinkLaw(
  {
    id: 'batch-twice',
    title: 'takes a batch once when the same comes twice, from the same run or built again by a new one',
    applies: harmlessReplay,
  },
  async (trial) => {
    const story = tell(trial, 20)
    for (const what of ['in the first run', 'in a new run']) {
      const run = await trial.startAt(story, 0)
      for (const call of story.calls(0, story.length)) {
        await run.make(call)
        if (call.kind === 'write') {
          // The very object, as after an error that passes; before and after it was made durable.
          await run.write(call.batch)
          if (trial.random.chance(0.5)) await run.flush()
          await run.write(call.batch)
        }
      }
      await run.flush()
      await trial.expect(story, `after each batch came three times ${what}`)
      await run.end()
    }
  },
)

const replayConverges = sinkLaw(
  {
    id: 'replay-converges',
    title: 'ends equal when any part of the log is replayed, from a commit on, by the same or by a new run',
    applies: harmlessReplay,
  },
  (trial) => replayed(trial, tell(trial, 30)),
)

const replayedMoves = sinkLaw(
  {
    id: 'replay-partial-moves',
    title: 'ends equal also when key changes that leave unchanged cells out are replayed',
    applies: (capabilities) => harmlessReplay(capabilities) && keepsCells(capabilities),
  },
  async (trial) => {
    // When the move comes again, another row has the key that it came from.
    const row = (id: number, body: string) => ({ id, body: `${trial.mark} ${body}` })
    const story = new Story(
      [items],
      [
        rows(insert(items, row(1, 'a')), insert(items, row(2, 'b'))),
        rows(update(items, { id: 3, body: UNCHANGED }, { id: 1 }), insert(items, row(1, 'c'))),
        rows(
          update(items, { id: 9, body: UNCHANGED }, { id: 1 }),
          update(items, { id: 1, body: UNCHANGED }, { id: 2 }),
          update(items, { id: 2, body: UNCHANGED }, { id: 9 }),
        ),
      ],
    )
    await trial.playThrough(story)
    for (const from of story.resumable) {
      await trial.playThrough(story, from)
      await trial.expect(story, `after a replay from step ${from}`)
    }
    await using again = await trial.again()
    await replayed(again, tell(again, 30, 'all'))
  },
)

const items = table('items', [column('1', 'id', int(32)), column('2', 'body', text)])

async function replayed(trial: Trial, story: Story): Promise<void> {
  const { random } = trial
  let checkpoint = 0
  // Killed in the middle without a flush, and started again at a commit that was durable.
  for (let crash = 0; crash < 4; crash++) {
    const run = await trial.startAt(story, checkpoint)
    const to = checkpoint + random.below(story.length - checkpoint + 1)
    await run.play(story, checkpoint, { to, random, flushes: 0.3 })
    await run.end()
    checkpoint = trial.commitBetween(story, checkpoint, stepOf(run.durable))
  }
  const run = await trial.startAt(story, checkpoint)
  await run.play(story, checkpoint, { random })
  await run.flush()
  await trial.expect(story, 'after replays by new runs')
  for (let replay = 0; replay < 2; replay++) {
    const from = replay === 0 ? 0 : trial.commitBetween(story, 0, story.length)
    await run.rewind(from)
    for (const schema of story.tablesAfter(from)) await run.createTable(schema)
    await run.play(story, from, { random, flushes: 0.2 })
    await run.flush()
    await trial.expect(story, `after a replay from step ${from} by the same sink`)
  }
}

function tell(trial: Trial, steps: number, partial: 'stay' | 'all' = 'stay'): Story {
  return randomStory(trial.random, trial.capabilities, trial.mark, { steps, partial, truncates: true })
}

export const replayLaws: readonly SinkLaw[] = [batchTwice, replayConverges, replayedMoves]
