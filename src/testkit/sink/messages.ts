/** The law about what a sink says (law L14). Every other law looks at that, too. */
import { UNCHANGED, type Value } from '../../core/canonical.ts'
import type { ColumnType } from '../../core/column-type.ts'
import type { TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import { arrayOf, bool, column, decimal, float, int, table, text, timestamp } from './cells.ts'
import { changed, insert, remove, rows, type Step, Story, transaction, update } from './story.ts'
import { sinkLaw, type SinkLaw, type Trial } from './trial.ts'

/** Types that not every text is a value of. */
const STRICT: readonly ColumnType[] = [
  int(8),
  int(64),
  float(64),
  decimal(12, 2),
  bool,
  { kind: 'uuid' },
  { kind: 'date' },
  timestamp(6, true),
  arrayOf(int(32)),
]

const noLeak = sinkLaw(
  {
    id: 'no-secret-no-value',
    title: 'puts no secret and no cell value into a log line or an error, whatever goes wrong',
  },
  async (trial) => {
    const { mark, capabilities, bench } = trial
    for (const [index, type] of STRICT.entries()) {
      const schema = table(`strict${index}`, [
        column('1', 'id', text),
        column('2', 'cell', type),
        column('3', 'note', text),
      ])
      // Not a value of the type: the source is wrong, and the sink still says nothing that it read.
      await provoke(trial, schema, rows(insert(schema, { id: mark, cell: mark, note: mark })))
      await provoke(trial, schema, rows(insert(schema, { id: mark, cell: `{${mark}`, note: mark })))
      if (index === 0 && capabilities.schemaChanges.includes('add-column')) {
        const more = { ...column('4', 'more', int(32)), addedDefault: mark }
        const after = { ...schema, columns: [...schema.columns, more], version: 2 }
        await provoke(trial, schema, changed(schema, after, { kind: 'add-column', column: more }))
      }
    }
    const items = table('items', [
      column('1', 'id', text),
      column('2', 'note', text),
      column('3', 'more', text),
    ])
    const key: ValueRow = { id: mark }
    const odd: readonly (readonly [Value, Value, Value])[] = [
      [mark, null, mark],
      [mark, undefined, mark],
      [mark, UNCHANGED, mark],
      [null, mark, mark],
      [undefined, mark, mark],
      ['\uD800', mark, mark],
    ]
    for (const [id, note, more] of odd) {
      await provoke(trial, items, rows(insert(items, { id, note, more })))
      await provoke(trial, items, rows(update(items, { id, note, more }, key)))
      await provoke(trial, items, rows(update(items, { id, note, more })))
      await provoke(trial, items, rows(remove(items, { id, note, more })))
    }
    // A table that nobody announced.
    await provoke(trial, items, rows(insert(items, { id: mark, note: mark, more: mark })), false)
    const full = rows(insert(items, { id: mark, note: mark, more: mark }))
    if (bench.refuseRow !== undefined) {
      await (await trial.start([items])).end()
      const allow = await bench.refuseRow(items, { id: mark })
      await provoke(trial, items, full)
      await allow()
    }
    const locked = trial.create({ wrongPassword: true })
    await quietly(trial, () => locked.connect(trial.context()))
    await quietly(trial, async () => trial.watch.problems(await locked.validate(trial.context())))
    if (bench.address === undefined) return
    const proxy = await trial.proxy()
    const run = await trial.start([items], { through: { host: '127.0.0.1', port: proxy.port } })
    proxy.refuse(true)
    proxy.cut()
    const batch = transaction(1, insert(items, { id: mark, note: mark, more: mark }))
    await quietly(trial, () => run.tryStore(batch))
  },
)

/** A run that plays one step, and may fail. */
async function provoke(trial: Trial, schema: TableSchema, step: Step, announced = true): Promise<void> {
  const story = new Story(announced ? [schema] : [], [step])
  await quietly(trial, async () => {
    const run = await trial.start(story.tables)
    try {
      await run.play(story, 0)
      await run.flush()
    } finally {
      await run.end()
    }
  })
}

async function quietly(trial: Trial, call: () => Promise<unknown>): Promise<void> {
  try {
    await call()
  } catch (error) {
    trial.watch.error(error)
  }
}

export const messageLaws: readonly SinkLaw[] = [noLeak]
