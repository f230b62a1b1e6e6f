import { describe, expect, it } from 'vitest'

import { PgoutputDecoder } from '../../../src/connectors/sources/postgres/decoder.ts'
import { Stop } from '../../../src/connectors/sources/postgres/frames.ts'
import { ORDINAL_LIMIT, readResume, versionAt } from '../../../src/connectors/sources/postgres/position.ts'
import { readRelation, SKIP_ALL } from '../../../src/connectors/sources/postgres/relation.ts'
import { Conversion } from '../../../src/connectors/sources/postgres/types.ts'
import type { RecordBatch } from '../../../src/core/batch.ts'
import { UNCHANGED } from '../../../src/core/canonical.ts'
import { CellState } from '../../../src/core/packed-rows.ts'
import {
  arenaOf,
  begin,
  COMMIT_TIME_MS,
  commit,
  decodedTable,
  insert,
  int32,
  int64,
  relation,
  remove,
  type TableSpec,
  truncate,
  UNCHANGED_TOAST,
  update,
} from './messages.ts'

const T = 100
const COLUMNS: TableSpec = { columns: [{ name: 'id' }, { name: 'a' }, { name: 'b' }] }

function decoderWith(spec: TableSpec = COLUMNS, start = 0n): PgoutputDecoder {
  const decoder = new PgoutputDecoder('77', start, {})
  decoder.setTable({ oid: T }, decodedTable('t', spec))
  return decoder
}

/** Decodes messages until one asks for a stop; gives that, and the batch of what was decoded. */
function decode(
  decoder: PgoutputDecoder,
  ...messages: readonly Buffer[]
): { stop: Stop; batch: RecordBatch; left: number } {
  const arena = arenaOf(...messages)
  let at = 0
  let stop: Stop = Stop.no
  let left = messages.length
  for (const message of messages) {
    stop = decoder.message(arena, at, at + message.length)
    if (stop !== Stop.before) left--
    if (stop !== Stop.no) break
    at += message.length
  }
  return { stop, batch: decoder.take(arena), left }
}

function summary(batch: RecordBatch): readonly unknown[] {
  return [...batch].map((record) => {
    if (record._tag === 'Insert') return ['insert', record.after.toObject()]
    if (record._tag === 'Update')
      return ['update', record.after.toObject(), record.before?.toObject() ?? null]
    if (record._tag === 'Delete') return ['delete', record.before.toObject()]
    if (record._tag === 'Begin') return ['begin', record.id]
    if (record._tag === 'Commit')
      return ['commit', record.id, (record.position.resume as { lsn: string }).lsn]
    return record._tag
  })
}

