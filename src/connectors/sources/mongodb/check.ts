/** Everything that would stop or worry the pipeline, found before anything moves. Read-only. */
import type { Document, MongoClient } from 'mongodb'
import type { Problem } from '../../../core/error.ts'
import type { MappedCollection } from './collections.ts'
import type { MongodbConfig } from './config.ts'
import type { ServerFacts } from './session.ts'

/** A collection as the server has it. */
export interface ServerCollection {
  readonly kind: 'collection' | 'view' | 'timeseries'
  /** Changes carry what was before and after (`changeStreamPreAndPostImages`). */
  readonly storesImages: boolean
}

/** By full name; those that do not exist are not in it. */
export type ServerCollections = ReadonlyMap<string, ServerCollection>

export function checkServer(server: ServerFacts): readonly Problem[] {
  const problems: Problem[] = []
  if (!server.isReplicaSet && !server.isSharded) {
    problems.push(
      error(
        'replica-set-needed',
        'the server is no member of a replica set, so it has no log of changes',
        'Start mongod with --replSet rs0, run rs.initiate() once, and put ?replicaSet=rs0 into source.url.',
      ),
    )
  }
  if (server.version[0] < 6) {
    problems.push(
      error(
        'version',
        `the server is version ${server.version[0]}.${server.version[1]}, 6.0 or later is needed`,
        'Upgrade the server.',
      ),
    )
  }
  return problems
}

export function checkCollections(
  collections: readonly MappedCollection[],
  found: ServerCollections,
  config: Pick<MongodbConfig, 'images' | 'withoutPreImage'>,
): readonly Problem[] {
  return collections.flatMap((collection) => {
    const actual = found.get(collection.fullName)
    if (actual !== undefined && actual.kind !== 'collection') return [noLog(collection, actual.kind)]
    const problems: Problem[] = []
    if (actual === undefined) {
      problems.push(
        warning(
          'collection-missing',
          `the mapped collection ${collection.fullName} does not exist`,
          'Nothing to do if it is made later; else check the names in the mapping (upper and lower case differ).',
        ),
      )
    }
    if (actual?.storesImages !== true)
      problems.push(...imagesMissing(collection, actual !== undefined, config))
    return problems
  })
}

function* imagesMissing(
  collection: MappedCollection,
  exists: boolean,
  config: Pick<MongodbConfig, 'images' | 'withoutPreImage'>,
): Generator<Problem> {
  const { fullName, needsPreImage: need } = collection
  const command = enableImages(collection, exists)
  if (config.images === 'stored') {
    yield error(
      'images',
      `the collection ${fullName} stores no pre- and post-images`,
      `Run ${command}, or set source.images: auto.`,
    )
    return
  }
  if (need !== null && !(need.reason === 'filter' && config.withoutPreImage === 'delete')) {
    const why = {
      unwind: 'has one row per element of an array',
      key: 'has a key that is not made of _id',
      filter: 'has a filter',
    }[need.reason]
    const other = {
      unwind: '',
      key: ', or make the key of _id, as with fields: {id: _id}',
      filter: ', or set source.withoutPreImage: delete',
    }[need.reason]
    yield error(
      'images',
      `the table ${need.table} ${why}, so changes must tell what was before, and the collection ${fullName} stores no pre-images`,
      `Run ${command}${other}.`,
    )
    return
  }
  if (!exists) return
  yield warning(
    'look-up',
    `the collection ${fullName} stores no post-images: documents of updates are looked up and may be newer than the update`,
    `Nothing to do if only the latest state counts; else run ${command}.`,
  )
}

/** The command for the shell that makes a collection store images (manual, "collMod"). */
function enableImages({ database, name }: MappedCollection, exists: boolean): string {
  const images = 'changeStreamPreAndPostImages: {enabled: true}'
  const db = `db.getSiblingDB(${JSON.stringify(database)})`
  return exists
    ? `${db}.runCommand({collMod: ${JSON.stringify(name)}, ${images}})`
    : `${db}.createCollection(${JSON.stringify(name)}, {${images}})`
}

/** The mapped collections as they are now. */
export async function readCollections(
  client: MongoClient,
  collections: readonly MappedCollection[],
): Promise<ServerCollections> {
  const found = new Map<string, ServerCollection>()
  for (const [database, members] of Map.groupBy(collections, (collection) => collection.database)) {
    const filter = { name: { $in: members.map(({ name }) => name) } }
    for (const info of await client.db(database).listCollections(filter).toArray()) {
      const options = (info as { options?: Document }).options ?? {}
      found.set(`${database}.${info.name}`, {
        kind: info.type === 'view' ? 'view' : info.type === 'timeseries' ? 'timeseries' : 'collection',
        storesImages: options['changeStreamPreAndPostImages']?.enabled === true,
      })
    }
  }
  return found
}

function noLog({ fullName }: MappedCollection, kind: 'view' | 'timeseries'): Problem {
  const what = kind === 'view' ? 'a view' : 'a time series collection'
  return error(
    'not-a-collection',
    `${fullName} is ${what}, and MongoDB logs no changes of those`,
    'Map the collection behind it.',
  )
}

function error(code: string, message: string, fix: string): Problem {
  return { severity: 'error', code: `mongodb/${code}`, message, fix }
}

function warning(code: string, message: string, fix: string): Problem {
  return { severity: 'warning', code: `mongodb/${code}`, message, fix }
}
