import type { Collection } from '../collection.ts'
import type { Command, Handlers, Reply } from '../command.ts'
import { CommandError } from '../errors.ts'
import { matches } from '../query.ts'
import { binary, bool, doc, Doc, isTrue, List, textOf, type Value } from '../value.ts'
import { sizeOf } from './read.ts'

/** Fields of a command that are no options of what it makes. */
const GENERIC = new Set([
  'create',
  'lsid',
  '$db',
  '$clusterTime',
  'writeConcern',
  'readConcern',
  'txnNumber',
  'autocommit',
  'startTransaction',
  '$readPreference',
  'apiVersion',
  'apiStrict',
  'comment',
  'maxTimeMS',
])

export const CATALOG: Handlers = {
  create: (command) => {
    const options = [...command.body.fields].filter(([name]) => !GENERIC.has(name))
    command.store.create(command.database, command.target, Doc.of(options))
    return {}
  },
  drop: (command) => {
    const collection = command.store.find(command.database, command.target)
    if (!collection) {
      // Since 7.0 it is no error to drop what is not there.
      if (command.member.cluster.persona.version[0]! >= 7) return {}
      throw new CommandError(26, 'ns not found')
    }
    const nIndexesWas = collection.indexes.size
    dropCollection(command, collection)
    return { nIndexesWas, ns: collection.namespace }
  },
  dropDatabase: (command) => {
    const { store, database } = command
    const collections = store.databases.get(database)
    if (!collections) return {}
    for (const collection of collections.values()) dropCollection(command, collection)
    store.databases.delete(database)
    store.append({ kind: 'dropDatabase', database })
    return { dropped: database }
  },
  renameCollection: rename,
  collMod: (command) => {
    const collection = existing(command)
    const option = command.doc('changeStreamPreAndPostImages')
    const before = collection.options
    if (option) collection.options = before.with('changeStreamPreAndPostImages', option)
    const options = [...command.body.fields].filter(([name]) => !GENERIC.has(name) && name !== 'collMod')
    command.store.append({
      kind: 'modify',
      database: collection.database,
      collection: collection.name,
      uuid: collection.uuid,
      description: Doc.of(options),
      stateBefore: doc({
        collectionOptions: Doc.of([['uuid', binary(collection.uuid, 4)], ...before.fields]),
        indexOptions: command.doc('index')
          ? { hidden: modifyIndex(collection, command.doc('index')!) }
          : undefined,
      }),
    })
    return {}
  },
  listCollections: (command) => {
    const filter = command.doc('filter') ?? Doc.empty
    const nameOnly = command.flag('nameOnly')
    const collections = [...(command.store.databases.get(command.database)?.values() ?? [])]
    const documents = collections
      .map((collection) => description(collection))
      .filter((found) => matches(filter, found))
    const shown = nameOnly
      ? documents.map((found) => doc({ name: found.get('name'), type: found.get('type') }))
      : documents
    return whole(`${command.database}.$cmd.listCollections`, shown)
  },
  listDatabases: (command) => {
    const filter = command.doc('filter') ?? Doc.empty
    const databases = [...command.store.databases].map(([name, collections]) => {
      const size = [...collections.values()].reduce((sum, collection) => sum + sizeOf(collection).size, 0)
      return doc({ name, sizeOnDisk: BigInt(size), empty: size === 0 })
    })
    const shown = databases.filter((found) => matches(filter, found))
    const nameOnly = command.flag('nameOnly')
    return { databases: nameOnly ? shown.map((found) => doc({ name: found.get('name') })) : shown }
  },
  createIndexes: (command) => {
    const { store, database, target } = command
    const known = store.find(database, target)
    const collection = known ?? store.create(database, target)
    const numIndexesBefore = collection.indexes.size
    const added: Doc[] = []
    for (const index of command.docs('indexes')) {
      const name = textOf(index.get('name'))!
      if (collection.indexes.has(name)) continue
      const key = index.get('key')
      const rest = [...index.fields].filter(([field]) => !['v', 'key', 'name'].includes(field))
      const definition = Doc.of([...doc({ v: 2, key, name }).fields, ...rest])
      collection.indexes.set(name, { name, key: index.get('key') as Doc, definition })
      added.push(definition)
    }
    if (added.length > 0) logIndexes(command, collection, 'createIndexes', added)
    return {
      numIndexesBefore,
      numIndexesAfter: collection.indexes.size,
      createdCollectionAutomatically: known === undefined,
    }
  },
  listIndexes: (command) => {
    const collection = existing(command)
    return whole(
      collection.namespace,
      [...collection.indexes.values()].map(({ definition }) => definition),
    )
  },
  dropIndexes: (command) => {
    const collection = existing(command)
    const nIndexesWas = collection.indexes.size
    const wanted = command.value('index')!
    const names =
      textOf(wanted) === '*'
        ? [...collection.indexes.keys()].filter((name) => name !== '_id_')
        : wanted instanceof List
          ? wanted.items.map((name) => textOf(name)!)
          : [textOf(wanted) ?? named(collection, wanted)]
    const dropped = names.map((name) => {
      const index = collection.indexes.get(name)
      if (!index) throw new CommandError(27, `index not found with name [${name}]`)
      collection.indexes.delete(name)
      return index.definition
    })
    if (dropped.length > 0) logIndexes(command, collection, 'dropIndexes', dropped)
    return { nIndexesWas }
  },
  collStats: (command) => {
    const collection = command.store.find(command.database, command.target)
    const { count, size } = collection ? sizeOf(collection) : { count: 0, size: 0 }
    return {
      ns: `${command.database}.${command.target}`,
      size,
      count,
      ...(count > 0 ? { avgObjSize: Math.floor(size / count) } : {}),
      storageSize: size,
      nindexes: collection?.indexes.size ?? 0,
    }
  },
  dbStats: (command) => {
    const collections = [...(command.store.databases.get(command.database)?.values() ?? [])]
    const sizes = collections.map(sizeOf)
    return {
      db: command.database,
      collections: collections.length,
      objects: sizes.reduce((sum, { count }) => sum + count, 0),
      dataSize: sizes.reduce((sum, { size }) => sum + size, 0),
    }
  },
  shardCollection: (command) => {
    const [database, name] = split(command.text('shardCollection'))
    const collection = command.store.find(database, name) ?? command.store.create(database, name)
    const key = command.doc('key')!
    collection.shardKey = [...key.fields.keys()]
    command.store.append({
      kind: 'shardCollection',
      database,
      collection: name,
      uuid: collection.uuid,
      description: doc({ shardKey: key, unique: isTrue(command.value('unique')) }),
    })
    return { collectionsharded: collection.namespace, collectionUUID: binary(collection.uuid, 4) }
  },
}

