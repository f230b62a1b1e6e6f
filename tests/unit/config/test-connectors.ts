import {
  boolean,
  described,
  duration,
  identifier,
  integer,
  list,
  oneOf,
  optional,
  record,
  secret,
  size,
  struct,
  text,
  withDefault,
} from '../../../src/core/fields.ts'
import { defineSink, defineSource, Registry } from '../../../src/core/registry.ts'
import type { Sink } from '../../../src/core/sink.ts'
import type { Source } from '../../../src/core/source.ts'
import type { Connectors } from '../../../src/runtime/config/connectors.ts'

/** A config with one option of every kind. */
export const RiverConfig = struct({
  url: secret().pipe(described('Address, with user and password.')),
  slot: identifier().pipe(described('Name of the slot.'), optional),
  port: integer({ min: 1, max: 65_535 }).pipe(described('Port.'), withDefault(5432)),
  heartbeat: duration({ min: '10ms', max: '1h' }).pipe(described('How often.'), withDefault('10s')),
  window: size({ min: '1KiB' }).pipe(described('How much.'), withDefault('16MiB')),
  snapshot: oneOf('initial', 'never').pipe(described('Whether to copy | first.'), withDefault('initial')),
  compress: boolean().pipe(described('Whether to compress.'), withDefault(false)),
  schemas: list(text()).pipe(described('Schemas.'), withDefault([])),
  settings: record(text()).pipe(described('Settings of the session.'), withDefault({})),
  tls: struct({
    ca: text().pipe(described('Certificate.'), optional),
    verify: boolean().pipe(described('Whether to verify.'), withDefault(true)),
  }).pipe(withDefault({})),
})

const river = defineSource({
  type: 'river',
  summary: 'A source for tests',
  config: RiverConfig,
  load: () => Promise.reject<() => Source>(new Error('not used')),
})

const lake = defineSink({
  type: 'lake',
  summary: 'A sink for tests',
  config: struct({
    path: text().pipe(described('Where to write.')),
    flushInterval: duration().pipe(described('How long rows wait.'), withDefault('1s')),
  }),
  load: () => Promise.reject<() => Sink>(new Error('not used')),
})

export function testConnectors(): Connectors {
  return { sources: new Registry<Source>('source', [river]), sinks: new Registry<Sink>('sink', [lake]) }
}

/** A config without mistakes; change parts of it for the case. */
export const valid = {
  name: 'shop',
  source: { type: 'river', url: 'river://user:hunter2@host/db' },
  sinks: { main: { type: 'lake', path: '/data' } },
}
