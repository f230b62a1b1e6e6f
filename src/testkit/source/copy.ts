/** Laws about the whole: whatever is written while a source copies and follows the log, its sinks end equal. */
import assert from 'node:assert/strict'
import type { RecordBatch } from '../../core/batch.ts'
import { Journal } from './journal.ts'
import type { SourceRun } from './run.ts'
import { sourceLaw } from './trial.ts'
import { Writers } from './writers.ts'

const streams = sourceLaw({
  id: 'stream-equals-the-tables',
  title: 'hands over everything that is written to tables which were empty at the start',
  async check(trial) {
    await trial.create('a', 'b')
    const run = await trial.run()
    await run.settled()
    const writers = new Writers(trial, ['a', 'b'], 80)
    writers.truncates = true
    await writers.fill()
    writers.start()
    await writers.finished()
    await run.settled()
    await run.stop()
    await trial.equal(run.journal)
    assert.ok(run.journal.streamedRows().length > 0)
  },
})

const copies = sourceLaw({
  id: 'copy-and-stream-equal-the-tables',
  title: 'gives by copy and stream together what the tables hold at the end, while writers run',
  applies: ({ snapshot }) => snapshot,
  async check(trial) {
    await trial.create('a', 'b')
    const writers = new Writers(trial, ['a', 'b'])
    await writers.fill()
    writers.start()
    // Something is committed between any two batches of the copy.
    const onWrite = ({ origin }: RecordBatch): void | Promise<void> =>
      origin === 'snapshot' ? writers.more(1) : undefined
    const run = await trial.run(new Journal(), { onWrite })
    await run.settled()
    writers.truncates = true
    await writers.more(60)
    await writers.stop()
    await run.settled()
    await run.stop()
    assert.ok(run.journal.copiedRows().length > 0, 'the source has copied no row')
    assert.ok(run.journal.streamedRows().length > 0, 'the source has streamed no row')
    await trial.equal(run.journal)
  },
})

const interrupted = sourceLaw({
  id: 'copy-survives-restarts',
  title: 'ends equal when its copy is interrupted again and again, while writers run',
  applies: ({ snapshot, replay }) => snapshot && replay === 'log',
  async check(trial) {
    await trial.create('a', 'b', 'c')
    const writers = new Writers(trial, trial.tables, 400)
    await writers.fill()
    writers.start()
    const journal = new Journal()
    for (let round = 0; round < 4; round++) {
      const enough = 1 + trial.random.below(12)
      const onWrite = (_: RecordBatch, run: SourceRun): void | Promise<void> => {
        if (run.writes < enough) return writers.more(1)
        if (run.writes === enough) run.hold()
      }
      const run = await trial.run(journal, { onWrite })
      await run.until('some of it is copied', () => run.writes >= enough || writers.done)
      await run.stopHeld()
    }
    await writers.stop()
    await trial.equal(await trial.read(journal))
  },
})

export const copyLaws = [streams, copies, interrupted]