/** Hides or shows an index, and says whether it was hidden. */
function modifyIndex(collection: Collection, change: Doc): boolean {
  const name = textOf(change.get('name')) ?? named(collection, change.get('keyPattern')!)
  const index = collection.indexes.get(name)
  if (!index) throw new CommandError(27, `cannot find index ${name} for ns ${collection.namespace}`)
  const was = isTrue(index.definition.get('hidden'))
  const definition = index.definition.with('hidden', bool(isTrue(change.get('hidden'))))
  collection.indexes.set(name, { ...index, definition })
  return was
}

function existing(command: Command): Collection {
  const collection = command.store.find(command.database, command.target)
  if (collection) return collection
  throw new CommandError(26, `ns does not exist: ${command.database}.${command.target}`)
}

function named(collection: Collection, key: Value): string {
  const found = [...collection.indexes.values()].find((index) => index.key.bytes.equals(key.bytes))
  return found?.name ?? '?'
}

function logIndexes(
  command: Command,
  collection: Collection,
  kind: 'createIndexes' | 'dropIndexes',
  indexes: readonly Doc[],
): void {
  command.store.append({
    kind,
    database: collection.database,
    collection: collection.name,
    uuid: collection.uuid,
    description: doc({ indexes: [...indexes] }),
  })
}

function dropCollection(command: Command, collection: Collection): void {
  command.store.databases.get(collection.database)?.delete(collection.name)
  collection.dropped = true
  command.store.append({
    kind: 'drop',
    database: collection.database,
    collection: collection.name,
    uuid: collection.uuid,
  })
}

function rename(command: Command): Reply {
  const { store } = command
  const [fromDatabase, fromName] = split(command.text('renameCollection'))
  const [toDatabase, toName] = split(command.text('to'))
  const collection = store.find(fromDatabase, fromName)
  if (!collection) throw new CommandError(26, `Source collection ${fromDatabase}.${fromName} does not exist`)
  const target = store.find(toDatabase, toName)
  if (target && !command.flag('dropTarget')) throw new CommandError(48, 'target namespace exists')
  const dropped = target?.uuid ?? null
  if (target) {
    store.databases.get(toDatabase)?.delete(toName)
    target.dropped = true
  }
  store.databases.get(fromDatabase)!.delete(fromName)
  const collections = store.databases.get(toDatabase) ?? new Map<string, Collection>()
  store.databases.set(toDatabase, collections.set(toName, collection))
  collection.database = toDatabase
  collection.name = toName
  store.append({
    kind: 'rename',
    database: fromDatabase,
    collection: fromName,
    uuid: collection.uuid,
    to: { database: toDatabase, collection: toName, dropped },
  })
  return {}
}

function split(namespace: string): [string, string] {
  const dot = namespace.indexOf('.')
  return [namespace.slice(0, dot), namespace.slice(dot + 1)]
}

function description(collection: Collection): Doc {
  if (collection.type === 'view')
    return doc({ name: collection.name, type: 'view', options: collection.options, info: { readOnly: true } })
  return doc({
    name: collection.name,
    type: collection.type,
    options: collection.options,
    info: { readOnly: false, uuid: binary(collection.uuid, 4) },
    idIndex: { v: 2, key: { _id: 1 }, name: '_id_' },
  })
}

function whole(namespace: string, documents: readonly Doc[]): Reply {
  return { cursor: { id: 0n, ns: namespace, firstBatch: [...documents] } }
}
