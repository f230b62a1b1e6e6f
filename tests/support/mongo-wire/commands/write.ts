import { BSON } from 'mongodb'

import { LATEST, type Collection, type View } from '../collection.ts'
import type { Command, Handlers, Reply } from '../command.ts'
import { sameValue } from '../compare.ts'
import { CommandError } from '../errors.ts'
import type { LogEntry, UpdateDescription } from '../log.ts'
import { setPath } from '../path.ts'
import { parseProjection, project } from '../projection.ts'
import { isOperators } from '../query.ts'
import { runStages, sorted } from '../stages.ts'
import { Transaction, type Change } from '../transaction.ts'
import { applyOperators, difference } from '../update.ts'
import {
  doc,
  Doc,
  type Fields,
  int64,
  isTrue,
  List,
  numberOf,
  Scalar,
  TYPE,
  type Value,
  valueOf,
} from '../value.ts'
import { scan } from './read.ts'

export const WRITES: Handlers = {
  insert: async (command) => {
    const collection = ensured(command)
    const documents = command.docs('documents')
    // Since 8.0 the documents of one insert are logged together, with one time.
    const grouped = command.member.cluster.persona.version[0] >= 8 && !command.transaction
    let last: LogEntry | null = null
    const { results, errors } = await statements(command, documents, async (document) => {
      await command.write(() => insertOne(command, collection, document, grouped ? last : null))
      last = command.store.log.newest ?? null
      return {}
    })
    return { n: results.size, ...errors }
  },
  update: async (command) => {
    const { results, errors } = await statements(command, command.docs('updates'), (statement) =>
      updateStatement(command, statement),
    )
    const upserted = [...results].flatMap(([index, { upserted: _id }]) => (_id ? [doc({ index, _id })] : []))
    return {
      n: total(results, ({ n }) => n),
      ...(upserted.length > 0 ? { upserted } : {}),
      nModified: total(results, ({ modified }) => modified),
      ...errors,
    }
  },
  delete: async (command) => {
    const { results, errors } = await statements(command, command.docs('deletes'), async (statement) => {
      const collection = command.store.find(command.database, command.target)
      if (!collection) return { n: 0 }
      const filter = statement.get('q') as Doc
      const single = numberOf(statement.get('limit')) === 1
      return { n: await deleteMatching(command, collection, filter, single) }
    })
    return { n: total(results, ({ n }) => n), ...errors }
  },
  findAndModify,
  findandmodify: findAndModify,
}

/** Runs the statements of a write, once each when it is retried, and gathers their errors. */
async function statements<Result>(
  command: Command,
  items: readonly Doc[],
  run: (item: Doc) => Promise<Result>,
): Promise<{ readonly results: ReadonlyMap<number, Result>; readonly errors: Reply }> {
  const ordered = command.value('ordered') === undefined || command.flag('ordered')
  const errors: Fields[] = []
  const retried: number[] = []
  const results = new Map<number, Result>()
  for (const [index, item] of items.entries()) {
    const statement = statementId(command, index)
    if (statement !== null && command.session!.done.has(statement)) {
      results.set(index, command.session!.done.get(statement) as Result)
      retried.push(statement)
      continue
    }
    try {
      const result = await run(item)
      results.set(index, result)
      if (statement !== null) command.session!.done.set(statement, result)
    } catch (error) {
      // Within a transaction any error ends it.
      if (!(error instanceof CommandError) || (command.transaction && error.code === 112)) throw error
      if (command.transaction) command.store.abort(command.transaction)
      errors.push({ index, code: error.code, errmsg: error.message, ...error.detail })
      if (ordered) break
    }
  }
  return {
    results,
    errors: {
      ...(errors.length > 0 ? { writeErrors: errors } : {}),
      ...(retried.length > 0 ? { retriedStmtIds: retried } : {}),
    },
  }
}

function total<Result>(results: ReadonlyMap<number, Result>, of: (result: Result) => number): number {
  return [...results.values()].reduce((sum, result) => sum + of(result), 0)
}

/** The number of a statement of a retryable write. */
function statementId(command: Command, index: number): number | null {
  if (command.transaction || !command.session || command.value('txnNumber') === undefined) return null
  const given = command.list('stmtIds')[index]
  return given ? numberOf(given)! : (command.number('stmtId') ?? 0) + index
}

function ensured(command: Command): Collection {
  const known = command.store.find(command.database, command.target)
  if (known?.type === 'view')
    throw new CommandError(166, `Namespace ${known.namespace} is a view, not a collection`)
  return known ?? command.store.create(command.database, command.target)
}

