import { BSON } from 'mongodb'

import type { Cluster } from './cluster.ts'
import type { LogEntry } from './log.ts'
import { date, doc, Doc, int32, int64, timestamp } from './value.ts'

/** The documents of the server's own collections that clients read; `null` for all other collections. */
export function ownDocuments(cluster: Cluster, database: string, name: string): Iterable<Doc> | null {
  switch (`${database}.${name}`) {
    case 'local.oplog.rs':
      return cluster.store.log.entries().map((entry) => logDocument(entry, cluster.term))
    case 'local.system.replset':
      return [doc(replicaSetConfig(cluster))]
    case 'config.shards':
      return cluster.shardNames.map((shard) => doc({ _id: shard, host: `${shard}/127.0.0.1:1`, state: 1 }))
    case 'config.version':
      return [doc({ _id: 1, clusterId: cluster.id })]
    case 'config.collections':
      return shardedCollections(cluster)
    default:
      return null
  }
}

export function replicaSetConfig(cluster: Cluster) {
  return {
    _id: cluster.persona.setName,
    version: 1,
    term: int64(BigInt(cluster.term)),
    members: cluster.members.map(({ address }, _id) => ({ _id, host: address, votes: 1, priority: 1 })),
    protocolVersion: int64(1n),
    settings: { electionTimeoutMillis: 10_000, replicaSetId: cluster.id },
  }
}

const OPERATIONS: { readonly [kind: string]: string } = {
  insert: 'i',
  update: 'u',
  replace: 'u',
  delete: 'd',
  noop: 'n',
}

function logDocument(entry: LogEntry, term: number): Doc {
  return doc({
    op: OPERATIONS[entry.kind] ?? 'c',
    ns: entry.collection === '' ? entry.database : `${entry.database}.${entry.collection}`,
    o: entry.after ?? Doc.empty,
    ts: timestamp(entry.time),
    t: int64(BigInt(term)),
    v: int64(2n),
    wall: date(BigInt(entry.wall)),
  })
}

function* shardedCollections(cluster: Cluster): Generator<Doc> {
  for (const collections of cluster.store.databases.values())
    for (const { namespace, shardKey, uuid } of collections.values())
      if (shardKey.length > 0)
        yield doc({
          _id: namespace,
          key: Doc.of(shardKey.map((path) => [path, int32(1)])),
          unique: false,
          uuid: new BSON.UUID(uuid),
        })
}
