import type { Command } from './command.ts'
import { CommandError } from './errors.ts'

/** Fields that every command may have. */
const GENERIC = [
  '$db',
  'lsid',
  '$clusterTime',
  '$readPreference',
  'readConcern',
  'writeConcern',
  'maxTimeMS',
  'comment',
  'txnNumber',
  'autocommit',
  'startTransaction',
  'stmtId',
  'stmtIds',
  'apiVersion',
  'apiStrict',
  'apiDeprecationErrors',
]

/** The fields of the commands that a reader of data sends, as their manual pages list them. */
const FIELDS: { readonly [command: string]: string } = {
  find: 'find filter sort projection hint skip limit batchSize singleBatch min max returnKey showRecordId tailable oplogReplay noCursorTimeout awaitData allowPartialResults collation allowDiskUse let',
  aggregate:
    'aggregate pipeline explain allowDiskUse cursor bypassDocumentValidation bypassEmptyTsReplacement collation hint let',
  getMore: 'getMore collection batchSize',
  killCursors: 'killCursors cursors',
  count: 'count query limit skip hint collation',
  distinct: 'distinct key query collation hint',
  insert: 'insert documents ordered bypassDocumentValidation bypassEmptyTsReplacement',
  update: 'update updates ordered bypassDocumentValidation bypassEmptyTsReplacement let',
  delete: 'delete deletes ordered let',
  listCollections: 'listCollections filter nameOnly authorizedCollections cursor',
  listDatabases: 'listDatabases filter nameOnly authorizedDatabases',
  listIndexes: 'listIndexes cursor',
  collMod:
    'collMod index validator validationLevel validationAction viewOn pipeline cappedSize cappedMax expireAfterSeconds timeseries changeStreamPreAndPostImages clusteredIndex',
  ping: 'ping',
  drop: 'drop',
  endSessions: 'endSessions',
}

const KNOWN = new Map(
  Object.entries(FIELDS).map(([name, fields]) => [name, new Set([...GENERIC, ...fields.split(' ')])]),
)

/** Refuses a command with a field that it does not have. */
export function checkFields(command: Command): void {
  const known = KNOWN.get(command.name)
  if (!known) return
  for (const field of command.body.fields.keys())
    if (!known.has(field))
      throw new CommandError(40415, `BSON field '${command.name}.${field}' is an unknown field.`)
  if (command.name === 'getMore' && command.value('readConcern') !== undefined)
    throw new CommandError(72, 'Command getMore does not support readConcern')
}
