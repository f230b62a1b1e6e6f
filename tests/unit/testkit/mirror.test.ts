import { describe, expect, it } from 'vitest'
import { RecordBatch } from '../../../src/core/batch.ts'
import { UNCHANGED } from '../../../src/core/canonical.ts'
import type { SourcePosition } from '../../../src/core/position.ts'
import type { SchemaChange } from '../../../src/core/record.ts'
import type { Column, TableSchema } from '../../../src/core/table.ts'
import { ValueBatchBuilder } from '../../../src/core/value-batch.ts'
import { Journal } from '../../../src/testkit/source/journal.ts'
import { Mirror } from '../../../src/testkit/source/mirror.ts'

const id: Column = {
  id: '1',
  name: 'id',
  type: { kind: 'int', bits: 32, unsigned: false },
  nullable: false,
  native: 'int',
}
const note: Column = { id: '2', name: 'note', type: { kind: 'text' }, nullable: true, native: 'text' }
const table: TableSchema = { namespace: 'public', name: 't', columns: [id, note], key: [0], version: 1 }

function schemaChange(
  change: SchemaChange['change'],
  after = table,
  before: TableSchema | null = table,
  origin: 'snapshot' | 'stream' = 'stream',
): RecordBatch {
  const known = change.kind === 'create-table' ? null : before
  return RecordBatch.ofSchemaChange({ _tag: 'SchemaChange', before: known, table: after, change, origin })
}

const announcement = schemaChange({ kind: 'create-table' })

function position(number: number): SourcePosition {
  return { order: String(number), resume: number }
}

function rows(
  fill: (builder: ValueBatchBuilder) => void,
  origin: 'snapshot' | 'stream' = 'stream',
  number = 1,
): RecordBatch {
  const builder = new ValueBatchBuilder(origin)
  builder.begin({ id: String(number), commitTimeMs: null, version: BigInt(number) })
  fill(builder)
  builder.commit(position(number))
  return builder.take()!
}

/** The same rows without a position of their own. */
function repositioned({ origin, tables, rows: packed, spans }: RecordBatch): RecordBatch {
  const without = spans.map((span) => ({ ...span, position: null }))
  return RecordBatch.ofRows(origin, tables, packed!, without, null)
}

function journalOf(...batches: readonly RecordBatch[]): Journal {
  const journal = new Journal()
  journal.restart()
  for (const batch of batches) journal.add(batch)
  return journal
}

function mirrorOf(...batches: readonly RecordBatch[]): Mirror {
  return new Mirror(journalOf(...batches).entries)
}

