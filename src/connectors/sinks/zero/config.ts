import {
  boolean,
  described,
  duration,
  either,
  integer,
  json,
  list,
  oneOf,
  optional,
  record,
  secret,
  size,
  struct,
  text,
  withDefault,
} from '../../../core/fields.ts'
import { JWT_ALGORITHMS } from './jwt-key.ts'

const Tls = struct({
  certificateFile: text().pipe(
    described('Certificate of the server with its chain, PEM. Read again when it changes.'),
  ),
  keyFile: text().pipe(described('Key of the certificate, PEM.')),
  clientCaFile: text().pipe(
    described('Authorities of client certificates, PEM; every client must then have one.'),
    optional,
  ),
})

const Jwt = struct({
  secret: secret().pipe(described('Key of HS256, at least 32 bytes.'), optional),
  publicKey: text().pipe(described('Key of the other algorithms: PEM, or a JWK as JSON.'), optional),
  keySetUrl: text().pipe(described('Where the issuer publishes its keys (JWKS).'), optional),
  algorithms: list(oneOf(...JWT_ALGORITHMS)).pipe(
    described('Those that are accepted; all of the key when left out.'),
    optional,
  ),
  issuer: text().pipe(described('What `iss` must be.'), optional),
  audience: text().pipe(described('What `aud` must hold.'), optional),
  clockTolerance: duration({ max: '10m' }).pipe(described('How far clocks may differ.'), withDefault('5s')),
  requireExpiry: boolean().pipe(described('Refuse tokens without `exp`.'), withDefault(true)),
  nameClaim: text().pipe(described('The claim that names the subscriber.'), withDefault('sub')),
})

const ZeroSchema = struct({
  file: text().pipe(described('JSON, or a module that exports `schema`.'), optional),
  url: secret().pipe(described('Where to get the JSON from.'), optional),
  token: secret().pipe(described('Sent to the URL as a bearer token.'), optional),
  timeout: duration({ min: '100ms', max: '5m' }).pipe(described('Of one request.'), withDefault('10s')),
  retryFor: duration({ max: '1h' }).pipe(
    described('How long a server that does not answer is asked again.'),
    withDefault('1m'),
  ),
  maxSize: size({ min: '1KB', max: '64MB' }).pipe(
    described('Longest schema that is taken.'),
    withDefault('4MB'),
  ),
  inline: json().pipe(described('The schema itself.'), optional),
})

const Publication = struct({
  tables: list(text()).pipe(described('Patterns of schema.table, `!` in front excludes.')),
  columns: record(
    either(
      'must be a list of columns, or { exclude: [...] }',
      list(text()),
      struct({ exclude: list(text()) }),
    ),
  ).pipe(
    described('By schema.table, the columns that are seen, or { exclude: [...] }. The key always is.'),
    optional,
  ),
  rows: record(json()).pipe(
    described('By schema.table, which rows are seen, such as { status: open, total: { $gt: 5 } }.'),
    optional,
  ),
})

/** The options of the Zero sink. */
export const ZeroConfig = struct({
  path: text().pipe(described('File of the change log. Its directory is made when it is not there.')),
  host: text().pipe(
    described('Interface to listen on; loopback unless others are to connect.'),
    withDefault('127.0.0.1'),
  ),
  port: integer({ min: 0, max: 65_535 }).pipe(
    described('Port to listen on; 0 takes a free one.'),
    withDefault(4850),
  ),
  tls: Tls.pipe(described('Serve wss instead of ws.'), optional),
  tokens: record(secret()).pipe(
    described('Shared tokens, by the name of who has it; zero-cache sends one as `?k=` in its URL.'),
    withDefault({}),
  ),
  jwt: Jwt.pipe(described('Accept signed tokens too.'), optional),
  anonymous: boolean().pipe(
    described('Let in whoever asks, also from other machines, also when there are tokens.'),
    withDefault(false),
  ),
  origins: list(text()).pipe(
    described('Web pages that may connect without a token, such as https://app.example.com.'),
    withDefault([]),
  ),
  publications: record(Publication).pipe(
    described('Named selections that subscribers may ask for; without asking they get everything.'),
    withDefault({}),
  ),
  requirePublication: boolean().pipe(
    described('Refuse subscribers that ask for no publication.'),
    withDefault(false),
  ),
  schema: ZeroSchema.pipe(
    described('The Zero schema of the clients: selects tables and columns and decides their types.'),
    optional,
  ),
  permissions: either(
    'must be none, allow-all-select or { file: ... }',
    oneOf('none', 'allow-all-select'),
    struct({ file: text() }),
  ).pipe(
    described(
      'What ad-hoc queries may read: nothing, everything, or what zero-deploy-permissions wrote into a file.',
    ),
    withDefault('none'),
  ),
  defaultNamespace: text().pipe(
    described('Tables of this source schema keep their name; others are called <schema>.<table>.'),
    withDefault('public'),
  ),
  bigints: oneOf('number', 'text').pipe(
    described('64-bit integers: number refuses values beyond 2^53 - 1, text keeps all.'),
    withDefault('number'),
  ),
  decimals: oneOf('exact', 'text').pipe(
    described('exact: numbers up to 15 digits and text for longer types; text: always text.'),
    withDefault('exact'),
  ),
  textColumns: list(text()).pipe(
    described('Columns that travel as text, patterns of schema.table.column.'),
    withDefault([]),
  ),
  retain: duration().pipe(
    described('How long changes stay that every subscriber has stored.'),
    withDefault('10m'),
  ),
  maxLogSize: size({ min: '1MB' }).pipe(described('Size of the changes that are kept.'), withDefault('8GB')),
  whenFull: oneOf('prune', 'stop').pipe(
    described(
      'When a subscriber is away and the log is full: forget what it lacks, so that it begins anew, or stop.',
    ),
    withDefault('prune'),
  ),
  forgetAfter: duration({ min: '1s' }).pipe(
    described('A subscriber that was away for so long holds nothing any more.'),
    withDefault('168h'),
  ),
  earlier: struct({
    watermarks: oneOf('resume', 'forget').pipe(
      described('resume: a zero-cache goes on after the last watermark that it got; forget: it begins anew.'),
      withDefault('resume'),
    ),
    window: duration({ max: '30d' }).pipe(
      described(
        'Only watermarks that are so much older than the newest; the source is replayed from the oldest of them.',
      ),
      withDefault('1h'),
    ),
  }).pipe(
    described('What to do with a watermark database of zero-sources that lies at `path`.'),
    withDefault({}),
  ),
  compression: boolean().pipe(
    described('permessage-deflate, with clients that offer it.'),
    withDefault(false),
  ),
  maxConnections: integer({ min: 1, max: 100_000 }).pipe(
    described('Connections at once.'),
    withDefault(2000),
  ),
  maxMessageSize: size({ min: '1KB', max: '16MB' }).pipe(
    described('Longest message that a subscriber may send.'),
    withDefault('64KB'),
  ),
  pingInterval: duration({ min: '100ms', max: '5m' }).pipe(
    described('A subscriber that does not answer within two of these is disconnected.'),
    withDefault('25s'),
  ),
})
export type ZeroConfig = typeof ZeroConfig.Type
