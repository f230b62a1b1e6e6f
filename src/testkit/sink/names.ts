/** Laws about identifiers. */
import assert from 'node:assert/strict'
import { SchemaError } from '../../core/error.ts'
import type { Column, TableSchema } from '../../core/table.ts'
import type { ValueRow } from '../../core/value-batch.ts'
import { column, int, table, text } from './cells.ts'
import { changes } from './rows.ts'
import { insert, remove, rows, Story, update } from './story.ts'
import { assertNames, sinkLaw, type SinkLaw, type Trial } from './trial.ts'

/** What every database lets its users call a table, with quotes. */
const NAMES = [
  'with space',
  'CamelCase',
  'UPPER',
  'select',
  'order',
  'user',
  'double"quote',
  "single'quote",
  'it\'s a "mixed" one; DROP TABLE items; --',
  'semi;colon',
  'n'.repeat(63),
  '1starts_with_digit',
  'trailing_',
  'percent%s',
  'comma,and(brackets)',
]
/** What some targets have no room for: kept, or refused with a `SchemaError` that names the table. */
const ODD_NAMES = [
  'back`quote',
  'back\\slash',
  'with.dot',
  'täble',
  '表',
  'emoji😀',
  ' leading',
  'slash/path',
  '$dollar',
  '__proto__',
  'constructor',
]

const hostileNames = sinkLaw(
  {
    id: 'hostile-names',
    title:
      'takes names with quotes, spaces, capitals, reserved words and 63 characters; odder ones, or refuses them by name',
  },
  async (trial) => {
    const columns = (names: readonly string[]): readonly Column[] => [
      column('1', 'id', int(32)),
      ...names.map((name, index) => column(String(index + 2), name, text, true)),
    ]
    for (const name of NAMES) assert(await lives(trial, table(name, columns(['note'])), 'note'))
    assert(await lives(trial, table('columns', columns(NAMES)), NAMES[0]!))
    for (const name of ODD_NAMES) {
      await lives(trial, table(name, columns(['note'])), 'note')
      await lives(trial, table(`column_${ODD_NAMES.indexOf(name)}`, columns([name])), name)
    }
    await lives(trial, table('folded', columns(['note', 'Note', 'NOTE', 'nOte'])), 'Note')
  },
)

const sameNames = sinkLaw(
  {
    id: 'same-name-two-schemas',
    title: 'keeps tables apart that have the same name in two schemas, or names that differ in case only',
  },
  async (trial) => {
    const columns = [column('1', 'id', int(32)), column('2', 'note', text)]
    const tables = [
      table('orders', columns),
      table('orders', columns, { namespace: 'sales' }),
      table('orders', columns, { namespace: 'Sales' }),
      table('Orders', columns),
    ]
    const story = new Story(tables, [
      rows(...tables.map((schema, index) => insert(schema, { id: 1, note: `${trial.mark} ${index}` }))),
      rows(
        ...tables.map((schema, index) => insert(schema, { id: 2 + index, note: `${trial.mark} ${index}` })),
      ),
    ])
    await trial.playThrough(story)
    await trial.expect(story, 'with the same name in two schemas')
  },
)

/** The short life of a table. False when it was refused by name. */
async function lives(trial: Trial, schema: TableSchema, changing: string): Promise<boolean> {
  const cells = (id: number, words: string): ValueRow => ({
    ...Object.fromEntries(schema.columns.map(({ name }) => [name, `${trial.mark} ${words}`])),
    id,
  })
  const changed = changes(trial.capabilities)
    ? [rows(update(schema, { ...cells(1, 'a'), [changing]: null }), remove(schema, { id: 2 }))]
    : []
  const story = new Story(
    [schema],
    [
      rows(insert(schema, cells(1, 'a')), insert(schema, cells(2, 'b')), insert(schema, cells(3, 'c'))),
      ...changed,
    ],
  )
  const run = await trial.connect()
  try {
    await run.createTable(schema)
  } catch (error) {
    assert(
      error instanceof SchemaError,
      `the table ${JSON.stringify(schema.name)} failed with ${String(error)}`,
    )
    assertNames(error, schema, null)
    return false
  }
  await run.play(story, 0)
  await run.flush()
  await run.end()
  await trial.expect(story, `with the names ${JSON.stringify([schema.name, changing])}`)
  return true
}

export const nameLaws: readonly SinkLaw[] = [hostileNames, sameNames]
