import { describe, expect, it } from 'vitest'
import type { CdcRecord } from '../../../../src/core/record.ts'
import type { RecordBatch } from '../../../../src/core/batch.ts'
import { UNCHANGED } from '../../../../src/core/canonical.ts'
import { parseType } from '../../../../src/core/column-type.ts'
import { normalizeMapping } from '../../../../src/core/mapping/normalize.ts'
import { BatchMapping } from '../../../../src/core/mapping/rows/row-batches.ts'
import { planRows, type RowPlan } from '../../../../src/core/mapping/rows/rows-plan.ts'
import { RowMapping } from '../../../../src/core/mapping/rows/rows.ts'
import type { Json } from '../../../../src/core/position.ts'
import type { TableSchema } from '../../../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../../../src/core/value-batch.ts'

function table(columns: Readonly<Record<string, string>>, key: readonly number[] = [0]): TableSchema {
  return {
    namespace: 'public',
    name: 'orders',
    columns: Object.entries(columns).map(([name, type], index) => ({
      id: String(index + 1),
      name,
      type: parseType(type)!,
      nullable: !key.includes(index),
      native: type,
    })),
    key,
    version: 0,
  }
}

const orders = table({ id: 'int32', state: 'text', total: 'decimal(12,2)', note: 'text', extra: 'json' })

function plansOf(mappings: Json, source = orders): readonly RowPlan[] {
  const normalized = normalizeMapping({ schema: null, mappings })
  if (normalized.mapping === null) throw new Error(JSON.stringify(normalized.mistakes))
  return normalized.mapping.tables.map((one) => {
    const planned = planRows(one, source, source.namespace)
    if (planned.plan === null) throw new Error(planned.problems.map(({ reason }) => reason).join('; '))
    return planned.plan
  })
}

function problemsOf(mappings: Json, source = orders): readonly string[] {
  const normalized = normalizeMapping({ schema: null, mappings })
  return normalized.mapping!.tables.flatMap((one) =>
    (planRows(one, source, source.namespace).problems ?? []).map(({ code, reason }) => `${code}: ${reason}`),
  )
}

function mapper(plans: readonly RowPlan[]): BatchMapping {
  const each = plans.map((plan) => new RowMapping(plan))
  return new BatchMapping({ of: () => each, position: (position) => position })
}

/** What becomes of rows, as text per record. */
function mapped(plans: readonly RowPlan[], fill: (builder: ValueBatchBuilder) => void): readonly unknown[] {
  const builder = new ValueBatchBuilder('stream')
  builder.begin({ id: '1', commitTimeMs: null, version: 0n })
  fill(builder)
  builder.commit({ order: '1', resume: 1 })
  const { batch } = mapper(plans).map(builder.take()!)
  return batch === null ? [] : [...batch].flatMap(show)
}

function show(record: CdcRecord): readonly unknown[] {
  switch (record._tag) {
    case 'Insert':
      return [['insert', record.table.name, record.after.toObject()]]
    case 'Update':
      return [['update', record.table.name, record.after.toObject(), record.before?.toObject() ?? null]]
    case 'Delete':
      return [['delete', record.table.name, record.before.toObject()]]
    default:
      return []
  }
}

const row = { id: 1, state: 'open', total: '10.50', note: 'n', extra: '{"a":{"b":[1,2]}}' }

