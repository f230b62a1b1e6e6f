import { format, inspect } from 'node:util'
import * as Schema from 'effect/Schema'
import { describe, expect, it } from 'vitest'
import {
  type ConfigSchema,
  boolean,
  duration,
  identifier,
  integer,
  oneOf,
  secret,
  size,
  struct,
  text,
} from '../../../src/core/fields.ts'
import { Secret } from '../../../src/core/secret.ts'
import { decode } from '../../../src/runtime/config/decode.ts'
import { RiverConfig } from './test-connectors.ts'

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['1.5s', 1500],
    ['10s', 10_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
  ])('decodes %s to milliseconds', (text, ms) => {
    expect(valueOf(duration(), text)).toBe(ms)
  })

  it.each([10, '10', '10 s', '10sec', '-1s', '', 's', null, true])('refuses %j', (value) => {
    expect(reasonOf(duration(), value)).toBe('must be a duration such as 500ms, 10s, 5m or 1h')
  })

  it('names its bounds', () => {
    const reason = 'must be a duration such as 500ms, 10s, 5m or 1h, from 1s to 1m'
    expect(reasonOf(duration({ min: '1s', max: '1m' }), '999ms')).toBe(reason)
    expect(reasonOf(duration({ min: '1s', max: '1m' }), '2m')).toBe(reason)
  })
})

describe('size', () => {
  it.each([
    ['512B', 512],
    ['64KB', 64_000],
    ['64KiB', 65_536],
    ['16MB', 16_000_000],
    ['1.5MiB', 1_572_864],
    ['1GiB', 1_073_741_824],
  ])('decodes %s to bytes', (text, bytes) => {
    expect(valueOf(size(), text)).toBe(bytes)
  })

  it.each([64, '64', '64kb', '64 MB', '1TB'])('refuses %j', (value) => {
    expect(reasonOf(size(), value)).toBe('must be a size such as 64KB, 16MB or 1GiB')
  })
})

describe('integer and boolean', () => {
  it('take the text that a replaced variable gives', () => {
    expect(valueOf(integer(), '5432')).toBe(5432)
    expect(valueOf(boolean(), 'false')).toBe(false)
  })

  it.each([1.5, '1.5', 'x', '', 0, '70000', 9e99, null])('an integer refuses %j', (value) => {
    expect(reasonOf(integer({ min: 1, max: 65_535 }), value)).toBe('must be a whole number, from 1 to 65535')
  })

  it.each(['yes', 1, 'TRUE', null])('a boolean refuses %j', (value) => {
    expect(reasonOf(boolean(), value)).toBe('must be true or false')
  })
})

describe('words and names', () => {
  it('suggest the nearest word', () => {
    expect(reasonOf(oneOf('initial', 'never'), 'inital')).toBe(
      'must be one of initial, never; did you mean "initial"?',
    )
    expect(reasonOf(oneOf('initial', 'never'), 7)).toBe('must be one of initial, never')
  })

  it('say the rule of a name', () => {
    expect(reasonOf(identifier(), 'My Slot')).toContain('a-z, 0-9 and _')
    expect(reasonOf(text(), '')).toBe('must not be empty')
    expect(reasonOf(text(), 5)).toBe('must be text')
  })
})

describe('secret', () => {
  const decoded = valueOf(struct({ url: secret() }), { url: 'hunter2' }) as { readonly url: Secret }

  it('gives its text only when asked', () => {
    expect(decoded.url.reveal()).toBe('hunter2')
  })

  it.each([
    ['JSON', JSON.stringify(decoded)],
    ['inspect', inspect(decoded, { depth: 9, showHidden: true })],
    ['format', format('%s %o %j', decoded.url, decoded, decoded)],
    ['a template', `${String(decoded.url)} ${decoded.url.toString()}`],
    ['a concatenation', 'x' + (decoded.url as unknown as string)],
    ['an error', inspect(new Error(`bad ${String(decoded.url)}`, { cause: decoded }))],
    ['a copy', JSON.stringify(Object.assign({}, decoded.url))],
    ['an encoded config', JSON.stringify(Schema.encodeUnknownSync(struct({ url: secret() }))(decoded))],
  ])('is not in %s', (_where, shown) => {
    expect(shown).not.toContain('hunter2')
  })

  it('is not in the mistake about it', () => {
    expect(reasonOf(secret(), { user: 'hunter2' })).toBe('must be text')
  })
})

describe('struct', () => {
  it('fills in what is left out', () => {
    expect(valueOf(RiverConfig, { url: 'u' })).toEqual({
      url: expect.any(Secret),
      port: 5432,
      heartbeat: 10_000,
      window: 16_777_216,
      snapshot: 'initial',
      compress: false,
      schemas: [],
      settings: {},
      tls: { verify: true },
    })
  })

  it('lists every mistake, with the nearest option for an unknown one', () => {
    const result = decode(
      RiverConfig,
      {
        slt: 'x',
        slot: 'A',
        port: 'x',
        heartbeat: 10,
        snapshot: 'nevr',
        tls: { verfy: 1, ca: 2 },
        schemas: ['', 4],
      },
      ['source'],
    )
    expect(
      result.ok ? [] : result.mistakes.map(({ path, reason }) => `${path.join('.')}: ${reason}`).toSorted(),
    ).toEqual([
      'source.heartbeat: must be a duration such as 500ms, 10s, 5m or 1h, from 10ms to 1h',
      'source.port: must be a whole number, from 1 to 65535',
      'source.schemas.0: must not be empty',
      'source.schemas.1: must be text',
      'source.slot: must be at most 63 characters of a-z, 0-9 and _, and not start with a digit',
      'source.slt: unknown option, did you mean "slot"?',
      'source.snapshot: must be one of initial, never; did you mean "never"?',
      'source.tls.ca: must be text',
      'source.tls.verfy: unknown option, did you mean "verify"?',
      'source.url: is required',
    ])
  })

  it('also words the mistakes of plain Effect schemas, without values', () => {
    const foreign = Schema.Struct({
      a: Schema.String.check(Schema.isMinLength(9)),
      b: Schema.Union([Schema.String, Schema.Struct({ file: Schema.String })]),
      c: Schema.Int,
    })
    const result = decode(foreign, { a: 'hunter2', b: { fil: 'hunter2' }, c: 1.5 }, [])
    expect(
      result.ok ? [] : result.mistakes.map(({ path, reason }) => `${path.join('.')}: ${reason}`),
    ).toEqual([
      'a: must be a value with a length of at least 9',
      'b.fil: unknown option, did you mean "file"?',
      'b.file: is required',
      'c: must be an integer',
    ])
  })
})

function valueOf<Value>(schema: ConfigSchema<Value>, input: unknown): Value {
  const result = decode(schema, input, [])
  if (!result.ok) throw new Error(result.mistakes.map(({ reason }) => reason).join())
  return result.value
}

function reasonOf(schema: ConfigSchema<unknown>, input: unknown): string {
  const result = decode(schema, input, [])
  return result.ok ? 'accepted' : result.mistakes.map(({ reason }) => reason).join('; ')
}
