import { ChangeStream, type StreamStart } from '../change-stream.ts'
import type { Command } from '../command.ts'
import type { Page, PageSource } from '../cursors.ts'
import { CommandError } from '../errors.ts'
import type { Images } from '../events.ts'
import { parseTransform, stageOf, type Transform } from '../stages.ts'
import { Doc, isTrue, longOf, textOf, TYPE, type Value } from '../value.ts'

const FULL_DOCUMENT = ['default', 'updateLookup', 'whenAvailable', 'required']
const BEFORE_CHANGE = ['off', 'whenAvailable', 'required']
const KNOWN = new Set([
  'fullDocument',
  'fullDocumentBeforeChange',
  'resumeAfter',
  'startAfter',
  'startAtOperationTime',
  'allChangesForCluster',
  'showExpandedEvents',
])

/** Opens the stream that an aggregate with `$changeStream` asks for; it reads from the log at its first batch. */
export function openStream(command: Command, spec: Doc, stages: readonly Value[]): PageSource {
  const { cluster } = command.member
  if (cluster.persona.topology === 'standalone')
    throw new CommandError(40573, 'The $changeStream stage is only supported on replica sets')
  if (command.transaction)
    throw new CommandError(
      263,
      'Operation not permitted in transaction :: caused by :: $changeStream cannot be used in a transaction',
    )
  for (const name of spec.fields.keys())
    if (!KNOWN.has(name))
      throw new CommandError(40415, `BSON field '$changeStream.${name}' is an unknown field.`)
  const wholeCluster = isTrue(spec.get('allChangesForCluster'))
  const named = command.value('aggregate')!.type === TYPE.string
  if (wholeCluster && (command.database !== 'admin' || named))
    throw new CommandError(
      72,
      "A $changeStream with 'allChangesForCluster:true' may only be opened on the 'admin' database, and with no collection name",
    )
  if (!wholeCluster && ['admin', 'config', 'local'].includes(command.database))
    throw new CommandError(73, `$changeStream may not be opened on the internal ${command.database} database`)
  const level = textOf(command.doc('readConcern')?.get('level')) ?? 'majority'
  if (level !== 'majority')
    throw new CommandError(72, `$changeStream cannot run with readConcern level ${level}; it needs majority`)
  const watched = named ? command.store.find(command.database, command.target) : undefined
  if (watched && watched.type !== 'collection')
    throw new CommandError(166, `Namespace ${watched.namespace} is a ${watched.type}, not a collection`)
  const { transforms, split } = parseStages(stages, cluster.persona.splitsEvents)
  const settings = {
    scope: {
      database: wholeCluster ? null : command.database,
      collection: named && !wholeCluster ? command.target : null,
    },
    fullDocument: choice(spec, 'fullDocument', FULL_DOCUMENT, 'default'),
    beforeChange: choice(spec, 'fullDocumentBeforeChange', BEFORE_CHANGE, 'off'),
    expanded: isTrue(spec.get('showExpandedEvents')),
    tokenVersion: cluster.persona.tokenVersion,
    transforms,
    split,
    eventLimit: cluster.limits.event,
    replyLimit: cluster.limits.reply,
  }
  const canned = cluster.controls.cannedFor(command)
  if (canned) return canned
  return new StreamPages(() => new ChangeStream(command.store, settings, startOf(spec)))
}

/** A stream whose place in the log is looked up when it is first read. */
class StreamPages implements PageSource {
  readonly #open: () => ChangeStream
  #stream: ChangeStream | null = null

  constructor(open: () => ChangeStream) {
    this.#open = open
    // A stream from now on begins now, whatever its first batch asks for.
    try {
      this.#stream = open()
    } catch (error) {
      if (!(error instanceof CommandError) || error.code !== 286) throw error
    }
  }

  async page(size: number, waitMs: number, signal: AbortSignal): Promise<Page> {
    // With an empty first batch the loss of the history shows at the first getMore.
    if (this.#stream === null && size === 0) return { documents: [], done: false }
    this.#stream ??= this.#open()
    const { documents, token, ended } = await this.#stream.batch(size, waitMs, signal)
    return { documents, token, done: ended }
  }
}

function parseStages(stages: readonly Value[], splits: boolean): { transforms: Transform[]; split: boolean } {
  const transforms: Transform[] = []
  let split = false
  for (const [index, stage] of stages.entries()) {
    const [name, spec] = stageOf(stage)
    if (name === '$changeStreamSplitLargeEvent') {
      if (!splits) throw new CommandError(40324, `Unrecognized pipeline stage name: '${name}'`)
      if (index !== stages.length - 1)
        throw new CommandError(7182802, '$changeStreamSplitLargeEvent must be the last stage in the pipeline')
      split = true
      continue
    }
    const transform = parseTransform(name, spec)
    if (!transform) throw new CommandError(20, `${name} is not permitted in a $changeStream pipeline`)
    transforms.push(transform)
  }
  return { transforms, split }
}

function choice(spec: Doc, name: string, known: readonly string[], otherwise: Images): Images {
  const value = spec.get(name)
  if (value === undefined) return otherwise
  const text = textOf(value)
  if (text === undefined || !known.includes(text))
    throw new CommandError(
      2,
      `Enumeration value '${text}' for field '$changeStream.${name}' is not a valid value.`,
    )
  return text as Images
}

function startOf(spec: Doc): StreamStart {
  const [after, startAfter, time] = ['resumeAfter', 'startAfter', 'startAtOperationTime'].map((name) =>
    spec.get(name),
  )
  if ([after, startAfter, time].filter((value) => value !== undefined).length > 1)
    throw new CommandError(50865, 'Only one type of resume option is allowed, but multiple were found.')
  if (time !== undefined) return { from: 'time', time: longOf(time)! }
  const token = after ?? startAfter
  if (token === undefined) return { from: 'now' }
  if (!(token instanceof Doc)) throw new CommandError(40647, 'Bad resume token: wrong type')
  return { from: 'token', token, afterInvalidate: startAfter !== undefined }
}
