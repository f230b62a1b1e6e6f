import { describe, expect, it } from 'vitest'
import { type Evolution, evolve } from '../../../src/connectors/sinks/zero/evolve.ts'
import {
  type PlanOptions,
  planTable,
  textColumns,
  type WantedTable,
} from '../../../src/connectors/sinks/zero/plan.ts'
import type { TableVersion } from '../../../src/connectors/sinks/zero/table-version.ts'
import { type ColumnType, parseType } from '../../../src/core/column-type.ts'
import type { Column, SchemaOperation, TableSchema } from '../../../src/core/table.ts'

const OPTIONS: PlanOptions = {
  bigints: 'number',
  decimals: 'exact',
  defaultNamespace: 'shop',
  textColumns: textColumns([]),
}

const column = (id: string, name: string, type = 'text', more: Partial<Column> = {}): Column => ({
  id,
  name,
  type: parseType(type) as ColumnType,
  nullable: true,
  native: '',
  ...more,
})
const table = (columns: readonly Column[], key: readonly string[] = ['1']): TableSchema => ({
  namespace: 'shop',
  name: 'orders',
  columns,
  key: key.map((id) => columns.findIndex((candidate) => candidate.id === id)),
  version: 0,
})

const ID = column('1', 'id', 'int32')
const A = column('2', 'a')
const B = column('3', 'b', 'int32')
const FIRST = [ID, A, B]
const first = (columns: readonly Column[] = FIRST, wanted: WantedTable | null = null): TableVersion =>
  planTable(table(columns), OPTIONS, wanted).version!

interface Given {
  readonly from?: TableVersion
  readonly key?: readonly string[]
  readonly options?: PlanOptions
  readonly wanted?: WantedTable | null
}

function after(change: SchemaOperation, columns: readonly Column[], given: Given = {}): Evolution {
  const { from = first(), key, options = OPTIONS, wanted = null } = given
  return evolve(from, { change, table: table(columns, key) }, options, wanted)
}

/** What an in-place change is, in short. */
function inPlace(evolution: Evolution): { version: TableVersion; steps: readonly unknown[]; fill: boolean } {
  if (evolution.kind !== 'evolve')
    throw new Error(`is ${evolution.kind}: ${JSON.stringify(evolution.problems)}`)
  return evolution
}

const names = ({ key, slots }: TableVersion): readonly (string | null)[] => [
  ...key.map(({ name }) => name),
  ...slots.map((slot) => slot && slot.name),
]