describe('the mirror', () => {
  it('lets a copy go on that was interrupted, and no other begin without a truncate', () => {
    const emptied = schemaChange({ kind: 'truncate' }, table, table, 'snapshot')
    const copied = (value: number): RecordBatch =>
      rows((builder) => builder.insert(table, { id: value, note: null }), 'snapshot')
    const at = (number: number, partial: boolean): RecordBatch =>
      RecordBatch.ofHeartbeat({
        _tag: 'Heartbeat',
        position: partial ? { ...position(number), partial: true } : position(number),
        timeMs: 0,
      })
    const journal = journalOf(announcement, emptied, repositioned(copied(1)), at(2, true))
    journal.restart()
    for (const batch of [announcement, repositioned(copied(2)), at(3, false)]) journal.add(batch)
    expect(new Mirror(journal.entries).rows('public.t')).toHaveLength(2)
    journal.restart()
    for (const batch of [announcement, repositioned(copied(3))]) journal.add(batch)
    expect(() => new Mirror(journal.entries)).toThrow('does not begin with a truncate')
  })

  it('has what a sink would have', () => {
    const mirror = mirrorOf(
      announcement,
      rows((builder) => {
        builder.insert(table, { id: 1, note: 'a' })
        builder.insert(table, { id: 2, note: null })
        builder.insert(table, { id: 3, note: 'c' })
        builder.update(table, { id: 1, note: UNCHANGED })
        builder.update(table, { id: 4, note: UNCHANGED }, { id: 3 })
        builder.delete(table, { id: 2 })
      }),
    )
    expect(mirror.rows('public.t')).toEqual([
      { id: '1', note: 'a' },
      { id: '4', note: 'c' },
    ])
  })

  it('keeps cells with the id of their column, and shows a default in older rows', () => {
    const renamed = { ...note, name: 'remark' }
    const added = { ...note, id: '3', name: 'note', addedDefault: 'new' }
    const first = { ...table, columns: [id, renamed] }
    const second = { ...table, columns: [id, renamed, added] }
    const mirror = mirrorOf(
      announcement,
      rows((builder) => builder.insert(table, { id: 1, note: 'old' })),
      schemaChange({ kind: 'rename-column', from: note, to: renamed }, first),
      schemaChange({ kind: 'add-column', column: added }, second, first),
    )
    expect(mirror.rows('public.t')).toEqual([{ id: '1', remark: 'old', note: 'new' }])
  })

  it.each<readonly [what: string, batches: readonly RecordBatch[], complaint: RegExp]>([
    [
      'a row before the announcement',
      [rows((builder) => builder.insert(table, { id: 1, note: null }))],
      /announced/,
    ],
    ['a change of a table before the announcement', [schemaChange({ kind: 'truncate' })], /not announced/],
    [
      'a copied row without a truncate',
      [announcement, rows((builder) => builder.insert(table, { id: 1, note: null }), 'snapshot')],
      /does not begin with a truncate/,
    ],
    [
      'a truncate of the log in place of that of a copy',
      [
        announcement,
        schemaChange({ kind: 'truncate' }),
        rows((builder) => builder.insert(table, { id: 1, note: null }), 'snapshot'),
      ],
      /does not begin with a truncate/,
    ],
    [
      'a row of another shape',
      [announcement, rows((builder) => builder.insert({ ...table, columns: [id] }, { id: 1 }))],
      /another shape/,
    ],
    [
      'a change that starts from another schema',
      [announcement, schemaChange({ kind: 'truncate' }, table, { ...table, columns: [id] })],
      /another schema/,
    ],
    [
      'two columns of the same name',
      [schemaChange({ kind: 'create-table' }, { ...table, columns: [id, { ...note, name: 'id' }] })],
      /the same name/,
    ],
    [
      'an unchanged cell of a new row',
      [announcement, rows((builder) => builder.insert(table, { id: 1, note: UNCHANGED }))],
      /nothing is stored/,
    ],
    [
      'an unchanged cell of a row that is not there',
      [announcement, rows((builder) => builder.update(table, { id: 1, note: UNCHANGED }))],
      /nothing is stored/,
    ],
    ['an absent cell', [announcement, rows((builder) => builder.insert(table, { id: 1 }))], /absent/],
    [
      'NULL where the schema does not allow it',
      [
        schemaChange({ kind: 'create-table' }, { ...table, columns: [id, { ...note, nullable: false }] }),
        rows((builder) =>
          builder.insert({ ...table, columns: [id, { ...note, nullable: false }] }, { id: 1, note: null }),
        ),
      ],
      /is NULL/,
    ],
    [
      'a key without a value',
      [announcement, rows((builder) => builder.delete(table, { note: 'a' }))],
      /key id .* has no value/,
    ],
  ])('refuses %s', (_, batches, complaint) => {
    expect(() => mirrorOf(...batches)).toThrow(complaint)
  })

  it('wants every table announced again, and every copy emptied again, after a restart', () => {
    const insert = rows((builder) => builder.insert(table, { id: 1, note: 'a' }))
    const journal = journalOf(announcement, insert)
    journal.restart()
    journal.add(insert)
    expect(() => new Mirror(journal.entries)).toThrow(/before the table is announced/)
  })
})

describe('the journal', () => {
  const first = rows((builder) => builder.insert(table, { id: 1, note: 'a' }), 'stream', 1)
  const second = rows((builder) => builder.insert(table, { id: 2, note: 'b' }), 'stream', 2)

  it('forgets at a restart what came after the last position', () => {
    const builder = new ValueBatchBuilder('stream')
    builder.begin({ id: '3', commitTimeMs: null, version: 3n })
    builder.insert(table, { id: 3, note: 'c' })
    const journal = journalOf(announcement, first, second, builder.take()!)
    expect(journal.restart()).toEqual(position(2))
    journal.add(announcement)
    expect(new Mirror(journal.entries).rows('public.t').map((row) => row['id'])).toEqual(['1', '2'])
  })

  it('begins anew at a restart when there is no position', () => {
    const journal = journalOf(announcement)
    expect(journal.restart()).toBeNull()
    expect(journal.entries).toEqual([{ kind: 'start' }])
  })

  it('gives what precedes a position, and versions by the place in the transaction', () => {
    const journal = journalOf(announcement, first, second)
    const [mark] = journal.marks
    expect(mark).toMatchObject({ position: position(1), kind: 'commit' })
    expect(
      journal
        .upTo(mark!)
        .streamedRows()
        .map((row) => row.after),
    ).toEqual([{ id: '1', note: 'a' }])
    const several = rows((builder) => {
      for (const key of [1, 2, 3]) builder.insert(table, { id: key, note: null })
    })
    expect(
      journalOf(several)
        .streamedRows()
        .map(({ version }) => version),
    ).toEqual([1n, 2n, 3n])
  })
})
