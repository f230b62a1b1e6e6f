/** Everything in a config file that does not belong to a connector. */
import * as Schema from 'effect/Schema'
import {
  described,
  duration,
  identifier,
  list,
  oneOf,
  optional,
  record,
  size,
  struct,
  text,
  withDefault,
} from '../../core/fields.ts'
import { MappingOptions } from './mapping-options.ts'

const name = identifier({
  pattern: /^[a-z0-9_-]{1,40}$/u,
  rule: 'must be at most 40 characters of a-z, 0-9, _ and -',
})

// What a pattern without a dot and without a star selects is nothing at all, so it is refused.
const tablePattern = text().check(
  Schema.isPattern(/^!?([^!]*[.*][^!]*)$/u, {
    message: 'must be namespace.table, as in public.orders; * and ? are wildcards, ! in front excludes',
  }),
)

/** The options of connectors are only groups here: `decode.ts` decodes them in a second phase. */
const connector = record(Schema.Unknown)

export const Envelope = struct({
  name: name.pipe(
    described(
      'Name of the pipeline. Keeps its checkpoint apart from others and is the base of names on servers.',
    ),
  ),
  source: connector.pipe(described('Where changes are read from: `type` and the options of that source.')),
  sinks: record(connector).pipe(
    described(
      'Where changes are written to: a name of your choice for each, then `type` and the options of that sink.',
    ),
  ),
  tables: list(tablePattern).pipe(
    described(
      'Tables to replicate, as `namespace.table` with `*` and `?`; `!` in front excludes. All when empty.',
    ),
    withDefault([]),
  ),
  mapping: MappingOptions.pipe(
    described('How tables are made of collections, or of other tables, see docs/mapping.md.'),
    optional,
  ),
  connectors: list(text()).pipe(
    described('Packages or files (relative to this one) that bring connectors of third parties.'),
    withDefault([]),
  ),
  buffer: size({ min: '1MiB' }).pipe(
    described('Memory for changes that are read and not yet written, over all sinks.'),
    withDefault('64MiB'),
  ),
  checkpoint: struct({
    store: oneOf('sqlite', 'memory').pipe(
      described('Where positions are kept. `memory` forgets them at exit: every start copies again.'),
      withDefault('sqlite'),
    ),
    path: text().pipe(
      described('File of the sqlite store, relative to this file. Default: `.sluice/<name>.db`.'),
      optional,
    ),
    interval: duration({ min: '10ms', max: '1h' }).pipe(
      described('Positions are saved at most this often.'),
      withDefault('1s'),
    ),
  }).pipe(described('Where the pipeline keeps how far it is.'), withDefault({})),
  retry: struct({
    budget: duration().pipe(
      described('How long failures in a row are retried without progress before the pipeline ends.'),
      withDefault('1h'),
    ),
    startBudget: duration().pipe(
      described('The same before the first successful connection.'),
      withDefault('30s'),
    ),
  }).pipe(described('What happens after a failure that may pass.'), withDefault({})),
  shutdown: struct({
    deadline: duration({ min: '1s' }).pipe(
      described('How long a stop may take to write what was read before it is cut short.'),
      withDefault('25s'),
    ),
  }).pipe(described('What happens at SIGTERM and SIGINT.'), withDefault({})),
  log: struct({
    level: oneOf('debug', 'info', 'warn', 'error').pipe(
      described('The least important lines to write.'),
      withDefault('info'),
    ),
    format: oneOf('text', 'json').pipe(
      described('`json` writes one object per line, for log collectors.'),
      withDefault('text'),
    ),
  }).pipe(described('Log lines, on standard error.'), withDefault({})),
})

export type Envelope = typeof Envelope.Type
export type EnvelopeInput = typeof Envelope.Encoded

/** Rule for the names of pipelines and sinks. */
export const isName = Schema.is(name)
