/** Laws about cells: what a value is does not depend on its way, and what the log leaves out is not lost. */
import assert from 'node:assert/strict'
import { UNCHANGED } from '../../core/canonical.ts'
import type { KitChange, KitRow, TextRow } from '../change.ts'
import { Journal } from './journal.ts'
import { Mirror } from './mirror.ts'
import { inserts, largeText, row, text } from './rows.ts'
import { sameRows, sourceLaw, type Trial } from './trial.ts'

/** `id` of the first sample that is streamed; those that are copied begin with 1. */
const STREAMED_FROM = 100_000

const types = sourceLaw({
  id: 'values-are-the-servers',
  title: 'gives every value of every type as the server renders it, the same by copy and by stream',
  timeoutMs: 120_000,
  async check(trial) {
    const samples = trial.means('types')
    await samples.create()
    const { snapshot } = trial.capabilities
    if (snapshot) await samples.insert(1)
    const run = await trial.run()
    await run.settled()
    const compare = async (): Promise<void> => {
      await run.settled()
      const mirror = new Mirror(run.journal.entries)
      for (const table of samples.tables) {
        const name = trial.bench.nameOf(table)
        const expected = await trial.bench.rows(table)
        assert.ok(expected.length > 0, `there are no samples in ${name}`)
        sameCells(mirror.rows(name), expected, name)
        if (snapshot) sameByBothWays(mirror.rows(name), name)
      }
    }
    if (snapshot) {
      const mirror = new Mirror(run.journal.entries)
      for (const table of samples.tables) {
        const name = trial.bench.nameOf(table)
        sameCells(mirror.rows(name), await trial.bench.rows(table), `${name} by copy`)
      }
    }
    await samples.insert(STREAMED_FROM)
    await compare()
    await run.stop()
  },
})

/** Names the first column that differs, as a row of all types is long. */
function sameCells(actual: readonly TextRow[], expected: readonly TextRow[], what: string): void {
  const found = new Map(actual.map((cells) => [cells['id'], cells]))
  for (const cells of expected) {
    for (const [column, value] of Object.entries(cells))
      assert.equal(found.get(cells['id'])?.[column], value, `${what}, column ${column} of row ${cells['id']}`)
  }
  sameRows(actual, expected, `the rows of ${what}`)
}

function sameByBothWays(rows: readonly TextRow[], what: string): void {
  const streamed = new Map(rows.map((cells) => [Number(cells['id']) - STREAMED_FROM, cells]))
  for (const copied of rows) {
    const id = Number(copied['id'])
    if (id >= STREAMED_FROM) continue
    const other = streamed.get(id - 1)
    assert.ok(other !== undefined, `${what}: the sample ${id} was copied, but not streamed`)
    for (const [column, value] of Object.entries(copied))
      if (column !== 'id')
        assert.equal(other[column], value, `${what}, column ${column}, by stream and by copy`)
  }
}

const unchanged = sourceLaw({
  id: 'unchanged-is-not-null',
  title: 'marks cells that the log leaves out as unchanged, so that a sink keeps what it has',
  applies: ({ unchangedCells }) => unchangedCells,
  async check(trial) {
    const { random } = trial
    await trial.create('a')
    const doc = (id: number, value: string | null): KitChange => ({
      kind: 'insert',
      table: 'a',
      row: { id, n: 0, big: null, note: text(random), doc: value },
    })
    const set = (id: number, changes: KitRow): KitChange => ({
      kind: 'update',
      table: 'a',
      key: { id },
      set: changes,
    })
    await trial.apply(doc(1, largeText(random)), doc(2, null), doc(3, largeText(random)))
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    // A value and a NULL that stay, in a transaction of their own and in that of the insert.
    await trial.apply(set(1, { n: 1 }), set(2, { n: 1 }))
    await trial.apply(doc(4, largeText(random)), set(4, { n: 1 }), set(4, { n: 2, note: null }))
    // From a value to NULL and back.
    await trial.apply(set(3, { n: 1, doc: null }))
    await trial.apply(set(3, { n: 2 }))
    await trial.apply(set(3, { doc: largeText(random) }))
    await trial.apply(set(3, { n: 3 }))
    await run.settled()
    await run.stop()
    await trial.equal(journal)
    const left = journal.streamedRows().filter(({ after }) => after?.['doc'] === UNCHANGED)
    assert.ok(
      left.length > 0,
      'no update left the large text out: the harness must store "large-text" so that it does',
    )
    if (trial.capabilities.replay === 'none') return
    await trial.apply(set(1, { n: 7 }), set(4, { id: 40 }))
    await trial.equal(await trial.read(journal))
  },
})

const keys = sourceLaw({
  id: 'key-change-moves-the-row',
  title: 'says which row it was when a key changes, and gives the whole row under its new key',
  applies: ({ updates }) => updates,
  async check(trial) {
    const { random } = trial
    await trial.create('a')
    const move = (from: number, to: number, more: KitRow = {}): KitChange => ({
      kind: 'update',
      table: 'a',
      key: { id: from },
      set: { id: to, ...more },
    })
    await trial.apply(...inserts(random, 'a', 1, 9))
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    await trial.apply(move(1, 101))
    await trial.apply(move(2, 102, { n: -1, doc: null }), move(102, 103))
    // Two rows that change places, and a key that becomes free and is taken again.
    await trial.apply(move(3, 300), move(4, 3), move(300, 4))
    if (trial.capabilities.deletes)
      await trial.apply({ kind: 'delete', table: 'a', key: { id: 5 } }, move(6, 5), {
        kind: 'insert',
        table: 'a',
        row: row(random, 6, 6),
      })
    await run.settled()
    await run.stop()
    await trial.equal(journal)
    await restartAfter(trial, journal, move(7, 107), move(107, 7), move(8, 108))
  },
})

const truncates = sourceLaw({
  id: 'truncate',
  title: 'hands over a truncate between the rows before and after it',
  applies: ({ schemaChanges }) => schemaChanges.includes('truncate'),
  async check(trial) {
    const { random } = trial
    await trial.create('a', 'b')
    const truncate = (table: string): KitChange => ({ kind: 'truncate', table })
    await trial.apply(...inserts(random, 'a', 1, 5), ...inserts(random, 'b', 1, 5))
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    await trial.apply(...inserts(random, 'a', 5, 8))
    await trial.apply(truncate('a'))
    await trial.apply(...inserts(random, 'a', 8, 10))
    await run.settled()
    await trial.equal(journal)
    // All in one transaction; then one with nothing around it.
    await trial.apply(...inserts(random, 'b', 5, 8), truncate('b'), ...inserts(random, 'b', 1, 3))
    await run.settled()
    await trial.equal(journal)
    await trial.apply(truncate('a'))
    await run.settled()
    await run.stop()
    await trial.equal(journal)
    const reported = journal.schemaChanges('truncate').filter(({ origin }) => origin === 'stream')
    assert.equal(reported.length, 3, 'not every truncate is handed over as a schema change')
    await restartAfter(trial, journal, ...inserts(random, 'a', 1, 4), truncate('b'))
  },
})

/** The changes happen while nothing reads. */
async function restartAfter(trial: Trial, journal: Journal, ...changes: readonly KitChange[]): Promise<void> {
  if (trial.capabilities.replay === 'none') return
  await trial.apply(...changes)
  await trial.equal(await trial.read(journal))
}

export const valueLaws = [types, unchanged, keys, truncates]
