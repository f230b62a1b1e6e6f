/** Laws about what a source says of itself, and what it does before the first row. */
import assert from 'node:assert/strict'
import { tableName } from '../../core/table.ts'
import { isRow, Journal, type RowEntry } from './journal.ts'
import { UNCHANGED } from '../../core/canonical.ts'
import { COLUMNS, inserts } from './rows.ts'
import { sourceLaw, type Trial } from './trial.ts'
import { Writers } from './writers.ts'

/** Everything that must be the same before and after something that changes nothing. */
async function stateOf(trial: Trial): Promise<unknown> {
  const rows = await Promise.all(trial.tables.map((table) => trial.bench.rows(table)))
  return { objects: await trial.bench.objects(), released: (await trial.bench.released?.()) ?? null, rows }
}

const capabilities = sourceLaw({
  id: 'capabilities',
  title: 'declares what it does, and does nothing that it does not declare',
  async check(trial) {
    const { capabilities: declared } = trial
    assert.deepEqual(trial.source().capabilities(), declared, 'capabilities() differ from the harness')
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
    const rows = run.journal.entries.filter(isRow)
    const undeclared = (what: string, is: (row: RowEntry) => boolean): void =>
      assert.ok(!rows.some(is), `${what}, which the source does not declare`)
    if (!declared.snapshot) undeclared('a row of a copy', (row) => row.origin === 'snapshot')
    if (!declared.updates) undeclared('an update', (row) => row.kind === 'update')
    if (!declared.deletes) undeclared('a delete', (row) => row.kind === 'delete')
    if (!declared.unchangedCells)
      undeclared('a cell that is left out', ({ after }) => Object.values(after ?? {}).includes(UNCHANGED))
    for (const entry of run.journal.entries) {
      if (entry.kind !== 'schema' || entry.record.origin === 'snapshot') continue
      const { kind } = entry.record.change
      assert.ok(
        kind === 'create-table' || declared.schemaChanges.includes(kind),
        `a schema change "${kind}", which the source does not declare`,
      )
    }
  },
})

const validates = sourceLaw({
  id: 'validate-changes-nothing',
  title: 'finds nothing wrong with a good database, and changes nothing by looking',
  async check(trial) {
    await trial.create('a')
    await trial.apply(...inserts(trial.random, 'a', 0, 5))
    const before = await stateOf(trial)
    const source = trial.source()
    for (let times = 0; times < 2; times++) {
      const problems = await trial.validate(source)
      assert.deepEqual(
        problems.filter(({ severity }) => severity === 'error'),
        [],
        'validate() finds errors in a database that is as it should be',
      )
    }
    await source.disconnect()
    assert.deepEqual(await stateOf(trial), before, 'validate() has changed something')
    const { connections } = trial.bench
    if (connections !== undefined)
      await trial.waitFor(
        'validate leaves no connection',
        async () => (await trial.means('connections')()) === 0,
      )
  },
})

const discovers = sourceLaw({
  id: 'discovers-what-is-selected',
  title: 'discovers the selected tables as they are, and hands over nothing of the others',
  async check(trial) {
    await trial.create('a', 'b', 'left_out')
    await trial.apply(...['a', 'b', 'left_out'].flatMap((table) => inserts(trial.random, table, 0, 3)))
    const names = ['a', 'b'].map((table) => trial.bench.nameOf(table))
    const tables = [...trial.bench.tables, `!${trial.bench.nameOf('left_out')}`]
    const source = trial.source()
    await source.connect(trial.context(tables))
    const found = await source.discover()
    await source.disconnect()
    assert.deepEqual(found.map(tableName).sort(), names, 'discover() gives other tables than those selected')
    for (const { columns, key } of found) {
      assert.deepEqual(
        columns.map(({ name }) => name),
        COLUMNS.map(({ name }) => name),
        'discover() gives other columns than the table has',
      )
      assert.deepEqual(
        key.map((index) => columns[index]!.name),
        ['id'],
        'discover() gives another key than the table has',
      )
    }
    const run = await trial.run(new Journal(), { tables })
    await run.settled()
    await trial.apply(...['a', 'b', 'left_out'].flatMap((table) => inserts(trial.random, table, 3, 6)))
    await run.settled()
    await run.stop()
    for (const entry of run.journal.entries) {
      const table = isRow(entry) ? entry.table : entry.kind === 'schema' ? entry.record.table : null
      assert.ok(
        table === null || names.includes(tableName(table)),
        `the source hands over ${entry.kind} of a table that is not selected`,
      )
    }
    await trial.equal(run.journal, ['a', 'b'])
  },
})

const announces = sourceLaw({
  id: 'announces-tables',
  title: 'announces every table before its first row at each start, and begins a copy with truncate',
  async check(trial) {
    await trial.create('a', 'b', 'empty')
    if (trial.capabilities.snapshot)
      await trial.apply(...['a', 'b'].flatMap((table) => inserts(trial.random, table, 0, 10)))
    const journal = new Journal()
    for (let start = 0; start < (trial.capabilities.replay === 'log' ? 3 : 1); start++) {
      // A later start begins with rows.
      if (start > 0) await trial.apply(...inserts(trial.random, 'a', 10 * start + 5, 10 * start + 10))
      const run = await trial.run(journal)
      await run.settled()
      await trial.apply(...inserts(trial.random, 'a', 10 * start + 10, 10 * start + 15))
      await run.settled()
      await run.stop()
      for (const table of trial.tables) {
        const name = trial.bench.nameOf(table)
        const announcements = journal.schemaChanges('create-table', name, run.first)
        assert.ok(announcements.length > 0, `start ${start + 1} does not announce ${name}`)
        if (start > 0 || !trial.capabilities.snapshot) continue
        const emptied = journal.schemaChanges('truncate', name, run.first)
        assert.ok(
          emptied.some(({ origin }) => origin === 'snapshot'),
          `the copy of ${name} does not begin with a truncate of origin "snapshot"`,
        )
      }
    }
    // Throws when a row comes too early.
    await trial.equal(journal)
  },
})

const appears = sourceLaw({
  id: 'follows-a-new-table',
  title: 'announces and follows a table that appears while it runs',
  async check(trial) {
    await trial.create('a')
    const journal = new Journal()
    const run = await trial.run(journal)
    await run.settled()
    await trial.create('appeared')
    await trial.apply(...inserts(trial.random, 'appeared', 0, 5))
    await trial.apply(...inserts(trial.random, 'a', 0, 5))
    await trial.becomesEqual(run)
    await trial.apply(...inserts(trial.random, 'appeared', 5, 10))
    await run.settled()
    await run.stop()
    await trial.equal(journal)
    if (trial.capabilities.replay === 'none') return
    await trial.apply(...inserts(trial.random, 'appeared', 10, 12))
    await trial.equal(await trial.read(journal))
  },
})

export const startLaws = [capabilities, validates, discovers, announces, appears]
