/** The option `mapping` of a config file. */
import {
  described,
  duration,
  json,
  oneOf,
  optional,
  secret,
  size,
  struct,
  text,
  withDefault,
} from '../../core/fields.ts'

const document = () =>
  struct({
    file: text().pipe(described('JSON, YAML or a module that exports it, relative to this file.'), optional),
    url: secret().pipe(described('Where to get it from, over http or https.'), optional),
    token: secret().pipe(described('Sent to the URL as a bearer token.'), optional),
    ca: text().pipe(
      described('Authorities that the server of the URL is trusted by, PEM, relative to this file.'),
      optional,
    ),
    timeout: duration({ min: '100ms', max: '5m' }).pipe(described('Of one request.'), withDefault('10s')),
    retryFor: duration({ max: '1h' }).pipe(
      described('How long a server that does not answer is asked again before the start fails.'),
      withDefault('1m'),
    ),
    maxSize: size({ min: '1KB', max: '64MB' }).pipe(
      described('Longest text that is taken.'),
      withDefault('4MB'),
    ),
    inline: json().pipe(described('The document itself.'), optional),
  })

export const MappingOptions = struct({
  schema: document().pipe(
    described('Tables, columns and types: one of `file`, `url` and `inline`.'),
    optional,
  ),
  tables: document().pipe(
    described('What tables are made of, by name: one of `file`, `url` and `inline`.'),
    optional,
  ),
  breaking: oneOf('refuse', 'apply').pipe(
    described('Whether a changed mapping may drop tables and columns, and change types and keys.'),
    withDefault('refuse'),
  ),
  poll: duration({ min: '1s' }).pipe(
    described('How often it is looked at again while the pipeline runs; otherwise only at SIGHUP.'),
    optional,
  ),
})

export type MappingOptions = typeof MappingOptions.Type
export type DocumentOptions = NonNullable<MappingOptions['schema']>
