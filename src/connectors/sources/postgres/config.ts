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

/** Options of the `postgres` source. */
export const PostgresConfig = struct({
  url: secret().pipe(
    described(
      'Address of the server: postgres://user:password@host:5432/database, sslmode and certificates as parameters.',
    ),
  ),
  slot: identifier().pipe(
    described(
      'Replication slot. Made when it does not exist. Default: sluice_ and the name of the pipeline.',
    ),
    optional,
  ),
  publication: identifier({
    pattern: /^[^,]{1,63}$/u,
    rule: 'must be the name of a publication, at most 63 characters, without a comma',
  }).pipe(
    described(
      'Publication. Made for the selected tables when it does not exist. Default: sluice_ and the name of the pipeline.',
    ),
    optional,
  ),
  copyWorkers: integer({ min: 1, max: 32 }).pipe(
    described('Connections that copy tables at the same time in the first copy.'),
    withDefault(2),
  ),
  catchUp: oneOf('auto', 'off').pipe(
    described(
      'Reads a backlog of more than catchUpThreshold through SQL on a copy of the slot, about twice as fast as the replication protocol. Needs one more free replication slot.',
    ),
    withDefault('auto'),
  ),
  catchUpThreshold: size({ min: '1MB' }).pipe(
    described('Backlog of WAL from which on `catchUp` is used.'),
    withDefault('64MB'),
  ),
  heartbeat: duration({ min: '100ms' }).pipe(
    described(
      'How often the position moves on while only other tables change, so that the server can remove WAL.',
    ),
    withDefault('5s'),
  ),
  schemaPoll: duration({ min: '100ms' }).pipe(
    described(
      'How often the catalog is read for new tables of the publication and for schema changes of tables that nobody writes to.',
    ),
    withDefault('10s'),
  ),
  lockTimeout: duration({ min: '1s' }).pipe(
    described('How long the making of a slot waits for transactions that are open on the server.'),
    withDefault('5m'),
  ),
})

export type PostgresConfig = typeof PostgresConfig.Type

/** How large tasks are cut; tests cut smaller. */
export interface Units {
  /** Heap pages of 8 KiB that one COPY reads of a large table. */
  readonly pagesPerRange: number
  /** Bytes of WAL that one call of a catch-up reads, see `catch-up.ts`. */
  readonly walPerCall: bigint
  /** Heap pages of 8 KiB that a key range of a comparison takes, about. */
  readonly pagesPerKeyRange: number
}

export const defaultUnits: Units = {
  pagesPerRange: 8192,
  walPerCall: 512n * 1024n * 1024n,
  pagesPerKeyRange: 1024,
}
