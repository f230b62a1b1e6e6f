import { CommandError } from './errors.ts'
import type { LogEntry, UpdateDescription } from './log.ts'
import type { Store } from './store.ts'
import { eventToken } from './token.ts'
import { binary, date, doc, Doc, int32, NULL, string, timestamp, type Value, valueOf } from './value.ts'

export type Images = 'off' | 'default' | 'updateLookup' | 'whenAvailable' | 'required'

export interface EventOptions {
  readonly fullDocument: Images
  readonly beforeChange: Images
  readonly expanded: boolean
  readonly tokenVersion: 1 | 2
}

const EXPANDED = new Set([
  'create',
  'createIndexes',
  'dropIndexes',
  'modify',
  'shardCollection',
  'reshardCollection',
  'refineCollectionShardKey',
])

/** Whether a stream shows entries of that kind at all. */
export function isShown(entry: LogEntry, expanded: boolean): boolean {
  if (entry.kind === 'noop' || entry.fromMigrate) return false
  return expanded || !EXPANDED.has(entry.kind)
}

/** The event of an entry, with its fields in the order in which the server writes them. */
export function eventOf(entry: LogEntry, options: EventOptions, store: Store): Doc {
  const { expanded } = options
  const fields: [string, Value][] = [
    ['_id', eventToken(entry, options.tokenVersion, entry.kind)],
    ['operationType', string(entry.kind)],
    ['clusterTime', timestamp(entry.time)],
  ]
  if (expanded && entry.uuid) fields.push(['collectionUUID', binary(entry.uuid, 4)])
  fields.push(['wallTime', date(BigInt(entry.wall))])
  if (entry.transaction) {
    fields.push(['txnNumber', entry.transaction.txnNumber], ['lsid', entry.transaction.lsid])
  }
  if (entry.kind === 'insert' || entry.kind === 'replace') fields.push(['fullDocument', entry.after!])
  fields.push(['ns', namespaceOf(entry)])
  if (entry.to) {
    const to = doc({ db: entry.to.database, coll: entry.to.collection })
    fields.push(['to', to])
    if (expanded) {
      const { dropped } = entry.to
      fields.push(['operationDescription', doc({ to, dropTarget: dropped ? binary(dropped, 4) : undefined })])
    }
  } else if (expanded && entry.description) fields.push(['operationDescription', entry.description])
  if (expanded && entry.stateBefore) fields.push(['stateBeforeChange', entry.stateBefore])
  if (entry.documentKey) fields.push(['documentKey', entry.documentKey])
  if (entry.update) fields.push(['updateDescription', descriptionOf(entry.update, expanded)])
  if (entry.kind === 'update' && options.fullDocument !== 'default')
    fields.push(['fullDocument', postImage(entry, options.fullDocument, store)])
  if (['update', 'replace', 'delete'].includes(entry.kind) && options.beforeChange !== 'off')
    fields.push(['fullDocumentBeforeChange', preImage(entry, options.beforeChange)])
  return Doc.of(fields)
}

/** The event that ends a stream. */
export function invalidateOf(entry: LogEntry, options: EventOptions): Doc {
  return Doc.of([
    ['_id', eventToken(entry, options.tokenVersion, entry.kind, true)],
    ['operationType', string('invalidate')],
    ['clusterTime', timestamp(entry.time)],
    ['wallTime', date(BigInt(entry.wall))],
  ])
}

function namespaceOf(entry: LogEntry): Doc {
  return entry.kind === 'dropDatabase'
    ? doc({ db: entry.database })
    : doc({ db: entry.database, coll: entry.collection })
}

function descriptionOf(update: UpdateDescription, expanded: boolean): Doc {
  const { updatedFields, removedFields, truncatedArrays, disambiguatedPaths } = update
  const paths = Doc.of(
    [...disambiguatedPaths].map(([name, parts]) => [
      name,
      valueOf(parts.map((part) => (typeof part === 'number' ? int32(part) : part))),
    ]),
  )
  return doc({
    updatedFields,
    removedFields: [...removedFields],
    truncatedArrays: [...truncatedArrays],
    disambiguatedPaths: expanded ? paths : undefined,
  })
}

function postImage(entry: LogEntry, wanted: Images, store: Store): Value {
  if (wanted === 'updateLookup') {
    const collection = store.find(entry.database, entry.collection)
    if (!collection || !entry.uuid || !collection.uuid.equals(entry.uuid)) return NULL
    return collection.read(entry.documentKey!.get('_id')!, store.majorityView) ?? NULL
  }
  if (entry.images) return entry.after!
  return unavailable('post-image for all update events', 'post-image', wanted)
}

function preImage(entry: LogEntry, wanted: Images): Value {
  if (entry.images) return entry.before!
  return unavailable('pre-image for all update, delete and replace events', 'pre-image', wanted)
}

function unavailable(what: string, image: string, wanted: Images): Value {
  if (wanted !== 'required') return NULL
  throw new CommandError(
    47,
    `Change stream was configured to require a ${what}, but the ${image} was not found for event`,
    ['NonResumableChangeStreamError'],
  )
}
