/** Connections to the server: the driver's client, and what the server says of itself. */
import { type Document, MongoClient, type ObjectId } from 'mongodb'
import { SchemaError } from '../../../core/error.ts'
import type { SourceContext } from '../../../core/source.ts'
import type { MongodbConfig } from './config.ts'
import { isAnswer, mongodbError } from './errors.ts'
import { formatHalves } from './position.ts'

export interface ServerFacts {
  /** Major and minor version. */
  readonly version: readonly [major: number, minor: number, patch: number]
  readonly isReplicaSet: boolean
  readonly isSharded: boolean
  /** Name of the replica set, and its id when the server tells it. */
  readonly cluster: string
}

/**
 * A client that is connected. Cursors live on one server: with several mongos, all commands go to one of them, another
 * one at each call.
 */
export async function openClient(config: MongodbConfig, context: SourceContext): Promise<MongoClient> {
  let client: MongoClient | null = null
  try {
    client = makeClient(config.url.reveal(), config, context)
    await Promise.race([client.connect(), refuseStandalone(client)])
    const { hosts } = client.options
    const { msg } = await client.db('admin').command({ hello: 1 })
    if (msg !== 'isdbgrid' || hosts.length < 2) return client
    await client.close()
    const one = hosts[Math.floor(Math.random() * hosts.length)]!.toString()
    client = makeClient(withHost(config.url.reveal(), one), config, context)
    return await client.connect()
  } catch (error) {
    await client?.close().catch(() => {})
    throw mongodbError(error, 'connect to MongoDB')
  }
}

/** Database for collections that name none. */
export function databaseOf(config: MongodbConfig, client: MongoClient): string {
  return config.database ?? client.options.dbName
}

export async function readServer(client: MongoClient): Promise<ServerFacts> {
  const admin = client.db('admin')
  const hello = await admin.command({ hello: 1 })
  const build = await admin.command({ buildInfo: 1 })
  const [major = 0, minor = 0, patch = 0] = (build['versionArray'] ?? []) as number[]
  const isSharded = hello['msg'] === 'isdbgrid'
  const name = typeof hello['setName'] === 'string' ? hello['setName'] : ''
  return {
    version: [major, minor, patch],
    isReplicaSet: name !== '',
    isSharded,
    cluster: isSharded ? await clusterId(client) : `${name}${await replicaSetId(client)}`,
  }
}

/** The time of the last write that the server knows, as halves. */
async function operationTime(client: MongoClient): Promise<readonly [seconds: number, counter: number]> {
  const reply = await client.db('admin').command({ ping: 1 })
  return halvesOf(reply)
}

function halvesOf(reply: Document): readonly [seconds: number, counter: number] {
  const time = reply['operationTime'] as { getHighBitsUnsigned(): number; getLowBitsUnsigned(): number }
  return [time.getHighBitsUnsigned(), time.getLowBitsUnsigned()]
}

export async function headTime(client: MongoClient): Promise<string> {
  const [seconds, counter] = await operationTime(client)
  return formatHalves(seconds, counter)
}

function makeClient(url: string, config: MongodbConfig, context: SourceContext): MongoClient {
  return new MongoClient(url, {
    appName: `sluice ${context.pipeline}`,
    maxPoolSize: config.connections,
    serverSelectionTimeoutMS: config.serverSelectionTimeout,
    // One watching connection per server, not two.
    serverMonitoringMode: 'poll',
    retryReads: false,
    monitorCommands: false,
  })
}

/**
 * A server that is no member of a replica set is never selected when the address names one, however long one waits.
 * Rejects when the first host turns out to be one; never resolves.
 */
async function refuseStandalone(client: MongoClient): Promise<never> {
  const found = new Promise<never>((_, reject) => {
    client.on('serverHeartbeatSucceeded', ({ reply }) => {
      if (reply['setName'] === undefined && reply['msg'] !== 'isdbgrid' && reply['isreplicaset'] !== true) {
        reject(
          new SchemaError(
            'mongodb/replica-set-needed',
            'the server is no member of a replica set, so it has no log of changes',
            {
              fix: 'Start mongod with --replSet rs0, run rs.initiate() once, and put ?replicaSet=rs0 into source.url.',
            },
          ),
        )
      }
    })
  })
  found.catch(() => {})
  return found
}

function withHost(url: string, host: string): string {
  return url.startsWith('mongodb+srv://')
    ? `${url}${url.includes('?') ? '&' : '?'}srvMaxHosts=1`
    : url.replace(/^(mongodb:\/\/(?:[^@/]*@)?)[^/?]+/, `$1${host}`)
}

/** The id of a replica set needs the role clusterMonitor; without it the name has to do. */
async function replicaSetId(client: MongoClient): Promise<string> {
  try {
    const reply = await client.db('admin').command({ replSetGetConfig: 1 })
    const id = reply['config']?.settings?.replicaSetId as ObjectId | undefined
    return id === undefined ? '' : `/${id.toHexString()}`
  } catch (error) {
    if (!isAnswer(error)) throw error
    return ''
  }
}

async function clusterId(client: MongoClient): Promise<string> {
  try {
    const version = await client.db('config').collection('version').findOne()
    const id = version?.['clusterId'] as ObjectId | undefined
    return id === undefined ? 'sharded' : `sharded/${id.toHexString()}`
  } catch (error) {
    if (!isAnswer(error)) throw error
    return 'sharded'
  }
}
