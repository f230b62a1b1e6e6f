import { describe, expect, it } from 'vitest'
import { UNCHANGED } from '../../../src/core/canonical.ts'
import { CellState } from '../../../src/core/packed-rows.ts'
import type { CdcRecord } from '../../../src/core/record.ts'
import type { RowView } from '../../../src/core/row-view.ts'
import { ValueBatchBuilder } from '../../../src/core/value-batch.ts'
import { at, copied, heartbeat, schemaChange, transactions, users } from '../../support/batches.ts'
import { table } from '../../support/memory-pipeline.ts'

const tags = (records: Iterable<CdcRecord>): string[] => Array.from(records, (record) => record._tag)
const info = { id: '1', commitTimeMs: 1000, version: 1n << 16n }

describe('iterating a batch', () => {
  it('gives rows between the begin and the commit of their transaction', () => {
    expect(tags(transactions([1, 1, 2], [2, 3]))).toEqual([
      'Begin',
      'Insert',
      'Insert',
      'Commit',
      'Begin',
      'Insert',
      'Commit',
    ])
  })

  it('gives the rows of a copy without a transaction', () => {
    const [row] = [...copied(1)]
    expect(row).toMatchObject({ _tag: 'Insert', origin: 'snapshot' })
    expect(tags(copied(1, 2))).toEqual(['Insert', 'Insert'])
  })

  it('gives a schema change or a heartbeat alone', () => {
    expect(tags(schemaChange('truncate'))).toEqual(['SchemaChange'])
    expect(tags(heartbeat(1))).toEqual(['Heartbeat'])
    expect(heartbeat(1).position).toEqual(at(1))
  })

  it('has a transaction without rows of ours', () => {
    expect(tags(transactions([1]))).toEqual(['Begin', 'Commit'])
  })

  it('knows the time of the last commit in it', () => {
    expect(transactions([1, 1], [2, 2], [-3, 3]).commitTimeMs).toBe(2000)
    expect(copied(1).commitTimeMs).toBeNull()
  })
})

describe('building a batch from values', () => {
  it('keeps absent, null and unchanged apart (L7)', () => {
    const builder = new ValueBatchBuilder('stream')
    builder.begin(info)
    builder.update(users, { id: 1, name: UNCHANGED, note: null }, { id: 1 })
    builder.commit(at(1))
    const update = [...builder.take()!].find((record) => record._tag === 'Update')!
    const states = (row: RowView): CellState[] => [0, 1, 2].map((column) => row.state(column))
    expect(states(update.after)).toEqual([CellState.present, CellState.unchanged, CellState.null])
    expect(states(update.before!)).toEqual([CellState.present, CellState.absent, CellState.absent])
    expect(update.after.toObject()).toEqual({ id: 1, name: UNCHANGED, note: null })
    expect(update.before!.toObject()).toEqual({ id: 1 })
    expect(update.before!.get('name')).toBeUndefined()
  })

  it('continues an open transaction in the next batch, with the numbers of its rows', () => {
    const builder = new ValueBatchBuilder('stream')
    builder.begin(info)
    builder.insert(users, { id: 1 })
    builder.insert(users, { id: 2 })
    const first = builder.take()!
    expect(first).toMatchObject({ position: null, endsInTransaction: true })
    builder.insert(users, { id: 3 })
    builder.commit(at(1))
    const second = builder.take()!
    expect(tags(first)).toEqual(['Begin', 'Insert', 'Insert'])
    expect(tags(second)).toEqual(['Insert', 'Commit'])
    expect(second).toMatchObject({ position: at(1), endsInTransaction: false })
    expect([first.spans[0]!.firstOrdinal, second.spans[0]!.firstOrdinal]).toEqual([0, 2])
    expect([first.spans[0]!.version, second.spans[0]!.version]).toEqual([info.version, info.version])
    expect(builder.take()).toBeNull()
  })

  it('has the position of the last commit although the next transaction has begun', () => {
    const batch = transactions([1, 1], [-2, 2])
    expect(batch).toMatchObject({ position: at(1), endsInTransaction: true })
  })

  it('can end a transaction whose rows are all in the batch before', () => {
    const builder = new ValueBatchBuilder('stream')
    builder.begin(info)
    builder.insert(users, { id: 1 })
    builder.take()
    builder.commit(at(1))
    const rest = builder.take()!
    expect(tags(rest)).toEqual(['Commit'])
    expect(rest.position).toEqual(at(1))
  })

  it('keeps rows of several tables and thousands of rows apart', () => {
    const others = table('others')
    const builder = new ValueBatchBuilder('stream')
    builder.begin(info)
    for (let id = 0; id < 5000; id++)
      builder.insert(id % 2 === 0 ? users : others, { id, name: `n${id}`, note: 'ü'.repeat(id % 7) })
    builder.commit(at(1))
    const batch = builder.take()!
    expect(batch.rowCount).toBe(5000)
    let id = 0
    for (const record of batch) {
      if (record._tag !== 'Insert') continue
      expect(record.table).toBe(id % 2 === 0 ? users : others)
      expect(record.after.toObject()).toEqual({ id, name: `n${id}`, note: 'ü'.repeat(id % 7) })
      id++
    }
    expect(batch.byteSize).toBeGreaterThan(5000 * 10)
  })

  it('refuses a column that the table does not have', () => {
    const builder = new ValueBatchBuilder('stream')
    builder.begin(info)
    expect(() => builder.insert(users, { id: 1, nmae: 'x' })).toThrow(
      'table public.users has no column "nmae"',
    )
  })
})