describe('a change of schema that leaves stored rows as they are', () => {
  it('adds a column in a slot of its own, with what rows that exist show there', () => {
    const plain = column('9', 'c', 'bool')
    const result = inPlace(after({ kind: 'add-column', column: plain }, [...FIRST, plain]))
    expect(result).toMatchObject({ steps: [{ kind: 'add-column', slot: 2 }], fill: false })
    expect(result.version.slots[2]).toMatchObject({ id: '9', name: 'c', missing: null })
    for (const [type, canonical, json] of [
      ['text', 'it\'s "é"', '"it\'s \\"é\\""'],
      ['int64', '-5', '-5'],
      ['bool', 't', 'true'],
      ['bytes', '\\x00ff', '"AP8="'],
      ['timestamp(6)', '1970-01-01 00:00:00.5', '500'],
      ['array of int32', '{1,NULL}', '[1,null]'],
    ] as const) {
      const added = column('9', 'c', type, { addedDefault: canonical })
      const { version, fill } = inPlace(after({ kind: 'add-column', column: added }, [...FIRST, added]))
      expect(version.slots[2]!.missing).toBe(json)
      expect(fill).toBe(true)
    }
  })

  it('warns of a default that Zero cannot have, and shows NULL', () => {
    const added = column('9', 'c', 'int64', { addedDefault: '9007199254740993' })
    const result = after({ kind: 'add-column', column: added }, [...FIRST, added])
    expect(inPlace(result).version.slots[2]!.missing).toBe(null)
    expect(result.problems).toMatchObject([{ code: 'zero/value-unsafe', severity: 'warning' }])
    expect(JSON.stringify(result.problems)).not.toContain('9007199254740993')
  })

  it('leaves a hole where a column was dropped, and gives its slot to nobody', () => {
    const dropped = inPlace(after({ kind: 'drop-column', column: A }, [ID, B]))
    expect(dropped.steps).toEqual([{ kind: 'drop-column', id: '2', name: 'a' }])
    expect(names(dropped.version)).toEqual(['id', null, 'b'])
    // Sources whose ids are names give the same one again.
    const again = inPlace(after({ kind: 'add-column', column: A }, [ID, B, A], { from: dropped.version }))
    expect(names(again.version)).toEqual(['id', null, 'b', 'a'])
    const third = inPlace(after({ kind: 'drop-column', column: B }, [ID, A], { from: again.version }))
    expect(names(third.version)).toEqual(['id', null, null, 'a'])
    // Even when nobody said that it was dropped.
    const twice = inPlace(after({ kind: 'add-column', column: A }, [ID, B, A]))
    expect(names(twice.version)).toEqual(['id', null, 'b', 'a'])
    expect(twice.steps).toEqual([
      { kind: 'drop-column', id: '2', name: 'a' },
      { kind: 'add-column', slot: 2 },
    ])
  })

  it('keeps what rows show that end before a slot, whatever comes later', () => {
    const added = column('9', 'c', 'int32', { addedDefault: '7' })
    const { version } = inPlace(after({ kind: 'add-column', column: added }, [...FIRST, added]))
    const { addedDefault: _, ...later } = added
    const dropped = inPlace(after({ kind: 'drop-column', column: A }, [ID, B, later], { from: version }))
    expect(dropped.version.slots[2]!.missing).toBe('7')
    const renamed = { ...later, name: 'd' }
    const named = after({ kind: 'rename-column', from: later, to: renamed }, [ID, B, renamed], {
      from: dropped.version,
    })
    expect(inPlace(named).version.slots[2]).toMatchObject({ name: 'd', missing: '7' })
  })

  it('renames a column, of the key as well, and where the id is the name', () => {
    const key = { ...ID, name: 'number' }
    const renamedKey = inPlace(after({ kind: 'rename-column', from: ID, to: key }, [key, A, B]))
    expect(renamedKey.steps).toEqual([{ kind: 'change-column', id: '1', from: '1' }])
    expect(names(renamedKey.version)).toEqual(['number', 'a', 'b'])
    const byName = { ...A, id: 'z', name: 'z' }
    const renamed = inPlace(after({ kind: 'rename-column', from: A, to: byName }, [ID, byName, B]))
    expect(renamed.steps).toEqual([{ kind: 'change-column', id: 'z', from: '2' }])
    expect(renamed.version.slots[0]).toEqual({ ...first().slots[0], id: 'z', name: 'z' })
  })

  it('keeps the encoding of a renamed column until the table is announced again', () => {
    const options = { ...OPTIONS, textColumns: textColumns(['*.b2']) }
    const to = { ...B, name: 'b2' }
    const renamed = inPlace(after({ kind: 'rename-column', from: B, to }, [ID, A, to], { options }))
    expect(renamed.version.slots[1]!.encoding).toBe('integer')
    const announced = after({ kind: 'create-table' }, [ID, A, to], { options, from: renamed.version })
    expect(announced).toMatchObject({ kind: 'convert', version: { slots: [{}, { encoding: 'string' }] } })
  })

  it('alters NULLs and types whose values are written alike', () => {
    const strict = { ...A, nullable: false }
    expect(inPlace(after({ kind: 'alter-column', from: A, to: strict }, [ID, strict, B]))).toMatchObject({
      steps: [{ kind: 'change-column', id: '2', from: '2' }],
      version: { slots: [{ notNull: true }, { notNull: false }] },
    })
    const wide = column('3', 'b', 'int64')
    expect(
      inPlace(after({ kind: 'alter-column', from: B, to: wide }, [ID, A, wide])).version.slots[1],
    ).toMatchObject({
      dataType: 'int8',
      encoding: 'integer',
    })
  })

  it('is nothing when Zero sees nothing of it', () => {
    const from = first()
    const same = { kind: 'same', version: from }
    expect(after({ kind: 'truncate' }, FIRST, { from })).toMatchObject(same)
    expect(after({ kind: 'create-table' }, FIRST, { from })).toMatchObject(same)
    const uuid = column('2', 'a', 'uuid')
    expect(after({ kind: 'alter-column', from: A, to: uuid }, [ID, uuid, B], { from })).toMatchObject(same)
    const turned = [B, A, ID]
    expect(after({ kind: 'create-table' }, turned, { from })).toMatchObject(same)
  })

  it('finds at the next start what differs by then, in an order in which no name is taken twice', () => {
    const shifted = [ID, { ...B, name: 'a' }, { ...A, name: 'c' }]
    expect(inPlace(after({ kind: 'create-table' }, shifted))).toMatchObject({
      steps: [{ id: '2' }, { id: '3' }],
      version: { slots: [{ name: 'c' }, { name: 'a' }] },
    })
    expect(inPlace(after({ kind: 'create-table' }, [ID, { ...B, name: 'a' }])).steps).toEqual([
      { kind: 'drop-column', id: '2', name: 'a' },
      { kind: 'change-column', id: '3', from: '3' },
    ])
    // They change places: no order of renames does that.
    const swapped = [ID, { ...A, name: 'b' }, { ...B, name: 'a' }]
    expect(after({ kind: 'create-table' }, swapped)).toMatchObject({
      kind: 'convert',
      version: { slots: [{ name: 'b' }, { name: 'a' }] },
    })
  })
})

