import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TableEncoder } from '../../../src/connectors/sinks/zero/encoder.ts'
import { planTable, textColumns } from '../../../src/connectors/sinks/zero/plan.ts'
import { readCells, RecordReader } from '../../../src/connectors/sinks/zero/record-reader.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'
import { RecordOp, type Slot, type TableVersion } from '../../../src/connectors/sinks/zero/table-version.ts'
import { UNCHANGED, type Value } from '../../../src/core/canonical.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { PoisonRecordError } from '../../../src/core/error.ts'
import type { PackedRows } from '../../../src/core/packed-rows.ts'
import type { Column, TableSchema } from '../../../src/core/table.ts'
import { ValueBatchBuilder, type ValueRow } from '../../../src/core/value-batch.ts'

const OPTIONS = {
  bigints: 'number',
  decimals: 'exact',
  defaultNamespace: 'shop',
  textColumns: textColumns([]),
} as const

const column = (id: string, type: ColumnType): Column => ({
  id,
  name: `c${id}`,
  type,
  nullable: true,
  native: '',
})
const int: ColumnType = { kind: 'int', bits: 32, unsigned: false }
const text: ColumnType = { kind: 'text' }

/** Key (c3, c1): neither in the order of the columns nor next to each other. */
const schema: TableSchema = {
  namespace: 'shop',
  name: 'orders',
  columns: [column('1', text), column('2', int), column('3', int), column('4', text)],
  key: [2, 0],
  version: 0,
}
const version = planTable(schema, OPTIONS, null).version!

interface Decoded {
  readonly op: RecordOp
  readonly partial: boolean
  readonly table: number
  readonly oldKey: readonly unknown[]
  readonly key: readonly unknown[]
  readonly cells: readonly unknown[]
}

function decode(out: RecordWriter): Decoded[] {
  const bytes = out.bytes.subarray(0, out.at)
  const reader = new RecordReader()
  const records: Decoded[] = []
  reader.reset(bytes)
  let end = 0
  while (reader.next()) {
    expect(reader.start).toBe(end)
    end = reader.end
    records.push({
      op: reader.op,
      partial: reader.partial,
      table: reader.table,
      oldKey: readCells(bytes, reader.oldKeyStart, reader.oldKeyEnd),
      key: readCells(bytes, reader.keyStart, reader.keyEnd),
      cells: readCells(bytes, reader.cellsStart, reader.cellsEnd),
    })
  }
  expect(end).toBe(bytes.length)
  return records
}

type Change = readonly ['insert' | 'delete', ValueRow] | readonly ['update', ValueRow, ValueRow | null]

function pack(table: TableSchema, changes: readonly Change[]): PackedRows {
  const builder = new ValueBatchBuilder('stream')
  builder.begin({ id: '1', commitTimeMs: null, version: 1n })
  for (const change of changes) {
    if (change[0] === 'update') builder.update(table, change[1], change[2])
    else builder[change[0]](table, change[1])
  }
  return builder.take()!.rows!
}

function encode(
  changes: readonly Change[],
  table = schema,
  as: TableVersion = version,
  number = 7,
): Decoded[] {
  const rows = pack(table, changes)
  const out = new RecordWriter(1)
  const encoder = new TableEncoder(table, as, number)
  for (let row = 0; row < rows.rowCount; row++) encoder.write(rows, row, out)
  return decode(out)
}

/** Why the only record is refused, and how much of it is left. */
function poison(change: Change): { error: unknown; left: number } {
  const rows = pack(schema, [change])
  const out = new RecordWriter()
  try {
    new TableEncoder(schema, version, 7).write(rows, 0, out)
  } catch (error) {
    return { error, left: out.at }
  }
  throw new Error('was taken')
}

const row = { c1: 'a', c2: 2, c3: 3, c4: 'd' }
const NOTHING = { oldKey: [], partial: false, table: 7 }

