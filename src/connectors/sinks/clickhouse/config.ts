import {
  boolean,
  described,
  duration,
  identifier,
  integer,
  oneOf,
  optional,
  secret,
  size,
  struct,
  text,
  withDefault,
} from '../../../core/fields.ts'

const metaColumn = () =>
  identifier({
    pattern: /^[A-Za-z_][A-Za-z0-9_]{0,62}$/u,
    rule: 'must be letters, digits and _, at most 63 characters',
  })

/** The options of the ClickHouse sink. */
export const ClickHouseConfig = struct({
  url: identifier({
    pattern: /^https?:\/\/[^/?#@\s]+\/?$/u,
    rule: 'must be http(s)://host:port, without user, password and path (those are options of their own)',
  }).pipe(described('Address of the HTTP interface, such as http://localhost:8123.')),
  database: text().pipe(described('The database that holds the tables.')),
  createDatabase: boolean().pipe(described('Make the database when it is not there.'), withDefault(false)),
  username: text().pipe(described('User on the server.'), withDefault('default')),
  password: secret().pipe(described('Password of the user; left out for none.'), optional),
  defaultNamespace: text().pipe(
    described('Tables of this source schema keep their name; others are called <schema>__<table>.'),
    withDefault('public'),
  ),
  viewSuffix: identifier({
    pattern: /^[A-Za-z0-9_]{0,40}$/u,
    rule: 'must be letters, digits and _, at most 40 characters; empty for no views',
  }).pipe(
    described('Each table gets a view of its current rows, named <table><suffix>; empty for none.'),
    withDefault('__current'),
  ),
  metaColumns: struct({
    version: metaColumn().pipe(described('Column of the row version.'), withDefault('_version')),
    deleted: metaColumn().pipe(described('Column that marks deleted rows.'), withDefault('_deleted')),
  }).pipe(described('Names of the two columns that the sink adds.'), withDefault({})),
  flushInterval: duration({ min: '10ms', max: '1h' }).pipe(
    described('Longest time that rows wait before they are inserted.'),
    withDefault('1s'),
  ),
  flushBytes: size({ min: '64KB', max: '64MB' }).pipe(
    described('Bytes that are collected before rows are inserted earlier than that.'),
    withDefault('16MB'),
  ),
  flushRows: integer({ min: 1, max: 500_000 }).pipe(
    described('Rows that are collected before they are inserted earlier than that.'),
    withDefault(200_000),
  ),
  arrays: oneOf('exact', 'native', 'text').pipe(
    described(
      'exact: Array, or text where the column may be NULL; native: always Array, NULL becomes the empty array; text: always text.',
    ),
    withDefault('exact'),
  ),
  dates: oneOf('native', 'text').pipe(
    described('native: Date32 and DateTime64, values that do not fit are refused; text: String.'),
    withDefault('native'),
  ),
  dropColumns: oneOf('keep', 'drop').pipe(
    described('What happens to a column that the source drops: keep its values, or drop it too.'),
    withDefault('keep'),
  ),
  compression: oneOf('none', 'gzip', 'zstd').pipe(
    described('Compression of what is sent.'),
    withDefault('none'),
  ),
  requestTimeout: duration({ min: '1s', max: '1h' }).pipe(
    described('Longest time that one request to the server may take.'),
    withDefault('60s'),
  ),
})
export type ClickHouseConfig = typeof ClickHouseConfig.Type