describe('a change of schema for which stored rows must change', () => {
  it('gives a column values that are written in another way', () => {
    const to = column('3', 'b')
    expect(after({ kind: 'alter-column', from: B, to }, [ID, A, to])).toMatchObject({
      kind: 'convert',
      version: { slots: [{ name: 'a' }, { name: 'b', encoding: 'string', missing: null }] },
    })
    const options: PlanOptions = { ...OPTIONS, defaultNamespace: null }
    expect(after({ kind: 'create-table' }, FIRST, { options })).toMatchObject({
      kind: 'convert',
      version: { schema: 'shop' },
    })
  })

  it('chooses another key', () => {
    const result = after({ kind: 'change-key' }, FIRST, { key: ['3', '1'] })
    expect(result).toMatchObject({ kind: 'convert' })
    expect(result.kind === 'convert' && names(result.version)).toEqual(['b', 'id', 'a'])
    expect(after({ kind: 'change-key' }, FIRST, { key: ['3'] })).toMatchObject({ kind: 'convert' })
  })

  it('tells of columns that nobody knows', () => {
    const surprise = column('9', 'c')
    expect(after({ kind: 'create-table' }, [...FIRST, surprise])).toMatchObject({
      kind: 'copy',
      columns: ['c'],
    })
  })

  it('leaves nothing to serve', () => {
    expect(after({ kind: 'change-key' }, FIRST, { key: [] })).toMatchObject({
      kind: 'refused',
      problems: [{ code: 'zero/no-key' }],
    })
    const bad = { ...A, name: 'B' }
    expect(after({ kind: 'rename-column', from: A, to: bad }, [ID, bad, B])).toMatchObject({
      kind: 'refused',
      problems: [{ code: 'zero/name' }],
    })
  })
})

describe('a change of schema under a client schema', () => {
  const wanted: WantedTable = { columns: new Map([['a', { type: 'string', optional: true }]]) }
  const from = first(FIRST, wanted)

  it('is nothing when it concerns other columns', () => {
    expect(names(from)).toEqual(['id', 'a'])
    const added = column('9', 'c')
    const same = { kind: 'same', version: from }
    expect(after({ kind: 'add-column', column: added }, [...FIRST, added], { from, wanted })).toMatchObject(
      same,
    )
    expect(after({ kind: 'drop-column', column: B }, [ID, A], { from, wanted })).toMatchObject(same)
    const to = { ...B, name: 'bb' }
    expect(after({ kind: 'rename-column', from: B, to }, [ID, A, to], { from, wanted })).toMatchObject(same)
  })

  it('goes on with a warning when a wanted column goes or changes: the next start refuses it', () => {
    const gone = after({ kind: 'drop-column', column: A }, [ID, B], { from, wanted })
    expect(names(inPlace(gone).version)).toEqual(['id', null])
    expect(gone.problems).toMatchObject([{ code: 'zero/schema-mismatch', severity: 'warning' }])
    const number: WantedTable = { columns: new Map([['b', { type: 'number', optional: true }]]) }
    const to = column('3', 'b', 'json')
    const altered = after({ kind: 'alter-column', from: B, to }, [ID, A, to], {
      from: first(FIRST, number),
      wanted: number,
    })
    expect(altered).toMatchObject({
      kind: 'convert',
      problems: [{ code: 'zero/schema-mismatch', severity: 'warning' }],
    })
  })

  it('keeps a column that is renamed until the next start', () => {
    const to = { ...A, name: 'other' }
    const renamed = inPlace(after({ kind: 'rename-column', from: A, to }, [ID, to, B], { from, wanted }))
    const added = column('9', 'c')
    const next = after({ kind: 'add-column', column: added }, [ID, to, B, added], {
      from: renamed.version,
      wanted,
    })
    expect(next).toMatchObject({ kind: 'same' })
    const announced = after({ kind: 'create-table' }, [ID, to, B], { from: renamed.version, wanted })
    expect(inPlace(announced).steps).toEqual([{ kind: 'drop-column', id: '2', name: 'other' }])
  })

  it('adds a wanted column that comes back, and asks for a copy when it was there before under another name', () => {
    const without = inPlace(after({ kind: 'drop-column', column: A }, [ID, B], { from, wanted })).version
    const back = column('7', 'a')
    expect(
      names(
        inPlace(after({ kind: 'add-column', column: back }, [ID, B, back], { from: without, wanted }))
          .version,
      ),
    ).toEqual(['id', null, 'a'])
    const to = { ...B, name: 'a' }
    expect(after({ kind: 'rename-column', from: B, to }, [ID, to], { from: without, wanted })).toMatchObject({
      kind: 'copy',
      columns: ['a'],
    })
  })
})
