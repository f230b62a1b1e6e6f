/** The environment variables of `sluice zero-source`: the help, the documentation and the reader go by this table. */

export interface Variable {
  readonly name: string
  /** Where its text goes in a config; null when it only decides about others. */
  readonly path: readonly string[] | null
  /** Never shown; `NAME_FILE` may name a file that holds it. */
  readonly secret?: true
  /** What it is when it is not set. */
  readonly standard?: string
  readonly choices?: readonly string[]
  readonly summary: string
}

const zero = (...path: readonly string[]): readonly string[] => ['sinks', 'zero', ...path]

/** Those that the earlier server had keep their names. */
export const variables = [
  {
    name: 'MONGODB_URI',
    path: ['source', 'url'],
    secret: true,
    summary:
      'Address of the replica set, such as mongodb://user:password@host:27017/shop?replicaSet=rs0. Required.',
  },
  {
    name: 'MONGODB_DATABASE',
    path: ['source', 'database'],
    summary: 'Database of the collections, when the address names none.',
  },
  {
    name: 'MONGODB_IMAGES',
    path: ['source', 'images'],
    choices: ['auto', 'stored'],
    summary: 'Where whole documents of updates come from.',
  },
  {
    name: 'MONGODB_WITHOUT_PRE_IMAGE',
    path: ['source', 'withoutPreImage'],
    choices: ['refuse', 'delete'],
    summary: 'What to do with filtered tables whose collection stores no pre-images.',
  },
  {
    name: 'SCHEMA_SOURCE',
    path: null,
    choices: ['file', 'url'],
    summary: 'Which variables count when both the FILE and the URL ones are set.',
  },
  { name: 'SCHEMA_FILE', path: ['mapping', 'schema', 'file'], summary: 'Tables and columns, as JSON.' },
  {
    name: 'SCHEMA_URL',
    path: ['mapping', 'schema', 'url'],
    secret: true,
    summary: 'The same from a server. One of the two is required.',
  },
  {
    name: 'SCHEMA_TOKEN',
    path: ['mapping', 'schema', 'token'],
    secret: true,
    summary: 'Sent to SCHEMA_URL as a bearer token.',
  },
  {
    name: 'TABLE_MAPPINGS_FILE',
    path: ['mapping', 'tables', 'file'],
    summary: 'Which collection and fields each table is made of, as JSON.',
  },
  {
    name: 'TABLE_MAPPINGS_URL',
    path: ['mapping', 'tables', 'url'],
    secret: true,
    summary: 'The same from a server. Without both, every table is the collection of its name.',
  },
  {
    name: 'TABLE_MAPPINGS_TOKEN',
    path: ['mapping', 'tables', 'token'],
    secret: true,
    summary: 'Sent to TABLE_MAPPINGS_URL as a bearer token.',
  },
  {
    name: 'MAPPING_RETRY_FOR',
    path: null,
    summary: 'How long a server of them that does not answer is asked again at the start, such as 1m.',
  },
  {
    name: 'MAPPING_POLL',
    path: ['mapping', 'poll'],
    summary: 'How often schema and mappings are looked at again, such as 30s.',
  },
  {
    name: 'MAPPING_BREAKING',
    path: ['mapping', 'breaking'],
    choices: ['refuse', 'apply'],
    summary: 'What to do when they change so that a table or a column is lost.',
  },
  { name: 'PORT', path: zero('port'), standard: '3000', summary: 'Port to listen on.' },
  { name: 'HOST', path: zero('host'), standard: '0.0.0.0', summary: 'Interface to listen on.' },
  {
    name: 'ZERO_AUTH_TOKEN',
    path: zero('tokens', 'zero-cache'),
    secret: true,
    summary: 'What zero-cache has to send as ?k= in its ZERO_UPSTREAM_DB. Without it everybody is let in.',
  },
  {
    name: 'ZERO_AUTH_ANONYMOUS',
    path: zero('anonymous'),
    choices: ['true', 'false'],
    summary: 'Whether to let in whoever reaches the port: true without a token; false demands one.',
  },
  {
    name: 'ZERO_PERMISSIONS',
    path: zero('permissions'),
    choices: ['none', 'allow-all-select'],
    summary: 'What ad-hoc queries may read.',
  },
  {
    name: 'ZERO_PERMISSIONS_FILE',
    path: zero('permissions', 'file'),
    summary: 'The same as zero-deploy-permissions writes it.',
  },
  {
    name: 'TLS_CERTIFICATE_FILE',
    path: zero('tls', 'certificateFile'),
    summary: 'Serve wss: the certificate with its chain, PEM.',
  },
  { name: 'TLS_KEY_FILE', path: zero('tls', 'keyFile'), summary: 'Its key, PEM.' },
  {
    name: 'WATERMARK_STORAGE',
    path: null,
    standard: 'zqlite',
    choices: ['zqlite'],
    summary: 'Where watermarks are kept: a SQLite file, together with the changes.',
  },
  {
    name: 'WATERMARK_DB_PATH',
    path: zero('path'),
    standard: './data/watermarks.db',
    summary: 'That file. A database of the earlier server that lies there is imported.',
  },
  {
    name: 'WATERMARK_IMPORT',
    path: zero('earlier', 'watermarks'),
    choices: ['resume', 'forget'],
    summary: 'What to do with that: every zero-cache goes on, or begins anew.',
  },
  {
    name: 'WATERMARK_IMPORT_WINDOW',
    path: zero('earlier', 'window'),
    summary: 'How far back from its newest change, such as 1h; the oplog must reach there.',
  },
  {
    name: 'LOG_LEVEL',
    path: ['log', 'level'],
    choices: ['debug', 'info', 'warn', 'error'],
    summary: 'The least important lines to write.',
  },
  {
    name: 'LOG_FORMAT',
    path: ['log', 'format'],
    choices: ['text', 'json'],
    summary: 'How lines are written.',
  },
  {
    name: 'PIPELINE_NAME',
    path: ['name'],
    standard: 'zero-source',
    summary: 'Name of the pipeline, in logs and on the server.',
  },
] as const satisfies readonly Variable[]

export type VariableName = (typeof variables)[number]['name']