describe('rows', () => {
  it('decodes a transaction with inserts, updates and deletes', () => {
    const { batch, stop } = decode(
      decoderWith(),
      begin(0x100n, 9),
      insert(T, ['1', 'x', null]),
      update(T, ['1', 'ÿ🐘', '']),
      remove(T, 'K', ['1', null, null]),
      commit(0x100n, 0x130n),
    )
    expect(stop).toBe(Stop.no)
    expect(summary(batch)).toEqual([
      ['begin', '9'],
      ['insert', { id: '1', a: 'x', b: null }],
      ['update', { id: '1', a: 'ÿ🐘', b: '' }, null],
      ['delete', { id: '1' }],
      ['commit', '9', '0/130'],
    ])
    expect(batch.commitTimeMs).toBe(COMMIT_TIME_MS)
  })

  it('tells absent, NULL and unchanged apart (law L7)', () => {
    const { batch } = decode(
      decoderWith(),
      begin(1n),
      update(T, ['2', UNCHANGED_TOAST, null], { kind: 'K', cells: ['1', null, null] }),
    )
    const [, record] = [...batch]
    if (record?._tag !== 'Update') throw new Error('no update')
    expect([0, 1, 2].map((column) => record.after.state(column))).toEqual([
      CellState.present,
      CellState.unchanged,
      CellState.null,
    ])
    expect(record.after.value(1)).toBe(UNCHANGED)
    // Outside the identity a key tuple says nothing, whatever it holds.
    expect([0, 1, 2].map((column) => record.before!.state(column))).toEqual([
      CellState.present,
      CellState.absent,
      CellState.absent,
    ])
  })

  it('fills an unchanged value from the complete old row', () => {
    const { batch } = decode(
      decoderWith({ ...COLUMNS, full: true }),
      begin(1n),
      update(T, ['1', UNCHANGED_TOAST, UNCHANGED_TOAST], { kind: 'O', cells: ['1', 'large', null] }),
      update(T, ['1', UNCHANGED_TOAST, 'new'], { kind: 'O', cells: ['1', UNCHANGED_TOAST, 'old'] }),
    )
    expect(summary(batch).slice(1)).toEqual([
      ['update', { id: '1', a: 'large', b: null }, { id: '1', a: 'large', b: null }],
      ['update', { id: '1', a: UNCHANGED, b: 'new' }, { id: '1', a: UNCHANGED, b: 'old' }],
    ])
  })

  it('keeps a complete old row of a delete', () => {
    const { batch } = decode(
      decoderWith({ ...COLUMNS, full: true }),
      begin(1n),
      remove(T, 'O', ['1', 'x', null]),
    )
    expect(summary(batch)).toEqual([
      ['begin', '7'],
      ['delete', { id: '1', a: 'x', b: null }],
    ])
  })

  it('converts bytes and money in place, in both images, also where one is filled from the other', () => {
    const spec: TableSpec = {
      columns: [
        { name: 'id' },
        { name: 'bytes', type: { kind: 'bytes' } },
        { name: 'money', type: { kind: 'decimal', precision: 19, scale: 2 } },
      ],
      conversions: [Conversion.none, Conversion.hexBytes, Conversion.money],
      full: true,
    }
    const { batch } = decode(
      decoderWith(spec),
      begin(1n),
      insert(T, ['1', '\\x00ff0a', '-$1,234,567.89']),
      insert(T, ['2', '\\x', '$0.00']),
      insert(T, ['3', null, null]),
      update(T, ['1', UNCHANGED_TOAST, '$2.00'], { kind: 'O', cells: ['1', '\\xdead', '$1.00'] }),
    )
    expect(summary(batch).slice(1)).toEqual([
      ['insert', { id: '1', bytes: Uint8Array.of(0, 255, 10), money: '-1234567.89' }],
      ['insert', { id: '2', bytes: new Uint8Array(), money: '0.00' }],
      ['insert', { id: '3', bytes: null, money: null }],
      [
        'update',
        { id: '1', bytes: Uint8Array.of(0xde, 0xad), money: '2.00' },
        { id: '1', bytes: Uint8Array.of(0xde, 0xad), money: '1.00' },
      ],
    ])
  })

  it('passes rows of several tables, each with its own schema', () => {
    const decoder = decoderWith()
    decoder.setTable({ oid: 101 }, decodedTable('u', { columns: [{ name: 'k' }] }))
    decoder.setTable({ oid: 102 }, null)
    const { batch } = decode(
      decoder,
      begin(1n),
      insert(101, ['a']),
      insert(T, ['1', null, null]),
      insert(102, ['not ours']),
      insert(101, ['b']),
    )
    expect([...batch].flatMap((record) => ('table' in record ? [record.table.name] : []))).toEqual([
      'u',
      't',
      'u',
    ])
    expect(batch.tables.map(({ name }) => name)).toEqual(['u', 't'])
  })
})

