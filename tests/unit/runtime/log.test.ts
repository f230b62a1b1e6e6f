import { describe, expect, it } from 'vitest'
import { createLogger } from '../../../src/runtime/log.ts'

function logger(format: 'human' | 'json', level: 'debug' | 'info' = 'info') {
  const lines: string[] = []
  const clock = { ms: Date.UTC(2026, 0, 2, 3, 4, 5, 6) }
  const log = createLogger({
    format,
    level,
    write: (line) => lines.push(line),
    colour: false,
    now: () => clock.ms,
  })
  return { log, lines, clock }
}

describe('the log', () => {
  it('is one line for people, with the fields that have a value', () => {
    const { log, lines } = logger('human')
    log.info('connected', { tables: 3, from: null, sink: undefined })
    log.error('it failed:\n  at once')
    expect(lines).toEqual([
      '03:04:05.006 INFO  connected  tables=3\n',
      '03:04:05.006 ERROR it failed: | at once\n',
    ])
  })

  it('is one JSON object for machines', () => {
    const { log, lines } = logger('json')
    log.warn('slow', { sink: 'ch' })
    expect(JSON.parse(lines[0]!)).toEqual({
      time: '2026-01-02T03:04:05.006Z',
      level: 'warn',
      message: 'slow',
      sink: 'ch',
    })
  })

  it('leaves out what is less severe than the level', () => {
    const { log, lines } = logger('human')
    log.debug('detail')
    expect(lines).toEqual([])
  })

  it('holds a line back that repeats, and says later how often', () => {
    const { log, lines, clock } = logger('human')
    for (let count = 0; count < 100; count++) log.warn('lost')
    expect(lines.length).toBe(5)
    log.warn('something else')
    expect(lines.length).toBe(6)
    clock.ms += 11_000
    log.warn('lost')
    expect(lines.at(-1)).toContain('repeated=95')
  })
})