describe('records', () => {
  it('hold the key in its order and all other cells in the order of slots', () => {
    expect(encode([['insert', row]])).toEqual([
      { ...NOTHING, op: RecordOp.insert, key: ['3', '"a"'], cells: ['2', '"d"'] },
    ])
  })

  it('of an update have the op by what happened to the key', () => {
    const after = { ...row, c2: null }
    const update = { ...NOTHING, op: RecordOp.update, key: ['3', '"a"'], cells: [null, '"d"'] }
    expect(encode([['update', after, null]])).toEqual([update])
    expect(encode([['update', after, row]])).toEqual([update])
    expect(encode([['update', after, { c1: 'a', c3: 3 }]])).toEqual([update])
    // A key column that the old image leaves out is not said to differ.
    expect(encode([['update', after, { c3: 3 }]])).toEqual([update])
    expect(encode([['update', after, { c2: 1 }]])).toEqual([update])
    const moved = { ...update, op: RecordOp.move, oldKey: ['2', '"a"'] }
    expect(encode([['update', after, { ...row, c3: 2 }]])).toEqual([moved])
    expect(encode([['update', after, { c1: 'a', c3: 2 }]])).toEqual([moved])
    expect(encode([['update', after, { c3: 2 }]])).toEqual([moved])
    expect(encode([['update', after, { c1: 'b', c3: 3 }]])[0]).toMatchObject({ oldKey: ['3', '"b"'] })
    expect(encode([['update', after, { c1: 'aa', c3: 3 }]])[0]).toMatchObject({ oldKey: ['3', '"aa"'] })
  })

  it('say which cells an update left unchanged, with and without a new key', () => {
    const after = { ...row, c4: UNCHANGED } as const
    const partial = { ...NOTHING, partial: true, key: ['3', '"a"'], cells: ['2', undefined] }
    expect(encode([['update', after, null]])).toEqual([{ ...partial, op: RecordOp.update }])
    expect(encode([['update', after, { ...row, c3: 9 }]])).toEqual([
      { ...partial, op: RecordOp.move, oldKey: ['9', '"a"'] },
    ])
  })

  it('of a delete have the key only', () => {
    const expected = [{ ...NOTHING, op: RecordOp.delete, key: ['3', '"a"'], cells: [] }]
    expect(encode([['delete', row]])).toEqual(expected)
    expect(encode([['delete', { c1: 'a', c3: 3 }]])).toEqual(expected)
  })

  it('leave columns out that the version does not have, and have NULL in the slot of a dropped one', () => {
    const [first, second] = version.slots as readonly Slot[]
    const projected = { ...version, slots: [null, second!] }
    expect(encode([['insert', row]], schema, projected)[0]!.cells).toEqual([null, '"d"'])
    expect(encode([['insert', row]], schema, { ...version, slots: [first!] })[0]!.cells).toEqual(['2'])
    expect(encode([['insert', row]], schema, { ...version, slots: [] })[0]!.cells).toEqual([])
  })

  it('follow columns by their ids, wherever the source has them', () => {
    const [a, b, c, d] = schema.columns
    const turned = { ...schema, columns: [d!, c!, { ...b!, name: 'renamed' }, a!], key: [1, 3] }
    expect(encode([['insert', { c4: 'd', c3: 3, renamed: 2, c1: 'a' }]], turned)).toEqual(
      encode([['insert', row]]),
    )
    expect(() => new TableEncoder({ ...schema, columns: [a!, b!, c!] }, version, 1)).toThrow(/"c4"/)
  })

  it('lie one behind the other, whatever their sizes, under any number of the version', () => {
    const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(16370, 16380, 20000))
    const change = fc.record({
      size,
      keySize: size,
      kind: fc.constantFrom('insert', 'update', 'move', 'delete'),
    })
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 12 }),
        fc.constantFrom(0, 1, 127, 128, 16384, 3_000_000_000),
        (changes, number) => {
          const rows = changes.map(({ size: long, keySize, kind }, index): Change => {
            const values = { c1: 'k'.repeat(keySize), c2: index, c3: index, c4: 'x'.repeat(long) }
            if (kind === 'update') return ['update', values, null]
            if (kind === 'move') return ['update', values, { ...values, c3: -1 }]
            return [kind as 'insert' | 'delete', values]
          })
          const records = encode(rows, schema, version, number)
          expect(records).toEqual(
            changes.map(({ size: long, keySize, kind }, index) => {
              const key = [String(index), `"${'k'.repeat(keySize)}"`]
              return {
                op: RecordOp[kind],
                partial: false,
                table: number,
                oldKey: kind === 'move' ? ['-1', key[1]] : [],
                key,
                cells: kind === 'delete' ? [] : [String(index), `"${'x'.repeat(long)}"`],
              }
            }),
          )
        },
      ),
    )
  })

  it('are the same bytes for the same row, whatever was written before', () => {
    const encoder = new TableEncoder(schema, version, 7)
    const long = { ...row, c4: 'x'.repeat(500) }
    const rows = pack(schema, [
      ['insert', row],
      ['insert', long],
      ['insert', row],
    ])
    const out = new RecordWriter()
    const written = [0, 1, 2].map((index) => {
      const start = out.at
      encoder.write(rows, index, out)
      return out.bytes.toString('hex', start, out.at)
    })
    expect(written[2]).toBe(written[0])
  })

  it('are found damaged when they are cut or something else', () => {
    const out = new RecordWriter()
    new TableEncoder(schema, version, 7).write(pack(schema, [['insert', row]]), 0, out)
    for (let length = 1; length < out.at; length++) {
      const reader = new RecordReader()
      reader.reset(out.bytes.subarray(0, length))
      expect(() => reader.next(), String(length)).toThrow(
        expect.objectContaining({ code: 'zero/log-damaged' }),
      )
    }
    const reader = new RecordReader()
    for (const op of [0, 5, 0x20, 0xff]) {
      reader.reset(Uint8Array.of(op, 1, 0, 0))
      expect(() => reader.next()).toThrow(expect.objectContaining({ code: 'zero/log-damaged' }))
    }
    expect(() => readCells(Uint8Array.of(9, 1))).toThrow(
      expect.objectContaining({ code: 'zero/log-damaged' }),
    )
    expect(() => readCells(Uint8Array.of(0x80))).toThrow(
      expect.objectContaining({ code: 'zero/log-damaged' }),
    )
  })
})