describe('transactions', () => {
  it('closes a span in the middle of a transaction and continues it in the next batch', () => {
    const decoder = decoderWith()
    const first = decode(
      decoder,
      begin(0x1000n),
      insert(T, ['1', 'x', 'x']),
      insert(T, ['2', 'x', 'x']),
    ).batch
    const second = decode(decoder, insert(T, ['3', 'x', 'x'])).batch
    const third = decode(
      decoder,
      insert(T, ['4', 'x', 'x']),
      commit(0x1000n, 0x1030n),
      begin(0x2000n),
      insert(T, ['5', 'x', 'x']),
    ).batch
    expect(first.spans).toMatchObject([
      { firstRow: 0, endRow: 2, begins: true, position: null, firstOrdinal: 0, version: versionAt(0x1000n) },
    ])
    expect(second.spans).toMatchObject([
      { firstRow: 0, endRow: 1, begins: false, position: null, firstOrdinal: 2 },
    ])
    expect(third.spans).toMatchObject([
      {
        firstRow: 0,
        endRow: 1,
        begins: false,
        firstOrdinal: 3,
        version: versionAt(0x1000n),
        ordinalLimit: ORDINAL_LIMIT,
      },
      { firstRow: 1, endRow: 2, begins: true, position: null, firstOrdinal: 0, version: versionAt(0x2000n) },
    ])
    expect([first, second, third].map(({ position }) => position?.order ?? null)).toEqual([
      null,
      null,
      '0000000000001030.00000000',
    ])
    expect([first, second, third].map(({ endsInTransaction }) => endsInTransaction)).toEqual([
      true,
      true,
      true,
    ])
    expect(
      [first, second, third].flatMap((batch) => summary(batch).map((entry) => (entry as string[])[0])),
    ).toEqual(['begin', 'insert', 'insert', 'insert', 'insert', 'commit', 'begin', 'insert'])
  })

  it('ends a transaction whose rows were all handed over before its commit came', () => {
    const decoder = decoderWith()
    decode(decoder, begin(0x1000n), insert(T, ['1', 'x', 'x']))
    expect(decoder.hasRows).toBe(false)
    const { batch } = decode(decoder, commit(0x1000n, 0x1030n))
    expect(summary(batch)).toEqual([['commit', '7', '0/1030']])
    expect(batch.rowCount).toBe(0)
  })

  it('makes nothing of transactions without rows of ours, but knows where they end', () => {
    const decoder = decoderWith()
    decoder.message(begin(0x1000n) as never, 0, 21)
    expect(decoder.inTransaction).toBe(true)
    decoder.message(commit(0x1000n, 0x1030n) as never, 0, 26)
    expect(decoder.inTransaction).toBe(false)
    expect(decoder.hasRows).toBe(false)
    expect(decoder.lastCommit).toBe(0x1030n)
  })

  it('gives the position of the last commit of a batch, with the tables of that moment', () => {
    const decoder = decoderWith()
    const table = {
      oid: T,
      copiedAt: '0/1',
      types: [],
      file: 1,
      lastNumber: 1,
      membership: '1/1',
      changedBy: {},
      schema: decodedTable('t', COLUMNS).schema,
    }
    const row = insert(T, ['1', 'x', 'x'])
    decoder.resumeTables = { 'public.t': table }
    const { batch } = decode(
      decoder,
      begin(0xff_0000_0010n),
      row,
      commit(0xff_0000_0010n, 0xff_ffff_fff0n),
      begin(0x100_0000_0000n),
      row,
      commit(0x100_0000_0000n, 0x100_0000_0030n),
    )
    expect(batch.spans.map(({ position }) => position?.order)).toEqual([
      '000000fffffffff0.00000000',
      '0000010000000030.00000000',
    ])
    expect(batch.position).toBe(batch.spans[1]!.position)
    expect(readResume(batch.position!)).toEqual({
      lsn: '100/30',
      system: '77',
      tables: { 'public.t': table },
    })
  })

  it('skips commits that start before the resume position, not the one that starts there', () => {
    const decoder = decoderWith(COLUMNS, 0x2000n)
    const row = (id: string): Buffer => insert(T, [id, 'x', 'x'])
    const { batch } = decode(
      decoder,
      begin(0x1fffn),
      row('1'),
      commit(0x1fffn, 0x2000n),
      begin(0x2000n),
      row('2'),
      commit(0x2000n, 0x2030n),
    )
    expect(summary(batch)).toEqual([
      ['begin', '7'],
      ['insert', { id: '2', a: 'x', b: 'x' }],
      ['commit', '7', '0/2030'],
    ])
  })

  it('skips rows that are in the copy of their table, by commit, for each table on its own', () => {
    const decoder = new PgoutputDecoder('77', 0n, {})
    decoder.setTable({ oid: 1 }, decodedTable('early', { columns: [{ name: 'id' }], skipBelow: 0x1000n }))
    decoder.setTable({ oid: 2 }, decodedTable('late', { columns: [{ name: 'id' }], skipBelow: 0x2000n }))
    decoder.setTable({ oid: 3 }, decodedTable('never', { columns: [{ name: 'id' }], skipBelow: SKIP_ALL }))
    const rows = (id: string): Buffer[] => [insert(1, [id]), insert(2, [id]), insert(3, [id])]
    const { batch } = decode(
      decoder,
      begin(0xfffn),
      ...rows('a'),
      commit(0xfffn, 0x1000n),
      begin(0x1000n),
      ...rows('b'),
      commit(0x1000n, 0x1500n),
      begin(0x1fffn),
      ...rows('c'),
      commit(0x1fffn, 0x2000n),
      begin(0x2000n),
      ...rows('d'),
      commit(0x2000n, 0x2030n),
    )
    const rowsOf = [...batch].flatMap((record) =>
      record._tag === 'Insert' ? [`${record.table.name} ${String(record.after.value(0))}`] : [],
    )
    expect(rowsOf).toEqual(['early b', 'early c', 'early d', 'late d'])
  })

  it('skips rows at once when a table is defined within a transaction that its copy covers', () => {
    const decoder = decoderWith()
    decode(decoder, begin(0x1000n), insert(T, ['1', 'x', 'x']))
    decoder.setTable({ oid: T }, decodedTable('t', { ...COLUMNS, skipBelow: 0x1001n }))
    expect(summary(decode(decoder, insert(T, ['2', 'x', 'x']), commit(0x1000n, 0x1030n)).batch)).toEqual([
      ['commit', '7', '0/1030'],
    ])
  })
})

