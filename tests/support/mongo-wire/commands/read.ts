import { LATEST, newest, type Collection, type IdRange, type View } from '../collection.ts'
import type { Command, Handlers, Reply } from '../command.ts'
import { keyOf } from '../compare.ts'
import { DocumentPages, type Page, type PageSource } from '../cursors.ts'
import { CommandError } from '../errors.ts'
import { parseProjection, project } from '../projection.ts'
import { reach } from '../path.ts'
import { isOperators, matches } from '../query.ts'
import { sessionKey } from '../sessions.ts'
import { runStages, sorted, stageOf } from '../stages.ts'
import {
  int64,
  date,
  doc,
  Doc,
  List,
  longOf,
  numberOf,
  TYPE,
  type Value,
  timestamp,
  textOf,
} from '../value.ts'
import { ownDocuments } from '../virtual.ts'
import { openStream } from './stream.ts'

const FIRST_BATCH = 101

export const READS: Handlers = {
  find,
  aggregate,
  count: (command) => {
    const rows = candidates(command, command.target, command.doc('query') ?? Doc.empty)
    const skip = command.number('skip') ?? 0
    const limit = Math.abs(command.number('limit') ?? 0) || Number.POSITIVE_INFINITY
    return { n: Math.max(0, Math.min(limit, [...rows].length - skip)) }
  },
  distinct: (command) => {
    const rows = candidates(command, command.target, command.doc('query') ?? Doc.empty)
    const path = command.text('key').split('.')
    const values = new Map<string, Value>()
    for (const row of rows)
      for (const value of reach(row, path))
        for (const item of value instanceof List ? value.items : value ? [value] : [])
          values.set(keyOf(item), item)
    return { values: List.of([...values.values()]) }
  },
  getMore,
  killCursors: (command) => {
    const ids = command.list('cursors').map((id) => longOf(id)!)
    const { cursors } = command.member
    const killed = ids.filter((id) => cursors.close(id))
    return {
      cursorsKilled: killed.map(int64),
      cursorsNotFound: ids.filter((id) => !killed.includes(id)).map(int64),
      cursorsAlive: [],
      cursorsUnknown: [],
    }
  },
}

function find(command: Command): Promise<Reply> {
  const filter = command.doc('filter') ?? Doc.empty
  const [limit, skip] = [command.number('limit') ?? 0, command.number('skip') ?? 0]
  const sort = command.doc('sort')
  const { view, at } = viewOf(command)
  const collection = command.store.find(command.database, command.target)
  command.member.cluster.controls.countFind(command)
  let rows = documentsOf(command, collection, view, filter, sort)
  if (sort && !ordersById(sort)) rows = ordered(rows, sort)
  if (skip > 0) rows = skipped(rows, skip)
  const spec = command.doc('projection')
  if (spec && spec.fields.size > 0) {
    const projection = parseProjection(spec)
    rows = mapped(rows, (row) => project(row, projection))
  }
  const pages = new DocumentPages(
    rows,
    limit === 0 ? Number.POSITIVE_INFINITY : Math.abs(limit),
    replyLimit(command),
  )
  const single = command.flag('singleBatch') || limit < 0
  return opened(command, pages, command.number('batchSize') ?? FIRST_BATCH, { single, at })
}

async function aggregate(command: Command): Promise<Reply> {
  const stages = command.list('pipeline')
  if (!command.doc('cursor'))
    throw new CommandError(
      9,
      "The 'cursor' option is required, except for aggregate with the explain argument",
    )
  const batchSize = numberOf(command.doc('cursor')?.get('batchSize')) ?? FIRST_BATCH
  const [first, ...rest] = stages
  if (first && stageOf(first)[0] === '$changeStream') {
    const stream = openStream(command, stageOf(first)[1] as Doc, rest)
    return opened(command, stream, batchSize, { stream: true })
  }
  const named = command.value('aggregate')!.type === TYPE.string
  if (!named) throw new CommandError(73, '{aggregate: 1} is not valid for this pipeline')
  const collection = command.store.find(command.database, command.target)
  const { view, at } = viewOf(command)
  let rows: Iterable<Doc>
  let left = stages
  if (first && stageOf(first)[0] === '$collStats') {
    rows = collectionStatistics(command, collection, stageOf(first)[1] as Doc)
    left = rest
  } else {
    const filter = first && stageOf(first)[0] === '$match' ? (stageOf(first)[1] as Doc) : Doc.empty
    rows = documentsOf(command, collection, view, filter)
  }
  const pages = new DocumentPages(runStages(rows, left), Number.POSITIVE_INFINITY, replyLimit(command))
  return opened(command, pages, batchSize, { at })
}

