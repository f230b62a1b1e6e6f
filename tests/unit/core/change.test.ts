import { describe, expect, it } from 'vitest'
import { UNCHANGED } from '../../../src/core/canonical.ts'
import { addChange, type Change, type LeftOut, tableOf } from '../../../src/core/change.ts'
import { CoreError, PoisonRecordError, SchemaError } from '../../../src/core/error.ts'
import type { CdcRecord } from '../../../src/core/record.ts'
import type { TableSchema } from '../../../src/core/table.ts'
import { ValueBatchBuilder } from '../../../src/core/value-batch.ts'
import { at } from '../../support/batches.ts'

const secret = 'the-cell-value'

/** Keyed by tenant and id; `toString` is a name like any other. */
const orders: TableSchema = {
  namespace: 'shop',
  name: 'orders',
  columns: [
    { id: '1', name: 'tenant', type: { kind: 'text' }, nullable: false, native: 'text' },
    {
      id: '2',
      name: 'id',
      type: { kind: 'int', bits: 64, unsigned: false },
      nullable: false,
      native: 'int8',
    },
    { id: '3', name: 'weight', type: { kind: 'float', bits: 64 }, nullable: false, native: 'float8' },
    { id: '4', name: 'toString', type: { kind: 'text' }, nullable: true, native: 'text' },
  ],
  key: [0, 1],
  version: 0,
}
const key = { tenant: 'a', id: 1 }
const change = (parts: Partial<Record<keyof Change, unknown>>): Change => {
  return { type: 'insert', table: 'shop.orders', key, timestamp: 0, ...parts } as Change
}

function recordOf(one: Change, leftOut?: LeftOut): CdcRecord {
  const builder = new ValueBatchBuilder('stream')
  builder.begin({ id: '1', commitTimeMs: null, version: 1n })
  addChange(builder, orders, one, leftOut)
  builder.commit(at(1))
  return builder.take()!.record(0)
}

