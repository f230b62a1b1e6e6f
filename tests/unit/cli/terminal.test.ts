import { describe, expect, it } from 'vitest'
import { Rates, statusFields, statusLine } from '../../../src/cli/progress.ts'
import { Terminal } from '../../../src/cli/terminal.ts'
import type { PipelineStatus } from '../../../src/runtime/telemetry.ts'

const CLEAR = '\r\u001b[2K'

describe('Terminal', () => {
  it('keeps the status line below everything else', () => {
    const { terminal, err } = open({ isTTY: true })
    terminal.status('1 row')
    terminal.note('a log line')
    terminal.status('2 rows')
    terminal.status('')
    expect(err()).toBe(`1 row${CLEAR}a log line\n1 row${CLEAR}2 rows${CLEAR}`)
  })

  it('cuts the status line to the width of the terminal', () => {
    const { terminal, err } = open({ isTTY: true, columns: 10 })
    terminal.status('0123456789abcdef')
    expect(err()).toBe('012345678')
  })

  it('replaces a status of several lines, each cut to the width', () => {
    const { terminal, err } = open({ isTTY: true, columns: 6 })
    terminal.status('12345678\nabc\nx')
    terminal.note('log')
    terminal.status('')
    const clear = `${CLEAR}\u001b[1A\u001b[2K\u001b[1A\u001b[2K`
    expect(err()).toBe(`12345\nabc\nx${clear}log\n12345\nabc\nx${clear}`)
  })

  it('has neither status line nor colours when nobody watches', () => {
    const { terminal, err } = open({})
    terminal.status('1 row')
    terminal.note(terminal.paint('red', 'plain'))
    expect(err()).toBe('plain\n')
  })

  it('uses colours on a terminal, unless NO_COLOR is set', () => {
    expect(open({ isTTY: true }).terminal.paint('red', 'x')).toBe('\u001b[31mx\u001b[39m')
    expect(open({ isTTY: true }, { NO_COLOR: '1' }).terminal.paint('red', 'x')).toBe('x')
    expect(open({ isTTY: true }, { NO_COLOR: '' }).terminal.paint('red', 'x')).not.toBe('x')
  })
})

describe('progress', () => {
  const status: PipelineStatus = {
    pipeline: 'shop',
    phase: 'copying',
    copy: { tablesDone: 3, tablesTotal: 10, rows: 1_234_567, rowsTotal: 4_000_000 },
    rowsCopied: 0,
    changes: 0,
    transactions: 0,
    bytes: 0,
    lagMs: null,
    latencyMs: null,
    saved: null,
    lastError: null,
    nextRetryAtMs: null,
    attempts: 1,
    sinks: [],
  }

  it('shows the copy with its rate', () => {
    const rates = new Rates()
    rates.update(status, 1000)
    rates.update({ ...status, rowsCopied: 50_000, changes: 20 }, 3000)
    expect(statusLine({ ...status, changes: 20 }, rates)).toBe(
      'copying  3 of 10 tables  1,234,567 of about 4,000,000 rows  25,000 rows/s  20 changes  10 changes/s',
    )
  })

  it('shows changes and lag, and why it waits', () => {
    const lastError = { code: 'a/b', message: 'connection refused', atMs: 0 }
    const streaming = { ...status, phase: 'streaming', copy: null, changes: 7, lagMs: 2500 } as const
    expect(statusLine(streaming, new Rates())).toBe('streaming  7 changes  0 changes/s  lag 2.5 s')
    expect(statusLine({ ...streaming, phase: 'retrying', lastError }, new Rates())).toContain(
      'connection refused',
    )
    expect(statusFields(streaming, new Rates())).toEqual({
      phase: 'streaming',
      changes: 7,
      changesPerSecond: 0,
      lagMs: 2500,
    })
  })
})

function open(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  environment: Readonly<Record<string, string>> = {},
) {
  let text = ''
  const err = { ...stream, write: (part: string) => (text += part) }
  return { terminal: new Terminal({ write: () => {} }, err, environment), err: () => text }
}
