/** The compiler is the test: an error that is expected and does not come fails `tsc`. */
import { describe, expect, it } from 'vitest'
import { defineConfig, thirdParty } from '../../../src/runtime/config/define.ts'

describe('defineConfig', () => {
  it('returns what it is given', () => {
    const config = {
      name: 'shop',
      source: { type: 'memory', database: 'a', heartbeat: '500ms' },
      sinks: { main: { type: 'memory', target: 'b' } },
      tables: ['public.*', '!public.audit'],
      buffer: '16MiB',
    } as const
    expect(defineConfig(config)).toBe(config)
  })

  it('takes placeholders wherever a value may stand', () => {
    const config = defineConfig({
      name: '${NAME}',
      source: {
        type: 'memory',
        database: '${DB}',
        partialUpdates: '${PARTIAL:false}',
        heartbeat: '${BEAT:1s}',
      },
      sinks: { main: { type: 'memory', target: 'b' } },
      log: { level: '${LEVEL:info}' },
    })
    expect(config.log).toEqual({ level: '${LEVEL:info}' })
  })

  it('takes connectors of third parties, when they are marked as such', () => {
    const config = defineConfig({
      name: 'shop',
      connectors: ['@acme/connectors'],
      source: thirdParty({ type: 'acme', anything: [1, { two: 2 }] }),
      sinks: { main: thirdParty({ type: 'acme', path: '/data' }) },
    })
    expect(config.sinks['main']).toEqual({ type: 'acme', path: '/data' })
  })

  it('marks mistakes at the property', () => {
    const sinks = { main: { type: 'memory', target: 'b' } } as const
    expect(defineConfig({ name: 'shop', source: { type: 'memory', database: 'a' }, sinks }).name).toBe('shop')
    // @ts-expect-error -- A source needs its required options.
    defineConfig({ name: 'shop', sinks, source: { type: 'memory' } })
    defineConfig({
      name: 'shop',
      sinks,
      // @ts-expect-error -- There is no such source.
      source: { type: 'memry', database: 'a' },
    })
    defineConfig({
      name: 'shop',
      sinks,
      // @ts-expect-error -- The source has no such option.
      source: { type: 'memory', database: 'a', hartbeat: '1s' },
    })
    defineConfig({
      name: 'shop',
      sinks,
      // @ts-expect-error -- A duration has a unit.
      source: { type: 'memory', database: 'a', heartbeat: '1000' },
    })
    defineConfig({
      name: 'shop',
      source: { type: 'memory', database: 'a' },
      // @ts-expect-error -- The sink has no such mode.
      sinks: { main: { type: 'memory', target: 'b', durable: 'never' } },
    })
    defineConfig({
      name: 'shop',
      source: { type: 'memory', database: 'a' },
      sinks,
      // @ts-expect-error -- There is no such option.
      bufer: '1MiB',
    })
    // @ts-expect-error -- A pipeline has a name.
    defineConfig({ source: { type: 'memory', database: 'a' }, sinks })
  })
})
