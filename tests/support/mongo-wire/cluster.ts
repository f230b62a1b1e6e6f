import { BSON } from 'mongodb'

import { Controls } from './controls.ts'
import { CommandError } from './errors.ts'
import { Member } from './member.ts'
import { Sessions } from './sessions.ts'
import { Store } from './store.ts'
import type { Fields } from './value.ts'

export type Topology = 'replicaSet' | 'standalone' | 'sharded'

/** As what the server presents itself. */
export interface Persona {
  readonly topology: Topology
  readonly setName: string
  readonly version: readonly [number, number, number]
  readonly wireVersion: number
  readonly tokenVersion: 1 | 2
  /** Whether it knows `$changeStreamSplitLargeEvent`. */
  readonly splitsEvents: boolean
}

export interface Limits {
  /** The greatest document that may be stored. */
  document: number
  /** The greatest event of a change stream. */
  event: number
  /** The greatest batch of a reply. */
  reply: number
}

export interface WireOptions {
  /** A replica set of one member unless told. */
  readonly topology?: Topology
  /** Members of the replica set, or mongos of the sharded cluster. */
  readonly members?: number
  readonly shards?: number
  readonly version?: '6.0' | '7.0' | '8.0'
  /** The one user there is; everybody may do everything without it. */
  readonly auth?: {
    readonly user: string
    readonly password: string
    /** What `connectionStatus` says that the user may do; nothing is refused for it. */
    readonly privileges?: readonly Fields[]
  }
  readonly limits?: Partial<Limits>
  /** The port of the first member; a free one unless told. */
  readonly port?: number
  /** How often an idle cluster writes a no-op to the log. */
  readonly noopMs?: number
  /** How long a replica set is without a primary after a step-down. */
  readonly electionMs?: number
}

const VERSIONS = {
  '6.0': { version: [6, 0, 19], wireVersion: 17, tokenVersion: 1 },
  '7.0': { version: [7, 0, 15], wireVersion: 21, tokenVersion: 2 },
  '8.0': { version: [8, 0, 4], wireVersion: 25, tokenVersion: 2 },
} as const

/** A replica set, a standalone server or a sharded cluster, in this process. */
export class Cluster implements AsyncDisposable {
  /** What tells this cluster from others. */
  readonly id = new BSON.ObjectId()
  readonly persona: Persona
  readonly store: Store
  readonly sessions: Sessions
  readonly controls: Controls
  readonly members: readonly Member[]
  readonly limits: Limits
  readonly auth: WireOptions['auth']
  /** Passwords of users that were made, by `database.user`. */
  readonly users = new Map<string, string>()
  primary: Member | null = null
  term = 1
  readonly #electionMs: number
  #noop: NodeJS.Timeout | null = null
  #elections = new Set<NodeJS.Timeout>()

  private constructor(options: WireOptions) {
    const topology = options.topology ?? 'replicaSet'
    const version = VERSIONS[options.version ?? '7.0']
    this.persona = { topology, setName: 'rs0', ...version, splitsEvents: true }
    this.store = new Store(topology === 'sharded' ? (options.shards ?? 2) : 1)
    this.sessions = new Sessions(this.store)
    this.limits = { document: 16_777_216, event: 16_777_216 + 16_384, reply: 16_777_216, ...options.limits }
    this.auth = options.auth
    this.#electionMs = options.electionMs ?? 200
    this.controls = new Controls(this)
    this.members = Array.from(
      { length: options.members ?? 1 },
      (_, index) => new Member(this, index === 0 ? options.port : undefined),
    )
    this.primary = this.members[0]!
  }

  static async start(options: WireOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options)
    for (const member of cluster.members) await member.start()
    const beat = () => cluster.store.append({ kind: 'noop' })
    cluster.#noop = setInterval(beat, options.noopMs ?? 10_000).unref()
    return cluster
  }

  /** The address for a client, without a database. */
  get uri(): string {
    const hosts = this.members.map(({ address }) => address).join(',')
    const { auth } = this
    const user = auth ? `${encodeURIComponent(auth.user)}:${encodeURIComponent(auth.password)}@` : ''
    const query = this.persona.topology === 'replicaSet' ? `?replicaSet=${this.persona.setName}` : ''
    return `mongodb://${user}${hosts}/${query}`
  }

  get privileges(): readonly Fields[] {
    return this.auth?.privileges ?? [{ resource: { anyResource: true }, actions: ['anyAction'] }]
  }

  get shardNames(): readonly string[] {
    const sharded = this.persona.topology === 'sharded'
    return sharded ? Array.from({ length: this.store.shards }, (_, index) => `shard${index}`) : []
  }

  /** The primary gives up; after a while the next member that is up takes over, or the same one again. */
  stepDown(code = 11602): void {
    const { primary } = this
    if (!primary) return
    this.primary = null
    this.sessions.abortAll()
    primary.interrupt(new CommandError(code, 'operation was interrupted'))
    this.#elect(primary)
  }

  /** Closes a member's port; when it was the primary, another one takes over. */
  async stop(index: number): Promise<void> {
    const member = this.members[index]!
    if (this.primary === member && this.persona.topology === 'replicaSet') {
      this.primary = null
      this.sessions.abortAll()
      this.#elect(member)
    }
    await member.stop()
  }

  /** Opens the port of a stopped member again. */
  async start(index: number): Promise<void> {
    await this.members[index]!.start()
    if (this.primary === null && this.#elections.size === 0) this.#elect(this.members[index]!)
  }

  async restart(index: number): Promise<void> {
    await this.stop(index)
    await this.start(index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#noop) clearInterval(this.#noop)
    for (const election of this.#elections) clearTimeout(election)
    this.controls.release()
    await Promise.all(this.members.map((member) => member.stop()))
  }

  #elect(former: Member): void {
    const election = setTimeout(() => {
      this.#elections.delete(election)
      former.interruption = null
      const others = this.members.filter((member) => member.isUp && member !== former)
      const [next] = [...others, ...(former.isUp ? [former] : [])]
      if (!next) return
      this.term++
      this.primary = next
      this.store.append({ kind: 'noop' })
    }, this.#electionMs)
    this.#elections.add(election)
  }
}