describe('what needs attention', () => {
  it('stops after every relation, also a repeated one', () => {
    const decoder = decoderWith()
    const message = relation(200, 'näme', [
      { name: 'id', identity: true, type: 23 },
      { name: 'n', type: 1700, modifier: 786_438 },
    ])
    for (let i = 0; i < 2; i++) {
      expect(decode(decoder, begin(1n), message).stop).toBe(Stop.after)
      expect(decoder.attention).toEqual({
        kind: 'relation',
        relation: {
          oid: 200,
          namespace: 'public',
          name: 'näme',
          columns: [
            { name: 'id', type: 23, modifier: -1, identity: true },
            { name: 'n', type: 1700, modifier: 786_438, identity: false },
          ],
        },
      })
    }
  })

  it('reads OIDs above 2^31 and an empty namespace', () => {
    const parsed = readRelation(relation(0xffff_fff0, 'pg_x', [{ name: 'a', type: 0xffff_0000 }], ''))
    expect(parsed).toMatchObject({
      oid: 0xffff_fff0,
      namespace: 'pg_catalog',
      columns: [{ type: 0xffff_0000 }],
    })
  })

  it('stops after a truncate with the tables that are ours, in the transaction', () => {
    const decoder = decoderWith()
    decoder.setTable({ oid: 101 }, decodedTable('u', { columns: [{ name: 'k' }] }))
    decoder.setTable({ oid: 102 }, null)
    decoder.setTable(
      { oid: 103 },
      decodedTable('copied later', { columns: [{ name: 'k' }], skipBelow: SKIP_ALL }),
    )
    const { stop, batch } = decode(decoder, begin(1n), truncate([101, T, 102, 103], 3))
    expect(stop).toBe(Stop.after)
    expect(decoder.attention).toMatchObject({ kind: 'truncate', tables: [{ name: 'u' }, { name: 't' }] })
    // The begin is told before the truncate although no row precedes it.
    expect(summary(batch)).toEqual([['begin', '7']])
    expect(summary(decode(decoder, commit(1n, 2n)).batch)).toEqual([['commit', '7', '0/2']])
  })

  it('passes over a truncate that the copy or an earlier run has seen', () => {
    const skipped = decoderWith({ ...COLUMNS, skipBelow: 0x1000n })
    expect(decode(skipped, begin(0xfffn), truncate([T])).stop).toBe(Stop.no)
    const handled = decoderWith(COLUMNS, 0x1000n)
    expect(decode(handled, begin(0xfffn), truncate([T]), commit(0xfffn, 0x1000n)).stop).toBe(Stop.no)
    expect(handled.hasRows).toBe(false)
  })

  it.each([
    ['insert', insert(T, ['2', null, null])],
    ['update', update(T, ['2', null, null])],
    ['update with a key', update(T, ['2', null, null], { kind: 'K', cells: ['1', null, null] })],
    ['update with an old row', update(T, ['2', null, null], { kind: 'O', cells: ['1', 'x', 'x'] })],
  ])(
    'takes back a row with NULL in a column that is not nullable, and decodes it again: %s',
    (_, message) => {
      const strict: TableSpec = {
        columns: [
          { name: 'id', nullable: false },
          { name: 'a', nullable: false },
          { name: 'b', nullable: false },
        ],
      }
      const decoder = decoderWith(strict)
      const { stop, batch, left } = decode(
        decoder,
        begin(1n),
        insert(T, ['1', 'x', 'x']),
        message,
        commit(1n, 2n),
      )
      expect(stop).toBe(Stop.before)
      expect(left).toBe(2)
      expect(decoder.attention).toEqual({ kind: 'nullable', oid: T, columns: [1, 2] })
      expect(summary(batch)).toEqual([
        ['begin', '7'],
        ['insert', { id: '1', a: 'x', b: 'x' }],
      ])
      decoder.setTable({ oid: T }, decodedTable('t', COLUMNS))
      const again = decode(decoder, message, commit(1n, 2n)).batch
      expect(again.rowCount).toBe(1)
      expect([...again].at(-2)).toMatchObject({ after: expect.anything() })
      expect(again.spans).toMatchObject([{ begins: false, firstOrdinal: 1 }])
    },
  )

  it('does not mind NULL in a key tuple of columns that are not nullable', () => {
    const strict: TableSpec = {
      columns: [
        { name: 'id', nullable: false },
        { name: 'a', nullable: false },
      ],
    }
    expect(decode(decoderWith(strict), begin(1n), remove(T, 'K', ['1', null])).stop).toBe(Stop.no)
  })
})

