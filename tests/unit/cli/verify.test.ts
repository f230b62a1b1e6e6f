import { describe, expect, it } from 'vitest'
import { Terminal } from '../../../src/cli/terminal.ts'
import { verify } from '../../../src/cli/verify.ts'
import { progressLine, reportLines } from '../../../src/cli/verify-report.ts'
import type { TableReport, VerifyReport } from '../../../src/runtime/verify/report.ts'

const silent = new Terminal({ write: () => {} }, { write: () => {} }, {})

function table(name: string, more: Partial<TableReport> = {}): TableReport {
  return {
    table: name,
    equal: false,
    rows: 1200,
    ranges: { compared: 3, of: 3 },
    missing: 0,
    extra: 0,
    different: 0,
    unsettled: 0,
    columns: [],
    problems: [],
    stopped: false,
    ...more,
  }
}

function report(tables: readonly TableReport[], more: Partial<VerifyReport> = {}): VerifyReport {
  return {
    pipeline: 'shop',
    sink: 'lake',
    equal: tables.every(({ equal }) => equal),
    running: true,
    position: '1',
    sample: null,
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    seconds: 2.345,
    tables,
    ...more,
  }
}

describe('the options of verify and repair', () => {
  it.each([
    [{ sample: 'some' }, '--sample must be a part of the whole, such as 5% or 0.05'],
    [{ sample: '0' }, '--sample must be a part of the whole, such as 5% or 0.05'],
    [{ sample: '101%' }, '--sample must be a part of the whole, such as 5% or 0.05'],
    [{ sample: '-5%' }, '--sample must be a part of the whole, such as 5% or 0.05'],
    [{ sample: '5%', seed: 'x' }, '--seed must be a whole number below 2^32'],
    [{ sample: '5%', seed: '4294967296' }, '--seed must be a whole number below 2^32'],
    [{ seed: '1' }, '--seed goes with --sample'],
    [{ timeout: '5' }, '--timeout must be a duration such as 30s or 5m, at least 1s'],
    [{ timeout: '10ms' }, '--timeout must be a duration such as 30s or 5m, at least 1s'],
  ])('refuse %j', async (options, message) => {
    const args = { command: 'verify', config: 'nowhere.yaml', options } as const
    await expect(verify(args, silent)).rejects.toMatchObject({ code: 'cli/usage', message })
  })

  it.each([{ sample: '5%' }, { sample: '0.05', seed: '7' }, { sample: '100%' }, { timeout: '5m' }])(
    'take %j',
    async (options) => {
      const args = { command: 'verify', config: 'nowhere.yaml', options } as const
      await expect(verify(args, silent)).rejects.toMatchObject({
        message: expect.stringContaining('nowhere.yaml does not exist'),
      })
    },
  )
})

describe('the report', () => {
  it('is one line when all is equal', () => {
    const tables = [table('public.a', { equal: true }), table('public.b', { equal: true })]
    expect(reportLines(report(tables))).toEqual(['equal: 2,400 rows in 2 tables compared in 2.3 s'])
  })

  it('shows the tables that differ, with counts and columns', () => {
    const lines = reportLines(
      report([
        table('public.orders', { missing: 1, different: 1200, columns: ['total', 'note'] }),
        table('public.fine', { equal: true }),
        table('public.x', { extra: 7, stopped: true, unsettled: 2 }),
        table('public.gone', { rows: 0, problems: ['the table shop.gone does not exist'] }),
      ]),
    )
    expect(lines).toEqual([
      'table           rows  missing       extra  different  unsettled  columns',
      'public.orders  1,200        1           0      1,200          0  total, note',
      'public.x       1,200        0  at least 7          0          2',
      'public.gone        0        0           0          0          0',
      'public.x: not compared any further: there are too many differences',
      'public.gone: the table shop.gone does not exist',
      'not equal: 1,208 rows differ in 3 of 4 tables, 2 rows that change all the time are unsettled; 3,600 rows in 4 tables compared in 2.3 s',
    ])
  })

  it('shows what was repaired', () => {
    const lines = reportLines(report([table('public.orders', { equal: true, repaired: 5 })]))
    expect(lines).toEqual([
      'table           rows  missing  extra  different  unsettled  repaired  columns',
      'public.orders  1,200        0      0          0          0         5',
      'equal: 1,200 rows in 1 table compared in 2.3 s',
    ])
  })

  it('says how much of it was compared', () => {
    const tables = [table('public.a', { equal: true, ranges: { compared: 3, of: 1000 } })]
    const lines = reportLines(report(tables, { sample: { fraction: 0.003, seed: 42 } }))
    expect(lines.at(-1)).toBe(
      'equal: 1,200 rows in 1 table compared in 2.3 s, a sample of 3 of 1,000 key ranges (seed 42)',
    )
  })

  it('shows values when it has them', () => {
    const examples = [
      {
        kind: 'different',
        key: { id: '7', region: null },
        columns: [{ name: 'note', source: null, sink: 'a "b"' }],
      },
      {
        kind: 'missing',
        key: { id: '8' },
        columns: [
          { name: 'id', source: '8' },
          { name: 'note', source: 'x' },
        ],
      },
    ] as const
    expect(reportLines(report([table('public.a', { different: 1, examples })]))).toEqual(
      expect.arrayContaining([
        'public.a: different id="7", region=NULL; note: source NULL, sink "a \\"b\\""',
        'public.a: missing id="8"; note: source "x"',
      ]),
    )
  })

  it('tells how far it is', () => {
    const progress = {
      phase: 'comparing',
      tablesDone: 1,
      tablesTotal: 3,
      rows: 500_000,
      rowsTotal: 2_000_000,
    } as const
    expect(progressLine(progress, 2000)).toBe(
      '[#####...............] comparing  1 of 3 tables  500,000 of about 2,000,000 rows  250,000 rows/s',
    )
    expect(progressLine({ ...progress, phase: 'waiting', rows: 0, rowsTotal: 0 }, 10)).toBe(
      '[....................] waiting for the pipeline  1 of 3 tables  0 rows',
    )
  })
})
