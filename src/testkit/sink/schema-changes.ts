/** Laws about changes of a table's schema in the middle of its rows. */
import { UNCHANGED } from '../../core/canonical.ts'
import type { SinkCapabilities } from '../../core/sink.ts'
import type { Column, SchemaOperationKind, TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import { column, int, table, text } from './cells.ts'
import { changes, keepsCells } from './rows.ts'
import {
  changed,
  copied,
  created,
  dropped,
  insert,
  remove,
  rows,
  type Step,
  Story,
  truncated,
  update,
} from './story.ts'
import { sinkLaw, type SinkLaw, type Trial } from './trial.ts'

const id = column('1', 'id', int(32))
const name = column('2', 'name', text)
const count = column('3', 'count', int(32), true)
const items = table('items', [id, name, count])
const others = table('others', [id, name])

const declares =
  (...kinds: readonly SchemaOperationKind[]) =>
  ({ schemaChanges }: SinkCapabilities): boolean =>
    kinds.every((kind) => schemaChanges.includes(kind))

const truncate = sinkLaw(
  {
    id: 'truncate',
    title: 'empties a table in order with its rows: at a TRUNCATE, and before a first copy that is repeated',
  },
  async (trial) => {
    const row = rowOf(trial)
    await told(
      trial,
      [items, others],
      [
        copied(row(items, 1), row(items, 2), row(others, 1)),
        rows(row(items, 3)),
        truncated(items),
        rows(row(items, 2), row(items, 4)),
        truncated(items),
        truncated(items, 'snapshot'),
        copied(row(items, 4), row(items, 5)),
        rows(row(others, 2), row(items, 1)),
      ],
    )
  },
)

const dropTable = sinkLaw(
  {
    id: 'drop-table',
    title: 'lets go of a table that is dropped, known or not: one of its name begins anew, also in a replay',
    applies: declares('drop-table'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const { mark } = trial
    // Another table under the name, in which the numbers of the columns mean something else.
    const code = column('1', 'code', text)
    const total = column('2', 'total', int(64), true)
    const again: TableSchema = { ...table('items', [code, total]), version: 1 }
    const anew = (number: number) => insert(again, { code: `${mark} ${number}`, total: BigInt(number) })
    const made = [created(again), truncated(again, 'snapshot'), copied(anew(1), anew(2))]
    await told(
      trial,
      [items, others],
      [
        rows(row(items, 1), row(items, 2), row(others, 1)),
        dropped(items),
        rows(row(others, 2)),
        ...made,
        rows(anew(3), row(others, 3)),
        ...since(changes(trial.capabilities), [rows(remove(again, { code: `${mark} 1` }))]),
      ],
    )
    // Dropped while nothing ran: it is not announced any more, and the end may be told twice.
    await using later = await trial.again()
    const rest = [dropped(items), dropped(items), ...made, rows(anew(3))]
    const story = new Story([items, others], [rows(row(items, 1), row(others, 1)), ...rest])
    await later.playThrough(new Story(story.tables, story.steps.slice(0, 1)))
    const run = await later.start([others])
    await run.play(story, 1)
    await run.flush()
    await run.end()
    await later.expect(story, 'after a table was dropped while nothing ran')
  },
)

const addColumn = sinkLaw(
  {
    id: 'add-column',
    title:
      'adds a column: older rows show NULL or the constant default, newer ones their value, also in a replay',
    applies: declares('add-column'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const plain = column('10', 'plain', text, true)
    const number = { ...column('11', 'number', int(64)), addedDefault: '-9007199254740993' }
    const quoted = { ...column('12', 'quoted', text), addedDefault: `it's "${trial.mark}" \\ {é}\n` }
    const grown = (before: TableSchema, more: Column): TableSchema => ({
      ...before,
      columns: [...before.columns, more],
      version: before.version + 1,
    })
    const one = grown(items, plain)
    const two = grown(one, number)
    const three = grown(two, quoted)
    await told(
      trial,
      [items],
      [
        rows(row(items, 1), row(items, 2)),
        changed(items, one, { kind: 'add-column', column: plain }),
        rows(row(one, 3, { plain: null }), row(one, 4, { plain: trial.mark })),
        changed(one, two, { kind: 'add-column', column: number }),
        rows(row(two, 5, { plain: trial.mark, number: 1n })),
        changed(two, three, { kind: 'add-column', column: quoted }),
        rows(row(three, 6, { plain: null, number: 2n, quoted: '' })),
        ...since(changes(trial.capabilities), [
          rows(
            update(three, { ...rowCells(trial, 1), plain: 'set', number: 3n, quoted: 'set' }),
            remove(three, { id: 2 }),
          ),
        ]),
        ...since(keepsCells(trial.capabilities), [
          rows(
            update(three, {
              id: 4,
              name: UNCHANGED,
              count: 7,
              plain: UNCHANGED,
              number: UNCHANGED,
              quoted: UNCHANGED,
            }),
          ),
        ]),
      ],
    )
  },
)

const dropColumn = sinkLaw(
  {
    id: 'drop-column',
    title:
      'drops a column: the others keep their values and names, in rows before and after, also in a replay',
    applies: declares('drop-column'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const less: TableSchema = { ...items, columns: [id, count], version: 2 }
    await told(
      trial,
      [items],
      [
        rows(row(items, 1), row(items, 2), row(items, 3)),
        changed(items, less, { kind: 'drop-column', column: name }),
        rows(insert(less, { id: 4, count: 4 }), insert(less, { id: 5, count: null })),
        ...since(changes(trial.capabilities), [
          rows(update(less, { id: 1, count: 11 }), remove(less, { id: 3 })),
        ]),
        ...since(keepsCells(trial.capabilities), [
          rows(update(less, { id: 22, count: UNCHANGED }, { id: 2 })),
        ]),
      ],
    )
  },
)

const renameColumn = sinkLaw(
  {
    id: 'rename-column',
    title: 'renames a column with its values: a plain one, one of the key, and two that swap their names',
    applies: declares('rename-column'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const { mark, capabilities } = trial
    const renamed = (from: TableSchema, which: string, to: string): TableSchema => ({
      ...from,
      columns: from.columns.map((one) => (one.id === which ? { ...one, name: to } : one)),
      version: from.version + 1,
    })
    const tables = [items]
    for (const [which, to] of [
      ['2', 'title'],
      ['1', 'number'],
      ['2', 'aside'],
      ['3', 'title'],
      ['2', 'count'],
    ] as const)
      tables.push(renamed(tables.at(-1)!, which, to))
    const rename = (at: number): Step => {
      const [before, after] = [tables[at]!, tables[at + 1]!]
      const index = before.columns.findIndex((one, place) => one.name !== after.columns[place]!.name)
      const change = {
        kind: 'rename-column',
        from: before.columns[index]!,
        to: after.columns[index]!,
      } as const
      return changed(before, after, change)
    }
    const [, first, second, , , last] = tables as [
      TableSchema,
      TableSchema,
      TableSchema,
      TableSchema,
      TableSchema,
      TableSchema,
    ]
    await told(
      trial,
      [items],
      [
        rows(row(items, 1), row(items, 2)),
        rename(0),
        rows(insert(first, { id: 3, title: mark, count: 3 })),
        rename(1),
        rows(insert(second, { number: 4, title: mark, count: null })),
        rename(2),
        rename(3),
        rename(4),
        rows(insert(last, { number: 5, count: mark, title: 5 })),
        ...since(keepsCells(capabilities), [rows(update(last, { number: 1, count: UNCHANGED, title: 10 }))]),
        ...since(changes(capabilities), [rows(remove(last, { number: 2 }))]),
      ],
    )
  },
)

const alterColumn = sinkLaw(
  {
    id: 'alter-column',
    title: 'changes a column: wider or nullable with its values, to another type with the copy that follows',
    applies: declares('alter-column'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const { mark } = trial
    const wide = { ...count, type: int(64) }
    const open = { ...name, nullable: true }
    const wider: TableSchema = { ...items, columns: [id, name, wide], version: 2 }
    const opened: TableSchema = { ...items, columns: [id, open, wide], version: 3 }
    await told(
      trial,
      [items],
      [
        rows(row(items, 1), row(items, 2)),
        changed(items, wider, { kind: 'alter-column', from: count, to: wide }),
        rows(insert(wider, { id: 3, name: mark, count: 2n ** 62n })),
        changed(wider, opened, { kind: 'alter-column', from: name, to: open }),
        rows(insert(opened, { id: 4, name: null, count: -(2n ** 63n) })),
      ],
    )
    await using again = await trial.again()
    const number = { ...name, type: int(32), nullable: true }
    const words = { ...count, type: text }
    const numbered: TableSchema = { ...items, columns: [id, number, count], version: 2 }
    const worded: TableSchema = { ...items, columns: [id, number, words], version: 3 }
    await told(
      again,
      [items],
      [
        rows(row(items, 1), row(items, 2)),
        changed(items, numbered, { kind: 'alter-column', from: name, to: number }),
        changed(numbered, worded, { kind: 'alter-column', from: count, to: words }),
        truncated(worded, 'snapshot'),
        copied(
          insert(worded, { id: 1, name: -1, count: mark }),
          insert(worded, { id: 2, name: null, count: null }),
        ),
        rows(insert(worded, { id: 5, name: 5, count: '5' })),
      ],
    )
  },
)

const changeKey = sinkLaw(
  {
    id: 'change-key',
    title: 'tells rows apart by another key after the key was changed and the table copied again',
    applies: declares('change-key'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const { mark, capabilities } = trial
    const both: TableSchema = { ...items, key: [1, 0], version: 2 }
    const one: TableSchema = { ...items, key: [1], version: 3 }
    const cells = (number: number, words: string) => ({ id: number, name: `${mark} ${words}`, count: null })
    await told(
      trial,
      [items],
      [
        rows(row(items, 1), row(items, 2)),
        changed(items, both, { kind: 'change-key' }),
        truncated(both, 'snapshot'),
        copied(insert(both, cells(1, 'a')), insert(both, cells(1, 'b'))),
        rows(insert(both, cells(2, 'a'))),
        changed(both, one, { kind: 'change-key' }),
        truncated(one, 'snapshot'),
        copied(insert(one, cells(1, 'a')), insert(one, cells(1, 'b'))),
        ...since(changes(capabilities), [
          rows(update(one, cells(7, 'a')), update(one, cells(8, 'c'), { name: `${mark} b` })),
        ]),
      ],
    )
  },
)

const columnAgain = sinkLaw(
  {
    id: 'column-again',
    title: 'takes a new column under the name of one that was renamed or dropped for what it is',
    applies: declares('add-column', 'rename-column', 'drop-column'),
  },
  async (trial) => {
    const row = rowOf(trial)
    const { mark } = trial
    const renamed = { ...name, name: 'old_name' }
    const again = column('20', 'name', int(64), true)
    const third = column('21', 'name', text, true)
    const without: TableSchema = { ...items, columns: [id, renamed, count], version: 2 }
    const second: TableSchema = { ...items, columns: [id, renamed, count, again], version: 3 }
    const dropped: TableSchema = { ...without, version: 4 }
    const last: TableSchema = { ...items, columns: [id, renamed, count, third], version: 5 }
    await told(
      trial,
      [items],
      [
        rows(row(items, 1)),
        changed(items, without, { kind: 'rename-column', from: name, to: renamed }),
        changed(without, second, { kind: 'add-column', column: again }),
        rows(insert(second, { id: 2, old_name: mark, count: 2, name: 2n })),
        changed(second, dropped, { kind: 'drop-column', column: again }),
        rows(insert(dropped, { id: 3, old_name: mark, count: 3 })),
        changed(dropped, last, { kind: 'add-column', column: third }),
        rows(insert(last, { id: 4, old_name: '', count: null, name: mark })),
      ],
    )
  },
)

function rowCells(trial: Trial, number: number): ValueRow {
  return { id: number, name: `${trial.mark} ${number}`, count: number % 2 === 0 ? null : number }
}

/** Inserts by number into tables with the columns of `items`, of `others`, or more. */
function rowOf(trial: Trial) {
  return (schema: TableSchema, number: number, more: ValueRow = {}) => {
    const cells = { ...rowCells(trial, number), ...more }
    const known = schema.columns.map((one) => [one.name, cells[one.name as keyof typeof cells]] as const)
    return insert(schema, Object.fromEntries(known))
  }
}

function since(condition: boolean, steps: readonly Step[]): readonly Step[] {
  return condition ? steps : []
}

/**
 * Plays the steps, then again what follows a commit with the schemas of that time, as after a crash; where the sink
 * makes replays harmless.
 */
async function told(trial: Trial, tables: readonly TableSchema[], steps: readonly Step[]): Promise<void> {
  const story = new Story(tables, steps)
  await trial.playThrough(story)
  await trial.expect(story, 'played once')
  if (trial.capabilities.replay === 'append') return
  const from = trial.random.pick(story.resumable.slice(1, -1))
  await trial.playThrough(story, from)
  await trial.expect(story, `replayed from step ${from}`)
  // A replay of everything stops in the middle, and comes again.
  const run = await trial.startAt(story, 0)
  await run.play(story, 0, { to: Math.ceil(story.length / 2) })
  await run.end()
  await trial.playThrough(story)
  await trial.expect(story, 'replayed after a replay that stopped in the middle')
}

export const schemaLaws: readonly SinkLaw[] = [
  dropTable,
  truncate,
  addColumn,
  dropColumn,
  renameColumn,
  alterColumn,
  changeKey,
  columnAgain,
]
