/** Laws about rows that the target does not take (law L5). */
import assert from 'node:assert/strict'
import { column, int, table, text } from './cells.ts'
import { Model } from './model.ts'
import { changes } from './rows.ts'
import type { TableSchema } from '../../core/table.ts'
import { insert, type RowChange, rows, stepOf, Story, update } from './story.ts'
import { assertNames, sinkLaw, type SinkLaw, type Trial } from './trial.ts'

const columns = [column('1', 'id', int(64)), column('2', 'note', text)]
const first = table('first_table', columns)
const second = table('second_table', columns)
const third = table('third_table', columns)

const rejectedRow = sinkLaw(
  {
    id: 'rejected-row',
    title:
      'fails at a row that the target refuses, names its table, and says nothing from there on is durable',
  },
  async (trial) => {
    const many = (from: number) => Array.from({ length: 20 }, (_, index) => row(trial, first, from + index))
    const story = new Story(
      [first, second],
      [
        rows(...many(1), row(trial, second, 1)),
        rows(...many(490), row(trial, second, 2), ...again(trial, first, 1)),
        rows(...many(100), row(trial, second, 3), ...again(trial, second, 1)),
      ],
    )
    await refused(trial, story, first, '500')
    const held = await trial.bench.rows(first)
    assert(!held.some(({ id }) => id === '500'), 'the refused row is there')
  },
)

const partialSuccess = sinkLaw(
  {
    id: 'partial-success',
    title:
      'ends equal after a write of which only a part was applied, when everything not durable comes again',
  },
  async (trial) => {
    const tables = [first, second, third]
    const bulk = tables.flatMap((schema) =>
      Array.from({ length: 300 }, (_, index) => row(trial, schema, index + 1)),
    )
    const both = (id: number) => tables.flatMap((schema) => again(trial, schema, id))
    const story = new Story(tables, [
      rows(...tables.map((schema) => row(trial, schema, 1000))),
      rows(...bulk, ...both(1000)),
      rows(row(trial, second, 301), ...both(7)),
    ])
    for (const refusing of [first, third]) {
      await using own = await trial.again()
      const allow = await refused(own, story, refusing, '150')
      await allow()
      await own.playThrough(story, 1)
      await own.expect(story, `after ${refusing.name} had refused a part of a batch`)
    }
  },
)

/**
 * Plays the first step, and the others with a row that is refused. Checks the error, what is said to be durable, and
 * that every row is in a state that it had.
 */
async function refused(
  trial: Trial,
  story: Story,
  schema: TableSchema,
  id: string,
): Promise<() => Promise<void>> {
  const run = await trial.startAt(story, 0)
  await run.play(story, 0, { to: 1 })
  await run.flush()
  const allow = await trial.offered('refuseRow', trial.bench.refuseRow)(schema, { id })
  const error = await trial.failure('writing a row that the target refuses', async () => {
    await run.play(story, 1)
    await run.flush()
  })
  assert(!error.retryable, `a refused row failed with an error that says it passes: ${error.message}`)
  assertNames(error, schema, null)
  assert.equal(stepOf(run.durable), 1, 'the refused row, or what is behind it, is said to be durable')
  await run.end()
  await trial.expectBetween(Model.after(story), 1, 'after a row was refused')
  return allow
}

function row(trial: Trial, schema: TableSchema, id: number): RowChange {
  return insert(schema, { id, note: `${trial.mark} ${id}` })
}

function again(trial: Trial, schema: TableSchema, id: number): readonly RowChange[] {
  return changes(trial.capabilities) ? [update(schema, { id, note: `${trial.mark} again` })] : []
}

export const refusalLaws: readonly SinkLaw[] = [rejectedRow, partialSuccess]