function record(command: Command, change: Change, together: LogEntry | null = null): void {
  const { store, transaction } = command
  const moves =
    change.before &&
    change.after &&
    change.collection.shardKey.length > 0 &&
    !sameValue(
      store.documentKey(change.collection, change.before),
      store.documentKey(change.collection, change.after),
    )
  const changes: readonly Change[] = moves
    ? [
        { ...change, kind: 'delete', after: null, update: null },
        { ...change, kind: 'insert', before: null, update: null },
      ]
    : [change]
  if (transaction) for (const part of changes) store.stage(part, transaction)
  else if (!moves) store.write(change, together)
  else {
    // A document that changes its shard is deleted and inserted in a transaction of the server's own.
    const lsid = command.doc('lsid') ?? doc({ id: new BSON.UUID() })
    const number = command.value('txnNumber')
    const own = new Transaction(store.clock.last, lsid, number instanceof Scalar ? number : int64(1n))
    store.open.add(own)
    for (const part of changes) store.stage(part, own)
    store.commit(own)
  }
}

function insertOne(
  command: Command,
  collection: Collection,
  document: Doc,
  together: LogEntry | null = null,
): Doc {
  const id = document.get('_id') ?? valueOf(new BSON.ObjectId())
  if (id.type === TYPE.array || id.type === TYPE.regex || id.type === TYPE.undefined)
    throw new CommandError(
      2,
      `The '_id' value cannot be of type ${id.type === TYPE.array ? 'array' : id.type === TYPE.regex ? 'regex' : 'undefined'}`,
    )
  const whole =
    [...document.fields.keys()][0] === '_id'
      ? document
      : Doc.of([['_id', id], ...[...document.fields].filter(([name]) => name !== '_id')])
  checkSize(command, whole)
  const view: View = command.transaction ?? LATEST
  const slot = collection.slot(id)
  if (slot && command.transaction) command.store.conflict(slot, command.transaction)
  if (collection.read(id, view) !== null)
    throw new CommandError(
      11000,
      `E11000 duplicate key error collection: ${collection.namespace} index: _id_ dup key: { _id: ... }`,
      [],
      { keyPattern: { _id: 1 }, keyValue: Doc.of([['_id', id]]) },
    )
  record(command, { kind: 'insert', collection, id, before: null, after: whole, update: null }, together)
  return whole
}

function checkSize(command: Command, document: Doc): void {
  const limit = command.member.cluster.limits.document
  if (document.bytes.length > limit)
    throw new CommandError(
      10334,
      `object to insert too large. size in bytes: ${document.bytes.length}, max size: ${limit}`,
    )
}

interface UpdateResult {
  readonly n: number
  readonly modified: number
  readonly upserted: Value | null
}

async function updateStatement(command: Command, statement: Doc): Promise<UpdateResult> {
  const filter = statement.get('q') as Doc
  const change = statement.get('u')!
  const many = isTrue(statement.get('multi'))
  const upsert = isTrue(statement.get('upsert'))
  const filters = arrayFilters(statement)
  if (many && change instanceof Doc && !isOperators(change))
    throw new CommandError(9, 'multi update is not supported for replacement-style update')
  let collection = command.store.find(command.database, command.target)
  let [matched, modified] = [0, 0]
  const seen = new Set<string>()
  while (collection) {
    const found: Collection = collection
    const changed = await command.write(() => {
      for (const document of scan(found, command.transaction ?? LATEST, filter)) {
        const key = document.get('_id')!.bytes.toString('hex')
        if (seen.has(key)) continue
        const result = updateOne(command, found, document, change, filter, filters)
        seen.add(key)
        return result !== document
      }
      return null
    })
    if (changed === null) break
    matched++
    if (changed) modified++
    if (!many) break
  }
  if (matched > 0 || !upsert) return { n: matched, modified, upserted: null }
  collection ??= ensured(command)
  const created = upserted(command, filter, change, filters)
  const inserted = await command.write(() => insertOne(command, collection, created))
  return { n: 1, modified: 0, upserted: inserted.get('_id')! }
}

function arrayFilters(statement: Doc): readonly Doc[] {
  const filters = statement.get('arrayFilters')
  return filters instanceof List ? filters.items.filter((item) => item instanceof Doc) : []
}

/** Updates one document and gives what it became: itself when nothing changed. */
function updateOne(
  command: Command,
  collection: Collection,
  document: Doc,
  change: Value,
  filter: Doc,
  filters: readonly Doc[],
): Doc {
  const { document: after, update, replaced } = changed(command, document, change, filter, filters, false)
  if (update === null && !replaced) return document
  checkSize(command, after)
  const id = document.get('_id')!
  record(command, { kind: replaced ? 'replace' : 'update', collection, id, before: document, after, update })
  return after
}

interface Changed {
  readonly document: Doc
  readonly update: UpdateDescription | null
  readonly replaced: boolean
}