/** The documents of a collection, or of one that the server keeps itself. */
function documentsOf(
  command: Command,
  collection: Collection | undefined,
  view: View,
  filter: Doc,
  sort?: Doc,
): Iterable<Doc> {
  const own = ownDocuments(command.member.cluster, command.database, command.target)
  if (own) return [...own].filter((document) => matches(filter, document))
  if (collection?.type === 'view') {
    const base = command.store.find(collection.database, textOf(collection.options.get('viewOn'))!)
    const pipeline = collection.options.get('pipeline')
    const rows = base ? scan(base, view, Doc.empty) : []
    return [...runStages(rows, pipeline instanceof List ? pipeline.items : [])].filter((document) =>
      matches(filter, document),
    )
  }
  return collection ? scan(collection, view, filter, command, sort) : []
}

function ordered(rows: Iterable<Doc>, sort: Doc): Iterable<Doc> {
  const natural = numberOf(sort.get('$natural'))
  if (natural === undefined) return sorted(rows, sort)
  return natural < 0 ? [...rows].toReversed() : rows
}

/** One document, or one of each shard. */
function collectionStatistics(
  command: Command,
  collection: Collection | undefined,
  spec: Doc,
): readonly Doc[] {
  if (!collection)
    throw new CommandError(
      26,
      `Unable to retrieve storageStats in $collStats stage :: caused by :: Collection [${command.database}.${command.target}] not found.`,
    )
  const { shardNames } = command.member.cluster
  if (shardNames.length === 0) return [statisticsOf(command, collection, spec)]
  return shardNames.map((shard, index) => statisticsOf(command, collection, spec, shard, index))
}

function statisticsOf(
  command: Command,
  collection: Collection,
  spec: Doc,
  shard?: string,
  index?: number,
): Doc {
  const { count, size } = sizeOf(collection, index)
  const storage = {
    size,
    count,
    avgObjSize: count === 0 ? undefined : Math.floor(size / count),
    numOrphanDocs: 0,
    storageSize: Math.ceil(size / 4096) * 4096 || 4096,
    freeStorageSize: 0,
    capped: collection.options.get('capped') !== undefined,
    nindexes: collection.indexes.size,
  }
  return doc({
    ns: collection.namespace,
    shard,
    host: command.member.address,
    localTime: date(BigInt(command.store.clock.now())),
    storageStats: spec.get('storageStats') ? storage : undefined,
    count: spec.get('count') ? count : undefined,
  })
}

export function sizeOf(
  collection: Collection,
  shard?: number,
): { readonly count: number; readonly size: number } {
  let [count, size] = [0, 0]
  for (const slot of collection.slots()) {
    const document = newest(slot)
    if (document === null || (shard !== undefined && slot.shard !== shard)) continue
    count++
    size += document.bytes.length
  }
  return { count, size }
}

/** What the command sees, and the time to tell when it is a snapshot. */
function viewOf(command: Command): { readonly view: View; readonly at: bigint | undefined } {
  const view = command.view()
  return { view, at: view === LATEST || view.transaction ? undefined : view.time }
}

function candidates(command: Command, name: string, filter: Doc): Iterable<Doc> {
  const collection = command.store.find(command.database, name)
  return collection ? scan(collection, command.view(), filter, command) : []
}

/** The documents that satisfy a filter, by way of `_id` where the filter, the hint or the order says so. */
export function* scan(
  collection: Collection,
  view: View,
  filter: Doc,
  command?: Command,
  sort?: Doc,
): Generator<Doc> {
  for (const document of scanned(collection, view, filter, command, sort)) {
    if (collection.dropped) throw new CommandError(175, 'collection dropped')
    if (matches(filter, document)) yield document
  }
}

function scanned(
  collection: Collection,
  view: View,
  filter: Doc,
  command?: Command,
  sort?: Doc,
): Iterable<Doc> {
  const ids = exactIds(filter)
  const byId = sort !== undefined && ordersById(sort)
  if (ids && !byId) return ids.map((id) => collection.read(id, view)).filter((document) => document !== null)
  const [min, max] = [command?.doc('min'), command?.doc('max')]
  const hint = command?.value('hint')
  const hinted = hint instanceof Doc && hint.fields.size === 1 && hint.get('_id') !== undefined
  if ((min || max) && !hint)
    throw new CommandError(51173, 'When using min()/max() a hint of which index to use must be provided')
  if ((min && !min.get('_id')) || (max && !max.get('_id')))
    throw new CommandError(51174, 'The index chosen is not compatible with min/max')
  const range: IdRange = { min: min?.get('_id'), max: max?.get('_id') }
  if (!byId && !hinted && !min && !max) return collection.byInsertion(() => view)
  const backward = byId ? numberOf(sort.get('_id'))! < 0 : hinted && numberOf(hint.get('_id'))! < 0
  return collection.byId(() => view, range, backward)
}