describe('a mapped row', () => {
  it('is renamed, with renamed, moved and left-out columns, and no byte is written', () => {
    const plans = plansOf({ sales: { collection: 'orders', fields: { price: 'total', id: 'id' } } })
    const builder = new ValueBatchBuilder('stream')
    builder.begin({ id: '1', commitTimeMs: null, version: 0n })
    builder.insert(orders, row)
    builder.commit({ order: '1', resume: 1 })
    const batch = builder.take()!
    const out = mapper(plans).map(batch).batch!
    expect([...out].flatMap(show)).toEqual([['insert', 'sales', { price: '10.50', id: 1 }]])
    expect(out.rows!.arena).toBe(batch.rows!.arena)
    expect(out.tables[0]).toMatchObject({ namespace: 'public', name: 'sales', key: [1] })
    expect(out.tables[0]!.columns.map(({ id }) => id)).toEqual(['3', '1'])
  })

  it('is the very same batch under another name when nothing else is asked for', () => {
    const plans = plansOf({ sales: { collection: 'orders' } })
    const builder = new ValueBatchBuilder('snapshot')
    builder.begin({ id: '', commitTimeMs: null, version: 0n })
    builder.insert(orders, row)
    const batch = builder.take()!
    const out = mapper(plans).map(batch).batch!
    expect(out.rows).toBe(batch.rows)
    expect([...out].flatMap(show)).toEqual([['insert', 'sales', row]])
  })

  it('keeps NULL, absent and unchanged apart (L7)', () => {
    const plans = plansOf({
      sales: { collection: 'orders', fields: { id: 'id', memo: 'note', was: 'state' } },
    })
    const records = mapped(plans, (builder) => {
      builder.update(orders, { id: 1, note: UNCHANGED, state: null })
      builder.delete(orders, { id: 1 })
    })
    expect(records).toEqual([
      ['update', 'sales', { id: 1, memo: UNCHANGED, was: null }, null],
      ['delete', 'sales', { id: 1 }],
    ])
  })

  it('moves in and out of a filter: insert, update, delete, nothing', () => {
    const plans = plansOf({
      open: { collection: 'orders', filter: { state: 'open' }, fields: { id: 'id', note: 'note' } },
    })
    expect(plans[0]!.needsOldRow).toBe(true)
    const closed = { ...row, state: 'closed' }
    const records = mapped(plans, (builder) => {
      builder.insert(orders, row)
      builder.insert(orders, { ...closed, id: 2 })
      builder.update(orders, { ...row, note: 'x' }, row)
      builder.update(orders, closed, row)
      builder.update(orders, closed, closed)
      builder.update(orders, { ...row, note: UNCHANGED }, closed)
      builder.delete(orders, row)
      builder.delete(orders, closed)
    })
    expect(records).toEqual([
      ['insert', 'open', { id: 1, note: 'n' }],
      ['update', 'open', { id: 1, note: 'x' }, { id: 1, note: 'n' }],
      ['delete', 'open', { id: 1, note: 'n' }],
      ['insert', 'open', { id: 1, note: 'n' }],
      ['delete', 'open', { id: 1, note: 'n' }],
    ])
  })

  it('reads an unchanged cell of the old row, and stops where there is none', () => {
    const plans = plansOf({ open: { collection: 'orders', filter: { state: 'open' }, fields: { id: 'id' } } })
    const update: ValueRow = { ...row, state: UNCHANGED }
    expect(mapped(plans, (builder) => builder.update(orders, update, row))).toEqual([
      ['update', 'open', { id: 1 }, { id: 1 }],
    ])
    expect(() => mapped(plans, (builder) => builder.update(orders, update))).toThrow('mapping needs')
    expect(() => mapped(plans, (builder) => builder.update(orders, row))).toThrow(
      'a change of public.orders does not tell the old value of column "state"',
    )
    expect(() => mapped(plans, (builder) => builder.delete(orders, { id: 1 }))).toThrow('column "state"')
  })

  it('needs no old row for a filter on the key, whose change may take it in or out', () => {
    const plans = plansOf({
      few: { collection: 'orders', filter: { id: { $lt: 10 } }, fields: { id: 'id', state: 'state' } },
    })
    expect(plans[0]!.needsOldRow).toBe(false)
    const records = mapped(plans, (builder) => {
      builder.update(orders, { ...row, state: 'a' })
      builder.update(orders, { ...row, id: 11 }, { id: 1 })
      builder.update(orders, { ...row, id: 12 }, { id: 11 })
      builder.update(orders, { ...row, id: 2 }, { id: 12 })
      builder.update(orders, { ...row, id: 3 }, { id: 2 })
      builder.delete(orders, { id: 12 })
      builder.delete(orders, { id: 3 })
    })
    expect(records).toEqual([
      ['update', 'few', { id: 1, state: 'a' }, null],
      ['delete', 'few', { id: 1 }],
      ['insert', 'few', { id: 2, state: 'open' }],
      ['update', 'few', { id: 3, state: 'open' }, { id: 2 }],
      ['delete', 'few', { id: 3 }],
    ])
    const cut = (builder: ValueBatchBuilder): void =>
      builder.update(orders, { ...row, id: 2, state: UNCHANGED }, { id: 12 })
    expect(() => mapped(plans, cut)).toThrow('old value of column "state"')
  })

  it('goes into each table of a union, and from one to another', () => {
    const plans = plansOf({
      open: { collection: 'orders', filter: { state: 'open' }, fields: { id: 'id' } },
      closed: {
        collection: 'orders',
        filter: { state: { $ne: 'open' } },
        fields: { id: 'id', total: 'total' },
      },
    })
    const records = mapped(plans, (builder) => builder.update(orders, { ...row, state: 'paid' }, row))
    expect(records).toEqual([
      ['delete', 'open', { id: 1 }],
      ['insert', 'closed', { id: 1, total: '10.50' }],
    ])
  })

  it('has computed columns, also of what is inside a json column', () => {
    const plans = plansOf({
      sales: {
        collection: 'orders',
        fields: {
          id: 'id',
          b: { path: 'extra.a.b', type: 'json' },
          double: { expression: { $multiply: ['$total', 2] }, type: 'decimal(12,2)' },
        },
      },
    })
    expect(mapped(plans, (builder) => builder.insert(orders, row))).toEqual([
      ['insert', 'sales', { id: 1, b: '[1,2]', double: '21' }],
    ])
    // Its only input did not change.
    const update: ValueRow = { id: 1, state: 'x', total: UNCHANGED, note: UNCHANGED, extra: UNCHANGED }
    expect(mapped(plans, (builder) => builder.update(orders, update))).toEqual([
      ['update', 'sales', { id: 1, b: UNCHANGED, double: UNCHANGED }, null],
    ])
  })

  it('is cast, and one that does not fit stops with names and without the value', () => {
    const plans = plansOf({
      sales: {
        collection: 'orders',
        fields: {
          id: { path: 'id', type: 'text' },
          total: { path: 'total', type: 'float64' },
          state: { path: 'state', type: 'int32', nullable: false },
        },
      },
    })
    expect(mapped(plans, (builder) => builder.insert(orders, { ...row, state: '7' }))).toEqual([
      ['insert', 'sales', { id: '1', total: 10.5, state: 7 }],
    ])
    expect(() => mapped(plans, (builder) => builder.insert(orders, row))).toThrow(
      'column "state": a value of "state" (text) does not fit into int32',
    )
    expect(() => mapped(plans, (builder) => builder.insert(orders, { ...row, state: null }))).toThrow('NULL')
  })
})