describe('a row that Zero cannot have', () => {
  const { c2: _, ...without } = row

  it.each<readonly [string, Change, string]>([
    ['an insert with an absent cell', ['insert', without], 'absent-cell'],
    ['an update with an absent cell', ['update', without, null], 'absent-cell'],
    ['an insert with an unchanged cell', ['insert', { ...row, c2: UNCHANGED }], 'unchanged-cell'],
    ['an unchanged cell in the key', ['update', { ...row, c1: UNCHANGED }, null], 'unchanged-cell'],
    ['NULL in the key', ['insert', { ...row, c3: null }], 'null-key'],
    ['NULL in the key of a deleted row', ['delete', { ...row, c3: null }], 'null-key'],
    ['NULL in the old key', ['update', row, { ...row, c3: null }], 'null-key'],
    ['a deleted row without its key', ['delete', { c1: 'a' }], 'absent-cell'],
  ])('%s is refused', (_what, change, slug) => {
    const { error, left } = poison(change)
    expect(left).toBe(0)
    expect(error).toBeInstanceOf(PoisonRecordError)
    expect(error).toMatchObject({
      code: `zero/${slug}`,
      message: expect.stringMatching(/^a value of column "c[123]" of shop\.orders /),
      fix: expect.stringMatching(/./),
    })
  })

  it('is named by table and column, never by its value', () => {
    const big: TableSchema = {
      ...schema,
      columns: [...schema.columns, column('5', { kind: 'int', bits: 64, unsigned: false })],
    }
    const rows = pack(big, [['insert', { ...row, c5: 9007199254740993n }]])
    const encoder = new TableEncoder(big, planTable(big, OPTIONS, null).version!, 1)
    expect(() => encoder.write(rows, 0, new RecordWriter())).toThrow(
      expect.objectContaining({
        code: 'zero/value-unsafe',
        message: 'a value of column "c5" of shop.orders is beyond 2^53, where Zero has no exact numbers',
        fix: expect.stringMatching(/bigints: text.*textColumns/),
      }),
    )
  })
})

interface Kind {
  readonly type: ColumnType
  readonly value: fc.Arbitrary<Value>
  /** What a client sees; by its own way from the JS value. */
  readonly seen: (value: Value) => unknown
}