/** The `_id`s of a filter that asks for them exactly. */
function exactIds(filter: Doc): readonly Value[] | null {
  const id = filter.get('_id')
  if (id === undefined || id.type === TYPE.regex) return null
  if (!isOperators(id)) return [id]
  const equal = id.get('$eq')
  if (equal) return [equal]
  const among = id.get('$in')
  if (!(among instanceof List) || among.items.some((item) => item.type === TYPE.regex)) return null
  return [...new Map(among.items.map((item) => [keyOf(item), item])).values()]
}

function ordersById(sort: Doc): boolean {
  return [...sort.fields.keys()][0] === '_id'
}

function* skipped(rows: Iterable<Doc>, count: number): Generator<Doc> {
  let left = count
  for (const row of rows) if (left-- <= 0) yield row
}

function* mapped(rows: Iterable<Doc>, change: (row: Doc) => Doc): Generator<Doc> {
  for (const row of rows) yield change(row)
}

function replyLimit(command: Command): number {
  return command.member.cluster.limits.reply
}

interface OpenOptions {
  readonly single?: boolean
  readonly stream?: boolean
  readonly at?: bigint | undefined
}

async function opened(
  command: Command,
  source: PageSource,
  batchSize: number,
  { single = false, stream = false, at }: OpenOptions,
): Promise<Reply> {
  const namespace = `${command.database}.${named(command)}`
  const page = await source.page(limited(command, batchSize), 0, command.signal)
  const open = !page.done && !single
  const session = sessionKey(command.value('lsid'))
  const cursor = open ? command.member.cursors.open({ namespace, session, source, isStream: stream }) : null
  if (cursor && stream) command.member.streams.add(cursor.id)
  return { cursor: cursorReply('firstBatch', page, cursor?.id ?? 0n, namespace, at) }
}

function named(command: Command): string {
  const value = command.value(command.name)!
  return value.type === TYPE.string ? command.target : '$cmd.aggregate'
}

function limited(command: Command, batchSize: number): number {
  return Math.min(batchSize, command.member.cluster.controls.batchLimit)
}

function cursorReply(name: string, page: Page, id: bigint, namespace: string, at?: bigint): Doc {
  const fields: [string, Value][] = [[name, List.of(page.documents.map((bytes) => Doc.parse(bytes)))]]
  if (page.token) fields.push(['postBatchResumeToken', page.token])
  if (at !== undefined) fields.push(['atClusterTime', timestamp(at)])
  return Doc.of([...fields, ...doc({ id: int64(id), ns: namespace }).fields])
}

async function getMore(command: Command): Promise<Reply> {
  const id = longOf(command.value('getMore'))!
  const { cursors, cluster } = command.member
  const cursor = cursors.get(id)
  checkOwner(command, cursor.namespace, cursor.session, id)
  if (cursor.busy) throw new CommandError(292, `cursor id ${id} is already in use`)
  const asked = command.number('batchSize') ?? 0
  if (!cursor.isStream && command.value('maxTimeMS') !== undefined)
    throw new CommandError(2, 'cannot set maxTimeMS on getMore command for a non-awaitData cursor')
  const signal = cursor.isStream
    ? AbortSignal.any([command.signal, command.member.interrupted])
    : command.signal
  const waitMs = cursor.isStream ? (command.number('maxTimeMS') ?? 1000) : 0
  cursor.busy = true
  try {
    const page = await cursor.source.page(
      limited(command, asked === 0 ? Number.POSITIVE_INFINITY : asked),
      waitMs,
      signal,
    )
    if (command.member.interruption && cursor.isStream) throw command.member.interruption
    if (page.done) cursors.close(id)
    return { cursor: cursorReply('nextBatch', page, page.done ? 0n : id, cursor.namespace) }
  } catch (error) {
    cursors.close(id)
    throw error
  } finally {
    cursor.busy = false
    cluster.controls.countBatch(command)
  }
}

function checkOwner(command: Command, namespace: string, owner: string | null, id: bigint): void {
  const asked = `${command.database}.${command.text('collection')}`
  if (asked !== namespace)
    throw new CommandError(
      13,
      `Requested getMore on namespace '${asked}', but cursor belongs to a different namespace ${namespace}`,
    )
  const session = sessionKey(command.value('lsid'))
  if (session === owner) return
  if (owner === null)
    throw new CommandError(
      50736,
      `Cannot run getMore on cursor ${id}, which was not created in a session, in session ${session}`,
    )
  if (session === null)
    throw new CommandError(
      50737,
      `Cannot run getMore on cursor ${id}, which was created in session ${owner}, without an lsid`,
    )
  throw new CommandError(
    50738,
    `Cannot run getMore on cursor ${id}, which was created in session ${owner}, in session ${session}`,
  )
}
