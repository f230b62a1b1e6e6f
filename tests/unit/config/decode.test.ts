import { describe, expect, it } from 'vitest'
import { selectTables } from '../../../src/core/selection.ts'
import { decodeConfig } from '../../../src/runtime/config/decode.ts'
import { defaultLimits } from '../../../src/runtime/definition.ts'
import { testConnectors, valid } from './test-connectors.ts'

describe('decodeConfig', () => {
  it('fills in what is left out, with the defaults of the runtime', () => {
    const result = decodeConfig(valid, testConnectors())
    expect(result).toMatchObject({
      ok: true,
      value: {
        name: 'shop',
        tables: [],
        connectors: [],
        buffer: defaultLimits.bufferBytes,
        checkpoint: { store: 'sqlite', interval: defaultLimits.checkpointIntervalMs },
        retry: { budget: defaultLimits.retryBudgetMs, startBudget: defaultLimits.startBudgetMs },
        shutdown: { deadline: defaultLimits.shutdownDeadlineMs },
        log: { level: 'info', format: 'text' },
        source: { connector: { type: 'river' }, options: { port: 5432 } },
        sinks: [
          { name: 'main', connector: { type: 'lake' }, options: { path: '/data', flushInterval: 1000 } },
        ],
      },
    })
  })

  it.each<[string, unknown, string]>([
    [
      'an unknown source',
      { source: { type: 'rivr' } },
      'source.type: unknown source "rivr", did you mean "river"? (known: river)',
    ],
    [
      'an unknown sink',
      { sinks: { main: { type: 'x9' } } },
      'sinks.main.type: unknown sink "x9" (known: lake)',
    ],
    ['a missing type', { source: { url: 'u' } }, 'source.type: is required; known: river'],
    ['a type that is not text', { source: { type: 5 } }, 'source.type: must be text'],
    ['a source that is not a group', { source: 'river' }, 'source: must be a group of options'],
    ['a missing source', { source: undefined }, 'source: must be a group of options'],
    ['a missing option', { source: { type: 'river' } }, 'source.url: is required'],
    [
      'an unknown option',
      { source: { ...valid.source, slt: 1 } },
      'source.slt: unknown option, did you mean "slot"?',
    ],
    ['a wrong type', { source: { ...valid.source, schemas: 'public' } }, 'source.schemas: must be a list'],
    [
      'an empty value',
      { source: { ...valid.source, tls: null } },
      'source.tls: is empty; must be a group of options',
    ],
    [
      'a bad duration',
      { retry: { budget: '1 hour' } },
      'retry.budget: must be a duration such as 500ms, 10s, 5m or 1h',
    ],
    ['an unknown key', { checkpont: {} }, 'checkpont: unknown option, did you mean "checkpoint"?'],
    ['a bad name', { name: 'My Shop' }, 'name: must be at most 40 characters of a-z, 0-9, _ and -'],
    ['a long name', { name: 'x'.repeat(41) }, 'name: must be at most 40 characters of a-z, 0-9, _ and -'],
    ['no sink', { sinks: {} }, 'sinks: needs at least one sink'],
    ['a sink that is not a group', { sinks: { main: 'lake' } }, 'sinks.main: must be a group of options'],
    ['sinks as a list', { sinks: [] }, 'sinks: must be a group of options'],
    [
      'a bad sink name',
      { sinks: { 'Main Lake': valid.sinks.main } },
      'sinks.Main Lake: is not a name for a sink: use at most 40 characters of a-z, 0-9, _ and -',
    ],
    [
      'a table without a namespace',
      { tables: ['public.*', 'orders'] },
      'tables.1: must be namespace.table, as in public.orders; * and ? are wildcards, ! in front excludes',
    ],
  ])('refuses %s', (_case, change, expected) => {
    expect(mistakes({ ...valid, ...(change as object) })).toEqual([expected])
  })

  it.each([null, 'text', [], 5])('refuses a file that holds %j', (input) => {
    expect(mistakes(input)[0]).toContain('must be a group of options')
  })

  it('lists the mistakes of all parts at once', () => {
    const input = {
      name: 'shop',
      source: { type: 'river', port: 'x' },
      sinks: { a: { type: 'lake' }, b: { type: 'lke' }, c: { type: 'lake', path: 1, flushInterval: '1' } },
      buffer: '64 MB',
      log: { level: 'verbose' },
    }
    expect(mistakes(input).map((line) => line.split(':')[0])).toEqual([
      'buffer',
      'log.level',
      'sinks.a.path',
      'sinks.b.type',
      'sinks.c.flushInterval',
      'sinks.c.path',
      'source.port',
      'source.url',
    ])
  })

  it('takes the table patterns that the selection understands', () => {
    const result = decodeConfig(
      { ...valid, tables: ['public.*', '!public.audit', 'app_?.orders', '*'] },
      testConnectors(),
    )
    const selection = selectTables(result.ok ? result.value.tables : [])
    expect(selection.includes('public', 'orders')).toBe(true)
    expect(selection.includes('public', 'audit')).toBe(false)
  })

  it('never shows a value', () => {
    const input = {
      ...valid,
      name: 'hunter2!',
      source: { type: 'river', url: ['hunter2'], port: 'hunter2', snapshot: 'hunter2' },
    }
    expect(mistakes(input)).toHaveLength(4)
    expect(mistakes(input).join()).not.toContain('hunter2')
  })
})

function mistakes(input: unknown): readonly string[] {
  const result = decodeConfig(input, testConnectors())
  return result.ok ? [] : result.mistakes.map(({ path, reason }) => `${path.join('.')}: ${reason}`).toSorted()
}
