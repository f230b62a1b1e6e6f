import { Command, type Handlers, type Reply } from './command.ts'
import { ADMIN } from './commands/admin.ts'
import { AUTH, needsNoUser } from './commands/auth.ts'
import { CATALOG } from './commands/catalog.ts'
import { READS } from './commands/read.ts'
import { WRITES } from './commands/write.ts'
import type { Connection } from './connection.ts'
import { CommandError, isResumable, isRetryableWrite } from './errors.ts'
import { checkFields } from './fields.ts'
import type { Message } from './protocol.ts'
import { binary, doc, Doc, double, int64, longOf, textOf, timestamp, type Value } from './value.ts'

const HANDLERS: Handlers = { ...ADMIN, ...AUTH, ...CATALOG, ...READS, ...WRITES }

const WRITING = new Set([
  ...Object.keys(WRITES),
  'create',
  'drop',
  'dropDatabase',
  'renameCollection',
  'collMod',
  'createIndexes',
  'dropIndexes',
  'commitTransaction',
  'abortTransaction',
  'appendOplogNote',
])
const READING = new Set([
  'find',
  'aggregate',
  'count',
  'distinct',
  'listCollections',
  'listIndexes',
  'listDatabases',
])

/** The reply of a command, encoded; `null` when the connection was cut instead. */
export async function dispatch(
  message: Message,
  connection: Connection,
): Promise<{ readonly name: string; readonly parts: readonly Buffer[] } | null> {
  const name = message.body.fields.keys().next().value ?? ''
  const command = new Command(name, message.body, message.database, connection, connection.signal)
  const { controls } = connection.member.cluster
  controls.record(command)
  const raw = controls.rawReply(command)
  if (raw) return { name, parts: await raw }
  let reply: Doc
  try {
    const fault = await controls.before(command)
    if (fault === 'cut') {
      connection.cut()
      return null
    }
    reply = success(await run(command), command)
    if (controls.after(command) === 'cut') {
      connection.cut()
      return null
    }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    reply = failure(error, command)
  }
  return { name, parts: [reply.bytes] }
}

async function run(command: Command): Promise<Reply> {
  const { name, member, connection, body } = command
  const { cluster } = member
  const handler = HANDLERS[name]
  if (!handler) throw new CommandError(59, `no such command: '${name}'`)
  if (cluster.auth && connection.user === null && !needsNoUser(name))
    throw new CommandError(13, `Command ${name} requires authentication`)
  if (cluster.persona.topology === 'replicaSet' && !member.isPrimary) {
    if (WRITING.has(name)) throw new CommandError(10107, 'not primary')
    if (READING.has(name) && !readsSecondary(body))
      throw new CommandError(13435, 'not primary and secondaryOk=false')
  }
  checkFields(command)
  command.session = cluster.sessions.of(body)
  if (command.session) {
    if (cluster.persona.topology === 'standalone' && body.get('txnNumber') !== undefined)
      throw new CommandError(20, 'Transaction numbers are only allowed on a replica set member or mongos')
    command.transaction = cluster.sessions.enter(command.session, body, name)
  }
  try {
    await command.settled()
    return await handler(command)
  } catch (error) {
    // A statement that fails ends the transaction it belongs to.
    const { transaction } = command
    if (transaction?.state === 'open' && error instanceof CommandError && name !== 'commitTransaction')
      command.store.abort(transaction)
    throw error
  }
}

function readsSecondary(body: Doc): boolean {
  const preference = body.get('$readPreference')
  const mode = preference instanceof Doc ? textOf(preference.get('mode')) : undefined
  return mode !== undefined && mode !== 'primary'
}

function success(fields: Reply, command: Command): Doc {
  return Doc.of([...doc(fields).fields, ['ok', double(1)], ...times(command)])
}

function failure(error: CommandError, command: Command): Doc {
  const labels = new Set(error.labels)
  const { body, name } = command
  if (error.labelled) return encoded(error, labels, command)
  const inTransaction = body.get('autocommit') !== undefined
  if (body.get('txnNumber') !== undefined && isRetryableWrite(error.code)) {
    if (!inTransaction || name === 'commitTransaction' || name === 'abortTransaction')
      labels.add('RetryableWriteError')
    else labels.add('TransientTransactionError')
  }
  if (isResumable(error.code) && isStream(command)) labels.add('ResumableChangeStreamError')
  return encoded(error, labels, command)
}

function encoded(error: CommandError, labels: ReadonlySet<string>, command: Command): Doc {
  return Doc.of([
    ...doc({
      ok: double(0),
      errmsg: error.message,
      code: error.code,
      codeName: error.codeName,
      ...error.detail,
      errorLabels: labels.size > 0 ? [...labels] : undefined,
    }).fields,
    ...times(command),
  ])
}

function isStream({ name, body, member }: Command): boolean {
  if (name === 'aggregate') return body.get('pipeline')?.bytes.includes('$changeStream') ?? false
  return name === 'getMore' && member.streams.has(longOf(body.get('getMore')) ?? 0n)
}

const SIGNATURE = doc({ hash: binary(Buffer.alloc(20), 0), keyId: int64(0n) })

function times(command: Command): readonly (readonly [string, Value])[] {
  if (command.member.cluster.persona.topology === 'standalone') return []
  const time = timestamp(command.store.clock.last)
  return [
    [
      '$clusterTime',
      Doc.of([
        ['clusterTime', time],
        ['signature', SIGNATURE],
      ]),
    ],
    ['operationTime', time],
  ]
}
