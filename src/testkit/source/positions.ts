/** Laws about positions: what they mean, how they sort, and what becomes of the history behind and before them. */
import assert from 'node:assert/strict'
import { PositionLostError } from '../../core/error.ts'
import { comparePositions } from '../../core/position.ts'
import { tableName } from '../../core/table.ts'
import { type Entry, isRow, Journal, lineOf, type Mark } from './journal.ts'
import { inserts } from './rows.ts'
import { sameLines, sourceLaw, type Trial } from './trial.ts'
import { Writers } from './writers.ts'

/** Positions of a run that are tried. */
const RESUMES = 16

const resumes = sourceLaw({
  id: 'resume-gives-the-rest',
  title: 'gives, from any position that it handed over, exactly what came after it',
  applies: ({ replay }) => replay === 'log',
  async check(trial) {
    const journal = await busyRun(trial)
    for (const mark of chosen(journal.marks, trial)) {
      const resumed = journal.upTo(mark)
      const run = await trial.run(resumed)
      await run.settled()
      await run.stop()
      const where = `what follows ${mark.position.order}, the position of a ${mark.kind},`
      const again = copiedTables(resumed, run.first)
      sameLines(
        records(resumed.entries.slice(run.first), again),
        records(journal.entries.slice(mark.at), again),
        where,
      )
      await trial.equal(resumed)
    }
  },
})

const sorted = sourceLaw({
  id: 'positions-sort-as-the-log',
  title: 'hands over positions that sort as the log does, also after a restart',
  async check(trial) {
    await trial.create('a')
    const writers = new Writers(trial, ['a'], 40)
    await writers.fill()
    const journal = new Journal()
    for (let start = 0; start < (trial.capabilities.replay === 'log' ? 2 : 1); start++) {
      const run = await trial.run(journal)
      await run.settled()
      if (start === 0) writers.start()
      await writers.finished()
      await run.settled()
      const last = journal.marks.at(-1)?.position
      const current = run.source.currentPosition()
      assert.equal(current?.order, last?.order, 'currentPosition() is not the last position handed over')
      const head = await run.source.headPosition()
      assert.ok(
        head === null || comparePositions(current!, head) <= 0,
        `the position handed over, ${current!.order}, is beyond the end of the log, ${head?.order}`,
      )
      await run.stop()
    }
    let before: Mark | null = null
    for (const mark of journal.marks) {
      const { order } = mark.position
      assert.equal(typeof order, 'string', 'order of a position is not a text')
      if (before !== null)
        assert.ok(
          order >= before.position.order,
          `the position ${order} comes after ${before.position.order}`,
        )
      before = mark
    }
    const commits = journal.marks
      .filter(({ kind }) => kind === 'commit')
      .map(({ position }) => position.order)
    assert.equal(new Set(commits).size, commits.length, 'two transactions have the same position')
  },
})

const idles = sourceLaw({
  id: 'idle-progress',
  title: 'moves its position on when only unrelated things happen in the log',
  async check(trial) {
    const unrelated = trial.means('unrelated')
    await trial.create('a')
    await trial.apply(...inserts(trial.random, 'a', 0, 3))
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    for (let times = 0; times < 3; times++) {
      const before = journal.marks.at(-1)?.position.order ?? ''
      await unrelated()
      await run.until('the position moves on', () => (journal.marks.at(-1)?.position.order ?? '') > before)
    }
    await run.settled()
    await run.stop()
    if (trial.capabilities.replay === 'none') return
    await trial.apply(...inserts(trial.random, 'a', 3, 6))
    await trial.equal(await trial.read(journal))
  },
})

const releases = sourceLaw({
  id: 'checkpoint-releases',
  title: 'lets the server forget what is checkpointed, and nothing beyond',
  applies: ({ replay }) => replay === 'log',
  async check(trial) {
    const released = trial.means('released')
    await trial.create('a')
    const writers = new Writers(trial, ['a'], 30)
    await writers.fill()
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    const start = await released()
    writers.start()
    await writers.finished()
    await run.settled()
    const holds = async (limit: string | null, when: string): Promise<void> => {
      const order = await released()
      assert.ok(
        order === null || (limit !== null && order <= limit),
        `${when} the server may forget up to ${order}, beyond ${limit}, which is all that it was told`,
      )
    }
    await holds(start, 'without any checkpoint')
    const commits = journal.marks.filter(
      ({ kind, position }) => kind === 'commit' && position.order > (start ?? ''),
    )
    const [middle, later] = [commits[commits.length >> 1]!, commits.at(-2)!]
    await run.source.checkpoint(journal.upTo(middle).position!)
    await run.until('the server may forget what is checkpointed', async () => {
      await holds(middle.position.order, 'after the checkpoint')
      return ((await released()) ?? '') >= middle.position.order
    })
    // More is read, and the end of the stream comes; nothing more is checkpointed.
    await trial.apply(...inserts(trial.random, 'a', 1000, 1010))
    await run.settled()
    await holds(middle.position.order, 'while it reads on')
    await run.halt()
    await holds(middle.position.order, 'after the stream')
    // The connection is still there for a last one.
    await run.source.checkpoint(journal.upTo(later).position!)
    await trial.waitFor('the server may forget what is checkpointed last', async () => {
      await holds(later.position.order, 'after the last checkpoint')
      return ((await released()) ?? '') >= later.position.order
    })
    await run.source.disconnect()
    await holds(later.position.order, 'after disconnect')
    // What is left is enough to go on from there, which releases nothing either.
    const resumed = await trial.read(journal.upTo(later))
    await trial.equal(resumed)
    await holds(later.position.order, 'after a restart')
  },
})