describe('a plan', () => {
  it('lists everything that the table does not allow, with the nearest name', () => {
    const mapping = {
      collection: 'orders',
      filter: { stat: 'open' },
      fields: { id: 'id', a: 'totl', b: { path: 'extra', type: 'int32' } },
    }
    expect(problemsOf({ sales: mapping })).toEqual([
      'mapping/column-gone: names the column "totl", which public.orders does not have; did you mean "total"?',
      'mapping/cast: cannot become int32: the column is json (json) in the source',
      'mapping/column-gone: names the column "stat", which public.orders does not have; did you mean "state"?',
    ])
  })

  it('refuses a table whose key leaves out the key of the source', () => {
    expect(problemsOf({ sales: { collection: 'orders', fields: { total: 'total' } } })).toEqual([
      'mapping/key: leaves out "id", a key column of public.orders',
    ])
    expect(
      problemsOf({ sales: { collection: 'orders', fields: { id: 'id', state: 'state' }, key: ['state'] } }),
    ).toEqual([expect.stringContaining('has a key without "id"')])
    expect(
      problemsOf({
        sales: { collection: 'orders', fields: { id: 'id', state: 'state' }, key: ['state', 'id'] },
      }),
    ).toEqual([])
    const texts = table({ id: 'text' })
    const cast = { sales: { collection: 'orders', fields: { id: { path: 'id', type: 'decimal(12,2)' } } } }
    expect(problemsOf(cast, texts)).toEqual([expect.stringContaining('different rows could become one')])
  })

  it('finds a column under the name that the log still has', () => {
    const normalized = normalizeMapping({
      schema: null,
      mappings: { sales: { collection: 'orders', fields: { id: 'id', t: 'sum' } } },
    })
    const current = new Map([['3', 'sum']])
    const planned = planRows(normalized.mapping!.tables[0]!, orders, 'public', current)
    expect(planned.plan?.cells[1]).toMatchObject({ from: 2 })
  })
})