function failure(run: () => unknown): CoreError {
  try {
    run()
  } catch (error) {
    if (error instanceof CoreError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('a change', () => {
  it('inserts the row; what is left out is of the key, or NULL', () => {
    const record = recordOf(change({ value: { weight: 1.5 } }))
    expect(record._tag === 'Insert' && record.after.toObject()).toEqual({
      tenant: 'a',
      id: 1n,
      weight: 1.5,
      toString: null,
    })
  })

  it('deletes by key and does not look at a value', () => {
    const record = recordOf(change({ type: 'delete', value: null }))
    expect(record._tag === 'Delete' && record.before.toObject()).toEqual({ tenant: 'a', id: 1n })
  })

  it('updates the complete row', () => {
    const record = recordOf(change({ type: 'update', value: { weight: 2, toString: 'x' } }))
    expect(record).toMatchObject({ _tag: 'Update', before: null })
    expect(record._tag === 'Update' && record.after.get('toString')).toBe('x')
  })

  it('moves the row when an update has another key than it says (L6)', () => {
    const record = recordOf(change({ type: 'update', value: { id: '2', weight: 2, toString: null } }))
    if (record._tag !== 'Update') throw new Error(record._tag)
    expect(record.before?.toObject()).toEqual({ tenant: 'a', id: 1n })
    expect(record.after.toObject()).toEqual({ tenant: 'a', id: 2n, weight: 2, toString: null })
  })

  it('does not move it when the key is the same in another form', () => {
    expect(recordOf(change({ type: 'update', value: { id: '1', weight: 2, toString: null } }))).toMatchObject(
      {
        before: null,
      },
    )
  })

  it('keeps what an update leaves out, when that is what it means (L7)', () => {
    const record = recordOf(change({ type: 'update', value: { toString: null } }), 'unchanged')
    if (record._tag !== 'Update') throw new Error(record._tag)
    expect(record.after.get('weight')).toBe(UNCHANGED)
    expect(record.after.get('toString')).toBe(null)
  })

  it('has one text for a float, however it was written', () => {
    const record = recordOf(change({ value: { weight: '1.50e0' } }))
    expect(record._tag === 'Insert' && Buffer.from(record.after.bytes(2)).toString()).toBe('1.5')
  })

  it.each([
    ['change/malformed', 'has a `type` that', { type: 'upsert', value: { weight: 1 } }],
    ['change/malformed', 'has no `key` with columns by name', { key: secret }],
    ['change/malformed', 'has no `key` with columns by name', { key: null }],
    ['change/malformed', 'has no `value` with columns by name', { value: [secret] }],
    ['change/malformed', 'has no `value` with columns by name', { type: 'update', value: null }],
    ['change/malformed', 'has a `timestamp` that is no number', { timestamp: secret, value: { weight: 1 } }],
    ['change/missing', 'column "id" of table shop.orders is not in the `key`', { key: { tenant: secret } }],
    [
      'change/missing',
      'column "id" of table shop.orders is not in the `key`',
      { key: { tenant: secret, id: null } },
    ],
    ['change/missing', 'column "weight" of table shop.orders must not be NULL', { value: {} }],
    ['change/missing', 'column "weight" of table shop.orders must not be NULL', { value: { weight: null } }],
    [
      'change/missing',
      'column "toString" of table shop.orders is left out of an update',
      { type: 'update', value: { weight: 1 } },
    ],
    [
      'change/missing',
      'column "toString" of table shop.orders is left out of an insert',
      { value: { weight: 1, toString: UNCHANGED } },
    ],
    ['change/misfit', 'column "id" of table shop.orders has a value', { key: { tenant: 'a', id: secret } }],
    ['change/misfit', 'column "id" of table shop.orders has a value', { key: { tenant: 'a', id: 2 ** 53 } }],
    ['change/misfit', 'column "weight" of table shop.orders has a value', { value: { weight: secret } }],
    [
      'change/key-differs',
      'column "id" of table shop.orders is not the same',
      { value: { id: 2, weight: 1 } },
    ],
  ])('is refused with %s when it %s', (code, message, parts) => {
    const error = failure(() => recordOf(change(parts)))
    expect(error).toBeInstanceOf(PoisonRecordError)
    expect(error).toMatchObject({ code, retryable: false })
    expect(error.message).toContain(message)
    expect(`${error.message} ${error.fix}`).not.toContain(secret)
  })

  it('is refused when it moves a row without being complete (L6)', () => {
    const moving = change({ type: 'update', value: { id: 2, weight: 1 } })
    expect(failure(() => recordOf(moving, 'unchanged')).message).toContain(
      'column "toString" of table shop.orders is left out of an update that changes the key',
    )
  })

  it.each([
    ['table shop.orders has no column "wieght", did you mean "weight"?', { value: { wieght: 1, weight: 1 } }],
    ['table shop.orders has no key column "weight"', { key: { ...key, weight: 1 }, value: { weight: 1 } }],
    ['table shop.orders has no column "constructor"', { value: { weight: 1, constructor: 1 } }],
  ])('is a SchemaError: %s', (message, parts) => {
    const error = failure(() => recordOf(change(parts)))
    expect(error).toBeInstanceOf(SchemaError)
    expect(error).toMatchObject({ code: 'change/unknown-column' })
    expect(error.message).toContain(message)
  })

  it('names a table that is there', () => {
    const tables = new Map([['shop.orders', orders]])
    expect(tableOf(tables, change({}))).toBe(orders)
    const unknown = failure(() => tableOf(tables, change({ table: 'shop.order' })))
    expect(unknown).toBeInstanceOf(SchemaError)
    expect(unknown.message).toContain('"shop.order", which nobody declared, did you mean "shop.orders"?')
    expect(failure(() => tableOf(tables, change({ table: undefined })))).toMatchObject({
      code: 'change/malformed',
    })
  })
})
