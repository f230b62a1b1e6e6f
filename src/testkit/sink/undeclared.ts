/** The law about schema changes that a sink cannot follow. */
import assert from 'node:assert/strict'
import { SchemaError } from '../../core/error.ts'
import { type Column, SCHEMA_CHANGES, type SchemaOperationKind } from '../../core/table.ts'
import { column, int, table, text } from './cells.ts'
import { changed, insert, rows, Story } from './story.ts'
import { sinkLaw, type SinkLaw } from './trial.ts'

const id = column('1', 'id', int(32))
const name = column('2', 'name', text)
const count = column('3', 'count', int(32), true)
const items = table('items', [id, name, count])

const undeclared = sinkLaw(
  {
    id: 'undeclared-schema-change',
    title: 'refuses a schema change that it does not declare, and leaves the table as it is',
    applies: ({ schemaChanges }) => undeclaredOf(schemaChanges).length > 0,
  },
  async (trial) => {
    const row = (id: number) => insert(items, { id, name: trial.mark, count: null })
    const story = new Story([items], [rows(row(1), row(2))])
    const run = await trial.start(story.tables)
    await run.play(story, 0)
    await run.flush()
    const extra = column('30', 'extra', text, true)
    const tables: Readonly<Record<(typeof ASKED)[number], readonly Column[]>> = {
      'change-key': items.columns,
      'add-column': [...items.columns, extra],
      'drop-column': [id, name],
      'rename-column': [id, { ...name, name: 'title' }, count],
      'alter-column': [id, name, { ...count, type: int(64) }],
    }
    for (const kind of undeclaredOf(trial.capabilities.schemaChanges)) {
      const after = {
        ...items,
        columns: tables[kind],
        version: 2,
        ...(kind === 'change-key' ? { key: [1] } : {}),
      }
      const step = changed(items, after, operation(kind, extra))
      assert(step.kind === 'schema')
      const outcome = await run.tryChange(step.change).catch((error: unknown) => error)
      const refused = outcome === 'unsupported' || outcome instanceof SchemaError
      assert(refused, `${kind} is not declared, and was answered with ${String(outcome)}`)
      await trial.expect(story, `after a refused ${kind}`)
    }
    const more = new Story([items], [...story.steps, rows(row(3))])
    await trial.playThrough(more, 1)
    await trial.expect(more, 'after refused changes and a restart')
  },
)

/** Every sink is asked to truncate, and none to drop a table that does not declare it. */
const ASKED = SCHEMA_CHANGES.filter((kind) => kind !== 'truncate' && kind !== 'drop-table')

function undeclaredOf(declared: readonly SchemaOperationKind[]): typeof ASKED {
  return ASKED.filter((kind) => !declared.includes(kind))
}

function operation(kind: (typeof ASKED)[number], extra: Column) {
  switch (kind) {
    case 'add-column':
      return { kind, column: extra } as const
    case 'drop-column':
      return { kind, column: count } as const
    case 'rename-column':
      return { kind, from: name, to: { ...name, name: 'title' } } as const
    case 'alter-column':
      return { kind, from: count, to: { ...count, type: int(64) } } as const
    case 'change-key':
      return { kind } as const
  }
}

export const undeclaredLaws: readonly SinkLaw[] = [undeclared]