describe('messages that are not understood stop (law L5)', () => {
  it.each([
    ['an unknown message', Buffer.from('S'), 'postgres/unknown-message'],
    ['a row of a relation that was not described', insert(999, ['1']), 'postgres/unknown-relation'],
    ['a truncate of one', truncate([999]), 'postgres/unknown-relation'],
    ['fewer columns', insert(T, ['1']), 'postgres/tuple-width'],
    ['more columns', insert(T, ['1', '2', '3', '4']), 'postgres/tuple-width'],
    [
      'a binary value',
      Buffer.concat([
        Buffer.from('I'),
        int32(T),
        Buffer.from('N'),
        Buffer.from([0, 3]),
        Buffer.from('b'),
        int32(1),
        Buffer.from('x'),
      ]),
      'postgres/tuple-kind',
    ],
  ])('%s', (_, message, code) => {
    expect(() => decode(decoderWith(), begin(1n), message)).toThrow(
      expect.objectContaining({ code }) as Error,
    )
  })

  it('passes over types, origins and logical messages', () => {
    const type = Buffer.concat([Buffer.from('Y'), int32(1), Buffer.from('\0x\0')])
    const origin = Buffer.concat([Buffer.from('O'), int64(1n), Buffer.from('o\0')])
    const message = Buffer.concat([
      Buffer.from('M'),
      Buffer.from([1]),
      int64(1n),
      Buffer.from('p\0'),
      int32(0),
    ])
    expect(decode(decoderWith(), begin(1n), origin, type, message).stop).toBe(Stop.no)
  })
})
