import type { Command, Handlers } from '../command.ts'
import { CommandError } from '../errors.ts'
import { replicaSetConfig } from '../virtual.ts'
import { doc, int64, timestamp } from '../value.ts'

export const ADMIN: Handlers = {
  hello: (command) => command.member.hello(command),
  ismaster: (command) => command.member.hello(command),
  isMaster: (command) => command.member.hello(command),
  ping: () => ({}),
  buildInfo,
  buildinfo: buildInfo,
  endSessions: (command) => {
    command.member.cluster.sessions.end(command.list('endSessions'))
    return {}
  },
  killSessions: (command) => {
    command.member.cluster.sessions.end(command.list('killSessions'))
    return {}
  },
  refreshSessions: () => ({}),
  startSession: () => ({}),
  commitTransaction: (command) => {
    const { transaction, store, session } = command
    if (!transaction) throw new CommandError(125, 'commitTransaction must be run within a transaction')
    if (transaction.state === 'aborted')
      throw new CommandError(251, `Transaction ${session!.txnNumber} has been aborted.`, [
        'TransientTransactionError',
      ])
    store.commit(transaction)
    return command.member.cluster.persona.topology === 'sharded' ? { recoveryToken: doc({}) } : {}
  },
  abortTransaction: (command) => {
    const { transaction, store, session } = command
    if (!transaction) throw new CommandError(125, 'abortTransaction must be run within a transaction')
    if (transaction.state === 'committed')
      throw new CommandError(256, `Transaction ${session!.txnNumber} has been committed.`)
    if (transaction.state === 'aborted')
      throw new CommandError(251, `Transaction ${session!.txnNumber} has been aborted.`, [
        'TransientTransactionError',
      ])
    store.abort(transaction)
    return {}
  },
  connectionStatus: (command) => {
    const { user } = command.connection
    return {
      authInfo: {
        authenticatedUsers: user ? [{ user, db: 'admin' }] : [],
        authenticatedUserRoles: user ? [{ role: 'root', db: 'admin' }] : [],
        ...(command.flag('showPrivileges')
          ? { authenticatedUserPrivileges: user ? command.member.cluster.privileges : [] }
          : {}),
      },
    }
  },
  getParameter: (command) => {
    const { persona } = command.member.cluster
    const version = `${persona.version[0]}.${persona.version[1]}`
    const known: { readonly [name: string]: unknown } = {
      featureCompatibilityVersion: { version },
      enableTestCommands: false,
      periodicNoopIntervalSecs: 10,
      minSnapshotHistoryWindowInSeconds: Math.round(command.store.historyMs / 1000),
    }
    const names = Object.keys(known).filter((name) => command.value(name) !== undefined)
    if (names.length === 0 && command.value('getParameter')?.type !== 2)
      throw new CommandError(72, 'no option found to get')
    return Object.fromEntries(names.map((name) => [name, known[name]]))
  },
  getClusterParameter: (command) => {
    const { expireAfterSeconds } = command.member.cluster.controls
    return {
      clusterParameters: [
        {
          _id: 'changeStreamOptions',
          clusterParameterTime: timestamp(0n),
          preAndPostImages: {
            expireAfterSeconds: expireAfterSeconds === null ? 'off' : int64(BigInt(expireAfterSeconds)),
          },
        },
      ],
    }
  },
  setClusterParameter: () => ({}),
  serverStatus: (command) => {
    const { connections } = command.member
    return {
      host: command.member.address,
      version: command.member.cluster.persona.version.join('.'),
      process: command.member.cluster.persona.topology === 'sharded' ? 'mongos' : 'mongod',
      uptime: 1,
      localTime: new Date(command.store.clock.now()),
      connections: {
        current: connections.size,
        available: 51_200 - connections.size,
        totalCreated: command.member.accepted,
        active: 1,
      },
    }
  },
  replSetGetStatus: (command) => {
    const { cluster } = command.member
    replicated(command)
    const optime = doc({ ts: timestamp(command.store.clock.last), t: int64(BigInt(cluster.term)) })
    return {
      set: cluster.persona.setName,
      date: new Date(command.store.clock.now()),
      myState: command.member.isPrimary ? 1 : 2,
      term: int64(BigInt(cluster.term)),
      members: cluster.members.map((member, index) => ({
        _id: index,
        name: member.address,
        health: member.isUp ? 1 : 0,
        state: member.isUp ? (member.isPrimary ? 1 : 2) : 8,
        stateStr: member.isUp ? (member.isPrimary ? 'PRIMARY' : 'SECONDARY') : '(not reachable/healthy)',
        optime,
        ...(member === command.member ? { self: true } : {}),
      })),
    }
  },
  replSetInitiate: (command) => {
    replicated(command)
    return {}
  },
  replSetGetConfig: (command) => {
    replicated(command)
    return { config: replicaSetConfig(command.member.cluster) }
  },
  replSetStepDown: (command) => {
    replicated(command)
    command.member.cluster.stepDown()
    return {}
  },
  appendOplogNote: (command) => {
    command.store.append({ kind: 'noop' })
    return {}
  },
  listShards: (command) => {
    const { cluster } = command.member
    if (cluster.persona.topology !== 'sharded') throw new CommandError(59, "no such command: 'listShards'")
    return {
      shards: cluster.shardNames.map((shard) => ({ _id: shard, host: `${shard}/127.0.0.1:1`, state: 1 })),
    }
  },
  enableSharding: () => ({}),
  getCmdLineOpts: () => ({ argv: ['mongod'], parsed: {} }),
  getLog: () => ({ totalLinesWritten: 0, log: [] }),
  hostInfo: () => ({ system: {}, os: {}, extra: {} }),
}

function replicated(command: Command): void {
  if (command.member.cluster.persona.topology !== 'replicaSet')
    throw new CommandError(76, 'not running with --replSet')
}

function buildInfo(command: Command) {
  const { version } = command.member.cluster.persona
  return {
    version: version.join('.'),
    gitVersion: '0'.repeat(40),
    modules: [],
    sysInfo: 'deprecated',
    versionArray: [...version, 0],
    bits: 64,
    debug: false,
    maxBsonObjectSize: 16_777_216,
    storageEngines: ['devnull', 'wiredTiger'],
  }
}
