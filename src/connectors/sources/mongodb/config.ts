import {
  described,
  duration,
  identifier,
  integer,
  oneOf,
  optional,
  secret,
  size,
  struct,
  withDefault,
} from '../../../core/fields.ts'

/** Options of the `mongodb` source. */
export const MongodbConfig = struct({
  url: secret().pipe(
    described(
      'Address of the replica set or of mongos: mongodb://user:password@host:27017/database?replicaSet=rs0, or mongodb+srv://.',
    ),
  ),
  database: identifier({
    pattern: /^[^/\\. "$*<>:|?\0]{1,63}$/u,
    rule: 'must be the name of a database: at most 63 characters, without / \\ . " $ * < > : | ? and spaces',
  }).pipe(
    described(
      'Where mapped collections are that name no database. Default: the database of the url, else test.',
    ),
    optional,
  ),
  images: oneOf('auto', 'stored').pipe(
    described(
      'Where whole documents of updates come from. `stored`: every mapped collection must store pre- and post-images. `auto`: those of collections that store none are looked up after the change, and may be newer than it.',
    ),
    withDefault('auto'),
  ),
  withoutPreImage: oneOf('refuse', 'delete').pipe(
    described(
      'What to do with tables that have a filter when their collection stores no pre-images. `refuse` the start, or `delete` the row at every change after which the document does not match, whether it is there or not.',
    ),
    withDefault('refuse'),
  ),
  drops: oneOf('truncate', 'stop').pipe(
    described(
      'When a mapped collection is dropped or renamed: empty its tables, as the collection is, or `stop` the pipeline.',
    ),
    withDefault('truncate'),
  ),
  misfits: oneOf('stop', 'null').pipe(
    described(
      'What to do with a value that its column cannot keep exactly: `stop` the pipeline, or write NULL (never in a key or a column that is not nullable) and say so in the log.',
    ),
    withDefault('stop'),
  ),
  json: oneOf('plain', 'extended').pipe(
    described(
      'How json columns hold what JSON has no type for: `plain` text (dates as ISO 8601, ObjectIds as hex digits), or canonical Extended JSON, which keeps every type.',
    ),
    withDefault('plain'),
  ),
  copyWorkers: integer({ min: 1, max: 32 }).pipe(
    described('Ranges of collections that are copied at the same time in the first copy.'),
    withDefault(2),
  ),
  copyRange: size({ min: '64KB', max: '4GB' }).pipe(
    described(
      'How much of a collection a range of the copy holds, about; a restart repeats ranges that were not finished.',
    ),
    withDefault('16MB'),
  ),
  connections: integer({ min: 3, max: 256 }).pipe(
    described('Most connections to a server at a time, besides the one that watches its state.'),
    withDefault(8),
  ),
  heartbeat: duration({ min: '100ms', max: '5m' }).pipe(
    described(
      'How often the position moves on while only other collections change, so that it does not leave the oplog.',
    ),
    withDefault('5s'),
  ),
  serverSelectionTimeout: duration({ min: '100ms', max: '5m' }).pipe(
    described('How long to look for a primary before an attempt fails.'),
    withDefault('10s'),
  ),
})

export type MongodbConfig = typeof MongodbConfig.Type

/** How large pieces are cut; tests cut smaller. */
export interface Units {
  /** Events that one reply may hold at most. */
  readonly eventsPerReply: number
  /** Documents that one reply of a copy may hold at most. */
  readonly documentsPerReply: number
  /** Documents that one look-up may ask for. */
  readonly lookUps: number
  /** Bytes of rows after which a batch is handed over. */
  readonly batchBytes: number
  /** Ranges that a collection is cut into at most. */
  readonly rangesMax: number
}

export const defaultUnits: Units = {
  eventsPerReply: 5000,
  documentsPerReply: 5000,
  lookUps: 500,
  batchBytes: 1 << 20,
  rangesMax: 2048,
}