function changed(
  command: Command,
  document: Doc,
  change: Value,
  filter: Doc,
  filters: readonly Doc[],
  inserting: boolean,
): Changed {
  const { clock } = command.store
  if (change instanceof List) {
    const [after] = runStages([document], change.items)
    const whole = keepId(document, after!)
    const update = difference(document, whole)
    // What says more than the new document itself is logged as its replacement.
    if (update !== null && update.updatedFields.bytes.length > whole.bytes.length)
      return { document: whole, update: null, replaced: true }
    return { document: whole, update, replaced: false }
  }
  const operators = change as Doc
  if (!isOperators(operators)) {
    const whole = keepId(document, operators)
    return { document: whole, update: null, replaced: !whole.bytes.equals(document.bytes) }
  }
  const context = { filter, arrayFilters: filters, inserting, now: clock.now(), clusterTime: clock.last + 1n }
  return { ...applyOperators(document, operators, context), replaced: false }
}

/** A replacement keeps the `_id` of the document, in the first place. */
function keepId(document: Doc, after: Doc): Doc {
  const [id, given] = [document.get('_id'), after.get('_id')]
  if (id === undefined) return after
  if (given !== undefined && !sameValue(id, given))
    throw new CommandError(
      66,
      "After applying the update, the (immutable) field '_id' was found to have been altered",
    )
  return Doc.of([['_id', id], ...[...after.fields].filter(([name]) => name !== '_id')])
}

/** The document that an upsert inserts: what the filter demands, then the change. */
function upserted(command: Command, filter: Doc, change: Value, filters: readonly Doc[]): Doc {
  const base = demanded(filter, Doc.empty)
  if (!(change instanceof List) && !isOperators(change)) {
    const whole = change as Doc
    const id = whole.get('_id') ?? base.get('_id')
    return id ? Doc.of([['_id', id], ...[...whole.fields].filter(([name]) => name !== '_id')]) : whole
  }
  return changed(command, base, change, filter, filters, true).document
}

function demanded(filter: Doc, base: Doc): Doc {
  let document = base
  for (const [name, condition] of filter.fields) {
    if (name === '$and') {
      for (const part of (condition as List).items) document = demanded(part as Doc, document)
    } else if (!name.startsWith('$')) {
      const value = isOperators(condition) ? condition.get('$eq') : condition
      if (value) document = setPath(document, name.split('.'), value) as Doc
    }
  }
  return document
}

async function deleteMatching(
  command: Command,
  collection: Collection,
  filter: Doc,
  single: boolean,
): Promise<number> {
  let n = 0
  await command.write(() => {
    for (const document of scan(collection, command.transaction ?? LATEST, filter)) {
      deleteOne(command, collection, document)
      n++
      if (single) return
    }
  })
  return n
}

function deleteOne(command: Command, collection: Collection, document: Doc): void {
  record(command, {
    kind: 'delete',
    collection,
    id: document.get('_id')!,
    before: document,
    after: null,
    update: null,
  })
}

async function findAndModify(command: Command): Promise<Reply> {
  const statement = statementId(command, 0)
  const known = statement === null ? undefined : (command.session!.done.get(statement) as Reply | undefined)
  if (known) return { ...known, retriedStmtId: statement }
  const reply = await modify(command)
  if (statement !== null) command.session!.done.set(statement, reply)
  return reply
}

async function modify(command: Command): Promise<Reply> {
  const filter = command.doc('query') ?? Doc.empty
  const sort = command.doc('sort')
  const change = command.value('update')
  const filters = arrayFilters(command.body)
  const fields = command.doc('fields')
  const shown = (document: Doc | null) =>
    document && fields && fields.fields.size > 0 ? project(document, parseProjection(fields)) : document
  let collection = command.store.find(command.database, command.target)
  const found = await command.write(() => {
    if (!collection) return null
    const rows = scan(collection, command.transaction ?? LATEST, filter)
    const [document] = sort ? sorted(rows, sort) : rows
    if (!document) return null
    if (command.flag('remove')) {
      deleteOne(command, collection, document)
      return { before: document, after: null }
    }
    return { before: document, after: updateOne(command, collection, document, change!, filter, filters) }
  })
  if (command.flag('remove'))
    return { lastErrorObject: { n: found ? 1 : 0 }, value: shown(found?.before ?? null) }
  const wantsNew = command.flag('new')
  if (found)
    return {
      lastErrorObject: { n: 1, updatedExisting: true },
      value: shown(wantsNew ? found.after : found.before),
    }
  if (!command.flag('upsert')) return { lastErrorObject: { n: 0, updatedExisting: false }, value: null }
  collection ??= ensured(command)
  const created = upserted(command, filter, change!, filters)
  const document = await command.write(() => insertOne(command, collection!, created))
  return {
    lastErrorObject: { n: 1, updatedExisting: false, upserted: document.get('_id') },
    value: shown(wantsNew ? document : null),
  }
}
