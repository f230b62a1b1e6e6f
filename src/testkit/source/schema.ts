/** Laws about schema changes in the middle of the stream, one per kind (law L9). */
import type { SchemaOperationKind } from '../../core/table.ts'
import type { KitChange, KitRow } from '../change.ts'
import { Journal } from './journal.ts'
import { largeText, row, text } from './rows.ts'
import type { SourceRun } from './run.ts'
import { sourceLaw, type SourceLaw, type Trial } from './trial.ts'

/** One kind of change, made to a table with the kit's columns. */
interface Kind {
  readonly kind: Exclude<SchemaOperationKind, 'create-table' | 'drop-table' | 'truncate'>
  readonly title: string
  readonly changes: (table: string, trial: Trial) => readonly KitChange[]
  /** A row from before the change, as it has to be written afterwards. */
  readonly after: (cells: KitRow, trial: Trial) => KitRow
}

const KINDS: readonly Kind[] = [
  {
    kind: 'add-column',
    title: 'hands over new columns, with and without a default, before the first row that has them',
    changes: (table, { random }) => [
      { kind: 'add-column', table, column: { name: 'bare', type: 'int' } },
      { kind: 'add-column', table, column: { name: 'filled', type: 'text' }, default: text(random) },
      { kind: 'add-column', table, column: { name: 'counted', type: 'bigint' }, default: 7 },
    ],
    after: (cells, { random }) => ({ ...cells, bare: 5, filled: text(random), counted: null }),
  },
  {
    kind: 'drop-column',
    title: 'hands over that a column is gone before the first row without it',
    changes: (table) => [{ kind: 'drop-column', table, column: 'big' }],
    after: (cells) => Object.fromEntries(Object.entries(cells).filter(([name]) => name !== 'big')),
  },
  {
    kind: 'rename-column',
    title: 'hands over a new name of a column before the first row that has it',
    changes: (table) => [{ kind: 'rename-column', table, from: 'note', to: 'remark' }],
    after: ({ note, ...cells }) => ({ ...cells, remark: note! }),
  },
  {
    kind: 'alter-column',
    title: 'hands over a new type of a column before the first row that needs it',
    changes: (table) => [
      { kind: 'alter-column', table, column: 'n', type: 'bigint' },
      { kind: 'alter-column', table, column: 'big', type: 'text' },
    ],
    after: (cells, { random }) => ({ ...cells, n: 3_000_000_000, big: text(random) }),
  },
  {
    kind: 'change-key',
    title: 'hands over another key before the first row that needs it',
    changes: (table) => [{ kind: 'change-key', table, key: ['id', 'n'] }],
    // Only the old key would take this for a row that is there.
    after: (cells) => ({ ...cells, id: 1, n: 100 + Number(cells['id']) }),
  },
]

/** In which ways the change meets rows and restarts. */
async function check({ kind, changes, after }: Kind, trial: Trial): Promise<void> {
  const tables = ['between', 'within', 'alone', 'down']
  await trial.create(...tables)
  let id = 0
  const before = (table: string): KitChange => {
    const cells = row(trial.random, ++id, id)
    return { kind: 'insert', table, row: { ...cells, doc: largeText(trial.random) } }
  }
  const later = (table: string): KitChange => {
    const cells = row(trial.random, ++id, id)
    return { kind: 'insert', table, row: after(cells, trial) }
  }
  for (const table of tables) {
    id = 0
    await trial.apply(before(table), before(table))
  }
  const journal = new Journal()
  const run = await trial.run(journal)
  await run.settled()
  const reported = (table: string): boolean =>
    journal.schemaChanges(kind, trial.bench.nameOf(table)).length > 0
  const isReported = (table: string): Promise<void> =>
    run.until(`the source hands over the ${kind} of ${table}`, () => reported(table))

  id = 10
  await trial.apply(before('between'))
  for (const change of changes('between', trial)) await trial.apply(change)
  await trial.apply(later('between'), later('between'))
  await isReported('between')
  await trial.becomesEqual(run)

  await trial.apply(before('within'), ...changes('within', trial), later('within'))
  await isReported('within')
  await trial.becomesEqual(run)

  // Nothing is written around it, and nothing between it and the end.
  await trial.apply(...changes('alone', trial))
  await isReported('alone')
  await trial.becomesEqual(run)
  await trial.apply(before('down'))
  await run.settled()
  await run.stop()
  await trial.equal(journal)
  if (trial.capabilities.replay === 'none') return

  await trial.apply(...changes('down', trial))
  // No row tells of it, so the source may have to look first.
  const what = `the source hands over the ${kind} that was made while nothing ran`
  await restart(trial, journal, (run) => run.until(what, () => reported('down')))
  for (const table of tables) await trial.apply(later(table))
  await trial.equal(await trial.read(journal))
  await fromAnywhere(trial, journal)
}

/** Nothing is written after the change: the source has to see it by itself. */
async function restart(
  trial: Trial,
  journal: Journal,
  meanwhile: (run: SourceRun) => Promise<void> = async () => {},
): Promise<void> {
  const run = await trial.run(journal)
  await run.settled()
  await meanwhile(run)
  await trial.becomesEqual(run)
  await run.stop()
}

/** The schema is now ahead of the log at each of these positions. */
async function fromAnywhere(trial: Trial, journal: Journal): Promise<void> {
  const { marks } = journal
  for (let times = 0; times < 3; times++) {
    const resumed = journal.upTo(trial.random.pick(marks))
    await restart(trial, resumed)
    await trial.equal(resumed)
  }
}

export const schemaLaws: readonly SourceLaw[] = KINDS.map((kind) =>
  sourceLaw({
    id: kind.kind,
    title: kind.title,
    applies: ({ schemaChanges }) => schemaChanges.includes(kind.kind),
    timeoutMs: 120_000,
    check: (trial) => check(kind, trial),
  }),
)
