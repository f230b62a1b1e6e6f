import { describe, expect, it } from 'vitest'
import { createLogger } from '../../../src/runtime/config/log.ts'

describe('createLogger', () => {
  it('writes one line of text, also for a message with line breaks', () => {
    const { log, lines } = capture('text')
    log.info('first\nsecond', { table: 'public.a b', rows: 5, note: '', missing: undefined, none: null })
    expect(lines).toEqual([
      '1970-01-01T00:00:00.000Z info  first second table="public.a b" rows=5 note="" none=null',
    ])
  })

  it('writes one object per line', () => {
    const { log, lines } = capture('json')
    log.error('failed', { code: 'a/b' })
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"error","message":"failed","code":"a/b"}',
    ])
  })

  it('leaves out what is less important than its level', () => {
    const { log, lines } = capture('text', 'warn')
    log.debug('1')
    log.info('2')
    log.warn('3')
    log.error('4')
    expect(lines).toHaveLength(2)
  })
})

function capture(format: 'text' | 'json', level: 'debug' | 'warn' = 'debug') {
  const lines: string[] = []
  return {
    log: createLogger(
      { format, level },
      (line) => lines.push(line),
      () => 0,
    ),
    lines,
  }
}
