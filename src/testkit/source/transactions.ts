/** Laws about transactions: their boundaries, their positions, their versions. */
import assert from 'node:assert/strict'
import type { SourceCapabilities } from '../../core/source.ts'
import { isRow, type Journal, type RowEntry } from './journal.ts'
import { sourceLaw } from './trial.ts'
import { Writers } from './writers.ts'

const transactional = ({ transactions }: SourceCapabilities): boolean => transactions

const nests = sourceLaw({
  id: 'transactions-nest',
  title: 'brings the rows of each transaction between its Begin and its Commit, and no position in between',
  applies: transactional,
  async check(trial) {
    await trial.create('a', 'b')
    const writers = new Writers(trial, ['a', 'b'], 60)
    await writers.fill()
    const run = await trial.run()
    await run.settled()
    writers.truncates = true
    writers.start()
    await writers.finished()
    await run.settled()
    await run.stop()
    checkNesting(run.journal)
    for (const { position, lastMark } of run.journal.batches)
      assert.equal(
        position?.order ?? null,
        lastMark?.order ?? null,
        'the position of a batch is not that of its last commit',
      )
  },
})

/** `n` tells which transaction a row belongs to, see `Writers`. */
function checkNesting(journal: Journal): void {
  let open: string | null = null
  let marks = new Set<string>()
  const seen = new Set<string>()
  for (const entry of journal.entries) {
    switch (entry.kind) {
      case 'begin':
        assert.equal(open, null, `transaction ${entry.id} begins inside of transaction ${open}`)
        open = entry.id
        marks = new Set()
        break
      case 'commit':
        assert.equal(open, entry.id, `transaction ${entry.id} commits, but the open one is ${open}`)
        open = null
        for (const mark of marks) {
          assert.ok(!seen.has(mark), `rows of one transaction come in two`)
          seen.add(mark)
        }
        break
      case 'heartbeat':
      case 'part':
        assert.equal(open, null, `a position comes in the middle of transaction ${open}`)
        break
      case 'schema':
        assert.ok(
          open === null || entry.position === null,
          `a schema change brings a position in the middle of transaction ${open}`,
        )
        break
      case 'insert':
      case 'update':
      case 'delete':
        if (entry.origin === 'snapshot') {
          assert.equal(open, null, `a row of a copy comes in the middle of transaction ${open}`)
          break
        }
        assert.ok(open !== null, 'a row comes outside of any transaction')
        if (typeof entry.after?.['n'] === 'string') marks.add(entry.after['n'])
        assert.ok(marks.size <= 1, `transaction ${open} has rows of several transactions`)
        break
      case 'start':
        open = null
        break
    }
  }
  assert.equal(open, null, `transaction ${open} has no end`)
  assert.ok(seen.size > 1, 'the source has streamed no transaction')
}

const versions = sourceLaw({
  id: 'versions-rise',
  title: 'gives rows versions that rise with the log and are the same at a replay',
  async check(trial) {
    await trial.create('a', 'b')
    const writers = new Writers(trial, ['a', 'b'], 40)
    await writers.fill()
    const run = await trial.run()
    await run.settled()
    writers.start()
    await writers.finished()
    await run.settled()
    await run.stop()
    const { journal } = run
    checkVersions(journal)
    if (trial.capabilities.replay === 'none') return
    const commits = journal.marks.filter(({ kind }) => kind === 'commit')
    for (const mark of [commits[0]!, commits[commits.length >> 1]!]) {
      const resumed = await trial.read(journal.upTo(mark))
      const again = resumed.streamedRows(mark.at).map(({ version }) => version)
      const first = journal.streamedRows(mark.at).map(({ version }) => version)
      assert.deepEqual(again, first, `versions after ${mark.position.order} are others at a replay`)
    }
  },
})

/** Within a transaction versions may be equal; a later transaction's are higher, and a copy's lie below the stream's. */
function checkVersions(journal: Journal): void {
  let before = 0n
  let highest = 0n
  const rows: RowEntry[] = []
  for (const entry of journal.entries) {
    if (entry.kind === 'begin') before = highest
    if (!isRow(entry)) continue
    const { version, origin } = entry
    rows.push(entry)
    assert.ok(version >= 0n && version < 1n << 64n, `the version ${version} has more than 64 bits`)
    if (origin === 'stream')
      assert.ok(
        version >= highest && (version > before || before === 0n),
        `the version ${version} comes after ${highest}`,
      )
    if (version > highest) highest = version
  }
  assert.ok(rows.some(({ origin }) => origin === 'stream'))
}

export const transactionLaws = [nests, versions]