const same = (value: Value): unknown => value
const wellFormed = fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed())
const utc = (value: Value): number => Date.parse(`${String(value).replace('+00', '').replace(' ', 'T')}Z`)
const moment = fc
  .date({ min: new Date('1000-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
  .map((date) => date.toISOString().replace('T', ' ').slice(0, 23))

const KINDS: readonly Kind[] = [
  { type: { kind: 'bool' }, value: fc.boolean(), seen: same },
  { type: int, value: fc.integer(), seen: same },
  {
    type: { kind: 'int', bits: 32, unsigned: true },
    value: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    seen: same,
  },
  { type: { kind: 'int', bits: 64, unsigned: false }, value: fc.maxSafeInteger().map(BigInt), seen: Number },
  {
    type: { kind: 'float', bits: 64 },
    value: fc.double({ noNaN: true, noDefaultInfinity: true }),
    // In quotes, see `writeFloat`; the replica makes it the number.
    seen: (value) =>
      Math.abs(value as number) >= 2 ** 63 && Math.abs(value as number) < 1e21 ? String(value) : value,
  },
  {
    type: { kind: 'decimal', precision: 15, scale: 4 },
    value: fc.integer({ min: -(10 ** 9), max: 10 ** 9 }).map((n) => `${n}.0625`),
    seen: Number,
  },
  {
    type: { kind: 'decimal', precision: 16, scale: 4 },
    value: fc.constantFrom('123456789012.3456', '-0.0001'),
    seen: same,
  },
  { type: text, value: wellFormed, seen: same },
  { type: { kind: 'enum' }, value: fc.constantFrom('sad', 'ok'), seen: same },
  { type: { kind: 'uuid' }, value: fc.uuid(), seen: same },
  { type: { kind: 'interval' }, value: fc.constant('P1Y2M-3DT4H5M6.7S'), seen: same },
  { type: { kind: 'other', name: 'tsvector' }, value: wellFormed, seen: same },
  {
    type: { kind: 'bytes' },
    value: fc.uint8Array(),
    seen: (value) => Buffer.from(value as Uint8Array).toString('base64'),
  },
  { type: { kind: 'json' }, value: fc.json(), seen: same },
  { type: { kind: 'date' }, value: moment.map((value) => value.slice(0, 10)), seen: utc },
  { type: { kind: 'timestamp', digits: 6, zoned: false }, value: moment, seen: utc },
  {
    type: { kind: 'timestamp', digits: 3, zoned: true },
    value: moment.map((value) => `${value}+00`),
    seen: utc,
  },
  {
    type: { kind: 'timestamp', digits: 9, zoned: false },
    value: moment.map((value) => `${value}000001`),
    seen: same,
  },
  {
    type: { kind: 'time', digits: 6, zoned: false },
    value: moment.map((value) => value.slice(11)),
    seen: (value) => utc(`1970-01-01 ${String(value)}`),
  },
  {
    type: { kind: 'time', digits: 6, zoned: true },
    value: moment.map((value) => `${value.slice(11)}+02`),
    seen: same,
  },
  {
    type: { kind: 'array', of: int, dimensions: 1 },
    value: fc.array(fc.option(fc.integer(), { nil: null })) as fc.Arbitrary<Value>,
    seen: same,
  },
  {
    type: { kind: 'array', of: text, dimensions: 2 },
    value: fc.array(fc.array(wellFormed, { minLength: 1 }), { minLength: 1 }),
    seen: same,
  },
]

describe('a table with columns of every type', () => {
  it('gives each value back as a client sees it', () => {
    const wide: TableSchema = {
      ...schema,
      columns: [column('0', int), ...KINDS.map(({ type }, index) => column(String(index + 1), type))],
      key: [0],
    }
    const as = planTable(wide, OPTIONS, null).version!
    const rows = fc.tuple(...KINDS.map(({ value }) => fc.option(value, { nil: null, freq: 10 })))
    fc.assert(
      fc.property(rows, (values) => {
        const cells = Object.fromEntries(values.map((value, index) => [`c${index + 1}`, value as Value]))
        const [record] = encode([['insert', { c0: 1, ...cells }]], wide, as)
        const seen = record!.cells.map((json) =>
          json === null ? null : (JSON.parse(json as string) as unknown),
        )
        expect(seen).toEqual(
          values.map((value, index) => (value === null ? null : KINDS[index]!.seen(value as Value))),
        )
      }),
      { numRuns: 300 },
    )
  })
})