describe('a mapped transaction', () => {
  const plans = plansOf({ open: { collection: 'orders', filter: { state: 'open' }, fields: { id: 'id' } } })

  /** Versions and marks of all spans, with the source cut behind these rows. */
  function cutAt(cuts: readonly number[]): readonly unknown[] {
    const builder = new ValueBatchBuilder('stream')
    const mapping = mapper(plans)
    const out: unknown[] = []
    const take = (): void => {
      const batch: RecordBatch | null = builder.take()
      const left = batch === null ? null : mapping.map(batch).batch
      for (const span of left?.spans ?? []) {
        for (let at = span.firstRow; at < span.endRow; at++)
          out.push(span.version + BigInt(span.firstOrdinal + at - span.firstRow))
      }
      for (const record of left ?? [])
        if (record._tag === 'Begin' || record._tag === 'Commit') out.push(record._tag)
    }
    builder.begin({ id: '1', commitTimeMs: null, version: 100n })
    for (let id = 0; id < 9; id++) {
      builder.insert(orders, { ...row, id, state: id % 3 === 0 ? 'open' : 'closed' })
      if (cuts.includes(id)) take()
    }
    builder.commit({ order: '1', resume: 1 })
    builder.begin({ id: '2', commitTimeMs: null, version: 200n })
    builder.insert(orders, { ...row, state: 'closed' })
    builder.commit({ order: '2', resume: 2 })
    take()
    return out
  }

  it('numbers its rows the same however it is cut', () => {
    const whole = cutAt([]).filter((one) => typeof one === 'bigint')
    expect(whole).toEqual([100n, 101n, 102n])
    for (const cuts of [[0], [1], [2], [1, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
      expect(cutAt(cuts).filter((one) => typeof one === 'bigint')).toEqual(whole)
  })

  it('begins once and commits once however it is cut, and one of which nothing is left does neither', () => {
    for (const cuts of [[], [0], [1], [8], [0, 1, 2, 3, 4, 5, 6, 7, 8]]) {
      expect(cutAt(cuts).filter((one) => typeof one === 'string')).toEqual(['Begin', 'Commit'])
    }
    const builder = new ValueBatchBuilder('stream')
    builder.begin({ id: '1', commitTimeMs: null, version: 1n })
    builder.insert(orders, { ...row, state: 'closed' })
    builder.commit({ order: '1', resume: 1 })
    expect(mapper(plans).map(builder.take()!)).toEqual({ batch: null, position: { order: '1', resume: 1 } })
  })

  it('is told before a schema change in it, though no row of it is left', () => {
    const builder = new ValueBatchBuilder('stream')
    const mapping = mapper(plans)
    builder.begin({ id: '7', commitTimeMs: null, version: 1n })
    builder.insert(orders, { ...row, state: 'closed' })
    expect(mapping.map(builder.take()!)).toEqual({ batch: null, position: null })
    expect([...mapping.announce()!]).toEqual([{ _tag: 'Begin', id: '7' }])
    expect(mapping.announce()).toBe(null)
    builder.commit({ order: '1', resume: 1 })
    const end = mapping.map(builder.take()!).batch!
    expect([...end]).toMatchObject([{ _tag: 'Commit', id: '7' }])
  })
})
