/** Laws about batches of unusual size. */
import assert from 'node:assert/strict'
import { bytes, column, int, table, text } from './cells.ts'
import { changes } from './rows.ts'
import { heartbeat, insert, rows, stepOf, Story, transaction, update } from './story.ts'
import { sinkLaw, type SinkLaw } from './trial.ts'

const items = table('items', [column('1', 'id', int(32)), column('2', 'note', text, true)])

const empty = sinkLaw(
  {
    id: 'empty-batches',
    title: 'becomes durable up to transactions without rows, but never beyond rows that are not durable',
  },
  async (trial) => {
    const run = await trial.start([items])
    await run.store(transaction(1))
    assert.equal(stepOf(run.durable), 1, 'a transaction without rows is not durable after a flush')
    await run.store(transaction(2, insert(items, { id: 1, note: trial.mark })))
    // Before the flush both may be durable or none, and the last flush makes all of it so.
    await run.write(transaction(3, insert(items, { id: 2, note: null })))
    await run.write(transaction(4))
    const early = stepOf(run.durable)
    assert(early === 2 || early === 4, `up to ${early} is said to be durable, and that was no end of a batch`)
    if (early === 4) await trial.expectRows(items, shown([1, trial.mark], [2, null]), 'said to be durable')
    await run.flush()
    assert.equal(stepOf(run.durable), 4, 'a transaction without rows behind one with rows is not durable')
    // Others report heartbeats to the runtime, which then needs no write.
    if (trial.capabilities.replay === 'transactional-position') {
      await run.store(heartbeat(5))
      assert.equal(stepOf(run.durable), 5, 'a heartbeat is not durable after a flush')
    }
    await run.end()
    await trial.expectRows(items, shown([1, trial.mark], [2, null]), 'after empty transactions')
  },
)

const large = sinkLaw(
  {
    id: 'large-batches',
    title:
      'takes a row of several megabytes, a batch of tens of megabytes, and a transaction of 100,000 rows in order',
  },
  async (trial) => {
    const { mark, capabilities } = trial
    const wide = table('wide', [
      column('1', 'id', int(32)),
      column('2', 'body', text),
      column('3', 'raw', bytes),
    ])
    const body = `${mark} é"\\\n`.repeat(250_000)
    const raw = Buffer.alloc(
      3_000_000,
      Uint8Array.from({ length: 251 }, (_, value) => value),
    )
    const many = Array.from({ length: 100_000 }, (_, index) =>
      insert(items, { id: index, note: `${mark} ${index}` }),
    )
    // Row numbers within a transaction run out of what a version can count.
    const last = changes(capabilities)
      ? [1, 99_999, 1, 1].map((id, turn) => update(items, { id, note: `${mark} turn ${turn}` }))
      : []
    const story = new Story(
      [wide, items],
      [
        rows(insert(wide, { id: 1, body, raw })),
        rows(
          ...Array.from({ length: 200 }, (_, index) =>
            insert(wide, { id: 10 + index, body: body.slice(0, 100_000 + index), raw: new Uint8Array(0) }),
          ),
        ),
        rows(...many, ...last),
        rows(insert(items, { id: -1, note: null })),
      ],
    )
    await trial.playThrough(story)
    await trial.expect(story, 'after large batches')
  },
)

function shown(...all: readonly (readonly [number, string | null])[]) {
  return all.map(([id, note]) => ({ id: String(id), note }))
}

export const batchLaws: readonly SinkLaw[] = [empty, large]