const lost = sourceLaw({
  id: 'lost-history',
  title: 'stops with PositionLostError when the log does not reach back to its position',
  applies: ({ replay }) => replay === 'log',
  async check(trial) {
    const loseHistory = trial.means('loseHistory')
    await trial.create('a')
    await trial.apply(...inserts(trial.random, 'a', 0, 3))
    const journal = await trial.read()
    await trial.apply(...inserts(trial.random, 'a', 3, 6))
    await loseHistory()
    // Twice: the first attempt must not mend anything.
    for (let times = 0; times < 2; times++) {
      const run = await trial.run(new Journal(journal.entries))
      const error = await run.failed()
      assert.ok(error instanceof PositionLostError, `the source fails with ${error.name} (${error.code})`)
      assert.equal(error.retryable, false, 'a lost position is said to be worth another try')
      assert.ok((error.fix ?? '') !== '', 'the error does not say what to do')
      assert.ok(!run.journal.entries.slice(run.first).some(isRow), 'rows are handed over in spite of it')
      await run.source.disconnect()
    }
  },
})

const foreign = sourceLaw({
  id: 'refuses-foreign-positions',
  title: 'stops with an error when its position was made by something else',
  applies: ({ replay }) => replay === 'log',
  async check(trial) {
    await trial.create('a')
    await trial.apply(...inserts(trial.random, 'a', 0, 3))
    await trial.read()
    const run = await trial.run(new Journal(), {
      from: { order: '0000000000000001', resume: { 'made by': 'something else' } },
    })
    const error = await run.failed()
    assert.equal(error.retryable, false, 'a foreign position is said to be worth another try')
    assert.ok(!run.journal.entries.some(isRow), 'rows are handed over in spite of it')
  },
})

/** A run with a copy and many transactions, over two tables that have rows and an empty one. */
async function busyRun(trial: Trial): Promise<Journal> {
  await trial.create('a', 'b', 'c')
  const writers = new Writers(trial, ['a', 'b'], 40)
  await writers.fill()
  const run = await trial.run()
  await run.settled()
  writers.truncates = true
  writers.start()
  await writers.more(40)
  await trial.bench.unrelated?.()
  await writers.finished()
  await run.settled()
  await run.stop()
  return run.journal
}

/** The first and the last, those of the copy, and some others by chance. */
function chosen(marks: readonly Mark[], { random }: Trial): readonly Mark[] {
  if (marks.length <= RESUMES) return marks
  const stream = marks.findIndex(({ kind }) => kind === 'commit')
  const some = new Set([0, marks.length - 1])
  for (let index = 0; index <= Math.min(stream, 6); index++) some.add(index)
  while (some.size < RESUMES) some.add(random.below(marks.length))
  return [...some].sort((a, b) => a - b).map((index) => marks[index]!)
}

/** Tables that are copied (again) among the entries from `first` on. */
function copiedTables(journal: Journal, first: number): ReadonlySet<string> {
  const copied = journal
    .schemaChanges('truncate', undefined, first)
    .filter(({ origin }) => origin === 'snapshot')
  return new Set(copied.map(({ table }) => tableName(table)))
}

/**
 * The records of the stream as text. Tables that a resumed run copies once more have other records then, so theirs are
 * left out, with the transactions that become empty; what they amount to is compared as rows.
 */
function records(entries: readonly Entry[], without: ReadonlySet<string>): readonly string[] {
  const kept = entries.filter((entry) => {
    if (entry.kind === 'begin' || entry.kind === 'commit') return true
    if (isRow(entry)) return entry.origin === 'stream' && !without.has(tableName(entry.table))
    if (entry.kind !== 'schema' || entry.record.change.kind === 'create-table') return false
    return entry.record.origin === 'stream' && !without.has(tableName(entry.record.table))
  })
  const isEmpty = (index: number): boolean => {
    const [one, two] = kept[index]?.kind === 'begin' ? [index, index + 1] : [index - 1, index]
    return kept[one]?.kind === 'begin' && kept[two]?.kind === 'commit'
  }
  return kept.filter((_, index) => without.size === 0 || !isEmpty(index)).map(lineOf)
}

export const positionLaws = [resumes, sorted, idles, releases, lost, foreign]
