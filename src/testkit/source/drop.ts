/** The law about tables that go away, and about others that come under their names. */
import assert from 'node:assert/strict'
import { tableName } from '../../core/table.ts'
import type { KitChange } from '../change.ts'
import { isRow, Journal } from './journal.ts'
import { Mirror } from './mirror.ts'
import { inserts } from './rows.ts'
import { sourceLaw, type Trial } from './trial.ts'

const dropTable = sourceLaw({
  id: 'drop-table',
  title: 'hands over that a table is gone after its last row, and empties the next one of its name',
  applies: ({ schemaChanges }) => schemaChanges.includes('drop-table'),
  timeoutMs: 120_000,
  async check(trial) {
    const running = ['alone', 'within', 'again']
    const down = ['away', 'afresh']
    await trial.create('stays', ...running, ...down)
    for (const table of trial.tables) await trial.apply(...inserts(trial.random, table, 0, 3))
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    const reported = (table: string): number =>
      journal.schemaChanges('drop-table', trial.bench.nameOf(table)).length

    await trial.apply(...inserts(trial.random, 'alone', 3, 5))
    await trial.apply({ kind: 'drop-table', table: 'alone' })
    await trial.apply(
      ...inserts(trial.random, 'stays', 3, 5),
      ...inserts(trial.random, 'within', 3, 5),
      { kind: 'drop-table', table: 'within' },
      ...inserts(trial.random, 'stays', 5, 7),
    )
    await trial.apply(...inserts(trial.random, 'again', 3, 5))
    await trial.apply(...madeAgain('again'))
    for (const table of running)
      await run.until(`the source hands over the drop-table of ${table}`, () => reported(table) > 0)
    await trial.becomesEqual(run)
    await trial.apply({ kind: 'insert', table: 'again', row: { code: 'later', id: 7 } })
    await run.settled()
    await run.stop()
    holds(trial, journal, ['alone', 'within'])
    await trial.equal(journal)
    if (trial.capabilities.replay === 'none') return

    for (const table of down) await trial.apply(...inserts(trial.random, table, 3, 5))
    await trial.apply({ kind: 'drop-table', table: 'away' })
    await trial.apply(...madeAgain('afresh'))
    await trial.apply(...inserts(trial.random, 'stays', 7, 9))
    const gone = ['alone', 'within', 'away']
    const { marks } = journal
    await settle(trial, journal, gone)
    // The tables are ahead of the log at each of these positions.
    for (let times = 0; times < 3; times++)
      await settle(trial, journal.upTo(trial.random.pick(marks.slice(0, -1))), gone)
  },
})

/** Another table under the name, with another key, and with a row that has a key of before. */
function madeAgain(table: string): readonly KitChange[] {
  const columns = [
    { name: 'code', type: 'text' },
    { name: 'id', type: 'bigint' },
  ] as const
  return [
    { kind: 'drop-table', table },
    { kind: 'create-table', table, columns, key: ['code'] },
    { kind: 'insert', table, row: { code: '1', id: 1 } },
  ]
}

async function settle(trial: Trial, journal: Journal, gone: readonly string[]): Promise<void> {
  const run = await trial.run(journal)
  const known = (table: string): boolean =>
    new Mirror(journal.entries).schema(trial.bench.nameOf(table)) !== undefined
  await run.until(`the source hands over that ${gone.join(', ')} are gone`, () => !gone.some(known))
  await trial.becomesEqual(run)
  await run.stop()
  holds(trial, journal, gone)
}

/** Nothing of a table comes after its end. */
function holds(trial: Trial, { entries }: Journal, gone: readonly string[]): void {
  const mirror = new Mirror(entries)
  for (const name of gone.map((table) => trial.bench.nameOf(table))) {
    assert.equal(mirror.schema(name), undefined, `${name} is still there after its drop-table`)
    const end = entries.findLastIndex(
      (entry) =>
        entry.kind === 'schema' &&
        entry.record.change.kind === 'drop-table' &&
        tableName(entry.record.table) === name,
    )
    const late = entries.findLastIndex((entry) => isRow(entry) && tableName(entry.table) === name)
    assert.ok(late < end, `a row of ${name} comes after its drop-table`)
  }
}

export const dropLaws = [dropTable]
