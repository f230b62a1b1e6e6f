/** Laws about the whole: whatever is written while a source copies and follows the log, its sinks end equal. */
import assert from 'node:assert/strict'
import type { RecordBatch } from '../../core/batch.ts'
import { Journal, type Mark } from './journal.ts'
import { Mirror } from './mirror.ts'
import { inserts } from './rows.ts'
import type { SourceRun } from './run.ts'
import { sourceLaw, type Trial } from './trial.ts'
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

const whole = sourceLaw({
  id: 'partial-until-consistent',
  title:
    'calls its positions partial until they stand for a state that the tables had, and soon gives one that is',
  applies: ({ snapshot }) => snapshot,
  async check(trial) {
    await trial.create('a', 'b', 'c')
    const pairs = new Pairs(trial)
    for (let times = 0; times < 40; times++) await pairs.more()
    const during = ({ origin }: RecordBatch): void | Promise<void> =>
      origin === 'snapshot' ? pairs.more() : undefined
    await pairs.settle(new Journal(), during)
    if (trial.capabilities.replay === 'none') return
    // Interrupted at the first position again and again, so that tables are copied at different places of the log.
    const journal = new Journal()
    for (let round = 0; round < 3; round++) {
      let reached = false
      const onWrite = (batch: RecordBatch, run: SourceRun): void => {
        if (batch.position === null) return
        reached = true
        run.hold()
      }
      const run = await trial.run(journal, { onWrite })
      await run.until('a position comes', () => reached)
      await run.stopHeld()
      for (let times = 0; times < 3; times++) await pairs.more()
    }
    await pairs.settle(journal)
  },
})

/** The tables `a` and `b` always have the same keys: whatever has not, they never were. */
class Pairs {
  readonly #trial: Trial
  #next = 0

  constructor(trial: Trial) {
    this.#trial = trial
  }

  async more(): Promise<void> {
    const id = this.#next++
    const { random } = this.#trial
    await this.#trial.apply(...inserts(random, 'a', id, id + 1), ...inserts(random, 'b', id, id + 1))
  }

  /** Reads until a position is not partial, and looks at all of them. */
  async settle(journal: Journal, onWrite?: (batch: RecordBatch) => void | Promise<void>): Promise<void> {
    const run = await this.#trial.run(journal, onWrite === undefined ? {} : { onWrite })
    await run.until('a position that is not partial comes after the copy', () => {
      const last = journal.marks.at(-1)?.position
      return last !== undefined && last.partial !== true
    })
    await run.settled()
    await run.stop()
    for (const mark of journal.marks) if (mark.position.partial !== true) this.#check(journal, mark)
    await this.#trial.equal(journal)
  }

  #check(journal: Journal, mark: Mark): void {
    const { order } = mark.position
    const rest = journal.entries.slice(mark.at)
    const start = rest.findIndex(({ kind }) => kind === 'start')
    const copying = rest
      .slice(0, start < 0 ? rest.length : start)
      .some((entry) => 'origin' in entry && entry.origin === 'snapshot')
    assert.ok(!copying, `the position ${order} is not partial, although the copy goes on`)
    const mirror = new Mirror(journal.upTo(mark).entries)
    const keys = (table: string): string =>
      mirror
        .rows(this.#trial.bench.nameOf(table))
        .map(({ id }) => Number(id))
        .sort((one, other) => one - other)
        .join()
    assert.equal(keys('a'), keys('b'), `the position ${order} is not partial, but the tables never were so`)
  }
}

export const copyLaws = [streams, copies, interrupted, whole]
